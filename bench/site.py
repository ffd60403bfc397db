"""A site of its own for measurements and pictures: `manage.py demo` in a throw-away folder."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@dataclass(frozen=True)
class DemoSite:
    """Where it is, and who may sign in."""

    address: str
    user: str
    password: str
    data: Path | None = None
    """Its data directory, where it is one of ours."""


@contextmanager
def demo_site() -> Iterator[DemoSite]:
    """Start the demo as it is served in production, and stop it and forget its data at the end.

    Raises `RuntimeError` with what it said when it does not start.
    """
    data = Path(tempfile.mkdtemp(prefix="studio-demo-"))
    port = free_port()
    env = {**os.environ, "STUDIO_DATA_DIR": str(data), "STUDIO_PORT": str(port)}
    manage = [sys.executable, str(ROOT / "manage.py")]
    for command in (["migrate"], ["collectstatic", "--noinput"]):
        subprocess.run([*manage, *command, "--verbosity", "0"], env=env, check=True)
    demo = subprocess.Popen([*manage, "demo"], env=env, stdout=subprocess.PIPE, text=True)
    try:
        said = ""
        for line in demo.stdout or ():
            said += line
            if "Ctrl-C" in line:
                break
        found = re.search(r"Sign in\s+(\S+), password (\S+)", said)
        if not found:
            raise RuntimeError(f"The demo did not start:\n{said}")
        yield DemoSite(f"http://127.0.0.1:{port}", found[1], found[2], data)
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait()
        shutil.rmtree(data, ignore_errors=True)


def chromium() -> str:
    """The browser that the tests use. Raises `RuntimeError` where there is none."""
    done = subprocess.run([ROOT / "scripts/browser"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError("There is no Chromium: `make test` fetches one.")
    return done.stdout.strip()


def free_port() -> int:
    """A port on which nobody listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
