"""The same work is paid for once: earlier results serve again, duplicates share one run."""

import pytest
from django.utils import timezone

from batches import dispatch, intake, lifecycle, pipeline, reuse, storage
from batches.models import Batch, Item, Original
from batches.reconcile import reconcile
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from credits import ledger
from tests import fakes
from tests.factories import give, make_original, picture
from tools import registry

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "no_welcome", "sound", "media")


class MoodyTool(fakes.FakeTool):
    """One of its models makes something else each time."""

    slug = "moody"
    name = "Moody"
    varying = ("grey",)

    def repeats(self, settings):
        return settings["style"] not in self.varying


def rows_of(owner, *numbers: int, **fields) -> list[Row]:
    return [Row(upload=str(make_original(owner, number).uid), **fields) for number in numbers]


def started(owner, rows, *, tool: str = "fake", credits: int = 100, **options) -> Batch:
    give(owner, credits)
    return lifecycle.start(lifecycle.create(owner, registry.get(tool), rows, **options))


def items(batch: Batch) -> list[Item]:
    return list(batch.items.order_by("position"))


def prices(batch: Batch) -> list[int | None]:
    return [item.price for item in items(batch)]


def states(batch: Batch) -> list[str]:
    return [item.state for item in items(batch)]


def fail(batch: Batch, position: int = 0, *, code: str = "no_subject") -> None:
    """A worker has the item in hand and gives it up."""
    item = pipeline._claim(batch.items.get(position=position).pk, ItemState.RUNNING)
    assert lifecycle.fail_item(item, code, {}, token=item.token)
    lifecycle.settled(batch.pk, now=timezone.now())


# --- Earlier results ------------------------------------------------------------------


def test_the_same_work_once_more_costs_nothing_and_gives_the_same_bytes(alice, run_jobs, scripted):
    first = started(alice, rows_of(alice, 0, 1), tool="scripted")
    run_jobs()
    available = ledger.balance(alice).available

    second = lifecycle.create(alice, scripted, rows_of(alice, 0, 1))

    assert [item.held_price for item in items(second)] == [0, 0]
    lifecycle.start(second)
    assert ledger.balance(alice) == (available, 0)
    run_jobs()
    assert scripted.runs == 2
    assert (prices(first), prices(second)) == ([2, 2], [0, 0])
    for old, new in zip(items(first), items(second), strict=True):
        assert (new.state, new.reused_from, new.model_version) == ("done", old.uid, "fake 1")
        made, again = old.results.get(), new.results.get()
        assert (made.sha256, made.width) == (again.sha256, again.width)
        assert made.key != again.key
        assert storage.read("results", made.key) == storage.read("results", again.key)
        assert storage.read("results", again.thumbnail_key)


def test_one_new_picture_among_known_ones_is_the_only_one_paid_for(alice, run_jobs):
    started(alice, rows_of(alice, 0, 1, 2))
    run_jobs()

    second = started(alice, rows_of(alice, 0, 1, 7))
    held = ledger.balance(alice).held
    run_jobs()

    assert held == 2
    assert prices(second) == [0, 0, 2]


@pytest.mark.parametrize(
    "options",
    [{"settings": {"style": "grey"}}, {"reuse": False}, {"settings": {"format": "webp"}}],
)
def test_other_settings_or_a_wish_to_run_anew_are_paid_for(alice, run_jobs, options):
    started(alice, rows_of(alice, 0))
    run_jobs()

    second = started(alice, rows_of(alice, 0), **options)
    run_jobs()

    assert prices(second) == [2]
    assert items(second)[0].reused_from is None


def test_a_new_version_of_the_model_runs_anew(alice, run_jobs, monkeypatch):
    started(alice, rows_of(alice, 0))
    run_jobs()
    monkeypatch.setattr(fakes.FakeTool, "version", lambda _tool, _settings: "fake 2")

    second = started(alice, rows_of(alice, 0))
    run_jobs()

    assert prices(second) == [2]
    assert items(second)[0].model_version == "fake 2"


def test_nobody_is_served_with_what_another_has_paid_for(alice, bob, run_jobs):
    started(alice, rows_of(alice, 0))
    run_jobs()

    his = started(bob, rows_of(bob, 0))
    run_jobs()

    assert prices(his) == [2]


def test_what_is_meant_to_differ_each_time_always_runs(alice, run_jobs):
    with fakes.registered(MoodyTool):
        for style, wanted in (("grey", [2, 2]), ("negative", [0, 0])):
            settings = {"style": style}
            started(alice, rows_of(alice, 0), tool="moody", settings=settings)
            run_jobs()
            again = started(alice, rows_of(alice, 0, 0), tool="moody", settings=settings)
            run_jobs()
            assert prices(again) == wanted


@pytest.mark.parametrize("slug", ["image-to-image", "replace-background", "product-lifestyle"])
def test_a_service_outside_paints_something_else_each_time(slug):
    tool = registry.get(slug)

    assert tool.repeats(tool.defaults())
    assert not tool.repeats({**tool.defaults(), "model": "provider"})


