"""What a Prometheus scrapes: figures as they are now, from indexes of the database and Valkey.

All but those of requests (`studio.timing`) are gauges, and none of them is counted in a process: so
it makes no difference how many web processes there are or which of them answers, and a restart
loses nothing.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

import redis
from django.conf import settings
from django.db import Error
from django.db.models import Count
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from batches import dispatch, failures
from batches.models import Batch, Delivery, Item, WebhookMessage, WebhookState
from batches.states import ItemState
from credits import ledger
from studio import dashboard, fleet, timing
from studio.models import ScheduledRun

Gauges = Iterator[GaugeMetricFamily]


def scrape() -> bytes:
    """All figures in Prometheus's text format, without those of what does not answer."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Site())
    timing.add_to(registry)
    return generate_latest(registry)


class _Site(Collector):
    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Everything."""
        up = gauge("studio_up", "Whether it answers.", "what")
        for what, read in {"database": _of_database, "valkey": _of_valkey}.items():
            families, answers = _tried(read)
            yield from families
            up.add_metric([what], answers)
        yield up
        usage = shutil.disk_usage(settings.DATA.root)
        yield gauge(
            "studio_disk_free_bytes", "Free on the disk of the data directory.", n=usage.free
        )


def gauge(name: str, text: str, *labels: str, n: float | None = None) -> GaugeMetricFamily:
    """A figure, or with labels one to be filled with figures."""
    return GaugeMetricFamily(name, text, value=n, labels=labels or None)


def _tried(read: Callable[[], Gauges]) -> tuple[list[GaugeMetricFamily], float]:
    try:
        return list(read()), 1.0
    except (Error, redis.RedisError, OSError):
        return [], 0.0


def _of_database() -> Gauges:
    now = timezone.now()
    live = gauge("studio_batches", "Batches that may still change.", "state")
    for state, n in Batch.objects.live().values_list("state").annotate(n=Count("pk")).order_by():
        live.add_metric([state], n)
    yield live

    ended = gauge("studio_images_last_hour", "Images that ended lately.", "state", "tool")
    lately = Item.objects.filter(
        finished_at__gte=now - timedelta(hours=1), state__in=[ItemState.DONE, ItemState.FAILED]
    )
    counts = lately.values_list("state", "batch__tool").annotate(n=Count("pk")).order_by()
    for state, tool, n in counts:
        ended.add_metric([state, tool], n)
    yield ended

    failed = gauge("studio_failures_last_day", "Images that failed in the last day.", "code")
    for reason in failures.lately(now=now).reasons:
        failed.add_metric([reason.error_code], reason.n)
    yield failed

    moved = gauge("studio_credits_today", "Credits since midnight (UTC).", "kind")
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    captured, granted = ledger.moved(since=today, until=now)
    moved.add_metric(["granted"], granted)
    moved.add_metric(["captured"], captured)
    yield moved
    yield gauge("studio_credits_held", "Credits set aside for what runs.", n=ledger.held_by_all())

    yield gauge("studio_deliveries_open", "Not over yet.", n=Delivery.objects.open().count())
    waiting = WebhookMessage.objects.filter(state=WebhookState.WAITING).count()
    yield gauge("studio_webhooks_waiting", "Messages that wait for an answer.", n=waiting)

    well = gauge("studio_chore_well", "Whether its last run was well.", "chore")
    last = gauge("studio_chore_ended_timestamp_seconds", "When its last run ended.", "chore")
    for run in ScheduledRun.objects.filter(ended_at__isnull=False):
        well.add_metric([run.name], float(bool(run.is_well)))
        last.add_metric([run.name], run.ended_at.timestamp() if run.ended_at else 0)
    yield well
    yield last


def _of_valkey() -> Gauges:
    client = dispatch.connection()
    there = fleet.workers(client)
    depth = gauge("studio_queue_jobs", "Jobs that wait.", "queue")
    age = gauge("studio_queue_wait_seconds", "For how long the first of them has.", "queue")
    for queue in dashboard.queues(client, there, now=timezone.now()):
        depth.add_metric([queue.name], queue.depth)
        age.add_metric([queue.name], queue.waits_seconds or 0)
    yield depth
    yield age
    workers = gauge("studio_workers", "Workers with a pulse.", "queue", "device", "host")
    kinds: dict[tuple[str, str, str], int] = {}
    for worker in there:
        kind = (worker.queue, worker.device, worker.host)
        kinds[kind] = kinds.get(kind, 0) + 1
    for kind, n in kinds.items():
        workers.add_metric(list(kind), n)
    yield workers
