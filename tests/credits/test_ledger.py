"""What each verb of the ledger does, and does not do."""

import uuid
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from credits import ledger
from credits.models import CreditAccount, Grant, Hold, LedgerEntry

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sound")]

YESTERDAY = timezone.now() - timedelta(days=1)
TOMORROW = timezone.now() + timedelta(days=1)
NEXT_YEAR = timezone.now() + timedelta(days=365)


def remaining():
    return dict(Grant.objects.values_list("kind", "remaining"))


def deltas(user):
    entries = ledger.entries(user).order_by("pk")
    return list(entries.values_list("kind", "available_delta", "held_delta"))


class TestAccounts:
    def test_the_first_look_opens_the_account_with_the_welcome_credits(self, alice, settings):
        settings.WELCOME_CREDITS = 25

        assert ledger.balance(alice) == (25, 0)
        assert ledger.entries(alice).get().key == f"welcome:{alice.pk}"

    def test_the_welcome_comes_once(self, alice, settings):
        settings.WELCOME_CREDITS = 25

        ledger.account_for(alice)
        ledger.account_for(alice)

        assert ledger.balance(alice) == (25, 0)

    def test_no_welcome_credits_means_an_empty_account(self, alice):
        assert ledger.balance(alice) == (0, 0)
        assert not ledger.entries(alice).exists()

    def test_a_lock_opens_the_account_of_somebody_new(self, alice, settings):
        settings.WELCOME_CREDITS = 25

        account = ledger.lock(alice.pk)

        assert (account.owner_id, account.available) == (alice.pk, 25)

    def test_accounts_are_kept_apart(self, alice, bob, fund):
        fund(alice, 10)
        fund(bob, 20)

        ledger.hold(bob, 5, key="work")

        assert ledger.balance(alice) == (10, 0)
        assert ledger.balance(bob) == (15, 5)


class TestGrant:
    def test_a_grant_can_be_spent(self, alice, staff):
        entry = ledger.grant(
            alice, 100, kind="purchase", key="order:1", actor=staff, note="Thank you"
        )

        assert ledger.balance(alice) == (100, 0)
        assert (entry.kind, entry.available_delta, entry.held_delta) == ("grant", 100, 0)
        assert (entry.available_after, entry.held_after) == (100, 0)
        assert (entry.actor, entry.note) == (staff, "Thank you")

    def test_a_key_gives_once(self, alice):
        first = ledger.grant(alice, 100, kind="purchase", key="order:1")

        again = ledger.grant(alice, 100, kind="purchase", key="order:1")

        assert again == first
        assert ledger.balance(alice) == (100, 0)

    def test_a_key_of_somebody_else_is_a_conflict(self, alice, bob):
        ledger.grant(alice, 100, kind="purchase", key="order:1")

        with pytest.raises(ledger.KeyConflict) as refusal:
            ledger.grant(bob, 100, kind="purchase", key="order:1")

        assert refusal.value.code == "key_conflict"
        assert ledger.balance(bob) == (0, 0)

    def test_a_key_of_another_verb_is_a_conflict(self, alice):
        ledger.grant(alice, 100, kind="purchase", key="order:1")

        with pytest.raises(ledger.KeyConflict):
            ledger.hold(alice, 10, key="order:1")

        assert ledger.balance(alice) == (100, 0)

    @pytest.mark.parametrize("amount", [0, -1])
    def test_nothing_and_less_cannot_be_given(self, alice, amount):
        with pytest.raises(ValueError, match="not an amount"):
            ledger.grant(alice, amount, kind="purchase", key="order:1")

    def test_a_kind_that_nobody_knows_is_refused(self, alice):
        with pytest.raises(ValueError, match="bribe"):
            ledger.grant(alice, 1, kind="bribe", key="order:1")


