"""The admin's site: its lists are of the apps, its front page and the workers are here."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import redis
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from unfold.sites import UnfoldAdminSite

from studio import dashboard

View = Callable[[HttpRequest], HttpResponseBase]


def part(view: View) -> View:
    """A part of a page that asks for itself.

    Whoever may no longer see it, since the session has ended or a right was taken, is not sent to
    the form for signing in, which would take the part's place: the whole page is loaded again.
    """

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponseBase:
        if not (request.user.is_active and request.user.is_staff and dashboard.may_look(request)):
            return HttpResponse(status=403, headers={"HX-Refresh": "true"})
        return view(request)

    return never_cache(guarded)


class Desk(UnfoldAdminSite):
    """Unfold's site with the figures, the workers, and two things mended."""

    index_title = gettext_lazy("Dashboard")

    def extra_urls(self) -> list[URLPattern]:
        """Pages beside the lists; Unfold puts them in front."""
        return [
            path("figures/", part(self.figures), name="figures"),
            path("workers/", self.admin_view(self.workers), name="workers"),
            path("workers/now/", part(self.workers_now), name="workers_now"),
        ]

    def figures(self, request: HttpRequest) -> HttpResponseBase:
        """The dashboard's inside, as of now."""
        found = {"dashboard": dashboard.look(now=timezone.now())}
        return TemplateResponse(request, "admin/_dashboard.html", found)

    def workers(self, request: HttpRequest) -> HttpResponseBase:
        """Every worker, with all that it says of itself."""
        if not dashboard.may_look(request):
            raise PermissionDenied
        words = {**self.each_context(request), "title": _("Workers")}
        return TemplateResponse(request, "admin/workers.html", words | _staffing())

    def workers_now(self, request: HttpRequest) -> HttpResponseBase:
        """The inside of that page, as of now."""
        return TemplateResponse(request, "admin/_workers.html", _staffing())

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Sign in, and go on here: Unfold's form leaves out where to, which is in its address."""
        if request.method == "GET" and REDIRECT_FIELD_NAME not in request.GET:
            query = urlencode({REDIRECT_FIELD_NAME: reverse("admin:index")})
            return redirect(f"{reverse('admin:login')}?{query}")
        return super().login(request, extra_context)

    def search(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Unfold remembers what it found in the cache, and would break where that is away."""
        try:
            return super().search(request, extra_context)
        except (redis.RedisError, OSError):
            words = _("Valkey does not answer, and the search needs it. The lists are all here.")
            return HttpResponse(words, content_type="text/plain; charset=utf-8")


def _staffing() -> dict[str, Any]:
    now = timezone.now()
    return {"now": now, "staffing": dashboard.staffing(now=now)}
