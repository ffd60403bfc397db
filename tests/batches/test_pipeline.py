"""One item from claim to settlement, however it goes."""

import hashlib
import io
import os
import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from PIL import Image

from batches import dispatch, fetch, intake, lifecycle, pipeline, storage
from batches.models import Batch, Item, Original, Result
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from credits import ledger
from tests.batches import fetch_server
from tests.factories import bare_batch, bare_item, give, make_batch, make_original, picture
from tools import registry
from tools.base import ToolError
from tools.engines import images, weights

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "no_welcome", "sound", "media")


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def started(owner, count: int = 1, **options) -> Batch:
    return lifecycle.start(make_batch(owner, count, **options))


def only(batch: Batch) -> Item:
    return batch.items.get()


def again(item: Item) -> None:
    """Let an item that waits after an error run now."""
    Item.objects.filter(pk=item.pk).update(retry_at=None)
    pipeline.run(item.pk)


def raising(error: Exception):
    """Something that raises when it is called."""

    def call():
        raise error

    return call


def lose_the_claim(item: Item) -> None:
    """Somebody takes the item away from its worker."""
    Item.objects.filter(pk=item.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert lifecycle.end_leases(now=timezone.now()) == 1


# --- Claims ---------------------------------------------------------------------------


def test_a_claim_has_a_token_a_lease_and_a_name(alice):
    item = only(started(alice))
    before = timezone.now()

    claimed = pipeline._claim(item.pk, ItemState.RUNNING)

    assert claimed.state == ItemState.RUNNING
    assert claimed.token is not None
    assert claimed.worker == f"{os.uname().nodename}:{os.getpid()}"
    assert before + pipeline.LEASE <= claimed.lease_until <= timezone.now() + pipeline.LEASE
    assert claimed.started_at >= before


def test_an_item_is_claimed_once(alice):
    item = only(started(alice))
    first = pipeline._claim(item.pk, ItemState.RUNNING)

    second = pipeline._claim(item.pk, ItemState.RUNNING)

    item.refresh_from_db()
    assert second is None
    assert item.token == first.token


@pytest.mark.parametrize("state", sorted(set(BatchState.values) - {"running"}))
def test_nothing_is_claimed_in_a_batch_that_does_not_run(alice, state):
    item = bare_item(bare_batch(alice, state=state), state=ItemState.FETCHED)

    assert pipeline._claim(item.pk, ItemState.RUNNING) is None

    item.refresh_from_db()
    assert item.state == ItemState.FETCHED
    item.batch.delete()  # the audit would rightly complain of some of these


@pytest.mark.parametrize("state", sorted(set(ItemState.values) - {"fetched"}))
def test_an_engine_claims_only_what_waits_for_one(alice, state):
    item = bare_item(bare_batch(alice, state=BatchState.RUNNING), state=state)

    pipeline.run(item.pk)

    item.refresh_from_db()
    assert (item.state, item.token) == (state, None)


@pytest.mark.parametrize("state", sorted(set(ItemState.values) - {"queued"}))
def test_a_download_claims_only_what_waits_for_one(alice, state):
    item = bare_item(bare_batch(alice, state=BatchState.RUNNING), state=state)

    pipeline.fetch([item.pk])

    item.refresh_from_db()
    assert (item.state, item.token) == (state, None)


def test_a_claim_that_is_taken_away_at_once_is_no_claim(alice, monkeypatch):
    batch = started(alice)
    advance = QuerySet.update

    def rival(rows, **fields):
        moved = advance(rows, **fields)
        if fields.get("state") == ItemState.RUNNING:
            monkeypatch.setattr(QuerySet, "update", advance)
            lifecycle.cancel(batch)
        return moved

    monkeypatch.setattr(QuerySet, "update", rival)

    assert pipeline._claim(only(batch).pk, ItemState.RUNNING) is None


def test_the_time_of_the_first_start_is_kept(alice, scripted):
    item = only(started(alice, tool="scripted"))
    scripted.before = raising(ToolError("no_subject", permanent=False))
    pipeline.run(item.pk)
    item.refresh_from_db()
    first = item.started_at
    scripted.before = lambda: None

    again(item)

    item.refresh_from_db()
    assert (item.state, item.started_at) == (ItemState.DONE, first)


# --- Results --------------------------------------------------------------------------


def test_a_result_lies_on_disk_with_its_thumbnail_and_its_figures(alice, media):
    batch = started(alice)

    pipeline.run(only(batch).pk)

    item = only(batch)
    result = item.results.get()
    data = storage.read(storage.RESULTS, result.key)
    assert (item.state, item.price, item.model_version) == (ItemState.DONE, 2, "fake 1")
    assert (item.token, item.lease_until, item.rung_at) == (None, None, None)
    assert item.finished_at >= item.started_at
    assert (result.position, result.format, result.text) == (0, "png", "")
    assert (result.width, result.height, result.bytes) == (64, 48, len(data))
    assert result.sha256 == hashlib.sha256(data).hexdigest()
    assert files(media / "results") == [result.key, result.thumbnail_key]
    with Image.open(media / "results" / result.key) as shown:
        assert shown.getpixel((0, 0)) == (255, 255, 248)  # the picture's (0, 0, 7), inverted
    with Image.open(media / "results" / result.thumbnail_key) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (64, 48))


