"""Children are kept running, start again when they die, and end with their supervisor."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from studio import supervisor as module
from studio.supervisor import Child, Supervisor
from tests.studio.conftest import command_of, eventually, is_running

ROOT = Path(__file__).parents[2]
SLEEP = ["sleep", "600"]


@pytest.fixture
def deaths():
    return []


@pytest.fixture
def supervisor(tmp_path, deaths):
    def note(child: Child, pid: int) -> None:
        deaths.append((child.name, pid))

    watcher = Supervisor(logs=tmp_path, on_death=note)
    yield watcher
    watcher.stop()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def kill(child: Child) -> int:
    pid = child.process.pid
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_child_that_dies_is_told_of_and_starts_again(supervisor, deaths):
    child = Child("sleeper", SLEEP, 0)
    supervisor.start(child)

    first = kill(child)
    eventually(lambda: supervisor.check(wait=0.05) or child.restarts == 1, seconds=5)

    assert deaths == [("sleeper", first)]
    assert child.process.pid != first
    assert is_running(child.process.pid)


def test_a_death_ends_the_sleep_of_the_supervisor(supervisor):
    child = Child("sleeper", SLEEP, 0)
    supervisor.start(child)
    began = time.monotonic()

    kill(child)
    supervisor.check(wait=30)

    assert time.monotonic() - began < 5
    assert child.restarts == 1


def test_a_child_that_dies_at_once_again_and_again_is_started_at_growing_intervals(supervisor):
    child = Child("broken", ["false"], 0)
    supervisor.start(child)
    starts = [child.started_at]

    while len(starts) < 4:
        supervisor.check(wait=0.01)
        if child.started_at != starts[-1]:
            starts.append(child.started_at)

    first, second, third = [later - earlier for earlier, later in pairwise(starts)]
    assert second >= 0.4
    assert third >= 0.8
    assert first < third


def test_no_pause_is_longer_than_five_seconds(supervisor):
    child = Child("broken", ["false"], 0, quick_deaths=50)
    supervisor.start(child)

    eventually(lambda: child.process.poll() is not None, seconds=5)
    supervisor.check()

    assert child.start_again_at - time.monotonic() <= module.LONGEST_PAUSE


def test_a_child_that_lived_long_starts_again_at_once(supervisor, monkeypatch):
    monkeypatch.setattr(module, "CALM_SECONDS", 0.0)
    child = Child("sleeper", SLEEP, 0, quick_deaths=50)
    supervisor.start(child)

    kill(child)
    supervisor.check(wait=5)

    assert child.restarts == 1
    assert child.quick_deaths == 0


def test_groups_end_one_after_another(supervisor, tmp_path):
    order = tmp_path / "order"
    names = ("first", "second", "third")
    for name, group in (("third", 3), ("first", 1), ("second", 2)):
        code = (
            "import signal, sys, time\n"
            "def end(*_):\n"
            f"    time.sleep({0.3 / group})\n"  # the later its turn, the quicker it would be
            f"    open({str(order)!r}, 'a').write('{name} '); sys.exit()\n"
            "signal.signal(signal.SIGTERM, end)\n"
            f"open({str(tmp_path / name)!r}, 'w'); signal.pause()\n"
        )
        supervisor.start(Child(name, python(code), group))
    eventually(lambda: all((tmp_path / name).exists() for name in names), seconds=10)

    supervisor.stop()

    assert order.read_text().split() == ["first", "second", "third"]
    assert supervisor.children == []


def test_a_child_that_will_not_end_is_killed_with_all_that_it_started(
    supervisor, tmp_path, monkeypatch, deaths
):
    monkeypatch.setattr(module, "STOP_SECONDS", 0.2)
    note = tmp_path / "grandchild"
    code = (
        "import signal, subprocess\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid)); child.wait()\n"
    )
    stubborn = supervisor.start(Child("stubborn", python(code), 0))
    eventually(lambda: note.exists() and note.read_text(), seconds=10)

    supervisor.stop()

    assert deaths == [("stubborn", stubborn.pid)]
    eventually(lambda: not is_running(int(note.read_text())), seconds=5)


def test_what_a_dead_child_has_started_dies_with_it(supervisor, tmp_path):
    note = tmp_path / "grandchild"
    code = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid)); child.wait()\n"
    )
    parent = Child("parent", python(code), 0)
    supervisor.start(parent)
    eventually(lambda: note.exists() and note.read_text(), seconds=10)
    orphan = int(note.read_text())

    kill(parent)
    supervisor.check(wait=5)

    eventually(lambda: not is_running(orphan), seconds=5)


def test_a_terminals_ctrl_c_reaches_no_child(supervisor):
    process = supervisor.start(Child("sleeper", SLEEP, 0))

    assert os.getsid(process.pid) == process.pid != os.getsid(0)


def test_a_child_gets_its_own_settings_on_top_of_ours(supervisor, tmp_path, monkeypatch):
    monkeypatch.setenv("FROM_US", "inherited")
    code = "import os, sys; print(os.environ['FROM_US'], os.environ['OF_ITS_OWN'], flush=True)"

    process = supervisor.start(Child("speaker", python(code), 0, env={"OF_ITS_OWN": "added"}))
    process.wait(10)

    assert (tmp_path / "speaker.log").read_text() == "inherited added\n"


def test_a_child_is_handed_the_open_files_that_it_is_to_have_and_no_others(supervisor, tmp_path):
    with socket.socket() as door, socket.socket() as secret:
        door.bind(("127.0.0.1", 0))
        code = (
            "import os, socket\n"
            f"print(socket.socket(fileno={door.fileno()}).getsockname()[1])\n"
            f"print(os.path.exists('/proc/self/fd/{secret.fileno()}'))"
        )

        supervisor.start(Child("visitor", python(code), 0, handles=[door.fileno()])).wait(10)

        assert (tmp_path / "visitor.log").read_text() == f"{door.getsockname()[1]}\nFalse\n"


def test_a_log_that_has_grown_large_is_put_aside(supervisor, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_LOG", 100)
    (tmp_path / "speaker.log").write_text("old " * 50)

    supervisor.start(Child("speaker", ["echo", "new"], 0)).wait(10)

    assert (tmp_path / "speaker.log").read_text() == "new\n"
    assert (tmp_path / "speaker.log.1").read_text() == "old " * 50


def test_a_killed_supervisor_leaves_nobody(tmp_path):
    code = (
        "import pathlib, sys\n"
        "from studio.supervisor import Child, Supervisor\n"
        "watcher = Supervisor(logs=pathlib.Path(sys.argv[1]))\n"
        "for name in 'ab':\n"
        "    print(watcher.start(Child(name, ['sleep', '600'], 0)).pid, flush=True)\n"
        "while True: watcher.check(wait=10)\n"
    )
    boss = subprocess.Popen(
        [*python(code), str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    children = [int(boss.stdout.readline()) for _ in "ab"]
    assert [command_of(child) for child in children] == ["sleep 600"] * 2

    boss.kill()
    boss.communicate()

    eventually(lambda: not any(map(is_running, children)), seconds=5)


COPYING = """
import atexit, os, pathlib, sys, time
from studio.supervisor import Child, Supervisor

