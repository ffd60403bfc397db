"""The only door to the queues. Valkey is a doorbell: the database knows what there is to do.

Each running batch keeps a bounded window of items in the queues and is topped up as items
settle. So two people's batches interleave, and pausing or cancelling needs no surgery on a queue.
A single image, for which somebody waits, goes ahead of batches: a queue that holds both serves
them by turns, so that nothing stands still. Behind those, a batch that staff has raised takes turns
with the others.

Jobs are named by string, because that is what a queue stores anyway, and because this module
then imports nothing that stands above it. A ring too many is harmless: a worker must win the
item's claim before it does anything.
"""

import logging
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

import django_rq
import redis
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django_rq.queues import DjangoRQ
from redis.backoff import ExponentialBackoff
from redis.client import Pipeline
from redis.retry import Retry
from rq import Queue

from accounts import plans
from accounts.models import User
from batches import hosts
from batches.models import Batch, Delivery, Item, ItemQuerySet
from batches.models.deliveries import DeliveryQuerySet
from batches.states import ENDED, BatchState, ItemState
from tools import abilities, registry
from tools.base import Tool

FETCH_JOB = "batches.jobs.fetch_items"
RUN_JOB = "batches.jobs.run_item"
WEBHOOK_JOB = "batches.jobs.send_webhooks"
IMPORT_JOB = "batches.jobs.import_rows"
DELIVER_JOB = "batches.jobs.deliver"
RECURRING_JOB = "batches.jobs.run_recurring"
JOBS = (FETCH_JOB, RUN_JOB, IMPORT_JOB, DELIVER_JOB, WEBHOOK_JOB, RECURRING_JOB)
"""Everything that a worker may be asked to do."""

FETCH_WINDOW = 64
"""Items of one batch that wait for, or are in, a download."""
ENGINE_WINDOW = 16
"""Items of one batch that wait for, or are in, an engine."""
FETCHES_PER_JOB = 32
"""A fetch job runs them on threads: most of a download is waiting."""
MOST_AHEAD = 4
"""Single images of one person that go ahead of batches; who runs more queues up for the rest."""
RING_AGAIN_AFTER = timedelta(seconds=30)
"""A ring that nobody has followed for so long is taken for lost."""

HEARD_SECONDS = 1.0
"""How long a process goes by what it has heard of the workers."""
NOBODY_SECONDS = 15.0
"""How long nobody is heard of before that counts: a worker that ends is started anew at once."""
UNHEARD_SECONDS = 5.0
"""How long it does not ask again where Valkey did not answer: to hang there takes seconds."""

_EPOCH_KEY = "studio:epoch"

AHEAD = "ahead"
RAISED = "raised"
"""What goes ahead of other jobs: images that somebody waits for, then batches that were raised."""

_PUSH_AHEAD = """
local place = -1
for n = 2, #KEYS do
    local last = redis.call('GET', KEYS[n])
    place = math.max(place, last and redis.call('LPOS', KEYS[1], last) or -1)
end
local before = redis.call('LINDEX', KEYS[1], place + 1)
if before then
    redis.call('LINSERT', KEYS[1], 'AFTER', before, ARGV[1])
else
    redis.call('RPUSH', KEYS[1], ARGV[1])
end
redis.call('SET', KEYS[2], ARGV[1])
"""
"""Puts a job behind the last one that went ahead and one other, or behind the first of all.

So those that go ahead keep their order, and between two of them one of the others is served. The
keys are the queue, where the last one of this kind is kept, and the same of kinds that come first.
"""

log = logging.getLogger(__name__)


class TurnsQueue(DjangoRQ):
    """A queue in which jobs that go to the front and the others are served by turns."""

    kinds: tuple[str, ...] = (AHEAD,)
    """Whose jobs this one puts in their place, and behind which it puts them."""

    def push_job_id(
        self, job_id: str, pipeline: Pipeline | None = None, at_front: bool = False
    ) -> None:
        """Put a job into its place in the queue."""
        if not at_front:
            super().push_job_id(job_id, pipeline=pipeline)
            return
        client = self.connection if pipeline is None else pipeline
        keys = [f"studio:{kind}:{self.name}" for kind in self.kinds]
        client.eval(_PUSH_AHEAD, 1 + len(keys), self.key, *keys, job_id)


class RaisedQueue(TurnsQueue):
    """The same for batches that were raised: behind images that somebody waits for."""

    kinds = (RAISED, AHEAD)


