"""The site's own pages."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache

from studio import health


@never_cache
def healthz(_request: HttpRequest) -> JsonResponse:
    """200 when everything that an image needs is there, else 503 with what is missing."""
    missing = health.missing()
    return JsonResponse(
        {"status": "unavailable" if missing else "ok", "missing": missing},
        status=503 if missing else 200,
    )
