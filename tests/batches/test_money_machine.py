"""Random stories about two people's batches, told through the real verbs on the real database.

Workers take items, finish in time or too late, fail, die; people start, approve, pause, cancel
and retry; credits come, run out and are spent. After each step money and items must agree, with
each other and with a small model of what should have been charged.

A story that never gets to its point proves nothing: the test counts what really happened, goes
on until that is enough, and fails when it never is. And a test that catches nothing proves
nothing either: at the end it must catch mistakes that are made on purpose.
"""

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from unittest import mock

import pytest
from django.db import connection, transaction
from django.db.models import Q
from django.test import RequestFactory
from django.utils import timezone
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from rest_framework import serializers
from rest_framework.request import Request

from accounts.models import User
from batches import audit, etags, fetch, lifecycle, pipeline, progress, storage
from batches.models import Batch, Item, ItemQuerySet
from batches.reconcile import reconcile
from batches.serializers import batch_as_read
from batches.sources.base import Row
from batches.states import IN_HAND, ON_HOLD, OPEN, RETRYABLE, BatchState, ItemState
from credits import audit as credits_audit
from credits import ledger
from tests import fakes
from tests.factories import make_original
from tools.base import ImageSettings, ToolError

pytestmark = [
    pytest.mark.django_db(transaction=True),  # each story is a whole transaction of its own
    pytest.mark.usefixtures("media", "valkey", "no_welcome"),
]

VERBS = MappingProxyType(
    {  # and how often each comes first
        "grant": 1,
        "new_batch": 6,
        "start": 2,
        "approve": 5,
        "claim": 9,
        "finish": 22,
        "finish_late": 5,
        "be_overtaken": 7,
        "fail": 8,
        "fail_for_now": 9,
        "lose_a_worker": 6,
        "cancel": 4,
        "cancel_and_die": 5,
        "retry": 14,
        "pause": 1,
        "resume": 4,
        "ring_too_often": 2,
        "time_passes": 1,
        "expire": 4,
        "reconcile": 4,
        "lose_files": 5,
    }
)
FLOORS = MappingProxyType(
    {
        "finished in time": 100,
        "finished too late": 25,
        "overtaken by a cancel": 2,
        "overtaken by another worker": 8,
        "fetched": 25,
        "failed": 25,
        "failed for now": 50,
        "given up after three tries": 8,
        "worker lost": 10,
        "started": 50,
        "start refused": 8,
        "approved": 4,
        "cancelled with items in hand": 10,
        "cancel died half way": 2,
        "cancelling finished by reconcile": 2,
        "retried": 25,
        "retried for the second time": 2,
        "retry refused": 4,
        "paused": 8,
        "resumed": 8,
        "real price below the hold": 10,
        "free of charge": 8,
        "rung too often": 8,
        "ran out": 3,
        "batch finished": 15,
        "served again": 12,
        "served again what was held for": 2,
        "failed with its first": 1,
        "paid for after all": 1,
    }
)
HITS: Counter[str] = Counter()
AUDITED = 4
"""Steps from one audit to the next; there is one more when a story ends."""


class Died(BaseException):
    """The process is gone: nobody catches this."""


class MachineTool(fakes.FakeTool):
    """Holds and costs what its settings say, and does in each run what the story says."""

    slug = "machine"
    name = "Machine"

    class Settings(ImageSettings):
        held = serializers.IntegerField(min_value=0, default=2)
        real = serializers.IntegerField(min_value=0, default=2)

    def __init__(self) -> None:
        self.act: Callable[[], object] = lambda: None

    def price_for(self, settings, *, width=None, height=None):
        return settings["held"] if width is None else settings["real"]

    def run(self, image, settings):
        act, self.act = self.act, lambda: None
        act()
        return [fakes.Output(image=image)]

    def unavailable_reason(self, settings=None):
        return None


def raising(error: Exception) -> Callable[[], None]:
    """Something that raises this when it is called."""

    def act():
        raise error

    return act


