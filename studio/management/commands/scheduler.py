"""``manage.py scheduler``: what happens by the clock."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error, close_old_connections, connections
from django.utils import timezone

from batches import notices
from batches.reconcile import reconcile
from studio import schedule
from studio.supervisor import StopSignal

RECONCILE_SECONDS = 2.0
NOTICE_ROUNDS = 5

log = logging.getLogger(__name__)


class Command(BaseCommand):
    """Reconcile every two seconds, tell who wants to be told, run the schedule beside it."""

    requires_system_checks: list[str] = []  # the supervisor's own start has run them
    help = "Reconcile every two seconds, and run the schedule. Run one under a supervisor."

    def handle(self, **_: Any) -> None:
        """Go on whatever happens: the next round may do better."""
        stop, rounds = StopSignal(), 0
        chores: threading.Thread | None = None
        while not stop.asked:
            close_old_connections()
            _carefully(lambda: reconcile(now=timezone.now()))
            if rounds % NOTICE_ROUNDS == 0:
                _carefully(lambda: notices.tell(now=timezone.now()))
            if (chores is None or not chores.is_alive()) and _something_is_due():
                # On a thread: a chore may take long, and lost items must not wait for it. It is
                # left behind when we are stopped: each can be broken off anywhere.
                chores = threading.Thread(target=_run_chores, name="chores", daemon=True)
                chores.start()
            rounds += 1
            stop.wait(RECONCILE_SECONDS)


def _something_is_due() -> bool:
    try:
        return bool(schedule.due(now=timezone.now()))
    except Error as problem:
        log.warning("Nobody knows what is due: %s", problem)
        return False


def _run_chores() -> None:
    try:
        _carefully(lambda: schedule.run_due(now=timezone.now()))
    finally:
        connections.close_all()


def _carefully(step: Callable[[], object]) -> None:
    try:
        step()
    except Exception:
        log.exception("A round of the scheduler failed.")