def test_a_picture_from_an_address_is_known_once_it_is_here(alice, run_jobs, server):
    rows = [Row(url=server.url("/ok"))]
    started(alice, rows)
    run_jobs()

    second = started(alice, rows)
    assert ledger.balance(alice).held == 2
    run_jobs()

    assert prices(second) == [0]
    assert ledger.balance(alice).held == 0


def test_a_mask_of_the_same_bytes_is_the_same_setting(alice, run_jobs):
    tool = registry.get("object-removal")
    original, mask = make_original(alice, 1), make_original(alice, 2)
    batch = lifecycle.create(
        alice, tool, [Row(upload=str(original.uid))], settings={"mask": str(mask.uid)}
    )
    item = batch.items.select_related("original").get()
    key = reuse.work_key(item, tool)

    mask.sha256 = "0" * 64
    mask.save()

    assert key
    assert reuse.work_key(item, tool) != key


@pytest.mark.parametrize("gone", ["batch", "file"])
def test_where_the_earlier_result_has_gone_it_runs_and_is_paid_for_after_all(alice, run_jobs, gone):
    first = started(alice, rows_of(alice, 0))
    run_jobs()
    second = started(alice, rows_of(alice, 0))
    assert ledger.balance(alice).held == 0
    if gone == "batch":
        lifecycle.delete(first)
    else:
        storage.delete("results", items(first)[0].results.get().key)

    run_jobs()

    item = items(second)[0]
    assert (item.state, item.price, item.held_price, item.reused_from) == ("done", 2, 2, None)


@pytest.mark.parametrize(
    ("left", "cap", "code"), [(1, None, "insufficient_credits"), (50, 1, "cap_exceeded")]
)
def test_it_fails_at_no_cost_where_that_can_not_be_paid(alice, run_jobs, left, cap, code):
    first = started(alice, rows_of(alice, 0), credits=2)
    run_jobs()
    second = started(alice, rows_of(alice, 0), credits=left, cap=cap)
    lifecycle.delete(first)

    run_jobs()

    item = items(second)[0]
    assert (item.state, item.error_code, item.price) == ("failed", code, None)
    assert item.error
    assert ledger.balance(alice) == (left, 0)


def test_texts_serve_again_too(alice, run_jobs):
    first = started(alice, rows_of(alice, 0), tool="fake-text")
    run_jobs()

    second = started(alice, rows_of(alice, 0), tool="fake-text")
    run_jobs()

    texts = [items(batch)[0].results.get().text for batch in (first, second)]
    assert texts == ["64 × 48 pixels"] * 2
    assert prices(second) == [0]


# --- Duplicates -----------------------------------------------------------------------


def test_a_duplicate_is_quoted_and_done_once_and_delivered_to_all(alice, run_jobs, scripted):
    batch = started(alice, rows_of(alice, 0, 1, 0, 0), tool="scripted")

    assert ledger.balance(alice).held == 4
    assert [item.twin_of_id for item in items(batch)] == [None, None, *[items(batch)[0].pk] * 2]
    run_jobs()

    assert scripted.runs == 2
    assert (states(batch), prices(batch)) == (["done"] * 4, [2, 2, 0, 0])
    assert [item.reused_from for item in items(batch)][2:] == [items(batch)[0].uid] * 2
    assert Batch.objects.get().state == BatchState.FINISHED
    assert len({item.results.get().sha256 for item in items(batch)}) == 2


def test_an_intake_that_goes_on_knows_what_came_before(alice, fake_tool):
    batch = lifecycle.create(alice, fake_tool, rows_of(alice, 0, 1), pattern="{id}-{n}")
    names = batch.items.values_list("name", flat=True)

    taker = intake.Intake(batch, fake_tool, there=list(names))
    taker.add(rows_of(alice, 1, 2), skip_invalid=False)
    taker.add(rows_of(alice, 2), skip_invalid=False)

    one, two = items(batch)[1], items(batch)[3]
    assert [item.twin_of_id for item in items(batch)] == [None, None, one.pk, None, two.pk]
    assert [item.held_price for item in items(batch)] == [2, 2, 0, 2, 0]
    assert [item.stem for item in items(batch)] == ["1", "2", "3", "4", "5"]


def test_one_address_is_opened_once_however_often_and_however_it_is_given(alice, run_jobs, server):
    urls = [server.url(path) for path in ("/ok", "/ok?utm_source=mail", "/ok")]

    batch = started(alice, [Row(url=url) for url in urls])
    for item in items(batch):
        pipeline.fetch([item.pk])
        pipeline.run(item.pk)

    for item in items(batch):
        pipeline.fetch([item.pk])  # the twins, now that their first has ended
    run_jobs()
    assert len(server.seen) == 1
    assert (states(batch), prices(batch)) == (["done"] * 3, [2, 0, 0])
    assert Original.objects.count() == 1


