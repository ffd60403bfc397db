"""One image of a batch: a page of its own, and what the drawer of the batch's page shows."""

from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET

from batches import attempts, triage
from batches.models import Item
from batches.states import RETRYABLE, ItemState
from batches.views.asking import htmx_of, signed_in, user_of
from batches.views.looks import SHOWN, looked_at, tool_of
from tools.words import settings_used


@require_GET
@signed_in
def detail(request: HttpRequest, uid: UUID) -> TemplateResponse:
    """One image: before and after, what was done to it, and what can be done about it."""
    own = Item.objects.visible_to(user_of(request)).select_related(
        "batch", "original", "connection"
    )
    item = get_object_or_404(own, uid=uid)
    show = request.GET.get("show", "")
    show = show if show in SHOWN else ""
    before, after = _neighbours(item, show)
    results = list(item.results.order_by("position"))
    failed = item.state == ItemState.FAILED
    context = {
        "here": "tools",
        "item": item,
        "batch": item.batch,
        "tool": tool_of(item.batch),
        **looked_at(request, item, results),
        "settings_used": settings_used(item.batch.tool, item.settings),
        "settings_now": {**item.batch.settings, **item.settings},
        "tries": attempts.of(item),
        "failure": triage.of_item(item) if failed else None,
        "may_retry": failed and item.batch.state in RETRYABLE,
        "previous": before,
        "next": after,
        "show": show,
    }
    template = "batches/_item.html" if htmx_of(request) else "batches/item.html"
    return TemplateResponse(request, template, context)


def _neighbours(item: Item, show: str) -> tuple[UUID | None, UUID | None]:
    """Who comes before and after it in the batch, among those that the grid shows."""
    among = item.batch.items.filter(SHOWN.get(show, Q()))
    before = among.filter(position__lt=item.position).order_by("-position")
    after = among.filter(position__gt=item.position).order_by("position")
    return before.values_list("uid", flat=True).first(), after.values_list("uid", flat=True).first()
