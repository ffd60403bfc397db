"""A tool's *Single* tab: one image in, its result beside it.

It is a batch of one: the same settings, pipeline, price and bytes. Its address is that of the
item, so a reload shows it again; earlier ones are a click away.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from batches import drafts, intake, lifecycle, one_image, pricing, stalled
from batches.forms import OneImageForm
from batches.models import Item, Original
from batches.states import ENDED, BatchState, ItemState
from batches.views.asking import htmx_of, signed_in, tool_or_404, user_of
from batches.views.gallery import card_of
from batches.views.looks import looked_at
from credits import ledger
from tools import abilities
from tools.base import SettingsInvalid, Tool, ToolSettings

RECENT = 12
"""Earlier images below the stage."""


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, slug: str) -> HttpResponseBase:
    """An empty stage, or one with what is in the way of a run."""
    tool = tool_or_404(request, slug)
    if request.method != "POST":
        return _page(request, tool, OneImageForm(request.GET))
    if not request.user.is_authenticated:
        return _ask_to_sign_in(request, tool)
    form = OneImageForm(request.POST)
    if form.is_valid():
        form.take(user_of(request), request.FILES.get("file"))
    if not form.is_valid():
        return _page(request, tool, form, status=422)
    return _run(request, tool, form)


def _run(request: HttpRequest, tool: Tool, form: OneImageForm) -> HttpResponseBase:
    """Start it and go to its page, or show the form again with what is in the way."""
    owner = user_of(request)
    row = form.row(owner)
    if row is None:
        form.add_error(None, _("Choose an image, or paste the address of one."))
        return _page(request, tool, form, status=422)
    try:
        item = one_image.start(
            owner,
            tool,
            row,
            settings=tool.clean(request.POST),
            reuse="anew" not in request.POST,
            shown_percent=form.cleaned_data["shown_percent"],
        )
    except SettingsInvalid as invalid:
        form.add_error(None, _("A setting needs another value. It is marked below."))
        for error in invalid.errors:
            if not error.field:
                form.add_error(None, error.detail)
        return _page(request, tool, form, shown=invalid.bound, status=422)
    except intake.RowsInvalid as invalid:
        for problem in invalid.errors:
            form.add_error("url" if row.url else None, problem.detail)
        return _page(request, tool, form, status=422)
    except ledger.InsufficientCredits as short:
        return _page(request, tool, form, short=short, status=402)
    except lifecycle.Refused as refused:
        form.add_error(None, refused.detail)
        return _page(request, tool, form, status=422)
    return redirect("batches:single_image", tool.slug, item.uid)


def _ask_to_sign_in(request: HttpRequest, tool: Tool) -> HttpResponseBase:
    """Come back to the same address and settings; a file can't be kept for a stranger."""
    kept = QueryDict(mutable=True)
    for name in ["url", *tool.Settings().fields]:
        if values := [value for value in request.POST.getlist(name) if value]:
            kept.setlist(name, values)
    messages.info(
        request,
        _(
            "Sign in to go on. Your settings and the address are kept; a file from your device "
            "has to be chosen again."
        ),
    )
    return redirect_to_login(f"{request.path}?{kept.urlencode()}")


@require_GET
@signed_in
def image(request: HttpRequest, slug: str, uid: UUID) -> HttpResponseBase:
    """One image: how far it is, or what came of it."""
    tool = tool_or_404(request, slug)
    return _page(request, tool, OneImageForm({}), item=_item_or_404(request, tool, uid))


@require_GET
@signed_in
def poll(request: HttpRequest, slug: str, uid: UUID) -> HttpResponseBase:
    """What has changed since the page looked last; 204 for nothing. Without htmx: the page."""
    tool = tool_or_404(request, slug)
    item = _item_or_404(request, tool, uid)
    if not htmx_of(request):
        return redirect("batches:single_image", slug, uid)
    if request.GET.get("seen") == _seen(item):
        return HttpResponse(status=204)
    return _changed(request, tool, item)


@require_POST
@signed_in
def cancel(request: HttpRequest, slug: str, uid: UUID) -> HttpResponseBase:
    """Stop it; it costs nothing."""
    tool = tool_or_404(request, slug)
    item = _item_or_404(request, tool, uid)
    with suppress(lifecycle.StateConflict):  # it has ended already, and the page shows how
        lifecycle.cancel(item.batch)
    if not htmx_of(request):
        return redirect("batches:single_image", slug, uid)
    return _changed(request, tool, _item_or_404(request, tool, uid))


@require_POST
@signed_in
def delete(request: HttpRequest, slug: str, uid: UUID) -> HttpResponseBase:
    """Take an image out of the history, with its files. `here`: the image that is being shown."""
    tool = tool_or_404(request, slug)
    item = _item_or_404(request, tool, uid)
    try:
        lifecycle.delete(item.batch)
    except lifecycle.StateConflict as conflict:
        messages.error(request, conflict.detail)
    here = request.POST.get("here", "")
    shown = here and here != str(uid)
    if htmx_of(request) and (shown or not here):
        context = {"tool": tool, "history": _history(request, tool), "here_uid": here}
        return TemplateResponse(request, "batches/_single_history.html", context | {"alone": True})
    back = reverse("batches:single", args=[slug])
    if shown and (other := _items(request, tool).filter(uid=here).first()):
        back = reverse("batches:single_image", args=[slug, other.uid])
    return HttpResponseClientRedirect(back) if htmx_of(request) else redirect(back)


