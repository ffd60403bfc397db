"""Schedules: what is run again and again, when it comes next, and what has become of it."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from batches import clock, recurring, recurring_runs, timetable
from batches.models import Batch, Recurring, SourceKind
from batches.recurring_forms import ScheduleForm, TimesForm
from batches.recurring_words import Shown
from batches.views import delivering
from batches.views.asking import htmx_of, signed_in, tool_or_404, user_of, whole_number
from tools import registry
from tools.base import SettingsInvalid, Tool, ToolSettings

RUNS_PER_PAGE = 50
FIELDS = {
    "cron": ("times", "cron"),
    "zone": ("times", "zone"),
    "pattern": ("form", "pattern"),
    "delivery": ("form", "deliver_to"),
}
"""Where on the page it stands what a schedule was refused for."""
SOURCE_FIELDS = {
    SourceKind.SHEET: "address",
    SourceKind.ACCOUNT: "path",
    SourceKind.LIBRARY: "folder",
}


@require_GET
@signed_in
def index(request: HttpRequest) -> TemplateResponse:
    """All of one's schedules, by name."""
    own = Recurring.objects.visible_to(user_of(request)).select_related("owner", "connection")
    found = list(own.order_by("name", "pk"))
    runs = recurring.latest_runs(found)
    context = {"here": "schedules", "schedules": [Shown(one, runs.get(one.pk)) for one in found]}
    return TemplateResponse(request, "batches/schedules.html", context)


