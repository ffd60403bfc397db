"""Talking to Google: real gspread, with a budget, time-outs and tries of our own.

One service account is one user to Google: the whole site shares 60 reads and 60 writes a minute.
"""

import logging
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import gspread
import requests
from django.conf import settings
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import AuthorizedSession, Request
from gspread.urls import SPREADSHEETS_API_V4_BASE_URL

from batches import quotas
from batches.google import account
from batches.google.problems import SheetError

log = logging.getLogger(__name__)

TIMEOUTS = (5.0, 20.0)
"""Seconds to connect, and of silence while an answer comes."""
MOST_SECONDS = 60.0
"""For one answer, however steadily it drips."""
MOST_BYTES = 64 * 1024 * 1024
"""Of one answer, unpacked."""
TRIES = 4
BACK_OFF = 1.0
"""Seconds before the second try, doubled before each further one, give or take a half."""
PATIENCE = 20.0
"""Seconds to wait between tries and for the budget, all told: somebody may be watching."""

BURST, PER_MINUTE = 20, 40
"""Together 60: that many calls go out in the worst of all minutes."""

WINDOW = 60.0
"""Seconds for which Google counts, where it doesn't say how long to wait."""

_API_IS_OFF = re.compile(r"has not been used in project|it is disabled")
_NO_SUCH_RANGE = re.compile(r"Unable to parse range: '((?:[^']|'')*)'")
_PASSING = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class Client(gspread.HTTPClient):
    """gspread's own way of asking, made patient within bounds.

    All that we ask for may be asked for twice: reads, and writes of the same into the same cells.
    """

    def __init__(self, credentials: Any) -> None:
        # google-auth has three tries of its own for the exchange of the key for a token.
        session = AuthorizedSession(credentials, auth_request=Request(requests.Session()))
        super().__init__(credentials, session)
        self.set_timeout(TIMEOUTS)
        self._patience = PATIENCE

    def request(  # type: ignore[override]  # what it is given, it passes on
        self, method: str, endpoint: str, **options: Any
    ) -> requests.Response:
        """Ask, and ask again where that may help. Raises `SheetError`."""
        api = f"{settings.GOOGLE['api']}/v4/spreadsheets"
        url = endpoint.replace(SPREADSHEETS_API_V4_BASE_URL, api, 1)
        budget = "google-read" if method == "get" else "google-write"
        tries = 0
        while True:
            self._wait_for_budget(budget)
            tries += 1
            answer = self._asked(method, url, options)
            if isinstance(answer, requests.Response):
                return answer
            if tries == TRIES or not answer.transient:
                raise answer
            delay = BACK_OFF * 2 ** (tries - 1) * random.uniform(0.5, 1.5)  # noqa: S311
            self._wait(max(delay, answer.retry_after or 0), answer)

    def _asked(
        self, method: str, url: str, options: dict[str, Any]
    ) -> requests.Response | SheetError:
        """One try: the answer, or what was wrong with it."""
        try:
            response = self.session.request(
                method, url, timeout=self.timeout, stream=True, **options
            )
            with response:
                response.raw = _Bounded(response.raw)
                _ = response.content  # all of it, while the limits are in force
        except (requests.RequestException, TransportError):
            return SheetError("google_unreachable", transient=True)
        except GoogleAuthError as error:
            if error.retryable:
                return SheetError("google_unreachable", transient=True)
            # People can't help it: the operator must know what Google says.
            log.warning("Google doesn't take this site's account: %s", error)
            return SheetError("google_account")
        return response if response.ok else _problem(response)

    def _wait_for_budget(self, name: str) -> None:
        while seconds := quotas.take(name, size=BURST, per_minute=PER_MINUTE):
            self._wait(
                seconds,
                SheetError(
                    "google_busy", transient=True, retry_after=seconds, seconds=_up(seconds)
                ),
            )

    def _wait(self, seconds: float, problem: SheetError) -> None:
        """Let time pass; beyond our patience the problem is the caller's."""
        if seconds > self._patience:
            raise problem
        self._patience -= seconds
        time.sleep(seconds)


@contextmanager
def opened(credentials: Any) -> Iterator[Client]:
    """A client for a few calls of one thread."""
    client = Client(credentials)
    try:
        yield client
    finally:
        client.session.close()


class _Bounded:
    """A body that may neither be endless nor take for ever."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def stream(self, amount: int, **options: Any) -> Iterator[bytes]:
        size, end = 0, time.monotonic() + MOST_SECONDS
        for chunk in self._raw.stream(amount, **options):
            size += len(chunk)
            if size > MOST_BYTES:
                raise SheetError("google_too_large", mb=MOST_BYTES // 2**20)
            if time.monotonic() > end:
                raise requests.ReadTimeout
            yield chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def _problem(response: requests.Response) -> SheetError:
    """What a refusal means. The body may be some proxy's: it is the status that counts."""
    try:
        message = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = ""
    status, after = response.status_code, _retry_after(response)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return SheetError(
            "google_busy", transient=True, retry_after=after, seconds=_up(after or WINDOW)
        )
    if status in _PASSING:
        return SheetError("google_unreachable", transient=True, retry_after=after)
    if status == HTTPStatus.NOT_FOUND:
        return SheetError("google_not_found")
    # An API that the operator has not switched on is no sheet that nobody has shared.
    if status == HTTPStatus.UNAUTHORIZED or _API_IS_OFF.search(message):
        log.warning("Google doesn't let this site use its API: %s", message)
        return SheetError("google_account")
    if status == HTTPStatus.FORBIDDEN:
        return SheetError("google_not_shared", address=account.service_address())
    return _objection(status, message)


def _objection(status: int, message: str) -> SheetError:
    """What Google has against what it was asked for; only its words tell one from another."""
    if "not supported for this document" in message:
        return SheetError("google_office_file")
    if "protected" in message:
        return SheetError("google_protected", address=account.service_address())
    if found := _NO_SUCH_RANGE.search(message):
        return SheetError("google_tab_missing", tab=found[1].replace("''", "'"))
    if "exceeds grid limits" in message:
        return SheetError("google_outside")
    return SheetError("google_refused", status=status)


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _up(seconds: float) -> int:
    """Whole seconds for people, rounded up."""
    return int(-(-seconds // 1))
