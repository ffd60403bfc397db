"""What a run of a schedule does: look at the source, make a batch of what is new, end with it.

The batch, and what was taken for it, are made in one transaction: whoever dies before leaves
nothing, and the run is rung for again. Only once the batch has ended is what was done remembered
as done.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from django.conf import settings as site
from django.db import transaction
from django.db.models import Count, F, Q, Sum
from rest_framework.serializers import ValidationError

from accounts import notices, plans
from accounts.mail import Outcome
from batches import clock, deliveries, dispatch, gathering, intake, lifecycle, pricing, sheets
from batches.models import (
    Batch,
    Recurring,
    RecurringRun,
    RecurringSeen,
    RunState,
    Sheet,
    SourceKind,
)
from batches.models.recurring import RecurringQuerySet
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from credits import ledger
from tools import abilities, registry
from tools.base import SettingsInvalid, Tool

MOST_FAILURES = 5
"""Failed runs in a row after which a schedule is switched off."""
MOST_TRIES = 5
"""How often an image may fail as it is: then it is left out until it changes."""
MOST_AT_ONCE = 5_000
"""Images of one run, where the owner's plan takes so many; the others come with the next."""
MOST_OF_LIBRARY = 500
"""The same for a library, whose pictures are looked at one by one."""
MOST_LOOKS = 5
"""Workers that one run may lose, or passing errors of its source."""
LEASE = timedelta(minutes=10)
PAUSE = timedelta(minutes=2)
"""After a passing error of the source."""
NEWS_FOR = timedelta(days=1)
"""What failed longer ago is no news."""
CHUNK = 500

OVER = {BatchState.FINISHED, BatchState.CANCELLED}

log = logging.getLogger(__name__)


class Lost(Exception):
    """Somebody else has the run now."""


class RunFails(Exception):
    """A run that can't go on. Carries the code and the figures of its message."""

    def __init__(self, code: str, **params: Any) -> None:
        super().__init__(code)
        self.code = code
        self.params = params


@dataclass
class _Look:
    """What one look at the source found."""

    run: RecurringRun
    token: UUID
    chosen: list[tuple[gathering.Thing, int]] = field(default_factory=list)
    """What is taken, and how often it has failed as it is."""
    cost: int = 0
    too_dear: int = 0
    """The price of the first image that there was no room for in the caps."""


def run(run_id: int) -> None:
    """Look what is new, and make a batch of it. Safe to call twice, at once or again."""
    token = uuid4()
    now = clock.now()
    free = Q(token=None) | Q(lease_until__lt=now)
    waiting = RecurringRun.objects.filter(free, pk=run_id, state=RunState.RUNNING, batch=None)
    if not waiting.filter(taken=0).update(
        token=token, lease_until=now + LEASE, tries=F("tries") + 1
    ):
        return
    this = RecurringRun.objects.select_related("recurring__owner", "recurring__connection")
    claimed = this.get(pk=run_id)
    claimed.started_at = claimed.started_at or now
    try:
        _run(claimed, token)
    except Lost:
        log.info("Run %s is somebody else's now", claimed.uid)


def _run(run: RecurringRun, token: UUID) -> None:
    recurring = run.recurring
    sheet: Sheet | None = None
    try:
        _refuse_hopeless(run)
        tool = _tool(recurring)
        wish = wish_of(recurring, tool)
        if wish:
            refuse_circles(recurring, wish)
        _learn(recurring)
        gathered = gathering.gather(recurring, tool)
        sheet = gathered.sheet
        look = _choose(run, token, tool, gathered.things)
        if not look.chosen:
            _end_without_batch(look)
            return
        _make_batch(look, tool, wish, sheet)
    except gathering.SourceUnreadable as error:
        if error.transient and run.tries < MOST_LOOKS:
            _look_again_later(run, token)
        else:
            _fail(run, token, error.code, error.params)
    except RunFails as fails:
        _fail(run, token, fails.code, fails.params)
    except ledger.InsufficientCredits as short:
        _fail(run, token, short.code, short.params)
    finally:
        if sheet:
            sheets.forget_unused(sheet)


def _refuse_hopeless(run: RecurringRun) -> None:
    """Raise `RunFails` for a run that has lost too many workers."""
    if run.tries > MOST_LOOKS:
        raise RunFails("worker_lost", n=MOST_LOOKS)


