"""``manage.py worker QUEUE``: one resident worker."""

import gc
from typing import Any

import django_rq
import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rq.serializers import JSONSerializer

from batches import dispatch, pipeline
from studio import fleet
from studio.worker import Pulse, ResidentWorker, keep_memory
from tools.engines import weights

MAX_ENGINE_JOBS = 500
"""Then an engine worker ends and is started afresh: long-lived native code leaks."""


class Command(BaseCommand):
    """Serve one queue until told to stop."""

    requires_system_checks: list[str] = []  # the supervisor's own start has run them
    help = "Serve one queue: io, or one of STUDIO_ENGINE_QUEUES. Run it under a supervisor."

    def add_arguments(self, parser: CommandParser) -> None:
        """Name the queue, and for tests and recycling, an end."""
        parser.add_argument("queue", metavar="QUEUE")
        parser.add_argument("--burst", action="store_true", help="end when the queue is empty")
        parser.add_argument("--max-jobs", type=int, help="end after so many jobs")

    def handle(self, *, queue: str, burst: bool, max_jobs: int | None, **_: Any) -> None:
        """Work until stopped; a signal lets the job in hand finish."""
        if queue not in settings.RQ_QUEUES:
            known = ", ".join(settings.RQ_QUEUES)
            raise CommandError(f"There is no queue {queue!r} here. Choose one of: {known}.")
        try:
            dispatch.connection().ping()
        except (redis.RedisError, OSError) as error:
            raise CommandError(
                f"Valkey does not answer ({error}). "
                "`manage.py run` starts one; or set REDIS_URL to a server that runs."
            ) from None
        if queue in settings.ENGINE_QUEUES:
            keep_memory()
            weights.runtime()  # before the first image waits for it
            max_jobs = max_jobs or MAX_ENGINE_JOBS
        # What is loaded now stays; pictures that an error keeps alive must go soon.
        gc.freeze()
        gc.set_threshold(700, 10, 10)
        source = django_rq.get_queue(queue)
        worker = ResidentWorker(
            [source],
            connection=source.connection,
            serializer=JSONSerializer,
            worker_ttl=60,
            maintenance_interval=60,
            log_job_description=False,
        )
        presence = fleet.Presence(queue, device="cpu", memory_bytes=fleet.memory_of_host())
        with Pulse(
            source.connection,
            queue=queue,
            worker=pipeline.worker_name(),
            about=presence.about,
        ):
            worker.work(burst=burst, max_jobs=max_jobs, logging_level="WARNING")