class NoEngine(Exception):
    """None of the engine queues of this site can run the tool."""


def queue_for(tool_slug: str) -> str:
    """The queue that the tool likes best of those that are configured, whoever is there."""
    return queues_for(registry.get(tool_slug))[0]


def route(tool: Tool, ability: str) -> str | None:
    """The queue for items that need this ability: the first with a worker that has it.

    None when workers are there and none of them has. Without Valkey, and where no engine worker
    has said anything, work waits in the queue that is configured. Raises `NoEngine`.
    """
    queues = queues_for(tool)
    there = engine_workers()
    if not there:
        return queues[0]
    able = {worker.queue for worker in there if worker.can_run(ability)}
    return next((queue for queue in queues if queue in able), None)


def engine_workers() -> list[hosts.Worker] | None:
    """The workers that serve engine queues, as of a second ago or so; None where nobody knows.

    So it is without Valkey, and for a while after the last one was heard of: it may just be
    started anew.
    """
    if time.monotonic() >= _heard.until:
        _heard.until = time.monotonic() + UNHEARD_SECONDS  # other threads need not ask, too
        try:
            said = hosts.workers(connection())
            engines = [one for one in said if one.queue in settings.ENGINE_QUEUES]
            _heard.take([one for one in engines if not one.draining])
        except (redis.RedisError, OSError):
            _heard.workers = None
            _heard.until = time.monotonic() + UNHEARD_SECONDS
        else:
            _heard.until = time.monotonic() + HEARD_SECONDS
    return _heard.workers


def others_can_run(ability: str, *, but: str = "") -> bool:
    """Whether any engine worker besides the one of this name has an ability; no if nobody knows."""
    there = engine_workers() or []
    return any(worker.can_run(ability) for worker in there if worker.name != but)


class _Heard:
    """What was heard of the workers, and until when that will do."""

    workers: list[hosts.Worker] | None = None
    until = 0.0
    nobody_since: float | None = None

    def take(self, workers: list[hosts.Worker]) -> None:
        """Go by these, or by nobody's being there once that has lasted."""
        now = time.monotonic()
        since = now if self.nobody_since is None else self.nobody_since
        self.nobody_since = None if workers else since
        self.workers = workers if workers or now - since >= NOBODY_SECONDS else None


_heard = _Heard()


def queues_for(tool: Tool) -> list[str]:
    """The configured queues that serve the tool's kinds of engine, best first.

    Raises `NoEngine` where there is none.
    """
    names = settings.ENGINE_QUEUES
    found = [name for kind in tool.engines for name in names if hosts.kind_of(name) == kind]
    if not found:
        raise NoEngine(tool.slug)
    return found


def top_up(batch_id: int, *, now: datetime) -> None:
    """Ring for the next items of a running batch until its windows are full.

    Two at once may overshoot a window by a few items or ring one twice; both are harmless.
    """
    running = Batch.objects.filter(pk=batch_id, state=BatchState.RUNNING).select_related("owner")
    columns = ("tool", "uid", "state", "single", "priority")
    batch = running.only(*columns, "owner__plan_id", "owner__batch_images").first()
    if batch is None or waiting(batch.owner, [batch]):
        return
    try:
        routes = _routes(registry.get(batch.tool))
    except (NoEngine, registry.UnknownTool):
        # The site was set up otherwise when it started. It must not keep others waiting.
        log.warning("Batch %s waits: nothing here runs the tool %r.", batch.uid, batch.tool)
        return
    items = Item.objects.filter(batch_id=batch_id)
    fetches = _take(
        items, ItemState.QUEUED, ItemState.FETCHING, FETCH_WINDOW << batch.priority, now
    )
    if fetches:
        chunks = [
            fetches[start : start + FETCHES_PER_JOB]
            for start in range(0, len(fetches), FETCHES_PER_JOB)
        ]
        _ring("io", FETCH_JOB, [{"item_ids": chunk} for chunk in chunks], ahead=_goes_ahead(batch))
    # What nobody can run now stays outside the window, and in nobody's way.
    nowhere = [model for model, queue in routes.items() if queue is None]
    able = items.exclude(settings__model__in=nowhere) if nowhere else items
    if set(nowhere) == set(routes):
        return
    runs = _take(able, ItemState.FETCHED, ItemState.RUNNING, ENGINE_WINDOW << batch.priority, now)
    for queue, ids in _by_queue(items, runs, routes).items():
        _ring(queue, RUN_JOB, [{"item_id": pk} for pk in ids], ahead=_goes_ahead(batch))


