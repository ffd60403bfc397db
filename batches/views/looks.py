"""One look at a batch: what its page and its polls show, in a fixed number of queries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from math import ceil
from typing import Any
from urllib.parse import urlencode
from zlib import crc32

from django.db.models import Case, Q, QuerySet, Sum, Value, When
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts import plans
from accounts.models import User
from batches import dispatch, pricing, progress, stalled, triage
from batches.models import Batch, Item, Result
from batches.states import BATCH_MOVES, RETRYABLE, BatchState, ItemState
from batches.views import wording
from batches.views.asking import tool_name, user_of, whole_number
from credits import ledger
from tools import registry
from tools.base import Tool
from tools.words import settings_used

CARDS_PER_PAGE = 100
MOST_STRETCHES = 15
"""So many loads of cards a page holds at most; from there on it links to other pages."""
MOST_MARKS = 3400
"""Characters that polls send of them: with all else they stay below 4,000."""
QUIET = 15
"""Polls without news, two seconds apart, after which a page asks less often."""

WAITING_FOR_A_YES = {BatchState.READY, BatchState.SAMPLED}
OVER = {BatchState.FINISHED, BatchState.CANCELLED}

SHOWN = {
    "processing": Q(state=ItemState.RUNNING),
    "done": Q(state=ItemState.DONE),
    "review": Q(state=ItemState.DONE) & ~Q(review=[]),
    "failed": Q(state=ItemState.FAILED),
}
"""What the grid can be narrowed to."""

_LETTERS = dict(zip(ItemState, "pqferdxc", strict=True))
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Segment:
    """A part of the bar. Each reaches from 0 to `end` percent and lies on the longer ones."""

    name: str
    end: float


@dataclass(frozen=True)
class Seen:
    """What a page that polls shows already; it sends this along and gets what differs.

    `marks` are those of each loaded stretch of cards, by its number. They go up in the address
    of each poll: 1,500 cards take about 3,200 characters of the 4,094 that the server reads.
    """

    marks: Mapping[str, str] = field(default_factory=dict)
    controls: str = ""
    credits: str = ""
    said: str = ""
    failed: str = ""
    quiet: int = 0

    @classmethod
    def by(cls, sent: QueryDict) -> "Seen":
        """What the page says that it shows."""
        marks = {
            name[1:]: sent.get(name, "") for name in sent if name[:1] == "m" and name[1:].isdigit()
        }
        names = ("controls", "credits", "said", "failed")
        quiet = min(QUIET, max(0, whole_number(sent.get("quiet") or "0")))
        return cls(marks=marks, quiet=quiet, **{name: sent.get(name, "") for name in names})


@dataclass(frozen=True)
class Stretch:
    """Cards that were loaded together, and what they look like."""

    number: str
    marks: str

    @property
    def length(self) -> int:
        """How much longer it makes the address of a poll."""
        return len(f"&m{self.number}={self.marks}")


@dataclass(frozen=True)
class Part:
    """As much of a long batch as one page holds, by its first page of cards."""

    page: int
    first: int
    last: int


@dataclass(frozen=True)
class _Mark:
    position: int
    pk: int
    look: str


def look(request: HttpRequest, batch: Batch, query: QueryDict, seen: Seen) -> dict[str, Any]:
    """What a batch's page and its polls show, in a fixed number of queries.

    `seen.marks` says which state each card of the page shows. So an answer holds the cards
    that have changed and no others, however late a poll or a worker's commit may be; times
    would miss a change that was committed after a look but made before it. Cards are named by
    their position in the batch, so that they stay where they are when the order would change.
    """
    now = timezone.now()
    counts = progress.of(batch, now=now)
    balance = ledger.balance(user_of(request))
    failed = triage.failures(batch) if counts.failed else []
    show, cause = _narrowed(query)
    grid = _grid(batch, query, seen, counts=counts, show=show, cause=cause, failed=failed)
    retryable = sum(failure.can_run for failure in failed)
    # While it runs the steps name no figures, so that they stay as they are under the mouse.
    shown = bool(retryable) if counts.live else retryable
    controls = f"{batch.state}.{int(shown)}.{int(counts.done > 0)}"
    said = f"{counts.finished * 4 // (counts.total or 1)}{'f' * bool(counts.failed)}"
    groups = triage.groups(failed)
    triage_shown = bool(groups) and batch.state in RETRYABLE and not counts.live
    causes = ".".join(f"{len(group.failures)}{group.key}" for group in groups) * triage_shown
    failed_mark = f"{crc32(causes.encode()):x}"
    news = grid["marks"] != dict(seen.marks) or controls != seen.controls
    quiet = 0 if news else min(QUIET, seen.quiet + 1)
    now_seen = {
        "controls": controls,
        "credits": balance.available,
        "said": said,
        "failed": failed_mark,
        "quiet": quiet,
    }
    waits = bool(dispatch.waiting(user_of(request), [batch]))
    place = _place(show, cause, grid["page_number"])
    url = reverse("batches:poll", args=[batch.uid])
    return grid | {
        "batch": batch,
        "tool_name": tool_name(batch),
        "settings_used": settings_used(batch.tool, batch.settings),
        "progress": counts,
        "segments": segments(counts),
        "headline": wording.headline(batch, counts, waits=waits),
        "time_left": "" if waits else wording.time_left(counts.eta_seconds),
        "ahead": _at_a_time(user_of(request)) if waits else _ahead(batch, counts),
        "stalled": "" if waits else stalled.reason(batch, counts, rows=True),
        "age": wording.age(batch, now=now),
        "took": wording.took(batch),
        "credits": balance,
        "may_retry": batch.state in RETRYABLE,
        "importing": _importing(batch, counts),
        "retryable": retryable,
        "failed_groups": groups if triage_shown else [],
        "failed_total": len(failed),
        "tool": tool_of(batch),
        "all_failed": batch.state == BatchState.FINISHED and not counts.done,
        "may_cancel": BatchState.CANCELLING in BATCH_MOVES[BatchState(batch.state)],
        "rest_credits": _rest_credits(batch) if counts.state in WAITING_FOR_A_YES else 0,
        "show": show,
        "cause": cause,
        "poll_url": f"{url}?{urlencode(place | now_seen)}",
        "poll_seconds": 5 if quiet >= QUIET else 2,
        "place": urlencode(place),
        "controls_changed": seen.controls != controls,
        "triage_changed": seen.failed != failed_mark,
        "balance_changed": seen.credits != str(balance.available),
        "announcement": _announcement(counts, seen.said, said),
        "notify": bool(getattr(user_of(request), "notify_browser", True)),
    }


def more(batch: Batch, query: QueryDict, seen: Seen) -> dict[str, Any]:
    """The next stretch of cards for a page that has some already."""
    show, cause = _narrowed(query)
    failed = triage.failures(batch) if cause else []
    have = {position for marks in seen.marks.values() for position, _look in _read(marks)}
    wanted = _items(batch, show=show, cause=cause, failed=failed)
    states = _states(wanted.exclude(position__in=have)[: 2 * CARDS_PER_PAGE])
    stretch, rest = states[:CARDS_PER_PAGE], states[CARDS_PER_PAGE:]
    number = 1 + max((int(number) for number in seen.marks), default=0)
    now = Stretch(str(number), _written(batch, stretch))
    after = Stretch(str(number + 1), _written(batch, rest))
    loaded = [Stretch(number, marks) for number, marks in seen.marks.items()]
    is_full = len(_fitting([*loaded, now, after])) < len(loaded) + 2
    return {
        "batch": batch,
        "may_retry": batch.state in RETRYABLE,
        "cards": _cards([mark.pk for mark in stretch]),
        "stretches": [now],
        "next_page": number + 1 if rest else 0,
        "parts": _parts(wanted.count()) if rest and is_full else [],
        "show": show,
        "cause": cause,
        "place": urlencode(_place(show, cause, 1)),
    }


def _fitting(stretches: Sequence[Stretch]) -> Sequence[Stretch]:
    """As many of these, from the first on, as one page may hold; one at least."""
    ends = accumulate(stretch.length for stretch in stretches)
    fit = sum(end <= MOST_MARKS for end in ends)
    return stretches[: max(1, min(MOST_STRETCHES, fit))]


def _parts(total: int) -> list[Part]:
    """Pages that between them have all cards, each with what it loads by itself."""
    size = MOST_STRETCHES * CARDS_PER_PAGE
    return [
        Part(first // CARDS_PER_PAGE + 1, first + 1, min(first + size, total))
        for first in range(0, total, size)
    ]


def _narrowed(query: QueryDict) -> tuple[str, str]:
    """What the grid is narrowed to: a state, and of the failed ones a cause."""
    show = query.get("show", "")
    show = show if show in SHOWN else ""
    return show, query.get("cause", "")[:200] if show == "failed" else ""


@dataclass(frozen=True)
class Importing:
    """How far a sheet's import is, or what it came to."""

    rows: int
    """All images that the batch is to have."""
    taken: int
    problems: Sequence[Mapping[str, Any]]
    halted: str
    """Why the batch that is ready was not started."""

    @property
    def percent(self) -> int:
        """0 to 100."""
        return self.taken * 100 // (self.rows or 1)


