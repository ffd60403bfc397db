"""Pasted addresses, judged while somebody is still typing: by their shape, and by a look."""

import logging
import time

import redis
from django.core.cache import cache
from django.core.exceptions import BadRequest
from django.http import HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.models import User
from batches import addresses
from batches.views.asking import json_of, refusal, signed_in_script, tool_or_404, user_of

PROBES_PER_HOUR = 4000
"""Addresses that one person may have looked at: a few full batches, with corrections."""
HOUR = 3600
TRY_AGAIN_AFTER = 2
"""Seconds, when enough addresses are being looked at."""

log = logging.getLogger(__name__)


@require_POST
def judge(request: HttpRequest, slug: str) -> JsonResponse:
    """What is wrong with which line, which come twice, and how many images that makes."""
    tool_or_404(request, slug)
    text = request.POST.get("urls", "")
    if text.count("\n") >= addresses.MOST_LINES:
        return refusal(
            413,
            "too_many_lines",
            _("At most {n} lines at once.").format(n=addresses.MOST_LINES),
        )
    lines = list(addresses.judged(text))
    return JsonResponse(
        {
            "count": sum(line.usable for line in lines),
            "lines": [
                {
                    "line": line.line,
                    "url": line.url,
                    "name": line.name,
                    "problem": line.problem and vars(line.problem),
                    "same_as": line.same_as,
                    "tracking": list(line.tracking),
                }
                for line in lines
            ],
        }
    )


@require_POST
@signed_in_script
def probe(request: HttpRequest) -> JsonResponse:
    """Open a few addresses and say what seems to be there. Starting never depends on it."""
    urls = json_of(request).get("urls")
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise BadRequest("urls is a list of texts")
    if len(urls) > addresses.PROBED_TOGETHER:
        raise BadRequest(f"at most {addresses.PROBED_TOGETHER} addresses")
    if wait := _used_up(user_of(request), len(urls)):
        return _later(429, "rate_limited", _("Enough addresses were looked at for now."), wait)
    try:
        return JsonResponse({"results": addresses.probe(urls)})
    except addresses.Busy:
        detail = _("The site is busy. Ask again in a moment.")
        return _later(503, "unavailable", detail, TRY_AGAIN_AFTER)


def _used_up(user: User, count: int) -> int:
    """Count the addresses; seconds to wait when they are too many, else 0.

    When Valkey is away nobody is counted: the bound of the process still holds.
    """
    hour, passed = divmod(int(time.time()), HOUR)
    key = f"probes:{hour}:{user.pk}"
    try:
        cache.add(key, 0, timeout=2 * HOUR)
        used = cache.incr(key, count)
    except (redis.RedisError, OSError, ValueError) as error:
        log.warning("Looks at addresses were not counted: %s", error)
        return 0
    return HOUR - passed if used > PROBES_PER_HOUR else 0


def _later(status: int, code: str, detail: str, seconds: int) -> JsonResponse:
    response = refusal(status, code, detail)
    response["Retry-After"] = str(seconds)
    return response