def _routes(tool: Tool) -> dict[str, str | None]:
    """The queue for each model of the tool; its only key is empty where there is no choice."""
    return {ability.partition(":")[2]: route(tool, ability) for ability in abilities.all_of(tool)}


def _by_queue(
    items: ItemQuerySet, ids: Sequence[int], routes: Mapping[str, str | None]
) -> dict[str, list[int]]:
    """The items by the queue for their model, in their order."""
    queues = [queue for queue in routes.values() if queue is not None]
    if not ids or len(set(queues)) == 1:
        return {queues[0]: list(ids)} if ids else {}
    models = dict(items.filter(pk__in=ids).values_list("pk", "settings__model"))
    found: dict[str, list[int]] = {}
    for pk in ids:
        queue = routes.get(models.get(pk) or "") or queues[0]
        found.setdefault(queue, []).append(pk)
    return found


def waiting(owner: User, batches: Iterable[Batch]) -> set[int]:
    """The ids of those of an owner's batches that wait because others of them began before.

    As many run at once as the plan lets, the earliest ones; the next begins when one of these
    ends or is paused. Single images neither wait nor count. No query where the plan has no bound,
    one where it has.
    """
    bound = plans.plan_for(owner).concurrent_batches
    many = {batch.pk for batch in batches if batch.state == BatchState.RUNNING and not batch.single}
    return many.difference(_first_of(owner, bound)) if many and bound is not None else set()


def begin_waiting(owner: User, *, now: datetime) -> None:
    """Ring for what may run now that one of somebody's batches has ended or was paused."""
    bound = plans.plan_for(owner).concurrent_batches
    if bound is not None:
        for pk in _first_of(owner, bound):
            top_up(pk, now=now)


def _first_of(owner: User, count: int) -> list[int]:
    running = Batch.objects.many().filter(owner=owner, state=BatchState.RUNNING)
    return list(running.order_by("started_at", "pk").values_list("pk", flat=True)[:count])


def ring_for_webhooks() -> None:
    """Have somebody send the messages that are due; a ring too many finds nothing to do."""
    _ring("io", WEBHOOK_JOB, [{}])


def ring_import(batch_id: int) -> None:
    """Ring for the next rows of a batch that is being imported."""
    _ring("io", IMPORT_JOB, [{"batch_id": batch_id}])


def ring_recurring(run_id: int) -> None:
    """Ring for a run of a schedule."""
    _ring("io", RECURRING_JOB, [{"run_id": run_id}])


def forget_rings(items: ItemQuerySet) -> int:
    """Put waiting items back outside the window, so that the next `top_up` rings for them."""
    return items.filter(
        state__in=[ItemState.QUEUED, ItemState.FETCHED], rung_at__isnull=False
    ).update(rung_at=None)


def forget_lost_rings(*, now: datetime) -> int:
    """Do so for rings that were lost: all of them when Valkey has forgotten, else the old ones.

    Those of deliveries are forgotten too.

    Returns how many items will be rung for again. Raises `redis.RedisError` when Valkey can't
    be asked.
    """
    waiting = Item.objects.filter(batch__state=BatchState.RUNNING)
    rung = Delivery.objects.open().filter(rung_at__isnull=False)
    if not connection().set(_EPOCH_KEY, now.isoformat(), nx=True):
        waiting = waiting.filter(rung_at__lt=now - RING_AGAIN_AFTER)
        rung = rung.filter(rung_at__lt=now - RING_AGAIN_AFTER)
    # else a fresh, flushed or restarted Valkey: its queues are empty, and all rings are lost
    rung.update(rung_at=None)
    return forget_rings(waiting)


def ring_deliveries(deliveries: DeliveryQuerySet, *, now: datetime) -> int:
    """Ring for those of these deliveries that are open, due, and not rung for; how many that is.

    A delivery has one ring at a time, and each job does one window of it: so those of many
    people take turns.
    """
    due = deliveries.open().filter(rung_at=None)
    due = due.filter(Q(retry_at=None) | Q(retry_at__lte=now))
    ids = [
        pk
        for pk in list(due.order_by("pk").values_list("pk", flat=True))
        if Delivery.objects.filter(pk=pk, rung_at=None).update(rung_at=now)
    ]
    if ids:
        _ring("io", DELIVER_JOB, [{"delivery_id": pk} for pk in ids])
    return len(ids)


