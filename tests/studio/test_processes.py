"""The site as a set of processes: all there, healed when killed, alone on its place, and gone."""

import http.server
import json
import os
import signal
import socket
import threading
import time

import pytest
import redis
from django.utils import timezone
from redis.backoff import NoBackoff
from redis.retry import Retry

from batches import dispatch
from batches.states import BatchState, ItemState
from studio import processes, supervisor
from studio.places import DataDirectory
from studio.processes import AlreadyRunning, Site
from studio.supervisor import Child
from tests import factories
from tests.studio.conftest import eventually, family, free_port, is_running

# --- Rules, without a site ------------------------------------------------------------------


@pytest.fixture
def own_place(settings, tmp_path):
    """A data directory and a port for a `Site` in this process."""
    settings.DATA = DataDirectory(tmp_path / "data")
    settings.DATA.prepare()
    settings.PORT = free_port()
    return settings


@pytest.fixture
def no_valkey(monkeypatch):
    """Nobody answers where Valkey should be."""
    nowhere = redis.Redis(unix_socket_path="/nonexistent/valkey.sock", retry=Retry(NoBackoff(), 0))
    monkeypatch.setattr(dispatch, "connection", lambda: nowhere)


def test_one_supervisor_has_a_data_directory_and_the_next_is_told_who(own_place):
    with Site(), pytest.raises(AlreadyRunning) as refused, Site():
        pass

    assert f"process {os.getpid()}" in str(refused.value)
    assert str(own_place.DATA.root) in str(refused.value)
    with Site():
        pass  # free again


def test_a_port_that_somebody_listens_on_is_refused(own_place):
    with socket.socket() as other:
        other.bind(("127.0.0.1", own_place.PORT))
        other.listen()

        with Site() as site, pytest.raises(AlreadyRunning) as refused:
            site.take_port()

    assert f"Port {own_place.PORT} can't be used" in str(refused.value)
    assert "STUDIO_PORT" in str(refused.value)


def test_a_port_that_somebody_listens_on_everywhere_is_refused(own_place):
    with socket.socket() as other:
        other.bind(("", own_place.PORT))
        other.listen()

        with Site() as site, pytest.raises(AlreadyRunning):
            site.take_port()


def test_a_number_that_is_no_port_is_refused(own_place):
    own_place.PORT = 70_000

    with Site() as site, pytest.raises(AlreadyRunning, match="70000"):
        site.take_port()


def test_a_port_is_taken_from_then_on_and_free_afterwards(own_place, tmp_path):
    with Site() as site:
        site.take_port()
        own_place.DATA = DataDirectory(tmp_path / "other")
        own_place.DATA.prepare()

        with Site() as late, pytest.raises(AlreadyRunning):
            late.take_port()

    with Site() as later:
        later.take_port()


def test_a_site_that_never_answers_is_given_up_on_by_name(own_place):
    with Site() as site:
        site.take_port()  # and nobody answers behind it

        with pytest.raises(RuntimeError, match=r"Not running after 0 s: web server.*logs"):
            site.wait_until_ready(seconds=0)


def test_an_outside_valkey_that_does_not_answer_is_an_error_at_once(own_place, no_valkey):
    own_place.REDIS_URL = "redis://127.0.0.1:1/0"

    with Site() as site, pytest.raises(RuntimeError, match="REDIS_URL"):
        site.start_workers()