class Story(RuleBasedStateMachine):
    tool: MachineTool
    results: Path

    def __init__(self):
        super().__init__()
        self.stage = transaction.atomic()
        self.stage.__enter__()
        self.now = timezone.now()
        self.clock = mock.patch.object(timezone, "now", self.time)
        self.clock.start()
        self.users = [User.objects.create_user(f"{name}@example.com") for name in ("ann", "ben")]
        self.originals = {user: make_original(user) for user in self.users}
        self.workers: list[Item] = []  # claims that somebody still works on, lost ones too
        self.charged: dict = {}
        self.trouble: Exception | None = None
        self.acted, self.held = False, 0
        self.numbers = 0
        for user in self.users:
            ledger.grant(user, 25, kind="purchase", key=self.key())
        for _ in range(2):
            self.new_batch(random.Random(self.numbers))

    def teardown(self):
        try:
            if self.trouble is None:
                self.audit()
        finally:
            self.clock.stop()
            transaction.set_rollback(True)
            self.stage.__exit__(None, None, None)

    @rule(seed=st.integers(0, 2**32 - 1))
    def step(self, seed):
        """One verb, drawn among those that can act now.

        One rule on purpose: with a rule per verb, hypothesis leaves most of them out of a story
        and fills it with the few that are always possible.
        """
        self.numbers += 1
        # With the step's number in it, since hypothesis likes to draw the same seed again.
        chance = random.Random(f"{seed}/{self.numbers}")
        self.now += timedelta(milliseconds=chance.randint(1, 2000))
        verbs = chance.sample(list(VERBS), counts=VERBS.values(), k=sum(VERBS.values()))
        note(next(verb for verb in verbs if getattr(self, verb)(chance)))

    # What the verbs need

    def time(self):
        return self.now

    def key(self) -> str:
        self.numbers += 1
        return f"key:{self.numbers}"

    def batch_in(self, chance, *states, **conditions) -> Batch | None:
        found = Batch.objects.filter(state__in=states, **conditions).order_by("pk").distinct()
        return chance.choice(found) if found else None

    def busy_batch(self, chance) -> Batch | None:
        """One that somebody works on."""
        return self.batch_in(chance, "running", "paused", items__state__in=IN_HAND)

    def figures(self):
        """All that must not move when nothing happens."""
        return (
            list(Batch.objects.order_by("pk").values()),
            list(Item.objects.order_by("pk").values()),
            [ledger.balance(user) for user in self.users],
            sum(ledger.entries(user).count() for user in self.users),
            sorted(self.results.rglob("*.png")),
        )

    def refused(self, verb, *kinds) -> bool:
        """Whether the verb was refused; then nothing must have moved."""
        before = self.figures()
        try:
            verb()
        except kinds:
            assert self.figures() == before
            return True
        return False

    def split_workers(self) -> tuple[list[Item], list[Item]]:
        """Claims that still stand, and those that were lost."""
        tokens = set(Item.objects.filter(token__isnull=False).values_list("token", flat=True))
        stands = [worker for worker in self.workers if worker.token in tokens]
        return stands, [worker for worker in self.workers if worker.token not in tokens]

    def balance_before(self, worker: Item) -> ledger.Balance:
        """What its owner has, without what has run out: a hold after all would drop that, too."""
        HITS["ran out"] += bool(ledger.expire(self.now).credits)
        return ledger.balance(worker.batch.owner)

    def some_at_work(self, chance, most, *, first=lambda _worker: 0) -> list[Item]:
        """A few workers whose claims stand; rather those of whom more is true."""
        stands, _lost = self.split_workers()
        chance.shuffle(stands)
        stands.sort(key=first, reverse=True)
        return [self.taken(worker) for worker in stands[: chance.randint(1, most)]]

    def taken(self, worker: Item) -> Item:
        # By token, since a late worker's item and its successor's are the same row.
        self.workers = [other for other in self.workers if other.token != worker.token]
        return worker

    def work(self, worker: Item, act: Callable[[], object] = lambda: None) -> Item:
        """Let a worker do its work on what it claimed, through the pipeline's own code.

        `acted` says afterwards whether there was any: an earlier result may have served; `held`
        what was on hold for it before.
        """
        acted, held = False, worker.held_price

        def told():
            nonlocal acted
            acted = True
            try:
                act()
            except (ToolError, fetch.FetchError, ZeroDivisionError):
                raise
            except Exception as error:
                self.trouble = error  # the pipeline would take it for the tool's own
                raise

        if worker.state == ItemState.RUNNING:
            self.tool.act = told
            pipeline._process(worker)
        else:

            def download(item):
                told()
                return self.originals[item.batch.owner]

            with mock.patch.object(pipeline, "_download", download):
                pipeline._bring_in(worker)
        self.tool.act, self.acted, self.held = lambda: None, acted, held
        if self.trouble:
            raise self.trouble
        return Item.objects.get(pk=worker.pk)

    def ended_without_work(self, worker: Item, item: Item, before) -> bool:
        """Whether nothing was run for the item, and then whether that was right."""
        if self.acted:
            HITS["paid for after all"] += item.held_price > self.held
            return False
        after = ledger.balance(worker.batch.owner)
        if worker.state == ItemState.FETCHING and item.state == ItemState.FETCHED:
            assert after == before  # its first has its picture
            return True
        assert after == (before.available + self.held, before.held - self.held)
        if item.state == ItemState.DONE:
            assert (item.price, item.results.count()) == (0, 1)
            source = Item.objects.get(uid=item.reused_from)
            assert (source.settings, source.batch.owner) == (item.settings, worker.batch.owner)
            HITS["served again"] += 1
            HITS["served again what was held for"] += self.held > 0
        else:
            assert item.state == ItemState.FAILED
            HITS["failed with its first"] += item.error_code != "insufficient_credits"
        self.note_the_end(item)
        return True

    def lose(self, worker: Item) -> None:
        """The worker's lease runs out, and somebody notices."""
        long_ago = self.now - timedelta(seconds=1)
        Item.objects.filter(pk=worker.pk, token=worker.token).update(lease_until=long_ago)
        assert lifecycle.end_leases(now=self.now) >= 1

    # What people do: each returns True, or False when there is nothing to do it to

    def grant(self, chance, *, user=None):
        user = user or chance.choice(self.users)
        days = chance.choice([None, 1, 1, 2])
        ends = days and self.now + timedelta(days=days)
        amount = chance.randint(5, 40)
        ledger.grant(user, amount, kind="promo", key=self.key(), expires_at=ends)
        return True

    def new_batch(self, chance):
        if Batch.objects.filter(state=BatchState.READY).count() > 1:
            return False
        user = chance.choice(self.users)
        usual = {"held": 3, "real": 2}
        rows = [
            Row(
                settings=chance.choice(
                    [usual, {"held": chance.randint(0, 8), "real": chance.randint(0, 10)}]
                ),
                **(
                    {"url": "https://a.example.com/a.png"}
                    if chance.random() < 0.4
                    else {"upload": str(self.originals[user].uid)}
                ),
            )
            for _ in range(chance.randint(2, 8))
        ]
        sample = chance.choice([0, 0, 0, 1, 2])
        reuse = chance.random() < 0.6
        batch = lifecycle.create(user, self.tool, rows, sample=sample, reuse=reuse)
        return chance.random() < 0.3 or self.start(chance, batch=batch)

    def start(self, chance, *, batch=None):
        batch = batch or self.batch_in(chance, "ready")
        if batch is None:
            return False
        before = ledger.balance(batch.owner)
        if self.refused(lambda: lifecycle.start(batch), ledger.InsufficientCredits):
            HITS["start refused"] += 1
            if chance.random() < 0.3:
                lifecycle.cancel(batch)
            return self.grant(chance, user=batch.owner)
        after = ledger.balance(batch.owner)
        begun = batch.items.filter(state__in=ON_HOLD)
        assert after.held - before.held == sum(begun.values_list("held_price", flat=True))
        HITS["started"] += 1
        return True

    def approve(self, chance):
        batch = self.batch_in(chance, "sampled")
        if batch is None:
            return False
        if not self.refused(lambda: lifecycle.approve(batch), ledger.InsufficientCredits):
            HITS["approved"] += 1
        return True

    def pause(self, chance):
        batch = self.batch_in(chance, "running")
        if batch is None:
            return False
        lifecycle.pause(batch)
        HITS["paused"] += 1
        return True

    def resume(self, chance):
        batch = self.batch_in(chance, "paused")
        if batch is None:
            return False
        lifecycle.resume(batch)
        HITS["resumed"] += 1
        return True

    def cancel(self, chance):
        batch = self.busy_batch(chance)
        if batch is None and chance.random() < 0.2:
            batch = self.batch_in(chance, "ready", "running", "sampled", "paused")
        if batch is None:
            return False
        in_hand = batch.items.filter(state__in=IN_HAND).count()
        lifecycle.cancel(batch)
        HITS["cancelled with items in hand"] += bool(in_hand)
        return True

    def cancel_and_die(self, chance):
        batch = self.busy_batch(chance)
        if batch is None:
            return False
        calls = iter(range(10))
        last = chance.randint(0, 1)
        release_items = lifecycle.release_items

        def die(items):
            if next(calls) == last:
                raise Died
            release_items(items)

        in_hand = batch.items.filter(state__in=IN_HAND).count()
        with mock.patch.object(lifecycle, "release_items", die):
            try:
                lifecycle.cancel(batch)
            except Died:
                HITS["cancel died half way"] += 1
        HITS["cancelled with items in hand"] += bool(in_hand)
        return True

    def retry(self, chance):
        batch = self.batch_in(chance, *RETRYABLE, items__state=ItemState.FAILED)
        if batch is None:
            return False
        failed = list(batch.items.filter(state=ItemState.FAILED).order_by("pk"))
        chosen = chance.sample(failed, chance.randint(1, min(2, len(failed))))
        edited = chance.choice([None, None, {"held": chance.randint(0, 8)}, {"held": 100}])
        if self.refused(
            lambda: lifecycle.retry(batch, items=[item.uid for item in chosen], settings=edited),
            ledger.InsufficientCredits,
        ):
            HITS["retry refused"] += 1
            return True
        for item in chosen:
            before, item.generation = item.generation, None
            item.refresh_from_db()
            assert item.generation == before + 1
            assert item.state in ON_HOLD
            HITS["retried for the second time"] += item.generation == 3
        HITS["retried"] += 1
        return True

    # What workers do

    def claim(self, chance):
        """One to eight workers take an item each."""
        waiting = {ItemState.QUEUED: ItemState.FETCHING, ItemState.FETCHED: ItemState.RUNNING}
        running = Item.objects.filter(state__in=waiting, batch__state=BatchState.RUNNING)
        running = running.exclude(twin_of__state__in=OPEN)
        items = chance.sample(list(running), running.count())
        items.sort(key=lambda item: -item.tries)
        for item in items[: chance.randint(1, 8)]:
            worker = pipeline._claim(item.pk, waiting[ItemState(item.state)])
            assert worker is not None
            self.workers.append(worker)
        return bool(items)

    def finish(self, chance):
        """One to five workers finish."""
        workers = self.some_at_work(chance, 5)
        for worker in workers:
            self.finish_one(worker)
        return bool(workers)

    def finish_one(self, worker):
        before = self.balance_before(worker)

        item = self.work(worker)

        if self.ended_without_work(worker, item, before):
            return
        if worker.state == ItemState.FETCHING:
            assert (item.state, item.original) == ("fetched", self.originals[worker.batch.owner])
            HITS["fetched"] += 1
            return
        price = min(item.settings["real"], item.settings["held"])
        after = ledger.balance(worker.batch.owner)
        assert (item.state, item.price, item.results.count()) == ("done", price, 1)
        released = before.available + self.held - price
        assert after == (released, before.held - self.held)
        self.charge(item)
        HITS["finished in time"] += 1
        HITS["real price below the hold"] += price < item.held_price
        HITS["free of charge"] += price == 0
        self.note_the_end(item)

    def charge(self, item):
        if item.price:
            assert item.uid not in self.charged
            self.charged[item.uid] = item.price

    def note_the_end(self, item):
        HITS["batch finished"] += Batch.objects.get(pk=item.batch_id).state == "finished"

    def finish_late(self, chance):
        _stands, lost = self.split_workers()
        if not lost:
            return False
        worker = self.taken(chance.choice(lost))
        errors = [ToolError("no_subject", permanent=permanent) for permanent in (True, False)]
        acts = [lambda: None, *map(raising, errors)]
        before = self.figures()

        self.work(worker, chance.choice(acts))

        assert self.figures() == before
        HITS["finished too late"] += 1
        return True

    def be_overtaken(self, chance):
        """While the tool runs, the batch is cancelled or another worker takes over."""
        stands, _lost = self.split_workers()
        stands = [worker for worker in stands if worker.state == ItemState.RUNNING]
        if not stands:
            return False
        worker = self.taken(chance.choice(stands))
        after = []

        def cancel():
            lifecycle.cancel(worker.batch)
            HITS["overtaken by a cancel"] += 1

        def take_over():
            self.lose(worker)
            rival = pipeline._claim(worker.pk, ItemState.RUNNING)
            if rival is None:  # the batch is paused, or the item has lost too many workers
                return
            HITS["overtaken by another worker"] += 1
            if chance.random() < 0.5:
                self.workers.append(rival)  # it has begun, and is not faster
                return
            item = self.work(rival)
            assert item.state == ItemState.DONE
            self.charge(item)
            HITS["finished in time"] += 1

        before = self.balance_before(worker)
        batch_state = Batch.objects.get(pk=worker.batch_id).state
        may_cancel = batch_state in {"running", "paused"} and chance.random() < 0.3
        overtake = cancel if may_cancel else take_over

        def act():
            overtake()
            after.append(self.figures())

        item = self.work(worker, act)

        if self.ended_without_work(worker, item, before):
            return True
        assert [self.figures()] == after
        HITS["finished too late"] += 1
        return True

    def fail(self, chance):
        """One or two images can't be done."""
        workers = self.some_at_work(chance, 2, first=lambda worker: worker.generation)
        for worker in workers:
            before = self.balance_before(worker)
            error = ToolError("no_subject", permanent=True)
            if worker.state == ItemState.FETCHING:
                error = fetch.FetchError("status", code="source_not_found", status=404)

            item = self.work(worker, raising(error))

            if self.ended_without_work(worker, item, before):
                continue
            after = ledger.balance(worker.batch.owner)
            assert (item.state, item.token) == ("failed", None)
            assert after == (before.available + self.held, before.held - self.held)
            HITS["failed"] += 1
            self.note_the_end(item)
        return bool(workers)

    def fail_for_now(self, chance):
        """One to three runs crash; some of them each time that they are tried."""
        workers = self.some_at_work(chance, 3, first=lambda worker: worker.tries)
        stubborn = chance.random() < 0.3
        for worker in workers:
            before = self.balance_before(worker)

            item = self.work(worker, raising(ZeroDivisionError()))

            if self.ended_without_work(worker, item, before):
                continue
            if worker.tries == 2:
                assert item.state == "failed"
                HITS["given up after three tries"] += 1
            else:
                waiting = "queued" if worker.state == ItemState.FETCHING else "fetched"
                assert (item.state, item.tries) == (waiting, worker.tries + 1)
                more = item.held_price - self.held
                after = ledger.balance(worker.batch.owner)
                assert after == (before.available - more, before.held + more)
            HITS["failed for now"] += 1
            if stubborn and worker.tries < 2:
                again = pipeline._claim(item.pk, ItemState(worker.state))
                workers += [again] if again else []
        return bool(workers)

    def lose_a_worker(self, chance):
        stands, _lost = self.split_workers()
        if not stands:
            return False
        worker = chance.choice(stands)

        self.lose(worker)

        item = Item.objects.get(pk=worker.pk)
        assert item.token is None
        assert item.state in {"queued", "fetched", "failed"}
        HITS["worker lost"] += 1
        return True

    def ring_too_often(self, chance):
        """A ring for something that is not to be had."""
        waiting = Q(state__in=["queued", "fetched"], batch__state="running")
        items = Item.objects.exclude(waiting).order_by("pk")
        if not items or chance.random() < 0.7:
            return False
        item = chance.choice(items)
        before = self.figures()
        pipeline.run(item.pk)
        pipeline.fetch([item.pk])
        assert self.figures() == before
        HITS["rung too often"] += 1
        return True

    def lose_files(self, chance):
        """The results of some images are not there any more, whoever counted on them."""
        done = Item.objects.filter(state=ItemState.DONE, results__isnull=False).order_by("pk")
        if not done or chance.random() < 0.6:
            return False
        for item in chance.sample(list(done), min(len(done), chance.randint(1, 6))):
            storage.delete(storage.RESULTS, *item.results.values_list("key", flat=True))
        return True

    # What the clock does

    def time_passes(self, chance):
        """Long enough for leases, or for credits, to run out."""
        if chance.random() < 0.7:
            return False
        self.now += timedelta(minutes=chance.choice([1, 10, 600, 1500]))
        return True

    def expire(self, chance):
        if chance.random() < 0.5:
            return False
        self.now += timedelta(hours=chance.choice([0, 30]))
        HITS["ran out"] += bool(ledger.expire(self.now).credits)
        return True

    def reconcile(self, chance):
        cancelling = Batch.objects.filter(state=BatchState.CANCELLING).count()
        if not cancelling and chance.random() < 0.7:
            return False
        reconcile(now=self.now)
        assert not Batch.objects.filter(state=BatchState.CANCELLING).exists()
        assert not Item.objects.filter(state__in=IN_HAND, lease_until__lt=self.now).exists()
        HITS["cancelling finished by reconcile"] += cancelling
        return True

    # What is always true

    @invariant()
    def money_and_items_agree(self):
        # What is wrong stays wrong, and the audit is half of a story's time.
        if self.numbers % AUDITED == 0:
            self.audit()

    def audit(self):
        assert [*credits_audit.disagreements(), *audit.disagreements()] == []

    @invariant()
    def only_what_was_finished_in_time_was_charged(self):
        assert ledger.captured_by_item() == self.charged

    @invariant()
    def nothing_that_runs_is_forgotten(self):
        live = Batch.objects.filter(state__in=[BatchState.RUNNING, BatchState.PAUSED])
        assert not live.exclude(items__state__in=ON_HOLD).exists()

    @invariant()
    def who_has_an_item_in_hand_has_its_token(self):
        in_hand = Q(state__in=IN_HAND)
        has_claim = Q(token__isnull=False, lease_until__isnull=False)
        assert not Item.objects.filter(in_hand & ~has_claim | has_claim & ~in_hand).exists()