@require_POST
@signed_in
def for_batch(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Put the settings as they stand in the form on the *Batch* tab; its images stay."""
    tool = tool_or_404(request, slug)
    owner = user_of(request)
    typed = {name: request.POST.getlist(name) for name in map(str, tool.Settings().fields)}
    drafts.save_fields(owner, slug, drafts.contents(owner, slug).fields | typed)
    return redirect("batches:new", slug)


# --- What the page shows --------------------------------------------------------------


def _items(request: HttpRequest, tool: Tool) -> Any:
    """One's own single images of this tool."""
    own = Item.objects.visible_to(user_of(request))
    return own.filter(batch__single=True, batch__tool=tool.slug)


def _item_or_404(request: HttpRequest, tool: Tool, uid: UUID) -> Item:
    own = _items(request, tool).select_related("batch__owner", "original")
    found: Item = get_object_or_404(own, uid=uid)
    return found


def _history(request: HttpRequest, tool: Tool) -> Sequence[Item]:
    """The last few, newest first, in two queries."""
    if not request.user.is_authenticated:
        return []
    newest = _items(request, tool).order_by("-batch__created_at", "-pk")
    recent = newest.select_related("batch", "original").prefetch_related("results")
    return list(recent[:RECENT])


def _seen(item: Item) -> str:
    """Differs whenever the stage looks different."""
    waits = "stalled" if stalled.is_stalled(item) else item.state
    return f"{waits}.{item.attempt}.{item.batch.state}"


def _changed(request: HttpRequest, tool: Tool, item: Item) -> TemplateResponse:
    """The parts of the page that show the item, each to its own place."""
    context = _look(request, tool, item) | {
        "history": _history(request, tool) if item.state in ENDED else None,
        "balance": ledger.balance(user_of(request)),
    }
    return TemplateResponse(request, "batches/_single_poll.html", context)


def _look(request: HttpRequest, tool: Tool, item: Item) -> dict[str, Any]:
    """An image as the page and its polls show it."""
    results = list(item.results.order_by("position")) if item.state == ItemState.DONE else []
    poll_url = reverse("batches:single_poll", args=[tool.slug, item.uid])
    return {
        "tool": tool,
        "item": item,
        **looked_at(request, item, results),
        "live": item.state not in ENDED,
        "words": _words(item),
        # Of another run: it would be a batch of its own, at today's price.
        "price": tool.max_price(item.settings),
        "poll_url": f"{poll_url}?seen={_seen(item)}",
        "here_uid": str(item.uid),
    }


def _words(item: Item) -> str:
    """How far it is, in words that claim no more than is known."""
    if item.batch.state == BatchState.PAUSED and item.state != ItemState.RUNNING:
        return _("Paused")
    match item.state:
        case ItemState.QUEUED | ItemState.PENDING:
            return _("Waiting for its turn")
        case ItemState.FETCHING:
            return _("Fetching the image")
        case ItemState.FETCHED if stalled.is_stalled(item):
            return _("No worker that can run this is connected. It waits for one.")
        case ItemState.FETCHED:
            return _("Waiting for a free engine")
    return str(ItemState(item.state).label)


def _page(
    request: HttpRequest,
    tool: Tool,
    form: OneImageForm,
    *,
    item: Item | None = None,
    shown: ToolSettings | None = None,
    short: ledger.InsufficientCredits | None = None,
    status: int = 200,
) -> TemplateResponse:
    form.is_valid()
    again = form.cleaned_data.get("again")
    if item is None and again and request.user.is_authenticated:
        # What stood on the stage stays there while somebody mends the form.
        found = _items(request, tool).filter(uid=again)
        item = found.select_related("batch__owner", "original").first()
    shown = shown or _settings_form(request, tool, item)
    price = _price(tool, shown)
    context = {
        "here": "tools",
        "tool": tool,
        "form": form,
        "original": _original(request, form),
        "settings_form": shown,
        "short": short,
        "history": _history(request, tool),
        "card": card_of(tool),
        "unavailable": abilities.unavailable_reason(tool),
        "usual_price": tool.max_price(tool.defaults()),
        "price_from": tool.lowest_price(),
        "shown_percent": pricing.percent_of(tool),
        "price_rules": json.dumps(tool.price_rules()),
        "max_bytes": settings.IMAGE_MAX_BYTES,
        "max_megabytes": settings.IMAGE_MAX_BYTES // 2**20,
    }
    if item is not None:
        context |= _look(request, tool, item)
    context["price"] = price
    return TemplateResponse(request, "batches/single.html", context, status=status)


def _original(request: HttpRequest, form: OneImageForm) -> Original | None:
    """The file that is here already and waits for the button."""
    uid = form.cleaned_data.get("upload")
    if not uid or not request.user.is_authenticated:
        return None
    return Original.objects.visible_to(user_of(request)).filter(uid=uid).first()


def _settings_form(request: HttpRequest, tool: Tool, item: Item | None) -> ToolSettings:
    """Settings as they were sent; else those of the image, or the tool's defaults."""
    given = request.POST if request.method == "POST" else request.GET
    if not any(name in given for name in tool.Settings().fields):
        if item is None:
            return tool.Settings()
        given = item.settings
    try:
        bound = tool.Settings(data=tool.clean(given))
    except SettingsInvalid as wrong:
        return wrong.bound
    bound.is_valid()
    return bound


def _price(tool: Tool, shown: ToolSettings) -> int:
    """The most that one image costs with what the form shows."""
    if hasattr(shown, "initial_data") and shown.is_valid():
        return tool.max_price(dict(shown.data))
    return tool.max_price(tool.defaults())
