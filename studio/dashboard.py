"""What staff sees first: what runs, what waits, what failed, and who works.

Every figure is one question to an index, or a thing of Valkey's: they take as long with a million
images as with a hundred.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from django.conf import settings
from django.core.files.storage import storages
from django.db.models import Count
from django.db.models.functions import TruncMinute
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from batches import dispatch, failures
from batches.models import Batch, Item
from batches.states import IN_HAND, BatchState, ItemState
from credits import ledger
from studio import fleet

MINUTES = 60
DAYS = 30


@dataclass(frozen=True)
class Bar:
    """One column of a chart: where it stands and how high it is, in parts of the chart."""

    label: str
    values: tuple[int, ...]
    x: float
    width: float
    parts: tuple[tuple[float, float], ...]
    """For each value, from the top: where its part begins and how high it is, of 100."""


@dataclass(frozen=True)
class Chart:
    """Columns of values, one upon the other, and the same as sentences for whoever can't see it."""

    title: str
    names: Sequence[str]
    bars: Sequence[Bar]
    most: int
    total: Sequence[int]


@dataclass(frozen=True)
class Queue:
    """One queue: how many jobs wait, and for how long the first of them has."""

    name: str
    depth: int
    waits_seconds: int | None
    workers: int


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Put the figures into the page, for those who may look at batches."""
    if request.user.has_perm("batches.view_batch"):
        context["dashboard"] = look(now=timezone.now())
    return context


def look(*, now: datetime) -> dict[str, Any]:
    """All figures as of now."""
    found: dict[str, Any] = {
        "now": now,
        "batches": _batches(),
        "minutes": _minutes(now),
        "failures": failures.lately(now=now)[:8],
        "items_url": reverse("admin:batches_item_changelist"),
        "credits": _credits(now),
        "disk": _disk(),
        "in_hand": dict(
            Item.objects.filter(state__in=IN_HAND).values_list("worker", "uid").order_by()[:200]
        ),
    }
    try:
        client = dispatch.connection()
        found["workers"] = fleet.workers(client)
        found["queues"] = queues(client, found["workers"], now=now)
    except (redis.RedisError, OSError):
        found["workers"] = found["queues"] = None
    if found["workers"]:
        found["workers"] = [
            (worker, found["in_hand"].get(worker.name, "")) for worker in found["workers"]
        ]
    return found


def chart(title: str, names: Sequence[str], rows: Iterable[tuple[str, tuple[int, ...]]]) -> Chart:
    """Columns from labelled values; the highest column fills the chart."""
    rows = list(rows)
    most = max((sum(values) for _label, values in rows), default=0)
    width = 100 / (len(rows) or 1)
    bars = []
    for number, (label, values) in enumerate(rows):
        parts, top = [], 100.0
        for value in values:
            height = 100 * value / (most or 1)
            top -= height
            parts.append((round(top, 2), round(height, 2)))
        bars.append(
            Bar(label, values, round(number * width, 3), round(width * 0.8, 3), tuple(parts))
        )
    total = [sum(column) for column in zip(*(values for _label, values in rows), strict=True)]
    return Chart(title, names, bars, most, total)


def _batches() -> list[dict[str, Any]]:
    """Live batches by state, each with the address of their list."""
    states = Batch.objects.live().values_list("state").annotate(n=Count("pk")).order_by()
    there = dict(states)
    address = reverse("admin:batches_batch_changelist")
    shown = [BatchState.RUNNING, BatchState.PAUSED, BatchState.IMPORTING, BatchState.CANCELLING]
    return [
        {"name": state.label, "n": there.get(state, 0), "url": f"{address}?state__exact={state}"}
        for state in shown
    ]


def _minutes(now: datetime) -> Chart:
    begin = now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
    ended = Item.objects.filter(
        finished_at__gte=begin, state__in=[ItemState.DONE, ItemState.FAILED]
    )
    rows = ended.annotate(minute=TruncMinute("finished_at")).values_list("minute", "state")
    counts = {(minute, state): n for minute, state, n in rows.annotate(n=Count("pk")).order_by()}
    minutes = [begin + timedelta(minutes=number) for number in range(MINUTES)]
    return chart(
        _("Images per minute, in the last hour"),
        [_("done"), _("failed")],
        (
            (
                f"{minute:%H:%M}",
                (counts.get((minute, "done"), 0), counts.get((minute, "failed"), 0)),
            )
            for minute in minutes
        ),
    )


def _credits(now: datetime) -> Chart:
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=number) for number in reversed(range(DAYS))]
    moved = ledger.by_day(since=days[0])
    return chart(
        _("Credits used per day, in the last 30 days"),
        [_("used")],
        ((f"{day:%Y-%m-%d}", (moved.get(day.date(), (0, 0))[1],)) for day in days),
    )


def _disk() -> dict[str, Any]:
    usage = shutil.disk_usage(settings.DATA.root)
    return {
        "used": usage.total - usage.free,
        "free": usage.free,
        "percent": round(100 * (usage.total - usage.free) / usage.total),
        "is_s3": hasattr(storages["results"], "bucket"),
    }


def queues(client: redis.Redis, workers: Sequence[fleet.Worker], *, now: datetime) -> list[Queue]:
    """How long each queue is, in two round trips."""
    names = list(settings.RQ_QUEUES)
    with client.pipeline() as asked:
        for name in names:
            asked.llen(f"rq:queue:{name}")
            asked.lindex(f"rq:queue:{name}", 0)
        answers = asked.execute()
    depths, firsts = answers[::2], answers[1::2]
    with client.pipeline() as asked:
        for first in firsts:
            asked.hget(f"rq:job:{(first or b'').decode()}", "enqueued_at")
        since = asked.execute()
    serving = Counter(worker.queue for worker in workers)
    return [
        Queue(name, depth, _seconds_since(begun, now), serving[name])
        for name, depth, begun in zip(names, depths, since, strict=True)
    ]


def _seconds_since(text: bytes | None, now: datetime) -> int | None:
    """RQ writes times as `2026-11-27T12:00:00.123456Z`."""
    if not text:
        return None
    try:
        begun = datetime.fromisoformat(text.decode())
    except ValueError:
        return None
    return max(0, int((now - begun).total_seconds()))
