"""A tool's page: images, settings, and the button that starts them."""

import json
from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import TooManyFilesSent
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from accounts import plans
from batches import lifecycle
from batches.forms import NewBatchForm
from batches.models import Batch, Item, Original
from batches.refusals import Refusal
from batches.sources.base import Row
from batches.states import ItemState
from batches.views.asking import tool_or_404, user_of
from credits import ledger
from tools.base import SettingsInvalid, Tool, ToolSettings

PROBLEMS_SHOWN = 5
"""Lines that a message lists; the cards have them all."""
PROBLEMS_LISTED = 100
"""Lines of a page that refuses everything."""
SAMPLE = 3
"""Images of "run a few first"."""


@csrf_exempt  # the second half checks; this one answers what can't be read far enough for that
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, slug: str) -> HttpResponseBase:
    """A tool's page: images, settings, and the button that starts them."""
    tool = tool_or_404(slug)
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
    form.take(user_of(request), request.FILES.getlist("files"))
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
        for problem in unusable.problems[:PROBLEMS_LISTED]:
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
            user_of(request),
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
        found = Original.objects.visible_to(user_of(request)).in_bulk(uploads, field_name="uid")
        originals = [found[uid] for uid in map(UUID, uploads) if uid in found]
    limit = plans.STANDARD.batch_images
    if request.user.is_authenticated:
        limit = plans.plan_for(user_of(request)).batch_images
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
