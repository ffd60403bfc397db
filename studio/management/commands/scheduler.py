"""``manage.py scheduler``: what happens by the clock."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error, close_old_connections, connections

from batches import clock, notices
from batches.reconcile import reconcile
from studio import schedule
from studio.supervisor import StopSignal

RECONCILE_SECONDS = 2.0
NOTICE_ROUNDS = 5

Lane = tuple[str, ...]

log = logging.getLogger(__name__)


class Command(BaseCommand):
    """Reconcile every two seconds, tell who wants to be told, run the schedule beside it."""

    requires_system_checks: list[str] = []  # the supervisor's own start has run them
    help = "Reconcile every two seconds, and run the schedule. Run one under a supervisor."

    def handle(self, **_: Any) -> None:
        """Go on whatever happens: the next round may do better."""
        stop, rounds = StopSignal(), 0
        lanes: dict[Lane, threading.Thread | None] = dict.fromkeys(schedule.LANES)
        while not stop.asked:
            close_old_connections()
            _carefully(lambda: reconcile(now=clock.now()))
            if rounds % NOTICE_ROUNDS == 0:
                _carefully(lambda: notices.tell(now=clock.now()))
            for lane, thread in lanes.items():
                if (thread is None or not thread.is_alive()) and _something_is_due(lane):
                    lanes[lane] = on_a_thread(lane)
            rounds += 1
            stop.wait(RECONCILE_SECONDS)


def on_a_thread(lane: Lane) -> threading.Thread:
    """Run what is due of a lane: it may take long, and lost items must not wait for it.

    It is left behind when we are stopped: each chore can be broken off anywhere.
    """
    thread = threading.Thread(target=_run_chores, args=[lane], name="chores", daemon=True)
    thread.start()
    return thread


def _something_is_due(lane: Lane) -> bool:
    try:
        return bool(schedule.due(now=clock.now(), lane=lane))
    except Error as problem:
        log.warning("Nobody knows what is due: %s", problem)
        return False


def _run_chores(lane: Lane) -> None:
    try:
        _carefully(lambda: schedule.run_due(now=clock.now(), lane=lane))
    finally:
        connections.close_all()


def _carefully(step: Callable[[], object]) -> None:
    try:
        step()
    except Exception:
        log.exception("A round of the scheduler failed.")