def test_two_addresses_of_one_picture_are_paid_for_once(alice, run_jobs, server):
    batch = started(alice, [Row(url=server.url("/ok")), Row(url=server.url("/ok?size=full"))])
    assert ledger.balance(alice).held == 4

    for item in items(batch):
        pipeline.fetch([item.pk])
    run_jobs()

    assert len(server.seen) == 2
    assert sorted(prices(batch)) == [0, 2]


def test_with_settings_of_its_own_the_same_picture_is_no_duplicate(alice, run_jobs):
    rows = rows_of(alice, 0) + rows_of(alice, 0, settings={"style": "grey"})

    batch = started(alice, rows)
    run_jobs()

    assert prices(batch) == [2, 2]


def test_a_duplicate_is_not_to_be_had_before_its_first_has_ended(alice):
    batch = started(alice, rows_of(alice, 0, 0))
    first, twin = items(batch)

    assert [item.rung_at is None for item in (first, twin)] == [False, True]
    pipeline.run(twin.pk)
    assert states(batch) == ["fetched", "fetched"]
    pipeline.run(first.pk)
    pipeline.run(twin.pk)
    assert states(batch) == ["done", "done"]


def test_duplicates_fail_with_their_first_and_are_retried_with_it(alice, run_jobs, scripted):
    batch = started(alice, rows_of(alice, 0, 0), tool="scripted")
    fail(batch)
    run_jobs()
    assert [item.error_code for item in items(batch)] == ["no_subject"] * 2
    assert scripted.runs == 0

    lifecycle.retry(batch)
    assert ledger.balance(alice).held == 2
    run_jobs()

    assert (states(batch), prices(batch), scripted.runs) == (["done"] * 2, [2, 0], 1)


@pytest.mark.parametrize(("alone", "wanted"), [(1, [None, 2]), (0, [2, None])])
def test_one_of_them_may_be_retried_by_itself(alice, run_jobs, alone, wanted):
    batch = started(alice, rows_of(alice, 0, 0))
    fail(batch)
    run_jobs()

    lifecycle.retry(batch, items=[items(batch)[alone].uid])
    run_jobs()

    assert prices(batch) == wanted
    lifecycle.retry(batch)  # and the other is served from that
    run_jobs()
    assert sorted(prices(batch)) == [0, 2]


def test_a_first_that_is_retried_with_other_settings_does_not_take_its_twin_along(alice, run_jobs):
    batch = started(alice, rows_of(alice, 0, 0))
    fail(batch)  # the twin has been rung for, and nobody has come yet

    lifecycle.retry(batch, items=[items(batch)[0].uid], settings={"style": "grey"})
    run_jobs()

    first, twin = items(batch)
    assert (first.price, twin.price, twin.reused_from) == (2, 2, None)
    assert first.results.get().sha256 != twin.results.get().sha256


def test_a_sample_serves_its_duplicates_behind_the_gate(alice, run_jobs, scripted):
    batch = started(alice, rows_of(alice, 0, 1, 0), tool="scripted", sample=1)
    run_jobs()
    assert states(batch) == ["done", "pending", "pending"]

    lifecycle.approve(batch)
    run_jobs()

    assert (prices(batch), scripted.runs) == ([2, 2, 0], 2)


def test_other_settings_after_a_sample_make_the_rest_work_of_its_own(alice, run_jobs):
    batch = started(alice, rows_of(alice, 0, 0, 0), sample=1)
    run_jobs()

    lifecycle.approve(batch, settings={"style": "grey"})
    run_jobs()

    assert prices(batch) == [2, 2, 0]
    assert items(batch)[2].reused_from == items(batch)[1].uid


def test_a_cancel_takes_first_and_twins(alice, run_jobs):
    batch = started(alice, rows_of(alice, 0, 0))

    lifecycle.cancel(batch)
    run_jobs()

    assert states(batch) == ["cancelled"] * 2
    assert ledger.balance(alice) == (100, 0)


def test_twins_whose_worker_died_after_the_first_are_finished_by_reconcile(
    alice, run_jobs, monkeypatch
):
    batch = started(alice, rows_of(alice, 0, 0))
    monkeypatch.setattr(lifecycle, "settled", lambda *_args, **_options: None)
    pipeline.run(items(batch)[0].pk)  # and nobody was rung
    monkeypatch.undo()
    assert states(batch) == ["done", "fetched"]

    monkeypatch.setattr(dispatch, "_ring", dispatch._push)
    reconcile(now=timezone.now())
    run_jobs()

    assert states(batch) == ["done", "done"]


def test_without_reuse_duplicates_are_images_like_others(alice, run_jobs, scripted):
    batch = started(alice, rows_of(alice, 0, 0), tool="scripted", reuse=False)
    run_jobs()

    assert (prices(batch), scripted.runs) == ([2, 2], 2)


def test_deleting_one_batch_leaves_the_files_of_the_others(alice, run_jobs):
    first = started(alice, rows_of(alice, 0))
    run_jobs()
    second = started(alice, rows_of(alice, 0))
    run_jobs()

    lifecycle.delete(first)

    result = items(second)[0].results.get()
    assert storage.read("results", result.key)
    assert picture(0)  # the original is still in use
    assert Original.objects.count() == 1
