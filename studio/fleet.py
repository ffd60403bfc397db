"""The workers that are there: on which host and device, with which models, since when.

Each worker tells Valkey with its pulse; nothing of it is needed for any work to be done.
"""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import redis
from django.conf import settings

from studio.worker import about_key, keys_of_workers
from tools.engines import weights


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One worker, as it said of itself at `seen_at`."""

    name: str
    """`host:pid`, as items name who has them in hand."""
    queue: str
    host: str
    device: str
    """`cpu`, or `cuda:0`."""
    memory_bytes: int | None
    """Of the host, for workers on its processor; nothing where nobody knows."""
    loaded: tuple[str, ...]
    """Models in memory, the least recently used first."""
    runtime: str
    """The version of ONNX Runtime; empty for workers without models."""
    started_at: datetime
    seen_at: datetime


def about(queue: str, *, started_at: float) -> Mapping[str, Any]:
    """What this process says of itself as a worker of the queue."""
    engine = queue in settings.ENGINE_QUEUES
    return {
        "queue": queue,
        "host": socket.gethostname(),
        "device": _device(queue),
        "memory_bytes": None if queue == "gpu" else _memory(),
        "loaded": weights.loaded() if engine else [],
        "runtime": _runtime() if engine else "",
        "started_at": started_at,
    }


def workers(client: redis.Redis) -> list[Worker]:
    """All workers with a pulse, by queue and name. Raises `redis.RedisError` without Valkey."""
    names = [name for queue in settings.RQ_QUEUES for name in keys_of_workers(client, queue=queue)]
    if not names:
        return []
    said = client.mget([about_key(name) for name in names])
    return [_worker(name, json.loads(text)) for name, text in zip(names, said, strict=True) if text]


def _worker(name: str, said: Mapping[str, Any]) -> Worker:
    return Worker(
        name=name,
        queue=said["queue"],
        host=said["host"],
        device=said["device"],
        memory_bytes=said["memory_bytes"],
        loaded=tuple(said["loaded"]),
        runtime=said["runtime"],
        started_at=datetime.fromtimestamp(said["started_at"], UTC),
        seen_at=datetime.fromtimestamp(said["seen_at"], UTC),
    )


def _device(queue: str) -> str:
    if queue != "gpu":
        return "cpu"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    return f"cuda:{visible or 0}"


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _runtime() -> str:
    for name in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""
