"""The worker that stays: no fork per job, so a model is loaded once and stays loaded.

RQ only rings here. What RQ usually does for liveness we do ourselves: claims carry leases, and a
pulse in Valkey says that a worker is there, also while a model computes and after a flush.
"""

import ctypes
import json
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import redis
from django.db import close_old_connections, connection
from rq import Queue, SimpleWorker
from rq.job import Job

from batches import dispatch

PULSE_SECONDS = 2.0
PULSE_LASTS = 10.0
"""A worker without a pulse for so long does not count as there."""

log = logging.getLogger(__name__)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def keep_memory() -> None:
    """Let this process keep the memory of one picture for the next.

    By default glibc gives large blocks back at once, and the kernel clears them anew for each
    picture: 5 % of the processor time over 40 photos. Where there is no glibc, nothing happens.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


class ResidentWorker(SimpleWorker):
    """Runs our jobs and no others, in this process, one after another.

    RQ advises against `SimpleWorker` in production because it can't stop a job and shows no
    heartbeat while one runs; leases, watchdog and pulse take care of both.
    """

    max_connection_wait_time = 2.0  # seconds between looks for a Valkey that is away

    def perform_job(self, job: Job, queue: Queue, execution: Any) -> bool:
        """Run one job on fresh database connections, if it is one of ours."""
        if job.func_name not in dispatch.JOBS:
            # Whoever can write to Valkey must not be able to call any function of Python's.
            log.error("Refused a job that calls %s.", job.func_name)
            job.delete()
            return False
        if not connection.in_atomic_block:
            close_old_connections()
        return bool(super().perform_job(job, queue, execution))


class Pulse:
    """Says in Valkey, every two seconds, that this worker is there, and what `about` says of it."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        queue: str,
        worker: str,
        about: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._client = client
        self._key = _key(queue)
        self._worker = worker
        self._about = about
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while True:
            try:
                # The server's clock: hosts may disagree about the time.
                now = _server_time(self._client)
                with self._client.pipeline() as beat:
                    beat.zadd(self._key, {self._worker: now})
                    said = json.dumps({**self._about(), "seen_at": now})
                    beat.set(about_key(self._worker), said, px=int(PULSE_LASTS * 1000))
                    beat.execute()
            except (redis.RedisError, OSError) as error:
                log.warning("No pulse: %s", error)
            if self._ended.wait(PULSE_SECONDS):
                break
        with suppress(redis.RedisError, OSError):  # it will be forgotten for want of a pulse
            end_pulse_of(self._client, self._key, self._worker)


def workers_there(client: redis.Redis, *, queue: str) -> int:
    """How many workers of a queue have a pulse. Raises `redis.RedisError` without Valkey."""
    return int(client.zcount(_key(queue), _server_time(client) - PULSE_LASTS, "+inf"))


def keys_of_workers(client: redis.Redis, *, queue: str) -> list[str]:
    """The names of a queue's workers that have a pulse, sorted."""
    since = _server_time(client) - PULSE_LASTS
    found: list[Any] = client.zrangebyscore(_key(queue), since, "+inf")
    return sorted(name.decode() for name in found)


def end_pulse(client: redis.Redis, *, queue: str, worker: str) -> None:
    """Forget a worker that is known to be dead."""
    end_pulse_of(client, _key(queue), worker)


def end_pulse_of(client: redis.Redis, key: str, worker: str) -> None:
    """The same, for the key of its queue's workers."""
    client.zrem(key, worker)
    client.delete(about_key(worker))


def about_key(worker: str) -> str:
    """Where Valkey has what a worker says of itself."""
    return f"studio:worker:{worker}"


def _key(queue: str) -> str:
    return f"studio:workers:{queue}"


def _server_time(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    return float(seconds) + microseconds / 1e6
