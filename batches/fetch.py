"""Guarded download: fetch what a stranger's address names without becoming their proxy.

An address is judged by its shape first, then by every answer its name resolves to, and the
very answer that was judged is the one that is dialled, so a name that changes its mind
between the check and the connection gains nothing. Redirects are followed by hand and
judged anew. One deadline covers everything, from the question to the resolver to the last
byte. The environment has no say: no proxies, no cookies, no ``.netrc``.

A network policy on the worker's host is the second fence; this is the first.
"""

import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Generic, TypeVar
from urllib.parse import quote, urljoin

import httpcore
import idna

from tools.engines import network

USER_AGENT = "AI-Image-Studio/1.0 (fetches the images that its users name)"
MAX_REDIRECTS = 3
DEADLINE = 20.0  # seconds, from the question to the resolver to the last byte
MAX_URL = 4096  # characters; signed storage addresses stay well below
PORTS = {"http": 80, "https": 443}
# An address that swallows packets must not eat the whole deadline while another could answer.
CONNECT_SECONDS = 5.0

# Several labels share one code: the label is for logs and tests, the code for the page.
CODES = {
    label: code
    for code, labels in {
        "source_not_allowed": (
            *("bad_url", "scheme", "credentials", "no_host", "bad_host", "port"),
            *("numeric_host", "bare_host", "reserved_tld", "ip"),
        ),
        "source_unreachable": ("dns", "network", "timeout", "deadline", "encoding", "status"),
        "source_redirects": ("redirects",),
        "source_not_image": ("not_image",),
        "file_too_large": ("too_big",),
        "file_empty": ("empty",),
    }.items()
    for label in labels
}
STATUS_CODES = {
    401: "source_forbidden",
    403: "source_forbidden",
    404: "source_not_found",
    410: "source_not_found",
}
TRANSIENT = {"dns", "network", "timeout", "deadline"}
REDIRECTS = {301, 302, 303, 307, 308}

# Names that never belong to the public network (RFC 2606, 6761, 6762, 7686, 8375, 9476,
# ICANN's "internal") and the ones that offices use as if they were theirs.
RESERVED_NAMES = (
    *("localhost", "local", "internal", "test", "example", "invalid", "onion", "alt"),
    *("home.arpa", "in-addr.arpa", "ip6.arpa"),
    *("localdomain", "intranet", "private", "corp", "home", "lan"),
)

_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

# Control characters, spaces of every kind, the backslash, half characters.
_BAD_CHARACTERS = re.compile(r"[\x00-\x20\x7f-\xa0\s\\\ud800-\udfff]")
_PARTS = re.compile(  # RFC 3986, appendix B; the fragment is never sent
    r"(?:(?P<scheme>[^:/?#]*):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#.*)?"
)
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[^:]*))?")
_NAME_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PATH_SAFE = "/%:@!$&'()*+,;=~[]|"  # what browsers leave alone: signatures may cover it
_QUERY_SAFE = _PATH_SAFE + "?^`{}"

_SNIFFED = 512  # bytes
_HTML_TYPES = {"text/html", "application/xhtml+xml"}
_BEFORE_HTML = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s+|<!--.*?-->|<\?xml.*?\?>)*", re.DOTALL)
_HTML = re.compile(
    rb"<(?:!doctype\s+html|(?:html|head|body|title|meta|link|script|style|iframe|div|table|h1|p)\b)",
    re.IGNORECASE,
)

Found = TypeVar("Found")
_Headers = list[tuple[str, str]]
Resolve = Callable[[str, int], Sequence[str]]
"""Host and port to addresses, best first; raises ``OSError`` when there are none."""
Dial = Callable[[str, int, float], httpcore.NetworkStream]
"""Address, port and seconds to a connected stream; raises httpcore's errors."""