class TestHold:
    def test_a_hold_sets_credits_aside(self, alice, fund):
        fund(alice, 100)

        hold = ledger.hold(alice, 40, key="work", reference="batch:1")

        assert ledger.balance(alice) == (60, 40)
        assert ledger.open_references() == {"batch:1": 40}
        assert hold.reference == "batch:1"
        entry = ledger.entries(alice).get(key="work")
        assert (entry.kind, entry.available_delta, entry.held_delta) == ("hold", -40, 40)
        assert (entry.hold, entry.reference) == (hold, "batch:1")

    def test_too_few_credits_are_refused_with_both_figures(self, alice, fund):
        fund(alice, 39)

        with pytest.raises(ledger.InsufficientCredits) as refusal:
            ledger.hold(alice, 40, key="work")

        assert refusal.value.code == "insufficient_credits"
        assert refusal.value.params == {"required": 40, "available": 39}
        assert ledger.balance(alice) == (39, 0)
        assert not Hold.objects.exists()

    def test_the_last_credit_can_be_held(self, alice, fund):
        fund(alice, 40)

        ledger.hold(alice, 40, key="work")

        assert ledger.balance(alice) == (0, 40)

    def test_a_key_holds_once(self, alice, fund):
        fund(alice, 100)
        first = ledger.hold(alice, 40, key="work")

        again = ledger.hold(alice, 40, key="work")

        assert again == first
        assert ledger.balance(alice) == (60, 40)

    def test_a_hold_of_somebody_else_is_not_handed_out(self, alice, bob, fund):
        fund(alice, 100)
        fund(bob, 100)
        ledger.hold(alice, 40, key="work")

        with pytest.raises(ledger.KeyConflict):
            ledger.hold(bob, 40, key="work")

    @pytest.mark.parametrize("amount", [0, -1])
    def test_nothing_and_less_cannot_be_held(self, alice, fund, amount):
        fund(alice, 100)

        with pytest.raises(ValueError, match="not an amount"):
            ledger.hold(alice, amount, key="work")

    def test_free_credits_are_drawn_before_paid_ones(self, alice, fund):
        fund(alice, 10, kind="purchase")
        fund(alice, 10, kind="promo")
        fund(alice, 10, kind="monthly")

        ledger.hold(alice, 15, key="work")

        assert remaining() == {"purchase": 10, "promo": 5, "monthly": 0}

    def test_of_one_priority_what_runs_out_first_is_drawn_first(self, alice, fund):
        fund(alice, 10, kind="refund", priority=1)
        fund(alice, 10, kind="promo", priority=1, expires_at=NEXT_YEAR)
        fund(alice, 10, kind="monthly", priority=1, expires_at=TOMORROW)

        ledger.hold(alice, 15, key="work")

        assert remaining() == {"refund": 10, "promo": 5, "monthly": 0}

    def test_equal_grants_are_drawn_oldest_first(self, alice, fund):
        fund(alice, 10)
        fund(alice, 10)

        ledger.hold(alice, 15, key="work")

        assert list(Grant.objects.order_by("pk").values_list("remaining", flat=True)) == [0, 5]

    def test_a_smaller_priority_goes_before_an_earlier_end(self, alice, fund):
        fund(alice, 10, kind="promo", priority=2, expires_at=TOMORROW)
        fund(alice, 10, kind="purchase", priority=1)

        ledger.hold(alice, 10, key="work")

        assert remaining() == {"promo": 10, "purchase": 0}

    def test_credits_that_ran_out_cannot_be_held(self, alice, fund):
        fund(alice, 10, kind="promo", expires_at=YESTERDAY)
        fund(alice, 5)

        with pytest.raises(ledger.InsufficientCredits) as refusal:
            ledger.hold(alice, 6, key="work")

        assert refusal.value.params == {"required": 6, "available": 5}

    def test_credits_that_ran_out_are_taken_by_the_next_hold(self, alice, fund):
        fund(alice, 10, kind="promo", expires_at=YESTERDAY)
        fund(alice, 5)

        ledger.hold(alice, 5, key="work")

        assert ledger.balance(alice) == (0, 5)
        assert remaining() == {"promo": 0, "purchase": 0}

    def test_a_refused_hold_leaves_the_surrounding_transaction_usable(self, alice, fund):
        fund(alice, 5)

        with transaction.atomic():
            with pytest.raises(ledger.InsufficientCredits):
                ledger.hold(alice, 6, key="work")
            ledger.hold(alice, 5, key="less work")

        assert ledger.balance(alice) == (0, 5)


@pytest.fixture
def held(alice, fund):
    """100 credits of Alice's, 40 of them on hold."""
    fund(alice, 100)
    return ledger.hold(alice, 40, key="work", reference="batch:1")