def _importing(batch: Batch, counts: progress.Progress) -> Importing | None:
    """What the page says of an import; nothing for a batch that was not imported."""
    if not batch.plan:
        return None
    plan = batch.plan
    problems = plan.get("errors", [])
    return Importing(plan.get("rows", 0), counts.total, problems, plan.get("halted", ""))


def _place(show: str, cause: str, number: int) -> dict[str, Any]:
    everything = (("show", show), ("cause", cause), ("page", number))
    return {key: value for key, value in everything if value not in ("", 1)}


def _items(
    batch: Batch, *, show: str, cause: str, failed: Iterable[triage.Failure]
) -> QuerySet[Item]:
    """The items that the grid shows; what failed comes first once the batch is over."""
    items = batch.items.filter(SHOWN[show]) if show else batch.items.all()
    if cause:
        items = items.filter(uid__in=[failure.uid for failure in failed if failure.key == cause])
    if batch.state in OVER:
        first = Case(When(state=ItemState.FAILED, then=Value(0)), default=Value(1))
        return items.order_by(first, "position")
    return items.order_by("position")


def _grid(
    batch: Batch,
    query: QueryDict,
    seen: Seen,
    *,
    counts: progress.Progress,
    show: str,
    cause: str,
    failed: Sequence[triage.Failure],
) -> dict[str, Any]:
    """The cards that a page does not show as they are, and where all of them are."""
    items = _items(batch, show=show, cause=cause, failed=failed)
    if batch.state == BatchState.IMPORTING:
        items = items.none()  # rows come and may go again: they are shown when all are in
    elif not show and any(True for marks in seen.marks.values() for _mark in _read(marks)):
        return _changed(batch, seen)
    if cause:
        total = sum(failure.key == cause for failure in failed)
    else:
        total = {
            "processing": counts.processing,
            "done": counts.done,
            "review": counts.needs_review,
            "failed": counts.failed,
        }.get(show, counts.total)
    if batch.state == BatchState.IMPORTING:
        total = 0
    pages = max(1, ceil(total / CARDS_PER_PAGE))
    number = min(max(1, whole_number(query.get("page"))), pages)
    first = (number - 1) * CARDS_PER_PAGE
    # A narrowed grid that is open keeps as many cards as were loaded.
    length = CARDS_PER_PAGE * max(1, len(seen.marks))
    states = _states(items[first : first + length])
    stretches = [
        Stretch(str(number + n), _written(batch, states[at : at + CARDS_PER_PAGE]))
        for n, at in enumerate(range(0, max(1, len(states)), CARDS_PER_PAGE))
    ]
    kept = _fitting(stretches)
    is_full = len(kept) < len(stretches) or len(kept) == MOST_STRETCHES
    stretches, length = list(kept), min(length, CARDS_PER_PAGE * len(kept))
    rest = first + length < total
    marks = {stretch.number: stretch.marks for stretch in stretches}
    same = bool(seen.marks) and marks == dict(seen.marks)
    return {
        "marks": marks,
        "cards": [] if same else _cards([mark.pk for mark in states[:length]]),
        "whole_grid": not same,
        "stretches": stretches,
        "page_number": number,
        "pages": range(1, pages + 1),
        "next_page": number + len(stretches) if rest else 0,
        "parts": _parts(total) if rest and is_full else [],
    }