@pytest.mark.parametrize(
    ("kind", "shown_as"), [("png", "PNG"), ("webp", "WEBP"), ("jpg", "JPEG"), ("avif", "AVIF")]
)
def test_a_result_is_of_the_format_that_was_asked_for(alice, media, kind, shown_as):
    batch = started(alice, settings={"format": kind, "quality": 50})

    pipeline.run(only(batch).pk)

    result = only(batch).results.get()
    assert result.key.endswith(f".0.{kind}")
    with Image.open(media / "results" / result.key) as shown:
        assert shown.format == shown_as


def test_several_results_of_one_image_cost_one_price(alice, media):
    batch = started(alice, settings={"copies": 3})

    pipeline.run(only(batch).pk)

    results = only(batch).results.order_by("position")
    assert [result.position for result in results] == [0, 1, 2]
    assert len(files(media / "results")) == 6
    assert ledger.balance(alice) == (8, 0)


def test_a_text_is_kept_in_the_database_alone(alice, media):
    batch = started(alice, tool="fake-text")

    pipeline.run(only(batch).pk)

    result = only(batch).results.get()
    assert (result.text, result.format, result.key) == ("64 × 48 pixels", "txt", "")
    assert result.bytes == len("64 × 48 pixels".encode())
    assert files(media / "results") == []


def test_each_image_is_run_with_its_own_settings(alice, fake_tool, media):
    upload = str(make_original(alice).uid)
    rows = [Row(upload=upload, settings={"strength": strength}) for strength in (0.0, 1.0)]
    give(alice, 10)
    batch = lifecycle.start(lifecycle.create(alice, fake_tool, rows))

    for item in batch.items.all():
        pipeline.run(item.pk)

    corners = []
    for result in Result.objects.order_by("item__position"):
        with Image.open(media / "results" / result.key) as shown:
            corners.append(shown.getpixel((0, 0)))
    assert corners == [(0, 0, 7), (255, 255, 248)]


# --- Prices ---------------------------------------------------------------------------


def test_the_real_price_is_captured_and_the_rest_goes_home(alice, sized):
    original, _new = intake.receive(alice, picture(size=(96, 40)), name="a.png")
    batch = lifecycle.create(alice, sized, [Row(upload=str(original.uid))])
    give(alice, 10)
    lifecycle.start(batch)
    held = ledger.balance(alice)

    pipeline.run(only(batch).pk)

    assert held == (0, 10)
    assert only(batch).price == 3
    assert ledger.balance(alice) == (7, 0)
    kinds = ledger.entries(alice).order_by("id").values_list("kind", "held_delta")
    assert list(kinds)[-2:] == [("capture", -3), ("release", -7)]


