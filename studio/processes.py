"""The site as a set of processes: which there are, and what happens when one dies."""

import fcntl
import http.client
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import redis
from django.conf import settings
from django.core.management import call_command
from django.db import close_old_connections, connections

from batches import clock, dispatch, hosts, lifecycle
from studio import devices, valkey
from studio.supervisor import Child, Supervisor, manage

WEB, WORKERS, SCHEDULER, VALKEY = range(4)
"""The order in which they are stopped."""

BYTES_PER_ENGINE = 2 * 1024**3
"""Memory set aside for each engine worker when their number is not given: u2net needs 1.2 GB."""

WAITING_VISITORS = 2048
"""Connections that wait to be answered; more are refused."""

DYING_SECONDS = 2.0
"""How long the processes of a killed supervisor may live on, with its lock free already."""

log = logging.getLogger(__name__)


class AlreadyRunning(Exception):
    """Another supervisor has this data directory, or somebody has the port."""


class Site:
    """Starts and stops everything; use it as a context manager.

    One supervisor per data directory: the second one is told so, by `AlreadyRunning`.
    """

    def __init__(self) -> None:
        self.supervisor = Supervisor(logs=settings.DATA.logs, on_death=end_claims)
        self._lock: IO[str] | None = None
        self._door: socket.socket | None = None

    def __enter__(self) -> Self:
        path = settings.DATA.run / "supervisor.lock"
        self._lock = path.open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise AlreadyRunning(
                f"A studio is running already on {settings.DATA.root} (process {holder}). "
                "Stop it, or set STUDIO_DATA_DIR and STUDIO_PORT to run another one beside it."
            ) from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._door is not None:
            self._door.close()  # else visitors would wait in front of a web server that has ended
        self.supervisor.stop()
        if self._lock is not None:
            self._lock.close()

    def take_port(self) -> None:
        """Listen on STUDIO_PORT; raises `AlreadyRunning` when somebody else does.

        The web server is handed the socket. So nobody can take the port while it starts, and
        when it dies visitors wait until it is back.
        """
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(("127.0.0.1", settings.PORT))
            door.listen(WAITING_VISITORS)
        except (OSError, OverflowError) as error:
            door.close()
            reason = getattr(error, "strerror", None) or str(error)
            raise AlreadyRunning(
                f"Port {settings.PORT} can't be used ({reason}). "
                "Stop what listens there, or set STUDIO_PORT."
            ) from error
        self._door = door

    def start_workers(self, *, only: str | None = None) -> None:
        """Valkey (unless an outside one is named), the workers and the scheduler.

        With `only`, an engine queue, just the workers of that queue: nothing that downloads and
        nothing that runs by the clock. Raises `RuntimeError` or `AlreadyRunning` where there can
        be no Valkey.
        """
        if settings.REDIS_URL:
            _refuse_silent_server()
        else:
            _start_valkey(self.supervisor)
        # Whoever held a claim under the last supervisor is gone with it.
        lifecycle.end_leases(now=clock.now(), host=socket.gethostname())
        connections.close_all()  # no copy of this process may speak on them
        if only is None:
            self.supervisor.start(
                Child("io", manage("worker", "io"), WORKERS, queue="io", patience=worker_patience())
            )
            self.supervisor.start(Child("scheduler", manage("scheduler"), SCHEDULER))
        for queue, found in engine_devices([only] if only else settings.ENGINE_QUEUES).items():
            for number, device in enumerate(found, start=1):
                self.supervisor.start(
                    Child(
                        f"{queue}-{number}",
                        manage("worker", queue, "--device", device),
                        WORKERS,
                        env={
                            "STUDIO_ENGINE_THREADS": str(threads_per_engine()),
                            "OMP_NUM_THREADS": str(threads_per_engine()),
                        },
                        queue=queue,
                        work=partial(self._work, queue, device),
                        patience=worker_patience(),
                    )
                )

    def _work(self, queue: str, device: str) -> None:
        """What an engine worker does, in a copy of this process."""
        for ours in (self._lock, self._door):
            if ours is not None:
                ours.close()
        call_command("worker", queue, device=device)

    def start_web(self) -> None:
        """The web server, behind the port that was taken."""
        if self._door is None:
            raise RuntimeError("The port comes before the web server.")
        self.supervisor.start(
            Child(
                "web",
                [
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "studio.wsgi",
                    "--bind",
                    f"fd://{self._door.fileno()}",
                    "--config",
                    str(Path(__file__).with_name("gunicorn_config.py")),
                    "--chdir",
                    str(settings.BASE_DIR),
                    "--no-control-socket",  # it would lie in the home directory, for all sites
                ],
                WEB,
                handles=[self._door.fileno()],
            )
        )

    def wait_until_ready(
        self, *, asked_to_stop: Callable[[], bool] = lambda: False, seconds: float = 60
    ) -> None:
        """Return when the web server says that all is there, or when asked to stop.

        Raises `RuntimeError` with what is still missing when the time is over.
        """
        deadline = time.monotonic() + seconds
        while (missing := _missing_on_the_page()) and not asked_to_stop():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"Not running after {seconds:.0f} s: {', '.join(missing)}. "
                    f"The logs are in {settings.DATA.logs}."
                )
            self.supervisor.check(wait=0.05)


