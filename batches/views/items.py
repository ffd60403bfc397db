"""One image of a batch: a page of its own, and what the drawer of the batch's page shows."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET

from batches import messages, triage
from batches.models import Item
from batches.states import RETRYABLE, ItemState
from batches.views.asking import htmx_of, signed_in, user_of
from batches.views.looks import SHOWN, looked_at, settings_used, tool_of


@dataclass(frozen=True)
class Try:
    """One try at an image, as people see it."""

    number: int
    started_at: datetime | None
    ended_at: datetime | None
    message: str
    done: bool = False


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
        "tries": _tries(item),
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


def _tries(item: Item) -> list[Try]:
    """All tries, the newest first."""
    past = [
        Try(
            entry["attempt"],
            _time(entry["started_at"]),
            _time(entry["ended_at"]),
            messages.text(entry["code"], entry["params"]),
        )
        for entry in item.history
    ]
    if item.started_at:
        begun = max(filter(None, [item.started_at, past[-1].ended_at if past else None]))
        now = Try(item.attempt, begun, item.finished_at, item.error, item.state == ItemState.DONE)
        past.append(now)
    return past[::-1]


def _time(text: str | None) -> datetime | None:
    return parse_datetime(text) if text else None
