"""What workers say of themselves, and who hears it."""

import json
import time

import redis

from batches import hosts
from tools import abilities, registry


def said(**about):
    return {"device": "cpu", "started_at": time.time(), "models": [], **about}


def test_all_workers_are_heard_in_one_round_trip_and_each_speaks_in_one(valkey):
    client = redis.Redis(connection_pool=valkey.connection_pool)
    sent = []
    executed = client.execute_command

    def counted(*arguments, **options):
        sent.append(arguments[0])
        return executed(*arguments, **options)

    client.execute_command = counted
    hosts.say(client, queue="cpu", worker="b:2", about=said(models=["upscale:fast"], item="u-1"))
    hosts.say(client, queue="cpu", worker="a:1", about=said(draining=True))
    hosts.say(client, queue="io", worker="a:3", about=said())
    there = hosts.workers(client)
    assert [worker.name for worker in there] == ["a:3", "a:1", "b:2"]
    assert sent == ["EVAL"] * 4
    last = there[-1]
    assert (last.host, last.pid, last.item, last.models) == ("b", 2, "u-1", ("upscale:fast",))
    assert abs(last.seen_at.timestamp() - time.time()) < 5


def test_a_worker_can_run_what_it_names_and_nothing_once_it_drains(valkey):
    hosts.say(valkey, queue="cpu", worker="a:1", about=said(models=["upscale:fast"]))
    (worker,) = hosts.workers(valkey)
    assert worker.can_run("upscale:fast")
    assert not worker.can_run("upscale:quality")
    hosts.say(valkey, queue="cpu", worker="a:1", about=said(models=["upscale:fast"], draining=True))
    (worker,) = hosts.workers(valkey)
    assert not worker.can_run("upscale:fast")


def test_a_worker_of_an_older_version_is_taken_to_run_everything(valkey):
    valkey.zadd("studio:workers:cpu", {"a:1": time.time()})  # all that version 0.5 says
    (worker,) = hosts.workers(valkey)
    assert worker.models is None
    assert worker.can_run("upscale:fast")


def test_who_is_silent_is_not_there_and_is_forgotten_in_the_end(valkey):
    long_ago = time.time() - hosts.SILENCE - 1
    valkey.zadd("studio:workers:cpu", {"quiet:1": long_ago, "gone:1": long_ago - 3600})
    valkey.set("studio:worker:quiet:1", json.dumps(said()))
    assert hosts.workers(valkey) == []
    hosts.say(valkey, queue="cpu", worker="a:1", about=said())
    assert valkey.zrange("studio:workers:cpu", 0, -1) == [b"quiet:1", b"a:1"]


def test_a_queue_of_a_kind_may_have_a_name_of_its_own():
    assert [hosts.kind_of(name) for name in ("gpu", "gpu-large", "cpu")] == ["gpu", "gpu", "cpu"]


def test_a_host_names_each_tool_and_model_that_it_has_weights_for():
    here = abilities.here()
    assert "remove-background:u2netp" in here
    assert "smart-crop" in here
    assert "object-removal:diffusion" not in here, "no pipeline is set up"
    tool = registry.get("remove-background")
    assert abilities.needed(tool, tool.clean({"model": "u2netp"})) == "remove-background:u2netp"


def test_a_model_that_failed_to_load_is_not_named_for_a_minute(monkeypatch):
    monkeypatch.setattr(abilities, "_unable", {})
    abilities.lose("remove-background:u2netp")
    assert "remove-background:u2netp" not in abilities.here()
    monkeypatch.setattr(abilities, "UNABLE_SECONDS", -1)
    abilities.lose("remove-background:u2netp")
    assert "remove-background:u2netp" in abilities.here()
