"""What somebody has put on a tool's page and not started yet.

Every change is one short transaction on the draft's row and its images, so two tabs can add at
the same moment and both additions stay. The draft's row is locked after everything else.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from batches import uses
from batches.models import Draft, DraftImage, Original
from batches.refusals import Refusal

KEPT_FOR = timedelta(days=30)
"""A draft that nobody has touched for so long is forgotten."""

PLACED = ("connected", "sheet", "sheet_after")
"""Fields that only verbs of their own change. What is typed is kept a moment after a key, so a
form that was read before such a verb may arrive after it and must not undo it."""

Fields = dict[str, list[str]]
"""A form as it was typed: every value of every name."""


@dataclass
class Contents:
    """A draft as the page shows it; in the order in which things were added."""

    originals: list[Original] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    fields: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class Started:
    """What a batch has taken from a page: ids of originals, refused files, lines as typed."""

    uploads: Collection[str]
    refused: Collection[Refusal]
    addresses: Collection[str]
    sheet: str = ""
    """The uid of the sheet whose rows were started, if any were."""
    sheet_line: int = 0
    """Down to which of its rows; 0: all of them."""
    connected: Sequence[str] = ()
    """What is left of what was chosen in connected accounts."""


def contents(owner: User, tool: str) -> Contents:
    """What is there; reading makes no draft."""
    found = Contents()
    draft = Draft.objects.filter(owner=owner, tool=tool).first()
    if draft is None:
        return found
    found.fields = draft.fields
    for image in draft.images.select_related("original").order_by("pk"):
        if image.original:
            found.originals.append(image.original)
        elif refusal := Refusal.from_token(image.refusal):
            found.refused.append(refusal)
    return found


def add(owner: User, tool: str, taken: Iterable[Original | Refusal]) -> None:
    """Put images and refused files on the page; an image that is there already stays."""
    taken = list(taken)
    with transaction.atomic():
        originals = [one for one in taken if isinstance(one, Original)]
        there = uses.note(originals, now=timezone.now())
        draft = _touched(owner, tool)
        images = [
            DraftImage(draft=draft, refusal=one.token)
            if isinstance(one, Refusal)
            else DraftImage(draft=draft, original=one)
            for one in taken
            if isinstance(one, Refusal) or one in there
        ]
        DraftImage.objects.bulk_create(images, ignore_conflicts=True, batch_size=500)


def save_fields(owner: User, tool: str, fields: Mapping[str, Sequence[str]]) -> None:
    """Remember a form as it is typed now, whether it makes sense or not.

    What was placed by verbs of its own stays as it is.
    """
    with transaction.atomic():
        draft = _touched(owner, tool)
        typed = {name: list(values) for name, values in fields.items() if name not in PLACED}
        placed = {name: draft.fields[name] for name in PLACED if name in draft.fields}
        Draft.objects.filter(pk=draft.pk).update(fields=typed | placed)


def place(owner: User, tool: str, fields: Mapping[str, Sequence[str]]) -> None:
    """Set these of the placed fields, or take out those without a value; the rest stays."""
    with transaction.atomic():
        draft = _touched(owner, tool)
        changed = draft.fields | {name: list(values) for name, values in fields.items()}
        changed = {name: values for name, values in changed.items() if values or name not in fields}
        Draft.objects.filter(pk=draft.pk).update(fields=changed)


def adopt(owner: User, tool: str, fields: Mapping[str, Sequence[str]]) -> None:
    """Put what was typed before signing in on top of what is there; addresses join the others."""
    with transaction.atomic():
        draft = _touched(owner, tool)
        typed = {name: list(values) for name, values in fields.items() if any(values)}
        urls = "\n".join(_joined(draft.fields, fields))
        Draft.objects.filter(pk=draft.pk).update(fields={**draft.fields, **typed, "urls": [urls]})


def remove(
    owner: User, tool: str, *, uploads: Collection[UUID] = (), refused: Collection[str] = ()
) -> None:
    """Take images, and refused files by their tokens, off the page; none there is no error."""
    with transaction.atomic():
        draft = Draft.objects.select_for_update().filter(owner=owner, tool=tool).first()
        if draft:
            draft.images.filter(original__uid__in=uploads).delete()
            _drop_refusals(draft, filter(None, map(Refusal.from_token, refused)))


def clear(owner: User, tool: str) -> None:
    """Take everything off the page: images, addresses, name and settings."""
    with transaction.atomic():
        draft = _touched(owner, tool)
        draft.images.all().delete()
        Draft.objects.filter(pk=draft.pk).update(fields={})


def take_out(owner: User, tool: str, started: Started, fields: Mapping[str, Sequence[str]]) -> None:
    """Take out what has been started, and only that.

    `fields` is the form that started it: its other addresses and its settings stay for the next
    batch, and so does what another tab has added meanwhile.
    """
    with transaction.atomic():
        draft = _touched(owner, tool)
        draft.images.filter(original__uid__in=started.uploads).delete()
        _drop_refusals(draft, started.refused)
        gone = set(started.addresses)
        left = [line for line in _joined(draft.fields, fields) if line not in gone]
        kept = {name: list(values) for name, values in fields.items()}
        kept |= {"urls": ["\n".join(left)], "batch_name": [""]}
        if started.sheet and kept.get("sheet") == [started.sheet]:
            kept["sheet_after"] = [str(started.sheet_line)]
            if not started.sheet_line:
                del kept["sheet"], kept["sheet_after"]
            kept.pop("sheet_skip", None)
        if "connected" in kept:
            kept["connected"] = list(started.connected)
        Draft.objects.filter(pk=draft.pk).update(fields=kept)


def prune(*, now: datetime, dry_run: bool = False) -> int:
    """Forget drafts that nobody has touched for long; returns how many. Or just count them."""
    old = Draft.objects.filter(updated_at__lt=now - KEPT_FOR)
    if dry_run:
        return old.count()
    removed = 0
    for pk in list(old.values_list("pk", flat=True)):
        with transaction.atomic():
            # Looked at again under its lock: somebody may have come back just now.
            draft = old.select_for_update().filter(pk=pk).first()
            if draft:
                draft.delete()
                removed += 1
    return removed


def _touched(owner: User, tool: str) -> Draft:
    """The draft, made if need be, and locked until the transaction ends."""
    draft, _new = Draft.objects.update_or_create(owner=owner, tool=tool, defaults={})
    return draft


def _drop_refusals(draft: Draft, refused: Iterable[Refusal]) -> None:
    """Remove one row for each; a token doesn't name it, as the time of signing is in there."""
    wanted = Counter(map(repr, refused))
    if not wanted:
        return
    gone = []
    for image in draft.images.filter(original=None).order_by("pk"):
        if wanted[same := repr(Refusal.from_token(image.refusal))]:
            wanted[same] -= 1
            gone.append(image.pk)
    draft.images.filter(pk__in=gone).delete()


def _joined(*forms: Mapping[str, Sequence[str]]) -> list[str]:
    """The addresses of several forms, each line once."""
    lines = (line.strip() for fields in forms for line in _text(fields).splitlines())
    return list(dict.fromkeys(filter(None, lines)))


def _text(fields: Mapping[str, Sequence[str]]) -> str:
    return "\n".join(fields.get("urls", ()))
