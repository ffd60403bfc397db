"""Real commands in processes of their own, each on a data directory that nobody has used yet."""

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from bench.photos import photos
from studio.supervisor import manage
from tests import pages

OURS = ("STUDIO_", "DJANGO_", "DEMO_", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PYTEST")
"""What this test run has in its environment, and a newcomer's terminal has not."""
POLL_SECONDS = 0.02
SMALL = [(320, 240), (240, 320), (256, 256)]


class Place:
    """A data directory, a free port, and a way to run our commands with nothing else set."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_port()

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a newcomer who has set STUDIO_DATA_DIR."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return {**plain, "STUDIO_DATA_DIR": str(self.data), **more}

    def run(
        self, *arguments: object, seconds: float = 90, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return self.run_line(manage(*map(str, arguments)), seconds=seconds, **env)

    def run_line(
        self, line: Sequence[str], *, seconds: float = 90, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run any command line to its end; one that takes longer is killed and an error."""
        return subprocess.run(
            line, check=False, env=self.env(**env), capture_output=True, text=True, timeout=seconds
        )

    def start(self, *arguments: object, **env: str) -> "subprocess.Popen[str]":
        """Start a command; what it says on both streams can be read from its output."""
        return subprocess.Popen(
            manage(*map(str, arguments)),
            env=self.env(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start_site(self, command: str, **env: str) -> "subprocess.Popen[str]":
        """Start `run` or `demo` on this place's port and wait until its page says ok."""
        boss = self.start(command, STUDIO_PORT=str(self.port), **env)
        eventually(lambda: boss.poll() is not None or self.health() == (200, []))
        assert boss.poll() is None, boss.communicate()[0]
        return boss

    def shell(self, code: str) -> str:
        """What a piece of Python prints on this data directory."""
        done = self.run("shell", "--verbosity", "0", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def rows(self, query: str, *values: object) -> list[tuple]:
        """What the database answers, asked without a process of ours."""
        with closing(sqlite3.connect(self.data / "db.sqlite3", timeout=20)) as connection:
            return connection.execute(query, values).fetchall()

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Status and body of a page; status 0 when nobody answers."""
        return self.ask("GET", path, headers=headers)

    def ask(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a request to this place's port."""
        visitor = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            visitor.request(method, path, body=body, headers=dict(headers or {}))
            answer = visitor.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            visitor.close()

    def health(self) -> tuple[int, list[str]]:
        """What the health page says: the status, and what is missing."""
        status, body = self.get("/healthz")
        return status, json.loads(body)["missing"] if status else ["web"]

    def processes(self) -> dict[int, str]:
        """All processes that run on this data directory, and their command lines."""
        mark = f"STUDIO_DATA_DIR={self.data}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = command_of(int(entry.name))
        return {pid: line for pid, line in found.items() if is_running(pid)}

    def end(self) -> dict[int, str]:
        """Kill what still runs here; returns what that was."""
        left = self.processes()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], object], *, seconds: float = 60) -> None:
    """Return when the condition holds; fail the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(POLL_SECONDS)


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()


def is_running(pid: int) -> bool:
    """Whether a process is there and more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def family(pid: int) -> dict[int, str]:
    """A process and all its descendants, with their command lines."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry.name)] = int(stat[1])
    members, found = {pid}, {pid}
    while found:
        found = {child for child, parent in parents.items() if parent in found} - members
        members |= found
    lines = {}
    for member in members:
        with suppress(OSError):
            lines[member] = command_of(member)
    return lines


@contextmanager
def place_at(data: Path) -> Iterator[Place]:
    """A place; at the end nothing may run there any more."""
    place = Place(data)
    try:
        yield place
    finally:
        left = place.end()
    assert not left, "processes were left behind"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty place of this test's own; its data directory does not exist yet."""
    with place_at(tmp_path / "data") as new:
        yield new


@pytest.fixture
def new_place(tmp_path: Path) -> Iterator[Callable[[str], Place]]:
    """Makes further empty places, by name."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(place_at(tmp_path / name))


@pytest.fixture(scope="module")
def used_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place that the tests of one module share, so that only the first has to set it up."""
    with place_at(tmp_path_factory.mktemp("shared") / "data") as shared:
        yield shared


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """A dozen small real photos, all different."""
    return [data for _name, data in photos(12, sizes=SMALL)]


@pytest.fixture
def world(db) -> pages.World:
    """Some people, and batches in every state."""
    return pages.build()