def test_a_price_above_the_hold_is_never_charged(alice, sized):
    original, _new = intake.receive(alice, picture(size=(640, 40)), name="a.png")
    batch = lifecycle.create(alice, sized, [Row(upload=str(original.uid))])
    give(alice, 30)
    lifecycle.start(batch)

    pipeline.run(only(batch).pk)

    assert only(batch).price == 10
    assert ledger.balance(alice) == (20, 0)


def test_a_price_of_nothing_gives_the_whole_hold_back(alice, sized):
    original, _new = intake.receive(alice, picture(size=(31, 40)), name="a.png")
    batch = lifecycle.create(alice, sized, [Row(upload=str(original.uid))])
    give(alice, 10)
    lifecycle.start(batch)

    pipeline.run(only(batch).pk)

    assert (only(batch).state, only(batch).price) == (ItemState.DONE, 0)
    assert ledger.balance(alice) == (10, 0)


# --- Errors ---------------------------------------------------------------------------


def test_an_error_for_good_fails_the_image_at_once_and_costs_nothing(alice):
    batch = started(alice, settings={"trouble": "permanent"})

    pipeline.run(only(batch).pk)

    item = only(batch)
    assert (item.state, item.error_code, item.attempt) == (ItemState.FAILED, "no_subject", 1)
    assert "No subject was found" in item.error
    assert (item.token, item.price, item.results.count()) == (None, None, 0)
    assert item.finished_at is not None
    assert ledger.balance(alice) == (10, 0)


def test_a_passing_error_is_tried_again_after_two_and_ten_seconds_and_then_given_up(alice):
    batch = started(alice, settings={"trouble": "transient"})
    waits = []

    for _ in range(2):
        before = timezone.now()
        again(only(batch))
        item = only(batch)
        waits.append(round((item.retry_at - before).total_seconds()))
        assert (item.state, item.token, item.rung_at) == (ItemState.FETCHED, None, None)
    again(only(batch))

    item = only(batch)
    assert waits == [2, 10]
    assert (item.state, item.error_code) == (ItemState.FAILED, "no_subject")
    assert (item.attempt, item.tries) == (3, 2)
    assert ledger.balance(alice) == (10, 0)


def test_the_credits_stay_on_hold_while_an_image_is_tried_again(alice):
    batch = started(alice, settings={"trouble": "transient"})

    pipeline.run(only(batch).pk)

    assert ledger.balance(alice) == (8, 2)
    assert Batch.objects.get().state == BatchState.RUNNING


def test_a_crash_inside_a_tool_is_tried_again_and_told_as_ours(alice, scripted, caplog):
    batch = started(alice, tool="scripted")
    scripted.before = raising(ZeroDivisionError("at 0x7f"))

    for _ in range(3):
        again(only(batch))

    item = only(batch)
    assert scripted.runs == 3
    assert (item.state, item.error_code) == (ItemState.FAILED, "processing_failed")
    assert "0x7f" not in item.error
    assert "ZeroDivisionError" in caplog.text
    assert ledger.balance(alice) == (10, 0)


def test_a_crash_that_passes_leaves_no_trace_in_the_price(alice, scripted):
    batch = started(alice, tool="scripted")
    scripted.before = raising(ZeroDivisionError())
    pipeline.run(only(batch).pk)
    scripted.before = lambda: None

    again(only(batch))

    item = only(batch)
    assert (item.state, item.attempt, item.price) == (ItemState.DONE, 2, 2)
    assert item.error_code == ""


@pytest.mark.parametrize(
    ("error", "code", "params"),
    [
        (
            images.ImageProblem("dimensions_too_large", {"w": 9, "h": 9, "max": 1}),
            "dimensions_too_large",
            {"w": 9, "h": 9, "max": 1},
        ),
        (weights.WeightsMissing("u2net", "They are not here."), "model_unavailable", {}),
    ],
)
def test_what_can_not_get_better_is_not_tried_again(alice, scripted, error, code, params):
    batch = started(alice, tool="scripted")
    scripted.before = raising(error)

    pipeline.run(only(batch).pk)

    item = only(batch)
    assert (item.state, item.error_code, item.error_params) == (ItemState.FAILED, code, params)


