"""The button that starts what is on a tool's page."""

from collections.abc import Sequence
from itertools import islice
from typing import cast
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import TooManyFilesSent
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods
from rest_framework.serializers import ValidationError

from batches import connections, deliveries, drafts, imports, intake, lifecycle
from batches import messages as wording
from batches.forms import NewBatchForm
from batches.models import Batch, Item, Original, Sheet
from batches.sources.base import Row
from batches.states import ItemState
from batches.stores.base import StoreError
from batches.views import connecting, delivering, drafting, sheeting, tool_page
from batches.views.asking import tool_or_404, user_of
from credits import ledger
from tools.base import SettingsInvalid, Tool

PROBLEMS_SHOWN = 5
"""Lines that a message lists; the cards have them all."""
PROBLEMS_LISTED = 100
"""Lines of a page that refuses everything."""


@csrf_exempt  # the second half checks; this one answers what can't be read far enough for that
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, slug: str) -> HttpResponseBase:
    """A tool's page: images, settings, and the button that starts them."""
    tool = tool_or_404(request, slug)
    try:
        request.FILES  # noqa: B018 - read here, where too many files still get the form
    except TooManyFilesSent:
        error = _(
            "Without JavaScript {limit} files can be sent at once. Send fewer, or switch "
            "JavaScript on."
        ).format(limit=settings.DATA_UPLOAD_MAX_NUMBER_FILES)
        return tool_page.as_left(request, tool, error=error, status=413)
    return _new(request, tool)


@csrf_protect
def _new(request: HttpRequest, tool: Tool) -> HttpResponseBase:
    if request.method != "POST":
        return tool_page.as_left(request, tool)
    form = NewBatchForm(request.POST)
    if not request.user.is_authenticated:
        return _after_signing_in(request, tool)
    if not form.is_valid():
        return tool_page.with_problems(request, tool, form, status=422)
    if "sheet_file" in request.FILES:  # without a script it comes with the form: to be seen first
        errors, _share_with = sheeting.act(request, tool)
        error = errors[0] if errors else _("Look at what the sheet's columns are, then start.")
        return tool_page.as_left(request, tool, error=error, status=422)
    if not {"uploads", "refused"} & set(request.POST):
        form.put(drafts.contents(user_of(request), tool.slug))
    if turned_away := form.take_in(user_of(request), request.FILES.getlist("files")):
        drafts.add(user_of(request), tool.slug, turned_away)
    return _create(request, tool, form)


def _after_signing_in(request: HttpRequest, tool: Tool) -> HttpResponseBase:
    """Lead a stranger through sign-in back to what was typed."""
    if not drafting.remember(request, tool):
        error = _("This is more text than can be kept here. Sign in first.")
        return tool_page.as_left(request, tool, error=error, status=413)
    return redirect_to_login(request.get_full_path())


def _create(request: HttpRequest, tool: Tool, form: NewBatchForm) -> HttpResponseBase:
    """Make the batch and start it, or show the form again with what is in the way."""
    try:
        batch, problems = _started(request, tool, form)
    except tool_page.TooMany as over:
        form.add_error(None, over.question)
        return tool_page.with_problems(request, tool, form, over=over, status=422)
    except SettingsInvalid as invalid:
        form.add_error(None, _("A setting needs another value. It is marked below."))
        for error in invalid.errors:
            if not error.field:
                form.add_error(None, error.detail)
        return tool_page.with_problems(request, tool, form, invalid=invalid, status=422)
    except NothingUsable as unusable:
        form.add_error(None, _("None of these images can be used."))
        for problem in unusable.problems[:PROBLEMS_LISTED]:
            form.add_error(None, problem)
        return tool_page.with_problems(request, tool, form, status=422)
    except ledger.InsufficientCredits as short:
        return tool_page.with_problems(request, tool, form, short=short, status=402)
    except (lifecycle.Refused, intake.RowsInvalid) as refused:
        _mark(form, refused)
        return tool_page.with_problems(request, tool, form, status=422)
    _tell_what_was_left_out(request, form, problems)
    return redirect(batch)


def _started(request: HttpRequest, tool: Tool, form: NewBatchForm) -> tuple[Batch, Sequence[str]]:
    """The batch that the form starts, and what is wrong with some of its images."""
    _lay_connected(request, form)
    try:
        _lay_sheet(request, tool, form)
        if form.is_long:
            return _import(request, tool, form), []
    except sheeting.UNREADABLE as error:
        raise lifecycle.Refused(sheeting.in_words(error)) from error
    rows = _chosen(form, limit=tool_page.limit_of(request))
    return _once(request, tool, form, rows)