@pytest.fixture
def story(media, monkeypatch) -> type[Story]:
    """The stories, on the machine tool; chunks of a cancel are small enough to die between."""
    monkeypatch.setattr(lifecycle, "RELEASE_CHUNK", 2)
    # The audit's cursors take a quarter of all round trips, for a handful of rows.
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    HITS.clear()
    with fakes.registered(MachineTool) as (tool,):
        yield type("Story", (Story,), {"tool": tool, "results": media / "results"})


def tell(story: type[Story], *, stories: int, steps: int = 60) -> None:
    run_state_machine_as_test(
        story,
        settings=settings(
            max_examples=stories,
            stateful_step_count=steps,
            phases=[Phase.generate],  # to shrink a story takes minutes
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_stories_leave_money_and_items_in_order(story):
    for _ in range(9):  # one to three rounds are usual
        tell(story, stories=12)
        short = {name: HITS[name] for name, floor in FLOORS.items() if HITS[name] < floor}
        if not short:
            break

    assert not short, f"These things happened too rarely to prove anything: {short}"


class ReadStory(Story):
    """A story in which somebody looks at every batch after each step."""

    def __init__(self):
        self.tags: dict[str | None, str] = {}
        super().__init__()

    @invariant()
    def a_mark_stands_for_one_answer(self):
        request = Request(RequestFactory().get("/"))
        for batch in Batch.objects.all():
            mark = etags.mark_of(batch)
            tag = etags.of(batch_as_read(batch, progress.of(batch, now=None), request))
            assert mark
            assert self.tags.setdefault(mark, tag) == tag
        HITS["answers"] = max(HITS["answers"], len(set(self.tags.values())))


def test_whatever_moves_an_answer_moves_the_mark_that_it_is_known_by(story, monkeypatch):
    monkeypatch.setattr(etags, "SETTLED_AFTER", timedelta(seconds=-1))  # nobody else is here

    tell(type("ReadStory", (ReadStory,), dict(vars(story))), stories=1, steps=40)

    assert HITS["answers"] > 15


# --- Tests of the test ----------------------------------------------------------------


def without_the_token(monkeypatch):
    """Whoever comes late settles all the same."""
    original = ItemQuerySet.filter

    def careless(rows, *args, **conditions):
        conditions.pop("token", None)
        return original(rows, *args, **conditions)

    monkeypatch.setattr(ItemQuerySet, "filter", careless)


def without_comparing_states(monkeypatch):
    """An item goes where it is sent, wherever it was."""

    def careless(rows, to, **fields):
        return rows.update(state=to, **fields)

    monkeypatch.setattr(ItemQuerySet, "advance", careless)


def without_token_and_states(monkeypatch):
    """Both at once: nothing but the ledger's keys is left."""
    without_the_token(monkeypatch)
    without_comparing_states(monkeypatch)


def without_releases(monkeypatch):
    """What fails or is cancelled stays on hold."""
    monkeypatch.setattr(lifecycle, "release_items", lambda _items: None)


def without_generations(monkeypatch):
    """A retry's settlement has the key of the first try's."""
    monkeypatch.setattr(ledger.Share, "key", property(lambda share: f"settle:{share.item_uid}"))


def without_new_holds(monkeypatch):
    """A retry finds the hold of the start under its key."""
    hold = ledger.hold

    def careless(user, amount, *, key, **options):
        _kind, batch, *_rest = key.split(":")
        return hold(user, amount, key=batch, **options)

    monkeypatch.setattr(ledger, "hold", careless)


def without_the_real_price(monkeypatch):
    """The highest price is charged, whatever the tool says."""
    capture = ledger.capture

    def careless(hold_id, *, held, price, **options):
        return capture(hold_id, held=held, price=price and held, **options)

    monkeypatch.setattr(ledger, "capture", careless)


def with_a_charge_for_what_is_served_again(monkeypatch):
    """What was held is charged, whether anything has run or not."""
    settle = pipeline._settle

    def careless(item, results, *, price, reused_from, **fields):
        price = item.held_price if reused_from else price
        return settle(item, results, price=price, reused_from=reused_from, **fields)

    monkeypatch.setattr(pipeline, "_settle", careless)


def without_closing(monkeypatch):
    """Nobody ends a batch after its last image."""
    monkeypatch.setattr(lifecycle, "close_if_finished", lambda _batch_id: False)


def without_clearing_claims(monkeypatch):
    """A cancelled item stays in its worker's hands."""
    advance = ItemQuerySet.advance

    def careless(rows, to, **fields):
        if to == ItemState.CANCELLED:
            fields.pop("token")
        return advance(rows, to, **fields)

    monkeypatch.setattr(ItemQuerySet, "advance", careless)


MISTAKES = [
    without_the_token,
    without_comparing_states,
    without_token_and_states,
    without_releases,
    without_generations,
    without_new_holds,
    without_the_real_price,
    with_a_charge_for_what_is_served_again,
    without_closing,
    without_clearing_claims,
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_stories_notice_a_mistake(story, monkeypatch, mistake):
    mistake(monkeypatch)

    with pytest.raises(Exception):  # noqa: B017 - each mistake shows in a way of its own
        tell(story, stories=60)  # the first that shows it ends them; most show within ten
