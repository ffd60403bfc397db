"""What our connections have in common: whom they may reach, how long they last, whom they trust.

Downloads of users' addresses and calls of services stand on it.
"""

import ipaddress
import os
import ssl
from collections.abc import Callable
from functools import cache

import certifi
import httpcore

# Beyond what `is_global` of every Python that we run on refuses.
_REFUSED = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service lives here
        "192.88.99.0/24",  # 6to4 relays
        "100.64.0.0/10",  # shared by carriers; Alibaba's metadata service lives here
        "168.63.129.16/32",  # Azure's own services, seen from inside a machine
        "2001::/23",  # Teredo, ORCHID and other assignments
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
        "2002::/16",  # 6to4
    )
]
# All that was ever given out as global unicast. What lies outside is loopback, v4-mapped,
# v4-compatible, unique-local, link-local, site-local, multicast or a translation prefix.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# The one prefix behind which a network without IPv4 sees the public IPv4 hosts.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is one that anybody on the internet could mean.

    An IPv4 address behind the well-known NAT64 prefix is judged as itself; every other way
    to wrap one in IPv6 is refused. Text that is no address is not public.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if ip in _NAT64:
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.version == 6 and ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _REFUSED)


class TimedStream(httpcore.NetworkStream):
    """A stream that asks before every single read and write how many seconds it may take.

    A time-out for each read would let a server that drips a byte at a time go on for ever.
    ``seconds`` raises when nothing is left; ``heard`` is told when something has come.
    """

    def __init__(
        self,
        stream: httpcore.NetworkStream,
        seconds: Callable[[], float],
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self._stream = stream
        self._seconds = seconds
        self._heard = heard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """What comes next; the time-out is ours and not the caller's."""
        data = self._stream.read(max_bytes, timeout=self._seconds())
        if data:
            self._heard()
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send it all, in the time that there is."""
        self._stream.write(buffer, timeout=self._seconds())

    def close(self) -> None:
        """Let go of it."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> "TimedStream":
        """The same stream, encrypted."""
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout=self._seconds())
        return TimedStream(stream, self._seconds, self._heard)


def trusted() -> ssl.SSLContext:
    """Whom we trust: what ``SSL_CERT_FILE`` names, else the authorities that browsers know."""
    return _context(os.environ.get("SSL_CERT_FILE") or certifi.where())


@cache
def _context(authorities: str) -> ssl.SSLContext:
    """The one context that all threads share; nothing changes it once it is made."""
    context = ssl.create_default_context(cafile=authorities)
    context.set_alpn_protocols(["http/1.1"])
    return context
