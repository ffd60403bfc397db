"""Schedules in the admin: what runs by the clock for whom, what became of it, and off and on."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import trail
from accounts.lists import BetweenFilter
from batches import clock, recurring
from batches.admin.lists import ByTool, OwnerFilter, ReadOnlyAdmin, bare_address, link_to, narrowing
from batches.models import Recurring, RecurringRun, SourceKind
from batches.recurring_words import Shown
from tools.words import settings_used

SHOWN_RUNS = 25
"""Of a schedule, on its page."""


class LatestChangeList(ChangeList):
    """A page of schedules, each with its latest run."""

    def get_results(self, request: HttpRequest) -> None:
        """Ask for the latest runs of all schedules on the page at once."""
        super().get_results(request)
        found = list(self.result_list)
        latest = recurring.latest_runs(found)
        for schedule in found:
            schedule.shown = Shown(schedule, latest.get(schedule.pk))
        self.result_list = found


class ScheduleOwnerFilter(OwnerFilter):
    """The same for a run."""

    path = "recurring__owner"


@admin.register(Recurring)
class RecurringAdmin(ReadOnlyAdmin):
    """Set-ups that make a batch of what is new, by the clock."""

    list_display = (
        "name", "owner_link", "tool_name", "when", "is_on", "next_at", "last_run",
    )  # fmt: skip
    list_select_related = ("owner",)
    list_filter = ("is_on", "kind", ByTool, OwnerFilter, ("next_at", BetweenFilter))
    list_filter_submit = True
    search_fields = ("name", "owner__email")
    search_help_text = _("Name, owner's address, or id")
    actions = ("pause", "resume")
    change_form_outer_after_template = "admin/batches/recurring/_runs.html"
    fieldsets = (
        (None, {"fields": ("uid", "owner_page", "name", "is_on", "failures")}),
        (_("What"), {"fields": ("tool_name", "in_words", "pattern", "reuse")}),
        (_("From and to"), {"fields": ("kind", "source_in_words", "delivery_in_words")}),
        (_("When"), {"fields": ("when", "next_at", "created_at")}),
        (_("Credits"), {"fields": ("cap", "month_cap")}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """The list with latest runs."""
        return LatestChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Recurring]:
        """With whose they are, and the account that they read."""
        return super().get_queryset(request).select_related("owner", "connection")

    @admin.action(description=_("Switch off"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Recurring]) -> None:
        """Begin no more runs, as the owner could; what runs goes on."""
        moved = self._move(request, queryset, "recurring.pause", recurring.pause, _("It is off."))
        text = ngettext("%(n)d schedule is off now.", "%(n)d schedules are off now.", moved[0])
        self.tell_moved(request, text % {"n": moved[0]}, moved=moved[0], refusals=moved[1])

    @admin.action(description=_("Switch on"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Recurring]) -> None:
        """Go on by the clock, as the owner could."""

        def on(schedule: Recurring) -> bool:
            return recurring.resume(schedule, now=clock.now())

        moved = self._move(request, queryset, "recurring.resume", on, _("It is on."))
        text = ngettext("%(n)d schedule is on now.", "%(n)d schedules are on now.", moved[0])
        self.tell_moved(request, text % {"n": moved[0]}, moved=moved[0], refusals=moved[1])

    def _move(
        self,
        request: HttpRequest,
        queryset: QuerySet[Recurring],
        name: str,
        verb: Callable[[Recurring], bool],
        already: Any,
    ) -> tuple[int, list[tuple[Recurring, str]]]:
        """How many moved, each recorded, and those that did not, with the reason."""
        moved, refusals = 0, []
        for schedule in queryset.order_by("pk"):
            before = {"is_on": schedule.is_on, "failures": schedule.failures}
            if not verb(schedule):
                refusals.append((schedule, str(already)))
                continue
            schedule.refresh_from_db(fields=["is_on", "failures"])
            moved += 1
            trail.record(
                request,
                name,
                schedule,
                before=before,
                after={"is_on": schedule.is_on, "failures": schedule.failures},
            )
        return moved, refusals

    def told(self, request: HttpRequest, obj: Recurring) -> dict[str, Any]:  # noqa: ARG002
        """Its latest runs."""
        runs = obj.runs.select_related("batch").order_by("-due_at", "-pk")
        address = reverse("admin:batches_recurringrun_changelist")
        return {"runs": runs[:SHOWN_RUNS], "runs_url": f"{address}?q={obj.uid}"}

    def fits(self, action: str, obj: Recurring) -> bool:
        """Off what is on, on what is off."""
        return obj.is_on == (action == "pause")

    @admin.display(description=_("owner"), ordering="owner__email")
    def owner_link(self, schedule: Recurring) -> str:
        """Whose it is; a click shows all of theirs."""
        return narrowing(schedule.owner)

    @admin.display(description=_("owner"))
    def owner_page(self, schedule: Recurring) -> str:
        """Whose it is, as a link to them."""
        return link_to(schedule.owner)

    @admin.display(description=_("tool"), ordering="tool")
    def tool_name(self, schedule: Recurring) -> str:
        """What is done."""
        return Shown(schedule).tool_name

    @admin.display(description=_("settings"))
    def in_words(self, schedule: Recurring) -> str:
        """How it is done."""
        used = settings_used(schedule.tool, schedule.settings)
        return ", ".join(f"{name}: {value}" for name, value in used) or "-"

    @admin.display(description=_("when"))
    def when(self, schedule: Recurring) -> str:
        """Its timetable."""
        return Shown(schedule).when

    @admin.display(description=_("place"))
    def source_in_words(self, schedule: Recurring) -> str:
        """Where images come from; nothing in an address that opens private files."""
        said = Shown(schedule).source
        return bare_address(said) if schedule.kind == SourceKind.SHEET else said

    @admin.display(description=_("results go to"))
    def delivery_in_words(self, schedule: Recurring) -> str:
        """Where results are sent."""
        return Shown(schedule).delivery or "-"

    @admin.display(description=_("latest run"))
    def last_run(self, schedule: Any) -> str:
        """How it ended."""
        last = schedule.shown.last
        return last.get_state_display() if last else "-"


@admin.register(RecurringRun)
class RecurringRunAdmin(ReadOnlyAdmin):
    """What the runs of schedules found, made and cost."""

    list_display = (
        "due_at", "schedule", "state", "taken", "done", "credits", "batch_page", "error",
    )  # fmt: skip
    list_filter = ("state", ScheduleOwnerFilter, ("due_at", BetweenFilter))
    list_filter_submit = True
    search_fields = ("error_code",)
    search_help_text = _("Error code, or the id of a run or of a schedule")
    fieldsets = (
        (None, {"fields": ("uid", "schedule", "owner", "state", "error", "has_paused")}),
        (
            _("Images"),
            {
                "fields": (
                    "found", "new", "changed", "unchanged", "given_up", "taken", "done", "failed",
                ),
            },
        ),
        (_("What came of it"), {"fields": ("batch_page", "credits")}),
        (_("Work"), {"fields": ("tries", "lease_until")}),
        (_("Dates"), {"fields": ("due_at", "started_at", "ended_at", "told_at")}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[RecurringRun]:
        """With whose they are."""
        return super().get_queryset(request).select_related("recurring__owner", "batch")

    def of_id(self, queryset: QuerySet, uid: Any) -> QuerySet:
        """A run, or all of a schedule."""
        schedule = Recurring.objects.filter(uid=uid).first()
        return queryset.filter(recurring=schedule) if schedule else queryset.filter(uid=uid)

    @admin.display(description=_("schedule"))
    def schedule(self, run: RecurringRun) -> str:
        """Of which it is a run."""
        return link_to(run.recurring)

    @admin.display(description=_("owner"))
    def owner(self, run: RecurringRun) -> str:
        """Whose schedule it is."""
        return run.recurring.owner.email

    @admin.display(description=_("batch"))
    def batch_page(self, run: RecurringRun) -> str:
        """What it made."""
        return link_to(run.batch)

    @admin.display(description=_("why"))
    def error(self, run: RecurringRun) -> str:
        """What went wrong."""
        return run.error or "-"
