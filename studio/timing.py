"""How often each page was asked for, how it was answered, and how long that took.

Counted in the web processes themselves. Where several share a folder (gunicorn's configuration
makes one and names it in ``PROMETHEUS_MULTIPROC_DIR``), each of them tells for all, those that have
ended included.
"""

import os
import time

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.multiprocess import MultiProcessCollector

from studio.middleware import GetResponse

NOWHERE = "none"
"""Stands for the view where nothing has an address that was asked for, or a file has."""

disable_created_metrics()  # as many lines again, which nobody asks for

REQUESTS = Counter("studio_http_requests", "Answered requests.", ["view", "status"], registry=None)
SECONDS = Histogram(
    "studio_http_request_seconds",
    "From the first middleware to the first byte of the answer.",
    ["view"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    registry=None,
)


class TimingMiddleware:
    """Counts every request, under the name of its view: there are as many as there are views."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer as the others do, and count that."""
        begun = time.perf_counter()
        response = self._get_response(request)
        match = request.resolver_match
        view = (match and match.view_name) or NOWHERE
        REQUESTS.labels(view, str(response.status_code)).inc()
        SECONDS.labels(view).observe(time.perf_counter() - begun)
        return response


def add_to(registry: CollectorRegistry) -> None:
    """Let the registry tell what was counted."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)
    else:
        registry.register(REQUESTS)
        registry.register(SECONDS)
