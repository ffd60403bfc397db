"""The pages that say that something went wrong: what, what it means, and what to do next.

The API tells the same things as problems: see `studio.problems`.
"""

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import ngettext

from accounts.context_processors import THEMES
from accounts.limits import TooManyRequests
from accounts.seeing import ReadOnly
from studio.middleware import GetResponse, current_request_id

API = "/api/"
"""Below this nobody gets a page."""
ALONE = frozenset({400, 500, 503})
"""Statuses whose pages ask no database and no session: those may be what failed."""
READING = frozenset({"GET", "HEAD"})


def page(
    request: HttpRequest, status: int, *, template: str = "", retry_after: int | None = None
) -> HttpResponse:
    """The page for a status, with the id under which the log has the request."""
    context = {
        "request_id": current_request_id(),
        "home": "/" if status in ALONE else reverse("home"),
        "batches": reverse("batches:index"),
        "again": _again(request, status),
        "wait": _in_words(retry_after or 0),
    }
    if status in ALONE:
        context["theme"] = THEMES.get(request.COOKIES.get("theme", ""), "")
    body = render_to_string(
        template or f"{status}.html", context, request=None if status in ALONE else request
    )
    response = HttpResponse(body, status=status)
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response


def csrf(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 - Django's names
    """Django's view for a form whose token is missing or old."""
    return page(request, 403, template="403_csrf.html")


class FailurePageMiddleware:
    """Give a page to refusals that Django answers with a number: 405 and 429."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer; a step that was opened like a page says so."""
        response = self._get_response(request)
        if (
            isinstance(response, HttpResponseNotAllowed)
            and not response.content
            and not request.path.startswith(API)
        ):
            told = page(request, 405)
            told["Allow"] = response["Allow"]
            return told
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Say when somebody may try again who tried too often, and who may only look."""
        if isinstance(error, ReadOnly):
            return page(request, 403, template="403_seeing.html")
        if isinstance(error, TooManyRequests):
            return page(request, 429, retry_after=error.retry_after)
        return None


def _again(request: HttpRequest, status: int) -> str:
    """Where the failed step can be tried again: a form's own page, as far as we know it."""
    if request.method in READING:
        return request.get_full_path()
    if status in ALONE:
        return "/"
    came_from = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(came_from, {request.get_host()}):
        return came_from
    return reverse("home")


def _in_words(seconds: int) -> str:
    """A time to wait, rounded up: seconds below two minutes, then minutes."""
    if seconds < 120:
        return ngettext("{n} second", "{n} seconds", seconds).format(n=seconds)
    minutes = -(-seconds // 60)
    return ngettext("{n} minute", "{n} minutes", minutes).format(n=minutes)