class TestCapture:
    def test_a_capture_charges_what_was_held(self, alice, held):
        item = uuid.uuid4()

        entry = ledger.capture(held.pk, item_uid=item, generation=1, held=3, price=3)

        assert ledger.balance(alice) == (60, 37)
        assert (entry.kind, entry.available_delta, entry.held_delta) == ("capture", 0, -3)
        assert (entry.key, entry.item_uid, entry.hold) == (f"settle:{item}:1", item, held)
        assert entry.reference == "batch:1"
        assert deltas(alice)[-1] == ("capture", 0, -3)

    def test_a_lower_price_sends_the_rest_home(self, alice, held):
        item = uuid.uuid4()

        entry = ledger.capture(held.pk, item_uid=item, generation=1, held=3, price=1)

        assert ledger.balance(alice) == (62, 37)
        assert entry.kind == "capture"
        assert deltas(alice)[-2:] == [("capture", 0, -1), ("release", 2, -2)]
        assert ledger.entries(alice).filter(key=f"settle:{item}:1:rest").count() == 1

    def test_a_price_of_zero_releases(self, alice, held):
        item = uuid.uuid4()

        entry = ledger.capture(held.pk, item_uid=item, generation=1, held=3, price=0)

        assert ledger.balance(alice) == (63, 37)
        assert (entry.kind, entry.key) == ("release", f"settle:{item}:1")

    def test_nothing_held_settles_nothing(self, alice, held):
        assert ledger.capture(held.pk, item_uid=uuid.uuid4(), generation=1, held=0, price=0) is None
        assert ledger.balance(alice) == (60, 40)

    @pytest.mark.parametrize("later_price", [3, 1, 0])
    def test_an_item_is_settled_once_whatever_the_later_price(self, alice, held, later_price):
        item = uuid.uuid4()
        first = ledger.capture(held.pk, item_uid=item, generation=1, held=3, price=3)

        again = ledger.capture(held.pk, item_uid=item, generation=1, held=3, price=later_price)

        assert again == first
        assert ledger.balance(alice) == (60, 37)

    def test_a_released_item_cannot_be_charged_in_the_same_generation(self, alice, held):
        item = uuid.uuid4()
        released = ledger.release(held.pk, item_uid=item, generation=1, held=3)

        again = ledger.capture(held.pk, item_uid=item, generation=1, held=3, price=3)

        assert again == released
        assert ledger.balance(alice) == (63, 37)

    def test_the_next_generation_can_be_charged(self, alice, held):
        item = uuid.uuid4()
        ledger.release(held.pk, item_uid=item, generation=1, held=3)
        retry = ledger.hold(alice, 3, key="retry")

        entry = ledger.capture(retry.pk, item_uid=item, generation=2, held=3, price=3)

        assert entry.kind == "capture"
        assert ledger.balance(alice) == (60, 37)

    def test_a_hold_gives_no_more_than_it_has(self, alice, held):
        with pytest.raises(ledger.HoldExhausted) as refusal:
            ledger.capture(held.pk, item_uid=uuid.uuid4(), generation=1, held=41, price=41)

        assert refusal.value.code == "hold_exhausted"
        assert ledger.balance(alice) == (60, 40)

    @pytest.mark.parametrize("price", [-1, 4])
    def test_a_price_outside_of_what_was_held_is_refused(self, held, price):
        with pytest.raises(ValueError, match="price"):
            ledger.capture(held.pk, item_uid=uuid.uuid4(), generation=1, held=3, price=price)

    def test_a_hold_over_several_grants_is_charged_in_the_order_it_was_drawn(self, alice, fund):
        fund(alice, 10, kind="purchase")
        fund(alice, 10, kind="promo")
        hold = ledger.hold(alice, 20, key="work")

        ledger.capture(hold.pk, item_uid=uuid.uuid4(), generation=1, held=12, price=12)

        parts = hold.parts.order_by("pk").values_list("grant__kind", "captured")
        assert list(parts) == [("promo", 10), ("purchase", 2)]

    def test_a_share_may_span_grants_in_both_directions(self, alice, fund):
        fund(alice, 10, kind="purchase")
        fund(alice, 10, kind="promo")
        hold = ledger.hold(alice, 20, key="work")

        ledger.capture(hold.pk, item_uid=uuid.uuid4(), generation=1, held=20, price=4)

        assert remaining() == {"promo": 6, "purchase": 10}
        assert ledger.balance(alice) == (16, 0)


