"""What a new batch will be like, asked while its form is filled in: its names, and what is free."""

from dataclasses import replace
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from batches import addresses, drafts, imports, patterns, reuse
from batches.models import Original, Sheet
from batches.sources.base import Row
from batches.views import drafting, sheeting
from batches.views.asking import signed_in_script, tool_or_404, user_of
from tools.base import SettingsInvalid, Tool
from tools.engines import images

EXAMPLE = "photo.jpg"
"""Stands for the first image while there is none."""


@require_GET
def example(request: HttpRequest, slug: str) -> TemplateResponse:
    """What the first image's result would be called, or what is wrong with the pattern."""
    tool = tool_or_404(request, slug)
    pattern = request.GET.get("name_pattern", "")
    found = drafting.contents(request, tool)
    sheet = sheeting.of(request, found.fields)
    facts = patterns.Facts(
        name=_first_name(found),
        number=1,
        tool=tool.slug,
        day=timezone.localdate(),
        external_id="A-17",
    )
    if sheet and (row := _first_row(sheet, tool)):
        facts = replace(
            facts,
            name=row.name or addresses.name_in(row.url),
            external_id=row.external_id,
            fields=row.fields,
        )
    context = {"tool": tool, "answered": True, "example": "", "wrong": ""}
    try:
        namer = patterns.Namer(pattern, columns=sheet.columns if sheet else ())
        stem = namer.stem(facts, row=1)
    except patterns.PatternInvalid as invalid:
        context["wrong"] = invalid.detail
    else:
        context["example"] = stem + _ending(request, tool)
    return TemplateResponse(request, "batches/_name_example.html", context)


def _first_row(sheet: Sheet, tool: Tool) -> Row | None:
    """The first row of the page's sheet that would run, as far as it can be read."""
    try:
        return next(imports.to_run(sheet, tool), None)
    except sheeting.UNREADABLE:
        return None


def _first_name(found: drafts.Contents) -> str:
    """The first image's own name, as far as the page is kept."""
    if found.originals:
        return found.originals[0].name
    for text in found.fields.get("urls", ()):
        for line in addresses.judged(text):
            if line.usable:
                return line.name
    return EXAMPLE


def _ending(request: HttpRequest, tool: Tool) -> str:
    kinds = {"text": ".txt", "json": ".json"}
    kind = request.GET.get("format", "") or tool.defaults().get("format", "png")
    return kinds.get(tool.output) or images.EXTENSIONS.get(kind, ".png")


@require_POST
@signed_in_script
def quote(request: HttpRequest, slug: str) -> JsonResponse:
    """How many of the uploads would cost nothing with these settings: done before."""
    tool = tool_or_404(request, slug)
    owner = user_of(request)
    try:
        settings = tool.clean(request.POST)
    except SettingsInvalid:
        return JsonResponse({"free": 0})  # it says so itself when it is sent
    wanted = []
    for text in request.POST.get("uploads", "").split():
        try:
            wanted.append(UUID(text))
        except ValueError:
            continue
    originals = Original.objects.visible_to(owner).filter(uid__in=wanted)
    return JsonResponse({"free": len(reuse.done_before(owner, tool, settings, originals))})
