"""What the site tells its engines of services and pipelines that only the operator can bring.

Engines know no Django: here the settings reach them, and two things that need the site around
them: a count of paid calls that all workers share, and the address by which a provider tells that
a job is done.
"""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from django.conf import settings
from django.core import signing
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from tools.engines import diffusion, provider, vision_language

_SALT = "tools.outside.done"
_LONGEST_JOB = 3600  # seconds
_LOOK = 0.25  # seconds between two looks at whether a provider has called
_DAY = 24 * 3600
_SIZE = re.compile(r"(?P<width>[1-9][0-9]{1,3})x(?P<height>[1-9][0-9]{1,3})")


def configure() -> None:
    """Tell the engines what the settings say; called once per process."""
    vision_language.configure(vision_language.Configuration(**settings.VLM))
    callbacks = provider.Callback(address=_address, wait=wait)
    provider.configure(
        provider.Configuration(
            **{**settings.PROVIDER, "sizes": sizes(settings.PROVIDER["sizes"])},
            spend=may_spend,
            callback=callbacks if settings.PROVIDER_CALLBACKS else None,
        )
    )
    diffusion.configure(
        diffusion.Configuration(
            inpaint=diffusion.Pipeline(*settings.DIFFUSION_INPAINT),
            edit=diffusion.Pipeline(*settings.DIFFUSION_EDIT),
            steps=settings.DIFFUSION_STEPS,
            elsewhere=settings.DIFFUSION_ELSEWHERE,
        )
    )


def sizes(named: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Sizes such as 1024x768 as numbers. What is none is left out; a system check names it."""
    found = (_SIZE.fullmatch(name) for name in named)
    return tuple((int(size["width"]), int(size["height"])) for size in found if size)


def may_spend() -> bool:
    """Count one more paid call of today (UTC), if the site may still make one.

    The count is kept in the cache's server and is one for all workers. Without that server there
    is no count and no call: its error goes through.
    """
    today = f"provider-calls-{datetime.now(UTC):%Y-%m-%d}"
    cache.add(today, 0, timeout=2 * _DAY)
    return cache.incr(today) <= settings.PROVIDER_MAX_CALLS_PER_DAY


# --- A provider that calls when it is done ----------------------------------------------------


def _address(token: str) -> str:
    """The address that a provider calls for a job; nobody can make one up."""
    signed = signing.dumps(token, salt=_SALT)
    return settings.SITE_URL.rstrip("/") + reverse("provider-done", args=[signed])


@csrf_exempt
@require_POST
def done(_request: HttpRequest, signed: str) -> HttpResponse:
    """Wake the worker that waits for a job.

    All that is believed is that it is time to ask: the body is not read.
    """
    try:
        token = signing.loads(signed, salt=_SALT, max_age=_LONGEST_JOB)
    except signing.BadSignature:
        return HttpResponse(status=404)
    cache.set(_woken(token), 1, timeout=_LONGEST_JOB)
    return HttpResponse(status=204)


def wait(token: str, seconds: float) -> None:
    """Until the provider has called for this token, or so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not cache.delete(_woken(token)):
        time.sleep(min(_LOOK, max(0.0, end - time.monotonic())))


def _woken(token: str) -> str:
    return f"provider-done-{token}"
