"""Random stories about two accounts: after each step the audit must find nothing.

Beside the audit stands a model of its own: what is on hold and what was charged, item by
item. A rule that never runs proves nothing, so the test counts and has a floor for each.
"""

import random
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from accounts.models import User
from credits import ledger
from credits.audit import disagreements
from credits.models import Grant, LedgerEntry

VERBS = {  # and how often each comes first
    "grant": 2,
    "hold": 2,
    "hold_again": 1,
    "settle": 4,
    "settle_again": 2,
    "settle_after_close": 1,
    "release": 1,
    "release_many": 1,
    "close": 1,
    "close_again": 1,
    "retry": 1,
    "adjust": 2,
    "refund": 2,
    "time_passes": 1,
    "expire": 2,
}
FLOORS = {
    "grant": 20,
    "hold": 15,
    "hold refused": 4,
    "hold again": 7,
    "capture in full": 10,
    "capture in part": 7,
    "capture for nothing": 7,
    "capture again": 10,
    "capture after close": 3,
    "release": 4,
    "release many": 7,
    "release many, some settled": 2,
    "close": 2,
    "close again": 4,
    "retry": 4,
    "adjust up": 4,
    "adjust down": 5,
    "adjust down refused": 4,
    "refund": 6,
    "refund again": 4,
    "time passes": 10,
    "expire": 12,
    "expire something": 2,
    "release into the past": 2,
}
HITS = Counter()


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
        self.steps = 0
        self.held = [0, 0]
        for user in self.users:
            ledger.grant(user, 20, kind="purchase", key=self.key())

    def teardown(self):
        transaction.set_rollback(True)
        self.stage.__exit__(None, None, None)

    # What the verbs need

    def key(self):
        self.numbers += 1
        return f"key:{self.numbers}"

    def balance(self, owner):
        return ledger.balance(self.users[owner])

    def some(self, chance, *states):
        able = [piece for piece in self.pieces if piece.state in states]
        return chance.choice(able) if able else None

    def spendable(self, owner):
        """What is available and has not run out, from the grants."""
        fresh = Grant.objects.filter(account__owner=self.users[owner], remaining__gt=0)
        ends = fresh.values_list("remaining", "expires_at")
        return sum(left for left, end in ends if end is None or end > self.now)

    def untouched(self, act):
        """Do something that must not move a single credit or write a single line."""

        def figures():
            return [self.balance(0), self.balance(1), LedgerEntry.objects.count()]

        before = figures()
        answer = act()
        assert figures() == before
        return answer

    def refused_hold(self, owner, total, spendable):
        with pytest.raises(ledger.InsufficientCredits) as refusal:
            ledger.hold(self.users[owner], total, key=self.key(), now=self.now)
        assert refusal.value.params == {"required": total, "available": spendable}

    def take_hold(self, owner, total, pieces):
        spendable = self.spendable(owner)
        hold = ledger.hold(self.users[owner], total, key=self.key(), now=self.now)
        assert self.balance(owner).available == spendable - total
        self.holds.append((owner, hold))
        self.held[owner] += total
        for piece in pieces:
            piece.hold = hold
        self.pieces += pieces

    def charge(self, piece, price):
        return ledger.capture(
            piece.hold.pk,
            item_uid=piece.item,
            generation=piece.generation,
            held=piece.held,
            price=price,
        )

    def settled(self, piece, price):
        piece.state, piece.price = ("charged" if price else "released"), price
        self.held[piece.owner] -= piece.held

    def note_way_home(self, pieces):
        """Count the releases that may end in a grant that has run out."""
        past = [p for p in pieces if p.hold.parts.filter(grant__expires_at__lte=self.now).exists()]
        HITS["release into the past"] += len(past)

    # What happens: each verb returns True, or False when there is nothing for it to act on

    @rule(seed=st.integers(0, 2**32 - 1))
    def step(self, seed):
        """One verb, drawn among those that can act now.

        One rule on purpose: with a rule per verb, hypothesis leaves most of them out of a
        story and fills it with the few that are always possible.
        """
        self.steps += 1
        # With the step's number in it, since hypothesis likes to draw the same seed again.
        chance = random.Random(f"{seed}/{self.steps}")
        verbs = chance.sample(list(VERBS), counts=VERBS.values(), k=sum(VERBS.values()))
        note(next(verb for verb in verbs if getattr(self, verb)(chance)))

    def grant(self, chance):
        user, amount, key = self.users[chance.randrange(2)], chance.randint(1, 12), self.key()
        days = chance.choice([None, 1, 1, 2])
        kind = chance.choice(["purchase", "monthly", "promo"])
        ends = days and self.now + timedelta(days=days)

        def give():
            return ledger.grant(user, amount, kind=kind, key=key, expires_at=ends)

        first = give()
        assert self.untouched(give) == first
        HITS["grant"] += 1
        return True

    def hold(self, chance):
        owner = chance.randrange(2)
        spendable = self.spendable(owner)
        sizes = [chance.randint(1, 3) for _ in range(chance.randint(2, 6))]
        if chance.random() < 0.2:
            sizes = [spendable + chance.randint(1, 5)]
        pieces = [Piece(owner=owner, hold=None, held=size) for size in sizes]
        if sum(sizes) > spendable:
            self.untouched(lambda: self.refused_hold(owner, sum(sizes), spendable))
            HITS["hold refused"] += 1
            return True
        self.take_hold(owner, sum(sizes), pieces)
        HITS["hold"] += 1
        return True

    def hold_again(self, chance):
        if not self.holds:
            return False
        owner, hold = chance.choice(self.holds)
        amount = chance.randint(1, 9)
        again = self.untouched(
            lambda: ledger.hold(self.users[owner], amount, key=hold.key, now=self.now)
        )
        assert again == hold
        HITS["hold again"] += 1
        return True

    def settle(self, chance):
        piece = self.some(chance, "open")
        if piece is None:
            return False
        price = chance.randint(0, piece.held)
        if not price:
            self.note_way_home([piece])
        before = self.balance(piece.owner)
        piece.entry = self.charge(piece, price)
        after = self.balance(piece.owner)
        assert after.held == before.held - piece.held
        assert after.available == before.available + piece.held - price
        self.settled(piece, price)
        ways = {0: "capture for nothing", piece.held: "capture in full"}
        HITS[ways.get(price, "capture in part")] += 1
        return True

    def settle_again(self, chance):
        piece = self.some(chance, "charged", "released")
        if piece is None:
            return False
        price = chance.randint(0, piece.held)
        assert self.untouched(lambda: self.charge(piece, price)) == piece.entry
        HITS["capture again"] += 1
        return True

    def settle_after_close(self, chance):
        piece = self.some(chance, "lost")
        if piece is None:
            return False

        def late():
            with pytest.raises(ledger.HoldExhausted):
                self.charge(piece, piece.held)

        self.untouched(late)
        HITS["capture after close"] += 1
        return True

    def release(self, chance):
        piece = self.some(chance, "open")
        if piece is None:
            return False
        self.note_way_home([piece])
        piece.entry = ledger.release(
            piece.hold.pk, item_uid=piece.item, generation=piece.generation, held=piece.held
        )
        self.settled(piece, 0)
        HITS["release"] += 1
        return True

    def release_many(self, chance):
        first = self.some(chance, "open")
        if first is None:
            return False
        family = [p for p in self.pieces if p.hold == first.hold and p.state != "lost"]
        freed = [p for p in family if p.state == "open"][: chance.randint(1, 4)]
        rest = [p for p in family if p.state != "open"]
        self.note_way_home(freed)
        entries = ledger.release_many(first.hold.pk, [p.share for p in rest + freed])
        assert [entry.item_uid for entry in entries] == [p.item for p in freed]
        for piece, entry in zip(freed, entries, strict=True):
            piece.entry = entry
            self.settled(piece, 0)
        HITS["release many"] += 1
        HITS["release many, some settled"] += bool(rest)
        return True

    def close(self, chance):
        first = self.some(chance, "open")
        if first is None or chance.random() < 0.3:  # not so often that little is left to settle
            return False
        lost = [p for p in self.pieces if p.hold == first.hold and p.state == "open"]
        self.note_way_home(lost)
        entry = ledger.close(first.hold.pk)
        assert entry.available_delta == sum(p.held for p in lost)
        for piece in lost:
            piece.state = "lost"
            self.held[piece.owner] -= piece.held
        HITS["close"] += 1
        return True

    def close_again(self, chance):
        live = {p.hold.pk for p in self.pieces if p.state == "open"}
        empty = [hold for _owner, hold in self.holds if hold.pk not in live]
        if not empty:
            return False
        hold = chance.choice(empty)
        assert self.untouched(lambda: ledger.close(hold.pk)) is None
        HITS["close again"] += 1
        return True

    def retry(self, chance):
        before = self.some(chance, "released")
        held = chance.randint(1, 3)
        if before is None or self.spendable(before.owner) < held:
            return False
        piece = Piece(
            owner=before.owner,
            hold=None,
            held=held,
            item=before.item,
            generation=before.generation + 1,
        )
        self.take_hold(piece.owner, held, [piece])
        before.state = "retried"
        HITS["retry"] += 1
        return True

    def adjust(self, chance):
        owner, key = chance.randrange(2), self.key()
        spendable = self.spendable(owner)
        way = chance.choice(["up", "down", "too far down"])
        if way == "up":
            delta = chance.randint(1, 9)
        elif way == "down" and spendable:
            delta = -chance.randint(1, min(spendable, 5))
        else:
            delta = -spendable - chance.randint(1, 5)

        def change():
            user = self.users[owner]
            return ledger.adjust(
                user, delta, actor=self.actor, note="Why not", key=key, now=self.now
            )

        def refused():
            with pytest.raises(ledger.InsufficientCredits):
                change()

        if spendable + delta < 0:
            self.untouched(refused)
            HITS["adjust down refused"] += 1
            return True
        first = change()
        assert self.untouched(change) == first
        if delta > 0:
            HITS["adjust up"] += 1
        else:
            assert self.balance(owner).available == spendable + delta
            HITS["adjust down"] += 1
        return True

    def refund(self, chance):
        piece = self.some(chance, "charged")
        if piece is None:
            return False
        if piece.refunded:
            self.untouched(lambda: ledger.refund(piece.entry))
            HITS["refund again"] += 1
            return True
        before = self.balance(piece.owner)
        ledger.refund(piece.entry)
        assert self.balance(piece.owner) == (before.available + piece.price, before.held)
        piece.refunded = True
        HITS["refund"] += 1
        return True

    def time_passes(self, chance):
        self.now += timedelta(hours=chance.randint(0, 48))
        HITS["time passes"] += 1
        return True

    def expire(self, chance):
        self.now += timedelta(hours=chance.choice([0, 30]))
        fresh = [self.spendable(0), self.spendable(1)]
        taken = ledger.expire(self.now).credits
        assert [self.balance(0).available, self.balance(1).available] == fresh
        HITS["expire"] += 1
        HITS["expire something"] += bool(taken)
        return True

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

    for _ in range(5):  # one or two rounds are usual
        run_state_machine_as_test(
            Story,
            settings=settings(
                max_examples=12,
                stateful_step_count=60,
                phases=[Phase.generate],  # to shrink a story takes minutes; its verbs are noted
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        short = {name: HITS[name] for name, floor in FLOORS.items() if HITS[name] < floor}
        if not short:
            break

    assert not short, f"These rules ran too rarely to prove anything: {short}"
