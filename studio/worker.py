"""The worker that stays: no fork per job, so a model is loaded once and stays loaded.

RQ only rings here. What RQ usually does for liveness we do ourselves: claims carry leases, and a
pulse in Valkey says that a worker is there, also while a model computes and after a flush.
"""

import ctypes
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, NoReturn, Self

import redis
from django.db import close_old_connections, connection
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.utils import now

from batches import clock, dispatch, hosts, lifecycle, pipeline

FORCED_AFTER = timedelta(seconds=1)
"""Sooner, two signals are one: a terminal and a supervisor both pass it on."""
PULSE_SECONDS = 2.0
"""Between two words of a worker; `hosts.SILENCE` is a few times as long."""

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


class Drain:
    """The end of a worker that is asked to stop: nothing new, and the job in hand within a time.

    When that is over, others get the items in hand at once, and the process ends where it is.
    """

    def __init__(self, *, seconds: float, on_begin: Callable[[], None], worker: str) -> None:
        self._seconds = seconds
        self._on_begin = on_begin
        self._worker = worker
        self._over = threading.Event()

    def begin(self) -> None:
        """Take nothing more; called in the handler of the signal."""
        pipeline.take_nothing_more()
        self._on_begin()
        threading.Thread(target=self._wait, name="drain", daemon=True).start()

    def end(self) -> NoReturn:
        """Hand over what is in hand, and end this process."""
        try:
            given = lifecycle.hand_over(self._worker, now=clock.now())
            log.warning("%d items of %s go to other workers: it is stopped.", given, self._worker)
        except Exception:
            log.exception("The items of %s could not be handed over.", self._worker)
        # The thread that is in the middle of a model can't be stopped in any other way.
        os._exit(0)

    def done(self) -> None:
        """The worker has ended by itself in time."""
        self._over.set()

    def _wait(self) -> None:
        if not self._over.wait(self._seconds):
            self.end()


class ResidentWorker(SimpleWorker):
    """Runs our jobs and no others, in this process, one after another.

    RQ advises against `SimpleWorker` in production because it can't stop a job and shows no
    heartbeat while one runs; leases, watchdog and pulse take care of both.
    """

    max_connection_wait_time = 2.0  # seconds between looks for a Valkey that is away
    drain: Drain | None = None

    def request_stop(self, signum: int, frame: Any) -> None:
        """On SIGTERM: finish the job in hand; whoever waits for one ends at once."""
        if self.drain:
            self.drain.begin()
        super().request_stop(signum, frame)

    def set_shutdown_requested_date(self) -> None:
        """Tell nobody in RQ's way.

        It would ask Valkey within the handler of the signal, and where that is away, the error
        would come up in the middle of the image.
        """

    def request_force_stop(self, signum: int, frame: Any) -> None:  # noqa: ARG002
        """On a second signal, a second later or more: others get the items in hand at once."""
        asked_at = self._shutdown_requested_date
        if self.drain and asked_at and now() - asked_at > FORCED_AFTER:
            # Not here: this thread may be in the middle of a query.
            threading.Thread(target=self.drain.end, name="drain", daemon=True).start()

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
        self._queue = queue
        self._worker = worker
        self._about = about
        self._ended = False
        self._wake = threading.Event()
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
        self._ended = True
        self._wake.set()
        self._thread.join()

    def now(self) -> None:
        """Say it at once: something has changed that others go by. Safe in a signal's handler."""
        self._wake.set()

    def _beat(self) -> None:
        while not self._ended:
            try:
                hosts.say(self._client, queue=self._queue, worker=self._worker, about=self._about())
            except (redis.RedisError, OSError) as error:
                log.warning("No pulse: %s", error)
            self._wake.wait(PULSE_SECONDS)
            self._wake.clear()
        with suppress(redis.RedisError, OSError):  # else it will be forgotten for its silence
            hosts.forget(self._client, queue=self._queue, worker=self._worker)
