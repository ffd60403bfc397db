"""Schedules: every verb on one, and which are due.

A schedule that is due gets a run, by compare-and-set on its time: of two schedulers one begins it.
What the run does is `recurring_runs`.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.utils.translation import gettext as _

from accounts.models import Connection, User
from batches import gathering, messages, pricing, recurring_runs, sheets, timetable
from batches.models import Batch, Recurring, RecurringRun, RecurringSeen, RunState, SourceKind
from batches.patterns import Pattern, PatternInvalid
from tools import abilities, registry
from tools.base import Tool

MOST = 50
"""Schedules of one person."""
KEPT_FOR = timedelta(days=400)
"""How long the history of runs goes back."""

log = logging.getLogger(__name__)


class Refused(Exception):
    """A schedule that can't be made or run; `field` is what it is about, if anything."""

    def __init__(self, detail: str, *, field: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What somebody wants to have done again and again."""

    name: str
    tool: str
    kind: str
    source: Mapping[str, Any]
    cron: str
    zone: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    connection: Connection | None = None
    delivery: Mapping[str, Any] = field(default_factory=dict)
    pattern: str = ""
    reuse: bool = True
    cap: int | None = None
    month_cap: int | None = None


@dataclass
class Round:
    """What one round of the scheduler did."""

    begun: list[str] = field(default_factory=list)
    """Names of the schedules whose runs were begun."""
    skipped: int = 0
    ended: int = 0
    told: int = 0
    """Mails about failed runs."""
    failed: int = 0
    """Schedules that this round could not serve; the log says why."""


# --- Making and changing ----------------------------------------------------------------------


def create(owner: User, setup: Setup, *, now: datetime) -> Recurring:
    """Keep a set-up, once its source has been looked at, and switch it on.

    Raises `Refused` or `SettingsInvalid`; then nothing is kept.
    """
    recurring = Recurring(owner=owner)
    _fill(recurring, setup, now=now)
    recurring.next_at = timetable.following(recurring.cron, recurring.zone, now)
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=owner.pk)
        if Recurring.objects.visible_to(owner).count() >= MOST:
            raise Refused(_("You have {most} schedules. Delete one first.").format(most=MOST))
        recurring.save()
    return recurring


def change(recurring: Recurring, setup: Setup, *, now: datetime) -> None:
    """Have it done otherwise from the next run on. Raises as `create` does.

    With another tool or other settings everything is new once more.
    """
    _fill(recurring, setup, now=now)
    with transaction.atomic():
        locked = Recurring.objects.select_for_update().get(pk=recurring.pk)
        recurring.is_on, recurring.failures = locked.is_on, locked.failures
        recurring.next_at = None
        if recurring.is_on:
            recurring.next_at = timetable.following(recurring.cron, recurring.zone, now)
        recurring.save()


def pause(recurring: Recurring) -> bool:
    """Begin no more runs; one that runs goes on. False where it was off already."""
    on = Recurring.objects.filter(pk=recurring.pk, is_on=True)
    return bool(on.update(is_on=False, next_at=None))


def resume(recurring: Recurring, *, now: datetime) -> bool:
    """Go on by the clock, and give what was left out after too many tries another chance.

    False where it was on already.
    """
    following = timetable.following(recurring.cron, recurring.zone, now)
    with transaction.atomic():
        off = Recurring.objects.filter(pk=recurring.pk, is_on=False)
        if not off.update(is_on=True, next_at=following, failures=0):
            return False
        RecurringSeen.objects.filter(recurring=recurring, tries__gt=0).update(tries=0)
    return True


def delete(recurring: Recurring) -> None:
    """Forget it and its history. Batches that it made stay, also one that runs."""
    Recurring.objects.filter(pk=recurring.pk).delete()


def run_now(recurring: Recurring, *, now: datetime) -> RecurringRun:
    """Run it once beside its times, whether it is on or off.

    Raises `Refused` while a run goes on.
    """
    recurring_runs.settle_ended(Recurring.objects.filter(pk=recurring.pk))
    with transaction.atomic():
        locked = Recurring.objects.select_for_update().filter(pk=recurring.pk).first()
        if locked is None:
            raise Refused(_("The schedule has been deleted."))
        if locked.runs.filter(state=RunState.RUNNING).exists():
            raise Refused(_("A run goes on already. Wait until it has ended."))
        run = RecurringRun.objects.create(recurring=locked, due_at=now)
        recurring_runs.ring(run, now=now)
    return run


def of_batch(batch: Batch) -> dict[str, Any]:
    """What can be taken over from a batch: the fields of a `Setup`, as far as it tells."""
    taken: dict[str, Any] = {
        "name": str(batch),
        "settings": batch.settings,
        "pattern": batch.pattern,
        "reuse": batch.reuse,
        "cap": batch.cap,
        **_source_of(batch),
    }
    sent = batch.deliveries.filter(follows=True).select_related("connection").order_by("pk").first()
    if sent:
        account = str(sent.connection.uid) if sent.connection else ""
        taken["delivery"] = {"to": sent.to, "connection": account, "options": sent.options}
    return taken


def _source_of(batch: Batch) -> dict[str, Any]:
    """Where a batch's images came from, if it is a place that can be looked at again."""
    if batch.sheet and batch.sheet.address:
        about = {"tab": batch.sheet.tab, "mapping": batch.sheet.mapping}
        return {"kind": SourceKind.SHEET, "source": {"address": batch.sheet.address, **about}}
    stored = batch.items.exclude(connection=None).select_related("connection")
    first = stored.order_by("position").first()
    if first is None or first.connection is None:
        return {}
    places = stored.filter(connection=first.connection).values_list("source_url", flat=True)
    folders = {tuple(path.split("/")[:-1]) for path in places.iterator()}
    common = min(folders)
    while common and any(folder[: len(common)] != common for folder in folders):
        common = common[:-1]
    source = {"path": "/".join(common), "deep": any(folder != common for folder in folders)}
    return {"kind": SourceKind.ACCOUNT, "source": source, "connection": first.connection}


def _fill(recurring: Recurring, setup: Setup, *, now: datetime) -> None:
    """Put a set-up that makes sense into a schedule. Raises `Refused` or `SettingsInvalid`."""
    tool = pricing.offered(registry.get(setup.tool), recurring.owner)
    cleaned = tool.clean(setup.settings)
    if reason := abilities.unavailable_reason(tool, cleaned):
        raise Refused(reason)
    cron = " ".join(setup.cron.split())
    try:
        timetable.check(cron, setup.zone, now=now)
    except timetable.TimetableInvalid as invalid:
        raise Refused(invalid.detail, field=invalid.field) from invalid
    recurring.name = setup.name or str(tool.name)
    recurring.tool, recurring.settings = tool.slug, cleaned
    recurring.kind, recurring.source = setup.kind, dict(setup.source)
    recurring.connection = setup.connection
    recurring.delivery = dict(setup.delivery)
    recurring.pattern, recurring.reuse = setup.pattern, setup.reuse
    recurring.cap, recurring.month_cap = setup.cap, setup.month_cap
    recurring.cron, recurring.zone = cron, setup.zone
    try:
        if wish := recurring_runs.wish_of(recurring, tool):
            recurring_runs.refuse_circles(recurring, wish)
        recurring.source = _looked_at(recurring, tool)
    except gathering.SourceUnreadable as error:
        raise Refused(messages.text(error.code, error.params), field="source") from error
    except recurring_runs.RunFails as fails:
        raise Refused(messages.text(fails.code, fails.params), field="delivery") from fails


def _looked_at(recurring: Recurring, tool: Tool) -> dict[str, Any]:
    """The source, after a look at it. Raises `Refused` or `gathering.SourceUnreadable`."""
    gathered = gathering.gather(recurring, tool)
    try:
        next(gathered.things, None)
        if recurring.pattern.strip():
            try:
                Pattern(recurring.pattern, gathered.sheet.columns if gathered.sheet else ())
            except PatternInvalid as invalid:
                raise Refused(invalid.detail, field="pattern") from invalid
    finally:
        if gathered.sheet:
            sheets.forget_unused(gathered.sheet)
    return dict(gathered.source)


def latest_runs(schedules: Collection[Recurring]) -> dict[int, RecurringRun]:
    """The latest run of each, by the schedule's row; one question for all of them."""
    runs = RecurringRun.objects.filter(recurring=OuterRef("pk")).order_by("-due_at", "-pk")
    latest = Recurring.objects.filter(pk__in=[one.pk for one in schedules])
    newest = latest.values_list(Subquery(runs.values("pk")[:1]))
    return {run.recurring_id: run for run in RecurringRun.objects.filter(pk__in=newest)}


# --- By the clock -----------------------------------------------------------------------------


def due(*, now: datetime) -> list[Recurring]:
    """Schedules whose time has come, the one that has waited longest first."""
    on = Recurring.objects.filter(is_on=True, next_at__lte=now)
    there = on.filter(owner__is_active=True, owner__erasing_at=None)
    return list(there.select_related("owner").order_by("next_at", "pk"))


def run_due(*, now: datetime) -> Round:
    """End runs whose batches have ended, begin those that are due, ring for lost ones, tell.

    Safe at any time, and for several at once. What was due while nobody looked runs once. What
    goes wrong with one schedule is logged and counted, and the others are served.
    """
    done = Round()
    done.ended = recurring_runs.settle_ended(Recurring.objects.all())
    for recurring in due(now=now):
        try:
            run = _begin(recurring, now=now)
        except Exception:
            log.exception("Schedule %s could not be begun", recurring.uid)
            done.failed += 1
            continue
        if run and run.state == RunState.RUNNING:
            done.begun.append(recurring.name)
        elif run:
            done.skipped += 1
    for run in RecurringRun.objects.filter(state=RunState.RUNNING, batch=None, taken=0):
        with transaction.atomic():
            recurring_runs.ring(run, now=now)
    done.told = recurring_runs.tell(now=now)
    return done


def prune(*, now: datetime, dry_run: bool = False) -> int:
    """Forget runs that ended long ago; returns how many."""
    old = RecurringRun.objects.filter(ended_at__lt=now - KEPT_FOR)
    return old.count() if dry_run else old.delete()[0]


def _begin(recurring: Recurring, *, now: datetime) -> RecurringRun | None:
    """The run of a time that has come; nothing where somebody was faster."""
    due_at = recurring.next_at
    following = timetable.following(recurring.cron, recurring.zone, now)
    with transaction.atomic():
        # Whoever moves the time has the row, and with it the right to make the run.
        mine = Recurring.objects.filter(pk=recurring.pk, is_on=True, next_at=due_at)
        if due_at is None or not mine.update(next_at=following):
            return None
        run = RecurringRun(recurring=recurring, due_at=due_at)
        if recurring.runs.filter(state=RunState.RUNNING).exists():
            run.state, run.error_code = RunState.SKIPPED, "recurring_still_running"
            run.started_at = run.ended_at = now
        run.save()
        if run.state == RunState.RUNNING:
            recurring_runs.ring(run, now=now)
    return run
