"""A sheet's rows become a batch: at once where they are few, else by and by in the background.

What is to be done stands in the batch's `plan`, and how far it is in its items: whoever goes on
skips as many rows as there are. `token` and `lease_until` are the claim of the worker that has
it; with no token, `lease_until` is when its ring is taken for lost. A job works for a while and
rings for its successor, so that downloads get their turn.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, cast
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Max, Q
from django.utils.translation import gettext as _

from accounts.models import User
from batches import clock, dispatch, intake, lifecycle, messages, pricing, sheets
from batches.models import Batch, Sheet
from batches.sources.base import Row
from batches.sources.tables import TableError
from batches.states import BatchState
from credits import ledger
from tools.base import Tool

AT_ONCE = 1000
"""Images of a batch that is made while somebody waits."""
CHUNK = 500
"""Rows that become items in one transaction."""
BUDGET_SECONDS = 20.0
"""How long one job works, once it knows where it is."""
LEASE = timedelta(minutes=2)
MOST_TRIES = 5
"""Workers that an import may lose."""
ERRORS_KEPT = 100
"""Problems that somebody is shown of a sheet that was not taken in."""
CHECKED = 5_000
"""Rows that are judged while somebody waits; the others are when they are imported."""

log = logging.getLogger(__name__)


class Lost(Exception):
    """Somebody else has the import now, or it was cancelled."""


@dataclass
class Problem:
    """What is wrong with one row of a sheet."""

    line: int | None
    column: str
    value: str
    code: str
    detail: str


@dataclass
class Checked:
    """What a sheet's rows would become with these settings."""

    rows: int = 0
    """That would run, those with problems included."""
    done: int = 0
    """That an earlier round trip has marked as done."""
    judged: int = 0
    """Of `rows`: the first ones, that were looked at closely."""
    wrong: int = 0
    """Of those: with problems."""
    credits: int = 0
    """The most that the judged ones without problems cost."""
    problems: list[Problem] = field(default_factory=list)
    """The first of them."""

    @property
    def usable(self) -> int:
        """Rows without problems, as far as anybody knows."""
        return self.rows - self.wrong


def check(
    sheet: Sheet,
    tool: Tool,
    *,
    settings: Mapping[str, Any] | None = None,
    after: int = 0,
    most: int = CHECKED,
) -> Checked:
    """Judge a sheet's rows below line `after`; nothing is stored and nothing is fetched.

    Raises `SettingsInvalid`, `TableError`, or what reading a Google Sheet raises.
    """
    found = Checked()
    cleaner = intake.Cleaner(tool, tool.clean(settings or {}))
    for row in _below(sheets.rows(sheet, tool), after):
        if row.is_done:
            found.done += 1
            continue
        found.rows += 1
        if found.judged == most:
            continue
        found.judged += 1
        price, errors = intake.judge(row, cleaner)
        if not errors:
            found.credits += price
            continue
        found.wrong += 1
        room = ERRORS_KEPT - len(found.problems)
        found.problems += [problem(error, row, sheet) for error in errors[:room]]
    return found


def problem(error: intake.RowError, row: Row, sheet: Sheet) -> Problem:
    """An error as people look for it: in which row and column, and what stands there."""
    target = error.pointer.rpartition("/")[2] if error.pointer.count("/") > 2 else ""
    if target in sheet.columns:
        column = target
    else:
        column = next((name for name, what in sheet.mapping.items() if what == target), "")
    return Problem(row.line, column, row.fields.get(column, ""), error.code, error.detail)


