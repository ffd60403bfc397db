"""The reading side: counts, credits and time left. Counted at each look, never stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from math import ceil
from statistics import median
from typing import Any

from django.db.models import Count, F, Q, Sum, Window
from django.db.models.functions import Coalesce, RowNumber

from batches.models import Batch, Item
from batches.states import ENDED, LIVE, ON_HOLD, BatchState, ItemState

RECENT = 40
"""Items that the pace is measured on."""
IDLE_FROM = 30.0
"""Seconds without a result that are at least needed to count as a pause."""


@dataclass(frozen=True)
class Progress:
    """One look at a batch. The five counts add up to the total."""

    state: BatchState
    total: int
    waiting: int
    processing: int
    done: int
    failed: int
    cancelled: int
    needs_review: int
    quoted: int
    held: int
    used: int
    released: int
    eta_seconds: tuple[int, int] | None

    @property
    def finished(self) -> int:
        """Items that have ended, one way or another."""
        return self.done + self.failed + self.cancelled

    @property
    def percent(self) -> int:
        """0 to 100; 100 only when every item has ended."""
        return 100 if not self.total else self.finished * 100 // self.total

    @property
    def live(self) -> bool:
        """Whether another look may show something else."""
        return self.state in LIVE


def of(batch: Batch, *, now: datetime | None) -> Progress:
    """Count the items of a batch: one query, and one more for the pace while it runs."""
    return of_many([batch], now=now)[batch.pk]


def of_many(batches: Sequence[Batch], *, now: datetime | None) -> dict[int, Progress]:
    """Count the items of several batches, by the batches' ids.

    One query for all of them, and one more for the pace of those that run; `now` may be nothing
    where nobody asks for the time left.
    """
    found: dict[int, dict[str, Any]] = {batch.pk: {} for batch in batches}
    rows = (
        Item.objects.filter(batch__in=found)
        .values("batch", "state")
        .annotate(
            n=Count("pk"),
            quote=Coalesce(Sum("held_price"), 0),
            on_hold=Coalesce(Sum("held_price", filter=Q(hold__isnull=False)), 0),
            used=Coalesce(Sum("price"), 0),
            review=Count("pk", filter=~Q(review=[])),
        )
    )
    for row in rows:
        found[row["batch"]][row["state"]] = row
    looks = {batch.pk: _progress(batch, found[batch.pk]) for batch in batches}
    if now is None:
        return looks
    paced = [pk for pk, look in looks.items() if _pace_is_known(look)]
    for pk, times in _recent(paced).items():
        look = looks[pk]
        looks[pk] = replace(look, eta_seconds=_time_left(times, look.total - look.finished, now))
    return looks


def _progress(batch: Batch, rows: Mapping[str, Mapping[str, int]]) -> Progress:
    """One batch's figures from its rows, one for each state of items; without the time left."""

    def total_of(column: str, *states: ItemState) -> int:
        return sum(rows[state][column] for state in states if state in rows)

    processing = total_of("n", ItemState.RUNNING)
    ended = {state: total_of("n", state) for state in ENDED}
    total = total_of("n", *ItemState)
    used = total_of("used", *ItemState)
    finished = sum(ended.values())
    return Progress(
        state=BatchState(batch.state),
        total=total,
        waiting=total - processing - finished,
        processing=processing,
        done=ended[ItemState.DONE],
        failed=ended[ItemState.FAILED],
        cancelled=ended[ItemState.CANCELLED],
        needs_review=total_of("review", ItemState.DONE),
        quoted=total_of("quote", *ItemState),
        held=total_of("on_hold", *ON_HOLD),
        used=used,
        released=total_of("on_hold", *ENDED) - used,
        eta_seconds=None,
    )


def _pace_is_known(look: Progress) -> bool:
    """Whether enough has been done to say how long the rest takes: 5 items, or a tenth."""
    enough = min(5, max(2, look.total // 10))
    return look.state == BatchState.RUNNING and look.finished < look.total and look.done >= enough


def _recent(batches: Sequence[int]) -> dict[int, list[tuple[datetime, datetime]]]:
    """When the items that were done last began and ended, by batch."""
    done = Item.objects.filter(batch__in=batches, state=ItemState.DONE).order_by("-finished_at")
    if len(batches) > 1:
        place = Window(
            RowNumber(), partition_by=F("batch"), order_by=F("finished_at").desc(nulls_last=True)
        )
        done = done.annotate(place=place).filter(place__lte=RECENT)
    else:  # no need to put all of them in order
        done = done[:RECENT]
    found: dict[int, list[tuple[datetime, datetime]]] = {}
    if batches:
        for batch, began, ended in done.values_list("batch", "started_at", "finished_at"):
            if began and ended:
                found.setdefault(batch, []).append((began, ended))
    return found


def _time_left(
    times: Sequence[tuple[datetime, datetime]], left: int, now: datetime
) -> tuple[int, int]:
    """A range in seconds for the items that are left, at the pace of these."""
    began = min(began for began, _ended in times)
    ends = [*sorted(ended for _began, ended in times), now]
    gaps = [(after - before).total_seconds() for before, after in pairwise(ends)]
    worked = (now - began).total_seconds() - _idle(gaps)
    each = max(worked, 0.001) / len(times)
    return max(1, int(left * each * 0.75)), max(2, ceil(left * each * 1.4))


def _idle(gaps: Sequence[float]) -> float:
    """Seconds in which nothing was worked on: a pause, or all workers were away.

    Between two results there is about as much time as between two others; what is far more than
    that says nothing of the pace.
    """
    usual = median(gaps[:-1] or gaps)  # the last one is open: it may belong to a pause just ended
    longest = max(IDLE_FROM, usual * 10)
    return sum(gap - usual for gap in gaps if gap > longest)
