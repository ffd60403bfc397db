"""A sheet on a tool's page: chosen, looked at, its columns settled, its rows judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib import messages as told
from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from batches import drafts, google, imports, messages, sheets
from batches.models import Sheet, SheetKind
from batches.sources import columns, mapping
from batches.sources.tables import TableError
from batches.views import drafting
from batches.views.asking import htmx_of, signed_in, tool_or_404, user_of, whole_number
from tools.base import SettingsInvalid, Tool

SHOWN_AT_ONCE = 256 * 1024
"""Bytes of a sheet that a page reads while it is made; longer ones are asked for by the page."""
PROBLEMS_SHOWN = 20
UNREADABLE = (TableError, google.SheetError, FileNotFoundError)
"""What reading a sheet raises; the last where its file is gone."""


@dataclass(frozen=True)
class Column:
    """A column, and what it is taken for."""

    place: int
    name: str
    what: str
    is_ours: bool


@dataclass
class Panel:
    """What the page shows of its sheet; without one it asks for one."""

    sheet: Sheet | None = None
    seen: sheets.Seen | None = None
    targets: list[tuple[str, str]] = field(default_factory=list)
    """What a column may be: value and label."""
    settings: list[tuple[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    share_with: str = ""
    """Whom a Google Sheet that we may not read is to be shared with."""
    link: str = ""
    checked: imports.Checked | None = None
    after: int = 0
    """The rows down to this one have been started already."""
    skip: bool = False
    is_later: bool = False
    """Whether the page has yet to ask for what is in it."""
    prices_differ: bool = False

    @property
    def columns(self) -> list[Column]:
        """The columns as they stand, in their order."""
        if self.sheet is None:
            return []
        what = self.sheet.mapping
        return [
            Column(n, name, what.get(name, mapping.IGNORE), columns.is_ours(name))
            for n, name in enumerate(self.sheet.columns)
        ]

    @property
    def unused(self) -> list[str]:
        """Names of the columns that nothing is made of."""
        return [column.name for column in self.columns if column.what == mapping.IGNORE]

    @property
    def lines(self) -> list[tuple[int, list[str]]]:
        """The first rows, each as wide as the table."""
        if self.seen is None:
            return []
        width = len(self.columns)
        return [(row.line, (row.cells + [""] * width)[:width]) for row in self.seen.rows]

    @property
    def notes(self) -> list[str]:
        """What people should know of the table."""
        notes = self.seen.table.notes if self.seen else []
        return [messages.text(note.code, note.params) for note in notes]

    @property
    def problems(self) -> list[imports.Problem]:
        """The first problems of rows."""
        return self.checked.problems[:PROBLEMS_SHOWN] if self.checked else []

    @property
    def more_problems(self) -> int:
        """Rows with problems that are not listed."""
        listed = len({problem.line for problem in self.problems})
        return self.checked.wrong - listed if self.checked else 0


@require_GET
@signed_in
def shown(request: HttpRequest, slug: str) -> HttpResponseBase:
    """What is in the sheet that lies on the page. Without htmx: the page itself, with all of it."""
    tool = tool_or_404(request, slug)
    if not htmx_of(request):
        return redirect(_page(tool))
    found = drafting.contents(request, tool)
    return _partial(request, tool, panel(request, tool, found.fields, at_once=True))


@require_POST
@signed_in
def change(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Put a sheet on the page, say what its columns are, or take it off."""
    tool = tool_or_404(request, slug)
    errors, share_with = act(request, tool)
    if not htmx_of(request):
        for error in errors:
            told.error(request, f"{error} {share_with}".strip())
        return redirect(_page(tool))
    found = drafting.contents(request, tool)
    shown_ = panel(request, tool, found.fields, at_once=True)
    shown_.errors = [*errors, *shown_.errors]
    shown_.share_with = shown_.share_with or share_with
    shown_.link = request.POST.get("sheet_link", "") if errors else ""
    return _partial(request, tool, shown_)


def act(request: HttpRequest, tool: Tool) -> tuple[list[str], str]:
    """Do what the form says about its sheet: what went wrong, and whom to share a sheet with."""
    owner = user_of(request)
    what = request.POST.get("sheet_do", "")
    before = of(request, request.POST)
    errors: list[str] = []
    share_with = ""
    try:
        if file := request.FILES.get("sheet_file"):
            _put(request, tool, sheets.keep(owner, file, file.name or ""), before)
        elif what == "remove":
            _put(request, tool, None, before)
        elif what == "again" and before and before.kind == SheetKind.GOOGLE:
            _put(request, tool, sheets.keep_google(owner, before.address), before)
        elif link := request.POST.get("sheet_link", "").strip():
            _put(request, tool, sheets.keep_google(owner, link), before)
        elif before:
            settle(request, tool, before)
            drafting.remember(request, tool)
    except UNREADABLE as error:
        errors.append(in_words(error))
        share_with = _share_with(error)
    return errors, share_with