class TestRelease:
    def test_a_release_goes_home(self, alice, held):
        item = uuid.uuid4()

        entry = ledger.release(held.pk, item_uid=item, generation=1, held=3)

        assert ledger.balance(alice) == (63, 37)
        assert (entry.kind, entry.available_delta, entry.held_delta) == ("release", 3, -3)
        assert remaining() == {"purchase": 63}

    def test_paid_credits_come_home_first(self, alice, fund):
        fund(alice, 10, kind="purchase")
        fund(alice, 10, kind="promo")
        hold = ledger.hold(alice, 20, key="work")

        ledger.release(hold.pk, item_uid=uuid.uuid4(), generation=1, held=12)

        assert remaining() == {"promo": 2, "purchase": 10}

    def test_an_order_of_settlements_does_not_change_what_is_left_in_the_grants(
        self, alice, bob, fund
    ):
        for user in (alice, bob):
            fund(user, 10, kind="purchase")
            fund(user, 10, kind="promo")
        first = ledger.hold(alice, 20, key="work")
        second = ledger.hold(bob, 20, key="other work")

        ledger.release(first.pk, item_uid=uuid.uuid4(), generation=1, held=5)
        ledger.capture(first.pk, item_uid=uuid.uuid4(), generation=1, held=15, price=15)
        ledger.capture(second.pk, item_uid=uuid.uuid4(), generation=1, held=15, price=15)
        ledger.release(second.pk, item_uid=uuid.uuid4(), generation=1, held=5)

        for user in (alice, bob):
            grants = Grant.objects.filter(account__owner=user)
            assert dict(grants.values_list("kind", "remaining")) == {"promo": 0, "purchase": 5}


class TestReleaseMany:
    def shares(self, count, held=2):
        return [ledger.Share(item_uid=uuid.uuid4(), generation=1, held=held) for _ in range(count)]

    def test_many_shares_go_home_with_one_entry_each(self, alice, held):
        shares = self.shares(5)

        entries = ledger.release_many(held.pk, shares)

        assert ledger.balance(alice) == (70, 30)
        assert [entry.key for entry in entries] == [share.key for share in shares]
        assert [entry.available_after for entry in entries] == [62, 64, 66, 68, 70]
        assert [entry.held_after for entry in entries] == [38, 36, 34, 32, 30]

    def test_settled_shares_are_passed_over(self, alice, held):
        done, failed, waiting = shares = self.shares(3)
        ledger.capture(held.pk, item_uid=done.item_uid, generation=1, held=2, price=2)
        ledger.release(held.pk, item_uid=failed.item_uid, generation=1, held=2)

        entries = ledger.release_many(held.pk, shares)

        assert [entry.item_uid for entry in entries] == [waiting.item_uid]
        assert ledger.balance(alice) == (64, 34)

    def test_the_same_shares_are_released_once(self, alice, held):
        shares = self.shares(5)
        ledger.release_many(held.pk, shares)

        assert ledger.release_many(held.pk, shares) == []
        assert ledger.balance(alice) == (70, 30)

    def test_a_share_that_is_named_twice_is_released_once(self, alice, held):
        [share] = self.shares(1)

        ledger.release_many(held.pk, [share, share])

        assert ledger.balance(alice) == (62, 38)

    def test_empty_shares_leave_no_trace(self, alice, held):
        assert ledger.release_many(held.pk, self.shares(3, held=0)) == []
        assert ledger.release_many(held.pk, []) == []
        assert ledger.balance(alice) == (60, 40)

    def test_more_than_the_hold_has_is_refused_as_a_whole(self, alice, held):
        with pytest.raises(ledger.HoldExhausted):
            ledger.release_many(held.pk, self.shares(21))

        assert ledger.balance(alice) == (60, 40)

    def test_a_release_shuts_out_a_later_charge(self, alice, held):
        [share] = self.shares(1)
        ledger.release_many(held.pk, [share])

        late = ledger.capture(held.pk, item_uid=share.item_uid, generation=1, held=2, price=2)

        assert late.kind == "release"
        assert ledger.balance(alice) == (62, 38)

    def test_six_hundred_shares_take_a_handful_of_queries(
        self, alice, fund, django_assert_max_num_queries
    ):
        fund(alice, 1200)
        hold = ledger.hold(alice, 1200, key="work")

        with django_assert_max_num_queries(24):  # SQLite takes 66 new rows at a time
            ledger.release_many(hold.pk, self.shares(600))

        assert ledger.balance(alice) == (1200, 0)


