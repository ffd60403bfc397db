"""Keeps the site's processes running, as children that never outlive it.

Each child has a session of its own (so Ctrl-C reaches only the supervisor) and a parent-death
signal (so a killed supervisor leaves nobody behind). A child that dies is started again at once,
then after growing pauses; its claims are ended on the spot. On stopping, groups end one after
another: web, workers, scheduler, Valkey.
"""

import ctypes
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 20.0
"""How long after being asked to end a child is killed, where nothing else is said."""
CALM_SECONDS = 10.0
"""A child that lived so long starts again without a pause."""
LONGEST_PAUSE = 5.0
LARGEST_LOG = 10 * 1024 * 1024

log = logging.getLogger(__name__)


@dataclass
class Child:
    """One process to keep running; `group` says when it is stopped, lowest first."""

    name: str
    command: Sequence[str]
    group: int
    env: dict[str, str] = field(default_factory=dict)
    handles: Sequence[int] = ()
    """Open files that it is handed, under the same numbers."""
    queue: str = ""
    """The queue that it serves, for workers."""
    patience: float = STOP_SECONDS
    """Seconds that it may take to end when it is asked to; then it is killed."""
    work: Callable[[], None] | None = None
    """The same as `command`, to run in a copy of this process: the first start is a tenth as long.
    """
    process: "subprocess.Popen[bytes] | Fork | None" = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    quick_deaths: int = 0
    restarts: int = 0


class Fork:
    """A child that is a copy of this process, with as much of `subprocess.Popen` as we use.

    It has what this process has imported, which is most of what a start takes. Only for a process
    of one thread, and before it has loaded a model: neither survives a fork.
    """

    def __init__(
        self,
        work: Callable[[], None],
        *,
        command: Sequence[str],
        out: IO[bytes],
        env: dict[str, str],
    ) -> None:
        self.returncode: int | None = None
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become_child(work, parent=parent, command=command, out=out, env=env)

    def poll(self) -> int | None:
        """Its status, negative for a signal; nothing while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its status once it has ended; raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            handle = os.pidfd_open(self.pid)
            try:
                ended, _, _ = select.select([handle], [], [], timeout)
            finally:
                os.close(handle)
            if not ended or self.poll() is None:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return self.returncode or 0

    def terminate(self) -> None:
        """Ask it to end."""
        os.kill(self.pid, signal.SIGTERM)


class Supervisor:
    """Starts children, starts them again when they die, and stops them in order."""

    def __init__(
        self, *, logs: Path, on_death: Callable[[Child, int], None] = lambda _child, _pid: None
    ) -> None:
        self.children: list[Child] = []
        self._logs = logs
        self._on_death = on_death

    def start(self, child: Child) -> "subprocess.Popen[bytes] | Fork":
        """Start a child and keep it running from now on."""
        self.children.append(child)
        return self._launch(child)

    def check(self, *, wait: float = 0.0) -> None:
        """Start again what has died; sleep up to `wait` seconds for somebody to die."""
        self._sleep(wait)
        now = time.monotonic()
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._bury(child, now)
            if child.process is None and now >= child.start_again_at:
                child.restarts += 1
                self._launch(child)

    def stop(self) -> None:
        """End all children, group after group; returns when none is left."""
        for group in sorted({child.group for child in self.children}):
            members = [child for child in self.children if child.group == group]
            running = [child.process for child in members if child.process]
            for process in running:
                with suppress(ProcessLookupError):
                    process.terminate()
            deadline = time.monotonic() + max(child.patience for child in members)
            for process in running:
                try:
                    process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            for child in members:
                if child.process is not None:
                    self._on_death(child, child.process.pid)
                    child.process = None
        self.children.clear()

    def _launch(self, child: Child) -> "subprocess.Popen[bytes] | Fork":
        path = self._logs / f"{child.name}.log"
        if path.exists() and path.stat().st_size > LARGEST_LOG:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as out:
            if child.work and not child.restarts and threading.active_count() == 1:
                child.process = Fork(child.work, command=child.command, out=out, env=child.env)
            else:
                child.process = subprocess.Popen(
                    child.command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **child.env},
                    pass_fds=child.handles,
                    start_new_session=True,
                    preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - it starts no thread
                )
        child.started_at = time.monotonic()
        return child.process

    def _bury(self, child: Child, now: float) -> None:
        process, child.process = child.process, None
        if process is None:
            return
        log.warning("%s (pid %d) ended with %s.", child.name, process.pid, process.returncode)
        lived = now - child.started_at
        child.quick_deaths = 0 if lived > CALM_SECONDS else child.quick_deaths + 1
        pause = 0.0 if child.quick_deaths < 2 else min(LONGEST_PAUSE, 0.1 * 2**child.quick_deaths)
        child.start_again_at = now + pause
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it may have started itself
        self._on_death(child, process.pid)

    def _sleep(self, seconds: float) -> None:
        """Sleep, but wake as soon as a child ends."""
        if seconds <= 0:
            return
        poll = select.poll()
        handles = []
        for child in self.children:
            if child.process is not None:
                with suppress(ProcessLookupError):
                    handles.append(os.pidfd_open(child.process.pid))
                    poll.register(handles[-1], select.POLLIN)
        try:
            poll.poll(seconds * 1000)
        finally:
            for handle in handles:
                os.close(handle)


def _die_with_parent(parent: int) -> Callable[[], None]:
    prctl = ctypes.CDLL(None).prctl

    def ask_the_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask_the_kernel


def _become_child(
    work: Callable[[], None],
    *,
    parent: int,
    command: Sequence[str],
    out: IO[bytes],
    env: dict[str, str],
) -> NoReturn:
    """Turn a fresh copy of the supervisor into a child like any other, and do its work."""
    status = 1
    try:
        _die_with_parent(parent)()
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        os.environ.update(env)
        _show_as(command)
        work()
        status = 0
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else 1
    except BaseException:  # noqa: BLE001 - nobody above us may see it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # what the supervisor has to clean up is not ours


def _show_as(command: Sequence[str]) -> None:
    """Let `ps` and `pgrep -f` show this process under a command line, shortened where it must be.

    The kernel shows what stands where our own command line was put at the start.
    """
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(stat[45]), int(stat[46])  # arg_start and arg_end: fields 48 and 49
    program, script, *arguments = command
    for line in (
        [program, script, *arguments],
        [Path(program).name, Path(script).name, *arguments],
        [Path(script).name, *arguments],
    ):
        text = b"".join(os.fsencode(word) + b"\0" for word in line)
        if len(text) <= end - start:
            ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)
            return


def manage(*arguments: str) -> list[str]:
    """The command line of one of our own commands, in this very Python."""
    manage_py = Path(__file__).resolve().parent.parent / "manage.py"
    return [sys.executable, str(manage_py), *arguments]


class StopSignal:
    """Notes that somebody asked us to stop (Ctrl-C or SIGTERM)."""

    def __init__(self) -> None:
        self.asked = False
        self._woken, self._wake = os.pipe()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def wait(self, seconds: float) -> None:
        """Sleep so long, or until asked to stop."""
        # Python would go back to a plain sleep after the signal's handler.
        select.select([self._woken], [], [], seconds)

    def _note(self, *_: Any) -> None:
        if self.asked:
            raise SystemExit(1)  # asked twice: children die with us
        self.asked = True
        os.write(self._wake, b"!")
