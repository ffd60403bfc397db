"""What runs by the clock, and when: the one table, in UTC, and who runs what is due.

`manage.py scheduler` looks every two seconds. Whatever was due while nobody looked runs once when
somebody does. Two schedulers, on two hosts, run a chore once: they claim it by compare-and-set.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from croniter import croniter
from django.utils import timezone

from studio import findings
from studio.chores import CHORES, sentence
from studio.models import ScheduledRun

TABLE: Mapping[str, str] = {
    "runrecurring": "* * * * *",
    "grantmonthlycredits": "0 * * * *",
    "expirecredits": "5 * * * *",
    "tellbalances": "*/10 * * * *",
    "tidyup": "20 * * * *",
    "pruneuploads": "40 * * * *",
    "pruneassets": "15 3 * * *",
    "checkledger": "30 2 * * *",
    "checkstorage": "0 4 * * 0",
    "reportusage": "0 6 * * *",
}
"""Cron's five fields: minute, hour, day of the month, month, day of the week."""

PUNCTUAL = ("runrecurring",)
"""What people have given a time to: it does not wait for chores that may take an hour."""
LANES = (PUNCTUAL, tuple(name for name in TABLE if name not in PUNCTUAL))
"""Chores that run one after another; those of different lanes run beside each other."""

ABANDONED_AFTER = timedelta(hours=1)
"""A run that began so long ago and has not ended died with its scheduler: it is due again."""
LATEST_LINE = 2_000

log = logging.getLogger(__name__)


def due(*, now: datetime, lane: Sequence[str] = tuple(TABLE)) -> list[str]:
    """The chores whose time has come since they began last, in the table's order."""
    last = {run.name: run for run in ScheduledRun.objects.filter(name__in=lane)}
    return [name for name in lane if _is_due(last.get(name, ScheduledRun(name=name)), now)]


def run_due(*, now: datetime, lane: Sequence[str] = tuple(TABLE)) -> list[str]:
    """Run what is due, one after another; the names of those that this process ran.

    One that fails is logged and noted, and the others run.
    """
    return [name for name in due(now=now, lane=lane) if _run(name, now=now)]


def _is_due(last: ScheduledRun, now: datetime) -> bool:
    if last.begun_at is None:
        return True
    if last.ended_at is None and last.begun_at < now - ABANDONED_AFTER:
        return True
    following: datetime = croniter(TABLE[last.name], last.begun_at).get_next(datetime)
    return following <= now


def _run(name: str, *, now: datetime) -> bool:
    ScheduledRun.objects.bulk_create([ScheduledRun(name=name)], ignore_conflicts=True)
    seen = ScheduledRun.objects.get(name=name)
    if not _is_due(seen, now):
        return False
    mine = ScheduledRun.objects.filter(name=name, begun_at=seen.begun_at)
    if not mine.update(begun_at=now, ended_at=None, is_well=None, line=""):
        return False  # the other scheduler was faster
    chore = CHORES[name]
    wrong: Sequence[str] = ()
    try:
        outcome = chore.run(now=now, **({"dry_run": False} if chore.can_rehearse else {}))
        line, is_well, wrong = sentence(outcome), not outcome.wrong, outcome.wrong
        if outcome.wrong:
            log.error("%s: %s %s", name, line, " ".join(outcome.wrong[:20]))
    except Exception as problem:
        log.exception("%s failed", name)
        line, is_well = f"It failed: {type(problem).__name__}: {problem}", False
        wrong = [line]
    ScheduledRun.objects.filter(name=name, begun_at=now).update(
        ended_at=timezone.now(), is_well=is_well, line=line[:LATEST_LINE]
    )
    findings.tell(seen, wrong)
    return True
