"""What staff sees first: what runs, what waits, what failed, and who works.

Every figure is a question that an index answers by itself, or a thing of Valkey's, and no question
grows with what the site has ever done. What would is counted so far and no further (`MOST`), or is
kept once it can't change any more (credits of days that are over).
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.core.files.storage import FileSystemStorage, storages
from django.db import connection
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
MOST = 10_000
"""Waiting images are counted up to here."""
SETTLES = timedelta(hours=1)
"""So long after its end, nothing is booked on a day any more: clocks differ, and a transaction
takes its time."""
WAITING = (ItemState.QUEUED, ItemState.FETCHED)

_days: dict[date, tuple[int, int]] = {}
"""Credits granted and used on days that are over: this process asks for each of them once."""


@dataclass(frozen=True)
class Series:
    """One of the values that a chart shows at each place, and all of it together."""

    name: str
    tone: str
    """Names its colour in `admin.css`."""
    total: int


@dataclass(frozen=True)
class Part:
    """A rectangle, in hundredths of the chart."""

    tone: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bar:
    """One place of a chart: its values, and where each is drawn."""

    label: str
    values: tuple[int, ...]
    x: float
    width: float
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Chart:
    """A picture of figures, and the figures themselves for whoever can't see it."""

    title: str
    column: str
    """What the labels are: the head of their column in the table."""
    series: Sequence[Series]
    bars: Sequence[Bar]
    most: int


@dataclass(frozen=True)
class Queue:
    """One queue: how many jobs wait, and for how long the first of them has."""

    name: str
    depth: int
    waits_seconds: int | None
    workers: int

    @property
    def waits(self) -> str:
        """The time in its largest unit; empty where nothing waits."""
        return "" if self.waits_seconds is None else _lasting(self.waits_seconds)


@dataclass(frozen=True)
class Held:
    """An image that a worker has in hand."""

    pk: int
    name: str


@dataclass(frozen=True)
class Station:
    """A worker with the images that the database says it has in hand."""

    worker: fleet.Worker
    held: Sequence[Held]
    more: int
    """How many beside those."""


