"""Services on the network that do an engine's work: calls with an end, errors with a meaning.

A call ends within a total number of seconds whatever the server does (a slow resolver alone can
add its own time-out), takes no more than so many bytes, follows no redirect, and is made again
only where that can neither do harm nor cost twice.

It is made with httpcore, as downloads are: every single read and write goes through a stream of
ours, which is what an exact deadline takes (the time-outs of other clients start anew with each
packet), and we choose the address that is dialled.
"""

import json
import logging
import random
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpcore

logger = logging.getLogger(__name__)

USER_AGENT = "AI-Image-Studio/1.0"

_EXPLANATION = 64 * 1024  # bytes of a refusal that are read
_PORTS = {"http": 80, "https": 443}
_WRITABLE = re.compile(r"[!-~]+")
_DETAIL = 300  # characters of it that are kept


# --- What can go wrong ------------------------------------------------------------------------


class NotSetUp(RuntimeError):
    """Somebody called an engine that is not there; the text is that of its ``missing``."""


class RemoteError(Exception):
    """A service did not do its work.

    ``again`` says that the same request may well succeed a little later, at no risk. ``service``
    is the host as the operator named it, ``detail`` the reason as the service or the network
    gave it: for logs and operators, not for the people who wait.
    """

    again: ClassVar[bool] = False

    def __init__(self, service: str, detail: str) -> None:
        super().__init__(f"{service}: {detail}")
        self.service = service
        self.detail = detail


class Unreachable(RemoteError):
    """No connection, or an answer that says the service is down."""

    again = True


class Busy(RemoteError):
    """The service wants us to come back later, later than we were ready to wait."""

    again = True


class Uncertain(RemoteError):
    """It was handed over, and then nothing more was heard: it may be done, and be charged for."""


class Refused(RemoteError):
    """The service refused the request: wrong key, empty account, unknown model or parameter."""


class ContentRefused(RemoteError):
    """The service won't work on this picture or these words."""


class BadAnswer(RemoteError):
    """The service answered something that is no answer to what it was asked."""


class BudgetSpent(RemoteError):
    """The operator's own limit for calls is reached."""


# --- Calls ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patience:
    """How long a call may take, in seconds, and how often it is made.

    ``connect`` is for one try to connect, ``read`` for silence in the middle, ``total`` for
    everything together, tries and pauses included. ``longest_pause`` bounds the pause before one
    more try, also the one that a server asks for: beyond it the call fails as `Busy`.
    """

    connect: float = 10.0
    read: float = 60.0
    total: float = 120.0
    tries: int = 3
    first_pause: float = 0.5
    longest_pause: float = 20.0


@dataclass(frozen=True)
class Request:
    """One request, for as often as it has to be made.

    ``harmless`` says that doing it twice does no harm: it reads only, costs next to nothing, or
    carries a key by which the service knows it again. Any other one is repeated only when the
    first certainly came to nothing. ``public_only`` refuses to dial an address that is not
    public: for addresses that an answer named.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    max_bytes: int = 1 << 20
    harmless: bool = True
    public_only: bool = False


@dataclass(frozen=True)
class Answer:
    """What came back with a status of 2xx; names of headers are in lower case."""

    service: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The JSON object that it is; raises `BadAnswer`."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError) as exc:
            raise BadAnswer(self.service, f"no JSON: {self.body[:80]!r}") from exc
        if not isinstance(found, dict):
            raise BadAnswer(self.service, f"no JSON object: {self.body[:80]!r}")
        return found


class _Failed(Exception):
    """One try failed: how it counts, whether one more is right, and when the service wants it."""

    def __init__(self, error: RemoteError, *, repeat: bool, after: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.repeat = repeat
        self.after = after


def call(request: Request, patience: Patience) -> Answer:
    """Make a request; raises `RemoteError`. Pauses double, and honour ``Retry-After``."""
    clock = _Clock(patience)
    pause = patience.first_pause
    for tries_left in reversed(range(patience.tries)):
        try:
            return _Try(request, clock).run()
        except _Failed as failed:
            wait = max(failed.after, pause * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
            too_long = wait > min(patience.longest_pause, clock.left())
            if not failed.repeat or not tries_left or too_long:
                logger.warning("%s", failed.error)
                raise failed.error from failed.__cause__
        time.sleep(wait)
        pause *= 2
    raise AssertionError("The last try returns or raises.")


class _Clock:
    """What is left of the one deadline."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._end = time.monotonic() + patience.total

    def left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def at_most(self, seconds: float) -> float:
        """So many seconds, or what is left; raises httpcore's time-out when nothing is."""
        import httpcore

        left = self.left()
        if not left:
            raise httpcore.ReadTimeout("the time for the whole call is over")
        return min(seconds, left)

    def for_a_read(self) -> float:
        return self.at_most(self.patience.read)