@pytest.mark.parametrize(
    ("cores", "memory", "asked", "workers", "threads"),
    [
        (2, 24, 0, 2, 1),
        (16, 8, 0, 4, 4),
        (8, 1, 0, 1, 8),
        (4, 64, 2, 2, 2),
        (2, 64, 5, 5, 1),
    ],
)
def test_engine_workers_follow_cores_and_memory_unless_a_number_is_set(
    settings, monkeypatch, cores, memory, asked, workers, threads
):
    pages = {"SC_PHYS_PAGES": memory * 1024**3 // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    settings.ENGINE_WORKERS = asked

    assert processes.engine_workers() == workers
    assert processes.threads_per_engine() == threads


@pytest.mark.django_db(transaction=True)
def test_claims_of_a_dead_worker_end_at_once_and_those_of_others_stay(alice, fake_tool):
    batch = factories.bare_batch(alice, state=BatchState.RUNNING)
    host = socket.gethostname()
    for position, worker in enumerate((f"{host}:71", f"{host}:711", "elsewhere:71")):
        factories.bare_item(
            batch,
            state=ItemState.FETCHING,
            position=position,
            worker=worker,
            lease_until=timezone.now(),
        )

    processes.end_claims(Child("io", ["true"], 0, queue="io"), 71)

    states = list(batch.items.order_by("position").values_list("state", "losses"))
    assert states == [("queued", 1), ("fetching", 0), ("fetching", 0)]


@pytest.mark.django_db(transaction=True)
def test_claims_end_without_valkey_too_and_without_a_scare(alice, fake_tool, no_valkey, caplog):
    batch = factories.bare_batch(alice, state=BatchState.RUNNING)
    worker = f"{socket.gethostname()}:71"
    factories.bare_item(batch, state=ItemState.FETCHING, worker=worker, lease_until=timezone.now())

    processes.end_claims(Child("io", ["true"], 0, queue="io"), 71)

    assert batch.items.get().state == ItemState.QUEUED
    assert "could not be ended" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_child_without_a_queue_has_no_claims(alice, fake_tool):
    batch = factories.bare_batch(alice, state=BatchState.RUNNING)
    worker = f"{socket.gethostname()}:71"
    factories.bare_item(batch, state=ItemState.FETCHING, worker=worker, lease_until=timezone.now())

    processes.end_claims(Child("web", ["true"], 0), 71)

    assert batch.items.get().state == ItemState.FETCHING


# --- A real site ----------------------------------------------------------------------------

ONE_ENGINE = {"STUDIO_ENGINE_WORKERS": "1"}
MARKS = {
    "web": "gunicorn studio.wsgi",
    "io": "manage.py worker io",
    "cpu": "manage.py worker cpu",
    "scheduler": "manage.py scheduler",
    "valkey": "valkey-server unixsocket:",
}


@pytest.fixture(scope="module")
def site(used_place):
    """The supervisor of a running site, with one engine worker and an empty home."""
    home = used_place.data.with_name("home")
    home.mkdir()
    boss = used_place.start_site("run", HOME=str(home), **ONE_ENGINE)
    yield boss
    boss.send_signal(signal.SIGTERM)
    boss.communicate(timeout=60)


def children(boss) -> dict[str, int]:
    """The supervised processes by name; a child that is just coming up is not there yet."""
    found = {}
    for pid, line in family(boss.pid).items():
        for name, mark in MARKS.items():
            if mark in line and os.getsid(pid) == pid:
                found[name] = pid
    return found


@pytest.mark.worker
def test_every_process_is_there_in_a_session_of_its_own(used_place, site):
    there = children(site)

    assert there.keys() == MARKS.keys()
    assert used_place.health() == (200, [])
    assert used_place.get("/accounts/login/")[0] == 200


@pytest.mark.worker
def test_files_of_the_site_lie_in_its_data_directory_alone(used_place, site):
    comes_and_goes = {"media", "db.sqlite3-shm", "db.sqlite3-wal"}
    assert {path.name for path in used_place.data.iterdir()} - comes_and_goes == {
        "db.sqlite3",
        "logs",
        "run",
        "credentials-key",
        "secret-key",
        "valkey",
    }
    assert (used_place.data / "run" / "valkey.sock").is_socket()
    assert {log.name for log in (used_place.data / "logs").iterdir()} == {
        "web.log",
        "io.log",
        "cpu-1.log",
        "scheduler.log",
        "valkey.log",
    }
    home = used_place.data.with_name("home")
    assert [path for path in home.rglob("*") if not path.is_dir()] == []


@pytest.mark.worker
def test_a_second_one_on_the_same_directory_says_so_and_harms_nothing(used_place, site):
    before = children(site)

    second = used_place.run("run", STUDIO_PORT=str(free_port()))

    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr == (
        f"CommandError: A studio is running already on {used_place.data} (process {site.pid}). "
        "Stop it, or set STUDIO_DATA_DIR and STUDIO_PORT to run another one beside it.\n"
    )
    assert children(site) == before
    assert used_place.health() == (200, [])


@pytest.mark.worker
@pytest.mark.parametrize("command", ["run", "demo"])
def test_a_second_one_on_the_same_port_says_so_and_starts_nothing(
    used_place, site, new_place, command
):
    other = new_place("other")

    second = other.run(command, STUDIO_PORT=str(used_place.port))

    assert second.returncode == 1
    assert second.stderr == (
        f"CommandError: Port {used_place.port} can't be used (Address already in use). "
        "Stop what listens there, or set STUDIO_PORT.\n"
    )
    assert list((other.data / "logs").iterdir()) == []
    assert used_place.health() == (200, [])


@pytest.mark.worker
def test_a_batch_from_the_terminal_uses_the_site_and_its_api_has_the_same_bytes(
    used_place, site, tmp_path, pictures
):
    (tmp_path / "here").mkdir()
    for number in range(3):
        (tmp_path / "here" / f"{number}.jpg").write_bytes(pictures[number])
    key = used_place.run("createapikey", "payer@b.example").stdout.strip()
    there = set(family(site.pid))

    runner = used_place.start(
        "runbatch",
        tmp_path / "here",
        "--tool",
        "remove-background",
        "--set",
        "model=u2netp",
        "--out",
        tmp_path / "out",
        "--user",
        "payer@b.example",
    )
    met: dict[int, str] = {}
    eventually(lambda: met.update(used_place.processes()) or runner.poll() is not None)
    said, _ = runner.communicate()

    assert runner.returncode == 0, said
    # By command lines: what is about to become the guard is a copy of the command for a moment.
    new = {line for pid, line in met.items() if pid not in there}
    assert [line.split()[2] for line in new] == ["runbatch"], "it started something of its own"
    bearer = {"Authorization": f"Bearer {key}"}
    batch = json.loads(used_place.get("/api/v1/batches", **bearer)[1])["results"][0]
    assert (batch["status"], batch["credits"]["used"]) == ("finished", 3)
    listed = used_place.get(f"/api/v1/batches/{batch['id']}/items", **bearer)[1]
    for item in json.loads(listed)["results"]:
        status, body = used_place.get(f"/api/v1/items/{item['id']}/result", **bearer)
        assert status == 200
        assert body == (tmp_path / "out" / item["name"].replace(".jpg", ".png")).read_bytes()


@pytest.mark.worker
@pytest.mark.parametrize("kind", ["io", "cpu"])
def test_a_kind_of_worker_that_is_gone_is_named_until_it_is_back(used_place, site, kind):
    eventually(lambda: used_place.health() == (200, []))
    victim = children(site)[kind]

    os.kill(victim, signal.SIGKILL)

    eventually(lambda: used_place.health() == (503, [f"{kind} worker"]), seconds=10)
    eventually(lambda: used_place.health() == (200, []), seconds=20)
    assert children(site)[kind] != victim


@pytest.mark.worker
@pytest.mark.parametrize("name", ["scheduler", "valkey"])
def test_a_process_that_is_killed_is_started_again(used_place, site, name):
    eventually(lambda: used_place.health() == (200, []))
    before = children(site)

    os.kill(before[name], signal.SIGKILL)

    eventually(lambda: children(site).get(name, before[name]) != before[name], seconds=10)
    eventually(lambda: used_place.health() == (200, []), seconds=20)
    after = children(site)
    assert {key for key in after if after[key] == before[key]} >= {"web", "io"} - {name}


@pytest.mark.worker
def test_a_web_server_that_is_killed_leaves_no_worker_and_visitors_only_wait(used_place, site):
    eventually(lambda: used_place.health() == (200, []))
    before = family(children(site)["web"])

    os.kill(children(site)["web"], signal.SIGKILL)
    eventually(lambda: not any(map(is_running, before)), seconds=5)

    assert used_place.health() == (200, []), "the door was shut"
    assert not set(family(children(site)["web"])) & set(before)


@pytest.mark.worker
def test_a_web_worker_that_is_killed_is_replaced(used_place, site):
    master = children(site)["web"]
    [worker] = set(family(master)) - {master}

    os.kill(worker, signal.SIGKILL)

    eventually(lambda: used_place.health() == (200, []), seconds=10)
    assert children(site)["web"] == master


class PhotoServer(http.server.BaseHTTPRequestHandler):
    """Gives one photo to everybody."""

    photo = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(self.photo)))
        self.end_headers()
        self.wfile.write(self.photo)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def photo_address(pictures):
    """`host:port` of a server that has a photo."""
    handler = type("Handler", (PhotoServer,), {"photo": pictures[0]})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.worker
