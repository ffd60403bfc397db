"""What is on a tool's page before it is started: kept for whoever comes back to it.

A stranger's typing is kept in the session until somebody signs in with it.
"""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from batches import drafts, intake, samples
from batches.models import Original
from batches.views.asking import (
    by_script,
    refusal,
    signed_in,
    signed_in_script,
    tool_or_404,
    user_of,
)
from batches.views.uploads import shown
from tools.base import Tool

SESSION = "drafts"
SHEET_FIELDS = ("sheet", "sheet_after", "sheet_skip")
"""Which sheet lies on the page, how far it has been started, whether bad rows are left out."""
MOST_TYPED = 2_000_000
"""Characters of a form that are kept: 10,000 long addresses."""
MOST_TYPED_BY_STRANGERS = 200_000


@require_POST
def draft(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Remember the form as it is typed now."""
    tool = tool_or_404(request, slug)
    if not remember(request, tool):
        return refusal(413, "too_much_text", _("This is more text than can be kept here."))
    return _after(request, tool)


@require_POST
def remove(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Take one image, one refused file, or all there is off the page."""
    tool = tool_or_404(request, slug)
    if not request.user.is_authenticated:
        if request.POST.get("all"):
            forget(request, tool)
        return _after(request, tool)
    owner = user_of(request)
    if request.POST.get("all"):
        drafts.clear(owner, tool.slug)
    else:
        drafts.remove(
            owner,
            tool.slug,
            uploads=_uuids(request.POST.getlist("image")),
            refused=request.POST.getlist("refused"),
        )
    return _after(request, tool)


@require_POST
def add_samples(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Put a few photos on the page, for a first try."""
    tool = tool_or_404(request, slug)
    if not by_script(request):
        return signed_in(_add_samples)(request, tool)
    return signed_in_script(_add_samples)(request, tool)


def _add_samples(request: HttpRequest, tool: Tool) -> HttpResponseBase:
    owner = user_of(request)
    originals: list[Original] = []
    for path in list(samples.photos())[: samples.FEW]:
        original, _new = intake.receive(owner, path.read_bytes(), name=path.name)
        originals.append(original)
    drafts.add(owner, tool.slug, originals)
    if by_script(request):
        return JsonResponse({"images": [shown(original) for original in originals]})
    return redirect("batches:new", tool.slug)


def remember(request: HttpRequest, tool: Tool) -> bool:
    """Keep what the form holds, with its owner or in the session; False when it is too much."""
    fields = typed(request, tool)
    length = sum(len(value) for values in fields.values() for value in values)
    if request.user.is_authenticated:
        if length > MOST_TYPED:
            return False
        drafts.save_fields(user_of(request), tool.slug, fields)
        return True
    if length > MOST_TYPED_BY_STRANGERS:
        return False
    # One page at a time: a session is read with every request.
    request.session[SESSION] = {tool.slug: fields}
    return True


def contents(request: HttpRequest, tool: Tool) -> drafts.Contents:
    """What is on the page; what was typed before signing in joins it."""
    fields = request.session.get(SESSION, {}).get(tool.slug)
    if not request.user.is_authenticated:
        return drafts.Contents(fields=fields or {})
    if fields:
        drafts.adopt(user_of(request), tool.slug, fields)
        forget(request, tool)
    return drafts.contents(user_of(request), tool.slug)


def forget(request: HttpRequest, tool: Tool) -> None:
    """Drop what was typed into this page before signing in."""
    if tool.slug in request.session.get(SESSION, {}):
        del request.session[SESSION]


def typed(request: HttpRequest, tool: Tool) -> drafts.Fields:
    """The fields of a tool's form that the request carries, as they were typed."""
    names = ["urls", "batch_name", "name_pattern", "folders", "connected"]
    names += ["deliver_to", "deliver_folder", *SHEET_FIELDS, *map(str, tool.Settings().fields)]
    return {name: request.POST.getlist(name) for name in names if name in request.POST}


def _after(request: HttpRequest, tool: Tool) -> HttpResponseBase:
    if by_script(request):
        return HttpResponse(status=204)
    return redirect("batches:new", tool.slug)


def _uuids(texts: list[str]) -> list[UUID]:
    found: list[Any] = []
    for text in texts:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found