@require_GET
@signed_in
def choose(request: HttpRequest) -> TemplateResponse:
    """Which tool the new schedule is to run."""
    context = {"here": "schedules", "tools": registry.all()}
    return TemplateResponse(request, "batches/schedule_choose.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new(request: HttpRequest, slug: str) -> HttpResponseBase:
    """A new schedule for a tool; `?from=` a batch takes over what that one was made with."""
    tool = tool_or_404(request, slug)
    taken = _taken_over(request, tool)
    if request.method == "POST":
        return _save(request, tool, taken, schedule=None)
    if not taken:
        return _form(request, tool, ScheduleForm(**_about(request)), TimesForm(), settings={})
    form = ScheduleForm(initial=_initial(taken), **_about(request))
    return _form(request, tool, form, TimesForm(), settings=taken["settings"])


@require_GET
@signed_in
def detail(request: HttpRequest, uid: UUID) -> TemplateResponse:
    """One schedule and its history, newest first."""
    schedule = _own_or_404(request, uid)
    runs = schedule.runs.select_related("batch").order_by("-due_at", "-pk")
    page = Paginator(runs, RUNS_PER_PAGE).get_page(whole_number(request.GET.get("page")))
    for run in page:
        run.recurring = schedule
    coming = []
    if schedule.is_on:
        coming = timetable.coming(schedule.cron, schedule.zone, clock.now())
    context = {
        "here": "schedules",
        "shown": Shown(schedule),
        "schedule": schedule,
        "page": page,
        "coming": coming,
        "most_tries": recurring_runs.MOST_TRIES,
        "most_failures": recurring_runs.MOST_FAILURES,
    }
    return TemplateResponse(request, "batches/schedule.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def edit(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Have it done otherwise."""
    schedule = _own_or_404(request, uid)
    tool = tool_or_404(request, schedule.tool)
    kept = _of_schedule(schedule)
    if request.method == "POST":
        return _save(request, tool, kept, schedule=schedule)
    times = TimesForm(initial=TimesForm.shown(schedule.cron, schedule.zone))
    form = ScheduleForm(initial=_initial(kept), **_about(request))
    return _form(request, tool, form, times, settings=schedule.settings, schedule=schedule)


@require_GET
@signed_in
def times(request: HttpRequest) -> HttpResponseBase:
    """The next times of what is chosen, for a page that shows them while one chooses."""
    if not htmx_of(request):
        return redirect("batches:schedules")
    context = _next_times(TimesForm(request.GET))
    return TemplateResponse(request, "batches/_times.html", context)


@require_POST
@signed_in
def switch(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Switch it on or off; twice is no mistake."""
    schedule = _own_or_404(request, uid)
    if request.POST.get("on"):
        recurring.resume(schedule, now=clock.now())
        text = _("“{name}” is on.")
    else:
        recurring.pause(schedule)
        text = _("“{name}” is off. What runs goes on.")
    messages.success(request, text.format(name=schedule.name))
    return _back(request, schedule)


@require_POST
@signed_in
def run(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Run it once, now."""
    schedule = _own_or_404(request, uid)
    try:
        recurring.run_now(schedule, now=clock.now())
    except recurring.Refused as refused:
        messages.error(request, refused.detail)
    else:
        messages.success(request, _("It looks what is new. Load the page again in a moment."))
    return redirect(schedule)


@require_POST
@signed_in
def delete(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Forget it; twice is no mistake."""
    if own := Recurring.objects.visible_to(user_of(request)).filter(uid=uid).first():
        recurring.delete(own)
        text = _("“{name}” is deleted. The batches that it made are still there.")
        messages.success(request, text.format(name=own.name))
    return redirect("batches:schedules")


def _back(request: HttpRequest, schedule: Recurring) -> HttpResponseBase:
    return redirect("batches:schedules" if request.POST.get("list") else schedule)


def _own_or_404(request: HttpRequest, uid: UUID) -> Recurring:
    own = Recurring.objects.visible_to(user_of(request)).select_related("owner", "connection")
    return get_object_or_404(own, uid=uid)


def _about(request: HttpRequest) -> dict[str, Any]:
    owner = user_of(request)
    return {"owner": owner, "places": delivering.places(owner)}


def _taken_over(request: HttpRequest, tool: Tool) -> dict[str, Any]:
    """What an own batch that the address names was made with."""
    try:
        uid = UUID(request.GET.get("from", ""))
    except ValueError:
        return {}
    own = Batch.objects.visible_to(user_of(request)).filter(uid=uid, tool=tool.slug).first()
    return recurring.of_batch(own) if own else {}


def _of_schedule(schedule: Recurring) -> dict[str, Any]:
    names = ("name", "settings", "kind", "source", "connection", "delivery", "pattern", "reuse")
    return {name: getattr(schedule, name) for name in (*names, "cap", "month_cap")}


def _initial(taken: dict[str, Any]) -> dict[str, Any]:
    """What the fields hold for a set-up that is there."""
    source, delivery = taken.get("source", {}), taken.get("delivery", {})
    account = delivery.get("connection", "")
    connection = taken.get("connection")
    return {
        "name": taken["name"],
        "kind": taken.get("kind", SourceKind.SHEET),
        "address": source.get("address", ""),
        "connection": str(connection.uid) if connection else "",
        "path": source.get("path", ""),
        "folder": source.get("folder", ""),
        "deep": source.get("deep", True),
        "cap": taken.get("cap"),
        "month_cap": taken.get("month_cap"),
        "pattern": taken.get("pattern", ""),
        "anew": not taken.get("reuse", True),
        "deliver_to": f"{delivering.ACCOUNT}{account}" if account else delivery.get("to", ""),
        "deliver_folder": delivery.get("options", {}).get("folder", ""),
    }


def _save(
    request: HttpRequest, tool: Tool, before: dict[str, Any], *, schedule: Recurring | None
) -> HttpResponseBase:
    """Keep what was sent, or show it again with what is in the way."""
    form = ScheduleForm(request.POST, **_about(request))
    chosen = TimesForm(request.POST)
    settings: Any = _sent(request, tool)
    if form.is_valid() & chosen.is_valid():
        setup = _setup(request, tool, form, chosen, before)
        now = clock.now()
        try:
            if schedule:
                recurring.change(schedule, setup, now=now)
            else:
                schedule = recurring.create(user_of(request), setup, now=now)
        except SettingsInvalid as invalid:
            form.add_error(None, _("A setting needs another value. It is marked below."))
            settings = invalid.bound
        except recurring.Refused as refused:
            _mark(form, chosen, refused)
        else:
            messages.success(request, _("Saved."))
            return redirect(schedule)
    return _form(request, tool, form, chosen, settings=settings, schedule=schedule, status=422)


def _setup(
    request: HttpRequest,
    tool: Tool,
    form: ScheduleForm,
    chosen: TimesForm,
    before: dict[str, Any],
) -> recurring.Setup:
    """What the forms ask for. A sheet that stays the same keeps what its columns are."""
    sent = form.cleaned_data
    source = form.source
    known = before.get("source", {})
    if source.get("address") and source["address"] == known.get("address"):
        source = {**known, **source}
    delivery = {}
    if sent["deliver_to"]:
        asked = {"deliver_to": sent["deliver_to"], "deliver_folder": sent["deliver_folder"]}
        delivery = delivering.asked(user_of(request), asked, prefix="deliver_")
    return recurring.Setup(
        name=sent["name"].strip(),
        tool=tool.slug,
        settings=request.POST,
        kind=sent["kind"],
        source=source,
        connection=form.account if sent["kind"] == SourceKind.ACCOUNT else None,
        delivery=delivery,
        pattern=sent["pattern"].strip(),
        reuse=not sent["anew"],
        cap=sent["cap"],
        month_cap=sent["month_cap"],
        cron=chosen.cron_text,
        zone=chosen.cleaned_data["zone"],
    )


def _sent(request: HttpRequest, tool: Tool) -> ToolSettings:
    """The tool's settings as they were sent."""
    try:
        bound = tool.Settings(data=tool.clean(request.POST))
    except SettingsInvalid as wrong:
        return wrong.bound
    bound.is_valid()
    return bound


def _mark(form: ScheduleForm, chosen: TimesForm, refused: recurring.Refused) -> None:
    """Say what was refused, where it was said."""
    if refused.field == "source":
        form.add_error(SOURCE_FIELDS[form.cleaned_data["kind"]], refused.detail)
    elif refused.field in FIELDS:
        which, name = FIELDS[refused.field]
        (chosen if which == "times" else form).add_error(name, refused.detail)
    else:
        form.add_error(None, refused.detail)


def _form(
    request: HttpRequest,
    tool: Tool,
    form: ScheduleForm,
    chosen: TimesForm,
    *,
    settings: Any,
    schedule: Recurring | None = None,
    status: int = 200,
) -> TemplateResponse:
    context = {
        "here": "schedules",
        "tool": tool,
        "form": form,
        "times": chosen,
        "settings_form": settings,
        "schedule": schedule,
        **_next_times(chosen),
    }
    return TemplateResponse(request, "batches/schedule_form.html", context, status=status)


def _next_times(chosen: TimesForm) -> dict[str, Any]:
    """What is chosen in words, and the next times; what is wrong with it, if anything is."""
    if not chosen.is_bound:
        chosen = TimesForm(
            {chosen.add_prefix(name): chosen[name].value() for name in chosen.fields}
        )
    if not chosen.is_valid():
        return {}
    cron, zone, now = chosen.cron_text, chosen.cleaned_data["zone"], clock.now()
    try:
        timetable.check(cron, zone, now=now)
    except timetable.TimetableInvalid as invalid:
        return {"times_wrong": invalid.detail}
    return {
        "sentence": timetable.sentence(cron, zone),
        "coming": timetable.coming(cron, zone, now),
        "zone": zone,
    }