def _changed(batch: Batch, seen: Seen) -> dict[str, Any]:
    """Those of the cards which a page has that look different by now."""
    loaded = [position for marks in seen.marks.values() for position, _look in _read(marks)]
    items = batch.items.filter(position__in=loaded)  # the page has these; there may be far more
    by_position = {mark.position: mark for mark in _states(items.order_by("position"))}
    head = _head(batch)
    changed: list[int] = []
    stretches: list[Stretch] = []
    for number, marks in seen.marks.items():
        before = list(_read(marks))
        shown = [by_position[position] for position, _look in before if position in by_position]
        all_of_them = marks.partition(".")[0] != head
        looked = dict(before)
        changed += [mark.pk for mark in shown if all_of_them or looked[mark.position] != mark.look]
        stretches.append(Stretch(number, _written(batch, shown)))
    return {
        "marks": {stretch.number: stretch.marks for stretch in stretches},
        "cards": _cards(changed),
        "whole_grid": False,
        "stretches": [s for s in stretches if s.marks != seen.marks[s.number]],
        "page_number": 1,
        "pages": range(1, 2),
        "next_page": 0,
    }


def _states(items: QuerySet[Item]) -> list[_Mark]:
    return [
        _Mark(position, pk, _LETTERS[ItemState(state)] + _DIGITS[attempt % len(_DIGITS)])
        for position, pk, state, attempt in items.values_list("position", "pk", "state", "attempt")
    ]


