"""Results on their way: asked for, sent, retried, taken back, whoever dies and wherever."""

import json
from datetime import timedelta

import django_rq
import pytest
from django.utils import timezone
from rest_framework.serializers import ValidationError

from batches import couriers, deliveries, dispatch, lifecycle, storage
from batches.models import Batch, Delivery, Item, Parcel, WebhookEndpoint, WebhookMessage
from batches.reconcile import ORPHAN_AGE, reconcile, sweep_orphans
from batches.states import BatchState, ItemState
from batches.stores.base import StoreError
from credits import ledger
from tests.batches import places
from tests.factories import bare_item, bare_result, done_batch, make_batch, picture

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "media", "shop")


def carry(*, most: int = 100) -> None:
    """Be the workers of deliveries: follow rings until there are none."""
    queue = django_rq.get_queue("io")
    for _job in range(most):
        jobs = [job for job in queue.jobs if job.func_name == dispatch.DELIVER_JOB]
        if not jobs:
            return
        queue.remove(jobs[0])
        couriers.send(**jobs[0].kwargs)
    raise AssertionError("It never ends.")


def carry_later(seconds: float = 3600) -> None:
    """Let time pass for what waits, and be the scheduler and the workers."""
    for rows in (Parcel.objects, Delivery.objects):
        for row in rows.filter(retry_at__isnull=False):
            rows.filter(pk=row.pk).update(retry_at=row.retry_at - timedelta(seconds=seconds))
    reconcile(now=timezone.now())
    carry()


def state_of(delivery: Delivery) -> str:
    delivery.refresh_from_db()
    return delivery.state


def fates(delivery: Delivery) -> list[tuple[str, str]]:
    parcels = delivery.parcels.order_by("result__item__position", "result__position")
    return list(parcels.values_list("state", "error_code"))


# --- Asking ---------------------------------------------------------------------------


def test_what_is_left_out_is_taken_from_the_account(alice, shop, store):
    delivery = deliveries.ask(done_batch(alice, 1), to="sirv")

    assert (delivery.connection, delivery.state) == (shop, "waiting")
    assert delivery.options == {"folder": "cutouts", "conflict": "rename"}


@pytest.mark.parametrize(
    ("asked", "field", "code"),
    [
        ({"to": "ftp"}, "to", "invalid_choice"),
        ({"to": "s3"}, "connection", "connection_missing"),
        ({"to": "sirv", "connection": "nonsense"}, "connection", "not_found"),
        ({"to": "sirv", "options": {"folder": "../up"}}, "folder", "invalid"),
        ({"to": "sirv", "options": {"conflict": "burn"}}, "conflict", "invalid_choice"),
        ({"to": "sirv", "options": {"colour": "red"}}, "colour", "unknown_field"),
        ({"to": "zip", "options": {"folder": "x"}}, "folder", "unknown_field"),
    ],
)
def test_what_makes_no_sense_is_refused_by_field(alice, asked, field, code):
    with pytest.raises(ValidationError) as refused:
        deliveries.ask(done_batch(alice, 1), **asked)

    assert [error.code for error in refused.value.detail[field]] == [code]
    assert not Delivery.objects.exists()


def test_an_account_of_somebody_else_is_not_found(bob, shop):
    with pytest.raises(ValidationError) as refused:
        deliveries.ask(done_batch(bob, 1), to="sirv", connection=str(shop.uid))

    assert refused.value.detail["connection"][0].code == "not_found"


def test_the_archive_needs_no_work(alice):
    delivery = deliveries.ask(done_batch(alice, 1), to="zip")

    assert (delivery.state, django_rq.get_queue("io").count) == ("finished", 0)


# --- Sending --------------------------------------------------------------------------


def test_all_results_arrive_under_their_names_and_word_of_it_goes_out(alice, store):
    WebhookEndpoint.objects.create(
        owner=alice, url="https://a.example/", events=["delivery.finished"]
    )
    batch = done_batch(alice, 3)
    Item.objects.filter(batch=batch, position=1).update(stem="shoes/left")

    delivery = deliveries.ask(batch, to="sirv")
    carry()

    assert state_of(delivery) == "finished"
    assert sorted(store.files) == ["cutouts/0.png", "cutouts/2.png", "cutouts/shoes/left.png"]
    assert store.files["cutouts/2.png"] == picture(2)
    parcel = delivery.parcels.get(result__item__position=2)
    assert (parcel.place, parcel.url) == ("cutouts/2.png", "https://cdn.example/cutouts/2.png")
    told = WebhookMessage.objects.get()
    assert (told.event, told.payload) == (
        "delivery.finished",
        {
            "delivery_id": str(delivery.uid),
            "batch_id": str(batch.uid),
            "to": "sirv",
            "status": "finished",
            "done": 3,
            "failed": 0,
            "total": 3,
        },
    )


