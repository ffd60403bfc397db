"""Pages: a new batch, the list of batches, one batch and its files. One verb per view.

Everything works without JavaScript. With it, files go up one by one, and a batch's page asks
for what has changed while it is live.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from math import ceil
from typing import Any, cast
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import TooManyFilesSent
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Sum
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponseBase,
    JsonResponse,
    QueryDict,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from accounts import plans
from accounts.models import User
from batches import lifecycle, progress, storage
from batches import messages as wording
from batches.exports import archive
from batches.forms import NewBatchForm, Refusal, receive
from batches.models import Batch, Item, Original, Result
from batches.sources.base import Row
from batches.states import BATCH_MOVES, RETRYABLE, BatchState, ItemState
from credits import ledger
from tools import registry
from tools.base import SettingsInvalid, Tool, ToolSettings

CARDS_PER_PAGE = 100
BATCHES_PER_PAGE = 25
PROBLEMS_SHOWN = 5
"""Lines that a message lists; the cards have them all."""
SAMPLE = 3
"""Images of "run a few first"."""

THUMBNAIL = "image/webp"

View = Callable[..., HttpResponseBase]

REFUSED_WITH = {"file_too_large": 413, "format_unsupported": 415}
"""Statuses of refused uploads; what isn't named is 422."""

WAITING_FOR_A_YES = {BatchState.READY, BatchState.SAMPLED}

SHOWN = {"done": ItemState.DONE, "failed": ItemState.FAILED}
"""What the grid can be narrowed to."""

_LETTERS = dict(zip(ItemState, "pqferdxc", strict=True))
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def signed_in(view: View) -> View:
    """Ask strangers to sign in, and bring them back; also where only a part of a page is asked."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if htmx := _htmx(request):
            back = htmx.current_url_abs_path or reverse("home")
            return HttpResponseClientRedirect(redirect_to_login(back).url)
        return redirect_to_login(request.get_full_path())

    return checked


# --- Start pages ----------------------------------------------------------------------


@require_GET
def home(request: HttpRequest) -> HttpResponseBase:
    """What this is, for strangers; the first tool for everybody else."""
    tools = list(registry.all())
    if request.user.is_authenticated and tools:
        return redirect("batches:new", tools[0].slug)
    return TemplateResponse(request, "studio/home.html", {"tools": tools})


# --- A new batch ----------------------------------------------------------------------


@csrf_exempt  # the second half checks; this one answers what can't be read far enough for that
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, slug: str) -> HttpResponseBase:
    """A tool's page: images, settings, and the button that starts them."""
    tool = _tool(slug)
    try:
        request.FILES  # noqa: B018 - read here, where too many files still get the form
    except TooManyFilesSent:
        form = NewBatchForm({})
        form.add_error(
            None,
            _(
                "Without JavaScript {limit} files can be sent at once. Send fewer, or switch "
                "JavaScript on."
            ).format(limit=settings.DATA_UPLOAD_MAX_NUMBER_FILES),
        )
        return _new_page(request, tool, form, status=413)
    return _new(request, tool)


@csrf_protect
def _new(request: HttpRequest, tool: Tool) -> HttpResponseBase:
    if request.method != "POST":
        return _new_page(request, tool, NewBatchForm())
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    form = NewBatchForm(request.POST)
    if not form.is_valid():
        return _new_page(request, tool, form, status=422)
    form.take(_user(request), request.FILES.getlist("files"))
    return _create(request, tool, form)


def _create(request: HttpRequest, tool: Tool, form: NewBatchForm) -> HttpResponseBase:
    """Make the batch and start it, or show the form again with what is in the way."""
    rows = form.rows()
    if not rows:
        form.add_error(None, _("Choose at least one image, or paste an address."))
        return _new_page(request, tool, form, status=422)
    try:
        batch, problems = _make_and_start(request, tool, form, rows)
    except SettingsInvalid as invalid:
        form.add_error(None, _("A setting needs another value. It is marked below."))
        for error in invalid.errors:
            if not error.field:
                form.add_error(None, error.detail)
        return _new_page(request, tool, form, invalid=invalid, status=422)
    except NothingUsable as unusable:
        form.add_error(None, _("None of these images can be used."))
        for problem in unusable.problems[:CARDS_PER_PAGE]:
            form.add_error(None, problem)
        return _new_page(request, tool, form, status=422)
    except ledger.InsufficientCredits as short:
        return _new_page(request, tool, form, short=short, status=402)
    except lifecycle.Refused as refused:
        form.add_error(None, refused.detail)
        return _new_page(request, tool, form, status=422)
    _tell_what_was_left_out(request, form, problems)
    return redirect(batch)


