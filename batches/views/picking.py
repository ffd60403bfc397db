"""The library as a source: pictures are picked there and become images of a new batch."""

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from accounts.models import User
from batches import drafts, folders, formats, intake
from batches.models import Asset, Original
from batches.views import shelves
from batches.views.asking import (
    by_script,
    htmx_of,
    refusal,
    signed_in,
    signed_in_script,
    tool_or_404,
    user_of,
)
from batches.views.shelves import LOOSE, Wish
from batches.views.uploads import shown
from tools.base import Tool
from tools.engines.guard import GuardLost

PER_PAGE = 60
AT_ONCE = 60
"""Pictures that one request may bring: each that is new here is looked at once more."""


@require_GET
@signed_in
def pick(request: HttpRequest, slug: str) -> TemplateResponse:
    """The pictures of the library to choose from: a part of a tool's page, or a page of its own.

    `?more=1` asks for the next pictures alone.
    """
    tool = tool_or_404(request, slug)
    owner = user_of(request)
    tree = folders.tree(owner)
    wish = Wish.of(request.GET, tree)
    pictures = wish.assets(owner, tree).kept().exclude(format__in=formats.TEXTS)
    page = Paginator(pictures, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "here": "tools",
        "tool": tool,
        "wish": wish,
        "page": page,
        "tree": list(tree.walk()),
        "loose": LOOSE,
        "more": wish.address(page=page.number + 1, more=1) if page.has_next() else "",
    }
    if not htmx_of(request):
        template = "batches/picker.html"
    elif request.GET.get("more"):
        template = "batches/_picker_page.html"
    else:
        template = "batches/_picker.html"
    return TemplateResponse(request, template, context)


@require_POST
def add(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Put the pictures that are ticked on the tool's page."""
    tool = tool_or_404(request, slug)
    return (signed_in_script if by_script(request) else signed_in)(_add)(request, tool)


def _add(request: HttpRequest, tool: Tool) -> HttpResponseBase:
    owner = user_of(request)
    chosen = shelves.uuids(request.POST.getlist("asset"))[:AT_ONCE]
    originals, problem = _originals(owner, chosen)
    drafts.add(owner, tool.slug, originals)
    if by_script(request):
        if problem and not originals:
            return refusal(422, "not_taken", problem)
        images = [shown(original) for original in originals]
        return JsonResponse({"images": images, "message": problem})
    if problem:
        messages.error(request, problem)
    return redirect("batches:new", tool.slug)


def _originals(owner: User, chosen: list[UUID]) -> tuple[list[Original], str]:
    """What the chosen assets are as originals, in their order, and what is wrong with the rest."""
    assets = Asset.objects.visible_to(owner).kept().exclude(format__in=formats.TEXTS)
    found = assets.in_bulk(chosen, field_name="uid")
    originals: list[Original] = []
    lost = len(chosen) - len(found)
    try:
        for _asset, original in intake.adopt_assets(owner, [*filter(None, map(found.get, chosen))]):
            if original is None:
                lost += 1
            else:
                originals.append(original)
    except GuardLost:
        return originals, _("Images can't be looked at just now. Try again in a moment.")
    if not lost:
        return originals, ""
    said = ngettext("{n} image can't be used here.", "{n} images can't be used here.", lost)
    return originals, said.format(n=lost)
