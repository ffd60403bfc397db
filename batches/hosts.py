"""Which workers are there, and what each can run: as they say themselves.

Every worker tells Valkey every two seconds; who is silent for ten is not there any more. Dispatch
goes by it, and nothing needs it: without Valkey, or before anybody has said anything, work waits
in the queues that are configured.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis
from django.conf import settings

SILENCE = 10.0
"""Seconds after which a worker that says nothing does not count as there."""
_FORGET = 3600.0
"""Seconds after which the name of a worker that never said goodbye is forgotten, too."""

_SAY = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[4])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
"""
"""One round trip, by the server's clock: hosts may disagree about the time."""

_LISTEN = """
local time = redis.call('TIME')
local since = time[1] + time[2] / 1e6 - ARGV[1]
local found = {}
for number = 1, #KEYS do
    local there = redis.call('ZRANGEBYSCORE', KEYS[number], since, '+inf', 'WITHSCORES')
    for place = 1, #there, 2 do
        local said = redis.call('GET', ARGV[2] .. there[place]) or '{}'
        table.insert(found, {ARGV[2 + number], there[place], there[place + 1], said})
    end
end
return found
"""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One worker, as it said of itself at `seen_at`."""

    name: str
    """`host:pid`, as items name who has them in hand."""
    host: str
    pid: int
    queue: str
    device: str
    """`cpu`, or `cuda:0`."""
    memory_bytes: int | None
    """Of the device (for the processor: of the host); nothing where nobody knows."""
    models: tuple[str, ...] | None
    """What it can run, as `tools.abilities` names it; nothing for an older version's worker, which
    doesn't say and is taken to run everything."""
    loaded: tuple[str, ...]
    """Models in memory, the least recently used first."""
    version: str
    """Of the studio."""
    runtime: str
    """The version of ONNX Runtime; empty for workers without models."""
    started_at: datetime
    seen_at: datetime
    item: str
    """The uid of the item in hand, the first of several; else empty."""
    draining: bool
    """Whether it was asked to stop, and takes nothing more."""
    problems: tuple[str, ...]
    """What its host lacks, in sentences for staff."""

    def can_run(self, model: str) -> bool:
        """Whether it would take an item that needs this (see `tools.abilities`)."""
        return not self.draining and (self.models is None or model in self.models)


def workers(client: redis.Redis) -> list[Worker]:
    """All workers that are there, by queue and name, in one round trip.

    Raises `redis.RedisError` without Valkey.
    """
    queues = list(settings.RQ_QUEUES)
    keys = [_key(queue) for queue in queues]
    found: Any = client.eval(_LISTEN, len(keys), *keys, SILENCE, _about(""), *queues)
    there = [
        _worker(queue.decode(), name.decode(), float(seen_at), json.loads(said))
        for queue, name, seen_at, said in found
    ]
    return sorted(there, key=lambda worker: (queues.index(worker.queue), worker.name))


def say(client: redis.Redis, *, queue: str, worker: str, about: Mapping[str, Any]) -> None:
    """Tell that a worker of the queue is there, and what it says of itself; one round trip."""
    text = json.dumps(about)
    client.eval(_SAY, 2, _key(queue), _about(worker), worker, text, int(SILENCE * 1000), _FORGET)


def count(client: redis.Redis, *, queue: str) -> int:
    """How many workers of a queue are there. Raises `redis.RedisError` without Valkey."""
    seconds, microseconds = client.time()
    since = float(seconds) + microseconds / 1e6 - SILENCE
    return int(client.zcount(_key(queue), since, "+inf"))


def forget(client: redis.Redis, *, queue: str, worker: str) -> None:
    """Take a worker for gone: it says goodbye, or is known to be dead."""
    client.zrem(_key(queue), worker)
    client.delete(_about(worker))


def kind_of(queue: str) -> str:
    """The kind of engine that a queue serves: `gpu` for `gpu` and for `gpu-large`."""
    return queue.partition("-")[0]


def _worker(queue: str, name: str, seen_at: float, said: Mapping[str, Any]) -> Worker:
    host, _, pid = name.rpartition(":")
    models = said.get("models")
    return Worker(
        name=name,
        host=host,
        pid=int(pid) if pid.isdigit() else 0,
        queue=queue,
        device=said.get("device", ""),
        memory_bytes=said.get("memory_bytes"),
        models=None if models is None else tuple(models),
        loaded=tuple(said.get("loaded", ())),
        version=said.get("version", ""),
        runtime=said.get("runtime", ""),
        started_at=datetime.fromtimestamp(said.get("started_at", seen_at), UTC),
        seen_at=datetime.fromtimestamp(seen_at, UTC),
        item=said.get("item", ""),
        draining=said.get("draining", False),
        problems=tuple(said.get("problems", ())),
    )


def _about(worker: str) -> str:
    return f"studio:worker:{worker}"


def _key(queue: str) -> str:
    return f"studio:workers:{queue}"
