"""What is done to every request before it reaches a view, and to every answer after it."""

import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import ClassVar

from csp.constants import UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.http.response import HttpResponseBase

GetResponse = Callable[[HttpRequest], HttpResponseBase]

HEADER = "X-Request-Id"
REQUEST_ID = "request_id"
"""The attribute of a request that holds its id."""
RATE_LIMIT = "rate_limit"
"""The attribute of a request that holds what was counted."""
SANE_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
"""What a sender may choose: nothing that breaks a line of a log or a header."""

NOT_NEEDED = (
    "accelerometer",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "hid",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "serial",
    "usb",
    "xr-spatial-tracking",
)
"""What no page of ours asks a browser for, and so no script in it may."""

_current: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


def current_request() -> HttpRequest | None:
    """The request that this thread answers; nothing outside of requests."""
    return _current.get()


def current_request_id() -> str:
    """Its id; empty outside of requests."""
    return getattr(_current.get(), REQUEST_ID, "")


class RequestIdMiddleware:
    """Give every request an id, its sender's own when that is sane, and send it back.

    It stands first, so that whatever the others answer carries the id too.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with the id in ``X-Request-Id``; logs and problem bodies can ask for it."""
        sent = request.headers.get(HEADER, "")
        request_id = sent if SANE_ID.fullmatch(sent) else str(uuid.uuid4())
        # Django logs refusals after we have let go: then the request alone knows its id.
        setattr(request, REQUEST_ID, request_id)
        before = _current.set(request)
        try:
            response = self._get_response(request)
        finally:
            _current.reset(before)
        response[HEADER] = request_id
        return response


class RateLimitMiddleware:
    """Tell callers of the API how much they may still ask: see ``studio.api.HourlyLimit``."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Add the ``RateLimit-*`` headers where a limit was counted."""
        response = self._get_response(request)
        for name, value in getattr(request, RATE_LIMIT, {}).items():
            response[f"RateLimit-{name}"] = str(value)
        return response


class PolicyMiddleware:
    """Tell browsers which of their powers the site does without."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Add ``Permissions-Policy`` to every answer."""
        response = self._get_response(request)
        response["Permissions-Policy"] = ", ".join(f"{power}=()" for power in NOT_NEEDED)
        return response


class ContentPolicyMiddleware(CSPMiddleware):
    """The site's Content-Security-Policy, which the admin's own pages stretch a little.

    Their JavaScript (Alpine) evaluates expressions that stand in attributes, and their colours are
    written into the page. Nothing there comes from elsewhere, and no script is written into a page
    there, either.
    """

    ADMIN: ClassVar[dict[str, list[str]]] = {
        "script-src": [UNSAFE_EVAL],
        "style-src": [UNSAFE_INLINE],
    }

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """Add what the admin needs to its answers, and to no others."""
        parts = super().get_policy_parts(request, response, report_only)
        if request.path.startswith("/admin/"):
            parts.update = (parts.update or {}) | self.ADMIN
        return parts


class KeepNothingMiddleware:
    """Let no browser keep what somebody who is signed in was shown.

    Else the Back button shows it to whoever sits there after the sign-out. ``no-store`` also
    means that a page is asked for again when somebody comes back to it: for pages whose figures
    change by the second that is what one wants, and it costs one quick request. Answers that
    say themselves how long they may be kept (pictures, downloads) are left alone, and so are
    pages that have not asked who is looking.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Add ``Cache-Control`` where a session was read and somebody is signed in."""
        response = self._get_response(request)
        session = request.session
        if "Cache-Control" not in response and session.accessed and SESSION_KEY in session:
            response["Cache-Control"] = "private, no-store"
        return response
