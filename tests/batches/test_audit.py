"""Each way in which items and ledger can contradict each other is found, and nothing else is."""

import uuid

import pytest

from batches import audit, lifecycle, pipeline
from batches.models import Batch, Item
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import bare_batch, bare_item, give, make_batch

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "media")


def found() -> list[str]:
    return list(audit.disagreements())


def started(owner, count: int = 2, **options) -> Batch:
    return lifecycle.start(make_batch(owner, count, **options))


def finished(owner, count: int = 2, **options) -> Batch:
    batch = started(owner, count, **options)
    for pk in batch.items.order_by("position").values_list("pk", flat=True):
        pipeline.run(pk)
    return Batch.objects.get(pk=batch.pk)


# --- Nothing to find ------------------------------------------------------------------


def test_an_empty_site_agrees(db):
    assert found() == []


def test_batches_at_every_stage_agree(alice, bob, free):
    make_batch(alice)
    started(alice)
    lifecycle.pause(started(bob))
    lifecycle.cancel(started(alice))
    finished(bob)
    finished(alice, tool="free")
    sampled = started(alice, 3, sample=1)
    pipeline.run(sampled.items.first().pk)
    pipeline._claim(started(bob).items.first().pk, ItemState.RUNNING)

    assert found() == []


def test_what_is_left_of_a_deleted_batch_is_no_contradiction(alice):
    finished(alice).delete()

    assert found() == []


# --- Planted contradictions -----------------------------------------------------------


def test_an_open_item_whose_credits_are_not_on_hold_is_found(alice):
    batch = started(alice)
    item = batch.items.first()
    ledger.release(
        item.hold_id, item_uid=item.uid, generation=item.generation, held=item.held_price
    )

    assert found() == [f"{batch.reference} has 2 credits on hold, but its open items need 4."]


def test_an_open_item_that_was_never_paid_for_is_found(alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    bare_item(batch, state=ItemState.QUEUED, held_price=2)

    assert found() == [f"{batch.reference} has 0 credits on hold, but its open items need 2."]


def test_credits_that_stay_on_hold_after_the_last_item_are_found(alice):
    batch = started(alice)
    Item.objects.filter(batch=batch).update(state=ItemState.CANCELLED)

    assert found() == [f"{batch.reference} has 4 credits on hold, but its open items need 0."]


@pytest.mark.parametrize("reference", ["batch:nonsense", f"batch:{uuid.UUID(int=7)}", "else"])
def test_a_hold_of_nobodys_batch_is_found(alice, reference):
    give(alice, 5)
    ledger.hold(alice, 5, key="stray", reference=reference)

    assert found() == [f"{reference} has 5 credits on hold, but its open items need 0."]


def test_a_held_price_that_was_changed_afterwards_is_found(alice):
    batch = started(alice)
    Item.objects.filter(pk=batch.items.first().pk).update(held_price=3)

    assert found() == [f"{batch.reference} has 4 credits on hold, but its open items need 5."]


def test_an_item_that_is_done_and_was_not_charged_is_found(alice):
    item = started(alice).items.first()
    lifecycle.fail_item(item, "no_subject", {}, token=None)
    Item.objects.filter(pk=item.pk).update(state=ItemState.DONE, price=2)

    assert f"Item {item.uid} cost 2 credits, but 0 were captured." in found()


def test_an_item_that_was_charged_another_price_is_found(alice):
    item = finished(alice).items.first()
    Item.objects.filter(pk=item.pk).update(price=1)

    assert found() == [f"Item {item.uid} cost 1 credits, but 2 were captured."]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_an_item_that_was_charged_and_is_not_done_is_found(alice, state):
    item = finished(alice).items.first()
    Item.objects.filter(pk=item.pk).update(state=state)

    assert found() == [f"Item {item.uid} is not done, but 2 credits were captured."]


def test_an_item_that_was_charged_and_says_it_was_free_is_found(alice):
    item = finished(alice).items.first()
    Item.objects.filter(pk=item.pk).update(price=0)

    assert found() == [f"Item {item.uid} is not done, but 2 credits were captured."]


@pytest.mark.parametrize("state", ["finished", "cancelled"])
@pytest.mark.parametrize("item_state", ["pending", "queued", "fetching", "fetched", "running"])
def test_a_batch_that_ended_with_something_open_is_found_once(alice, state, item_state):
    batch = bare_batch(alice, state=state)
    for position in range(2):
        bare_item(batch, state=item_state, position=position)

    assert found() == [f"Batch {batch.uid} has ended, but some of its items have not."]


def test_every_contradiction_is_told_and_not_only_the_first(alice, bob):
    started(alice).items.update(held_price=3)
    finished(bob).items.update(price=1)

    assert len(found()) == 1 + 2


# --- A site at work -------------------------------------------------------------------


def test_a_settlement_between_two_looks_is_no_contradiction(alice, monkeypatch):
    batch = started(alice)
    open_references = ledger.open_references

    def after_a_settlement():
        monkeypatch.setattr(ledger, "open_references", open_references)
        pipeline.run(batch.items.first().pk)
        return open_references()

    monkeypatch.setattr(ledger, "open_references", after_a_settlement)

    assert found() == []


def test_a_long_history_is_compared_in_pieces(alice, monkeypatch):
    batch = finished(alice, 5)
    monkeypatch.setattr(audit, "CHUNK", 2)
    item = batch.items.get(position=4)
    Item.objects.filter(pk=item.pk).update(price=1)

    assert found() == [f"Item {item.uid} cost 1 credits, but 2 were captured."]


def test_the_number_of_queries_does_not_grow_with_the_number_of_batches(
    alice, django_assert_num_queries
):
    for _ in range(3):
        finished(alice)
        started(alice)

    with django_assert_num_queries(7):
        assert found() == []