@dataclass(frozen=True)
class _Try:
    """A request made once."""

    request: Request
    clock: _Clock

    @property
    def service(self) -> str:
        return host(self.request.url)

    def run(self) -> Answer:
        import httpcore

        if not is_address(self.request.url):
            raise self._unusable("an address that can't be called")
        try:
            url = httpcore.URL(self.request.url)
            stream = self._connected(url)
        except httpcore.ConnectError as exc:
            untrusted = isinstance(exc.__cause__, ssl.SSLCertVerificationError)
            kind = Refused if untrusted else Unreachable
            raise _Failed(kind(self.service, _words(exc)), repeat=not untrusted) from exc
        except (httpcore.TimeoutException, OSError, UnicodeError) as exc:
            raise _Failed(Unreachable(self.service, _words(exc)), repeat=True) from exc
        try:
            with self._asked(url, stream) as response:
                return self._received(response)
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as exc:
            raise self._lost(_words(exc)) from exc
        finally:
            stream.close()

    def _lost(self, detail: str) -> _Failed:
        """It was handed over, as far as we know, and there is no answer."""
        if self.request.harmless:
            return _Failed(Unreachable(self.service, detail), repeat=True)
        return _Failed(Uncertain(self.service, detail), repeat=False)

    def _connected(self, url: "httpcore.URL") -> "httpcore.NetworkStream":
        import httpcore

        from tools.engines import network

        name = url.host.decode()
        port = url.port or _PORTS[url.scheme.decode()]
        addresses = _addresses(name, port)
        if self.request.public_only and not all(map(network.is_public, addresses)):
            refusal = BadAnswer(self.service, "named an address that is not public")
            raise _Failed(refusal, repeat=False)
        for position, address in enumerate(addresses, start=1):
            try:
                seconds = self.clock.at_most(self.clock.patience.connect)
                stream = httpcore.SyncBackend().connect_tcp(address, port, timeout=seconds)
                break
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if position == len(addresses):
                    raise
        if url.scheme == b"https":
            stream = stream.start_tls(
                network.trusted(), server_hostname=name, timeout=self.clock.at_most(seconds)
            )
        return stream

    @contextmanager
    def _asked(
        self, url: "httpcore.URL", stream: "httpcore.NetworkStream"
    ) -> "Iterator[httpcore.Response]":
        import httpcore

        from tools.engines import network

        headers = {
            "Host": self.service,
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",  # a compressed body could unpack to any size
            "Connection": "close",
            **self.request.headers,
        }
        if self.request.body:
            headers["Content-Length"] = str(len(self.request.body))
        connection = httpcore.HTTP11Connection(
            url.origin, network.TimedStream(stream, self.clock.for_a_read)
        )
        with connection.stream(
            self.request.method, url, headers=list(headers.items()), content=self.request.body
        ) as response:
            yield response

    def _received(self, response: "httpcore.Response") -> Answer:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers
        }
        if not 200 <= response.status < 300:
            raise self._refused(response, headers)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise self._unusable("a compressed answer")
        body = bytearray()
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > self.request.max_bytes:
                raise self._unusable(f"more than {self.request.max_bytes} bytes")
        return Answer(self.service, headers, bytes(body))

    def _unusable(self, detail: str) -> _Failed:
        return _Failed(BadAnswer(self.service, detail), repeat=False)

    def _refused(self, response: "httpcore.Response", headers: Mapping[str, str]) -> _Failed:
        """What a status other than 2xx means."""
        code, words = _explanation(response)
        detail = f"{response.status} {words}".rstrip()
        after = _seconds(headers.get("retry-after", ""))
        status = response.status
        if status in (408, 502, 504):  # somebody in between gave up waiting
            return self._lost(detail)
        if status == 500 or (status == 503 and not after):  # it says itself that it failed
            return _Failed(Unreachable(self.service, detail), repeat=True)
        if status == 503 or (status == 429 and code != "insufficient_quota"):
            return _Failed(Busy(self.service, detail), repeat=True, after=after)
        kind = ContentRefused if code in _POLICY else Refused
        return _Failed(kind(self.service, detail), repeat=False)


_POLICY = {"content_policy_violation", "moderation_blocked", "content_filter"}
"""The codes by which services say that the content is the reason."""


def _explanation(response: "httpcore.Response") -> tuple[str, str]:
    """The error's code and words, as far as the service gives any."""
    import httpcore

    body = b""
    with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > _EXPLANATION:
                break
    words = body[:_DETAIL].decode(errors="replace")
    try:
        found = json.loads(body)
        error = found.get("error", found)
        if isinstance(error, str):
            return "", error[:_DETAIL]
        words = str(error.get("message") or error.get("detail") or words)[:_DETAIL]
        return str(error.get("code") or error.get("type") or ""), words
    except (ValueError, RecursionError, AttributeError):
        return "", words


def _seconds(retry_after: str) -> float:
    """What ``Retry-After`` asks for: seconds or a date; 0 for nothing and for nonsense."""
    try:
        return max(0.0, float(int(retry_after)))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0


def _words(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__


def _addresses(name: str, port: int) -> list[str]:
    answers = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


# --- What calls are made of -------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A file of a form."""

    name: str
    filename: str
    content_type: str
    content: bytes


def form(fields: Mapping[str, str], parts: Sequence[Part]) -> tuple[str, bytes]:
    """The content type and the body of a ``multipart/form-data``."""
    from urllib3.filepost import encode_multipart_formdata

    files = [(part.name, (part.filename, part.content, part.content_type)) for part in parts]
    body, kind = encode_multipart_formdata([*fields.items(), *files])
    return kind, body


def bearer(key: str) -> dict[str, str]:
    """The header that carries a key; none without one, as local servers need none."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def below(base: str, path: str) -> str:
    """An address below a base, however the base ends."""
    return f"{base.rstrip('/')}{path}"


def unset(wanted: Mapping[str, str], *, what: str) -> str | None:
    """A sentence that names the settings without a value; None when each has one."""
    names = [name for name, value in wanted.items() if not value]
    return f"{what} Set {' and '.join(names)}." if names else None


def is_writable(word: str) -> bool:
    """Whether the first lines of a request can hold this word: ASCII, nothing invisible."""
    return bool(_WRITABLE.fullmatch(word))


def is_address(url: str) -> bool:
    """Whether this is an http or https address, as far as its looks can tell."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
        return named and is_writable(url)
    except ValueError:  # brackets that hold no address, a port that is none
        return False


def host(url: str) -> str:
    """Host and port of an address, as people know a service; all of it, if it is none."""
    if not is_address(url):
        return url[:_DETAIL]
    return urlsplit(url).netloc.rpartition("@")[2]