def test_a_result_that_can_not_be_stored_leaves_the_image_to_be_tried_again(
    alice, media, monkeypatch
):
    batch = started(alice)
    save = storage.save
    monkeypatch.setattr(storage, "save", lambda *_: raising(OSError("disk full"))())
    pipeline.run(only(batch).pk)
    failed_once = only(batch).state
    monkeypatch.setattr(storage, "save", save)

    again(only(batch))

    assert failed_once == ItemState.FETCHED
    assert only(batch).state == ItemState.DONE
    assert len(files(media / "results")) == 2


def test_a_failure_of_one_image_is_not_that_of_the_next(alice):
    batch = started(alice, 2)
    first = batch.items.get(position=0)
    first.settings["trouble"] = "permanent"
    first.save(update_fields=["settings"])

    for item in batch.items.order_by("position"):
        pipeline.run(item.pk)

    batch.refresh_from_db()
    assert list(batch.items.order_by("position").values_list("state", flat=True)) == [
        "failed",
        "done",
    ]
    assert batch.state == BatchState.FINISHED
    assert ledger.balance(alice) == (18, 0)


# --- Workers that come too late -------------------------------------------------------


def test_a_worker_that_lost_its_claim_settles_nothing_and_takes_its_files_away(
    alice, scripted, media
):
    batch = started(alice, tool="scripted", settings={"copies": 2})
    scripted.before = lambda: lose_the_claim(only(batch))

    pipeline.run(only(batch).pk)

    item = only(batch)
    assert (item.state, item.price, item.losses) == (ItemState.FETCHED, None, 1)
    assert item.results.count() == 0
    assert files(media / "results") == []
    assert ledger.balance(alice) == (8, 2)


def test_a_worker_that_is_cancelled_in_the_middle_charges_nothing(alice, scripted, media):
    batch = started(alice, tool="scripted")
    scripted.before = lambda: lifecycle.cancel(batch)

    pipeline.run(only(batch).pk)

    item = only(batch)
    batch.refresh_from_db()
    assert (item.state, batch.state) == (ItemState.CANCELLED, BatchState.CANCELLED)
    assert (item.price, item.results.count(), files(media / "results")) == (None, 0, [])
    assert ledger.balance(alice) == (10, 0)


def test_two_workers_on_one_image_make_one_result_and_one_charge(alice, scripted, media):
    batch = started(alice, tool="scripted")
    pk = only(batch).pk

    def rival():
        """Our lease runs out, and another worker is faster."""
        scripted.before = lambda: None
        lose_the_claim(only(batch))
        pipeline.run(pk)

    scripted.before = rival

    pipeline.run(pk)

    item = only(batch)
    result = item.results.get()
    assert scripted.runs == 2
    assert (item.state, item.attempt, item.price) == (ItemState.DONE, 2, 2)
    assert files(media / "results") == [result.key, result.thumbnail_key]
    assert ledger.balance(alice) == (8, 0)


@pytest.mark.parametrize(
    "error", [None, ToolError("no_subject", permanent=True), ZeroDivisionError()]
)
def test_what_another_worker_has_in_hand_is_not_settled_by_the_first(alice, scripted, media, error):
    batch = started(alice, tool="scripted")
    rivals = []

    def rival():
        """Our lease runs out, and another worker begins."""
        lose_the_claim(only(batch))
        rivals.append(pipeline._claim(only(batch).pk, ItemState.RUNNING))
        scripted.before = lambda: None
        if error:
            raise error

    scripted.before = rival

    pipeline.run(only(batch).pk)

    item = only(batch)
    assert (item.state, item.token) == (ItemState.RUNNING, rivals[0].token)
    assert (item.price, item.error_code, item.tries, item.attempt) == (None, "", 0, 2)
    assert files(media / "results") == []
    assert ledger.balance(alice) == (8, 2)
    pipeline._process(rivals[0])
    assert (only(batch).state, only(batch).price) == (ItemState.DONE, 2)