def engine_devices(queues: Sequence[str]) -> dict[str, list[str]]:
    """The devices of the workers that engine queues get here: one on each GPU, one per core.

    The first gpu queue gets the GPUs, since each has one worker.
    """
    served = {queue: [devices.CPU] * engine_workers() for queue in queues}
    gpu_queues = [queue for queue in queues if hosts.kind_of(queue) == "gpu"]
    if not gpu_queues:
        return served
    served |= {queue: [] for queue in gpu_queues}
    first, *others = gpu_queues
    served[first] = devices.to_serve()
    if not served[first]:
        log.warning(
            "No GPU was found here, so %s gets no worker. Set STUDIO_DEVICES where that is wrong.",
            first,
        )
    for queue in others:
        log.warning("%s gets no worker here: %s has the GPUs of this host.", queue, first)
    return served


def worker_patience() -> float:
    """How long a worker may take to end: what its image may take, and a little for the rest."""
    return settings.DRAIN_SECONDS + 5.0


def engine_workers() -> int:
    """How many resident workers each engine queue gets: one per core, as far as memory goes."""
    if settings.ENGINE_WORKERS:
        return int(settings.ENGINE_WORKERS)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(_cores(), memory // BYTES_PER_ENGINE))


def threads_per_engine() -> int:
    """The cores, shared out among the engine workers."""
    return max(1, _cores() // engine_workers())


def end_claims(child: Child, pid: int) -> None:
    """Let the items of a dead worker run again at once, without waiting for its lease."""
    if not child.queue:
        return
    worker = f"{socket.gethostname()}:{pid}"
    try:
        close_old_connections()
        ended = lifecycle.end_leases(now=clock.now(), worker=worker)
    except Exception:
        log.exception("The claims of %s could not be ended; their leases will run out.", worker)
    else:
        if ended:
            log.warning("%d items of %s run again.", ended, worker)
    # Without Valkey its pulse will soon be too old to count.
    with suppress(redis.RedisError, OSError):
        hosts.forget(dispatch.connection(), queue=child.queue, worker=worker)


def _missing_on_the_page() -> list[str]:
    """What the site's own health page misses; the web server when nobody answers."""
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", settings.PORT, timeout=1)) as visitor:
            visitor.request("GET", "/healthz")
            return list(json.loads(visitor.getresponse().read())["missing"])
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return ["web server"]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _refuse_silent_server() -> None:
    try:
        dispatch.connection().ping()
    except (redis.RedisError, OSError) as error:
        raise RuntimeError(f"The server that REDIS_URL names does not answer: {error}") from error


def _start_valkey(supervisor: Supervisor) -> None:
    path = settings.DATA.socket()
    deadline = time.monotonic() + DYING_SECONDS
    while valkey.answers(path):
        if time.monotonic() > deadline:
            raise AlreadyRunning(f"A Valkey server answers on {path} already. Stop it first.")
        time.sleep(0.05)
    path.unlink(missing_ok=True)
    folder = settings.DATA.root / "valkey"
    folder.mkdir(exist_ok=True)
    server = supervisor.start(Child("valkey", valkey.command(path, folder), VALKEY))
    try:
        valkey.wait_until_it_answers(path, server.poll)
    except RuntimeError as error:
        raise RuntimeError(f"{error} Its log is {settings.DATA.logs / 'valkey.log'}.") from error
