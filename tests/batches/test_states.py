"""The law of moves: what is not in the table moves no row."""

from itertools import product

import pytest

from batches.models import Batch, Item
from batches.states import (
    BATCH_MOVES,
    ENDED,
    IN_HAND,
    ITEM_MOVES,
    ON_HOLD,
    BatchState,
    ItemState,
)
from tests.factories import bare_batch, bare_item

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("before", "after"), list(product(BatchState, BatchState)))
def test_a_batch_moves_only_where_the_table_allows(alice, before, after):
    batch = bare_batch(alice, state=before)

    moved = Batch.objects.filter(pk=batch.pk).advance(after)

    batch.refresh_from_db()
    allowed = after in BATCH_MOVES[before]
    assert moved == int(allowed)
    assert batch.state == (after if allowed else before)


@pytest.mark.parametrize(("before", "after"), list(product(ItemState, ItemState)))
def test_an_item_moves_only_where_the_table_allows(alice, before, after):
    item = bare_item(bare_batch(alice), state=before)

    moved = Item.objects.filter(pk=item.pk).advance(after)

    item.refresh_from_db()
    allowed = after in ITEM_MOVES[before]
    assert moved == int(allowed)
    assert item.state == (after if allowed else before)


def test_every_state_has_its_row_in_the_tables():
    assert set(BATCH_MOVES) == set(BatchState)
    assert set(ITEM_MOVES) == set(ItemState)


def test_what_has_ended_is_not_on_hold_and_what_is_in_hand_is():
    assert not ENDED & ON_HOLD
    assert IN_HAND < ON_HOLD
    assert ENDED | ON_HOLD | {ItemState.PENDING} == set(ItemState)


def test_each_move_of_an_item_leaves_its_time(alice):
    item = bare_item(bare_batch(alice), state=ItemState.FETCHED)
    before = item.changed_at

    Item.objects.filter(pk=item.pk).advance(ItemState.RUNNING)

    item.refresh_from_db()
    assert item.changed_at > before
