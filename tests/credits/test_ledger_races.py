"""The ledger under sixteen threads. Each test runs on PostgreSQL and on SQLite alike."""

import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from credits import ledger
from credits.models import CreditAccount

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]

THREADS = 16


def at_once(*calls):
    """Run all calls at the same moment, each on a connection of its own; what they gave.

    A refusal by the ledger is an answer; any other exception fails the test.
    """
    start = threading.Barrier(len(calls))
    answers = [None] * len(calls)

    def run(number, call):
        try:
            start.wait()
            answers[number] = call()
        except Exception as error:  # noqa: BLE001 - looked at below
            answers[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        if isinstance(answer, Exception) and not isinstance(answer, ledger.LedgerError):
            raise answer
    return answers


def test_a_lock_outside_a_transaction_is_refused(alice):
    with pytest.raises(transaction.TransactionManagementError):
        ledger.lock(alice.pk)


def test_an_account_is_opened_once_by_sixteen_visitors(alice, settings):
    settings.WELCOME_CREDITS = 25

    balances = at_once(*[lambda: ledger.balance(alice)] * THREADS)

    assert set(balances) == {(25, 0)}
    assert CreditAccount.objects.count() == 1
    assert ledger.entries(alice).count() == 1


def test_sixteen_holds_cannot_oversell_an_account(alice, fund):
    fund(alice, 100)

    answers = at_once(
        *[lambda n=n: ledger.hold(alice, 10, key=f"work:{n}") for n in range(THREADS)]
    )

    refused = [answer for answer in answers if isinstance(answer, ledger.InsufficientCredits)]
    assert len(refused) == THREADS - 10
    assert {refusal.available for refusal in refused} == {0}
    assert ledger.balance(alice) == (0, 100)


def test_one_key_holds_once_however_often_it_is_sent_at_once(alice, fund):
    fund(alice, 100)

    holds = at_once(*[lambda: ledger.hold(alice, 10, key="work")] * THREADS)

    assert len({hold.pk for hold in holds}) == 1
    assert ledger.balance(alice) == (90, 10)


def test_each_item_is_captured_once_by_three_workers_at_once(alice, fund):
    fund(alice, 200)
    items = [uuid.uuid4() for _ in range(80)]
    hold = ledger.hold(alice, 160, key="work")

    def worker(mine):
        return lambda: [
            ledger.capture(hold.pk, item_uid=item, generation=1, held=2, price=1) for item in mine
        ]

    # Every item is on the list of three workers, who meet it at about the same time.
    lists = [items[n % 5 :: 5] for n in range(15)]
    answers = at_once(*map(worker, lists))

    captured = Counter(entry.item_uid for answer in answers for entry in answer)
    assert set(captured.values()) == {3}
    assert len({entry.pk for answer in answers for entry in answer}) == 80
    assert {entry.kind for answer in answers for entry in answer} == {"capture"}
    assert ledger.balance(alice) == (120, 0)
    assert ledger.captured_by_item() == dict.fromkeys(items, 1)
    after = ledger.entries(alice).filter(kind="capture").values_list("held_after", flat=True)
    assert len(set(after)) == 80


def test_an_item_is_either_charged_or_released(alice, fund):
    fund(alice, 100)
    items = [uuid.uuid4() for _ in range(40)]
    hold = ledger.hold(alice, 40, key="work")
    shares = [ledger.Share(item_uid=item, generation=1, held=1) for item in items]

    def workers(number):
        return lambda: [
            ledger.capture(hold.pk, item_uid=item, generation=1, held=1, price=1)
            for item in items[number::8]
        ]

    def cancellers(number):
        return lambda: ledger.release_many(hold.pk, shares[number * 5 : number * 5 + 5])

    at_once(*map(workers, range(8)), *map(cancellers, range(8)))

    charged = len(ledger.captured_by_item())
    released = ledger.entries(alice).filter(kind="release").count()
    assert charged + released == 40
    assert ledger.balance(alice) == (100 - charged, 0)


def test_what_runs_out_is_taken_once_by_many_runs(alice, bob, fund):
    soon = timezone.now() + timedelta(hours=1)
    for user in (alice, bob):
        fund(user, 10, kind="promo", expires_at=soon)

    taken = at_once(*[lambda: ledger.expire(soon)] * 8)

    assert sum(expired.credits for expired in taken) == 20
    assert ledger.balance(alice) == ledger.balance(bob) == (0, 0)


def test_a_hold_is_closed_once_by_many(alice, fund):
    fund(alice, 10)
    hold = ledger.hold(alice, 10, key="work")

    answers = at_once(*[lambda: ledger.close(hold.pk)] * 8)

    assert len([entry for entry in answers if entry]) == 1
    assert ledger.balance(alice) == (10, 0)


def test_a_capture_is_refunded_once_by_many(alice, fund):
    fund(alice, 10)
    hold = ledger.hold(alice, 10, key="work")
    charged = ledger.capture(hold.pk, item_uid=uuid.uuid4(), generation=1, held=10, price=10)

    entries = at_once(*[lambda: ledger.refund(charged)] * 8)

    assert len({entry.pk for entry in entries}) == 1
    assert ledger.balance(alice) == (10, 0)
