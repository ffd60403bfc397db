"""Puts a user in the place of the staff who see the site as that user does, and lets nothing move.

What may be done meanwhile: look at pages and at the HTTP API, stop, and sign out.
"""

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from accounts import seeing, trail
from studio import failures, problems
from studio.middleware import GetResponse

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
STOP, SIGN_OUT = "accounts:stop_seeing", "accounts:logout"
ADMIN = "/admin/"


class SeeingMiddleware:
    """Answers a session that sees as a user the way it would answer the user, to read only.

    It stands inside of the sessions and of whoever knows who is signed in, and around everything
    that shows anything.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer as the user, refuse, or (for everybody else) do nothing."""
        if settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return self._get_response(request)
        sight = seeing.of(request)
        if sight is None:
            return self._get_response(request)
        name = _name_of(request) if request.method == "POST" else ""
        if name == STOP:
            return self._get_response(request)
        if name == SIGN_OUT:
            seeing.end(request, why=_("signed out"))
            return self._get_response(request)
        if sight.is_over(now=timezone.now()):
            # What was open before acts for nobody: least of all for whoever sits there.
            seeing.end(request, why=_("time over, or right withdrawn"))
            return _refusal(request, "403_seen.html", _("You see the site as yourself again."))
        return self._as_user(request, sight)

    def _as_user(self, request: HttpRequest, sight: seeing.Sight) -> HttpResponseBase:
        session = request.session
        # Nothing of the session of staff is shown as the user's, and nothing ends up in it.
        request.session = _nothing()
        request.user = sight.target
        setattr(request, seeing.SIGHT, sight)
        try:
            with seeing.reading_only():
                if request.method in SAFE and not request.path.startswith(ADMIN):
                    response = self._get_response(request)
                else:
                    response = refuse(request)
        finally:
            request.session = session
            request.user = sight.actor
        response.cookies.clear()
        response["Cache-Control"] = "private, no-store"
        if "attachment" in response.get("Content-Disposition", "") and response.status_code < 300:
            trail.record(request, "user.download", sight.target, after={"address": request.path})
        return response


def refuse(request: HttpRequest) -> HttpResponse:
    """Say that nothing moves meanwhile, to people and to programs."""
    return _refusal(
        request,
        "403_seeing.html",
        _("You see this site as a user does, and only to read. Nothing was done."),
    )


def _refusal(request: HttpRequest, template: str, words: str) -> HttpResponse:
    if request.path.startswith(failures.API):
        return problems.refused(403, "permission_denied", words)
    if request.headers.get("HX-Request"):  # the page that is open says it in words of its own
        return HttpResponse(words, status=403, content_type="text/plain; charset=utf-8")
    return failures.page(request, 403, template=template)


def _name_of(request: HttpRequest) -> str:
    try:
        return resolve(request.path_info).view_name
    except Resolver404:
        return ""


def _nothing() -> SessionBase:
    """A session that holds nothing and is never stored."""
    engine = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    session: SessionBase = engine()
    return session
