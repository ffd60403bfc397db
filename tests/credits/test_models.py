"""What the database itself refuses, whoever asks."""

import uuid

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import ProtectedError

from credits import ledger
from credits.models import CreditAccount, Grant, HoldPart, LedgerEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry(alice, fund):
    return fund(alice, 100)


@pytest.fixture
def account(entry):
    return entry.account


def sql(statement, *values):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)


class TestTheJournalIsAppendOnly:
    def test_the_database_refuses_to_change_an_entry(self, entry):
        with pytest.raises(DatabaseError, match="append-only"):
            sql("UPDATE credits_ledgerentry SET note = 'forged' WHERE id = %s", entry.pk)

    def test_the_database_refuses_to_change_an_entry_to_what_it_is(self, entry):
        with pytest.raises(DatabaseError, match="append-only"):
            sql("UPDATE credits_ledgerentry SET note = note WHERE id = %s", entry.pk)

    @pytest.mark.skipif(
        "connection.vendor == 'sqlite'",
        reason="SQLite empties test tables by DELETE; see the migration 0002_append_only.",
    )
    def test_the_database_refuses_to_delete_an_entry(self, entry):
        with pytest.raises(DatabaseError, match="append-only"):
            sql("DELETE FROM credits_ledgerentry WHERE id = %s", entry.pk)

    def test_the_model_refuses_to_change_and_to_delete(self, entry):
        entry.note = "forged"

        with pytest.raises(TypeError, match="never changed"):
            entry.save()
        with pytest.raises(TypeError, match="never deleted"):
            entry.delete()

        assert LedgerEntry.objects.get().note == ""

    def test_so_does_its_queryset(self, entry):
        with pytest.raises(TypeError, match="never changed"):
            LedgerEntry.objects.update(note="forged")
        with pytest.raises(TypeError, match="never deleted"):
            LedgerEntry.objects.all().delete()
        with pytest.raises(TypeError, match="never changed"), transaction.atomic():
            LedgerEntry.objects.bulk_update([entry], ["note"])

        assert LedgerEntry.objects.get().note == ""


class TestChecks:
    @pytest.mark.parametrize(
        ("model", "figures"),
        [
            (CreditAccount, {"available": -1}),
            (CreditAccount, {"held": -1}),
            (Grant, {"remaining": -1}),
            (Grant, {"remaining": 101}),
            (Grant, {"amount": 0, "remaining": 0}),
            (Grant, {"kind": "bribe"}),
            (HoldPart, {"captured": 41}),
            (HoldPart, {"captured": 21, "released": 20}),
            (HoldPart, {"captured": -1}),
            (HoldPart, {"released": -1}),
        ],
    )
    def test_figures_out_of_range_are_refused(self, entry, alice, model, figures):
        ledger.hold(alice, 40, key="work")

        with pytest.raises(IntegrityError), transaction.atomic():
            model.objects.update(**figures)

    @pytest.mark.parametrize(
        ("kind", "available", "held"),
        [
            ("grant", -1, 0),
            ("grant", 1, 1),
            ("refund", -1, 0),
            ("adjust", 0, 0),
            ("adjust", 1, 1),
            ("expire", 1, 0),
            ("hold", 1, -1),
            ("hold", -1, 2),
            ("release", -1, 1),
            ("release", 2, -1),
            ("capture", 1, -1),
            ("capture", 0, 1),
            ("gift", 1, 0),
        ],
    )
    def test_an_entry_moves_only_what_its_kind_may(self, account, kind, available, held):
        with pytest.raises(IntegrityError), transaction.atomic():
            self.write(account, kind, available, held)

    @pytest.mark.parametrize(
        ("kind", "available", "held"),
        [
            ("grant", 1, 0),
            ("refund", 1, 0),
            ("adjust", 1, 0),
            ("adjust", -1, 0),
            ("expire", -1, 0),
            ("hold", -1, 1),
            ("release", 1, -1),
            ("capture", 0, -1),
        ],
    )
    def test_and_that_is_let_through(self, account, kind, available, held):
        self.write(account, kind, available, held)

        assert LedgerEntry.objects.filter(key="by hand").count() == 1

    def test_a_capture_names_its_item(self, account):
        with pytest.raises(IntegrityError), transaction.atomic():
            self.write(account, "capture", 0, -1, item_uid=None)

    @pytest.mark.parametrize("after", [{"available_after": -1}, {"held_after": -1}])
    def test_no_entry_leaves_less_than_nothing(self, account, after):
        with pytest.raises(IntegrityError), transaction.atomic():
            self.write(account, "adjust", 1, 0, **after)

    def write(self, account, kind, available, held, **fields):
        row = {
            "item_uid": uuid.uuid4(),
            "available_after": 5,
            "held_after": 5,
            "key": "by hand",
        } | fields
        LedgerEntry.objects.create(
            account=account, kind=kind, available_delta=available, held_delta=held, **row
        )


class TestUnique:
    def test_an_item_is_captured_once_even_behind_the_ledgers_back(self, account):
        item = uuid.uuid4()

        def capture(number):
            LedgerEntry.objects.create(
                account=account,
                kind="capture",
                available_delta=0,
                held_delta=-1,
                available_after=0,
                held_after=0,
                item_uid=item,
                key=f"by hand:{number}",
            )

        capture(1)
        with pytest.raises(IntegrityError), transaction.atomic():
            capture(2)

    def test_a_key_is_used_once_even_behind_the_ledgers_back(self, entry, account):
        with pytest.raises(IntegrityError), transaction.atomic():
            LedgerEntry.objects.create(
                account=account,
                kind="adjust",
                available_delta=1,
                held_delta=0,
                available_after=101,
                held_after=0,
                key=entry.key,
            )

    def test_a_user_has_one_account(self, account, alice):
        with pytest.raises(IntegrityError), transaction.atomic():
            CreditAccount.objects.create(owner=alice)


def test_a_user_with_credits_cannot_be_deleted(account, alice):
    with pytest.raises(ProtectedError):
        alice.delete()