@dataclass(frozen=True)
class Staffing:
    """The queues and who serves them."""

    queues: Sequence[Queue]
    stations: Sequence[Station]


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Put the figures into the page, for those who may look at batches."""
    if may_look(request):
        context["dashboard"] = look(now=timezone.now())
    return context


def may_look(request: HttpRequest) -> bool:
    """Whether somebody of the staff sees the figures and the workers."""
    return bool(request.user.has_perm("batches.view_batch"))


def look(*, now: datetime) -> dict[str, Any]:
    """All figures as of now."""
    return {
        "now": now,
        "batches": _batches(),
        "waiting": Item.objects.filter(batch__state=BatchState.RUNNING, state__in=WAITING)
        .order_by()[: MOST + 1]
        .count(),
        "waiting_most": MOST,
        "minutes": _minutes(now),
        "failures": failures.lately(now=now),
        "failures_most": failures.MOST,
        "items_url": reverse("admin:batches_item_changelist"),
        "credits": _credits(now),
        "disk": _disk(),
        "staffing": staffing(now=now),
    }


def staffing(*, now: datetime) -> Staffing | None:
    """Who works and what waits for them; nothing while Valkey is away."""
    try:
        client = dispatch.connection()
        there = fleet.workers(client)
        waiting = queues(client, there, now=now)
    except (redis.RedisError, OSError):
        return None
    # The database is right about who has what; what a worker says of itself is seconds old.
    in_hand = Item.objects.filter(state__in=IN_HAND, worker__in=[one.name for one in there])
    held: dict[str, list[Held]] = {}
    for pk, name, holder in in_hand.values_list("pk", "name", "worker").order_by()[:MOST]:
        held.setdefault(holder, []).append(Held(pk, name))
    stations = []
    for worker in there:
        images = sorted(held.get(worker.name, ()), key=lambda image: image.pk)
        stations.append(Station(worker, images[:1], max(0, len(images) - 1)))
    return Staffing(waiting, stations)


def chart(
    title: str,
    column: str,
    names: Sequence[tuple[str, str]],
    rows: Iterable[tuple[str, tuple[int, ...]]],
    *,
    stacked: bool,
) -> Chart:
    """Bars from labelled values, one upon the other or side by side; the highest fills the chart.

    `names` are the values' names and tones.
    """
    rows = list(rows)
    heights = [sum(values) if stacked else max(values) for _label, values in rows]
    most = max(heights, default=0)
    place = 100 / (len(rows) or 1)
    bars = []
    for number, (label, values) in enumerate(rows):
        left, width, parts, top = number * place, place * 0.8, [], 100.0
        for order, (value, (_name, tone)) in enumerate(zip(values, names, strict=True)):
            height = 100 * value / (most or 1)
            if stacked:
                top -= height
                parts.append(_part(tone, left, top, width, height))
            else:
                own = width / len(names)
                parts.append(_part(tone, left + order * own, 100 - height, own, height))
        bars.append(Bar(label, values, round(left, 3), round(place, 3), tuple(parts)))
    totals = [sum(column) for column in zip(*(values for _label, values in rows), strict=True)]
    series = [Series(name, tone, total) for (name, tone), total in zip(names, totals, strict=True)]
    return Chart(title, column, series, bars, most)


def _part(tone: str, x: float, y: float, width: float, height: float) -> Part:
    return Part(tone, round(x, 3), round(y, 2), round(width, 3), round(height, 2))


def _batches() -> list[dict[str, Any]]:
    """Live batches by state, each with the address of their list."""
    states = Batch.objects.live().values_list("state").annotate(n=Count("*")).order_by()
    there = dict(states)
    address = reverse("admin:batches_batch_changelist")
    shown = [BatchState.RUNNING, BatchState.PAUSED, BatchState.IMPORTING, BatchState.CANCELLING]
    return [
        {
            "state": state,
            "name": state.label,
            "n": there.get(state, 0),
            "url": f"{address}?state__exact={state}",
        }
        for state in shown
    ]


def _minutes(now: datetime) -> Chart:
    begin = now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
    ended = Item.objects.filter(
        finished_at__gte=begin, state__in=[ItemState.DONE, ItemState.FAILED]
    )
    rows = ended.annotate(minute=TruncMinute("finished_at")).values_list("minute", "state")
    counts = {(minute, state): n for minute, state, n in rows.annotate(n=Count("*")).order_by()}
    minutes = [begin + timedelta(minutes=number) for number in range(MINUTES)]
    return chart(
        _("Images per minute, in the last hour"),
        _("Minute"),
        [(_("done"), "done"), (_("failed"), "failed")],
        (
            (
                f"{timezone.localtime(minute):%H:%M}",
                (counts.get((minute, "done"), 0), counts.get((minute, "failed"), 0)),
            )
            for minute in minutes
        ),
        stacked=True,
    )


def _credits(now: datetime) -> Chart:
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=number) for number in reversed(range(DAYS))]
    return chart(
        _("Credits granted and used per day, in the last 30 days"),
        _("Day (UTC)"),
        [(_("granted"), "granted"), (_("used"), "used")],
        ((f"{day:%Y-%m-%d}", _moved(day, now)) for day in days),
        stacked=False,
    )


def _moved(day: datetime, now: datetime) -> tuple[int, int]:
    """Credits granted and used on the day that begins then."""
    known = _days.get(day.date())
    if known is not None:
        return known
    end = day + timedelta(days=1)
    captured, granted = ledger.moved(since=day, until=end)
    if end + SETTLES <= now:
        for over in [past for past in _days if past < (now - timedelta(days=DAYS + 1)).date()]:
            del _days[over]
        _days[day.date()] = (granted, captured)
    return granted, captured


def forget() -> None:
    """Ask for all days anew: another database, or rows that were written into the past."""
    _days.clear()


def _disk() -> dict[str, Any]:
    usage = shutil.disk_usage(settings.DATA.root)
    return {
        "used": usage.total - usage.free,
        "free": usage.free,
        "percent": round(100 * (usage.total - usage.free) / usage.total),
        "is_s3": not isinstance(storages["results"], FileSystemStorage),
        "database": _database_bytes(),
    }


def _database_bytes() -> int:
    if connection.vendor == "sqlite":
        name = str(connection.settings_dict["NAME"])
        files = [Path(name), Path(f"{name}-wal")]
        return sum(file.stat().st_size for file in files if file.exists())
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])


def _lasting(seconds: int) -> str:
    if seconds < 120:
        return _("{n} s").format(n=seconds)
    if seconds < 7200:
        return _("{n} min").format(n=seconds // 60)
    return _("{n} h").format(n=seconds // 3600)


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
