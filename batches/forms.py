"""The form of a new batch: which images, under which name. The settings are the tool's own."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext_lazy as _

from accounts.forms import Dressed
from accounts.models import User
from batches import addresses, connections, drafts, imports, intake, outbox, patterns
from batches.models import Item, Original, Sheet
from batches.names import clean_name
from batches.refusals import Refusal
from batches.sources.base import Row
from tools.engines import images


def receive(owner: User, file: UploadedFile) -> Original | Refusal:
    """Take one uploaded file in, or say why not."""
    name = clean_name(file.name or "")
    try:
        images.check_bytes(file.size or 0)  # too long is not even read into memory
        original, _new = intake.receive(owner, file.read(), name=name)
    except (images.ImageProblem, intake.ImageRefused) as refused:
        return Refusal(name, refused.code, refused.params)
    return original


OUTPUT = ("name_pattern", "anew", "deliver_to", "deliver_folder")
"""Fields of a new batch about its results; empty, all is as most people want it."""


class NewBatchForm(forms.Form):
    """Images of a new batch, from uploads and pasted addresses.

    Files are stored as they come in; the form then carries their ids, so that it can be shown
    again without anything being lost.
    """

    batch_name = forms.CharField(
        label=_("Name"), max_length=200, required=False, widget=forms.TextInput
    )
    urls = forms.CharField(label=_("Addresses, one per line"), required=False, strip=False)
    uploads = forms.CharField(required=False)
    refused = forms.CharField(required=False)
    name_pattern = forms.CharField(
        label=_("Names of the results"), max_length=patterns.LONGEST, required=False
    )
    anew = forms.BooleanField(label=_("Run everything anew"), required=False)
    """Also what an earlier result could serve, and each duplicate by itself."""
    twice = forms.ChoiceField(
        label=_("Addresses given twice"),
        choices=[
            ("deliver", _("Process once, deliver to all")),
            ("leave", _("Leave them out")),
        ],
        required=False,
    )
    folders = forms.CharField(required=False, strip=False)
    """Where uploads lay below what was chosen: a JSON object of ids and paths."""
    sample = forms.IntegerField(min_value=1, required=False)
    take = forms.IntegerField(min_value=1, required=False)
    """Start so many of the images, the first ones; the others stay on the page."""
    deliver_to = forms.CharField(required=False, max_length=60)
    """Where each result goes as its image finishes; empty: nowhere."""
    deliver_folder = forms.CharField(required=False, max_length=500)
    sheet_skip = forms.BooleanField(required=False)
    """Whether rows of the sheet that have problems may be left out."""
    sheet_after = forms.IntegerField(min_value=0, required=False)
    """Down to which row of the sheet all have been started before."""
    shown_percent = forms.IntegerField(min_value=0, required=False)
    """The share of the tool's price at which this showing of the form has counted."""
    form_uid = forms.UUIDField(required=False)
    """Of this showing of the form: what is sent twice by mistake starts once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._file_twins = 0
        self._lines: list[addresses.Line] = []
        self.sheet: Sheet | None = None
        self._sheet_rows: list[Row] = []
        self._connected: list[Row] = []
        self.duplicates = 0
        """Images that were given more than once and are left out; known after `rows`."""

    @property
    def has_output(self) -> bool:
        """Whether something is said, or wrong, of what most people leave alone: the results."""
        said = any(self[name].value() or self[name].errors for name in OUTPUT)
        return said or self["twice"].value() == "leave"

    def clean_uploads(self) -> list[str]:
        """Ids of originals, each once, in the order in which they were chosen."""
        found: dict[str, None] = {}
        for text in self.cleaned_data["uploads"].split():
            try:
                found[str(UUID(text))] = None
            except ValueError:
                continue
        return list(found)

    def clean_refused(self) -> list[Refusal]:
        """Files that were turned away."""
        found = map(Refusal.from_token, self.cleaned_data["refused"].split())
        return [refusal for refusal in found if refusal]

    def clean_folders(self) -> dict[str, str]:
        """Folders by the ids of uploads; nothing where it makes no sense."""
        try:
            told = json.loads(self.cleaned_data["folders"] or "{}")
        except ValueError:
            return {}
        if not isinstance(told, dict):
            return {}
        return {upload: path for upload, path in told.items() if isinstance(path, str)}

    def put(self, found: drafts.Contents) -> None:
        """Use the images of the draft, for a form that carries none itself."""
        self.cleaned_data["uploads"] = [str(original.uid) for original in found.originals]
        self.cleaned_data["refused"] = list(found.refused)

    def take_in(self, owner: User, files: Iterable[UploadedFile]) -> list[Refusal]:
        """Add files that came with the form itself, and return those that were turned away.

        Call it once, when the form is valid.
        """
        turned_away = []
        for file in files:
            taken = receive(owner, file)
            if isinstance(taken, Refusal):
                turned_away.append(taken)
            elif str(taken.uid) in self.cleaned_data["uploads"]:
                self._file_twins += 1
            else:
                self.cleaned_data["uploads"].append(str(taken.uid))
        self.cleaned_data["refused"] += turned_away
        return turned_away

    def lay(self, sheet: Sheet, rows: Iterable[Row]) -> None:
        """Let rows of a sheet join the other images, behind them."""
        self.sheet = sheet
        self._sheet_rows = list(rows)

    @property
    def is_long(self) -> bool:
        """Whether the rows of the sheet are more than can be taken in while somebody waits."""
        return len(self._sheet_rows) > imports.AT_ONCE

    def picks(self) -> list[connections.Pick]:
        """What was chosen in connected accounts."""
        values = self.data.getlist("connected") if hasattr(self.data, "getlist") else []
        return [pick for token in values if (pick := connections.Pick.from_token(token))]

    def connect(self, rows: Iterable[Row]) -> None:
        """Let pictures of connected accounts join the other images, behind them."""
        self._connected = list(rows)

    def rows(self) -> list[Row]:
        """The images as rows. An address that comes twice stays, unless it is to be left out."""
        folders = self.cleaned_data["folders"]
        rows = [
            Row(upload=uid, folder=folders.get(uid, "")) for uid in self.cleaned_data["uploads"]
        ]
        rows += [
            Row(name=refusal.name, refusal=(refusal.code, refusal.params))
            for refusal in self.cleaned_data["refused"]
        ]
        self._lines = list(addresses.judged(self.cleaned_data["urls"]))
        kept = [line for line in self._lines if not self._is_left_out(line)]
        self.duplicates = self._file_twins + len(self._lines) - len(kept)
        pasted = [Row(url=line.url, line=line.line) for line in kept]
        return [*rows, *pasted, *self._connected, *self._sheet_rows]

    def _is_left_out(self, line: addresses.Line) -> bool:
        """Whether a line is no image of its own: the same as an earlier one, or as wrong."""
        leaves = self.cleaned_data["twice"] == "leave"
        return line.same_as is not None and (leaves or line.problem is not None)

    def started(self, rows: Iterable[Row], *, line: int | None = None) -> drafts.Started:
        """What these rows of the form take from the page.

        `line` is given for a long sheet: the last row that was started, 0 for all of them.
        """
        rows = list(rows)
        lines = {row.line for row in rows if row.url and not row.fields and not row.connection}
        going = {(row.connection, row.url) for row in rows}
        left = [row for row in self._connected if (row.connection, row.url) not in going]
        refused = [(row.name, *row.refusal) for row in rows if row.refusal]
        if line is None and (listed := [row.line or 0 for row in rows if row.fields]):
            line = 0 if len(listed) == len(self._sheet_rows) else max(listed)
        return drafts.Started(
            sheet=str(self.sheet.uid) if self.sheet and line is not None else "",
            sheet_line=line or 0,
            uploads=[row.upload for row in rows if row.upload],
            refused=[Refusal(name, code, params) for name, code, params in refused],
            addresses=[
                line.typed
                for line in self._lines
                if ((self._is_left_out(line) and line.same_as) or line.line) in lines
            ],
            connected=[connections.Pick(row.connection, "file", row.url, 1).token for row in left],
        )


class OneImageForm(forms.Form):
    """The image of single mode: a file, an address, an upload, or that of an earlier run.

    What is named first wins: somebody who chooses a file where another image lies means the file.
    """

    url = forms.CharField(required=False)
    upload = forms.UUIDField(required=False)
    again = forms.UUIDField(required=False)
    shown_percent = forms.IntegerField(min_value=0, required=False)
    """The share of the tool's price at which this showing of the form has counted."""

    def take(self, owner: User, file: UploadedFile | None) -> None:
        """Take the chosen file in, or say what is wrong with it. Call it once, when valid."""
        if file is None:
            return
        taken = receive(owner, file)
        if isinstance(taken, Refusal):
            self.cleaned_data["upload"] = None
            self.add_error(None, f"{taken.name}: {taken.message}")
        else:
            self.cleaned_data["upload"] = taken.uid

    def row(self, owner: User) -> Row | None:
        """The image; nothing when there is none."""
        if upload := self.cleaned_data.get("upload"):
            return Row(upload=str(upload))
        if url := self.cleaned_data.get("url"):
            return Row(url=url)
        if again := self.cleaned_data.get("again"):
            own = Item.objects.visible_to(owner).select_related("original")
            if item := own.filter(uid=again).first():
                if item.original:
                    return Row(upload=str(item.original.uid), name=item.name)
                return Row(url=item.source_url)
        return None


class WebhookForm(Dressed):
    """A new webhook."""

    url = forms.CharField(
        label=_("Address"),
        max_length=2000,
        widget=forms.URLInput(attrs={"placeholder": "https://", "autocomplete": "off"}),
    )
    events = forms.MultipleChoiceField(
        label=_("Tell it when"),
        choices=[
            (outbox.BATCH_FINISHED, _("a batch has ended")),
            (outbox.BATCH_SAMPLED, _("the sample of a batch is ready to look at")),
            (outbox.DELIVERY_FINISHED, _("a delivery has ended")),
            (outbox.ASSET_CREATED, _("something was put into the library")),
            (outbox.ASSET_UPDATED, _("something in the library was changed")),
            (outbox.ASSET_DELETED, _("something in the library was deleted for good")),
            (outbox.ASSET_PROCESSED, _("an image is done")),
        ],
        initial=[outbox.BATCH_FINISHED],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one.")},
    )
    secret = forms.CharField(
        label=_("Secret"),
        required=False,
        max_length=200,
        help_text=_("Leave it empty, and one is made."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