class FetchError(Exception):
    """An address that can't be used, or that gave nothing we can use.

    ``label`` says exactly what happened, ``code`` is the error that a person is shown with
    ``params`` in its text: ``status``, ``seconds``, ``size`` and ``limit`` (bytes; ``size``
    is what was announced, else what had come when we stopped) or ``redirects``.
    ``transient`` means that the same address may well work a little later.
    """

    def __init__(
        self, label: str, *, code: str = "", transient: bool | None = None, **params: Any
    ) -> None:
        super().__init__(" ".join([label, *(f"{key}={value}" for key, value in params.items())]))
        self.label = label
        self.code = code or CODES[label]
        self.params = params
        self.transient = label in TRANSIENT if transient is None else transient


@dataclass(frozen=True)
class Fetched:
    """What came: the address it came from in the end, the type it claims, its size."""

    url: str
    content_type: str
    """Lower case, without parameters; empty when the server named none. A claim, no proof."""
    bytes: int


@dataclass(frozen=True)
class Peeked:
    """What an address seems to hold, from its first bytes alone."""

    url: str
    start: bytes
    bytes: int | None
    """As announced; nothing when the server didn't say."""


def check_url(url: str, *, allow: Sequence[str] = ()) -> str:
    """Judge an address by its looks alone and return it in normal form.

    No network is touched, so a name that resolves to a private address passes here and is
    refused by ``fetch``. Entries of ``allow`` are ``host:port``: exactly these may be
    private, unqualified or on an unusual port. Raises ``FetchError``.
    """
    return _place(url, allow).url


def fetch(
    url: str,
    *,
    into: BinaryIO,
    max_bytes: int,
    deadline: float = DEADLINE,
    allow: Sequence[str] = (),
    hosts: Sequence[str] = (),
    resolve: Resolve | None = None,
    dial: Dial | None = None,
) -> Fetched:
    """Download ``url`` into a file within ``deadline`` seconds, all told.

    Raises ``FetchError``; what was written by then is of no use. ``allow`` is that of
    ``check_url``. With ``hosts`` only these are asked, and what redirects elsewhere is refused;
    ``.example.com`` stands for every name below it. Many threads may fetch at once. ``resolve``
    and ``dial`` stand in for the system's resolver and for TCP.
    """
    download = _Download(
        max_bytes=max_bytes,
        allow=allow,
        resolve=resolve or resolve_by_system,
        dial=dial or dial_tcp,
        clock=_Clock(deadline),
        hosts=hosts,
        into=into,
    )
    return download.run(_place(url, allow))


def peek(
    url: str,
    *,
    max_bytes: int,
    deadline: float = 5.0,
    allow: Sequence[str] = (),
    resolve: Resolve | None = None,
    dial: Dial | None = None,
) -> Peeked:
    """Look at status, announced length and first bytes of ``url``, and hang up.

    Refuses what ``fetch`` would refuse, as far as that can be seen so early. All else as there.
    """
    look = _Peek(
        max_bytes=max_bytes,
        allow=allow,
        resolve=resolve or resolve_by_system,
        dial=dial or dial_tcp,
        clock=_Clock(deadline),
    )
    return look.run(_place(url, allow))


def post(
    url: str,
    body: bytes,
    *,
    headers: Mapping[str, str],
    deadline: float = 15.0,
    allow: Sequence[str] = (),
    resolve: Resolve | None = None,
    dial: Dial | None = None,
) -> int:
    """Send ``body`` to ``url`` and return the status of the answer, whatever it is.

    The answer itself is not read, and a redirect is not followed: what was meant for one place
    goes to no other. Raises ``FetchError``; all else as with ``fetch``.
    """
    message = _Post(
        max_bytes=0,
        allow=allow,
        resolve=resolve or resolve_by_system,
        dial=dial or dial_tcp,
        clock=_Clock(deadline),
        body=body,
        headers=headers,
    )
    return message.run(_place(url, allow))


