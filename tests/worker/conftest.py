"""Real worker processes on the test's own database and Valkey database."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection

from studio.supervisor import Child, Supervisor, manage
from tests.studio.conftest import free_port


@pytest.fixture
def worker_env(transactional_db, valkey) -> dict[str, str]:
    """What a child process needs in its environment to see what the test sees."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        url = f"sqlite:///{name}"
    else:
        url = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))
    return {
        **os.environ,
        "DATABASE_URL": url,
        "REDIS_URL": settings.RQ_QUEUES["io"]["URL"],
        "DJANGO_SETTINGS_MODULE": "studio.settings",
        "STUDIO_WEIGHTS_DIR": str(settings.WEIGHTS_DIR),
        "STUDIO_FETCH_ALLOW": "",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def start(worker_env) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start one of our commands; whatever still runs at the end is killed."""
    started = []

    def launch(*arguments: str, **env: str) -> subprocess.Popen:
        process = subprocess.Popen(
            manage(*arguments),
            env={**worker_env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield launch
    for process in started:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate()


@pytest.fixture
def servers() -> dict[int, subprocess.Popen]:
    """The web servers of this test, by their ports."""
    return {}


@pytest.fixture
def web(worker_env, servers) -> Iterator[Callable[..., int]]:
    """Start the web server as `make run` does, and give its port once it answers."""

    def launch(**env: str) -> int:
        port = free_port()
        config = settings.BASE_DIR / "studio/gunicorn_config.py"
        line = f"gunicorn studio.wsgi --bind 127.0.0.1:{port} --config {config} --no-control-socket"
        server = subprocess.Popen(
            [sys.executable, "-m", *line.split(), "--chdir", str(settings.BASE_DIR)],
            env={**worker_env, "STUDIO_PORT": str(port), **env},
        )
        servers[port] = server

        def answers() -> bool:
            assert server.poll() is None
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as visitor:
                try:
                    visitor.request("GET", "/api/v1/tools")
                    return visitor.getresponse().status == 200
                except OSError:
                    return False

        wait_for(answers)
        return port

    yield launch
    for server in servers.values():
        server.terminate()
        server.wait()


@pytest.fixture
def supervisor(worker_env, tmp_path, monkeypatch) -> Iterator[Supervisor]:
    """The site's own supervisor over workers of this test."""
    from studio.processes import end_claims

    for name, value in worker_env.items():
        monkeypatch.setenv(name, value)
    watcher = Supervisor(logs=tmp_path, on_death=end_claims)
    yield watcher
    watcher.stop()


@pytest.fixture
def workers(supervisor) -> Callable[..., list[Child]]:
    """Start one io worker and so many engine workers under the supervisor."""

    def launch(*, engines: int = 2, **env: str) -> list[Child]:
        supervisor.start(Child("io", manage("worker", "io"), 0, env=env, queue="io"))
        for number in range(engines):
            supervisor.start(
                Child(f"cpu-{number}", manage("worker", "cpu"), 0, env=env, queue="cpu")
            )
        return supervisor.children

    return launch


def wait_for(
    condition: Callable[[], bool],
    *,
    seconds: float = 60,
    tick: Callable[[], object] = lambda: None,
) -> None:
    """Return when the condition holds; fail the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        tick()
        time.sleep(0.05)
