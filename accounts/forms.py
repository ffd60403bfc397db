"""Forms of people's accounts."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.utils.translation import gettext_lazy as _


class EmailAuthenticationForm(AuthenticationForm):
    """Sign in with an e-mail address and a password."""

    error_messages = {
        "invalid_login": _(
            "This e-mail address and password don't belong together. "
            "Check both; upper and lower case matter in the password."
        ),
        "inactive": _("This account is switched off. Ask the people who run this site."),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        address = self.fields["username"]
        address.label = _("E-mail address")
        address.widget = forms.EmailInput(attrs=address.widget.attrs | {"autocomplete": "username"})
        for field in self.fields.values():
            field.widget.attrs["class"] = "input w-full"