def ring_followers(batch_id: int, *, now: datetime) -> int:
    """Ring for the deliveries that take a batch's results as its images finish."""
    following = Delivery.objects.filter(batch_id=batch_id, follows=True)
    return ring_deliveries(following, now=now)


@cache
def connection() -> redis.Redis:
    """This process's connections to Valkey, shared by its threads.

    A server that is away is given up on after a few hundredths of a second, one that hangs after
    a few seconds: the database knows what there is to do, and nobody waits for a doorbell.
    """
    return _connect(
        retry=Retry(ExponentialBackoff(cap=0.05, base=0.01), 2),
        socket_timeout=2,
        socket_connect_timeout=2,
    )


def waiting_connection() -> redis.Redis:
    """A connection of its own for a worker that waits for rings.

    It may be silent for long, so the kernel asks whether the other side is there: where the
    network is cut, that is noticed after 25 seconds at most.
    """
    if not settings.REDIS_URL.startswith(("redis://", "rediss://")):
        return _connect()
    # Asked after 10 silent seconds, 5 times with 3 seconds between; what was sent may be
    # unanswered for 15.
    alive = {
        socket.TCP_KEEPIDLE: 10,
        socket.TCP_KEEPINTVL: 3,
        socket.TCP_KEEPCNT: 5,
        socket.TCP_USER_TIMEOUT: 15_000,
    }
    return _connect(socket_connect_timeout=5, socket_keepalive=True, socket_keepalive_options=alive)


def _connect(**how: Any) -> redis.Redis:
    server = settings.RQ_QUEUES["io"]
    if url := server.get("URL"):
        return redis.Redis.from_url(url, **how)
    return redis.Redis(unix_socket_path=server["UNIX_SOCKET_PATH"], db=server["DB"], **how)


def _take(
    items: ItemQuerySet, waiting: ItemState, in_hand: ItemState, window: int, now: datetime
) -> list[int]:
    """Mark the next waiting items as rung, as many as the window has room for."""
    inside = items.filter(Q(state=waiting, rung_at__isnull=False) | Q(state=in_hand)).count()
    # Half a window at a time: one push for many items instead of one for each.
    if inside > window // 2:
        return []
    outside = items.filter(state=waiting, rung_at__isnull=True).filter(
        Q(retry_at__isnull=True) | Q(retry_at__lte=now),
        # A duplicate waits for what becomes of its first.
        Q(twin_of__isnull=True) | Q(twin_of__state__in=ENDED),
    )
    ids = list(outside.order_by("position").values_list("pk", flat=True)[: window - inside])
    if ids:
        items.filter(pk__in=ids, state=waiting, rung_at__isnull=True).update(rung_at=now)
    return ids


def _goes_ahead(batch: Batch) -> str:
    """How its rings go ahead of others: as `AHEAD`, as `RAISED`, or not at all, which is empty.

    One image that somebody waits for does, unless it is one of very many.
    """
    raised = RAISED if batch.priority else ""
    if not batch.single:
        return raised
    theirs = Batch.objects.filter(owner=batch.owner_id, single=True, state=BatchState.RUNNING)
    return AHEAD if theirs.count() <= MOST_AHEAD else raised


def _ring(queue: str, job: str, calls: Sequence[dict[str, Any]], *, ahead: str = "") -> None:
    # Django-RQ defers single jobs to the commit, but not many at once: so we do it here.
    transaction.on_commit(partial(_push, queue, job, calls, ahead=ahead))


def _push(queue: str, job: str, calls: Iterable[dict[str, Any]], *, ahead: str = "") -> None:
    how: dict[str, Any] = {"timeout": -1, "result_ttl": 0, "failure_ttl": 3600}
    how["at_front"] = bool(ahead)
    kind = RaisedQueue if ahead == RAISED else TurnsQueue
    try:
        place = django_rq.get_queue(queue, connection=connection(), queue_class=kind)
        place.enqueue_many([Queue.prepare_data(job, kwargs=call, **how) for call in calls])
    except redis.RedisError as error:
        # Nothing is lost: the rows are there, and `reconcile` rings again.
        log.info("Valkey could not be rung for %s: %s", queue, error)
