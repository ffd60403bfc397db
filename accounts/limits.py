"""How often somebody may try: counts that all web processes share, in the cache.

When the cache is away nobody is counted and everybody is let in.
"""

import hashlib
import ipaddress
import logging
import time
from dataclasses import dataclass

import redis
from django.conf import settings
from django.core.cache import cache as counters
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

HOUR = 3600

log = logging.getLogger(__name__)


class TooManyRequests(PermissionDenied):
    """One try too many; ``retry_after`` seconds later there is another one. Answered with 429."""

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(f"Too many requests; try again in {retry_after} s.")
        self.retry_after = retry_after


@dataclass(frozen=True, kw_only=True)
class Count:
    """How often it was tried in this period, and in how many seconds the next one begins."""

    tries: int
    reset: int


def count(what: str, who: object, *, period: int = HOUR) -> Count | None:
    """Count one try of ``who``; None when the cache is away, and nothing was counted."""
    key, reset = _key(what, who, period)
    try:
        counters.add(key, 0, timeout=2 * period)
        tries = counters.incr(key)
    except (redis.RedisError, OSError, ValueError) as error:
        log.warning("A request was not counted: %s", error)
        return None
    return Count(tries=tries, reset=reset)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """So many tries of one kind in each period. ``who`` is an address, of mail or of network."""

    what: str
    most: int
    period: int = HOUR

    def take(self, who: str) -> None:
        """Count a try, or raise ``TooManyRequests``. Counting first leaves no gap to race into."""
        counted = count(self.what, _digest(who), period=self.period)
        if counted is not None and counted.tries > self.most:
            raise TooManyRequests(retry_after=counted.reset)

    def give_back(self, who: str) -> None:
        """Forget one try: it was the right person after all."""
        try:
            counters.decr(_key(self.what, _digest(who), self.period)[0])
        except (redis.RedisError, OSError, ValueError) as error:
            log.warning("A try was not given back: %s", error)


def address_of(request: HttpRequest) -> str:
    """The address that a request comes from, as far as it can be believed.

    Behind ``settings.PROXIES`` proxies of our own, the last of the addresses that they did not
    write themselves counts: what stands before it can be made up by anybody.
    """
    address: str = request.META.get("REMOTE_ADDR", "")
    passed = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
    if settings.PROXIES and passed[0]:
        address = passed[-min(settings.PROXIES, len(passed))]
    return address


def network_of(request: HttpRequest) -> str:
    """Where a request comes from; one IPv6 network of 64 bits is one place."""
    address = address_of(request)
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def _key(what: str, who: object, period: int) -> tuple[str, int]:
    """The counter of this period, and the seconds until the next."""
    number, passed = divmod(int(time.time()), period)
    return f"{what}:{number}:{who}", period - passed


def _digest(who: str) -> str:
    """Addresses are personal and may be long or odd: the cache gets neither."""
    return hashlib.sha256(who.encode("utf-8", "surrogatepass")).hexdigest()[:32]