def begin(
    owner: User,
    tool: Tool,
    sheet: Sheet,
    *,
    settings: Mapping[str, Any] | None = None,
    name: str = "",
    cap: int | None = None,
    sample: int = 0,
    skip_invalid: bool = False,
    start: bool = False,
    reuse: bool = True,
    pattern: str = "",
    webhook_url: str = "",
    first: Sequence[Row] = (),
    take: int | None = None,
    after: int = 0,
    uid: UUID | None = None,
    shown_percent: int | None = None,
) -> Batch:
    """Make a batch of a sheet's rows: ready or running at once, or `importing` where they are many.

    `first` are images that stand before the rows; of all together `take` are taken, if it is
    given. Only rows below line `after` count. Rows that are done already are left out.
    Raises what `lifecycle.create` and, with `start`, `lifecycle.start` raise, and `TableError`;
    then nothing is stored.
    """
    rows = to_run(sheet, tool, after=after)
    room = None if take is None else max(0, take - len(first))
    rows = islice(rows, room)
    head = list(islice(rows, max(0, AT_ONCE + 1 - len(first))))
    more: dict[str, Any] = {
        "name": name,
        "cap": cap,
        "sample": sample,
        "reuse": reuse,
        "pattern": pattern,
        "shown_percent": shown_percent,
    }
    more |= {"webhook_url": webhook_url, "uid": uid or uuid4()}
    if len(first) + len(head) <= AT_ONCE:
        with transaction.atomic():
            batch = lifecycle.create(
                owner,
                tool,
                [*first, *head],
                settings=settings,
                sheet=sheet,
                skip_invalid=skip_invalid,
                **more,
            )
            return lifecycle.start(batch) if start else batch
    count = len(first) + len(head) + sum(1 for _row in rows)
    lifecycle.refuse_too_many(owner, count)
    plan: dict[str, Any] = {
        "rows": count,
        "first": len(first),
        "take": room,
        "after": after,
        "skip_invalid": skip_invalid,
        "start": start,
        "tries": 0,
        "errors": [],
    }
    with transaction.atomic():
        batch = lifecycle.open_import(
            owner, tool, first, sheet=sheet, plan=plan, settings=settings, **more
        )
        _ring(batch, now=clock.now())
    return batch


def to_run(sheet: Sheet, tool: Tool, *, after: int = 0) -> Iterator[Row]:
    """The rows below line `after` that are not done already."""
    return (row for row in _below(sheets.rows(sheet, tool), after) if not row.is_done)


def _below(rows: Iterable[Row], line: int) -> Iterator[Row]:
    return (row for row in rows if (row.line or 0) > line)


def again(batch: Batch) -> Batch:
    """Import a sheet whose rows were refused once more, without those that can't be used.

    Raises `lifecycle.StateConflict` for a batch that waits for no such decision.
    """
    with transaction.atomic():
        draft = Batch.objects.select_for_update().filter(pk=batch.pk).first()
        if draft is None or draft.state != BatchState.DRAFT or not draft.plan:
            raise lifecycle.StateConflict(_("It does not wait for an import."))
        plan = {**draft.plan, "errors": [], "skip_invalid": True, "tries": 0}
        Batch.objects.filter(pk=draft.pk).advance(BatchState.IMPORTING, plan=plan)
        _ring(draft, now=clock.now())
    batch.refresh_from_db()
    return batch


def ring_again(batch: Batch, *, now: datetime) -> bool:
    """Ring for an import that nobody has in hand; False where somebody seems to."""
    with transaction.atomic():
        return _ring(batch, now=now)


def _ring(batch: Batch, *, now: datetime) -> bool:
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    waiting = Batch.objects.filter(free, pk=batch.pk, state=BatchState.IMPORTING)
    if not waiting.update(token=None, lease_until=now + dispatch.RING_AGAIN_AFTER):
        return False
    dispatch.ring_import(batch.pk)
    return True


def run(batch_id: int) -> None:
    """Take the next rows in, for as long as a job may; then ring for the rest, or be done.

    Safe to run twice, at once or again: rows become items under the claim only.
    """
    claimed = _claim(batch_id, now=clock.now())
    if claimed is None:
        return
    batch, token = claimed
    try:
        _run(batch, token)
    except Lost:
        log.info("The import of batch %s is somebody else's now", batch.uid)


def _run(batch: Batch, token: UUID) -> None:
    code, params = "", {}
    try:
        if batch.plan["tries"] > MOST_TRIES:
            code, params = "worker_lost", {"n": MOST_TRIES}
        elif not batch.plan["errors"] and _go_on(batch, token):
            return
    except FileNotFoundError:
        code = "sheet_gone"
    except TableError as error:
        code, params = error.code, error.params
    if code:
        _note(batch, token, [Problem(None, "", "", code, messages.text(code, params))])
    _give_up(batch, token)


def _claim(batch_id: int, *, now: datetime) -> tuple[Batch, UUID] | None:
    """The batch, if its import was to be had."""
    token = uuid4()
    free = Q(token=None) | Q(lease_until__lt=now)
    waiting = Batch.objects.filter(free, pk=batch_id, state=BatchState.IMPORTING)
    if not waiting.update(token=token, lease_until=now + LEASE):
        return None
    batch = Batch.objects.select_related("owner", "sheet").get(pk=batch_id)
    # Whoever hands over takes it back: what adds up are workers that died.
    batch.plan["tries"] += 1
    Batch.objects.filter(pk=batch_id, token=token).update(plan=batch.plan)
    return batch, token


