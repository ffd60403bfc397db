"""What is done by the clock or by hand: each chore does its work once and says it in one line.

Every chore may run at any time, twice, and beside itself. The commands of the same names, and the
schedule, are doors onto these.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

import redis
from django.template.defaultfilters import filesizeformat

from accounts import idempotency
from accounts.models import User
from batches import (
    audit,
    deliveries,
    dispatch,
    drafts,
    inventory,
    library,
    partials,
    recurring,
    sheets,
    uploads,
    usage,
    webhooks,
)
from batches.exports.report import harmless
from batches.reconcile import reconcile, sweep_orphans
from credits import audit as credits_audit
from credits import ledger, low, monthly


@dataclass(frozen=True)
class Outcome:
    """What a chore has done, as one sentence; `wrong` are invariants that it found broken."""

    line: str
    wrong: Sequence[str] = ()


@dataclass(frozen=True)
class Chore:
    """One of them. `can_rehearse`: it deletes or grants, and can say beforehand what."""

    run: Callable[..., Outcome]
    help: str
    can_rehearse: bool = False


def _reconcile(*, now: datetime) -> Outcome:
    found = reconcile(now=now)
    return Outcome(
        f"{found.leases_ended} leases ended, {found.rings} items rung again, "
        f"{found.batches_closed} batches closed"
    )


def _grant_monthly(*, now: datetime, dry_run: bool) -> Outcome:
    given = monthly.grant_monthly(now=now, dry_run=dry_run)
    line = (
        f"{_would(dry_run, 'given')} {given.credits} monthly credits to {given.people} people, "
        f"{given.carried_over} carried over"
    )
    failed = f"{given.failed} people did not get theirs; the log says why"
    return Outcome(f"{line}, {failed}" if given.failed else line)


def _expire(*, now: datetime, dry_run: bool) -> Outcome:
    gone = ledger.expire(now, dry_run=dry_run)
    return Outcome(
        f"{_would(dry_run, 'taken')} {gone.credits} credits that ran out from {gone.accounts} "
        f"people, {gone.carried_over} carried over"
    )


def _prune_assets(*, now: datetime, dry_run: bool) -> Outcome:
    gone = library.prune(now=now, dry_run=dry_run)
    return Outcome(
        f"{_would(dry_run, 'deleted')} {gone} images that were in the trash for "
        f"{library.TRASH_DAYS} days"
    )


def _prune_uploads(*, now: datetime, dry_run: bool) -> Outcome:
    unused = uploads.prune(now=now, dry_run=dry_run)
    broken = partials.prune(now=now, dry_run=dry_run)
    files = deliveries.forget_files(now=now, dry_run=dry_run)
    return Outcome(
        f"{_would(dry_run, 'deleted')} {unused} uploads unused for {uploads.KEPT_FOR.days} days, "
        f"{broken} that were broken off, {files} files of deliveries older than "
        f"{deliveries.FILES_KEPT_FOR.days} days"
    )


def _tidy_up(*, now: datetime, dry_run: bool) -> Outcome:
    pages = drafts.prune(now=now, dry_run=dry_run)
    tables = sheets.remove_unused(now=now, dry_run=dry_run)
    told = webhooks.prune(now=now, dry_run=dry_run)
    runs = recurring.prune(now=now, dry_run=dry_run)
    answers = idempotency.prune(now=now, dry_run=dry_run)
    orphans = sweep_orphans(now=now, dry_run=dry_run)
    return Outcome(
        f"{_would(dry_run, 'forgotten')} {pages} unstarted pages, {tables} spreadsheets, "
        f"{told} webhook messages, {runs} old runs, {answers} answered requests, "
        f"{orphans} files that nothing names"
    )


def _tell_balances(*, now: datetime) -> Outcome:
    return Outcome(f"{low.tell(now=now)} people were told that their credits run low")


def _run_recurring(*, now: datetime, dry_run: bool) -> Outcome:
    if dry_run:
        return Outcome(f"would have {_begun([one.name for one in recurring.due(now=now)])}")
    done = recurring.run_due(now=now)
    more = {
        "skipped, since the run before goes on": done.skipped,
        "runs ended": done.ended,
        "failures told": done.told,
        "could not be begun; the log says why": done.failed,
    }
    said = [_begun(done.begun), *(f"{n} {what}" for what, n in more.items() if n)]
    return Outcome(", ".join(said))


def _begun(names: Sequence[str]) -> str:
    listed = ", ".join(f"“{name}”" for name in names[:10])
    return f"begun {len(names)} schedules{f': {listed}' if names else ''}"


def _check_ledger(*, now: datetime) -> Outcome:  # noqa: ARG001 - the ledger is right at any time
    wrong = list(chain(credits_audit.disagreements(), audit.disagreements()))
    if wrong:
        return Outcome(f"the ledger disagrees in {len(wrong)} places", wrong)
    return Outcome("the ledger agrees with itself and with the items")


def _check_storage(*, now: datetime, deep: bool = False) -> Outcome:  # noqa: ARG001
    found = inventory.take(deep=deep)
    line = (
        f"{found.files} files ({size_of(found.bytes)}), {found.named} named by rows, "
        f"{found.orphans} by none, {len(found.wrong)} missing or damaged"
    )
    return Outcome(line, found.wrong)


def _report_usage(
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    user: User | None = None,
    into: Path | None = None,
) -> Outcome:
    until = until or now
    since = since or until.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    people, done, failed = set(), 0, 0
    rows = []
    for used in usage.per_person_and_tool(since=since, until=until, user=user):
        people.add(used.owner)
        done, failed = done + used.done, failed + used.failed
        if into:
            rows.append([harmless(str(value)) for value in used])
    if into:
        with into.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([usage.Used._fields, *rows])
    captured, granted = ledger.moved(since=since, until=until, user=user)
    return Outcome(
        f"{since:%Y-%m-%d} to {until:%Y-%m-%d}: {done} images done and {failed} failed for "
        f"{len(people)} people, {captured} credits used, {granted} given"
        + (f"; {len(rows)} rows in {into}" if into else "")
    )


CHORES: Mapping[str, Chore] = {
    "reconcile": Chore(
        _reconcile, "End leases that ran out, ring lost items again, close what nobody closed."
    ),
    "grantmonthlycredits": Chore(
        _grant_monthly, "Give the month's credits to everybody who has not got them yet.", True
    ),
    "expirecredits": Chore(
        _expire, "Take what is left of credits that have run out; carry over what may be.", True
    ),
    "pruneassets": Chore(
        _prune_assets, "Delete what has been in the trash of libraries for 30 days.", True
    ),
    "pruneuploads": Chore(
        _prune_uploads, "Delete uploads that nobody has used, and old files of deliveries.", True
    ),
    "tidyup": Chore(_tidy_up, "Forget pages, sheets, messages and files that nobody has.", True),
    "runrecurring": Chore(
        _run_recurring, "Begin the schedules that are due, and end runs whose batches ended.", True
    ),
    "tellbalances": Chore(_tell_balances, "Tell who wants it that few credits are left."),
    "checkledger": Chore(
        _check_ledger, "Recompute the whole ledger; end with 1 on any disagreement."
    ),
    "checkstorage": Chore(
        _check_storage, "Look whether every file is there; end with 1 where one is not."
    ),
    "reportusage": Chore(_report_usage, "Sum up images and credits of a time."),
}


def valkey_answers() -> bool:
    """Whether items that wait can be rung for."""
    try:
        return bool(dispatch.connection().ping())
    except (redis.RedisError, OSError):
        return False


def sentence(outcome: Outcome, *, dry_run: bool = False) -> str:
    """The one line: a sentence, which also says whether Valkey is away."""
    line = outcome.line[0].upper() + outcome.line[1:]
    if dry_run:
        line = f"Dry run: {outcome.line}"
    return f"{line}{'' if valkey_answers() else '; Valkey does not answer'}."


def size_of(bytes_: int) -> str:
    """Bytes for people."""
    return filesizeformat(bytes_).replace("\xa0", " ")


def _would(dry_run: bool, done: str) -> str:
    return f"would have {done}" if dry_run else done
