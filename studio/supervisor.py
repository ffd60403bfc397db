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
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 20.0
"""A child that has not ended so long after being asked is killed."""
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
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    quick_deaths: int = 0
    restarts: int = 0


class Supervisor:
    """Starts children, starts them again when they die, and stops them in order."""

    def __init__(
        self, *, logs: Path, on_death: Callable[[Child, int], None] = lambda _child, _pid: None
    ) -> None:
        self.children: list[Child] = []
        self._logs = logs
        self._on_death = on_death

    def start(self, child: Child) -> "subprocess.Popen[bytes]":
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
            deadline = time.monotonic() + STOP_SECONDS
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

    def _launch(self, child: Child) -> "subprocess.Popen[bytes]":
        path = self._logs / f"{child.name}.log"
        if path.exists() and path.stat().st_size > LARGEST_LOG:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as out:
            child.process = subprocess.Popen(
                child.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **child.env},
                pass_fds=child.handles,
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - we have no threads
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