def test_results_of_one_name_are_numbered_within_a_delivery(alice, store, monkeypatch):
    monkeypatch.setattr(deliveries, "GATHERED_AT_ONCE", 2)
    batch = done_batch(alice, 1)
    item = batch.items.get()
    for position in range(1, 4):
        bare_result(item, picture(position), position=position)
    Item.objects.filter(pk=bare_item(batch, state="done", position=1).pk).update(name="0-2.png")
    bare_result(batch.items.get(position=1))

    deliveries.ask(batch, to="sirv", options={"conflict": "overwrite"})
    carry()

    assert sorted(store.files) == [
        "cutouts/0-2-2.png",
        "cutouts/0-2.png",
        "cutouts/0-3.png",
        "cutouts/0-4.png",
        "cutouts/0.png",
    ]
    assert not Delivery.objects.exclude(state="finished").exists()


def test_what_is_made_later_is_left_to_a_delivery_that_follows(alice, store):
    batch = done_batch(alice, 1, state=BatchState.RUNNING)
    once = deliveries.ask(batch, to="sirv", options={"folder": "once"})
    following = deliveries.ask(batch, to="sirv", options={"folder": "all"}, follows=True)
    carry()
    assert (state_of(once), state_of(following)) == ("finished", "running")

    bare_result(bare_item(batch, state=ItemState.DONE, position=1))
    lifecycle.settled(batch.pk, now=timezone.now())
    carry()

    assert sorted(store.files) == ["all/0.png", "all/1.png", "once/0.png"]
    assert state_of(following) == "finished"  # as the batch, which had nothing left


def test_a_batch_is_delivered_while_it_runs(alice, store, run_jobs, sound, no_welcome):
    batch = make_batch(alice, 2, sample=1)
    delivery = deliveries.ask(batch, to="sirv", follows=True)

    lifecycle.start(batch)
    run_jobs()
    assert (len(store.files), state_of(delivery)) == (1, "running")  # the sample waits for a yes
    lifecycle.approve(Batch.objects.get())
    run_jobs()

    assert (len(store.files), state_of(delivery)) == (2, "finished")


def test_a_cancelled_batch_ends_its_delivery(alice, store, run_jobs):
    batch = lifecycle.start(make_batch(alice, 1))
    delivery = deliveries.ask(batch, to="sirv", follows=True)
    django_rq.get_queue("io").empty()
    Delivery.objects.update(rung_at=None)

    lifecycle.cancel(batch)
    carry()

    assert (state_of(delivery), store.files) == ("finished", {})


def test_the_new_result_of_a_retried_image_follows_too(alice, store, run_jobs):
    batch = make_batch(alice, 2)
    broken = batch.items.get(position=1)
    Item.objects.filter(pk=broken.pk).update(settings=broken.settings | {"trouble": "permanent"})
    delivery = deliveries.ask(batch, to="sirv", follows=True)
    lifecycle.start(batch)
    run_jobs()
    assert (len(store.files), state_of(delivery)) == (1, "finished")

    lifecycle.retry(Batch.objects.get(), settings={"trouble": "none"})
    assert state_of(delivery) == "running"
    run_jobs()

    assert (len(store.files), state_of(delivery)) == (2, "finished")


@pytest.mark.django_db(transaction=True)
def test_a_window_is_sent_side_by_side(alice, store, monkeypatch):
    monkeypatch.setattr(couriers, "WINDOW", 8)

    delivery = deliveries.ask(done_batch(alice, 20), to="sirv")
    carry(most=4)

    assert (state_of(delivery), len(store.files)) == ("finished", 20)


def test_deliveries_take_turns(alice, store):
    batch = done_batch(alice, 2)
    for folder in ("a", "b"):
        deliveries.ask(batch, to="sirv", options={"folder": folder})

    carry()

    written = [call[6] for call in store.calls if call.startswith("write")]
    assert written == ["a", "b", "a", "b"]


# --- What goes wrong ------------------------------------------------------------------


