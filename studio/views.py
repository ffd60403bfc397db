"""The site's own pages, and what browsers ask of every site."""

import hashlib
import json

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from studio import health
from studio.reference import page

SHELL = (
    "dist/app.css",
    "dist/alone.js",
    "dist/icons.svg",
    "dist/inter-latin.woff2",
    "img/mark.svg",
)
"""All that the page needs that is shown without a connection."""


@never_cache
def healthz(_request: HttpRequest) -> JsonResponse:
    """200 when everything that an image needs is there, else 503 with what is missing."""
    missing = health.missing()
    return JsonResponse(
        {"status": "unavailable" if missing else "ok", "missing": missing},
        status=503 if missing else 200,
    )


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus: with the site's token, or, where none is set, from this machine alone."""
    if settings.METRICS_TOKEN:
        said = request.headers.get("Authorization", "")
        allowed = constant_time_compare(said, f"Bearer {settings.METRICS_TOKEN}")
    else:
        direct = "X-Forwarded-For" not in request.headers
        allowed = direct and request.META.get("REMOTE_ADDR") in {"127.0.0.1", "::1"}
    if not allowed:
        raise Http404
    from studio.metrics import scrape  # most sites never ask

    return HttpResponse(scrape(), content_type="text/plain; version=0.0.4; charset=utf-8")


@require_safe
def favicon(_request: HttpRequest) -> HttpResponseBase:
    """For the pages that name no icon of their own, such as the admin's."""
    return redirect(static("img/mark.svg"))


@require_safe
def offline(_request: HttpRequest) -> HttpResponse:
    """What the service worker shows for pages that can't be reached."""
    # Without the request: the same for everybody, for it is kept in the browser.
    return HttpResponse(render_to_string("offline.html"))


@require_safe
def api(request: HttpRequest) -> HttpResponse:
    """The reference of the HTTP API."""
    content = page.rendered(get_language() or settings.LANGUAGE_CODE)
    return render(request, "studio/reference/page.html", {"content": content})


@require_safe
def worker(_request: HttpRequest) -> HttpResponse:
    """The service worker, which governs all addresses below the one that it is served from.

    It is a few bytes that change with the offline page and with every file that this needs:
    that is how browsers learn of a new one.
    """
    shell = {
        "page": reverse("offline"),
        "version": hashlib.sha256(render_to_string("offline.html").encode()).hexdigest()[:16],
        "files": [static(name) for name in SHELL],
    }
    code = (
        f"self.shell = {json.dumps(shell)};\nimportScripts({json.dumps(static('dist/sw.js'))});\n"
    )
    response = HttpResponse(code, content_type="text/javascript; charset=utf-8")
    response["Cache-Control"] = "no-cache"
    return response


@require_safe
def manifest(_request: HttpRequest) -> HttpResponse:
    """What a phone needs to put the studio on its home screen."""
    told = {
        "name": _("Studio"),
        "description": _("Hundreds of photos, edited in one go"),
        "start_url": reverse("home"),
        "display": "standalone",
        "theme_color": "#fdfcfa",
        "background_color": "#f5f4f2",
        "icons": [{"src": static("img/mark.svg"), "sizes": "any", "type": "image/svg+xml"}],
    }
    response = JsonResponse(told, content_type="application/manifest+json")
    response["Cache-Control"] = "max-age=3600"
    return response
