"""Batches and items in the admin."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.admin import site
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from accounts import lists
from accounts.models import StaffAction
from batches import audit, failures, lifecycle
from batches.models import Batch, Item
from batches.states import BatchState, ItemState
from credits import audit as credits_audit
from credits import ledger
from tests.factories import bare_batch, bare_item, give, make_batch

BATCHES = reverse("admin:batches_batch_changelist")
ITEMS = reverse("admin:batches_item_changelist")


@pytest.fixture
def admin_pages(client, staff):
    client.force_login(staff)
    return client


def act(client, action, *batches, **fields):
    """Choose rows of the list and carry out an action on them."""
    chosen = [batch.pk for batch in batches]
    fields = {"action": action, "_selected_action": chosen} | fields
    return client.post(BATCHES, fields, follow=True)


def confirmed(client, action, *batches):
    """Do so and say that it is meant."""
    return act(client, action, *batches, confirmed="1")


def test_the_list_shows_owner_counts_and_credits(admin_pages, alice):
    batch = bare_batch(alice, state=BatchState.FINISHED, name="Mugs")
    bare_item(batch, state=ItemState.DONE, position=0, price=1)
    bare_item(batch, state=ItemState.FAILED, position=1)

    page = admin_pages.get(BATCHES).content.decode()

    assert "alice@example.com" in page
    assert '<span class="studio-done">1/2</span>' in page
    assert re.findall(r'<rect class="(\w+)" width="([\d.]+)"', page) == [
        ("failed", "100.0"),
        ("done", "50.0"),
    ]
    cells = dict(re.findall(r'<td class="field-(failed|credits)[^>]*>\s*(\d+)', page))
    assert cells == {"failed": "1", "credits": "1"}


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


def test_an_image_is_found_by_any_of_its_ids_and_by_how_its_name_begins(admin_pages, alice):
    batch = bare_batch(alice)
    for position, name in enumerate(["Mug_1%.png", "mug_1%.png", "a Mug_1%.png"]):
        item = bare_item(batch, position=position)
        Item.objects.filter(pk=item.pk).update(name=name)
    wanted = batch.items.get(position=0)
    trace = f"[{uuid4()}/{alice.uid}/{batch.uid}/{wanted.uid}]"

    for term in (str(wanted.pk), str(wanted.uid), trace, "Mug_1%", " Mug"):
        found = admin_pages.get(ITEMS, {"q": term}).context["cl"].result_list
        assert list(found) == [wanted], term
    found = admin_pages.get(ITEMS, {"q": trace.rpartition("/")[0]}).context["cl"].result_list
    assert {item.batch for item in found} == {batch}
    for term in ("ug_1", "Mugs", "9" * 30):
        assert not admin_pages.get(ITEMS, {"q": term}).context["cl"].result_list


def test_a_search_for_images_asks_an_index_however_many_there_are(admin_pages, alice):
    batch = bare_batch(alice)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    for term, index in {
        "Mug": "item_by_name",
        "12": "item_by_name",
        str(batch.uid): "batch",
    }.items():
        rows, _twice = site._registry[Item].get_search_results(None, Item.objects.all(), term)
        plan = rows.order_by().explain()
        assert "Seq Scan" not in plan, plan
        assert index in plan, plan


def test_words_are_looked_for_in_names_and_addresses(admin_pages, alice, bob):
    wanted, _other = bare_batch(bob, name="Mugs"), bare_batch(alice, name="Plates")

    by_name = admin_pages.get(BATCHES, {"q": "mug"}).context["cl"].result_list
    by_owner = admin_pages.get(BATCHES, {"q": "bob@"}).context["cl"].result_list

    assert list(by_name) == list(by_owner) == [wanted]


def test_staff_cancel_batches_and_are_told_which_could_not_be(admin_pages, alice, fake_tool):
    running = lifecycle.start(make_batch(alice, 2))
    over = bare_batch(alice, state=BatchState.FINISHED, name="Over <b>")

    page = confirmed(admin_pages, "cancel", running, over).content.decode()

    running.refresh_from_db()
    assert running.state == BatchState.CANCELLED
    assert ledger.balance(alice).held == 0
    assert "1 batch moved." in page
    assert "Over &lt;b&gt;: It has ended already." in page


def test_each_action_is_noted_with_before_and_after(admin_pages, staff, alice, fake_tool):
    batch = lifecycle.start(make_batch(alice, 1))

    act(admin_pages, "pause", batch)
    act(admin_pages, "resume", batch)
    act(admin_pages, "raise_priority", batch)

    noted = StaffAction.objects.filter(actor=staff, target_id=str(batch.uid)).order_by("pk")
    assert [(one.action, one.before["state"], one.after["state"]) for one in noted] == [
        ("batch.pause", "running", "paused"),
        ("batch.resume", "paused", "running"),
        ("batch.raise_priority", "running", "running"),
    ]
    batch.refresh_from_db()
    assert (batch.state, batch.priority) == (BatchState.RUNNING, 1)


def test_what_the_images_cost_is_given_back_once_and_with_a_reason(
    admin_pages, alice, fake_tool, run_jobs, rings_at_once
):
    batch = lifecycle.start(make_batch(alice, 3))
    run_jobs()
    batch.refresh_from_db()
    before = ledger.balance(alice).available

    asked = act(admin_pages, "refund", batch)
    assert b"Refund these batches?" in asked.content
    again = confirmed(admin_pages, "refund", batch)  # without a reason
    assert b"Say why: the owner sees it in the statement." in again.content
    assert ledger.balance(alice).available == before

    page = act(admin_pages, "refund", batch, confirmed="1", reason="Blurred")
    assert b"3 images refunded, 6 credits." in page.content
    page = act(admin_pages, "refund", batch, confirmed="1", reason="Blurred")
    assert b"0 images refunded, 0 credits." in page.content
    assert ledger.balance(alice).available == before + 6
    noted = StaffAction.objects.get(action="batch.refund")
    assert (noted.rows, noted.reason, noted.after) == (
        3, "Blurred", {"images": 3, "credits": 6},
    )  # fmt: skip
    assert [*audit.disagreements(), *credits_audit.disagreements()] == []


def test_the_report_has_a_line_for_each_image_and_no_formula(admin_pages, alice):
    batch = bare_batch(alice, name="Mugs")
    item = bare_item(batch, state=ItemState.DONE, price=2, finished_at=timezone.now())
    Item.objects.filter(pk=item.pk).update(name="=cmd()")
    answer = act(admin_pages, "report", batch)
    lines = answer.getvalue().decode().splitlines()
    assert lines[0].startswith("batch,owner,tool,name,")
    assert lines[1].startswith(f"{batch.uid},alice@example.com,fake,'=cmd(),")
    assert len(lines) == 2


def test_failed_images_run_again_and_the_rest_is_left_alone(admin_pages, alice, fake_tool):
    give(alice, 10)
    over = bare_batch(alice, state=BatchState.FINISHED)
    failed = bare_item(over, state=ItemState.FAILED, error_code="source_not_found")
    done = bare_item(over, state=ItemState.DONE, position=1)
    cancelled = bare_batch(alice, state=BatchState.CANCELLED, name="Gone")
    lost = bare_item(cancelled, state=ItemState.FAILED)

    page = admin_pages.post(
        ITEMS,
        {"action": "requeue", "_selected_action": [failed.pk, done.pk, lost.pk]},
        follow=True,
    )

    failed.refresh_from_db()
    assert failed.state == ItemState.QUEUED
    assert b"1 image runs again, 2 left as they are." in page.content
    assert b"Gone: " in page.content
    assert StaffAction.objects.get(action="item.requeue").rows == 1


def test_batches_with_failed_images_can_be_picked_out(admin_pages, alice):
    bad, good = bare_batch(alice, name="Bad"), bare_batch(alice, name="Good")
    bare_item(bad, state=ItemState.FAILED)
    bare_item(good, state=ItemState.DONE)
    found = admin_pages.get(f"{BATCHES}?failed=1").context["cl"].result_list
    assert [batch.name for batch in found] == ["Bad"]


def test_retrying_for_an_owner_without_credits_is_refused_in_words(admin_pages, alice, fake_tool):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    bare_item(batch, state=ItemState.FAILED, held_price=1)
    balance = ledger.balance(alice).available
    ledger.adjust(alice, -balance, actor=alice, note="emptied", key="empty")

    page = confirmed(admin_pages, "retry_failed", batch)

    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED
    assert b"Not enough credits: 2 needed, 0 left." in page.content


def test_retry_runs_what_failed_again(admin_pages, alice, fake_tool):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    item = bare_item(batch, state=ItemState.FAILED, error_code="source_not_found")
    give(alice, 10)

    confirmed(admin_pages, "retry_failed", batch)

    item.refresh_from_db()
    assert item.state == ItemState.QUEUED
    assert item.error_code == ""


def test_staff_without_the_right_see_no_actions(client, alice, bob):
    bob.is_staff = True
    bob.save()
    client.force_login(bob)

    assert client.get(BATCHES).status_code == 403


@pytest.mark.parametrize("action", ["cancel", "retry_failed"])
def test_what_stops_work_or_costs_somebody_credits_asks_first(admin_pages, alice, action):
    batch = bare_batch(alice, state=BatchState.RUNNING, name="Mugs")
    bare_item(batch, state=ItemState.FAILED)

    page = act(admin_pages, action, batch).content.decode()

    batch.refresh_from_db()
    assert batch.state == BatchState.RUNNING
    assert not StaffAction.objects.exists()
    assert "0 of 1 done, 1 failed, 0 credits on hold" in page
    assert f'name="_selected_action" value="{batch.pk}"' in page
    assert 'name="confirmed"' in page


def test_the_list_can_be_narrowed_to_an_owner(admin_pages, alice, bob):
    wanted, _other = bare_batch(bob), bare_batch(alice)

    page = admin_pages.get(BATCHES, {"owner__id__exact": bob.pk})

    assert list(page.context["cl"].result_list) == [wanted]
    assert f'href="?owner__id__exact={bob.pk}"' in page.content.decode()


def test_an_item_shows_its_pictures_to_staff(admin_pages, alice, fake_tool, media, run_jobs):
    batch = make_batch(alice, 1)
    lifecycle.start(batch)
    batch.items.update(rung_at=None)
    run_jobs()
    item = batch.items.get()

    page = admin_pages.get(reverse("admin:batches_item_change", args=[item.pk])).content.decode()

    addresses = re.findall(r'<img src="([^"]+\.webp)"', page)
    assert len(addresses) == 2
    for address in addresses:
        answer = admin_pages.get(address)
        assert answer["Content-Type"] == "image/webp"
        assert b"".join(answer.streaming_content)[8:12] == b"WEBP"


def test_pictures_are_shown_to_staff_alone(client, admin_pages, alice, bob, fake_tool, media):
    item = make_batch(alice, 1).items.get()
    address = reverse("admin:batches_item_picture", args=[item.pk, "original"])

    shown = admin_pages.get(address)
    assert b"".join(shown.streaming_content)
    assert shown.status_code == 200
    assert admin_pages.get(address.replace("original", "result")).status_code == 404
    assert admin_pages.get(address.replace("original", "nonsense")).status_code == 404
    client.force_login(alice)
    assert client.get(address).status_code == 302
    bob.is_staff = True
    bob.save()
    client.force_login(bob)
    assert client.get(address).status_code == 403


def test_an_item_lists_what_was_tried_before(admin_pages, alice):
    tried = {
        "attempt": 1,
        "code": "source_not_found",
        "params": {},
        "started_at": "2026-11-26T10:00:00+00:00",
        "ended_at": "2026-11-26T10:00:01.5+00:00",
    }
    item = bare_item(bare_batch(alice), state=ItemState.FAILED, history=[tried])

    page = admin_pages.get(reverse("admin:batches_item_change", args=[item.pk])).content.decode()

    assert "There is nothing at this address (404)." in page
    assert "10:00:01" in page


def test_failures_of_a_day_are_counted_by_their_reason(admin_pages, alice):
    now = timezone.now()
    for number, code in enumerate(["no_subject", "file_empty", "no_subject"]):
        batch = bare_batch(alice)
        bare_item(batch, state=ItemState.FAILED, error_code=code, finished_at=now)
        if not number:
            old = {"error_code": "file_damaged", "finished_at": now - timedelta(days=2)}
            bare_item(batch, state=ItemState.FAILED, position=1, **old)

    found = failures.lately(now=now).reasons

    assert [(reason.error_code, reason.n, reason.batches) for reason in found] == [
        ("no_subject", 2, 2),
        ("file_empty", 1, 1),
    ]
    assert found[1].words.startswith("The file is empty.")
    narrowed = admin_pages.get(f"{ITEMS}?{found[0].query}")
    assert {item.error_code for item in narrowed.context["cl"].result_list} == {"no_subject"}
    assert narrowed.context["cl"].result_count == 2


def test_a_long_list_is_counted_so_far_and_no_further(
    admin_pages, alice, monkeypatch, django_assert_num_queries
):
    monkeypatch.setattr(lists, "COUNTED", 7)
    batch = bare_batch(alice)
    for position in range(5):
        bare_item(batch, position=position)
    assert admin_pages.get(ITEMS).context["cl"].result_count == 5
    with django_assert_num_queries(5) as few:
        admin_pages.get(ITEMS)
    for position in range(5, 12):
        bare_item(batch, position=position)
    with django_assert_num_queries(len(few)):
        assert admin_pages.get(ITEMS).context["cl"].result_count == 7
