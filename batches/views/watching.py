"""One batch's page, its polls and its verbs."""

from collections.abc import Callable
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET, require_POST

from batches import lifecycle
from batches import messages as wording
from batches.exports import archive
from batches.models import Batch
from batches.views.asking import batch_or_404, htmx_of, signed_in
from batches.views.looks import Seen, look
from credits import ledger


@require_GET
@signed_in
def detail(request: HttpRequest, uid: UUID) -> TemplateResponse:
    """One batch: how far it is, what it costs, and a card for each image."""
    seen = look(request, batch_or_404(request, uid), request.GET, Seen())
    return TemplateResponse(request, "batches/detail.html", seen | {"here": "batches"})


@require_GET
@signed_in
def poll(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """What has changed since the page looked last. Without htmx: the page itself."""
    batch = batch_or_404(request, uid)
    if not htmx_of(request):
        return redirect(batch)
    names = ("marks", "controls", "credits", "said")
    seen = Seen(**{name: request.GET.get(name, "") for name in names})
    return TemplateResponse(request, "batches/_poll.html", look(request, batch, request.GET, seen))


@require_POST
@signed_in
def start(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Start a batch that was made but not started."""
    return _act(request, uid, lifecycle.start)


@require_POST
@signed_in
def approve(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Run the rest after a sample."""
    return _act(request, uid, lifecycle.approve)


@require_POST
@signed_in
def pause(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Begin nothing more for now."""
    return _act(request, uid, lifecycle.pause)


@require_POST
@signed_in
def resume(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Go on."""
    return _act(request, uid, lifecycle.resume)


@require_POST
@signed_in
def cancel(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Stop; what is finished is kept."""
    return _act(request, uid, lifecycle.cancel)


@require_POST
@signed_in
def retry(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Run failed images again: the one that is named, or all."""
    try:
        items = [UUID(text) for text in request.POST.getlist("item")]
    except ValueError:
        raise Http404 from None
    return _act(request, uid, lambda batch: lifecycle.retry(batch, items=items or None))


@require_GET
@signed_in
def results_zip(request: HttpRequest, uid: UUID) -> StreamingHttpResponse:
    """All results so far, streamed."""
    return archive.response(batch_or_404(request, uid))


def _act(request: HttpRequest, uid: UUID, verb: Callable[[Batch], Batch]) -> HttpResponseBase:
    """Carry out one verb on one's own batch, and show what came of it."""
    batch = batch_or_404(request, uid)
    try:
        batch = verb(batch)
    except lifecycle.Refused as refused:
        messages.error(request, refused.detail)
    except ledger.InsufficientCredits as short:
        messages.error(request, wording.text(short.code, short.params))
    htmx = htmx_of(request)
    if not htmx:
        return redirect(batch)
    place = QueryDict(urlsplit(htmx.current_url or "").query)
    batch = batch_or_404(request, uid)
    return TemplateResponse(request, "batches/_poll.html", look(request, batch, place, Seen()))
