"""``manage.py worker QUEUE``: one resident worker."""

import gc
import logging
from contextlib import ExitStack
from typing import Any

import django_rq
import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rq.serializers import JSONSerializer

from batches import dispatch, hosts, pipeline, sharing
from studio import devices, fleet
from studio.supervisor import StopSignal
from studio.worker import Drain, Pulse, ResidentWorker, keep_memory
from tools.engines import weights

MAX_ENGINE_JOBS = 500
"""Then an engine worker ends and is started afresh: long-lived native code leaks."""
LOOK_AGAIN_SECONDS = 10.0
"""Between two looks at a storage that a worker can't use."""

log = logging.getLogger(__name__)


class Command(BaseCommand):
    """Serve one queue until told to stop."""

    requires_system_checks: list[str] = []  # the supervisor's own start has run them
    help = "Serve one queue: io, or one of STUDIO_ENGINE_QUEUES. Run it under a supervisor."

    def add_arguments(self, parser: CommandParser) -> None:
        """Name the queue and the device, and for tests and recycling, an end."""
        parser.add_argument("queue", metavar="QUEUE")
        parser.add_argument(
            "--device", help="what models run on: cuda:0, cuda:1 …, or cpu; for gpu queues cuda:0"
        )
        parser.add_argument("--burst", action="store_true", help="end when the queue is empty")
        parser.add_argument("--max-jobs", type=int, help="end after so many jobs")

    def handle(
        self, *, queue: str, device: str | None, burst: bool, max_jobs: int | None, **_: Any
    ) -> None:
        """Work until stopped; a signal lets the job in hand finish, for STUDIO_DRAIN_SECONDS."""
        if queue not in settings.RQ_QUEUES:
            known = ", ".join(settings.RQ_QUEUES)
            raise CommandError(f"There is no queue {queue!r} here. Choose one of: {known}.")
        is_engine = queue in settings.ENGINE_QUEUES
        with ExitStack() as stack:
            place = _device(queue, device, stack)
            try:
                dispatch.connection().ping()
            except (redis.RedisError, OSError) as error:
                raise CommandError(
                    f"Valkey does not answer ({error}). "
                    "`manage.py run` starts one; or set REDIS_URL to a server that runs."
                ) from None
            if is_engine:
                keep_memory()
                _load_runtime(place)
                max_jobs = max_jobs or MAX_ENGINE_JOBS
            presence = fleet.Presence(queue, device=place.name, memory_bytes=place.memory_bytes)
            source = django_rq.get_queue(queue, connection=dispatch.waiting_connection())
            pulse = stack.enter_context(
                Pulse(
                    dispatch.connection(),
                    queue=queue,
                    worker=pipeline.worker_name(),
                    about=presence.about,
                )
            )
            if not _files_are_shared(presence):
                return
            # What is loaded now stays; pictures that an error keeps alive must go soon.
            gc.freeze()
            gc.set_threshold(700, 10, 10)
            worker = ResidentWorker(
                [source],
                connection=source.connection,
                serializer=JSONSerializer,
                worker_ttl=60,
                maintenance_interval=60,
                log_job_description=False,
            )

            def say_goodbye() -> None:
                presence.draining = True
                pulse.now()

            worker.drain = Drain(
                seconds=settings.DRAIN_SECONDS,
                on_begin=say_goodbye,
                worker=pipeline.worker_name(),
            )
            worker.work(burst=burst, max_jobs=max_jobs, logging_level="WARNING")
            worker.drain.done()


def _device(queue: str, named: str | None, stack: ExitStack) -> devices.Device:
    """The device that was asked for, with a lock on it where it is a GPU. Raises `CommandError`."""
    is_gpu = hosts.kind_of(queue) == "gpu"
    name = named or (devices.usual() if is_gpu else devices.CPU)
    if name == devices.CPU:
        return devices.use(name)
    if not is_gpu or not name.startswith("cuda:"):
        raise CommandError(
            f"A worker of {queue!r} can't run on {name!r}. Name cuda:0 (or the number of another "
            "GPU) for a gpu queue, and cpu for any other."
        )
    try:
        stack.enter_context(devices.take(name))
    except devices.DeviceTaken as taken:
        raise CommandError(str(taken)) from None
    return devices.use(name)


def _load_runtime(place: devices.Device) -> None:
    """Load what models run on, before the first image waits for it. Raises `CommandError`."""
    weights.use_device(place.name, memory=place.memory_bytes)
    weights.runtime()
    if place.name != devices.CPU and not weights.has_cuda():
        raise CommandError(
            f"This Python's onnxruntime knows no CUDA, so nothing can run on {place.name}. "
            "Install requirements-gpu.txt (docs/gpu-hosts.md), or say --device cpu."
        )


def _files_are_shared(presence: fleet.Presence) -> bool:
    """Wait until this host sees the site's files; False when asked to stop before that."""
    problem = sharing.problem()
    if not problem:
        return True
    stop = StopSignal()
    while problem and not stop.asked:
        log.error("This worker takes nothing yet. %s", problem)
        presence.problems = (problem,)
        stop.wait(LOOK_AGAIN_SECONDS)
        problem = sharing.problem()
    presence.problems = ()
    return not problem