@pytest.mark.parametrize("error", [ToolError("no_subject", permanent=True), ZeroDivisionError()])
def test_a_worker_that_lost_its_claim_can_not_fail_the_image_either(alice, scripted, error):
    batch = started(alice, tool="scripted")

    def lose_and_raise():
        lose_the_claim(only(batch))
        raise error

    scripted.before = lose_and_raise

    pipeline.run(only(batch).pk)

    item = only(batch)
    assert (item.state, item.error_code, item.attempt, item.tries) == (ItemState.FETCHED, "", 2, 0)
    assert ledger.balance(alice) == (8, 2)


def test_a_worker_of_before_the_retry_can_not_settle_after_it(alice, scripted, media):
    batch = started(alice, tool="scripted")
    pk = only(batch).pk

    def fail_and_retry():
        scripted.before = lambda: None
        item = Item.objects.select_related("batch").get(pk=pk)
        lifecycle.fail_item(item, "no_subject", {}, token=item.token)
        lifecycle.close_if_finished(batch.pk)
        lifecycle.retry(batch)

    scripted.before = fail_and_retry

    pipeline.run(pk)

    item = only(batch)
    assert (item.state, item.generation, item.price) == (ItemState.FETCHED, 2, None)
    assert files(media / "results") == []
    assert ledger.balance(alice) == (8, 2)


@pytest.mark.parametrize("rival", [False, True])
def test_a_download_that_lost_its_claim_moves_nothing(alice, server, fake_tool, monkeypatch, rival):
    batch = url_batch(alice, fake_tool, server.url("/ok"))
    receive = intake.receive

    def slow(*args, **options):
        lose_the_claim(only(batch))
        if rival:
            pipeline._claim(only(batch).pk, ItemState.FETCHING)
        return receive(*args, **options)

    monkeypatch.setattr(intake, "receive", slow)

    pipeline.fetch([only(batch).pk])

    item = only(batch)
    assert (item.state, item.token is not None) == ("fetching" if rival else "queued", rival)
    assert (item.original, item.losses) == (None, 1)


# --- Leases ---------------------------------------------------------------------------


@pytest.fixture
def quick_lease(monkeypatch):
    """Signs of life come fast enough to be waited for."""
    monkeypatch.setattr(pipeline, "RENEW_EVERY", 0.02)


