"""How often somebody may try: counts that all web processes share, in the cache.

When the cache is away nobody is counted and everybody is let in.
"""

import logging
import time
from dataclasses import dataclass

import redis
from django.core.cache import cache as counters
from django.core.exceptions import PermissionDenied

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
    number, passed = divmod(int(time.time()), period)
    key = f"{what}:{number}:{who}"
    try:
        counters.add(key, 0, timeout=2 * period)
        tries = counters.incr(key)
    except (redis.RedisError, OSError, ValueError) as error:
        log.warning("A request was not counted: %s", error)
        return None
    return Count(tries=tries, reset=period - passed)
