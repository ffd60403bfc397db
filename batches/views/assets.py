"""One asset of the library: its page, its files, and what is said about it; and how it comes in."""

from uuid import UUID

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from batches import folders, formats, library, storage
from batches.exports import archive
from batches.exports import assets as files
from batches.folders import LibraryRefused
from batches.models import Asset, Batch, Item, Result
from batches.views import shelves
from batches.views.asking import htmx_of, signed_in, tool_name, user_of
from batches.views.files import THUMBNAIL
from batches.views.shelves import Wish
from tools.words import settings_used


@require_GET
@signed_in
def detail(request: HttpRequest, uid: UUID) -> TemplateResponse:
    """An asset: the picture, what it was made of and with, and its versions."""
    owner = user_of(request)
    asset = _asset(request, uid)
    tree = folders.tree(owner)
    wish = Wish.of(request.GET, tree)
    before, after = shelves.neighbours(wish.assets(owner, tree), wish.order, asset)
    versions = library.versions(asset)
    settings = asset.origin.get("settings") or {}
    context = {
        "here": "library",
        "asset": asset,
        "is_text": asset.format in formats.TEXTS,
        "text": _text(asset),
        "place": wish.address(),
        "previous": before,
        "next": after,
        "tags": ", ".join(asset.tags.order_by("name").values_list("name", flat=True)),
        "trail": tree.trail(asset.folder) if asset.folder else [],
        "tree": list(tree.walk()),
        "versions": [
            (one, tool_name(Batch(tool=one.tool)) if one.tool else _("Original"))
            for one in versions
        ],
        "before": _before(asset, versions),
        "tool": tool_name(Batch(tool=asset.tool)) if asset.tool else "",
        "batch": _batch(asset),
        "settings_used": settings_used(asset.tool, settings),
        "days_left": library.days_left(asset, now=timezone.now()),
        "longest": library.LONGEST_ALT_TEXT,
    }
    return TemplateResponse(request, "batches/asset.html", context)


@require_POST
@signed_in
def edit(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Save the name, the alt text, the tags and the folder that the form holds."""
    asset, form = _asset(request, uid), request.POST
    try:
        library.edit(
            asset,
            name=form.get("name", "").strip() or None,
            alt_text=form.get("alt_text"),
            tags=form["tags"].split(",") if "tags" in form else None,
        )
        if "to" in form:
            branch = shelves.branch_of(folders.tree(asset.owner), form["to"])
            library.move(asset.owner, [asset.uid], branch.folder if branch else None)
    except LibraryRefused as refused:
        messages.error(request, refused.detail)
    else:
        messages.success(request, _("Saved."))
    query = form.get("place", "")
    return redirect(reverse("batches:asset", args=[asset.uid]) + (f"?{query}" if query else ""))


@require_GET
@signed_in
def file(request: HttpRequest, uid: UUID) -> FileResponse:
    """The asset's file, to look at; `?download=1`: to keep."""
    wanted = request.GET.get("download", "") not in ("", "0")
    return files.file_response(_asset(request, uid), download=wanted)


@require_GET
@signed_in
def thumbnail(request: HttpRequest, uid: UUID) -> FileResponse:
    """A small picture of the asset."""
    asset = _asset(request, uid)
    if not asset.thumbnail_key:
        raise Http404
    return archive.picture_response(
        storage.RESULTS, asset.thumbnail_key, content_type=THUMBNAIL, name=f"{uid}.webp"
    )


@require_POST
@signed_in
def keep(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Keep an image's result in the library: the first, or the one at `position`."""
    owner = user_of(request)
    position = request.POST.get("position", "0")
    if not (position.isdecimal() and len(position) < 5):
        raise Http404
    own = Result.objects.filter(item__batch__owner=owner)
    result = get_object_or_404(
        own.select_related("item__batch", "item__original"), item__uid=uid, position=int(position)
    )
    try:
        asset = library.save(owner, result).asset
    except LibraryRefused as refused:
        if htmx_of(request):
            context = {"item": result.item, "result": result, "problem": refused.detail}
            return TemplateResponse(request, "batches/_keep.html", context)
        messages.error(request, refused.detail)
        return redirect("batches:item", uid)
    if htmx_of(request):
        context = {"item": result.item, "result": result, "kept": asset}
        return TemplateResponse(request, "batches/_keep.html", context)
    return redirect("batches:asset", asset.uid)


def _asset(request: HttpRequest, uid: UUID) -> Asset:
    own = Asset.objects.visible_to(user_of(request)).select_related("folder", "owner")
    return get_object_or_404(own, uid=uid)


def _text(asset: Asset) -> str:
    """What a text says."""
    if asset.format not in formats.TEXTS:
        return ""
    try:
        return storage.read(storage.RESULTS, asset.key).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _before(asset: Asset, versions: list[Asset]) -> str:
    """Where the picture is that it was made of, if that is still there; else nothing."""
    if not asset.tool or asset.format in formats.TEXTS:
        return ""
    if original := next((one for one in versions if not one.tool), None):
        return reverse("batches:asset_file", args=[original.uid])
    made_of = Item.objects.visible_to(asset.owner).filter(
        uid__in=shelves.uuids([asset.origin.get("item", {}).get("uid", "")]),
        original__isnull=False,
    )
    item = made_of.values_list("uid", flat=True).first()
    return reverse("batches:original", args=[item]) if item else ""


def _batch(asset: Asset) -> Batch | None:
    """The batch that made it, if it is still there."""
    uids = shelves.uuids([asset.origin.get("batch", {}).get("uid", "")])
    return Batch.objects.visible_to(asset.owner).filter(uid__in=uids).first()