def test_a_server_that_drops_in_mid_upload_is_tried_again_and_gets_one_file(alice, store):
    store.trouble = [StoreError("store_unreachable", transient=True)]
    delivery = deliveries.ask(done_batch(alice, 1), to="sirv")
    carry()
    assert fates(delivery) == [("waiting", "")]
    assert len(store.files["cutouts/0.png"]) < len(picture(0))

    carry_later()

    assert (fates(delivery), state_of(delivery)) == ([("sent", "")], "finished")
    assert store.files == {"cutouts/0.png": picture(0)}


def test_passing_errors_end_after_a_few_tries_and_harm_nothing(alice, store, sound):
    batch = done_batch(alice, 2)
    before = (list(Item.objects.values()), ledger.balance(alice))
    store.trouble = [StoreError("store_unreachable", transient=True)] * 2 * couriers.MOST_TRIES
    delivery = deliveries.ask(batch, to="sirv")
    carry()

    for _try in range(couriers.MOST_TRIES):
        carry_later()

    assert fates(delivery) == [("failed", "store_unreachable")] * 2
    assert state_of(delivery) == "failed"
    assert (list(Item.objects.values()), ledger.balance(alice)) == before
    assert [(cause.code, cause.count) for cause in deliveries.causes(delivery)] == [
        ("store_unreachable", 2)
    ]

    deliveries.retry(delivery)
    carry()

    assert (fates(delivery), state_of(delivery)) == ([("sent", "")] * 2, "finished")


def test_a_store_that_truncates_fails_the_parcel_and_keeps_no_half_file(alice, store):
    store.cut = 10
    delivery = deliveries.ask(done_batch(alice, 1), to="sirv")

    carry()

    assert (fates(delivery), store.files) == ([("failed", "store_damaged")], {})


def test_one_that_failed_is_sent_again_alone(alice, store):
    store.trouble = [None, StoreError("store_forbidden"), None]
    delivery = deliveries.ask(done_batch(alice, 3), to="sirv")
    carry()
    assert fates(delivery) == [("sent", ""), ("failed", "store_forbidden"), ("sent", "")]
    assert state_of(delivery) == "finished"
    store.calls.clear()

    deliveries.retry(delivery)
    carry()

    assert [call for call in store.calls if "write" in call] == ["write cutouts/1.png"]
    with pytest.raises(lifecycle.StateConflict):
        deliveries.retry(delivery)


def test_nobody_asks_a_store_that_is_full_of_us_before_its_hour(alice, store):
    store.trouble = [None, StoreError("store_limit", transient=True, retry_after=1800)]
    delivery = deliveries.ask(done_batch(alice, 3), to="sirv")
    carry()
    store.calls.clear()
    for _round in range(3):
        carry_later(seconds=500)
    assert (store.calls, state_of(delivery)) == ([], "running")

    carry_later(seconds=400)

    assert (fates(delivery), state_of(delivery)) == ([("sent", "")] * 3, "finished")
    assert list(delivery.parcels.values_list("attempt", flat=True)) == [1, 1, 1]


def test_a_limit_never_uses_up_the_tries(alice, store):
    limit = StoreError("store_limit", transient=True)
    store.trouble = [limit] * 3 * couriers.MOST_TRIES
    delivery = deliveries.ask(done_batch(alice, 1), to="sirv")
    carry()

    for _hour in store.trouble.copy():
        carry_later()
    carry_later()

    assert state_of(delivery) == "finished"


def test_wrong_credentials_are_found_out_once_for_all(alice, store):
    store.trouble = [None, StoreError("store_credentials")]
    delivery = deliveries.ask(done_batch(alice, 5), to="sirv")

    carry()

    assert sum(call.startswith("write") for call in store.calls) == 2
    assert fates(delivery) == [("sent", ""), *[("failed", "store_credentials")] * 4]


def test_an_account_that_is_gone_fails_what_was_for_it(alice, shop, store):
    batch = done_batch(alice, 2, state=BatchState.RUNNING)
    delivery = deliveries.ask(batch, to="sirv", follows=True)
    shop.delete()

    carry()

    assert state_of(delivery) == "failed"
    assert "not connected" in deliveries.causes(delivery)[0].message


