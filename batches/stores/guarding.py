"""Connections to stores that people name, without becoming a door to our own network.

A store's host is resolved once for each connection; one answer that is not public spoils them
all, and the very address that was judged is dialled. The rule is that of downloads
(`batches.fetch`), put where urllib3 opens its sockets, so that boto3 stands under it as well as
our own requests, and so do redirects that a server sends.
"""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import connection as dialling

from batches.fetch import resolve_by_system
from tools.engines import network

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
"""Silence in the middle."""
ANSWER_SECONDS = 120.0
"""From the end of a request to the last byte of its answer: a server may not drip for ever, and
the time-outs of a socket are for one packet each."""

TIMEOUT = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)


class NotPublic(Exception):
    """The host's name leads to an address that nobody on the internet could mean."""


class Resolver:
    """Turns a host into the addresses that may be dialled; `allow` has `host:port` entries."""

    def __init__(
        self,
        *,
        allow: Sequence[str] = (),
        resolve: Callable[[str, int], Sequence[str]] = resolve_by_system,
    ) -> None:
        self._allow = {entry.strip().lower() for entry in allow}
        self._resolve = resolve

    def addresses(self, host: str, port: int) -> list[str]:
        """All of them, best first. Raises `NotPublic`, or `OSError` where there are none."""
        bare = host.strip("[]").rstrip(".").lower()
        found = list(dict.fromkeys(self._resolve(bare, port)))
        if not found:
            raise OSError(f"no address for {bare}")
        named = f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"
        if named not in self._allow and not all(map(network.is_public, found)):
            raise NotPublic(bare)
        return found


def pool_classes(
    resolver: Resolver,
    *,
    http: type[HTTPConnectionPool] = HTTPConnectionPool,
    https: type[HTTPSConnectionPool] = HTTPSConnectionPool,
    seconds: float = ANSWER_SECONDS,
) -> dict[str, type[HTTPConnectionPool]]:
    """What a pool manager's `pool_classes_by_scheme` is to be, on top of these classes."""
    return {"http": _guarded(http, resolver, seconds), "https": _guarded(https, resolver, seconds)}


def pool_manager(resolver: Resolver, *, seconds: float = ANSWER_SECONDS) -> urllib3.PoolManager:
    """A client for many threads: no proxies, no redirects of its own, certificates checked."""
    manager = urllib3.PoolManager(
        maxsize=16,
        timeout=TIMEOUT,
        retries=False,
        ssl_context=network.trusted(),
    )
    manager.pool_classes_by_scheme = pool_classes(resolver, seconds=seconds)
    return manager


def _guarded(
    pool: type[HTTPConnectionPool], resolver: Resolver, seconds: float
) -> type[HTTPConnectionPool]:
    base: Any = pool.ConnectionCls

    class Connection(base):
        """Dials the addresses that were judged; the name stays for the certificate."""

        _watched: "_Watched | None" = None

        def _new_conn(self) -> socket.socket:
            return _dialled(self, resolver)

        def request(self, *args: Any, **kwargs: Any) -> None:
            # Not when it closes: the body of an answer outlives the connection that brought it.
            if self._watched:
                self._watched.sock = None
            super().request(*args, **kwargs)

        def getresponse(self) -> Any:
            self._watched = _watch_for(seconds).add(self.sock)
            return super().getresponse()

    class Pool(pool):  # type: ignore[misc, valid-type]
        ConnectionCls = Connection

    return Pool


def _dialled(connection: HTTPConnection, resolver: Resolver) -> socket.socket:
    try:
        addresses = resolver.addresses(connection.host, connection.port)
    except (OSError, UnicodeError) as error:
        failed = urllib3.exceptions.NewConnectionError(connection, f"no address: {error}")
        raise failed from error
    for position, address in enumerate(addresses[:2], start=1):
        try:
            return dialling.create_connection(
                (address, connection.port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            if position < len(addresses[:2]):
                continue
            if isinstance(error, TimeoutError):
                raise urllib3.exceptions.ConnectTimeoutError(connection, str(error)) from error
            failed = urllib3.exceptions.NewConnectionError(connection, str(error))
            raise failed from error
    raise AssertionError("The last address returns or raises.")


@dataclass
class _Watched:
    """A socket whose answer is on its way; nothing once another request uses it."""

    ends_at: float
    sock: socket.socket | None


class _Watch:
    """One thread that cuts the lines whose answers take too long.

    A line that is idle by then is dropped unnoticed: the pool opens another.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[_Watched] = deque()  # by time: all may take equally long
        self._added = threading.Condition()
        threading.Thread(target=self._run, name="store-watch", daemon=True).start()

    def add(self, sock: socket.socket) -> _Watched:
        """Give an answer its time, beginning now."""
        watched = _Watched(time.monotonic() + self._seconds, sock)
        with self._added:
            self._waiting.append(watched)
            self._added.notify()
        return watched

    def _run(self) -> None:
        while True:
            with self._added:
                self._added.wait_for(lambda: self._waiting)
                watched = self._waiting.popleft()
            time.sleep(max(0.0, watched.ends_at - time.monotonic()))
            if sock := watched.sock:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


@cache
def _watch_for(seconds: float) -> _Watch:
    return _Watch(seconds)
