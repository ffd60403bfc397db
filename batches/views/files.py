"""Pictures: originals, thumbnails and results, each for its owner alone."""

from typing import cast
from uuid import UUID

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST, require_safe

from batches import links, storage
from batches.exports import archive, assets
from batches.models import Asset, Item, Original, Result
from batches.views.asking import batch_or_404, signed_in, user_of

THUMBNAIL = "image/webp"


@require_GET
@signed_in
def upload_thumbnail(request: HttpRequest, uid: UUID) -> FileResponse:
    """A small picture of an original."""
    found = get_object_or_404(Original.objects.visible_to(user_of(request)), uid=uid)
    return archive.picture_response(
        storage.ORIGINALS, found.thumbnail_key, content_type=THUMBNAIL, name=f"{found.uid}.webp"
    )


@require_GET
@signed_in
def original(request: HttpRequest, uid: UUID) -> FileResponse:
    """An image of a batch as it came in."""
    own = Item.objects.visible_to(user_of(request)).filter(original__isnull=False)
    item = get_object_or_404(own.select_related("original"), uid=uid)
    found = cast("Original", item.original)
    return archive.picture_response(
        storage.ORIGINALS, found.key, content_type=found.content_type, name=found.name
    )


@require_GET
@signed_in
def thumbnail(request: HttpRequest, uid: UUID) -> FileResponse:
    """A small picture of a result: an item's first, or the one at `?position=`."""
    found = _result(request, uid)
    if not found.thumbnail_key:
        raise Http404
    return archive.picture_response(
        storage.RESULTS, found.thumbnail_key, content_type=THUMBNAIL, name=f"{uid}.webp"
    )


@require_GET
@signed_in
def result(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """An item's first result, or the one at `?position=`, to look at; `?download=1`: to keep."""
    wanted = request.GET.get("download", "") not in ("", "0")
    return archive.file_response(_result(request, uid), download=wanted)


@require_safe
def link(request: HttpRequest, token: str) -> HttpResponseBase:
    """A result, an upload or something of the library for whoever has its signed link."""
    try:
        found = links.opened(token, now=timezone.now())
    except links.Broken:
        raise Http404 from None
    download = request.GET.get("download", "") == "1"
    answer: HttpResponseBase
    match found:
        case Original():
            answer = archive.original_response(found, download=download)
        case Asset():
            answer = assets.file_response(found, download=download)
        case _:
            answer = archive.file_response(found, download=download)
    answer["Cache-Control"] = "private, no-store"  # it may be taken back at any time
    answer["Referrer-Policy"] = "no-referrer"
    answer["X-Robots-Tag"] = "noindex"
    return answer


@require_POST
@signed_in
def revoke_links(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Take back the links to a batch's results."""
    batch = batch_or_404(request, uid)
    links.revoke(batch)
    messages.success(
        request, _("Links to these results that were given out before open nothing any more.")
    )
    return redirect(batch)


def _result(request: HttpRequest, item_uid: UUID) -> Result:
    own = Result.objects.filter(item__batch__owner=user_of(request)).select_related("item")
    position = request.GET.get("position", "0")
    if not (position.isdecimal() and len(position) < 5):
        raise Http404
    return get_object_or_404(own, item__uid=item_uid, position=int(position))