def test_a_worker_killed_after_the_upload_makes_no_second_file(alice, store, monkeypatch):
    delivery = deliveries.ask(done_batch(alice, 1), to="sirv")
    with monkeypatch.context() as patch:
        patch.setattr(couriers, "_settle", lambda _parcel, **_fields: False)
        carry()
    assert fates(delivery) == [("sending", "")]
    assert list(store.files) == ["cutouts/0.png"]

    later = timezone.now() + couriers.LEASE + timedelta(seconds=1)
    reconcile(now=later)
    carry()

    assert (fates(delivery), state_of(delivery)) == ([("sent", "")], "finished")
    assert list(store.files) == ["cutouts/0.png"]
    assert sum(call.startswith("write") for call in store.calls) == 1


def test_one_that_kills_every_worker_fails_in_the_end(alice, store):
    delivery = deliveries.ask(done_batch(alice, 1), to="sirv")
    deliveries.gather(delivery)
    Delivery.objects.update(state="running")
    for _courier in range(couriers.MOST_TRIES):
        assert len(couriers._claim(delivery, undoing=False)) == 1
        deliveries.end_leases(now=timezone.now() + couriers.LEASE * 2)

    assert fates(delivery) == [("failed", "courier_lost")]


def test_a_courier_that_wakes_up_late_settles_nothing(alice, store):
    delivery = deliveries.ask(done_batch(alice, 1), to="sirv")
    deliveries.gather(delivery)
    (late,) = couriers._claim(delivery, undoing=False)
    deliveries.end_leases(now=timezone.now() + couriers.LEASE * 2)
    (second,) = couriers._claim(delivery, undoing=False)

    assert not couriers._settle(late, state="failed")
    assert couriers._settle(second, state="sent")


def test_a_flushed_valkey_loses_no_delivery(alice, store, valkey):
    delivery = deliveries.ask(done_batch(alice, 2), to="sirv")
    valkey.flushdb()
    carry()
    assert store.files == {}

    reconcile(now=timezone.now())
    carry()

    assert (state_of(delivery), len(store.files)) == ("finished", 2)


def test_a_result_whose_ring_was_lost_is_found(alice, store):
    batch = done_batch(alice, 1, state=BatchState.RUNNING)
    delivery = deliveries.ask(batch, to="sirv", follows=True)
    carry()
    bare_result(bare_item(batch, state=ItemState.DONE, position=1))
    Batch.objects.update(state=BatchState.FINISHED)  # and the worker died before it rang

    reconcile(now=timezone.now())
    carry()

    assert (state_of(delivery), len(store.files)) == ("finished", 2)


# --- Taking back ----------------------------------------------------------------------


def test_undo_puts_everything_back_and_leaves_what_others_changed(alice, store):
    store.put("cutouts/0.png", b"what was there")
    delivery = deliveries.ask(done_batch(alice, 3), to="sirv", options={"conflict": "overwrite"})
    carry()
    store.put("cutouts/2.png", b"by somebody else")

    deliveries.undo(delivery)
    carry()

    assert store.files == {
        "cutouts/0.png": b"what was there",
        "cutouts/2.png": b"by somebody else",
    }
    assert fates(delivery) == [("undone", ""), ("undone", ""), ("sent", "undo_changed")]
    assert state_of(delivery) == "finished"
    look = deliveries.progress_of([delivery])[delivery.pk]
    assert (look.total, look.done, look.undone) == (3, 1, 2)
    assert "cutouts/2.png was changed" in deliveries.causes(delivery)[0].message


def test_undo_also_stops_what_is_on_its_way(alice, store):
    batch = done_batch(alice, 3, state=BatchState.RUNNING)
    delivery = deliveries.ask(batch, to="sirv", follows=True)
    couriers.send(delivery.pk)
    assert len(store.files) == 1

    deliveries.undo(delivery)
    carry()

    assert (store.files, state_of(delivery)) == ({}, "finished")
    assert fates(delivery) == [("undone", "")] * 3
    assert not Delivery.objects.get().follows
    with pytest.raises(lifecycle.StateConflict):
        deliveries.undo(delivery)


def test_a_worker_that_dies_while_taking_back_is_followed_by_another(alice, store):
    delivery = deliveries.ask(done_batch(alice, 1), to="sirv")
    carry()
    deliveries.undo(delivery)
    delivery.refresh_from_db()
    couriers._claim(delivery, undoing=True)
    django_rq.get_queue("io").empty()

    reconcile(now=timezone.now() + couriers.LEASE * 2)
    carry()

    assert (store.files, fates(delivery)) == ({}, [("undone", "")])


# --- Files and rows -------------------------------------------------------------------