def _make_and_start(
    request: HttpRequest, tool: Tool, form: NewBatchForm, rows: Sequence[Row]
) -> tuple[Batch, list[str]]:
    """A running batch and what is wrong with some of its images; both or neither.

    Raises `NothingUsable` and whatever `lifecycle.create` and `lifecycle.start` raise.
    """
    with transaction.atomic():
        batch = lifecycle.create(
            _user(request),
            tool,
            rows,
            settings=tool.clean(request.POST),
            name=form.cleaned_data["batch_name"],
            skip_invalid=True,
        )
        problems = [
            _problem(item, rows[item.position].line)
            for item in batch.items.filter(state=ItemState.FAILED).order_by("position")
        ]
        if len(problems) == len(rows):
            raise NothingUsable(problems)
        return lifecycle.start(batch, sample=form.cleaned_data["sample"] or 0), problems


class NothingUsable(Exception):
    """Every image has something wrong with it: there is nothing to start."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("no usable image")
        self.problems = list(problems)


def _problem(item: Item, line: int | None) -> str:
    """What is wrong with an image, and where it was given."""
    if line is None:
        return f"{item.name}: {item.error}"
    return _("Line {line}: {problem}").format(line=line, problem=item.error)


def _tell_what_was_left_out(
    request: HttpRequest, form: NewBatchForm, problems: Sequence[str]
) -> None:
    if form.duplicates:
        text = ngettext(
            "{n} duplicate was left out.", "{n} duplicates were left out.", form.duplicates
        )
        messages.info(request, text.format(n=form.duplicates))
    lines = list(problems[:PROBLEMS_SHOWN])
    more = len(problems) - PROBLEMS_SHOWN
    if more > 0:
        text = ngettext("{n} more image can't be used.", "{n} more images can't be used.", more)
        lines.append(text.format(n=more))
    if lines:
        messages.warning(request, "\n".join(lines))


def _new_page(
    request: HttpRequest,
    tool: Tool,
    form: NewBatchForm,
    *,
    invalid: SettingsInvalid | None = None,
    short: ledger.InsufficientCredits | None = None,
    status: int = 200,
) -> TemplateResponse:
    given = getattr(form, "cleaned_data", {})
    uploads: Sequence[str] = given.get("uploads", [])
    refused: Sequence[Refusal] = given.get("refused", [])
    originals: list[Original] = []
    if request.user.is_authenticated and uploads:
        found = Original.objects.visible_to(_user(request)).in_bulk(uploads, field_name="uid")
        originals = [found[uid] for uid in map(UUID, uploads) if uid in found]
    limit = plans.STANDARD.batch_images
    if request.user.is_authenticated:
        limit = plans.plan_for(_user(request)).batch_images
    price = tool.max_price(tool.defaults())
    context = {
        "here": "tools",
        "tool": tool,
        "form": form,
        "originals": originals,
        "refused": refused,
        "settings_form": _settings_form(request, tool, invalid),
        "short": short,
        "fitting": _fitting(tool, request, short) if short else 0,
        "price": price,
        "price_from": min([price, *(rule["credits"] for rule in tool.price_rules())]),
        "price_rules": json.dumps(tool.price_rules()),
        "unavailable": tool.unavailable_reason(),
        "limit": limit,
        "max_bytes": settings.IMAGE_MAX_BYTES,
        "max_megabytes": settings.IMAGE_MAX_BYTES // 2**20,
        "sample": SAMPLE,
    }
    return TemplateResponse(request, "batches/new.html", context, status=status)


def _fitting(tool: Tool, request: HttpRequest, short: ledger.InsufficientCredits) -> int:
    """How many images the credits that are there would do."""
    price = tool.max_price(tool.clean(request.POST))
    return short.available // price if price else 0


def _settings_form(
    request: HttpRequest, tool: Tool, invalid: SettingsInvalid | None
) -> ToolSettings:
    """The tool's settings as they were sent, or its defaults."""
    if invalid:
        return invalid.bound
    if request.method != "POST" or not request.POST:
        return tool.Settings()
    try:
        bound = tool.Settings(data=tool.clean(request.POST))
    except SettingsInvalid as wrong:
        return wrong.bound
    bound.is_valid()
    return bound


