"""Forms of people's accounts."""

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.auth import forms as django_forms
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import READ, RUN, SCOPES, User, normal_email

INPUT = "input w-full"
SELECT = "select w-full"
PASSWORD_HELP = _("8 characters or more. A few words in a row are easy to remember.")


class Dressed(forms.Form):
    """Fields that look like the rest of the site, and say by themselves what is wrong with them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if type(field.widget) is forms.Select:
                field.widget.attrs.setdefault("class", SELECT)
            elif isinstance(field.widget, forms.widgets.Input):
                field.widget.attrs.setdefault("class", INPUT)


class EmailAuthenticationForm(Dressed, django_forms.AuthenticationForm):
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


class EmailField(forms.EmailField):
    """An address, in its one spelling."""

    def __init__(self, *, autocomplete: str, **kwargs: Any) -> None:
        widget = forms.EmailInput(attrs={"autocomplete": autocomplete})
        # As long as the column and no longer: the database would refuse the rest.
        super().__init__(max_length=254, widget=widget, **kwargs)

    def clean(self, value: Any) -> Any:
        """Checked as typed, then normalised."""
        return normal_email(super().clean(value))


def _password(autocomplete: str) -> forms.PasswordInput:
    return forms.PasswordInput(attrs={"autocomplete": autocomplete})


class SignUpForm(Dressed):
    """An address and a password, asked for once: the reset mends a slip of the finger."""

    email = EmailField(autocomplete="username", label=_("E-mail address"))
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=4096,
        widget=_password("new-password"),
        help_text=PASSWORD_HELP,
    )

    def clean(self) -> dict[str, Any]:
        """Judge the password by Django's validators, which also compare it with the address."""
        cleaned = super().clean() or {}
        if "password" in cleaned:
            try:
                validate_password(cleaned["password"], User(email=cleaned.get("email", "")))
            except ValidationError as weak:
                self.add_error("password", weak)
        return cleaned


class PasswordResetForm(Dressed):
    """Whose password was forgotten."""

    email = EmailField(autocomplete="username", label=_("E-mail address"))


class SetPasswordForm(Dressed, django_forms.SetPasswordForm):
    """A new password after a reset."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_password1"].help_text = PASSWORD_HELP
        self.fields["new_password2"].help_text = ""


class PasswordChangeForm(SetPasswordForm, django_forms.PasswordChangeForm):
    """A new password for somebody who knows the old one."""


class PasswordAgain(Dressed):
    """The password again, for what a borrowed browser must not be able to do."""

    password = forms.CharField(
        label=_("Your password"),
        strip=False,
        max_length=4096,
        widget=_password("current-password"),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> str:
        """It must be the one of the account."""
        password: str = self.cleaned_data["password"]
        if not self.user.check_password(password):
            raise ValidationError(_("This is not your password. Nothing was changed."))
        return password


class MoveForm(PasswordAgain):
    """A new address."""

    email = EmailField(autocomplete="email", label=_("New e-mail address"))
    field_order = ("email", "password")

    def clean_email(self) -> str:
        """Another one than now."""
        email: str = self.cleaned_data["email"]
        if email == self.user.email:
            raise ValidationError(_("This is your address already."))
        return email


class PreferencesForm(forms.ModelForm):
    """How the site looks and what it tells."""

    class Meta:
        """Columns of the user that nobody else minds."""

        model = User
        fields = (
            "theme",
            "notify_browser",
            "notify_email",
            "notify_schedules",
            "low_credits",
            "default_format",
        )
        widgets = {"theme": forms.RadioSelect}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        theme: Any = self.fields["theme"]
        theme.choices = [choice for choice in theme.choices if choice[0]]
        self.fields["default_format"].widget.attrs["class"] = SELECT
        self.fields["low_credits"].widget.attrs |= {"class": INPUT, "inputmode": "numeric"}
        for name in ("notify_browser", "notify_email", "notify_schedules"):
            self.fields[name].widget.attrs["class"] = "toggle toggle-primary"


NEVER, ON_DATE = "never", "date"


class KeyForm(Dressed):
    """A new API key: what it is called, what it may do, and until when."""

    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        help_text=_("Where it will be used, such as “Shop import”."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        label=_("It may"),
        choices=[
            (READ, _("Read: see batches, results and credits")),
            (RUN, _("Run: upload images, start and stop batches, spend credits")),
        ],
        initial=list(SCOPES),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one.")},
    )
    expiry = forms.ChoiceField(
        label=_("It ends"),
        choices=[
            ("30", _("In 30 days")),
            ("90", _("In 90 days")),
            ("365", _("In a year")),
            (ON_DATE, _("On a date")),
            (NEVER, _("Never")),
        ],
        initial="90",
    )
    expires_on = forms.DateField(
        label=_("Last day"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def clean(self) -> dict[str, Any]:
        """A date is needed where one was announced, and lies ahead."""
        cleaned = super().clean() or {}
        if cleaned.get("expiry") == ON_DATE and "expires_on" not in self.errors:
            day = cleaned.get("expires_on")
            if day is None:
                self.add_error("expires_on", _("Choose the last day on which the key works."))
            elif not timezone.localdate() <= day < date.max:
                self.add_error("expires_on", _("This day is over. Choose a later one."))
        return cleaned

    def expires_at(self, *, now: datetime) -> datetime | None:
        """When the key ends; None for never. A key works to the end of its last day."""
        expiry = self.cleaned_data["expiry"]
        if expiry == NEVER:
            return None
        if expiry == ON_DATE:
            day_after = self.cleaned_data["expires_on"] + timedelta(days=1)
            return timezone.make_aware(datetime.combine(day_after, time.min))
        return now + timedelta(days=int(expiry))
