"""``manage.py scheduler``: what happens by the clock."""

import logging
from typing import Any

from django.core.management.base import BaseCommand
from django.db import close_old_connections
from django.utils import timezone

from accounts import idempotency
from batches import drafts, library, notices, partials, sheets, webhooks
from batches.reconcile import reconcile, sweep_orphans
from credits import ledger
from studio.supervisor import StopSignal

RECONCILE_SECONDS = 2.0
HOURLY_ROUNDS = int(3600 / RECONCILE_SECONDS)
NOTICE_ROUNDS = 5

log = logging.getLogger(__name__)


class Command(BaseCommand):
    """Reconcile every two seconds, tell who wants to be told, clean up every hour."""

    requires_system_checks: list[str] = []  # the supervisor's own start has run them
    help = "Reconcile every two seconds, clean up every hour. Run one under a supervisor."

    def handle(self, **_: Any) -> None:
        """Go on whatever happens: the next round may do better."""
        stop, rounds = StopSignal(), 0
        while not stop.asked:
            close_old_connections()
            try:
                reconcile(now=timezone.now())
                if rounds % NOTICE_ROUNDS == 0:
                    notices.tell(now=timezone.now())
                if rounds % HOURLY_ROUNDS == 0:
                    ledger.expire(timezone.now())
                    idempotency.prune()
                    partials.prune(now=timezone.now())
                    drafts.prune(now=timezone.now())
                    sheets.remove_unused(now=timezone.now())
                    library.prune(now=timezone.now())
                    webhooks.prune(now=timezone.now())
                    sweep_orphans(now=timezone.now())
            except Exception:
                log.exception("A round of the scheduler failed.")
            rounds += 1
            stop.wait(RECONCILE_SECONDS)