def wait_until(condition, *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def beats(item: Item):
    """What each sign of life has left, one after the other, seen from outside."""
    last = Item.objects.values_list("lease_until", flat=True).get(pk=item.pk)
    wait_until(lambda: Item.objects.values_list("lease_until", flat=True).get(pk=item.pk) != last)


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_a_worker_at_work_gives_signs_of_life(alice, scripted, quick_lease):
    batch = started(alice, tool="scripted")

    def work_for_long():
        Item.objects.update(lease_until=timezone.now())
        for _ in range(3):
            beats(only(batch))
        assert only(batch).lease_until > timezone.now() + pipeline.LEASE / 2

    scripted.before = work_for_long

    pipeline.run(only(batch).pk)

    assert only(batch).state == ItemState.DONE


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_a_download_that_takes_long_gives_signs_of_life(
    alice, fake_tool, server, quick_lease, monkeypatch
):
    batch = url_batch(alice, fake_tool, server.url("/ok"))
    receive = intake.receive

    def wait_for_the_guard(*args, **options):
        beats(only(batch))
        return receive(*args, **options)

    monkeypatch.setattr(intake, "receive", wait_for_the_guard)

    pipeline.fetch([only(batch).pk])

    assert only(batch).state == ItemState.FETCHED


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_signs_of_life_do_not_bring_a_lost_claim_back(alice, quick_lease):
    batch = started(alice)
    claimed = pipeline._claim(only(batch).pk, ItemState.RUNNING)
    lose_the_claim(claimed)
    updates = count_updates()

    with updates, pipeline.Lease(claimed, seconds=60):
        wait_until(lambda: updates.count >= 3)

    item = only(batch)
    assert (item.state, item.lease_until, item.token) == (ItemState.FETCHED, None, None)


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_signs_of_life_go_on_after_the_database_did_not_answer(alice, quick_lease, caplog):
    batch = started(alice)
    claimed = pipeline._claim(only(batch).pk, ItemState.RUNNING)
    updates = count_updates(failing=2)

    with updates, pipeline.Lease(claimed, seconds=60):
        wait_until(lambda: updates.count >= 2)
        beats(claimed)

    assert caplog.text.count("No sign of life") == 2


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lost", [False, True])
def test_a_worker_that_hangs_ends_itself_even_when_nobody_waits_for_it(
    alice, quick_lease, monkeypatch, caplog, lost
):
    batch = started(alice)
    claimed = pipeline._claim(only(batch).pk, ItemState.RUNNING)
    if lost:
        lifecycle.cancel(batch)
    exits = []
    monkeypatch.setattr(os, "_exit", exits.append)

    with pipeline.Lease(claimed, seconds=0.1):
        wait_until(lambda: exits)

    assert set(exits) == {pipeline.HUNG}
    assert str(claimed.uid) in caplog.text


def test_a_short_run_needs_no_sign_of_life(alice):
    batch = started(alice)
    updates = count_updates()

    with updates:
        pipeline.run(only(batch).pk)

    assert updates.count == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


class count_updates:  # noqa: N801 - reads like a function where it is used
    """Counts the signs of life, and lets the first ones fail if asked to."""

    def __init__(self, *, failing: int = 0) -> None:
        self.count = 0
        self._failing = failing
        self._update = QuerySet.update

    def __enter__(self):
        def update(rows, **fields):
            if set(fields) == {"lease_until"}:
                self.count += 1
                if self.count <= self._failing:
                    raise OperationalError("the server closed the connection")
            return self._update(rows, **fields)

        QuerySet.update = update
        return self

    def __exit__(self, *_):
        QuerySet.update = self._update


# --- Downloads ------------------------------------------------------------------------


def url_batch(owner, tool, *addresses: str) -> Batch:
    """A running batch of addresses; they wait to be fetched."""
    give(owner, 2 * len(addresses))
    rows = [Row(url=address) for address in addresses]
    return lifecycle.start(lifecycle.create(owner, tool, rows))


def test_an_address_becomes_an_original_and_waits_for_an_engine(alice, fake_tool, server, media):
    batch = url_batch(alice, fake_tool, server.url("/jpeg"))

    pipeline.fetch([only(batch).pk])

    item = only(batch)
    assert (item.state, item.token, item.lease_until) == (ItemState.FETCHED, None, None)
    assert (item.original.owner, item.original.format) == (alice, "jpg")
    assert item.original.sha256 == hashlib.sha256(fetch_server.JPEG).hexdigest()
    assert storage.read(storage.ORIGINALS, item.original.key) == fetch_server.JPEG
    assert ledger.balance(alice) == (0, 2)


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_addresses_with_the_same_picture_share_an_original(alice, fake_tool, server, media):
    batch = url_batch(alice, fake_tool, server.url("/ok"), server.url("/typed"))

    pipeline.fetch(list(batch.items.values_list("pk", flat=True)))

    assert Original.objects.count() == 1
    assert len(files(media / "originals")) == 2
    assert set(batch.items.values_list("state", "original")) == {
        ("fetched", Original.objects.get().pk)
    }


FAILS_AT_ONCE = [
    ("/nothing-here.png", "source_not_found", {"status": 404}),
    ("/status/410", "source_not_found", {"status": 410}),
    ("/status/401", "source_forbidden", {"status": 401}),
    ("/status/403", "source_forbidden", {"status": 403}),
    ("/status/418", "source_unreachable", {"status": 418}),
    ("/html", "source_not_image", {}),
    ("/html-as-jpeg", "source_not_image", {}),
    ("/empty", "file_empty", {}),
    ("/r-loop", "source_redirects", {"redirects": 3}),
    ("/r-int", "source_redirects", {}),
    ("/gzipbomb", "source_unreachable", {}),
    ("/lie-big", "file_too_large", {"size": 95367.5, "max": 20}),
    ("/big", "file_too_large", {"size": 20.1, "max": 20}),
    ("/echo", "format_unsupported", {"format": "text"}),
    ("/svg", "format_unsupported", {"format": "SVG"}),
]


@pytest.mark.parametrize(("path", "code", "params"), FAILS_AT_ONCE)
def test_an_address_that_can_not_get_better_fails_at_once(
    alice, fake_tool, server, path, code, params
):
    batch = url_batch(alice, fake_tool, server.url(path))

    pipeline.fetch([only(batch).pk])

    item = only(batch)
    batch.refresh_from_db()
    assert (item.state, item.error_code, item.attempt) == (ItemState.FAILED, code, 1)
    assert item.error_params == params
    assert item.error
    assert batch.state == BatchState.FINISHED
    assert ledger.balance(alice) == (2, 0)


@pytest.mark.parametrize(
    ("path", "params"),
    [("/status/503", {"status": 503}), ("/goodbye", {}), ("/hang", {"seconds": 0})],
)
def test_an_address_that_may_get_better_is_tried_three_times(
    alice, fake_tool, server, monkeypatch, path, params
):
    monkeypatch.setattr(fetch, "DEADLINE", 0.2)
    batch = url_batch(alice, fake_tool, server.url(path))
    seen = []

    for _ in range(3):
        Item.objects.update(retry_at=None)
        pipeline.fetch([only(batch).pk])
        seen.append(only(batch).state)

    item = only(batch)
    assert seen == ["queued", "queued", "failed"]
    assert (item.error_code, item.error_params) == ("source_unreachable", params)
    assert len(server.seen) == 3
    assert ledger.balance(alice) == (2, 0)


def test_seconds_are_told_as_people_write_them(alice, fake_tool, server, monkeypatch):
    def too_slow(*_args, **_options):
        raise fetch.FetchError("timeout", seconds=20.0, transient=False)

    monkeypatch.setattr(fetch, "fetch", too_slow)
    batch = url_batch(alice, fake_tool, server.url("/ok"))

    pipeline.fetch([only(batch).pk])

    assert "(no answer in 20 s)" in only(batch).error


def test_a_crash_in_a_download_is_tried_again_and_told_as_ours(
    alice, fake_tool, server, monkeypatch, caplog
):
    monkeypatch.setattr(fetch, "fetch", lambda *_args, **_options: 1 / 0)
    batch = url_batch(alice, fake_tool, server.url("/ok"))

    for _ in range(3):
        Item.objects.update(retry_at=None)
        pipeline.fetch([only(batch).pk])

    item = only(batch)
    assert (item.state, item.error_code) == (ItemState.FAILED, "processing_failed")
    assert "ZeroDivisionError" in caplog.text


def test_an_address_that_leads_inside_is_refused_when_it_is_fetched(alice, fake_tool, settings):
    settings.FETCH_ALLOW = ["127.0.0.1:9"]
    batch = url_batch(alice, fake_tool, "http://127.0.0.1:9/")
    settings.FETCH_ALLOW = []  # the site was set up anew since

    pipeline.fetch([only(batch).pk])

    assert only(batch).error_code == "source_not_allowed"


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_the_downloads_of_one_job_run_side_by_side(alice, fake_tool, server, monkeypatch):
    together = threading.Barrier(8, timeout=30)
    download = pipeline._download

    def wait_for_the_others(item):
        together.wait()
        return download(item)

    monkeypatch.setattr(pipeline, "_download", wait_for_the_others)
    batch = url_batch(alice, fake_tool, *[server.url(f"/ok?{n}") for n in range(8)])

    pipeline.fetch(list(batch.items.values_list("pk", flat=True)))

    assert set(batch.items.values_list("state", flat=True)) == {"fetched"}


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_a_bad_address_does_not_touch_its_neighbours(alice, fake_tool, server):
    paths = ["/ok", "/nothing-here", "/jpeg", "/html", "/identity"]
    batch = url_batch(alice, fake_tool, *map(server.url, paths))

    pipeline.fetch(list(batch.items.values_list("pk", flat=True)))

    states = list(batch.items.order_by("position").values_list("state", flat=True))
    assert states == ["fetched", "failed", "fetched", "failed", "fetched"]
    assert ledger.balance(alice) == (4, 6)


def test_a_batch_of_addresses_and_files_runs_through_both_stages(
    alice, fake_tool, server, run_jobs
):
    upload = str(make_original(alice).uid)
    give(alice, 10)
    rows = [Row(url=server.url("/jpeg")), Row(upload=upload), Row(url=server.url("/ok"))]
    batch = lifecycle.create(alice, fake_tool, rows[:2])
    lifecycle.start(batch)

    run_jobs()

    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED
    assert set(batch.items.values_list("state", flat=True)) == {"done"}
    assert ledger.balance(alice) == (6, 0)


# --- What it costs the database -------------------------------------------------------


def test_an_image_costs_as_many_queries_in_a_large_batch_as_in_a_small_one(alice, fake_tool):
    def most_queries(count: int) -> int:
        upload = str(make_original(alice).uid)
        give(alice, 2 * count)
        rows = [Row(upload=upload)] * count
        made = lifecycle.create(alice, registry.get("fake"), rows, reuse=False)
        batch = lifecycle.start(made)
        seen = []
        for pk in batch.items.order_by("position").values_list("pk", flat=True):
            with CaptureQueriesContext(connection) as queries:
                pipeline.run(pk)
            seen.append(len(queries))
        return max(seen)

    small, large = most_queries(20), most_queries(200)

    assert small == large
    assert large <= 27


def test_workers_rings_and_settlements_leave_no_thread_behind(alice, run_jobs):
    batch = started(alice, 3)

    run_jobs()

    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED
    assert [thread.name for thread in threading.enumerate() if "lease" in thread.name] == []
    assert dispatch.connection().llen("rq:queue:cpu") == 0


# --- Too large, and made smaller ------------------------------------------------------


def large_photo() -> bytes:
    """A JPEG of 60 megapixels and more than 20 MB."""
    import numpy as np

    noise = np.random.default_rng(1).integers(0, 256, (800, 1200, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((9600, 6400), Image.Resampling.BICUBIC).save(
        out, "JPEG", quality=95
    )
    return out.getvalue()


def test_a_picture_beyond_the_limits_is_made_smaller_when_somebody_asks(alice, media):
    data = large_photo()
    assert len(data) > images.LIMITS.max_bytes

    with pytest.raises(intake.ImageRefused) as refused:
        intake.receive(alice, data, name="big.jpg")
    original, _new = intake.receive(alice, data, name="big.jpg", shrink=True)

    assert refused.value.code == "file_too_large"
    assert original.width * original.height <= images.LIMITS.max_pixels
    assert round(original.width / original.height, 2) == 1.5
    kept = storage.read(storage.ORIGINALS, original.key)
    assert len(kept) <= images.LIMITS.max_bytes
    with Image.open(io.BytesIO(kept)) as picture:
        assert picture.size == (original.width, original.height)


def test_a_passing_error_is_remembered_with_its_cause(alice):
    batch = started(alice, settings={"trouble": "transient"})
    item = only(batch)

    pipeline.run(item.pk)

    item.refresh_from_db()
    assert [entry["code"] for entry in item.history] == ["no_subject"]
    assert item.history[0]["started_at"] < item.history[0]["ended_at"]


def test_an_original_that_is_too_large_for_a_model_gets_as_small_as_it_says(alice):
    batch = started(alice)
    past = {"attempt": 1, "code": "dimensions_too_large", "params": {"max": 0.001}}
    item = only(batch)
    item.shrink, item.history = True, [past]
    item.save()

    pipeline.run(item.pk)

    result = Result.objects.get()
    assert (result.width, result.height) == (36, 27)
