"""The audit finds each kind of damage, says where, and costs the same for any number of users."""

import uuid

import pytest
from django.db import connection, models

from accounts.models import User
from credits import ledger
from credits.audit import disagreements
from credits.models import CreditAccount, Grant, HoldPart, LedgerEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def hold(alice, bob, fund):
    """Of Alice's 100 credits 40 on hold and 10 of those charged; Bob has 7 and is fine."""
    fund(alice, 100)
    fund(bob, 7)
    hold = ledger.hold(alice, 40, key="work")
    ledger.capture(hold.pk, item_uid=uuid.uuid4(), generation=1, held=12, price=10)
    return hold


@pytest.fixture
def unguarded(hold):
    """A way to write what the database's own checks would refuse."""

    def update(rows, **figures):
        table = rows.model._meta.db_table
        checks = [c for c in rows.model._meta.constraints if isinstance(c, models.CheckConstraint)]
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("PRAGMA ignore_check_constraints = ON")
                rows.update(**figures)
                cursor.execute("PRAGMA ignore_check_constraints = OFF")
                return
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for check in checks:
                cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{check.name}"')
            rows.update(**figures)

    return update


def test_sound_books_have_no_disagreements(hold):
    assert list(disagreements()) == []


def test_an_empty_site_has_no_disagreements(db):
    assert list(disagreements()) == []


def test_available_credits_that_no_entry_explains_are_named(hold, alice):
    CreditAccount.objects.filter(owner=alice).update(available=63)

    assert list(disagreements()) == [
        "alice@example.com: 63 available, but the entries add up to 62.",
        "alice@example.com: 63 available, but what remains in the grants is 62.",
        (
            "alice@example.com: 91 available and on hold, but granted less captured, expired "
            "and taken is 90."
        ),
    ]


def test_held_credits_that_no_entry_explains_are_named(hold, alice):
    CreditAccount.objects.filter(owner=alice).update(held=29)

    assert list(disagreements()) == [
        "alice@example.com: 29 on hold, but the entries add up to 28.",
        "alice@example.com: 29 on hold, but what is open in the holds is 28.",
        (
            "alice@example.com: 91 available and on hold, but granted less captured, expired "
            "and taken is 90."
        ),
    ]


def test_grants_that_do_not_add_up_are_named(hold, alice):
    Grant.objects.filter(account__owner=alice).update(remaining=61)

    assert list(disagreements()) == [
        "alice@example.com: 62 available, but what remains in the grants is 61."
    ]


def test_a_grant_that_gave_too_much_is_named(hold, alice, fund):
    fund(alice, 10)
    source = Grant.objects.filter(account__owner=alice).earliest("pk")
    Grant.objects.filter(pk=source.pk).update(remaining=63)
    Grant.objects.filter(account__owner=alice).exclude(pk=source.pk).update(remaining=9)

    assert list(disagreements()) == [
        (
            f"alice@example.com: the grant {source.key} gave 100, but 63 remain and 38 are "
            "captured or on hold."
        )
    ]


def test_a_hold_that_was_released_without_an_entry_is_named(hold):
    HoldPart.objects.filter(hold=hold).update(released=3)

    assert list(disagreements()) == [
        "alice@example.com: 28 on hold, but what is open in the holds is 27."
    ]


def test_a_charge_without_an_entry_is_named(hold):
    HoldPart.objects.filter(hold=hold).update(captured=11)

    assert list(disagreements()) == [
        "alice@example.com: 28 on hold, but what is open in the holds is 27.",
        "alice@example.com: 11 captured from holds, but the captures add up to 10.",
        (
            "alice@example.com: 90 available and on hold, but granted less captured, expired "
            "and taken is 89."
        ),
    ]


def test_a_forged_entry_is_named(hold, alice):
    account = CreditAccount.objects.get(owner=alice)
    LedgerEntry.objects.create(
        account=account,
        kind="adjust",
        available_delta=5,
        held_delta=0,
        available_after=67,
        held_after=28,
        key="forged",
    )

    assert list(disagreements()) == [
        "alice@example.com: 62 available, but the entries add up to 67."
    ]


def test_only_the_first_break_of_a_chain_is_named(hold, alice):
    account = CreditAccount.objects.get(owner=alice)
    for number, delta in enumerate([5, -5, 4, -4]):
        LedgerEntry.objects.create(
            account=account,
            kind="adjust",
            available_delta=delta,
            held_delta=0,
            available_after=1,
            held_after=28,
            key=f"forged:{number}",
        )

    breaks = [sentence for sentence in disagreements() if "the entry" in sentence]
    assert breaks == [
        (
            "alice@example.com: the entry forged:0 says 1 available and 28 on hold after it, but "
            "the entries up to it add up to 67 and 28."
        )
    ]


def test_an_account_below_zero_is_named(unguarded, alice):
    unguarded(CreditAccount.objects.filter(owner=alice), available=-1)

    assert (
        "alice@example.com: -1 available and 28 on hold; neither may be below zero."
        in disagreements()
    )


def test_a_part_that_was_overdrawn_is_named(unguarded, hold):
    unguarded(HoldPart.objects.filter(hold=hold), released=31)
    part = hold.parts.get()

    assert (
        f"alice@example.com: the hold work took 40 from grant {part.grant_id}, but 10 were "
        "captured and 31 released." in disagreements()
    )


def test_every_account_that_is_wrong_is_named(hold, alice, bob):
    Grant.objects.update(remaining=1)

    owners = [sentence.split(":")[0] for sentence in disagreements()]

    assert owners == [alice.email, bob.email]


def test_the_audit_asks_as_much_for_fifty_accounts_as_for_one(
    hold, fund, django_assert_num_queries
):
    for number in range(50):
        user = User.objects.create_user(f"user{number}@example.com")
        fund(user, 10)
        ledger.hold(user, 5, key=f"work:{number}")

    with django_assert_num_queries(5):
        assert list(disagreements()) == []
