"""Forms about credits."""

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.forms import Dressed


class PromoForm(Dressed):
    """A promo code, in whatever case it is typed."""

    code = forms.CharField(
        label=_("Code"),
        max_length=40,
        help_text=_("Capitals and small letters are the same. Each code counts once."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "characters"}),
        error_messages={"required": _("Enter a code.")},
    )