def test_two_live_side_by_side_and_a_killed_one_leaves_nobody(
    used_place, site, new_place, photo_address, pictures
):
    other = new_place("other")
    boss = other.start_site("run", STUDIO_FETCH_ALLOW=photo_address, **ONE_ENGINE)
    key = other.run("createapikey", "a@b.example").stdout.strip()
    bearer = {"Authorization": f"Bearer {key}"}
    order = {
        "tool": "remove-background",
        "settings": {"model": "u2netp"},
        "start": True,
        "images": [{"url": f"http://{photo_address}/a.jpg"}],
    }
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.jpg"\r\n\r\n'
        + pictures[1]
        + b"\r\n--x--\r\n"
    )

    uploaded, _ = other.ask(
        "POST",
        "/api/v1/uploads",
        body=form,
        headers={**bearer, "Content-Type": "multipart/form-data; boundary=x"},
    )
    status, answer = other.ask(
        "POST",
        "/api/v1/batches",
        body=json.dumps(order).encode(),
        headers={**bearer, "Content-Type": "application/json"},
    )
    assert (uploaded, status) == (201, 201), answer
    batch = f"/api/v1/batches/{json.loads(answer)['id']}"
    eventually(lambda: json.loads(other.get(batch, **bearer)[1])["counts"]["done"] == 1)
    assert used_place.health() == (200, [])
    relatives = family(boss.pid)
    assert sum("tools.engines.guard" in line for line in relatives.values()) == 2

    boss.kill()
    boss.communicate()

    eventually(lambda: not any(map(is_running, relatives)), seconds=5)
    assert used_place.health() == (200, [])

    # The next one finds nothing in its way, not even an instant later.
    again = other.start_site("run", **ONE_ENGINE)
    again.send_signal(signal.SIGINT)
    said, _ = again.communicate(timeout=30)
    assert again.returncode == 0
    assert said.endswith("Stopping …\n")
    assert other.processes() == {}


@pytest.mark.worker
def test_web_workers_scheduler_and_valkey_end_in_this_order(used_place, site):
    eventually(lambda: used_place.health() == (200, []))
    there = children(site)
    relatives = family(site.pid)
    order = [{"web"}, {"io", "cpu"}, {"scheduler"}, {"valkey"}]
    began = time.monotonic()

    site.send_signal(signal.SIGTERM)
    gone: list[set[str]] = []
    while gone != order[::-1]:
        assert time.monotonic() - began < supervisor.STOP_SECONDS
        # From the last to the first: whoever is seen to be gone has gone before we look further.
        gone = [{name for name in group if not is_running(there[name])} for group in order[::-1]]
        for place, group in enumerate(gone[:-1]):
            before, wanted = gone[place + 1], order[::-1][place + 1]
            assert not group or before == wanted, f"{group} ended before {wanted - before}"
    said, _ = site.communicate(timeout=10)

    assert site.returncode == 0
    assert said.endswith("Stopping …\n")
    assert not any(map(is_running, relatives))
    assert used_place.get("/healthz") == (0, b"")
