"""Batches and items in the admin."""

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from batches import lifecycle
from batches.models import Batch
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import bare_batch, bare_item, give, make_batch

BATCHES = reverse("admin:batches_batch_changelist")
ITEMS = reverse("admin:batches_item_changelist")


@pytest.fixture
def admin_pages(client, staff):
    client.force_login(staff)
    return client


def act(client, action, *batches):
    """Choose rows of the list and carry out an action on them."""
    chosen = [batch.pk for batch in batches]
    return client.post(BATCHES, {"action": action, "_selected_action": chosen}, follow=True)


def test_the_list_shows_owner_counts_and_credits(admin_pages, alice):
    batch = bare_batch(alice, state=BatchState.FINISHED, name="Mugs")
    bare_item(batch, state=ItemState.DONE, position=0, price=1)
    bare_item(batch, state=ItemState.FAILED, position=1)

    page = admin_pages.get(BATCHES).content.decode()

    assert "alice@example.com" in page
    assert '<td class="field-done_of">1/2</td>' in page
    assert '<td class="field-failed">1</td>' in page
    assert '<td class="field-credits">1</td>' in page


def test_the_list_asks_as_little_for_many_batches_as_for_one(
    admin_pages, alice, django_assert_max_num_queries, django_assert_num_queries
):
    bare_item(bare_batch(alice, state=BatchState.RUNNING))
    with django_assert_max_num_queries(20) as few:
        admin_pages.get(BATCHES)

    for _ in range(20):
        bare_item(bare_batch(alice, state=BatchState.RUNNING))

    with django_assert_num_queries(len(few)):
        admin_pages.get(BATCHES)


def test_a_batch_can_be_read_but_not_written(admin_pages, alice):
    batch = bare_batch(alice, state=BatchState.FINISHED, name="Mugs")
    bare_item(batch, state=ItemState.FAILED)
    address = reverse("admin:batches_batch_change", args=[batch.pk])

    page = admin_pages.get(address).content.decode()
    answer = admin_pages.post(address, {"name": "Plates"})

    assert f"{ITEMS}?batch__id__exact={batch.pk}&amp;state__exact=failed" in page
    assert 'name="name"' not in page
    assert answer.status_code == 403
    batch.refresh_from_db()
    assert batch.name == "Mugs"


def test_nobody_adds_or_deletes_batches_here(admin_pages, alice):
    batch = bare_batch(alice)

    added = admin_pages.get(reverse("admin:batches_batch_add"))
    deleted = admin_pages.post(
        reverse("admin:batches_batch_delete", args=[batch.pk]), {"post": "yes"}
    )

    assert added.status_code == deleted.status_code == 403
    assert Batch.objects.filter(pk=batch.pk).exists()


def test_the_items_of_a_batch_are_listed_by_state(admin_pages, alice):
    batch = bare_batch(alice)
    bare_item(batch, state=ItemState.FAILED, position=0, error_code="file_damaged")
    bare_item(batch, state=ItemState.DONE, position=1)

    page = admin_pages.get(f"{ITEMS}?batch__id__exact={batch.pk}&state__exact=failed")

    assert b"file_damaged" in page.content
    assert [item.state for item in page.context["cl"].result_list] == [ItemState.FAILED]


def test_an_item_shows_its_error_in_words(admin_pages, alice):
    item = bare_item(bare_batch(alice), state=ItemState.FAILED, error_code="file_empty")

    page = admin_pages.get(reverse("admin:batches_item_change", args=[item.pk]))

    assert b"The file is empty." in page.content


@pytest.mark.parametrize("address", [BATCHES, ITEMS])
def test_a_batch_is_found_by_its_id(admin_pages, alice, address):
    wanted, other = bare_batch(alice), bare_batch(alice)
    bare_item(wanted)
    bare_item(other)

    found = admin_pages.get(address, {"q": str(wanted.uid)}).context["cl"].result_list

    assert [getattr(row, "batch", row) for row in found] == [wanted]


def test_words_are_looked_for_in_names_and_addresses(admin_pages, alice, bob):
    wanted, _other = bare_batch(bob, name="Mugs"), bare_batch(alice, name="Plates")

    by_name = admin_pages.get(BATCHES, {"q": "mug"}).context["cl"].result_list
    by_owner = admin_pages.get(BATCHES, {"q": "bob@"}).context["cl"].result_list

    assert list(by_name) == list(by_owner) == [wanted]


def test_staff_cancel_batches_and_are_told_which_could_not_be(admin_pages, alice, fake_tool):
    running = lifecycle.start(make_batch(alice, 2))
    over = bare_batch(alice, state=BatchState.FINISHED, name="Over <b>")

    page = act(admin_pages, "cancel", running, over).content.decode()

    running.refresh_from_db()
    assert running.state == BatchState.CANCELLED
    assert ledger.balance(alice).held == 0
    assert "1 batch moved." in page
    assert "Over &lt;b&gt;: It has ended already." in page


def test_each_action_leaves_a_line_in_the_log(admin_pages, staff, alice, fake_tool):
    batch = lifecycle.start(make_batch(alice, 1))

    act(admin_pages, "pause", batch)
    act(admin_pages, "resume", batch)

    lines = LogEntry.objects.filter(user=staff, object_id=str(batch.pk)).order_by("pk")
    assert [line.change_message for line in lines] == ["paused by staff", "resumed by staff"]
    batch.refresh_from_db()
    assert batch.state == BatchState.RUNNING


def test_retrying_for_an_owner_without_credits_is_refused_in_words(admin_pages, alice, fake_tool):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    bare_item(batch, state=ItemState.FAILED, held_price=1)
    balance = ledger.balance(alice).available
    ledger.adjust(alice, -balance, actor=alice, note="emptied", key="empty")

    page = act(admin_pages, "retry_failed", batch)

    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED
    assert b"Not enough credits: 2 needed, 0 left." in page.content


def test_retry_runs_what_failed_again(admin_pages, alice, fake_tool):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    item = bare_item(batch, state=ItemState.FAILED, error_code="source_not_found")
    give(alice, 10)

    act(admin_pages, "retry_failed", batch)

    item.refresh_from_db()
    assert item.state == ItemState.QUEUED
    assert item.error_code == ""


def test_staff_without_the_right_see_no_actions(client, alice, bob):
    bob.is_staff = True
    bob.save()
    client.force_login(bob)

    assert client.get(BATCHES).status_code == 403
