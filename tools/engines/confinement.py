"""Give up what a process that reads a stranger's file does not need, for good.

Imports nothing that is slow: a child calls it before it looks at the file.
"""

import ctypes
import os
import resource
import signal
from contextlib import suppress
from functools import cache
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_NOBODY: Final = 65534

OWN_SIGNALS: Final = frozenset(
    {
        signal.SIGXCPU,
        signal.SIGALRM,
        signal.SIGXFSZ,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGABRT,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
"""By which a child ends through its file: its own limits, and crashes."""


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def prepare() -> None:
    """Load what `confine` needs, for a server that forks."""
    _libc()


def confine(
    *, memory: int, cpu_seconds: int, seconds: float, written: int = 0, threads: bool = False
) -> None:
    """Limit this process: bytes of address space, seconds of CPU and by the clock, no privileges.

    It can open nothing more and start no process, nor a thread unless `threads`; into what is
    open already it may write so many bytes (no limit holds for pipes).
    """
    if os.geteuid() == 0:
        with suppress(OSError):  # not everywhere is there a nobody to become
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, written),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    if not threads:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    # The soft limit ends it by SIGXCPU; SIGKILL, which the hard one sends, would look foreign.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 2))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def end_with(parent: int) -> None:
    """End as soon as the parent's thread ends; call it after `confine`, which resets it."""
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(os.EX_SOFTWARE)