def _head(batch: Batch) -> str:
    """What else the looks of cards depend on: whether they offer a retry."""
    return str(int(batch.state in RETRYABLE))


def _written(batch: Batch, marks: Sequence[_Mark]) -> str:
    """Marks as text: runs of neighbours, each with its first position, two characters a card."""
    runs = []
    for _distance, run in groupby(enumerate(marks), key=lambda pair: pair[1].position - pair[0]):
        cards = [mark for _n, mark in run]
        runs.append(f"{cards[0].position}-{''.join(mark.look for mark in cards)}")
    return ".".join([_head(batch), *runs])


def _read(marks: str) -> Iterable[tuple[int, str]]:
    """Positions and looks from what `_written` wrote; what it did not write is skipped."""
    for run in marks.split(".")[1:]:
        first, _dash, looks = run.partition("-")
        if first.isdecimal():
            for n in range(0, len(looks), 2):
                yield int(first) + n // 2, looks[n : n + 2]


def _cards(ids: Sequence[int]) -> list[Item]:
    if not ids:
        return []
    found = Item.objects.filter(pk__in=ids).select_related("original")
    by_id = {item.pk: item for item in found.prefetch_related("results")}
    return [by_id[pk] for pk in ids if pk in by_id]


def _ahead(batch: Batch, counts: progress.Progress) -> str:
    """How many batches have images waiting before this one's first; asked until one begins."""
    begun = counts.finished or counts.processing or not batch.started_at
    if batch.state != BatchState.RUNNING or begun:
        return ""
    n = Batch.objects.ahead_of(batch).count()
    if not n:
        return _("Next in line")
    return ngettext("{n} batch ahead", "{n} batches ahead", n).format(n=n)


def _at_a_time(owner: User) -> str:
    """Why a batch waits for others."""
    n = plans.plan_for(owner).concurrent_batches or 0
    return ngettext(
        "Your plan runs {n} batch at a time", "Your plan runs {n} batches at a time", n
    ).format(n=n)


def _rest_credits(batch: Batch) -> int:
    """What the items cost at most that wait for somebody to start or approve them."""
    waiting = batch.items.filter(state=ItemState.PENDING)
    return waiting.aggregate(n=Sum("held_price"))["n"] or 0


def segments(counts: progress.Progress) -> list[Segment]:
    """The bar, longest part first, so that each covers the end of the one before."""
    good = counts.done - counts.needs_review
    parts = [
        ("done", good),
        ("review", counts.needs_review),
        ("failed", counts.failed),
        ("cancelled", counts.cancelled),
        ("processing", counts.processing),
    ]
    drawn, so_far = [], 0
    for name, n in parts:
        so_far += n
        drawn.append(Segment(name, round(100 * so_far / (counts.total or 1), 2)))
    return drawn[::-1]


def _announcement(counts: progress.Progress, before: str, now: str) -> str:
    """What screen readers are told: quarters and the first failure, never each image."""
    if not before or before == now:
        return ""
    told = []
    if now[:1] != before[:1]:
        text = _("{finished} of {total} finished.")
        told.append(text.format(finished=counts.finished, total=counts.total))
    if now.endswith("f") and not before.endswith("f"):
        text = ngettext("{n} image failed.", "{n} images failed.", counts.failed)
        told.append(text.format(n=counts.failed))
    return " ".join(told)


def tool_of(batch: Batch) -> Tool | None:
    """The batch's tool, if it still exists."""
    try:
        return pricing.of_batch(batch)
    except registry.UnknownTool:
        return None


def looked_at(request: HttpRequest, item: Item, results: Sequence[Result]) -> dict[str, Any]:
    """The result that a page shows: the first of an image, or the one that `?result=` counts to."""
    if not results:
        return {"result": None, "results": [], "after": "", "download": ""}
    wanted = request.GET.get("result", "")
    counted = {str(number): result for number, result in enumerate(results, start=1)}
    result = counted.get(wanted, results[0])
    place = {"position": result.position} if result.position else {}
    address = reverse("batches:result", args=[item.uid])
    return {
        "result": result,
        "results": results,
        "after": f"{address}?{urlencode(place)}".rstrip("?") if result.key else "",
        "download": f"{address}?{urlencode({**place, 'download': 1})}",
    }