def _go_on(batch: Batch, token: UUID) -> bool:
    """Import until the time is over or all is in; False where rows stand in the way."""
    until: float | None = None
    plan = batch.plan
    tool = pricing.of_batch(batch)
    if batch.sheet is None:
        raise FileNotFoundError
    names = batch.items.order_by("position").values_list("name", flat=True)
    taker = intake.Intake(batch, tool, there=names.iterator(chunk_size=5000))
    rows = islice(to_run(batch.sheet, tool, after=plan["after"]), plan["take"])
    rows = islice(rows, taker.count - plan["first"], None)
    while chunk := list(islice(rows, CHUNK)):
        try:
            with _holding(batch, token):
                taker.add(chunk, skip_invalid=plan["skip_invalid"])
        except intake.RowsInvalid as invalid:
            _note(
                batch, token, _problems(batch, tool, invalid, chunk, first=taker.count, rest=rows)
            )
            return False
        # With the first rows, all that were there before are read: what that takes doesn't count,
        # or the last ones of a long sheet would come one portion a job.
        until = until or time.monotonic() + BUDGET_SECONDS
        if time.monotonic() >= until:
            _hand_over(batch, token)
            return True
    _finish(batch, token)
    return True


@contextmanager
def _holding(batch: Batch, token: UUID) -> Iterator[None]:
    """A transaction in which the import is surely ours. Raises `Lost`."""
    with transaction.atomic():
        ours = Batch.objects.filter(pk=batch.pk, token=token, state=BatchState.IMPORTING)
        if not ours.update(lease_until=clock.now() + LEASE):
            raise Lost
        yield


def _hand_over(batch: Batch, token: UUID) -> None:
    """Let others have the queue, and then go on."""
    with _holding(batch, token):
        plan = {**batch.plan, "tries": 0}
        Batch.objects.filter(pk=batch.pk).update(token=None, lease_until=None, plan=plan)
        _ring(batch, now=clock.now())


def _finish(batch: Batch, token: UUID) -> None:
    """All rows are in: ready, and running where that was asked for and can be."""
    with _holding(batch, token):
        moved = Batch.objects.filter(pk=batch.pk)
        moved.advance(BatchState.READY, token=None, lease_until=None)
        halted = ""
        if batch.plan["start"]:
            try:
                lifecycle.start(batch)
            except lifecycle.Refused as refused:
                halted = refused.detail
            except ledger.InsufficientCredits as short:
                halted = messages.text(short.code, short.params)
        moved.update(plan={"halted": halted} if halted else {})


def _problems(
    batch: Batch,
    tool: Tool,
    invalid: intake.RowsInvalid,
    chunk: Sequence[Row],
    *,
    first: int,
    rest: Iterator[Row],
) -> list[Problem]:
    """What is wrong with these rows and with those that come after them; the first of it."""
    sheet = cast("Sheet", batch.sheet)
    found = [problem(error, chunk[error.index - first], sheet) for error in invalid.errors]
    cleaner = intake.Cleaner(tool, batch.settings)
    for row in rest:
        if len(found) >= ERRORS_KEPT:
            break
        _price, errors = intake.judge(row, cleaner)
        found += [problem(error, row, sheet) for error in errors]
    return found[:ERRORS_KEPT]


def _note(batch: Batch, token: UUID, problems: Sequence[Problem]) -> None:
    """Keep what stands in the way, so that also a later worker gives up on it."""
    batch.plan = {**batch.plan, "errors": [asdict(one) for one in problems]}
    with _holding(batch, token):
        Batch.objects.filter(pk=batch.pk).update(plan=batch.plan)


def _give_up(batch: Batch, token: UUID) -> None:
    """Remove the sheet's rows and wait for what its owner decides; `again` goes on."""
    rows = batch.items.filter(position__gte=batch.plan["first"])
    while last := rows.aggregate(n=Max("position"))["n"]:
        with _holding(batch, token):
            rows.filter(position__gt=last - 10 * CHUNK).delete()
    with _holding(batch, token):
        rows.delete()  # the one at position 0
        Batch.objects.filter(pk=batch.pk).advance(BatchState.DRAFT, token=None, lease_until=None)