def wish_of(recurring: Recurring, tool: Tool) -> deliveries.Wish | None:
    """Where results go, as that is now; nothing where they stay here. Raises `RunFails`."""
    if not recurring.delivery:
        return None
    try:
        return deliveries.judged(recurring.owner, tool=tool.slug, **recurring.delivery)
    except ValidationError as invalid:
        said: Any = invalid.detail
        detail = " ".join(str(text) for texts in said.values() for text in texts)
        raise RunFails("recurring_delivery", detail=detail) from invalid


def refuse_circles(recurring: Recurring, wish: deliveries.Wish) -> None:
    """Raise `RunFails` where results would be the next images of their own schedule."""
    if gathering.runs_in_circles(
        recurring, to=wish.to, options=wish.options, connection=wish.connection
    ):
        raise RunFails("recurring_circle")


def ring(run: RecurringRun, *, now: datetime) -> None:
    """Ring for a run that nobody has in hand. Call it in a transaction."""
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    waiting = RecurringRun.objects.filter(free, pk=run.pk, state=RunState.RUNNING, batch=None)
    if waiting.update(token=None, lease_until=now + dispatch.RING_AGAIN_AFTER):
        dispatch.ring_recurring(run.pk)


def _tool(recurring: Recurring) -> Tool:
    """The tool at its owner's price. Raises `RunFails` where it can't be used."""
    try:
        tool = pricing.offered(registry.get(recurring.tool), recurring.owner)
        reason = abilities.unavailable_reason(tool, tool.clean(recurring.settings))
    except registry.UnknownTool as unknown:
        raise RunFails("recurring_tool_gone", tool=recurring.tool) from unknown
    except SettingsInvalid as invalid:
        detail = " ".join(f"{error.field}: {error.detail}" for error in invalid.errors)
        raise RunFails("recurring_settings", detail=detail) from invalid
    if reason:
        raise RunFails("tool_unavailable", reason=reason)
    return tool


def _choose(run: RecurringRun, token: UUID, tool: Tool, things: Iterator[gathering.Thing]) -> _Look:
    """Count what there is, and choose what is new or changed, as far as caps and plan go.

    In the source's order: where one has no room, those after it wait as well.
    """
    look = _Look(run, token)
    recurring = run.recurring
    budget = _budget(recurring, run)
    most = min(MOST_AT_ONCE, plans.plan_for(recurring.owner).batch_images)
    if recurring.kind == SourceKind.LIBRARY:
        most = min(most, MOST_OF_LIBRARY)
    cleaner = intake.Cleaner(tool, tool.clean(recurring.settings))
    run.found = run.new = run.changed = run.unchanged = run.given_up = 0
    while chunk := list(islice(things, CHUNK)):
        _hold(run, token)
        rows = RecurringSeen.objects.filter(recurring=recurring, key__in=[one.key for one in chunk])
        known = {seen.key: seen for seen in rows}
        for thing in chunk:
            run.found += 1
            tries = _judge(run, thing, known.get(thing.key))
            if tries is None or look.too_dear or len(look.chosen) >= most:
                continue
            price = _price(thing.row, cleaner)
            if budget is not None and look.cost + price > budget:
                look.too_dear = price
                continue
            look.cost += price
            look.chosen.append((thing, tries))
    return look


def _judge(run: RecurringRun, thing: gathering.Thing, seen: RecurringSeen | None) -> int | None:
    """Count a thing; how often it has failed as it is, or nothing where it is not to run."""
    tries = seen.tries if seen and seen.tried == thing.mark else 0
    if seen is None and thing.row.is_done:
        run.unchanged += 1  # somebody had it done before there was this schedule
    elif seen and seen.mark == thing.mark:
        run.unchanged += 1
    elif tries >= MOST_TRIES:
        run.given_up += 1
    elif seen and seen.mark:
        run.changed += 1
        return tries
    else:
        run.new += 1
        return tries
    return None


def _price(row: Row, cleaner: intake.Cleaner) -> int:
    """The most that a row may cost; nothing for one that can't run."""
    try:
        return cleaner.clean(row.settings)[1]
    except SettingsInvalid:
        return 0


def _budget(recurring: Recurring, run: RecurringRun) -> int | None:
    """What this run may spend; nothing for as much as there is."""
    left = [recurring.cap] if recurring.cap is not None else []
    if recurring.month_cap is not None:
        start = run.due_at.astimezone(ZoneInfo(recurring.zone))
        start = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        month = recurring.runs.filter(due_at__gte=start).exclude(pk=run.pk)
        spent = month.aggregate(n=Sum("credits"))["n"] or 0
        left.append(max(0, recurring.month_cap - spent))
    return min(left) if left else None