class TestClose:
    def test_a_hold_that_was_settled_in_full_has_nothing_to_close(self, alice, held):
        ledger.capture(held.pk, item_uid=uuid.uuid4(), generation=1, held=40, price=40)

        assert ledger.close(held.pk) is None
        assert ledger.balance(alice) == (60, 0)

    def test_what_is_left_goes_home(self, alice, held):
        ledger.capture(held.pk, item_uid=uuid.uuid4(), generation=1, held=10, price=10)

        entry = ledger.close(held.pk)

        assert (entry.kind, entry.key, entry.available_delta) == ("release", "close:work:1", 30)
        assert ledger.balance(alice) == (90, 0)

    def test_a_hold_is_closed_once(self, alice, held):
        ledger.close(held.pk)

        assert ledger.close(held.pk) is None
        assert ledger.balance(alice) == (100, 0)


class TestAdjust:
    def test_staff_can_add(self, alice, staff):
        entry = ledger.adjust(alice, 30, actor=staff, note="Sorry for the wait", key="adjust:1")

        assert ledger.balance(alice) == (30, 0)
        assert (entry.kind, entry.available_delta) == ("adjust", 30)
        assert (entry.actor, entry.note) == (staff, "Sorry for the wait")
        assert remaining() == {"admin": 30}

    def test_staff_can_take_in_the_usual_order(self, alice, staff, fund):
        fund(alice, 10, kind="purchase")
        fund(alice, 10, kind="promo")

        entry = ledger.adjust(alice, -15, actor=staff, note="Paid twice", key="adjust:1")

        assert ledger.balance(alice) == (5, 0)
        assert (entry.kind, entry.available_delta) == ("adjust", -15)
        assert remaining() == {"promo": 0, "purchase": 5}

    def test_what_is_on_hold_cannot_be_taken(self, alice, staff, held):
        with pytest.raises(ledger.InsufficientCredits) as refusal:
            ledger.adjust(alice, -61, actor=staff, note="Paid twice", key="adjust:1")

        assert refusal.value.params == {"required": 61, "available": 60}
        assert ledger.balance(alice) == (60, 40)

    def test_credits_that_ran_out_are_not_taken_twice(self, alice, staff, fund):
        fund(alice, 10, kind="promo", expires_at=YESTERDAY)
        fund(alice, 10)

        ledger.adjust(alice, -10, actor=staff, note="Paid twice", key="adjust:1")

        assert ledger.balance(alice) == (0, 0)

    @pytest.mark.parametrize("delta", [30, -30])
    def test_a_key_adjusts_once(self, alice, staff, fund, delta):
        fund(alice, 100)
        first = ledger.adjust(alice, delta, actor=staff, note="Once", key="adjust:1")

        again = ledger.adjust(alice, delta, actor=staff, note="Once", key="adjust:1")

        assert again == first
        assert ledger.balance(alice) == (100 + delta, 0)

    @pytest.mark.parametrize("note", ["", "  \n"])
    def test_a_reason_is_required(self, alice, staff, note):
        with pytest.raises(ValueError, match="reason"):
            ledger.adjust(alice, 30, actor=staff, note=note, key="adjust:1")

    def test_an_adjustment_of_nothing_is_refused(self, alice, staff):
        with pytest.raises(ValueError, match="nothing"):
            ledger.adjust(alice, 0, actor=staff, note="Hm", key="adjust:1")


class TestRefund:
    def test_a_capture_comes_back_as_a_new_grant(self, alice, staff, held):
        item = uuid.uuid4()
        charged = ledger.capture(held.pk, item_uid=item, generation=1, held=3, price=3)

        entry = ledger.refund(charged, actor=staff, note="A bad cut-out")

        assert ledger.balance(alice) == (63, 37)
        assert (entry.kind, entry.available_delta) == ("refund", 3)
        assert (entry.key, entry.item_uid) == (f"refund:{charged.uid}", item)
        assert (entry.actor, entry.note, entry.reference) == (staff, "A bad cut-out", "batch:1")
        assert remaining() == {"purchase": 60, "refund": 3}
        assert Grant.objects.get(kind="refund").expires_at is None

    def test_a_capture_is_refunded_once(self, alice, held):
        charged = ledger.capture(held.pk, item_uid=uuid.uuid4(), generation=1, held=3, price=3)
        first = ledger.refund(charged)

        assert ledger.refund(charged) == first
        assert ledger.balance(alice) == (63, 37)

    def test_only_the_charged_part_comes_back(self, alice, held):
        charged = ledger.capture(held.pk, item_uid=uuid.uuid4(), generation=1, held=3, price=1)

        ledger.refund(charged)

        assert ledger.balance(alice) == (63, 37)

    def test_a_release_has_nothing_to_refund(self, alice, held):
        released = ledger.release(held.pk, item_uid=uuid.uuid4(), generation=1, held=3)

        with pytest.raises(ledger.NotRefundable) as refusal:
            ledger.refund(released)

        assert refusal.value.code == "not_refundable"
        assert ledger.balance(alice) == (63, 37)


