"""Failed items by cause, each cause with the one fix that is most likely to help.

Reads only; the fixes are `lifecycle.retry` with what a person has chosen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from batches import messages
from batches.models import Batch, Item
from batches.names import split_name
from batches.states import ItemState

PREVIEWED = 3
"""Addresses that a change is shown on before it is made."""


class Fix(StrEnum):
    """What a person can do about a cause."""

    PREFIX = "prefix"
    SHRINK = "shrink"
    REPLACE = "replace"
    SETTINGS = "settings"
    RETRY = "retry"


_FIXES: Mapping[str, Fix] = {
    code: fix
    for fix, codes in {
        Fix.PREFIX: (
            *("source_forbidden", "source_not_found", "source_not_allowed"),
            *("source_redirects", "source_not_image"),
        ),
        Fix.SHRINK: ("file_too_large", "dimensions_too_large"),
        Fix.REPLACE: (
            *("format_unsupported", "file_unreadable", "file_empty", "file_damaged"),
            *("image_animated", "dimensions_too_small", "source_missing", "row_invalid"),
        ),
        Fix.SETTINGS: (
            *("no_subject", "model_out_of_memory", "worker_lost"),
            *("settings_invalid", "tool_unavailable"),
        ),
    }.items()
    for code in codes
}
"""What isn't named passes by itself: a plain retry."""


@dataclass(frozen=True)
class Failure:
    """A failed item, as far as its cause goes."""

    uid: UUID
    position: int
    name: str
    url: str
    has_original: bool
    code: str
    params: Mapping[str, Any]

    @property
    def can_run(self) -> bool:
        """Whether there is something to run it on; a file that was turned away was not kept."""
        return bool(self.url) or self.has_original

    @property
    def fix(self) -> Fix:
        """The way that is most likely to help."""
        fix = _FIXES.get(self.code, Fix.RETRY)
        if not self.can_run or (fix == Fix.PREFIX and not self.url):
            return Fix.REPLACE
        return fix

    @property
    def host(self) -> str:
        """Where its address leads, for what is wrong with addresses."""
        return (urlsplit(self.url).hostname or "") if self.code.startswith("source_") else ""

    @property
    def key(self) -> str:
        """The name of its group, in addresses of pages and forms."""
        return "~".join(filter(None, (self.code, str(self.fix), self.host)))


@dataclass
class Group:
    """Failed items of one cause."""

    key: str
    code: str
    host: str
    fix: Fix
    failures: list[Failure] = field(default_factory=list)

    @property
    def message(self) -> str:
        """The cause in words; with figures where all have the same."""
        first = self.failures[0].params
        same = all(failure.params == first for failure in self.failures)
        return messages.text(self.code, first if same else {})

    @property
    def uids(self) -> list[UUID]:
        """Its items, in their order."""
        return [failure.uid for failure in self.failures]

    @property
    def prefix(self) -> str:
        """What all its addresses begin with, up to a slash."""
        first, last = (pick(failure.url for failure in self.failures) for pick in (min, max))
        pairs = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
        return first[: first.rfind("/", 0, sum(1 for _pair in pairs)) + 1]

    @property
    def examples(self) -> list[str]:
        """The first addresses, to show a change on."""
        return [failure.url for failure in self.failures[:PREVIEWED]]


def failures(batch: Batch) -> list[Failure]:
    """All failed items of a batch, in their order; one query."""
    rows = batch.items.filter(state=ItemState.FAILED).order_by("position")
    return [
        Failure(uid, position, name, url, original is not None, code, params)
        for uid, position, name, url, original, code, params in rows.values_list(
            *("uid", "position", "name", "source_url", "original_id"),
            *("error_code", "error_params"),
        )
    ]


def groups(failed: Iterable[Failure]) -> list[Group]:
    """The failures by cause, the commonest first."""
    found: dict[str, Group] = {}
    for failure in failed:
        group = found.setdefault(
            failure.key, Group(failure.key, failure.code, failure.host, failure.fix)
        )
        group.failures.append(failure)
    return sorted(found.values(), key=lambda group: -len(group.failures))


def with_prefix(failed: Iterable[Failure], *, old: str, new: str) -> dict[UUID, str]:
    """New addresses for those that begin with the old prefix."""
    return {
        failure.uid: new + failure.url.removeprefix(old)
        for failure in failed
        if old and failure.url.startswith(old)
    }


def matched(group: Sequence[Failure], names: Sequence[str]) -> dict[UUID, int]:
    """Which file (by its index) is meant for which failure, by their names.

    Case and ending may differ: who replaces a broken HEIC sends a JPG. A name that two failures
    have, or two files, matches by the whole name only. One file for one failure needs no name.
    """
    if len(group) == 1 and len(names) == 1:
        return {group[0].uid: 0}
    found: dict[UUID, int] = {}
    for strip in (False, True):
        files = _by_name(list(enumerate(names)), strip=strip)
        left = [(failure, failure.name) for failure in group if failure.uid not in found]
        for name, wanted in _by_name(left, strip=strip).items():
            given = [n for n in files.get(name, []) if n not in found.values()]
            if len(wanted) == len(given) == 1:
                found[wanted[0].uid] = given[0]
    return found


def _by_name(named: Sequence[tuple[Any, str]], *, strip: bool) -> dict[str, list[Any]]:
    by_name: dict[str, list[Any]] = {}
    for thing, name in named:
        key = name.casefold()
        by_name.setdefault(split_name(key)[0] if strip else key, []).append(thing)
    return by_name


def of_item(item: Item) -> Failure:
    """One failed item's failure."""
    return Failure(
        item.uid,
        item.position,
        item.name,
        item.source_url,
        item.original_id is not None,
        item.error_code,
        item.error_params,
    )