def _end_without_batch(look: _Look) -> None:
    """Nothing is taken: there is nothing new, or no credit may be spent on it."""
    run, recurring = look.run, look.run.recurring
    if not look.too_dear:
        _close(run, look.token, RunState.NOTHING_NEW)
        Recurring.objects.filter(pk=recurring.pk).update(failures=0)
    elif recurring.cap is not None and look.too_dear > recurring.cap:
        raise RunFails("recurring_cap_small", price=look.too_dear, cap=recurring.cap)
    else:
        params = {"cap": recurring.month_cap}
        error = {"error_code": "recurring_month_spent", "error_params": params}
        _close(run, look.token, RunState.SKIPPED, **error)


def _make_batch(look: _Look, tool: Tool, wish: deliveries.Wish | None, sheet: Sheet | None) -> None:
    """The batch, its delivery, what was taken, and the start, in one transaction.

    Raises `RunFails`, `ledger.InsufficientCredits`, or `Lost`; then there is nothing of it.
    """
    run, recurring = look.run, look.run.recurring
    rows = _rows(look)
    try:
        with transaction.atomic():
            _hold(run, look.token)
            batch = lifecycle.create(
                recurring.owner,
                tool,
                rows,
                settings=recurring.settings,
                name=_name(recurring, run),
                cap=_budget(recurring, run),
                skip_invalid=True,
                uid=run.uid,
                reuse=recurring.reuse,
                pattern=recurring.pattern,
                sheet=sheet,
            )
            _note(look, batch)
            run.taken, run.batch = len(rows), batch
            run.token = run.lease_until = None
            run.save()
            if wish:
                deliveries.begin(batch, wish, follows=True)
            lifecycle.start(batch)
    except lifecycle.Refused as refused:
        raise RunFails("recurring_refused", detail=refused.detail) from refused
    except SettingsInvalid as invalid:
        detail = " ".join(error.detail for error in invalid.errors)
        raise RunFails("recurring_settings", detail=detail) from invalid


def _rows(look: _Look) -> list[Row]:
    """What was chosen as rows; pictures of the library become uploads on the way."""
    things = [thing for thing, _tries in look.chosen]
    assets = [thing.asset for thing in things if thing.asset]
    if not assets:
        return [thing.row for thing in things]
    rows = []
    for number, (asset, original) in enumerate(
        intake.adopt_assets(look.run.recurring.owner, assets)
    ):
        if number % CHUNK == 0:
            _hold(look.run, look.token)
        if original:
            rows.append(Row(upload=str(original.uid), name=asset.name))
        else:
            gone = ("asset_source_gone", {"name": asset.name})
            rows.append(Row(name=asset.name, refusal=gone))
    return rows


def _note(look: _Look, batch: Batch) -> None:
    """Write down as what each thing was taken, and how it was then."""
    items = batch.items.order_by("position").values_list("pk", flat=True)
    taken = [
        RecurringSeen(
            recurring=look.run.recurring,
            key=thing.key,
            tried=thing.mark,
            tries=tries,
            item_id=item,
        )
        for (thing, tries), item in zip(look.chosen, items, strict=True)
    ]
    RecurringSeen.objects.bulk_create(
        taken,
        batch_size=500,
        update_conflicts=True,
        unique_fields=["recurring", "key"],
        update_fields=["tried", "tries", "item"],
    )


def _name(recurring: Recurring, run: RecurringRun) -> str:
    """The schedule's name and the day, in its own zone."""
    at = run.due_at.astimezone(ZoneInfo(recurring.zone))
    return f"{recurring.name[:180]}, {at:%Y-%m-%d %H:%M}"


def _hold(run: RecurringRun, token: UUID) -> None:
    """Be sure that the run is ours, and keep it for a while. Raises `Lost`."""
    ours = RecurringRun.objects.filter(pk=run.pk, token=token, state=RunState.RUNNING)
    if not ours.update(lease_until=clock.now() + LEASE):
        raise Lost


def _look_again_later(run: RecurringRun, token: UUID) -> None:
    ours = RecurringRun.objects.filter(pk=run.pk, token=token)
    ours.update(token=None, lease_until=clock.now() + PAUSE, started_at=run.started_at)


