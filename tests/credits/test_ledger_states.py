"""Random stories about two accounts: after each step the audit must find nothing.

Beside the audit stands a model of its own: what is on hold and what was charged, item by
item. A rule that never runs proves nothing, so the test counts and has a floor for each.
"""

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import User
from credits import ledger
from credits.audit import disagreements
from credits.models import LedgerEntry

FLOORS = {
    "grant": 60,
    "hold": 60,
    "hold refused": 20,
    "hold again": 20,
    "capture in full": 30,
    "capture in part": 30,
    "capture for nothing": 15,
    "capture again": 30,
    "capture after close": 10,
    "release": 15,
    "release many": 30,
    "release many, some settled": 20,
    "close": 15,
    "close again": 15,
    "retry": 15,
    "adjust up": 20,
    "adjust down": 15,
    "adjust down refused": 10,
    "refund": 15,
    "refund again": 10,
    "expire": 30,
    "expire something": 5,
    "release into the past": 3,
}
HITS = Counter()

PICK = st.integers(min_value=0, max_value=10_000)
OWNER = st.integers(min_value=0, max_value=1)


@dataclass
class Piece:
    """One item's share of a hold, and what became of it."""

    owner: int
    hold: object
    held: int
    item: uuid.UUID = field(default_factory=uuid.uuid4)
    generation: int = 1
    state: str = "open"  # charged, released, lost (closed over its head)
    price: int = 0
    entry: LedgerEntry | None = None
    refunded: bool = False

    @property
    def share(self):
        return ledger.Share(item_uid=self.item, generation=self.generation, held=self.held)


def some(state):
    return precondition(lambda self: any(piece.state == state for piece in self.pieces))