logs = pathlib.Path(sys.argv[1])
atexit.register(lambda: print("cleaned up", flush=True))
watcher = Supervisor(logs=logs)

def work():
    print(os.environ["OF_ITS_OWN"], os.getsid(0) == os.getpid(), repr(sys.stdin.read()), flush=True)
    time.sleep(600)

def leave():
    sys.exit(3)

def fail():
    raise RuntimeError("for the test")

for name, ending in (("leaves", leave), ("fails", fail), ("returns", lambda: None)):
    print(watcher.start(Child(name, ["false", "it"], 0, work=ending)).wait(10), flush=True)
watcher.children.clear()
copy = Child("copy", ["sleep", "600"], 0, env={"OF_ITS_OWN": "added"}, work=work)
print(watcher.start(copy).pid, flush=True)
while not copy.restarts:
    watcher.check(wait=10)
print(copy.process.pid, flush=True)
sys.stdin.readline()
watcher.stop()
"""


@pytest.fixture
def copying(tmp_path):
    """A supervisor, in a process without threads, whose child starts as a copy of it."""
    boss = subprocess.Popen(
        [*python(COPYING), str(tmp_path)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    yield boss
    boss.kill()
    boss.communicate()


def test_a_copy_of_the_supervisor_is_a_child_like_any_other(copying, tmp_path):
    statuses = [int(copying.stdout.readline()) for _ in range(3)]
    first = int(copying.stdout.readline())
    log = tmp_path / "copy.log"
    eventually(lambda: log.exists() and log.read_text(), seconds=10)
    seen_as = command_of(first)

    os.kill(first, signal.SIGKILL)
    second = int(copying.stdout.readline())
    restarted_as = command_of(second)
    said, _ = copying.communicate("\n", timeout=10)

    assert statuses == [3, 1, 0]
    assert "RuntimeError: for the test" in (tmp_path / "fails.log").read_text()
    assert log.read_text() == "added True ''\n"
    assert seen_as == restarted_as == "sleep 600"
    assert first != second
    assert said == "cleaned up\n", "a copy did what only the supervisor has to do"
    assert copying.returncode == 0
    assert not is_running(second)


def test_a_copy_dies_with_its_supervisor_too(copying, tmp_path):
    for _ in range(3):
        copying.stdout.readline()
    copy = int(copying.stdout.readline())
    assert is_running(copy)

    copying.kill()

    eventually(lambda: not is_running(copy), seconds=5)


STOPPABLE = """
import sys, time
from studio.supervisor import StopSignal
stop = StopSignal()
print("ready", flush=True)
began = time.monotonic()
while not stop.asked:
    stop.wait(60)
print(f"asked {time.monotonic() - began < 30}", flush=True)
sys.stdin.readline()
print("went on")
"""


@pytest.fixture
def stoppable():
    process = subprocess.Popen(
        python(STOPPABLE),
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_at_once_and_ends_nothing_by_itself(stoppable, number):
    stoppable.send_signal(number)

    ready, _, _ = select.select([stoppable.stdout], [], [], 10)
    assert ready, "it slept on"
    assert stoppable.stdout.readline() == "asked True\n"
    said, complained = stoppable.communicate("\n", timeout=10)
    assert (stoppable.returncode, said, complained) == (0, "went on\n", "")


def test_the_second_signal_ends_the_process_at_once(stoppable):
    stoppable.send_signal(signal.SIGINT)
    stoppable.stdout.readline()

    stoppable.send_signal(signal.SIGINT)

    assert stoppable.wait(10) == 1
    assert stoppable.stderr.read() == ""
