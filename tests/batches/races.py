"""Several things at the same moment, each on a database connection of its own."""

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection

from batches.lifecycle import Refused
from credits.ledger import LedgerError

PATIENCE = 60.0
"""Seconds after which threads that wait for each other count as a deadlock."""


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Start all calls at the same moment and wait for them; what each one returned.

    A refusal is an answer too; any other exception fails the test.
    """
    start = threading.Barrier(len(calls))
    answers: list[Any] = [None] * len(calls)

    def run(number: int, call: Callable[[], Any]) -> None:
        try:
            start.wait(PATIENCE)
            answers[number] = call()
        except Exception as error:  # noqa: BLE001 - looked at below
            answers[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the threads wait for each other"
    for answer in answers:
        if isinstance(answer, Exception) and not isinstance(answer, Refused | LedgerError):
            raise answer
    return answers


def refusals(answers: list[Any]) -> list[type[Exception]]:
    """The kinds of refusals among the answers."""
    return [type(answer) for answer in answers if isinstance(answer, Exception)]