class Story(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.stage = transaction.atomic()
        self.stage.__enter__()
        self.users = [User.objects.create_user(f"{name}@example.com") for name in ("ann", "ben")]
        self.actor = User.objects.create_user("staff@example.com")
        self.now = timezone.now()
        self.pieces = []
        self.holds = []
        self.numbers = 0
        self.held = [0, 0]
        for user in self.users:
            ledger.grant(user, 20, kind="purchase", key=self.key("grant"))

    def teardown(self):
        transaction.set_rollback(True)
        self.stage.__exit__(None, None, None)

    # What the rules need

    def key(self, verb):
        self.numbers += 1
        return f"{verb}:{self.numbers}"

    def balance(self, owner):
        return ledger.balance(self.users[owner])

    def piece(self, pick, *states):
        able = [piece for piece in self.pieces if piece.state in states]
        return able[pick % len(able)]

    def spendable(self, owner):
        """What is available and has not run out, from the grants."""
        account = ledger.account_for(self.users[owner])
        fresh = account.grants.exclude(expires_at__lte=self.now)
        return sum(fresh.values_list("remaining", flat=True))

    def untouched(self, act):
        """Do something that must not move a single credit or write a single line."""
        before = [self.balance(0), self.balance(1), LedgerEntry.objects.count()]
        answer = act()
        assert [self.balance(0), self.balance(1), LedgerEntry.objects.count()] == before
        return answer

    def take_hold(self, owner, sizes, pieces):
        """Hold for these pieces; False when refused, which must be for good reason."""
        total = sum(sizes)
        spendable = self.spendable(owner)
        key = self.key("hold")
        try:
            hold = ledger.hold(self.users[owner], total, key=key, now=self.now)
        except ledger.InsufficientCredits as refusal:
            assert refusal.params == {"required": total, "available": spendable}
            assert spendable < total
            return False
        assert spendable >= total
        assert self.balance(owner).available == spendable - total
        self.holds.append((owner, hold))
        self.held[owner] += total
        for piece in pieces:
            piece.hold, piece.state = hold, "open"
        return True

    def capture(self, piece, price):
        before = self.balance(piece.owner)
        piece.entry = ledger.capture(
            piece.hold.pk,
            item_uid=piece.item,
            generation=piece.generation,
            held=piece.held,
            price=price,
        )
        after = self.balance(piece.owner)
        assert after.held == before.held - piece.held
        assert after.available == before.available + piece.held - price
        self.settled(piece, price)

    def settled(self, piece, price):
        piece.state, piece.price = ("charged" if price else "released"), price
        self.held[piece.owner] -= piece.held

    def note_way_home(self, pieces):
        past = [p for p in pieces if p.hold.parts.filter(grant__expires_at__lte=self.now).exists()]
        HITS["release into the past"] += len(past)

    # The rules

    @rule(
        owner=OWNER,
        amount=st.integers(1, 12),
        kind=st.sampled_from(["purchase", "monthly", "promo"]),
        days=st.sampled_from([None, 1, 2, 4]),
    )
    def grant(self, owner, amount, kind, days):
        ends = days and self.now + timedelta(days=days)
        key = self.key("grant")
        first = ledger.grant(self.users[owner], amount, kind=kind, key=key, expires_at=ends)
        again = self.untouched(
            lambda: ledger.grant(self.users[owner], amount, kind=kind, key=key, expires_at=ends)
        )
        assert again == first
        HITS["grant"] += 1

    @rule(owner=OWNER, sizes=st.lists(st.integers(1, 3), min_size=2, max_size=6), more=PICK)
    def hold(self, owner, sizes, more):
        spendable = self.spendable(owner)
        if more % 4 == 0:
            sizes = [spendable + 1 + more % 5]
        pieces = [Piece(owner=owner, hold=None, held=size) for size in sizes]
        if sum(sizes) > spendable:
            assert not self.untouched(lambda: self.take_hold(owner, sizes, pieces))
            HITS["hold refused"] += 1
        else:
            assert self.take_hold(owner, sizes, pieces)
            self.pieces += pieces
            HITS["hold"] += 1

    @precondition(lambda self: self.holds)
    @rule(pick=PICK, amount=st.integers(1, 9))
    def hold_again(self, pick, amount):
        owner, hold = self.holds[pick % len(self.holds)]
        again = self.untouched(
            lambda: ledger.hold(self.users[owner], amount, key=hold.key, now=self.now)
        )
        assert again == hold
        HITS["hold again"] += 1

    @some("open")
    @rule(pick=PICK, way=st.sampled_from(["full", "part", "nothing", "release"]), price=PICK)
    def settle(self, pick, way, price):
        piece = self.piece(pick, "open")
        if way == "full":
            self.capture(piece, piece.held)
            HITS["capture in full"] += 1
        elif way == "part" and piece.held > 1:
            self.capture(piece, 1 + price % (piece.held - 1))
            HITS["capture in part"] += 1
        elif way == "release":
            self.note_way_home([piece])
            piece.entry = ledger.release(
                piece.hold.pk, item_uid=piece.item, generation=piece.generation, held=piece.held
            )
            self.settled(piece, 0)
            HITS["release"] += 1
        else:
            self.note_way_home([piece])
            self.capture(piece, 0)
            HITS["capture for nothing"] += 1

    @precondition(lambda self: any(p.state in ("charged", "released") for p in self.pieces))
    @rule(pick=PICK, price=st.integers(0, 3))
    def settle_again(self, pick, price):
        piece = self.piece(pick, "charged", "released")
        again = self.untouched(
            lambda: ledger.capture(
                piece.hold.pk,
                item_uid=piece.item,
                generation=piece.generation,
                held=piece.held,
                price=min(price, piece.held),
            )
        )
        assert again == piece.entry
        HITS["capture again"] += 1

    @some("lost")
    @rule(pick=PICK)
    def capture_after_close(self, pick):
        piece = self.piece(pick, "lost")

        def late():
            with pytest.raises(ledger.HoldExhausted):
                ledger.capture(
                    piece.hold.pk,
                    item_uid=piece.item,
                    generation=piece.generation,
                    held=piece.held,
                    price=piece.held,
                )

        self.untouched(late)
        HITS["capture after close"] += 1

    @some("open")
    @rule(pick=PICK, count=st.integers(1, 4))
    def release_many(self, pick, count):
        hold = self.piece(pick, "open").hold
        family = [p for p in self.pieces if p.hold == hold and p.state != "lost"]
        freed = [p for p in family if p.state == "open"][:count]
        rest = [p for p in family if p.state != "open"]
        self.note_way_home(freed)
        entries = ledger.release_many(hold.pk, [p.share for p in rest + freed])
        assert [entry.item_uid for entry in entries] == [p.item for p in freed]
        for piece, entry in zip(freed, entries, strict=True):
            piece.entry = entry
            self.settled(piece, 0)
        HITS["release many"] += 1
        HITS["release many, some settled"] += bool(rest)

    @some("open")
    @rule(pick=PICK)
    def close(self, pick):
        first = self.piece(pick, "open")
        lost = [p for p in self.pieces if p.hold == first.hold and p.state == "open"]
        entry = ledger.close(first.hold.pk)
        assert entry.available_delta == sum(p.held for p in lost)
        for piece in lost:
            piece.state = "lost"
            self.held[piece.owner] -= piece.held
        HITS["close"] += 1

    @precondition(lambda self: self.empty_holds())
    @rule(pick=PICK)
    def close_again(self, pick):
        empty = self.empty_holds()
        hold = empty[pick % len(empty)]
        assert self.untouched(lambda: ledger.close(hold.pk)) is None
        HITS["close again"] += 1

    def empty_holds(self):
        live = {p.hold.pk for p in self.pieces if p.state == "open"}
        return [hold for _owner, hold in self.holds if hold.pk not in live]

    @some("released")
    @rule(pick=PICK, held=st.integers(1, 3))
    def retry(self, pick, held):
        before = self.piece(pick, "released")
        piece = Piece(
            owner=before.owner,
            hold=None,
            held=held,
            item=before.item,
            generation=before.generation + 1,
        )
        if self.take_hold(piece.owner, [held], [piece]):
            before.state = "retried"
            self.pieces.append(piece)
            HITS["retry"] += 1

    @rule(owner=OWNER, way=st.sampled_from(["up", "down", "too far down"]), amount=PICK)
    def adjust(self, owner, way, amount):
        spendable, key = self.spendable(owner), self.key("adjust")
        if way == "up":
            delta = 1 + amount % 9
        elif way == "down" and spendable:
            delta = -1 - amount % min(spendable, 5)
        else:
            delta = -spendable - 1 - amount % 5

        def change():
            user = self.users[owner]
            return ledger.adjust(
                user, delta, actor=self.actor, note="Why not", key=key, now=self.now
            )

        if spendable + delta < 0:
            with pytest.raises(ledger.InsufficientCredits):
                self.untouched(change)
            HITS["adjust down refused"] += 1
            return
        first = change()
        assert self.untouched(change) == first
        if delta > 0:
            HITS["adjust up"] += 1
        else:
            assert self.balance(owner).available == spendable + delta
            HITS["adjust down"] += 1

    @some("charged")
    @rule(pick=PICK)
    def refund(self, pick):
        piece = self.piece(pick, "charged")
        if piece.refunded:
            self.untouched(lambda: ledger.refund(piece.entry))
            HITS["refund again"] += 1
            return
        before = self.balance(piece.owner)
        ledger.refund(piece.entry)
        assert self.balance(piece.owner) == (before.available + piece.price, before.held)
        piece.refunded = True
        HITS["refund"] += 1

    @rule(hours=st.integers(0, 40), run=st.booleans())
    def time_passes(self, hours, run):
        self.now += timedelta(hours=hours)
        if not run:
            return
        fresh = [self.spendable(0), self.spendable(1)]
        taken = ledger.expire(self.now)
        assert [self.balance(0).available, self.balance(1).available] == fresh
        HITS["expire"] += 1
        HITS["expire something"] += bool(taken)

    # What is always true

    @invariant()
    def the_audit_finds_nothing(self):
        assert list(disagreements()) == []

    @invariant()
    def the_model_agrees(self):
        assert [self.balance(0).held, self.balance(1).held] == self.held
        charged = {p.item: p.price for p in self.pieces if p.state == "charged"}
        assert ledger.captured_by_item() == charged


@pytest.mark.django_db
def test_random_stories_leave_the_ledger_in_order():
    HITS.clear()

    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

    print(dict(HITS))
    short = {name: HITS[name] for name, floor in FLOORS.items() if HITS[name] < floor}
    assert not short, f"These rules ran too rarely to prove anything: {short}"