def resolve_by_system(host: str, port: int) -> list[str]:
    """Ask the system's resolver; the order is the system's preference."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in answers]


def dial_tcp(address: str, port: int, seconds: float) -> httpcore.NetworkStream:
    """Connect to an address, never to a name."""
    return httpcore.SyncBackend().connect_tcp(address, port, timeout=seconds)


# --- What an address says -------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """An address in normal form that passed every rule of shape."""

    scheme: str
    host: str  # ASCII, lower case, IPv6 without brackets
    port: int
    target: str  # path and query
    is_ip: bool
    is_allowed: bool  # named by the operator: may be private

    @property
    def netloc(self) -> str:
        host = _bracketed(self.host)
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"


def _place(url: str, allow: Sequence[str]) -> _Place:
    """Take an address apart, strictly: what parsers disagree about is refused, not guessed."""
    url = url.strip(" \t\r\n")
    parts = _PARTS.fullmatch(url)
    if not parts or len(url) > MAX_URL or _BAD_CHARACTERS.search(url):
        raise FetchError("bad_url")
    scheme = (parts["scheme"] or "").lower()
    if scheme not in PORTS:
        raise FetchError("scheme")
    authority = parts["authority"] or ""
    if "@" in authority:
        raise FetchError("credentials")
    found = _AUTHORITY.fullmatch(authority)
    if not found:
        raise FetchError("bad_url")
    host, is_ip = _host(name=found["name"], v6=found["v6"])
    port = _port(found["port"] or str(PORTS[scheme]))
    is_allowed = f"{_bracketed(host)}:{port}" in {entry.strip().lower() for entry in allow}
    if not is_allowed:
        _refuse_private(host, is_ip=is_ip)
        if port not in PORTS.values():
            raise FetchError("port")
    target = quote(parts["path"] or "/", safe=_PATH_SAFE)
    if parts["query"] is not None:
        target += "?" + quote(parts["query"], safe=_QUERY_SAFE)
    return _Place(scheme, host, port, target, is_ip, is_allowed)


def _host(*, name: str | None, v6: str | None) -> tuple[str, bool]:
    """The host as it is asked for, and whether it is an IP address already."""
    if v6 is not None:
        try:
            return str(ipaddress.IPv6Address(v6)), True
        except ValueError as error:
            raise FetchError("bad_host") from error
    if not name:
        raise FetchError("no_host")
    labels = _labels(name)
    if _NUMBER.fullmatch(labels[-1]):
        # 127.1, 0x7f000001 and 0177.0.0.1 mean an address to some and a name to others.
        try:
            return str(ipaddress.IPv4Address(".".join(labels))), True
        except ValueError as error:
            raise FetchError("numeric_host") from error
    return ".".join(labels), False


def _labels(name: str) -> list[str]:
    """The labels of a name in ASCII: full-width digits and dots and the like are folded."""
    if len(name) > 253:
        raise FetchError("bad_host")
    try:
        # Rule STD3 would refuse the underscore, which buckets and hosts do use.
        mapped = idna.uts46_remap(name, std3_rules=False)
        labels = [
            label if label.isascii() else idna.alabel(label).decode()
            for label in mapped.removesuffix(".").split(".")
        ]
    except idna.IDNAError as error:
        raise FetchError("bad_host") from error
    if len(".".join(labels)) > 253 or not all(map(_NAME_LABEL.fullmatch, labels)):
        raise FetchError("bad_host")
    return labels


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _port(text: str) -> int:
    """The port as a number; five digits are enough for any."""
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise FetchError("port")
    return int(text)


def _is_one_of(host: str, hosts: Sequence[str]) -> bool:
    """Whether a host is named, or lies below a name that begins with a dot."""
    return any(host.endswith(name) if name.startswith(".") else host == name for name in hosts)


def _refuse_private(host: str, *, is_ip: bool) -> None:
    if is_ip:
        if not network.is_public(host):
            raise FetchError("ip")
    elif "." not in host:
        raise FetchError("bare_host")
    elif host.endswith(tuple(f".{name}" for name in RESERVED_NAMES)) or host in RESERVED_NAMES:
        raise FetchError("reserved_tld")


# --- The way there --------------------------------------------------------------------


class _Clock:
    """What is left of the one deadline."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.heard = False  # whether the server we are talking to has said anything
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.ran_out()
        return left

    def hear(self) -> None:
        self.heard = True

    def ran_out(self) -> FetchError:
        return FetchError("deadline" if self.heard else "timeout", seconds=self.seconds)


