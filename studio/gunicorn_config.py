"""How gunicorn serves the site: threads, because answers wait on disks and queues, not on us."""

import ctypes
import os
import signal
from pathlib import Path
from typing import Any

worker_class = "gthread"
workers = int(os.environ.get("STUDIO_WEB_WORKERS", "1"))
threads = int(os.environ.get("STUDIO_WEB_THREADS", "16"))
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn's own advice
timeout = 120
graceful_timeout = 10
keepalive = 5
accesslog = None
errorlog = "-"
loglevel = "warning"


def post_fork(server: Any, _worker: Any) -> None:
    """Let no web worker outlive its master."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != server.pid:
        os._exit(1)


def post_worker_init(worker: Any) -> None:
    """Let requests that wait for an image answer before the worker is stopped.

    They would wait for longer than `graceful_timeout`.
    """
    from batches import waiting  # only now is the site loaded

    waiting.end_all_when(lambda: not worker.alive)