@require_POST
@signed_in
def upload(request: HttpRequest) -> JsonResponse:
    """Take one file in, for the script of the new-batch form."""
    file = request.FILES.get("file")
    if file is None:
        return JsonResponse({"message": _("No file came with the request.")}, status=422)
    taken = receive(_user(request), file)
    if isinstance(taken, Refusal):
        answer = {"refused": taken.token, "message": taken.message}
        return JsonResponse(answer, status=REFUSED_WITH.get(taken.code, 422))
    thumbnail = reverse("batches:upload_thumbnail", args=[taken.uid])
    return JsonResponse({"upload": str(taken.uid), "thumbnail": thumbnail}, status=201)


# --- Batches --------------------------------------------------------------------------


@require_GET
@signed_in
def index(request: HttpRequest) -> TemplateResponse:
    """One's own batches, newest first."""
    own = Batch.objects.visible_to(_user(request)).order_by("-created_at", "-pk")
    page = Paginator(own, BATCHES_PER_PAGE).get_page(request.GET.get("page"))
    now = timezone.now()
    looks = progress.of_many(list(page.object_list), now=None)
    rows = []
    for batch in page.object_list:
        look = looks[batch.pk]
        rows.append(
            {
                "batch": batch,
                "age": _age(batch, now=now),
                "tool": _tool_name(batch),
                "headline": _headline(batch, look),
                "progress": look,
            }
        )
    return TemplateResponse(
        request, "batches/index.html", {"here": "batches", "page": page, "rows": rows}
    )


@require_GET
@signed_in
def detail(request: HttpRequest, uid: UUID) -> TemplateResponse:
    """One batch: how far it is, what it costs, and a card for each image."""
    look = _look(request, _batch(request, uid), request.GET, Seen())
    return TemplateResponse(request, "batches/detail.html", look | {"here": "batches"})