def _lay_sheet(request: HttpRequest, tool: Tool, form: NewBatchForm) -> None:
    """Let the rows of the page's sheet join the other images.

    Raises `lifecycle.Refused` where somebody has to say first what becomes of bad rows, and
    `TableError`.
    """
    sheet = sheeting.of(request, request.POST)
    if sheet is None:
        return
    sheeting.settle(request, tool, sheet)
    after = form.cleaned_data["sheet_after"] or 0
    if not form.cleaned_data["sheet_skip"]:
        settings = tool.clean(request.POST)
        if wrong := imports.check(sheet, tool, settings=settings, after=after).wrong:
            text = ngettext(
                "{n} row of the sheet has a problem. Mend it in the file and choose that again, "
                "or skip the row.",
                "{n} rows of the sheet have problems. Mend them in the file and choose that "
                "again, or skip these rows.",
                wrong,
            )
            raise lifecycle.Refused(text.format(n=wrong))
    rows = imports.to_run(sheet, tool, after=after)
    form.lay(sheet, islice(rows, imports.AT_ONCE + 1))


def _import(request: HttpRequest, tool: Tool, form: NewBatchForm) -> Batch:
    """A batch of more rows than can be taken in while somebody waits.

    Raises `tool_page.TooMany` and what `imports.begin` raises.
    """
    sheet = cast("Sheet", form.sheet)
    first = [row for row in form.rows() if not row.fields]
    after = form.cleaned_data["sheet_after"] or 0
    lines = [row.line or 0 for row in imports.to_run(sheet, tool, after=after)]
    count, limit = len(first) + len(lines), tool_page.limit_of(request)
    take = min(form.cleaned_data["take"] or count, count)
    if take > limit:
        raise tool_page.TooMany(count, limit)
    uid = form.cleaned_data["form_uid"] or uuid4()
    own = Batch.objects.visible_to(user_of(request))
    if earlier := own.filter(uid=uid, sheet=sheet).first():
        return earlier
    with transaction.atomic():
        batch = imports.begin(
            user_of(request),
            tool,
            sheet,
            settings=tool.clean(request.POST),
            name=form.cleaned_data["batch_name"],
            sample=form.cleaned_data["sample"] or 0,
            skip_invalid=form.cleaned_data["sheet_skip"],
            reuse=not form.cleaned_data["anew"],
            pattern=form.cleaned_data["name_pattern"],
            start=True,
            first=first[:take],
            take=take,
            after=after,
            uid=uid,
            shown_percent=form.cleaned_data["shown_percent"],
        )
        _have_delivered(batch, form)
        _empty_page(request, tool, form, first[:take], line=_last_line(lines, take - len(first)))
    return batch


def _last_line(lines: Sequence[int], taken: int) -> int | None:
    """Down to which row of the sheet the first `taken` are; 0: all, None: there are none."""
    if taken <= 0:
        return None
    return lines[taken - 1] if taken < len(lines) else 0


def _mark(form: NewBatchForm, refused: lifecycle.Refused | intake.RowsInvalid) -> None:
    """Say what was refused, and where in the form it is."""
    match refused:
        case lifecycle.PatternRefused():
            form.add_error(None, _("The names of the results need another pattern."))
            form.add_error("name_pattern", refused.detail)
        case intake.RowsInvalid():  # all else that is wrong with single rows is skipped
            form.add_error(None, _("Some results would have the same name. Nothing was started."))
            for problem in refused.errors[:PROBLEMS_SHOWN]:
                form.add_error("name_pattern", problem.detail)
        case _:
            form.add_error(None, refused.detail)


def _lay_connected(request: HttpRequest, form: NewBatchForm) -> None:
    """Let what was chosen in connected accounts join the other images, as it lies there now.

    Raises `lifecycle.Refused` when an account can't be asked.
    """
    if not (picks := form.picks()):
        return
    found = connections.rows(user_of(request), picks)
    try:
        form.connect(islice(found, connecting.MOST_COUNTED))
    except StoreError as error:
        raise lifecycle.Refused(wording.text(error.code, error.params)) from error


def _chosen(form: NewBatchForm, *, limit: int) -> list[Row]:
    """The rows to start, in their order: all, or the first images that were asked for.

    Raises `TooMany` where somebody has to say which. Refused files come along as far as there
    is room, but not with a part of the page: they wait there for the rest.
    """
    rows = form.rows()
    images = [row for row in rows if not row.refusal]
    take = form.cleaned_data["take"] or len(images)
    if min(take, len(images)) > limit:
        raise tool_page.TooMany(len(images), limit)
    if take < len(images):
        return images[:take]
    refused = [row for row in rows if row.refusal][: limit - len(images)]
    chosen = {id(row) for row in [*images, *refused]}
    if not chosen:
        raise lifecycle.Refused(_("Choose at least one image, or paste an address."))
    return [row for row in rows if id(row) in chosen]