def test_a_file_waits_for_the_end_of_the_batch_it_follows(alice, made_places):
    batch = done_batch(alice, 2, state=BatchState.RUNNING)
    delivery = deliveries.ask(batch, to="csv", follows=True)
    carry()
    assert state_of(delivery) == "waiting"

    lifecycle.settled(batch.pk, now=timezone.now())
    carry()

    assert (state_of(delivery), delivery.filename) == ("finished", "names.csv")
    assert storage.read(storage.RESULTS, delivery.key) == b"0.png\n1.png"
    assert delivery.bytes == 11


def test_a_full_disk_fails_a_file_and_a_retry_makes_it(alice, made_places, monkeypatch):
    monkeypatch.setattr(places.ListOfNames, "full", couriers.MOST_TRIES)
    delivery = deliveries.ask(done_batch(alice, 1), to="csv")
    carry()
    for _try in range(couriers.MOST_TRIES):
        carry_later()
    assert (state_of(delivery), delivery.error_code) == ("failed", "disk_full")
    assert "no room" in deliveries.causes(delivery)[0].message

    deliveries.retry(delivery)
    carry()

    assert (state_of(delivery), delivery.error_code) == ("finished", "")


def test_the_file_is_kept_by_the_sweeper_and_goes_with_its_batch(alice, made_places, media):
    delivery = deliveries.ask(done_batch(alice, 1), to="csv")
    carry()
    delivery.refresh_from_db()
    stored = media / "results" / delivery.key

    sweep_orphans(now=timezone.now() + 2 * ORPHAN_AGE)
    assert stored.exists()

    lifecycle.delete(delivery.batch)
    sweep_orphans(now=timezone.now() + 2 * ORPHAN_AGE)
    assert not stored.exists()


def test_rows_go_out_as_images_end_each_once(alice, made_places):
    batch = done_batch(alice, 2, state=BatchState.RUNNING)
    bare_item(batch, state=ItemState.RUNNING, position=2)
    delivery = deliveries.ask(batch, to="google_sheet", follows=True)
    carry()
    carry_later()
    assert places.Rows.pushed == [["0.png done", "1.png done"]]

    Item.objects.filter(position=2).update(state=ItemState.FAILED, changed_at=timezone.now())
    Batch.objects.update(state=BatchState.FINISHED)
    carry_later()

    assert places.Rows.pushed[1:] == [["2.png failed"]]
    assert state_of(delivery) == "finished"
    look = deliveries.progress_of([delivery])[delivery.pk]
    assert (look.total, look.done) == (3, 3)


def test_rows_wait_for_a_limit_and_are_written_then(alice, made_places):
    places.Rows.trouble = [StoreError("store_limit", transient=True, retry_after=60)] * 7
    delivery = deliveries.ask(done_batch(alice, 1), to="google_sheet")
    carry()
    for _minute in range(7):
        assert state_of(delivery) == "running"
        carry_later()

    assert (state_of(delivery), places.Rows.pushed) == ("finished", [["0.png done"]])


def test_rows_that_are_gone_are_named_and_written_once_they_are_back(alice, made_places):
    batch = done_batch(alice, 3)
    for item in batch.items.all():
        Item.objects.filter(pk=item.pk).update(line=item.position + 2)
    places.Rows.gone = {"0.png", "2.png"}
    delivery = deliveries.ask(batch, to="google_sheet")
    carry()

    assert state_of(delivery) == "failed"
    [cause] = deliveries.causes(delivery)
    assert cause.message.startswith("2 rows of the sheet aren't there any more")
    assert "(2, 4)" in cause.message
    look = deliveries.progress_of([delivery])[delivery.pk]
    assert (look.total, look.done, look.failed) == (3, 1, 2)

    places.Rows.gone = set()
    deliveries.retry(delivery)
    carry()

    assert state_of(delivery) == "finished"
    assert places.Rows.pushed[-1] == ["0.png done", "1.png done", "2.png done"]


# --- Small things ---------------------------------------------------------------------


def test_progress_of_many_takes_two_queries(alice, store, django_assert_num_queries):
    batch = done_batch(alice, 2)
    asked = [deliveries.ask(batch, to="sirv") for _ in range(5)]

    with django_assert_num_queries(2):
        deliveries.progress_of(asked)


def test_options_are_plain_data(alice, store):
    delivery = deliveries.ask(done_batch(alice, 1), to="sirv", options={"folder": "a//b\\c/"})

    assert json.loads(json.dumps(delivery.options))["folder"] == "a/b/c"
