"""What this process says of itself as a worker: host, device, models, the item in hand.

`batches.hosts` keeps what all of them say.
"""

import re
import socket
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.conf import settings

from batches import pipeline
from batches.hosts import Worker, workers
from tools import abilities
from tools.engines import weights

__all__ = ["Presence", "Worker", "workers"]

LOOK_SECONDS = 30.0
"""Between two looks at what this host can run: weights may come and go."""


class Presence:
    """This worker, as it tells of itself with each pulse. Reads what others keep; asks nobody."""

    def __init__(self, queue: str, *, device: str, memory_bytes: int | None) -> None:
        self.draining = False
        self.problems: tuple[str, ...] = ()
        self._engine = queue in settings.ENGINE_QUEUES
        self._models: list[str] = []
        self._looked_at = -LOOK_SECONDS
        self._lost: frozenset[str] = frozenset()
        self._fixed = {
            "queue": queue,
            "host": socket.gethostname(),
            "device": device,
            "memory_bytes": memory_bytes,
            "version": studio_version(),
            "runtime": _runtime() if self._engine else "",
            "started_at": time.time(),
        }

    def about(self) -> Mapping[str, Any]:
        """What it says now."""
        in_hand, problems = pipeline.in_hand(), self.problems
        return {
            **self._fixed,
            "models": self._able() if self._engine and not problems else [],
            "loaded": weights.loaded() if self._engine else [],
            "item": in_hand[0] if in_hand else "",
            "draining": self.draining,
            "problems": list(problems),
        }

    def _able(self) -> list[str]:
        now, lost = time.monotonic(), abilities.lost()
        if now - self._looked_at >= LOOK_SECONDS or lost != self._lost:
            self._models = abilities.here()
            self._looked_at, self._lost = now, lost
        return self._models


@cache
def studio_version() -> str:
    """The newest version in the changelog; with a plus where there is more than that."""
    try:
        text = (settings.BASE_DIR / "CHANGELOG.md").read_text()
    except OSError:
        return ""
    names = re.findall(r"^## (\S+)", text, re.MULTILINE)[:2]
    return f"{names[1]}+" if names[0] == "Unreleased" else names[0]


def _runtime() -> str:
    for name in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""