@require_GET
@signed_in
def poll(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """What has changed since the page looked last. Without htmx: the page itself."""
    batch = _batch(request, uid)
    if not _htmx(request):
        return redirect(batch)
    names = ("marks", "controls", "credits", "said")
    seen = Seen(**{name: request.GET.get(name, "") for name in names})
    return TemplateResponse(request, "batches/_poll.html", _look(request, batch, request.GET, seen))


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
    return archive.response(_batch(request, uid))


# --- Files ----------------------------------------------------------------------------


@require_GET
@signed_in
def upload_thumbnail(request: HttpRequest, uid: UUID) -> FileResponse:
    """A small picture of an original."""
    found = get_object_or_404(Original.objects.visible_to(_user(request)), uid=uid)
    return archive.picture_response(
        storage.ORIGINALS, found.thumbnail_key, content_type=THUMBNAIL, name=f"{found.uid}.webp"
    )


@require_GET
@signed_in
def original(request: HttpRequest, uid: UUID) -> FileResponse:
    """An image of a batch as it came in."""
    own = Item.objects.visible_to(_user(request)).filter(original__isnull=False)
    item = get_object_or_404(own.select_related("original"), uid=uid)
    found = cast("Original", item.original)
    return archive.picture_response(
        storage.ORIGINALS, found.key, content_type=found.content_type, name=found.name
    )


@require_GET
@signed_in
def thumbnail(request: HttpRequest, uid: UUID) -> FileResponse:
    """A small picture of an item's first result."""
    found = _result(request, uid)
    if not found.thumbnail_key:
        raise Http404
    return archive.picture_response(
        storage.RESULTS, found.thumbnail_key, content_type=THUMBNAIL, name=f"{uid}.webp"
    )


@require_GET
@signed_in
def result(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """An item's first result, to look at or, with `?download=1`, to keep."""
    wanted = request.GET.get("download", "") not in ("", "0")
    return archive.file_response(_result(request, uid), download=wanted)


def _result(request: HttpRequest, item_uid: UUID) -> Result:
    own = Result.objects.filter(item__batch__owner=_user(request)).select_related("item")
    return get_object_or_404(own, item__uid=item_uid, position=0)


# --- One look at a batch --------------------------------------------------------------


@dataclass(frozen=True)
class Segment:
    """A part of the bar. Each reaches from 0 to `end` percent and lies on the longer ones."""

    name: str
    end: float


@dataclass(frozen=True)
class Seen:
    """What a page that polls shows already; it sends this along and gets what differs."""

    marks: str = ""
    controls: str = ""
    credits: str = ""
    said: str = ""


def _look(request: HttpRequest, batch: Batch, query: QueryDict, seen: Seen) -> dict[str, Any]:
    """What a batch's page and its polls show, in a fixed number of queries.

    `seen.marks` says which state each card of the page shows. So an answer holds the cards
    that have changed and no others, however late a poll or a worker's commit may be; times
    would miss a change that was committed after a look but made before it.
    """
    now = timezone.now()
    counts = progress.of(batch, now=now)
    balance = ledger.balance(_user(request))
    show = query.get("show", "")
    show = show if show in SHOWN else ""
    total = {"done": counts.done, "failed": counts.failed}.get(show, counts.total)
    pages = max(1, ceil(total / CARDS_PER_PAGE))
    number = min(max(1, _int(query.get("page"))), pages)
    items = batch.items.filter(state=SHOWN[show]) if show else batch.items.all()
    first = (number - 1) * CARDS_PER_PAGE
    states = list(
        items.order_by("position").values_list("pk", "state", "attempt")[
            first : first + CARDS_PER_PAGE
        ]
    )
    marks = batch.state + "." + "".join(_mark(state, n) for _pk, state, n in states)
    if show or _head(seen.marks) != batch.state:
        # Another state may mean other buttons, and a filter other cards.
        changed = [] if marks == seen.marks else [pk for pk, *_rest in states]
    else:
        before = dict(enumerate(_pairs(seen.marks)))
        changed = [
            pk
            for n, (pk, state, attempt) in enumerate(states)
            if before.get(n) != _mark(state, attempt)
        ]
    retryable = _retryable(batch) if counts.failed else 0
    # While it runs the steps name no figures, so that they stay as they are under the mouse.
    shown = bool(retryable) if counts.live else retryable
    controls = f"{batch.state}.{int(shown)}.{int(counts.done > 0)}"
    said = f"{counts.finished * 4 // (counts.total or 1)}{'f' * bool(counts.failed)}"
    place = {
        key: value for key, value in (("show", show), ("page", number)) if value not in ("", 1)
    }
    now_seen = {"marks": marks, "controls": controls, "credits": balance.available, "said": said}
    url = reverse("batches:poll", args=[batch.uid])
    return {
        "batch": batch,
        "tool_name": _tool_name(batch),
        "settings_used": _settings_used(batch),
        "progress": counts,
        "segments": _segments(counts),
        "headline": _headline(batch, counts),
        "time_left": _time_left(counts.eta_seconds),
        "age": _age(batch, now=now),
        "took": _took(batch),
        "credits": balance,
        "may_retry": batch.state in RETRYABLE,
        "retryable": retryable,
        "all_failed": batch.state == BatchState.FINISHED and not counts.done,
        "may_cancel": BatchState.CANCELLING in BATCH_MOVES[BatchState(batch.state)],
        "rest_credits": _rest_credits(batch) if counts.state in WAITING_FOR_A_YES else 0,
        "cards": _cards(changed),
        "whole_grid": bool(show) and marks != seen.marks,
        "show": show,
        "page_number": number,
        "pages": range(1, pages + 1),
        "place": urlencode(place),
        "poll_url": f"{url}?{urlencode(place | now_seen)}",
        "controls_changed": seen.controls != controls,
        "balance_changed": seen.credits != str(balance.available),
        "announcement": _announcement(counts, seen.said, said),
    }


def _mark(state: str, attempt: int) -> str:
    """Two characters that differ whenever a card looks different."""
    return _LETTERS[ItemState(state)] + _DIGITS[attempt % len(_DIGITS)]


def _head(marks: str) -> str:
    return marks.partition(".")[0]


def _pairs(marks: str) -> list[str]:
    cards = marks.partition(".")[2]
    return [cards[n : n + 2] for n in range(0, len(cards), 2)]


def _cards(ids: Sequence[int]) -> list[Item]:
    if not ids:
        return []
    found = Item.objects.filter(pk__in=ids).select_related("original").order_by("position")
    return list(found.prefetch_related("results"))


def _retryable(batch: Batch) -> int:
    """Failed items that have something to be run on; a file that was turned away was not kept."""
    failed = batch.items.filter(state=ItemState.FAILED)
    return failed.exclude(source_url="", original=None).count()


def _rest_credits(batch: Batch) -> int:
    """What the items cost at most that wait for somebody to start or approve them."""
    waiting = batch.items.filter(state=ItemState.PENDING)
    return waiting.aggregate(n=Sum("held_price"))["n"] or 0


def _segments(counts: progress.Progress) -> list[Segment]:
    """The bar, longest part first, so that each covers the end of the one before."""
    good = counts.done - counts.needs_review
    parts = [
        ("done", good),
        ("review", counts.needs_review),
        ("failed", counts.failed),
        ("cancelled", counts.cancelled),
        ("processing", counts.processing),
    ]
    segments, so_far = [], 0
    for name, n in parts:
        so_far += n
        segments.append(Segment(name, round(100 * so_far / (counts.total or 1), 2)))
    return segments[::-1]


def _headline(batch: Batch, counts: progress.Progress) -> str:
    """The state of a batch in words; how it ended is read from the counts."""
    if batch.state != BatchState.FINISHED:
        return str(BatchState(batch.state).label)
    if not counts.failed:
        return _("Finished")
    return _("Finished with problems") if counts.done else _("All failed")


def _time_left(seconds: tuple[int, int] | None) -> str:
    if seconds is None:
        return ""
    low, high = seconds
    if high < 100:  # in steps of five seconds: figures that dance are read by nobody
        low, high = max(5, low // 5 * 5), ceil(high / 5) * 5
        about = (low + high) // 10 * 5
        return _("about {n} s left ({low} to {high})").format(n=about, low=low, high=high)
    low, high = max(1, low // 60), ceil(high / 60)
    about = (low + high + 1) // 2
    return _("about {n} min left ({low} to {high})").format(n=about, low=low, high=high)


def _age(batch: Batch, *, now: datetime) -> str:
    if now - batch.created_at < timedelta(minutes=1):
        return _("just now")
    return _("{age} ago").format(age=timesince(batch.created_at, now, depth=1))


def _took(batch: Batch) -> str:
    if batch.started_at is None or batch.finished_at is None:
        return ""
    minutes, seconds = divmod(
        max(1, round((batch.finished_at - batch.started_at).total_seconds())), 60
    )
    if not minutes:
        return _("{seconds} s").format(seconds=seconds)
    return _("{minutes} min {seconds} s").format(minutes=minutes, seconds=seconds)


def _announcement(counts: progress.Progress, before: str, now: str) -> str:
    """What screen readers are told: quarters and the first failure, never each image."""
    if not before or before == now:
        return ""
    told = []
    if now[:1] != before[:1]:
        text = _("{finished} of {total} finished.")
        told.append(text.format(finished=counts.finished, total=counts.total))
    if now.endswith("f") and not before.endswith("f"):
        text = ngettext("{n} image failed.", "{n} images failed.", counts.failed)
        told.append(text.format(n=counts.failed))
    return " ".join(told)


def _settings_used(batch: Batch) -> list[tuple[str, str]]:
    """Label and value of each setting; as they were stored when the tool is gone."""
    try:
        fields = registry.get(batch.tool).Settings().fields
    except registry.UnknownTool:
        return [(name, str(value)) for name, value in batch.settings.items()]
    shown = []
    for name, value in batch.settings.items():
        if value is None or name not in fields:
            continue
        choices = getattr(fields[name], "choices", {})
        shown.append((str(fields[name].label), str(choices.get(value, value))))
    return shown


def _act(request: HttpRequest, uid: UUID, verb: Callable[[Batch], Batch]) -> HttpResponseBase:
    """Carry out one verb on one's own batch, and show what came of it."""
    batch = _batch(request, uid)
    try:
        batch = verb(batch)
    except lifecycle.Refused as refused:
        messages.error(request, refused.detail)
    except ledger.InsufficientCredits as short:
        messages.error(request, wording.text(short.code, short.params))
    htmx = _htmx(request)
    if not htmx:
        return redirect(batch)
    place = QueryDict(urlsplit(htmx.current_url or "").query)
    batch = _batch(request, uid)
    return TemplateResponse(request, "batches/_poll.html", _look(request, batch, place, Seen()))


# --- Small things ---------------------------------------------------------------------


def _htmx(request: HttpRequest) -> HtmxDetails:
    """What htmx says about its request; false when it made none."""
    details: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    return details


def _user(request: HttpRequest) -> User:
    """Whoever is signed in; only for views that strangers can't reach."""
    return cast("User", request.user)


def _tool(slug: str) -> Tool:
    try:
        return registry.get(slug)
    except registry.UnknownTool:
        raise Http404 from None


def _tool_name(batch: Batch) -> str:
    try:
        return str(registry.get(batch.tool).name)
    except registry.UnknownTool:
        return batch.tool


def _batch(request: HttpRequest, uid: UUID) -> Batch:
    return get_object_or_404(Batch.objects.visible_to(_user(request)), uid=uid)


def _int(text: str | None) -> int:
    try:
        return int(text or 1)
    except ValueError:
        return 1
