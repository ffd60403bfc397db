"""Forms of accounts elsewhere: how to reach them, and where results go."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from accounts.forms import Dressed
from accounts.models import Connection, ConnectionKind
from batches import messages
from batches.stores import endpoints, paths
from batches.stores.base import StoreError
from tools import registry

CONFLICTS = [
    ("rename", _("Keep both: number the new one")),
    ("skip", _("Leave what is there")),
    ("overwrite", _("Replace it; this can be undone")),
]


def _secret(label: Any) -> forms.CharField:
    """A field whose value is never put into a page again, not even when the form comes back."""
    widget = forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    return forms.CharField(label=label, max_length=500, widget=widget)


class Credentials(Dressed):
    """How to reach an account; `name` is missing where a connection has one already."""

    kind: ConnectionKind
    title: Any

    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        help_text=_("What it is called here."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, named: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not named:
            del self.fields["name"]

    @property
    def config(self) -> dict[str, str]:
        """What is no secret."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if name not in {"name", "secret"}
        }


class SirvCredentials(Credentials):
    """A client of Sirv's REST API."""

    kind = ConnectionKind.SIRV
    title = _("Connect Sirv")

    client_id = forms.CharField(
        label=_("Client ID"),
        max_length=200,
        help_text=_("In Sirv: Settings, API, Create client."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    secret = _secret(_("Client secret"))


class S3Credentials(Credentials):
    """A bucket, at Amazon or anywhere that speaks S3."""

    kind = ConnectionKind.S3
    title = _("Connect an S3 bucket")

    bucket = forms.RegexField(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$",
        label=_("Bucket"),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        error_messages={
            "invalid": _("This is no name of a bucket: letters, digits, dots and hyphens only.")
        },
    )
    region = forms.RegexField(
        r"^[a-z0-9-]{1,40}$",
        label=_("Region"),
        required=False,
        empty_value="",
        help_text=_("Such as eu-central-1. Other servers than Amazon's mostly need none."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        error_messages={"invalid": _("This is no name of a region, such as eu-central-1.")},
    )
    endpoint = forms.CharField(
        label=_("Endpoint"),
        max_length=300,
        required=False,
        help_text=_("Empty for Amazon; else the address of the server, with https://."),
        widget=forms.TextInput(attrs={"inputmode": "url", "spellcheck": "false"}),
    )
    folder = forms.CharField(
        label=_("Folder in the bucket"),
        max_length=300,
        required=False,
        help_text=_("Empty for all of it. Nothing outside is read or written."),
    )
    public_url = forms.URLField(
        label=_("Public address"),
        max_length=300,
        required=False,
        assume_scheme="https",
        help_text=_("Where the bucket is public, if it is: results then show their links."),
    )
    key_id = forms.CharField(
        label=_("Access key ID"),
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    secret = _secret(_("Secret access key"))

    @property
    def config(self) -> dict[str, str]:
        """The folder is called as S3 calls it."""
        found = super().config
        return {"prefix": found.pop("folder"), **found}

    def clean_endpoint(self) -> str:
        """The address of a server that may be called."""
        endpoint: str = self.cleaned_data["endpoint"]
        if not endpoint:
            return ""
        try:
            return endpoints.judged(endpoint, allow=settings.FETCH_ALLOW)
        except StoreError as error:
            text = messages.text(error.code, error.params)
            raise forms.ValidationError(text, code=error.code) from error

    def clean_folder(self) -> str:
        """The folder without slashes around it."""
        try:
            return paths.folder(self.cleaned_data["folder"])
        except StoreError as error:
            text = messages.text(error.code, error.params)
            raise forms.ValidationError(text, code=error.code) from error


CREDENTIALS: Mapping[str, type[Credentials]] = {
    form.kind.value: form for form in (SirvCredentials, S3Credentials)
}


class ArrangementForm(Dressed):
    """Name, rule for taken names, and a folder for each tool."""

    name = forms.CharField(label=_("Name"), max_length=100)
    conflict = forms.ChoiceField(
        label=_("If a name is taken"), choices=CONFLICTS, widget=forms.RadioSelect
    )

    def __init__(self, *args: Any, connection: Connection, **kwargs: Any) -> None:
        kwargs.setdefault("initial", {"name": connection.name, "conflict": connection.conflict})
        super().__init__(*args, **kwargs)
        self._tools = {f"folder-{tool.slug}": tool for tool in registry.all()}
        for field, tool in self._tools.items():
            self.fields[field] = forms.CharField(
                label=str(tool.name),
                max_length=300,
                required=False,
                initial=connection.folders.get(tool.slug, ""),
                widget=forms.TextInput(
                    attrs={"class": "input w-full font-mono text-sm", "spellcheck": "false"}
                ),
            )

    @property
    def folder_fields(self) -> list[forms.BoundField]:
        """The fields of folders, one for each tool."""
        return [self[name] for name in self._tools]

    @property
    def folders(self) -> dict[str, str]:
        """Tool to folder, as typed."""
        return {tool.slug: self.cleaned_data[name] for name, tool in self._tools.items()}