def of(request: HttpRequest, fields: Mapping[str, Any]) -> Sheet | None:
    """The own sheet that a form or a draft names, if it is still there."""
    named = fields.get("sheet", "")
    named = named[-1] if isinstance(named, list) and named else named
    try:
        uid = UUID(str(named))
    except ValueError:
        return None
    if not request.user.is_authenticated:
        return None
    return Sheet.objects.visible_to(user_of(request)).filter(uid=uid).first()


def settle(request: HttpRequest, tool: Tool, sheet: Sheet) -> None:
    """Take over which tab is meant and what its columns are, as the form has it.

    Raises `TableError` or `google.SheetError` for another tab that can't be read.
    """
    tab = request.POST.get("sheet_tab", "")
    if tab and tab != sheet.tab:
        sheets.look(sheet, tool, tab=tab)
        return
    allowed = {value for value, _label in [*_targets(), *_settings(tool)]}
    chosen = {
        name: value
        for place, name in enumerate(sheet.columns)
        if (value := request.POST.get(f"column-{place}", "")) in allowed
    }
    changed = htmx_of(request).trigger_name or ""
    if changed.startswith("column-"):
        # One column for each: the one that was chosen just now takes it over.
        latest = int(changed.removeprefix("column-") or 0)
        taken = request.POST.get(changed, "")
        for place, name in enumerate(sheet.columns):
            if place != latest and chosen.get(name) == taken:
                chosen[name] = mapping.IGNORE
    if chosen and chosen != sheet.mapping:
        sheet.mapping = {**sheet.mapping, **chosen}
        sheet.save(update_fields=["mapping", "updated_at"])


def panel(
    request: HttpRequest, tool: Tool, fields: Mapping[str, Any], *, at_once: bool = False
) -> Panel:
    """What the page shows of the sheet that a form or a draft names."""
    sheet = of(request, fields)
    found = Panel(sheet=sheet, targets=_targets(), settings=_settings(tool))
    if sheet is None:
        return found
    found.after = whole_number(_last(fields, "sheet_after") or "0")
    found.skip = bool(_last(fields, "sheet_skip"))
    if not at_once and sheet.bytes > SHOWN_AT_ONCE and "sheet" not in request.GET:
        found.is_later = True
        return found
    try:
        found.seen = sheets.look(sheet, tool)
        wrong = mapping.check(sheet.mapping, found.seen.table, tool)
        found.errors += [_in_words(one) for one in wrong]
        if not wrong:
            given = settings_of(tool, fields)
            found.checked = imports.check(sheet, tool, settings=given, after=found.after)
    except UNREADABLE as error:
        found.errors.append(in_words(error))
    own = set(tool.Settings().fields)
    found.prices_differ = bool(own & set(sheet.mapping.values()))
    return found


def settings_of(tool: Tool, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The tool's settings as they are typed, or its defaults while they make no sense."""
    if isinstance(fields, QueryDict):
        form = fields
    else:
        form = QueryDict(mutable=True)
        for name, values in fields.items():
            form.setlist(name, list(values))
    if not set(tool.Settings().fields) & set(form):
        return tool.defaults()
    try:
        return tool.clean(form)
    except SettingsInvalid:
        return tool.defaults()


def _put(request: HttpRequest, tool: Tool, sheet: Sheet | None, before: Sheet | None) -> None:
    """Let another sheet, or none, lie on the page; what nothing else has of the old one goes."""
    owner = user_of(request)
    if sheet is not None:
        try:
            sheets.look(sheet, tool)
        except TableError:
            sheets.forget_unused(sheet)
            raise
    fields = drafting.typed(request, tool)
    fields.pop("sheet_skip", None)
    drafts.save_fields(owner, tool.slug, fields)
    drafts.place(owner, tool.slug, {"sheet": [str(sheet.uid)] if sheet else [], "sheet_after": []})
    if before is not None:
        sheets.forget_unused(before)


def _partial(request: HttpRequest, tool: Tool, shown_: Panel) -> TemplateResponse:
    context = {"tool": tool, "panel": shown_}
    return TemplateResponse(request, "batches/_sheet.html", context)


def _page(tool: Tool) -> str:
    return reverse("batches:new", args=[tool.slug]) + "?sheet=shown#sheet"


def in_words(error: Exception) -> str:
    """Why a sheet can't be read: one of `UNREADABLE`, for people."""
    if isinstance(error, TableError | google.SheetError):
        return messages.text(error.code, error.params)
    return messages.text("sheet_gone")


def _share_with(error: Exception) -> str:
    """Whom to share the sheet with, where that would help."""
    if not (isinstance(error, google.SheetError) and error.code.startswith("google_not_")):
        return ""
    return google.service_address() or ""


def _last(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if isinstance(value, list):
        value = value[-1] if value else ""
    return str(value)


def _in_words(error: mapping.MappingError) -> str:
    return f"{error.column}: {error.detail}" if error.column else error.detail


def _targets() -> list[tuple[str, str]]:
    return [
        (mapping.IGNORE, _("Not used")),
        (mapping.URL, _("Address of the image")),
        (mapping.NAME, _("Name")),
        (mapping.ID, _("ID or SKU")),
    ]


def _settings(tool: Tool) -> list[tuple[str, str]]:
    return [(str(name), str(field.label)) for name, field in tool.Settings().fields.items()]