def _close(run: RecurringRun, token: UUID | None, to: RunState, **fields: Any) -> bool:
    """End a run that runs, if the claim still holds; True for whoever did it."""
    counted = {
        name: getattr(run, name)
        for name in ("found", "new", "changed", "unchanged", "given_up", "started_at")
    }
    ours = RecurringRun.objects.filter(pk=run.pk, token=token, state=RunState.RUNNING)
    ended = {"state": to, "ended_at": clock.now(), "token": None, "lease_until": None}
    return bool(ours.update(**counted, **ended, **fields))


def _fail(
    run: RecurringRun, token: UUID | None, code: str, params: Mapping[str, Any], **fields: Any
) -> bool:
    """End a run as failed, and switch its schedule off where that was one too many."""
    error = {"error_code": code, "error_params": dict(params)}
    with transaction.atomic():
        recurring = Recurring.objects.select_for_update().get(pk=run.recurring_id)
        too_many = recurring.failures + 1 >= MOST_FAILURES and recurring.is_on
        closed = _close(run, token, RunState.FAILED, has_paused=too_many, **error, **fields)
        if closed:
            recurring.failures += 1
            if too_many:
                recurring.is_on, recurring.next_at = False, None
            recurring.save(update_fields=["failures", "is_on", "next_at"])
    return closed


# --- Its end ----------------------------------------------------------------------------------


def settle_ended(recurring: RecurringQuerySet) -> int:
    """End the runs of these schedules whose batches have ended or are gone; how many."""
    with_batch = RecurringRun.objects.filter(state=RunState.RUNNING, taken__gt=0)
    ended = with_batch.filter(Q(batch=None) | Q(batch__state__in=OVER))
    runs = ended.filter(recurring__in=recurring).select_related("recurring", "batch")
    return sum(_settle(run) for run in list(runs.order_by("pk")))


def _settle(run: RecurringRun) -> bool:
    """End a run with its batch, and remember what was done; True for whoever did it."""
    counts: dict[str, Any] = {"done": 0, "failed": 0, "credits": 0}
    if run.batch:
        counts = run.batch.items.aggregate(
            done=Count("pk", filter=Q(state=ItemState.DONE)),
            failed=Count("pk", filter=Q(state=ItemState.FAILED)),
            credits=Sum("price", default=0),
        )
    with transaction.atomic():
        if counts["failed"] and not counts["done"]:
            params = {"n": counts["failed"]}
            closed = _fail(run, None, "recurring_none_done", params, **counts)
        else:
            Recurring.objects.select_for_update().get(pk=run.recurring_id)
            closed = _close(run, None, RunState.FINISHED, **counts)
            if closed:
                Recurring.objects.filter(pk=run.recurring_id).update(failures=0)
        if closed and run.batch:
            taken = RecurringSeen.objects.filter(item__batch=run.batch)
            taken.filter(item__state=ItemState.FAILED).update(tries=F("tries") + 1)
            _learn(run.recurring)
    return closed


def _learn(recurring: Recurring) -> None:
    """Remember as done what is done by now: also what was retried after its run had ended."""
    done = RecurringSeen.objects.filter(recurring=recurring, item__state=ItemState.DONE)
    done.exclude(mark=F("tried")).update(mark=F("tried"), tries=0)


def tell(*, now: datetime) -> int:
    """Send an e-mail for each run that failed of late; returns how many were sent.

    See `accounts.notices.tell_each`.
    """
    untold = RecurringRun.objects.filter(
        state=RunState.FAILED, told_at=None, ended_at__gt=now - NEWS_FOR
    ).filter(
        recurring__owner__notify_schedules=True,
        recurring__owner__is_active=True,
        recurring__owner__email_verified_at__isnull=False,
    )
    return notices.tell_each(
        untold.select_related("recurring__owner", "batch").order_by("ended_at", "pk"),
        _send,
        of=RecurringRun.objects.all(),
        told_at="told_at",
        now=now,
    )


def _send(run: RecurringRun) -> Outcome:
    return notices.send(
        "schedules",
        "batches/mail/recurring_failed",
        run.recurring.owner,
        name=run.recurring.name,
        why=run.error,
        paused=run.has_paused,
        failures=MOST_FAILURES,
        address=site.SITE_URL.rstrip("/") + run.recurring.get_absolute_url(),
    )