class TestExpire:
    def test_what_ran_out_is_taken(self, alice, bob, fund):
        fund(alice, 10, kind="promo", expires_at=TOMORROW)
        fund(alice, 10, kind="monthly", expires_at=NEXT_YEAR)
        fund(alice, 10)
        fund(bob, 7, kind="promo", expires_at=TOMORROW)

        assert ledger.expire(TOMORROW).credits == 17

        assert ledger.balance(alice) == (20, 0)
        assert ledger.balance(bob) == (0, 0)
        assert deltas(alice)[-1] == ("expire", -10, 0)

    def test_a_moment_before_nothing_is_taken(self, alice, fund):
        fund(alice, 10, kind="promo", expires_at=TOMORROW)

        assert ledger.expire(TOMORROW - timedelta(microseconds=1)).credits == 0

        assert ledger.balance(alice) == (10, 0)

    def test_it_can_run_again(self, alice, fund):
        fund(alice, 10, kind="promo", expires_at=TOMORROW)
        ledger.expire(TOMORROW)

        assert ledger.expire(TOMORROW).credits == 0
        assert ledger.balance(alice) == (0, 0)

    def test_credits_on_hold_can_still_be_charged(self, alice, fund):
        fund(alice, 10, kind="promo", expires_at=TOMORROW)
        hold = ledger.hold(alice, 4, key="work")

        ledger.expire(TOMORROW)
        ledger.capture(hold.pk, item_uid=uuid.uuid4(), generation=1, held=4, price=4)

        assert ledger.balance(alice) == (0, 0)
        assert sum(ledger.captured_by_item().values()) == 4

    def test_credits_that_come_home_too_late_go_with_the_next_run(self, alice, fund):
        entry = fund(alice, 10, kind="promo", expires_at=TOMORROW)
        hold = ledger.hold(alice, 4, key="work")
        ledger.expire(TOMORROW)
        ledger.close(hold.pk)

        assert ledger.expire(TOMORROW).credits == 4

        grant = Grant.objects.get(key=entry.key)
        keys = ledger.entries(alice).filter(kind="expire").order_by("pk")
        assert [e.key for e in keys] == [f"expire:{grant.pk}:1", f"expire:{grant.pk}:2"]
        assert ledger.balance(alice) == (0, 0)


class TestReading:
    def test_open_credits_are_known_by_reference(self, alice, bob, held, fund):
        fund(bob, 10)
        ledger.hold(bob, 5, key="other work", reference="batch:2")
        settled = ledger.hold(bob, 5, key="done", reference="batch:3")
        ledger.capture(settled.pk, item_uid=uuid.uuid4(), generation=1, held=5, price=5)
        ledger.capture(held.pk, item_uid=uuid.uuid4(), generation=1, held=10, price=4)

        assert ledger.open_references() == {"batch:1": 30, "batch:2": 5}

    def test_charges_are_known_by_item(self, alice, held):
        charged, free, failed = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
        ledger.capture(held.pk, item_uid=charged, generation=1, held=3, price=2)
        ledger.capture(held.pk, item_uid=free, generation=1, held=3, price=0)
        ledger.release(held.pk, item_uid=failed, generation=1, held=3)

        assert ledger.captures_for([charged, free, failed, uuid.uuid4()]) == {charged: 2}
        assert ledger.captured_by_item() == {charged: 2}

    def test_a_statement_is_its_owners_alone(self, alice, bob, fund):
        fund(alice, 10)
        fund(bob, 20)

        assert [entry.available_delta for entry in ledger.entries(bob)] == [20]


def test_what_fails_later_in_a_transaction_takes_its_entry_along(alice, fund):
    fund(alice, 10)

    def work():
        with transaction.atomic():
            ledger.hold(alice, 5, key="work")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()

    assert ledger.balance(alice) == (10, 0)
    assert not LedgerEntry.objects.filter(key="work").exists()


def test_a_cached_figure_that_no_grant_backs_is_not_given_out(alice, fund):
    fund(alice, 10)
    CreditAccount.objects.update(available=20)

    with pytest.raises(RuntimeError, match="no grant accounts for"):
        ledger.hold(alice, 15, key="work")

    CreditAccount.objects.update(available=10)