@dataclass(frozen=True)
class _Request(Generic[Found]):
    """One address being asked, past every guard: how much may come, and how long it may take."""

    max_bytes: int
    allow: Sequence[str]
    resolve: Resolve
    dial: Dial
    clock: _Clock
    hosts: Sequence[str] = ()

    def _receive(self, place: _Place, response: httpcore.Response) -> Found:
        """Make of the answer what was asked for, or refuse it as early as can be."""
        raise NotImplementedError

    def run(self, place: _Place, *, redirects: int = 0) -> Found:
        """Ask, and follow where that leads."""
        if self.hosts and not _is_one_of(place.host, self.hosts):
            raise FetchError("other_host", code="source_not_allowed")
        with self._answer(place) as response:
            if response.status not in REDIRECTS:
                return self._receive(place, response)
            location = _header(response, b"location")
        if redirects == MAX_REDIRECTS or not location:
            raise FetchError("redirects", redirects=redirects)
        with _blaming_the_redirect():
            following = _place(_joined(place.url, location), self.allow)
            if (place.scheme, following.scheme) == ("https", "http"):
                raise FetchError("scheme")
            return self.run(following, redirects=redirects + 1)

    @contextmanager
    def _answer(self, place: _Place) -> Iterator[httpcore.Response]:
        """Ask one server; the connection lasts as long as the block."""
        url = httpcore.URL(
            scheme=place.scheme, host=place.host, port=place.port, target=place.target
        )
        headers = [
            ("Host", place.netloc),
            ("User-Agent", USER_AGENT),
            ("Accept", "*/*"),
            # A compressed body could unpack to any size, and images don't gain by it.
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        self.clock.heard = False
        addresses = self._addresses(place)
        with self._network_errors(), self._stream(place, addresses) as stream:
            connection = httpcore.HTTP11Connection(url.origin, stream)
            with self._asked(connection, url, headers) as response:
                yield response

    def _asked(
        self, connection: httpcore.HTTP11Connection, url: httpcore.URL, headers: _Headers
    ) -> AbstractContextManager[httpcore.Response]:
        """Put the request on its way."""
        return connection.stream("GET", url, headers=headers)

    def _addresses(self, place: _Place) -> list[str]:
        """Resolve once; one answer that is not public spoils them all."""
        if place.is_ip:
            return [place.host]
        answer: Future[Sequence[str]] = Future()

        def ask() -> None:
            try:
                answer.set_result(self.resolve(place.host, place.port))
            except BaseException as error:  # noqa: BLE001  it is raised again where it is awaited
                answer.set_exception(error)

        # The system's resolver knows no time-out, so it may be left behind: a daemon, which
        # a process that ends does not wait for.
        threading.Thread(target=ask, name="fetch-resolve", daemon=True).start()
        try:
            addresses = list(dict.fromkeys(answer.result(self.clock.left())))
        except TimeoutError as error:
            raise self.clock.ran_out() from error
        except (OSError, UnicodeError) as error:
            unknown = isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME
            raise FetchError("dns", transient=not unknown) from error
        if not addresses:
            raise FetchError("dns", transient=False)
        if not place.is_allowed and not all(map(network.is_public, addresses)):
            raise FetchError("ip")
        return addresses

    @contextmanager
    def _stream(self, place: _Place, addresses: Sequence[str]) -> Iterator[network.TimedStream]:
        stream = network.TimedStream(
            self._connected(place.port, addresses), self.clock.left, self.clock.hear
        )
        try:
            if place.scheme == "https":
                # The address was dialled, but it is the name that the certificate must hold.
                stream = stream.start_tls(network.trusted(), server_hostname=place.host)
            yield stream
        finally:
            stream.close()

    def _connected(self, port: int, addresses: Sequence[str]) -> httpcore.NetworkStream:
        """Dial the first address, then one more: of the other family where there is one."""
        first, *others = addresses
        if not others:
            return self.dial(first, port, self.clock.left())
        try:
            return self.dial(first, port, min(CONNECT_SECONDS, self.clock.left() / 2))
        except (httpcore.ConnectError, httpcore.ConnectTimeout):
            second = next((a for a in others if (":" in a) != (":" in first)), others[0])
            return self.dial(second, port, self.clock.left())

    @contextmanager
    def _network_errors(self) -> Iterator[None]:
        """Say in our words what httpcore says in its own."""
        try:
            yield
        except httpcore.TimeoutException as error:
            raise self.clock.ran_out() from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            distrusted = isinstance(error.__cause__, ssl.SSLCertVerificationError)
            raise FetchError("network", transient=not distrusted) from error

    def _accepted(self, response: httpcore.Response) -> tuple[str, int]:
        """The type and length that the headers claim, if they are those of a usable file."""
        status = response.status
        if not 200 <= status < 300 or status == 206:  # nobody asked for a part
            raise FetchError(
                "status",
                code=STATUS_CODES.get(status, ""),
                transient=status in (408, 425, 429) or status >= 500,
                status=status,
            )
        if _header(response, b"content-encoding").lower() not in ("", "identity"):
            raise FetchError("encoding")
        content_type = _header(response, b"content-type").partition(";")[0].strip().lower()
        if content_type in _HTML_TYPES:
            raise FetchError("not_image")
        announced = int(_header(response, b"content-length") or 0)
        if announced > self.max_bytes:
            raise FetchError("too_big", size=announced, limit=self.max_bytes)
        return content_type, announced


@dataclass(frozen=True)
class _Download(_Request[Fetched]):
    """The whole file."""

    into: BinaryIO = field(kw_only=True)

    def _receive(self, place: _Place, response: httpcore.Response) -> Fetched:
        content_type, _announced = self._accepted(response)
        size, start = 0, b""
        for chunk in response.iter_stream():
            size += len(chunk)
            if size > self.max_bytes:
                raise FetchError("too_big", size=size, limit=self.max_bytes)
            if len(start) < _SNIFFED:
                start += chunk[:_SNIFFED]
                if _looks_like_html(start):
                    raise FetchError("not_image")
            self.into.write(chunk)
        if not size:
            raise FetchError("empty")
        return Fetched(url=place.url, content_type=content_type, bytes=size)


@dataclass(frozen=True)
class _Peek(_Request[Peeked]):
    """The beginning of a file."""

    def _receive(self, place: _Place, response: httpcore.Response) -> Peeked:
        _type, announced = self._accepted(response)
        start = b""
        for chunk in response.iter_stream():
            start += chunk
            if len(start) >= _SNIFFED:
                break
        if not start:
            raise FetchError("empty")
        if _looks_like_html(start):
            raise FetchError("not_image")
        return Peeked(url=place.url, bytes=announced or None, start=start)


@dataclass(frozen=True, kw_only=True)
class _Post(_Request[int]):
    """A message, of whose answer only the status counts."""

    body: bytes
    headers: Mapping[str, str]

    def run(self, place: _Place, *, redirects: int = 0) -> int:  # noqa: ARG002
        with self._answer(place) as response:
            return int(response.status)

    def _asked(
        self, connection: httpcore.HTTP11Connection, url: httpcore.URL, headers: _Headers
    ) -> AbstractContextManager[httpcore.Response]:
        own = [*self.headers.items(), ("Content-Length", str(len(self.body)))]
        return connection.stream("POST", url, headers=[*headers, *own], content=self.body)


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError as error:  # brackets that hold no address
        raise FetchError("bad_url") from error


@contextmanager
def _blaming_the_redirect() -> Iterator[None]:
    """The person's own address was fine; where it led was not."""
    try:
        yield
    except FetchError as error:
        if error.code == "source_not_allowed":
            error.code = "source_redirects"
        raise


def _header(response: httpcore.Response, name: bytes) -> str:
    """The values of a header; empty when there is none. Stray bytes are kept as Latin-1."""
    values = [value for key, value in response.headers if key.lower() == name]
    try:
        return b", ".join(values).decode().strip()
    except UnicodeDecodeError:
        return b", ".join(values).decode("latin-1").strip()


def _looks_like_html(start: bytes) -> bool:
    before = _BEFORE_HTML.match(start)
    return bool(before and _HTML.match(start, before.end()))
