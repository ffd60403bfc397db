"""One look at a batch: what its page and its polls show, in a fixed number of queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any
from urllib.parse import urlencode

from django.db.models import Sum
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from rest_framework.serializers import Field

from batches import progress
from batches.models import Batch, Item
from batches.states import BATCH_MOVES, RETRYABLE, BatchState, ItemState
from batches.views import wording
from batches.views.asking import tool_name, user_of, whole_number
from credits import ledger
from tools import registry

CARDS_PER_PAGE = 100

WAITING_FOR_A_YES = {BatchState.READY, BatchState.SAMPLED}

SHOWN = {"done": ItemState.DONE, "failed": ItemState.FAILED}
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
    """What a page that polls shows already; it sends this along and gets what differs."""

    marks: str = ""
    controls: str = ""
    credits: str = ""
    said: str = ""


def look(request: HttpRequest, batch: Batch, query: QueryDict, seen: Seen) -> dict[str, Any]:
    """What a batch's page and its polls show, in a fixed number of queries.

    `seen.marks` says which state each card of the page shows. So an answer holds the cards
    that have changed and no others, however late a poll or a worker's commit may be; times
    would miss a change that was committed after a look but made before it.
    """
    now = timezone.now()
    counts = progress.of(batch, now=now)
    balance = ledger.balance(user_of(request))
    show = query.get("show", "")
    show = show if show in SHOWN else ""
    total = {"done": counts.done, "failed": counts.failed}.get(show, counts.total)
    pages = max(1, ceil(total / CARDS_PER_PAGE))
    number = min(max(1, whole_number(query.get("page"))), pages)
    items = batch.items.filter(state=SHOWN[show]) if show else batch.items.all()
    first = (number - 1) * CARDS_PER_PAGE
    states = list(
        items.order_by("position").values_list("pk", "state", "attempt")[
            first : first + CARDS_PER_PAGE
        ]
    )
    marks = batch.state + "." + "".join(_mark(state, n) for _pk, state, n in states)
    if show or _head(seen.marks) != batch.state:
        # Another state may mean other buttons, and a filter other cards.
        changed = [] if marks == seen.marks else [pk for pk, *_rest in states]
    else:
        before = dict(enumerate(_pairs(seen.marks)))
        changed = [
            pk
            for n, (pk, state, attempt) in enumerate(states)
            if before.get(n) != _mark(state, attempt)
        ]
    retryable = _retryable(batch) if counts.failed else 0
    # While it runs the steps name no figures, so that they stay as they are under the mouse.
    shown = bool(retryable) if counts.live else retryable
    controls = f"{batch.state}.{int(shown)}.{int(counts.done > 0)}"
    said = f"{counts.finished * 4 // (counts.total or 1)}{'f' * bool(counts.failed)}"
    place = {
        key: value for key, value in (("show", show), ("page", number)) if value not in ("", 1)
    }
    now_seen = {"marks": marks, "controls": controls, "credits": balance.available, "said": said}
    url = reverse("batches:poll", args=[batch.uid])
    return {
        "batch": batch,
        "tool_name": tool_name(batch),
        "settings_used": _settings_used(batch),
        "progress": counts,
        "segments": segments(counts),
        "headline": wording.headline(batch, counts),
        "time_left": wording.time_left(counts.eta_seconds),
        "age": wording.age(batch, now=now),
        "took": wording.took(batch),
        "credits": balance,
        "may_retry": batch.state in RETRYABLE,
        "retryable": retryable,
        "all_failed": batch.state == BatchState.FINISHED and not counts.done,
        "may_cancel": BatchState.CANCELLING in BATCH_MOVES[BatchState(batch.state)],
        "rest_credits": _rest_credits(batch) if counts.state in WAITING_FOR_A_YES else 0,
        "cards": _cards(changed),
        "whole_grid": bool(show) and marks != seen.marks,
        "show": show,
        "page_number": number,
        "pages": range(1, pages + 1),
        "place": urlencode(place),
        "poll_url": f"{url}?{urlencode(place | now_seen)}",
        "controls_changed": seen.controls != controls,
        "balance_changed": seen.credits != str(balance.available),
        "announcement": _announcement(counts, seen.said, said),
    }


def _mark(state: str, attempt: int) -> str:
    """Two characters that differ whenever a card looks different."""
    return _LETTERS[ItemState(state)] + _DIGITS[attempt % len(_DIGITS)]


def _head(marks: str) -> str:
    return marks.partition(".")[0]


def _pairs(marks: str) -> list[str]:
    cards = marks.partition(".")[2]
    return [cards[n : n + 2] for n in range(0, len(cards), 2)]


def _cards(ids: Sequence[int]) -> list[Item]:
    if not ids:
        return []
    found = Item.objects.filter(pk__in=ids).select_related("original").order_by("position")
    return list(found.prefetch_related("results"))


def _retryable(batch: Batch) -> int:
    """Failed items that have something to be run on; a file that was turned away was not kept."""
    failed = batch.items.filter(state=ItemState.FAILED)
    return failed.exclude(source_url="", original=None).count()


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


def _settings_used(batch: Batch) -> list[tuple[str, str]]:
    """Label and value of each setting; as they were stored when the tool is gone."""
    try:
        fields = registry.get(batch.tool).Settings().fields
    except registry.UnknownTool:
        return [(name, str(value)) for name, value in batch.settings.items()]
    shown = []
    for name, value in batch.settings.items():
        if value is None or name not in fields:
            continue
        shown.append((str(fields[name].label), _value_in_words(fields[name], value)))
    return shown


def _value_in_words(field: Field[Any, Any, Any, Any], value: Any) -> str:
    """A setting's value as its form names it: a choice, a swatch, yes or no."""
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    named = {**getattr(field, "choices", {}), **dict(field.style.get("swatches", ()))}
    return str(named.get(value, value))
