"""What somebody has put on a tool's page and not started yet.

Every change is one short transaction on the draft's row and its images, so two tabs can add at
the same moment and both additions stay. The draft's row is locked after everything else.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from accounts.models import User
from batches.models import Draft, DraftImage, Original
from batches.refusals import Refusal

KEPT_FOR = timedelta(days=30)
"""A draft that nobody has touched for so long is forgotten."""

Fields = dict[str, list[str]]
"""A form as it was typed: every value of every name."""


@dataclass
class Contents:
    """A draft as the page shows it; in the order in which things were added."""

    originals: list[Original] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    fields: Fields = field(default_factory=dict)


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
    with transaction.atomic():
        draft = _touched(owner, tool)
        images = [
            DraftImage(draft=draft, refusal=one.token)
            if isinstance(one, Refusal)
            else DraftImage(draft=draft, original=one)
            for one in taken
        ]
        DraftImage.objects.bulk_create(images, ignore_conflicts=True, batch_size=500)


def save_fields(owner: User, tool: str, fields: Mapping[str, Sequence[str]]) -> None:
    """Remember a form as it is typed now, whether it makes sense or not."""
    typed = {name: list(values) for name, values in fields.items()}
    Draft.objects.update_or_create(owner=owner, tool=tool, defaults={"fields": typed})


def adopt(owner: User, tool: str, fields: Mapping[str, Sequence[str]]) -> None:
    """Put what was typed before signing in on top of what is there; addresses join the others."""
    with transaction.atomic():
        draft = _touched(owner, tool)
        lines = _lines(draft.fields)
        new = [line for line in _lines(fields) if line not in set(lines)]
        draft.fields = {
            **draft.fields,
            **{name: list(values) for name, values in fields.items() if any(values)},
            "urls": ["\n".join(lines + new)],
        }
        draft.save(update_fields=["fields"])


def remove(owner: User, tool: str, *, uploads: Collection[str] = (), refused: str = "") -> None:
    """Take images off the page; one that isn't there is no error."""
    images = DraftImage.objects.filter(draft__owner=owner, draft__tool=tool)
    if uploads:
        images.filter(original__uid__in=uploads).delete()
    if refused:
        _drop_refusals(images, [refused])


def clear(owner: User, tool: str) -> None:
    """Take everything off the page: images, addresses, name and settings."""
    with transaction.atomic():
        draft = _touched(owner, tool)
        draft.images.all().delete()
        Draft.objects.filter(pk=draft.pk).update(fields={})


def take_out(
    owner: User,
    tool: str,
    *,
    uploads: Collection[str],
    refused: Collection[str],
    addresses: Collection[str],
) -> None:
    """Take out what has been started, and only that; settings stay for the next batch.

    `addresses` are lines as they were typed. What another tab has added meanwhile stays.
    """
    with transaction.atomic():
        draft = _touched(owner, tool)
        draft.images.filter(original__uid__in=uploads).delete()
        if refused:
            _drop_refusals(draft.images.all(), refused)
        started = set(addresses)
        left = [line for line in _lines(draft.fields) if line not in started]
        kept: dict[str, Any] = {**draft.fields, "urls": ["\n".join(left)], "batch_name": [""]}
        Draft.objects.filter(pk=draft.pk).update(fields=kept)


def prune(*, now: datetime) -> int:
    """Forget drafts that nobody has touched for long; returns how many."""
    old = Draft.objects.filter(updated_at__lt=now - KEPT_FOR)
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


def _drop_refusals(images: QuerySet[DraftImage], tokens: Iterable[str]) -> None:
    """Remove one refused file for each token. Tokens differ each time: the time is in them."""
    wanted = Counter(filter(None, map(_identity, tokens)))
    gone = []
    for pk, token in images.filter(original=None).order_by("pk").values_list("pk", "refusal"):
        if wanted[same := _identity(token)]:
            wanted[same] -= 1
            gone.append(pk)
    images.filter(pk__in=gone).delete()


def _identity(token: str) -> str:
    refusal = Refusal.from_token(token)
    return repr(refusal) if refusal else ""


def _lines(fields: Mapping[str, Sequence[str]]) -> list[str]:
    text = "\n".join(fields.get("urls", ()))
    return [line.strip() for line in text.splitlines() if line.strip()]