def _once(
    request: HttpRequest, tool: Tool, form: NewBatchForm, rows: Sequence[Row]
) -> tuple[Batch, list[str]]:
    """The batch that this form starts, and what is wrong with some of its images.

    The form's own id becomes the batch's: of two that are sent at once, one makes the batch and
    the other finds it. A form that is sent again with other images or settings is a new one.
    """
    uid = form.cleaned_data["form_uid"] or uuid4()
    if earlier := _same_start(request, tool, uid, rows):
        return earlier, []
    try:
        return _make_and_start(request, tool, form, rows, uid=uid)
    except IntegrityError:
        if not Batch.objects.filter(uid=uid).exists():
            raise
    if earlier := _same_start(request, tool, uid, rows):
        return earlier, []
    return _make_and_start(request, tool, form, rows, uid=uuid4())


def _same_start(request: HttpRequest, tool: Tool, uid: UUID, rows: Sequence[Row]) -> Batch | None:
    """The batch that has been made of this very form, if there is one."""
    batch = Batch.objects.visible_to(user_of(request)).filter(uid=uid, tool=tool.slug).first()
    if batch is None or batch.settings != tool.clean(request.POST):
        return None
    items = batch.items.select_related("original").order_by("position")
    started = [
        item.line or (str(item.original.uid) if item.original else item.source_url)
        for item in items
    ]
    wanted = [row.line if row.fields else row.upload or row.url for row in rows]
    return batch if started == wanted else None


def _make_and_start(
    request: HttpRequest, tool: Tool, form: NewBatchForm, rows: Sequence[Row], *, uid: UUID
) -> tuple[Batch, list[str]]:
    """A running batch and what is wrong with some of its images; both or neither.

    Raises `NothingUsable` and whatever `lifecycle.create` and `lifecycle.start` raise.
    """
    with transaction.atomic():
        batch = lifecycle.create(
            user_of(request),
            tool,
            rows,
            uid=uid,
            settings=tool.clean(request.POST),
            name=form.cleaned_data["batch_name"],
            reuse=not form.cleaned_data["anew"],
            pattern=form.cleaned_data["name_pattern"],
            skip_invalid=True,
            refuse_clashes=not form.cleaned_data["sheet_skip"],
            sheet=form.sheet if any(row.fields for row in rows) else None,
            shown_percent=form.cleaned_data["shown_percent"],
        )
        problems = [
            _problem(item, rows[item.position])
            for item in batch.items.filter(state=ItemState.FAILED).order_by("position")
        ]
        if len(problems) == len(rows):
            raise NothingUsable(problems)
        _have_delivered(batch, form)
        batch = lifecycle.start(batch, sample=form.cleaned_data["sample"] or 0)
        _empty_page(request, tool, form, rows)
    return batch, problems


def _have_delivered(batch: Batch, form: NewBatchForm) -> None:
    """Send the results on as the form says. Raises `lifecycle.Refused` where it can't be done."""
    if not form.cleaned_data["deliver_to"]:
        return
    try:
        wish = delivering.asked(batch.owner, form.cleaned_data, prefix="deliver_")
        deliveries.ask(batch, **wish, follows=True)
    except ValidationError as invalid:
        raise lifecycle.Refused(" ".join(delivering.problems(invalid))) from None


def _empty_page(
    request: HttpRequest,
    tool: Tool,
    form: NewBatchForm,
    rows: Sequence[Row],
    *,
    line: int | None = None,
) -> None:
    """Take what has been started off the page; what came with the form and hasn't, stays.

    `line` says for a sheet whose rows are not all among `rows` how far it has been started.
    """
    owner, started = user_of(request), form.started(rows, line=line)
    waiting = set(form.cleaned_data["uploads"]) - set(started.uploads)
    if waiting:
        drafts.add(owner, tool.slug, Original.objects.visible_to(owner).filter(uid__in=waiting))
    drafts.take_out(owner, tool.slug, started, drafting.typed(request, tool))


class NothingUsable(Exception):
    """Every image has something wrong with it: there is nothing to start."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("no usable image")
        self.problems = list(problems)


def _problem(item: Item, row: Row) -> str:
    """What is wrong with an image, and where it was given."""
    if row.line is None:
        return f"{item.name}: {item.error}"
    place = _("Row {line}: {problem}") if row.fields else _("Line {line}: {problem}")
    return place.format(line=row.line, problem=item.error)


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
