"""How gunicorn serves the site: threads, because answers wait on disks and queues, not on us."""

import ctypes
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # gunicorn adds it later

from studio import logs

worker_class = "gthread"
workers = int(os.environ.get("STUDIO_WEB_WORKERS", "1"))
threads = int(os.environ.get("STUDIO_WEB_THREADS", "16"))
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn's own advice
timeout = 120
graceful_timeout = 10
keepalive = 5
loglevel = os.environ.get("STUDIO_LOG_LEVEL", "WARNING").lower()
logconfig_dict = logs.settings(
    level=loglevel.upper(), form=os.environ.get("STUDIO_LOG_FORMAT", "plain")
)
access_log_format = logs.ACCESS


def on_starting(_server: Any) -> None:
    """Make the folder in which web workers count requests together: see `studio.timing`."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(
        prefix="studio-requests-", dir=worker_tmp_dir
    )


def on_exit(_server: Any) -> None:
    """Take it away."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


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
