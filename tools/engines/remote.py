"""Services on the network that do an engine's work: calls with an end, and errors with a meaning.

A call ends within a total number of seconds whatever the server does, takes no more than so many
bytes, follows no redirect and tries again only where that can neither do harm nor cost twice.
It is made with httpcore, which downloads use too: every single read and write goes through a
stream of ours, which is what an exact deadline takes (other clients' time-outs start anew with
each packet), and every address is resolved by us before it is dialled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

USER_AGENT = "AI-Image-Studio/1.0"


# --- What can go wrong ------------------------------------------------------------------------


class NotSetUp(RuntimeError):
    """Somebody called an engine that is not there; the text is that of its ``missing()``."""


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
    """No connection, or an answer that says the service is down; nothing was done."""

    again = True


class Busy(RemoteError):
    """The service wants us to come back later (429, 503), later than we were ready to wait."""

    again = True


class Uncertain(RemoteError):
    """It was handed over, and then nothing more was heard: it may be done, and be charged for."""


class Refused(RemoteError):
    """The service refused the request: wrong key, unknown model, something it doesn't know."""


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
    everything together, tries and waits included. ``longest_wait`` bounds the pause before one
    more try, also the pause that a server asks for.
    """

    connect: float = 10.0
    read: float = 60.0
    total: float = 120.0
    tries: int = 3
    first_wait: float = 0.5
    longest_wait: float = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back with a status of 2xx."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True)
class Request:
    """One request, for as often as it has to be made.

    ``harmless`` says that doing it twice does no harm: it reads only, or costs nothing to speak
    of, or carries a key by which the server knows it again. Others are repeated only when the
    first one certainly did nothing.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    max_bytes: int = 1 << 20
    harmless: bool = True
    public_only: bool = False
    """Refuse to dial an address that is not public: for addresses that an answer named."""

    @property
    def service(self) -> str:
        """The host, as people know it."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


def unset(wanted: Mapping[str, str], *, what: str) -> str | None:
    """A sentence that names the settings without a value; None when each has one."""
    names = [name for name, value in wanted.items() if not value]
    return f"{what} Set {' and '.join(names)}." if names else None


def host(url: str) -> str:
    """Host and port of an address, as people know a service."""
    return urlsplit(url).netloc.rpartition("@")[2]
