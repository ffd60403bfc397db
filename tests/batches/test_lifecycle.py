"""The verbs on a batch, each in each state: what moves, what is held, what is refused."""

import io
from contextlib import closing
from datetime import timedelta

import pytest
import redis
from django.db import transaction
from django.utils import timezone

from accounts import plans
from batches import dispatch, intake, lifecycle, pipeline, storage
from batches.exports import archive
from batches.models import Batch, Draft, DraftImage, Item, Original, Result
from batches.reconcile import reconcile, sweep_orphans
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import bare_batch, bare_item, give, make_batch, make_original
from tools import registry
from tools.base import SettingsInvalid
from tools.engines import images

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "no_welcome", "sound")

RING = dispatch._ring
VERBS = {
    "start": lifecycle.start,
    "approve": lifecycle.approve,
    "pause": lifecycle.pause,
    "resume": lifecycle.resume,
    "cancel": lifecycle.cancel,
    "retry": lifecycle.retry,
    "delete": lifecycle.delete,
}


def states(batch: Batch) -> list[str]:
    """The states of the batch's items, in their order."""
    return list(batch.items.order_by("position").values_list("state", flat=True))


def figures(batch: Batch):
    """All that a refused verb must leave alone."""
    return (
        list(Batch.objects.values()),
        list(Item.objects.order_by("pk").values()),
        ledger.balance(batch.owner),
        ledger.entries(batch.owner).count(),
    )


def set_trouble(batch: Batch, position: int, trouble: str) -> None:
    """Let one item's run go wrong; its settings have been judged already."""
    item = batch.items.get(position=position)
    item.settings["trouble"] = trouble
    item.save(update_fields=["settings"])


def batch_with_failures(owner, run_jobs, *, count: int = 3, failed=(0,), **options) -> Batch:
    """A batch that has run, in which the images at some places have failed."""
    batch = make_batch(owner, count, **options)
    for position in failed:
        set_trouble(batch, position, "permanent")
    lifecycle.start(batch)
    run_jobs()
    return Batch.objects.get(pk=batch.pk)


# --- create ---------------------------------------------------------------------------


def test_a_new_batch_is_ready_and_holds_nothing(alice, fake_tool):
    original = make_original(alice)

    batch = lifecycle.create(
        alice,
        fake_tool,
        [Row(upload=str(original.uid)), Row(url="https://a.example.com/a.png")],
        settings={"style": "grey"},
        name="Autumn",
        sample=1,
        cap=9,
    )

    assert (batch.state, batch.name, batch.sample, batch.cap) == ("ready", "Autumn", 1, 9)
    assert batch.settings == fake_tool.clean({"style": "grey"})
    assert states(batch) == ["pending", "pending"]
    assert ledger.balance(alice) == (0, 0)


def test_a_batch_without_a_name_is_named_after_tool_and_time(alice, fake_tool):
    batch = lifecycle.create(alice, fake_tool, [Row(url="https://a.example.com/")])

    assert batch.name.startswith("Fake, 20")


@pytest.mark.parametrize(
    ("rows", "options", "refusal"),
    [
        ([], {}, lifecycle.Refused),
        ([Row(url="https://a.example.com/")] * 501, {}, lifecycle.BatchTooLarge),
        ([Row(url="https://a.example.com/")], {"cap": 1}, lifecycle.CapExceeded),
        (
            [Row(url="https://a.example.com/")],
            {"settings": {"trouble": "unavailable"}},
            lifecycle.ToolUnavailable,
        ),
        ([Row(url="https://a.example.com/")], {"settings": {"strength": 3}}, SettingsInvalid),
        ([Row(url="https://a.example.com/"), Row(url="x")], {}, intake.RowsInvalid),
    ],
)
def test_a_batch_that_is_refused_leaves_nothing(alice, fake_tool, rows, options, refusal):
    with pytest.raises(refusal):
        lifecycle.create(alice, fake_tool, rows, **options)

    assert not Batch.objects.exists()
    assert not Item.objects.exists()


def test_a_batch_of_as_many_images_as_the_plan_takes_is_taken(alice, fake_tool):
    most = plans.plan_for(alice).batch_images

    batch = lifecycle.create(alice, fake_tool, [Row(url="https://a.example.com/")] * most)

    assert batch.items.count() == most == 500


def test_too_many_images_are_told_with_limit_and_count(alice, fake_tool):
    with pytest.raises(lifecycle.BatchTooLarge) as refusal:
        lifecycle.create(alice, fake_tool, [Row(url="https://a.example.com/")] * 501)

    assert refusal.value.params == {"limit": 500, "count": 501}
    assert "501" in refusal.value.detail


def test_a_tool_without_an_engine_here_is_refused_with_what_would_help(alice, fake_tool, settings):
    settings.ENGINE_QUEUES = ["gpu"]

    with pytest.raises(lifecycle.ToolUnavailable) as refusal:
        lifecycle.create(alice, fake_tool, [Row(url="https://a.example.com/")])

    assert "Add one of cpu to STUDIO_ENGINE_QUEUES" in refusal.value.detail


def test_rows_that_are_wrong_become_failed_items_where_that_is_wanted(alice, fake_tool):
    batch = lifecycle.create(
        alice,
        fake_tool,
        [Row(url="ftp://a.example.com/"), Row(url="https://a.example.com/")],
        skip_invalid=True,
        cap=2,
    )

    assert states(batch) == ["failed", "pending"]


def test_a_cap_counts_only_what_can_run(alice, fake_tool):
    rows = [Row(url=f"https://a.example.com/{n}") for n in range(2)]

    with pytest.raises(lifecycle.CapExceeded) as refusal:
        lifecycle.create(alice, fake_tool, rows, cap=3)

    assert refusal.value.params == {"total": 4, "cap": 3}


# --- start ----------------------------------------------------------------------------


def test_a_start_holds_the_whole_price_and_lets_the_images_wait(alice):
    original = make_original(alice)
    batch = make_batch(alice, 2)
    bare_item(batch, position=2, held_price=2, settings=batch.settings)

    started = lifecycle.start(batch)

    assert started.state == BatchState.RUNNING
    assert started.started_at is not None
    assert states(batch) == ["fetched", "fetched", "queued"]
    assert ledger.balance(alice) == (14, 6)
    assert set(batch.items.values_list("attempt", "generation", "hold__reference")) == {
        (1, 1, batch.reference)
    }
    assert original.items.count() == 1


def test_a_batch_is_started_once(alice):
    batch = lifecycle.start(make_batch(alice, 2))
    before = figures(batch)

    with pytest.raises(lifecycle.StateConflict) as conflict:
        lifecycle.start(batch)

    assert conflict.value.params == {"state": "running"}
    assert figures(batch) == before


def test_too_few_credits_start_nothing(alice, fake_tool):
    original = make_original(alice)
    rows = [Row(upload=str(original.uid))] * 3
    batch = lifecycle.create(alice, fake_tool, rows, reuse=False)
    give(alice, 5)
    before = figures(batch)

    with pytest.raises(ledger.InsufficientCredits) as refusal:
        lifecycle.start(batch)

    assert refusal.value.params == {"required": 6, "available": 5}
    assert figures(batch) == before


def test_a_batch_may_be_started_after_credits_were_bought(alice, fake_tool):
    batch = lifecycle.create(alice, fake_tool, [Row(url="https://a.example.com/")])
    with pytest.raises(ledger.InsufficientCredits):
        lifecycle.start(batch)
    give(alice, 2)

    assert lifecycle.start(batch).state == BatchState.RUNNING


def test_a_model_that_went_away_since_is_told_before_anything_is_held(alice):
    batch = make_batch(alice, 1)
    batch.settings["trouble"] = "unavailable"
    batch.save(update_fields=["settings"])

    with pytest.raises(lifecycle.ToolUnavailable, match="away"):
        lifecycle.start(batch)

    assert ledger.balance(alice).held == 0


def test_what_costs_nothing_needs_no_account(alice, free, run_jobs):
    batch = make_batch(alice, 2, tool="free")

    lifecycle.start(batch)
    run_jobs()

    assert states(batch) == ["done", "done"]
    assert ledger.entries(alice).exclude(kind="grant").count() == 0
    assert set(batch.items.values_list("hold", "price")) == {(None, 0)}


def test_a_batch_in_which_nothing_can_run_ends_at_once(alice, fake_tool):
    batch = lifecycle.create(alice, fake_tool, [Row(url="ftp://a.example.com/")], skip_invalid=True)

    assert lifecycle.start(batch).state == BatchState.FINISHED


# --- samples --------------------------------------------------------------------------


def test_a_sample_runs_first_and_holds_only_its_own_price(alice, run_jobs):
    batch = make_batch(alice, 5, sample=2)

    lifecycle.start(batch)
    held = ledger.balance(alice).held
    run_jobs()

    batch.refresh_from_db()
    assert held == 4
    assert batch.state == BatchState.SAMPLED
    assert batch.finished_at is None
    assert states(batch) == ["done", "done", "pending", "pending", "pending"]
    assert ledger.balance(alice) == (46, 0)


def test_the_size_of_the_sample_may_be_said_at_the_start(alice):
    batch = make_batch(alice, 3, sample=2)

    started = lifecycle.start(batch, sample=1)

    assert started.sample == 1
    assert states(batch) == ["fetched", "pending", "pending"]


def test_no_sample_may_be_said_at_the_start(alice):
    batch = make_batch(alice, 3, sample=2)

    lifecycle.start(batch, sample=0)

    assert states(batch) == ["fetched"] * 3


def test_a_sample_of_more_than_there_are_is_all_of_them(alice, run_jobs):
    batch = make_batch(alice, 2, sample=9)

    lifecycle.start(batch)
    run_jobs()

    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED


def test_approval_lets_the_rest_run_on_a_second_hold(alice, run_jobs):
    batch = make_batch(alice, 5, sample=2)
    lifecycle.start(batch)
    run_jobs()

    approved = lifecycle.approve(batch)
    held = ledger.balance(alice).held
    run_jobs()

    batch.refresh_from_db()
    assert (approved.state, held) == (BatchState.RUNNING, 6)
    assert batch.state == BatchState.FINISHED
    assert states(batch) == ["done"] * 5
    assert batch.items.values("hold").distinct().count() == 2
    assert set(batch.items.values_list("attempt", flat=True)) == {1}


def test_approval_without_the_credits_leaves_the_batch_sampled(alice, fake_tool, run_jobs):
    rows = [Row(upload=str(make_original(alice).uid))] * 4
    batch = lifecycle.create(alice, fake_tool, rows, sample=1, reuse=False)
    give(alice, 5)
    lifecycle.start(batch)
    run_jobs()
    before = figures(batch)

    with pytest.raises(ledger.InsufficientCredits):
        lifecycle.approve(batch)

    assert figures(batch) == before
    assert before[0][0]["state"] == BatchState.SAMPLED


def test_a_sample_may_be_cancelled_and_the_rest_was_never_paid_for(alice, run_jobs):
    batch = make_batch(alice, 3, sample=1)
    lifecycle.start(batch)
    run_jobs()

    lifecycle.cancel(batch)

    assert states(batch) == ["done", "cancelled", "cancelled"]
    assert ledger.balance(alice) == (28, 0)


# --- pause and resume -----------------------------------------------------------------


def test_a_paused_batch_begins_nothing_and_goes_on_when_resumed(alice, run_jobs):
    batch = lifecycle.start(make_batch(alice, 3))

    lifecycle.pause(batch)
    run_jobs()
    while_paused = states(batch)
    lifecycle.resume(batch)
    run_jobs()

    batch.refresh_from_db()
    assert while_paused == ["fetched"] * 3
    assert batch.state == BatchState.FINISHED
    assert states(batch) == ["done"] * 3


def test_what_is_in_hand_at_a_pause_is_finished_and_paid_for(alice, scripted, run_jobs):
    batch = lifecycle.start(make_batch(alice, 3, tool="scripted"))
    scripted.before = lambda: lifecycle.pause(batch)

    run_jobs()

    batch.refresh_from_db()
    assert batch.state == BatchState.PAUSED
    assert states(batch) == ["done", "fetched", "fetched"]
    assert ledger.balance(alice) == (24, 4)


def test_the_last_image_of_a_paused_batch_ends_it(alice, scripted, run_jobs):
    batch = lifecycle.start(make_batch(alice, 1, tool="scripted"))
    scripted.before = lambda: lifecycle.pause(batch)

    run_jobs()

    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED


def test_the_last_image_of_a_paused_sample_ends_the_sample(alice, scripted, run_jobs):
    batch = lifecycle.start(make_batch(alice, 2, tool="scripted", sample=1))
    scripted.before = lambda: lifecycle.pause(batch)

    run_jobs()

    batch.refresh_from_db()
    assert batch.state == BatchState.SAMPLED


# --- cancel ---------------------------------------------------------------------------


def test_a_batch_that_never_started_is_cancelled_for_free(alice):
    batch = make_batch(alice, 2)

    cancelled = lifecycle.cancel(batch)

    assert cancelled.state == BatchState.CANCELLED
    assert cancelled.finished_at is not None
    assert states(batch) == ["cancelled", "cancelled"]
    assert ledger.balance(alice) == (20, 0)


def test_cancelling_keeps_what_is_done_and_gives_back_the_rest(alice, scripted, run_jobs):
    batch = lifecycle.start(make_batch(alice, 4, tool="scripted"))
    scripted.before = lambda: scripted.runs == 3 and lifecycle.cancel(batch)

    run_jobs()

    batch.refresh_from_db()
    assert batch.state == BatchState.CANCELLED
    assert states(batch) == ["done", "done", "cancelled", "cancelled"]
    assert ledger.balance(alice) == (36, 0)
    assert set(batch.items.values_list("token", "lease_until")) == {(None, None)}


def test_cancelling_goes_chunk_by_chunk(alice, monkeypatch):
    monkeypatch.setattr(lifecycle, "RELEASE_CHUNK", 2)
    batch = lifecycle.start(make_batch(alice, 5))

    lifecycle.cancel(batch)

    assert states(batch) == ["cancelled"] * 5
    assert ledger.balance(alice) == (50, 0)
    assert ledger.entries(alice).filter(kind="release").count() == 5


def test_cancelling_a_paused_batch_gives_everything_back(alice):
    batch = lifecycle.start(make_batch(alice, 2))
    lifecycle.pause(batch)

    lifecycle.cancel(batch)

    assert states(batch) == ["cancelled", "cancelled"]
    assert ledger.balance(alice) == (20, 0)


# --- retry ----------------------------------------------------------------------------


def test_a_retry_runs_what_failed_on_a_new_hold(alice, run_jobs):
    batch = batch_with_failures(alice, run_jobs, failed=[0, 2])
    free_again = ledger.balance(alice)

    retried = lifecycle.retry(batch, settings={"trouble": "none"})
    held = ledger.balance(alice).held
    run_jobs()

    batch.refresh_from_db()
    assert free_again == (28, 0)
    assert (retried.state, retried.finished_at, held) == (BatchState.RUNNING, None, 4)
    assert batch.state == BatchState.FINISHED
    assert states(batch) == ["done"] * 3
    assert list(
        batch.items.order_by("position").values_list("generation", "attempt", "error_code")
    ) == [(2, 2, ""), (1, 1, ""), (2, 2, "")]
    assert ledger.balance(alice) == (24, 0)


def test_a_retry_may_be_of_some(alice, run_jobs):
    batch = batch_with_failures(alice, run_jobs, failed=[0, 1, 2])
    chosen = batch.items.get(position=1)

    lifecycle.retry(batch, items=[chosen.uid])

    assert states(batch) == ["failed", "fetched", "failed"]


def test_what_has_not_failed_is_not_retried_even_when_it_is_named(alice, run_jobs):
    batch = batch_with_failures(alice, run_jobs, failed=[0])

    lifecycle.retry(batch, items=list(batch.items.values_list("uid", flat=True)))

    assert states(batch) == ["fetched", "done", "done"]


def test_items_of_another_batch_are_not_retried(alice, run_jobs):
    batch = batch_with_failures(alice, run_jobs, failed=[0])
    other_batch = batch_with_failures(alice, run_jobs, failed=[0])

    with pytest.raises(lifecycle.StateConflict):
        lifecycle.retry(batch, items=[other_batch.items.get(position=0).uid])

    assert states(other_batch)[0] == ItemState.FAILED


def test_edited_settings_go_on_top_of_each_items_own(alice, fake_tool, run_jobs):
    rows = [
        Row(upload=str(make_original(alice, n).uid), settings={"strength": n / 10})
        for n in range(2)
    ]
    batch = lifecycle.create(alice, fake_tool, rows, settings={"trouble": "permanent"})
    give(alice, 10)
    lifecycle.start(batch)
    run_jobs()

    lifecycle.retry(batch, settings={"style": "grey", "trouble": "none"})
    run_jobs()

    found = batch.items.order_by("position").values_list("state", "settings")
    assert [(state, kept["style"], kept["strength"]) for state, kept in found] == [
        ("done", "grey", 0.0),
        ("done", "grey", 0.1),
    ]


def test_a_retry_costs_what_it_costs_today(alice, run_jobs, fake_tool, monkeypatch):
    batch = batch_with_failures(alice, run_jobs)
    monkeypatch.setattr(type(fake_tool), "price", 5)

    lifecycle.retry(batch, settings={"trouble": "none"})
    held = ledger.balance(alice).held
    run_jobs()

    assert held == 5
    assert sorted(batch.items.values_list("price", flat=True)) == [2, 2, 5]


def test_a_retry_without_the_credits_changes_nothing(alice, run_jobs, fake_tool, monkeypatch):
    batch = batch_with_failures(alice, run_jobs)
    monkeypatch.setattr(type(fake_tool), "price", 1000)
    before = figures(batch)

    with pytest.raises(ledger.InsufficientCredits):
        lifecycle.retry(batch, settings={"trouble": "none"})

    assert figures(batch) == before


@pytest.mark.parametrize(
    ("edited", "refusal"),
    [
        ({"strength": 3}, SettingsInvalid),
        ({"trouble": "unavailable"}, lifecycle.ToolUnavailable),
    ],
)
def test_a_retry_with_settings_that_can_not_be_changes_nothing(alice, run_jobs, edited, refusal):
    batch = batch_with_failures(alice, run_jobs)
    before = figures(batch)

    with pytest.raises(refusal):
        lifecycle.retry(batch, settings=edited)

    assert figures(batch) == before


def test_a_failure_can_be_retried_while_the_rest_still_runs(alice, run_jobs):
    batch = make_batch(alice, 3)
    set_trouble(batch, 0, "permanent")
    lifecycle.start(batch)
    pipeline.run(batch.items.get(position=0).pk)

    lifecycle.retry(batch, settings={"trouble": "none"})
    run_jobs()

    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED
    assert states(batch) == ["done"] * 3


def test_a_retry_in_a_paused_batch_waits_for_the_resume(alice, run_jobs):
    batch = make_batch(alice, 2)
    set_trouble(batch, 0, "permanent")
    lifecycle.start(batch)
    pipeline.run(batch.items.get(position=0).pk)
    lifecycle.pause(batch)

    retried = lifecycle.retry(batch, settings={"trouble": "none"})
    run_jobs()

    assert retried.state == BatchState.PAUSED
    assert states(batch) == ["fetched", "fetched"]
    lifecycle.resume(batch)
    run_jobs()
    assert states(batch) == ["done", "done"]


def test_a_retry_in_a_sample_leads_back_to_the_sample(alice, run_jobs):
    batch = batch_with_failures(alice, run_jobs, failed=[0], sample=2)
    before = batch.state

    retried = lifecycle.retry(batch, settings={"trouble": "none"})
    run_jobs()

    batch.refresh_from_db()
    assert (before, retried.state) == (BatchState.SAMPLED, BatchState.RUNNING)
    assert batch.state == BatchState.SAMPLED
    assert states(batch) == ["done", "done", "pending"]


def test_a_cancel_that_takes_long_goes_on_in_the_background(alice, fake_tool, monkeypatch):
    batch = lifecycle.start(make_batch(alice, 5))
    in_hand = batch.items.get(position=4)
    assert pipeline._claim(in_hand.pk, ItemState.RUNNING)
    monkeypatch.setattr(lifecycle, "RELEASE_CHUNK", 1)
    monkeypatch.setattr(lifecycle, "CANCEL_SECONDS", 0)

    batch = lifecycle.cancel(batch)

    assert batch.state == BatchState.CANCELLING
    in_hand.refresh_from_db()
    assert in_hand.state == ItemState.CANCELLED, "what somebody works on comes first"
    rounds = 0
    while batch.state == BatchState.CANCELLING and rounds < 9:
        reconcile(now=timezone.now())
        batch.refresh_from_db()
        rounds += 1
    assert (batch.state, rounds) == (BatchState.CANCELLED, 5)
    assert ledger.balance(alice).held == 0


def test_an_image_that_failed_twice_is_retried_on_a_third_hold(alice, run_jobs):
    batch = batch_with_failures(alice, run_jobs, count=1)
    lifecycle.retry(batch)
    run_jobs()

    lifecycle.retry(batch, settings={"trouble": "none"})
    run_jobs()

    item = batch.items.get()
    assert (item.state, item.generation, item.attempt, item.price) == ("done", 3, 3, 2)
    assert ledger.balance(alice) == (8, 0)


def test_what_has_neither_file_nor_address_can_not_be_retried(alice, fake_tool):
    rows = [Row(upload="gone"), Row(url="https://a.example.com/", upload="both")]
    batch = lifecycle.create(alice, fake_tool, rows, skip_invalid=True)
    lifecycle.start(batch)
    before = figures(batch)

    with pytest.raises(lifecycle.StateConflict):
        lifecycle.retry(batch)

    assert figures(batch) == before


def test_a_row_that_was_invalid_is_priced_when_it_is_retried(alice, fake_tool, run_jobs):
    original = make_original(alice)
    batch = lifecycle.create(
        alice,
        fake_tool,
        [Row(upload=str(original.uid), settings={"strength": 3})],
        skip_invalid=True,
    )
    give(alice, 2)
    lifecycle.start(batch)

    lifecycle.retry(batch, settings={"strength": 0.5})
    run_jobs()

    item = batch.items.get()
    assert (item.state, item.price, item.settings["strength"]) == ("done", 2, 0.5)


# --- The cap --------------------------------------------------------------------------


def test_a_cap_stands_for_all_holds_of_a_batch_together(alice, run_jobs, fake_tool, monkeypatch):
    batch = batch_with_failures(alice, run_jobs, count=3, cap=6)
    lifecycle.retry(batch, settings={"trouble": "permanent"})
    run_jobs()
    monkeypatch.setattr(type(fake_tool), "price", 3)
    before = figures(batch)

    with pytest.raises(lifecycle.CapExceeded) as refusal:
        lifecycle.retry(batch, settings={"trouble": "none"})

    assert refusal.value.params == {"total": 7, "cap": 6}
    assert figures(batch) == before


def test_what_is_on_hold_counts_towards_the_cap(alice, run_jobs, fake_tool, monkeypatch):
    batch = make_batch(alice, 2, cap=4)
    set_trouble(batch, 0, "permanent")
    lifecycle.start(batch)
    pipeline.run(batch.items.get(position=0).pk)
    monkeypatch.setattr(type(fake_tool), "price", 3)

    with pytest.raises(lifecycle.CapExceeded) as refusal:
        lifecycle.retry(batch)

    assert refusal.value.params == {"total": 5, "cap": 4}


# --- Every verb in every state --------------------------------------------------------

ALLOWED = {
    "start": {"ready"},
    "approve": {"sampled"},
    "pause": {"running"},
    "resume": {"paused"},
    "cancel": {"importing", "ready", "running", "sampled", "paused"},
    "retry": {"running", "paused", "sampled", "finished"},
    "delete": {"draft", "ready", "finished", "cancelled"},
}


@pytest.mark.parametrize("state", BatchState.values)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_refused_in_every_state_that_is_not_its_own(alice, verb, state):
    batch = bare_batch(alice, state=state)
    bare_item(batch, state=ItemState.FAILED, settings={})
    give(alice, 10)
    before = figures(batch)

    if state in ALLOWED[verb]:
        VERBS[verb](batch)
        assert figures(batch) != before
    else:
        with pytest.raises(lifecycle.StateConflict) as conflict:
            VERBS[verb](batch)
        assert conflict.value.detail
        assert figures(batch) == before


# --- delete ---------------------------------------------------------------------------


def stored(media) -> list[str]:
    return sorted(path.name for path in media.rglob("*") if path.is_file())


def test_a_deleted_batch_leaves_no_row_and_no_file(
    alice, media, run_jobs, django_capture_on_commit_callbacks
):
    batch = batch_with_failures(alice, run_jobs, count=3)
    entries = ledger.entries(alice).count()
    spent = ledger.balance(alice)

    with django_capture_on_commit_callbacks(execute=True):
        assert lifecycle.delete(batch)

    assert not Batch.objects.exists()
    assert not Item.objects.exists()
    assert not Result.objects.exists()
    assert not Original.objects.exists()
    assert stored(media) == []
    assert (ledger.entries(alice).count(), ledger.balance(alice)) == (entries, spent)


def test_a_batch_is_deleted_by_one_only(alice):
    batch = make_batch(alice, 1)

    assert lifecycle.delete(batch)
    assert not lifecycle.delete(batch)


def test_an_original_that_another_batch_uses_stays(
    alice, media, run_jobs, django_capture_on_commit_callbacks
):
    batch, other = make_batch(alice, 2), make_batch(alice, 1)

    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.delete(batch)

    assert [original.name for original in Original.objects.all()] == ["photo-1.png"]
    assert len(stored(media)) == 2
    lifecycle.start(other)
    run_jobs()
    assert states(other) == ["done"]


def test_an_original_that_lies_on_a_tools_page_stays(alice, media):
    batch = make_batch(alice, 1)
    draft = Draft.objects.create(owner=alice, tool="fake")
    DraftImage.objects.create(draft=draft, original=Original.objects.get())

    lifecycle.delete(batch)

    assert Original.objects.count() == 1
    assert draft.images.count() == 1


def test_who_dies_between_rows_and_files_leaves_them_to_the_sweeper(alice, media, run_jobs):
    batch = batch_with_failures(alice, run_jobs, count=2)

    lifecycle.delete(batch)  # the test's transaction never commits: no file was touched
    assert len(stored(media)) == 6
    removed = sweep_orphans(now=timezone.now() + timedelta(hours=2))

    assert removed == 6
    assert stored(media) == []


def test_a_storage_that_is_away_stops_no_deletion(
    alice, media, monkeypatch, django_capture_on_commit_callbacks
):
    def away(*_):
        raise OSError("away")

    batch = make_batch(alice, 1)
    monkeypatch.setattr(storage, "delete", away)

    with django_capture_on_commit_callbacks(execute=True):
        assert lifecycle.delete(batch)

    assert not Batch.objects.exists()


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_on_a_batch_that_has_been_deleted_is_refused_or_does_nothing(alice, verb):
    batch = make_batch(alice, 1)
    lifecycle.delete(batch)

    if verb == "delete":
        assert not lifecycle.delete(batch)
    else:
        with pytest.raises(lifecycle.StateConflict):
            VERBS[verb](batch)


def test_a_batch_that_was_deleted_after_its_last_image_needs_no_closing(alice):
    assert not lifecycle.close_if_finished(123)


def test_a_download_of_a_deleted_batch_breaks_off(
    alice, media, run_jobs, django_capture_on_commit_callbacks
):
    batch = batch_with_failures(alice, run_jobs, count=3, failed=())
    with closing(archive.Archive(batch)) as whole:
        download = iter(whole)
        next(download)

        with django_capture_on_commit_callbacks(execute=True):
            lifecycle.delete(batch)

        with pytest.raises(RuntimeError, match="not in the storage any more"):
            list(download)


# --- close ----------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(set(BatchState.values) - {"running", "paused"}))
def test_only_what_runs_is_closed(alice, state):
    batch = bare_batch(alice, state=state)

    assert not lifecycle.close_if_finished(batch.pk)

    batch.refresh_from_db()
    assert batch.state == state


def test_a_batch_is_closed_by_one_only(alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    bare_item(batch, state=ItemState.DONE)

    assert lifecycle.close_if_finished(batch.pk)
    assert not lifecycle.close_if_finished(batch.pk)


@pytest.mark.parametrize("state", ["queued", "fetching", "fetched", "running"])
def test_a_batch_with_something_open_is_not_closed(alice, state):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    bare_item(batch, state=state)

    assert not lifecycle.close_if_finished(batch.pk)


def test_a_retry_between_the_two_looks_keeps_the_batch_open(alice, monkeypatch):
    batch = lifecycle.start(make_batch(alice, 1))
    item = in_hand(batch)
    lifecycle.fail_item(item, "no_subject", {}, token=item.token)
    atomic = transaction.atomic

    def rival():
        """Somebody retries after nothing was found open, and before the batch is locked."""
        monkeypatch.setattr(transaction, "atomic", atomic)
        lifecycle.retry(batch)
        return atomic()

    monkeypatch.setattr(transaction, "atomic", rival)

    closed = lifecycle.close_if_finished(batch.pk)

    batch.refresh_from_db()
    assert (closed, batch.state) == (False, BatchState.RUNNING)


# --- end_leases -----------------------------------------------------------------------


def in_hand(batch: Batch, *, position: int = 0, **fields) -> Item:
    item = pipeline._claim(batch.items.get(position=position).pk, ItemState.RUNNING)
    Item.objects.filter(pk=item.pk).update(**fields)
    return item


def test_a_lease_that_ran_out_is_ended_and_another_is_not(alice):
    batch = lifecycle.start(make_batch(alice, 2))
    now = timezone.now()
    in_hand(batch, position=0, lease_until=now - timezone.timedelta(seconds=1))
    in_hand(batch, position=1, lease_until=now + timezone.timedelta(seconds=1))

    taken = lifecycle.end_leases(now=now)

    assert taken == 1
    assert states(batch) == ["fetched", "running"]
    item = batch.items.get(position=0)
    assert (item.losses, item.attempt, item.token, item.tries) == (1, 2, None, 0)


def test_the_claims_of_one_dead_worker_are_ended_at_once(alice):
    batch = lifecycle.start(make_batch(alice, 2))
    in_hand(batch, position=0, worker="vm:17")
    in_hand(batch, position=1, worker="vm:170")

    taken = lifecycle.end_leases(now=timezone.now(), worker="vm:17")

    assert (taken, states(batch)) == (1, ["fetched", "running"])


def test_the_claims_of_a_host_that_started_anew_are_ended_at_once(alice):
    batch = lifecycle.start(make_batch(alice, 3))
    for position, worker in enumerate(["vm_1:17", "vm_1:18", "vmx1:17"]):
        in_hand(batch, position=position, worker=worker)

    taken = lifecycle.end_leases(now=timezone.now(), host="vm_1")

    assert (taken, states(batch)) == (2, ["fetched", "fetched", "running"])


def test_an_image_that_loses_a_fifth_worker_fails_and_costs_nothing(alice):
    batch = lifecycle.start(make_batch(alice, 1))
    for _ in range(5):
        in_hand(batch, lease_until=timezone.now())
        lifecycle.end_leases(now=timezone.now())

    batch.refresh_from_db()
    item = batch.items.get()
    assert (item.state, item.error_code, item.error_params) == ("failed", "worker_lost", {"n": 5})
    assert item.attempt == 5
    assert batch.state == BatchState.FINISHED
    assert ledger.balance(alice) == (10, 0)


def test_lost_workers_are_forgiven_by_a_retry(alice, run_jobs):
    batch = lifecycle.start(make_batch(alice, 1))
    for _ in range(5):
        in_hand(batch, lease_until=timezone.now())
        lifecycle.end_leases(now=timezone.now())

    lifecycle.retry(batch)
    in_hand(batch, lease_until=timezone.now())
    lifecycle.end_leases(now=timezone.now())
    run_jobs()

    assert states(batch) == ["done"]


def test_an_item_that_can_not_be_settled_does_not_keep_the_others(alice, monkeypatch):
    batch = lifecycle.start(make_batch(alice, 2))
    for position in range(2):
        in_hand(batch, position=position, lease_until=timezone.now())
    put_back = lifecycle.put_back

    def broken(item, *why, **fields):
        if item.position == 0:
            raise ledger.HoldExhausted("broken")
        return put_back(item, *why, **fields)

    monkeypatch.setattr(lifecycle, "put_back", broken)

    with pytest.raises(ledger.HoldExhausted):
        lifecycle.end_leases(now=timezone.now())

    assert states(batch) == ["running", "fetched"]


def test_a_move_through_a_join_is_refused(alice):
    bare_item(bare_batch(alice, state=BatchState.RUNNING), state=ItemState.FETCHED)

    with pytest.raises(TypeError, match="join"):
        Item.objects.filter(batch__state=BatchState.RUNNING).advance(ItemState.RUNNING)


def test_the_verbs_ring_only_after_the_commit(
    alice, valkey, django_capture_on_commit_callbacks, monkeypatch
):
    monkeypatch.setattr(dispatch, "_ring", RING)
    batch = make_batch(alice, 3)

    with django_capture_on_commit_callbacks() as callbacks:
        lifecycle.start(batch)
        assert valkey.keys("rq:queue:*") == []

    for callback in callbacks:
        callback()
    assert valkey.llen("rq:queue:cpu") == 3


def test_a_valkey_that_is_away_stops_no_verb(alice, monkeypatch, caplog, tmp_path):
    caplog.set_level("INFO", logger="batches.dispatch")
    away = redis.Redis(unix_socket_path=str(tmp_path / "nobody.sock"), retry=None)
    monkeypatch.setattr(dispatch, "connection", lambda: away)
    batch = make_batch(alice, 2)

    started = lifecycle.start(batch)

    assert started.state == BatchState.RUNNING
    assert "could not be rung" in caplog.text


# --- What is tried again, and on what -------------------------------------------------


def test_a_retry_remembers_the_try_that_failed(alice, fake_tool):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    give(alice, 10)
    item = bare_item(
        batch, state=ItemState.FAILED, error_code="source_not_found", error_params={"status": 410}
    )

    lifecycle.retry(batch)

    item.refresh_from_db()
    (entry,) = item.history
    assert (entry["attempt"], entry["code"], entry["params"]) == (
        0, "source_not_found", {"status": 410},
    )  # fmt: skip


@pytest.fixture
def one_by_one(monkeypatch) -> None:
    """Downloads on this thread, which alone sees what the test has written."""
    monkeypatch.setattr(dispatch, "FETCHES_PER_JOB", 1)


def failed_addresses(owner, tool, *addresses: str) -> Batch:
    """A finished batch in which every address came to nothing."""
    batch = lifecycle.create(owner, tool, [Row(url=address) for address in addresses])
    give(owner, 2 * len(addresses))
    lifecycle.start(batch)
    for pk in batch.items.values_list("pk", flat=True):
        pipeline.fetch([pk])
    batch.refresh_from_db()
    assert states(batch) == ["failed"] * len(addresses)
    return batch


def test_an_image_is_retried_at_another_address(alice, fake_tool, server, run_jobs, one_by_one):
    batch = failed_addresses(alice, fake_tool, server.url("/status/404"), server.url("/html"))
    first = batch.items.order_by("position").first()

    lifecycle.retry(
        batch,
        items=[first.uid],
        repairs={first.uid: lifecycle.Repair(url=server.url("/jpeg"))},
    )
    run_jobs()

    first.refresh_from_db()
    assert (first.state, first.source_url) == ("done", server.url("/jpeg"))
    assert states(batch) == ["done", "failed"]  # nobody asked for the other one
    assert ledger.balance(alice) == (2, 0)


def test_a_file_that_was_turned_away_is_replaced_in_its_own_row(alice, fake_tool, run_jobs):
    rows = [Row(name="mug.gif", refusal=("image_animated", {}))]
    batch = lifecycle.start(lifecycle.create(alice, fake_tool, rows, skip_invalid=True))
    item = batch.items.get()
    give(alice, 2)

    lifecycle.retry(batch, repairs={item.uid: lifecycle.Repair(original=make_original(alice))})
    run_jobs()

    item.refresh_from_db()
    assert (item.state, item.name, item.price) == ("done", "mug.gif", 2)
    assert batch.items.count() == 1


def test_a_picture_that_was_too_large_is_fetched_again_and_made_smaller(
    alice, fake_tool, server, run_jobs, one_by_one
):
    batch = failed_addresses(alice, fake_tool, server.url("/heavy"), server.url("/wide"))
    before = list(batch.items.order_by("position").values_list("error_code", flat=True))

    lifecycle.retry(batch, shrink=True)
    run_jobs()

    heavy, wide = batch.items.select_related("original").order_by("position")
    assert before == ["file_too_large", "dimensions_too_large"]
    assert (heavy.state, heavy.original.content_type) == ("done", "image/jpeg")
    assert wide.state == "done"
    assert wide.original.width * wide.original.height <= 50_000_000
    kept = images.read(io.BytesIO(storage.read(storage.ORIGINALS, wide.original.key)))
    assert kept.getpixel((10, 10)) == (200, 30, 30, 255)
    assert kept.getpixel((kept.width - 10, 10))[3] == 0  # what was see-through still is
    assert ledger.balance(alice) == (0, 0)


def test_more_than_can_be_made_smaller_is_still_refused(alice, fake_tool, server):
    batch = failed_addresses(alice, fake_tool, server.url("/big"))

    lifecycle.retry(batch, shrink=True)
    pipeline.fetch([batch.items.get().pk])

    item = batch.items.get()
    assert (item.state, item.error_code) == ("failed", "file_too_large")
    assert item.error_params["max"] == 100
    assert ledger.balance(alice) == (2, 0)


def test_the_rest_of_a_sample_runs_with_the_settings_of_the_approval(alice, run_jobs):
    batch = lifecycle.start(make_batch(alice, 3), sample=1)
    run_jobs()

    lifecycle.approve(batch, settings={"style": "grey"})
    run_jobs()

    batch.refresh_from_db()
    assert states(batch) == ["done"] * 3
    styles = [item.settings["style"] for item in batch.items.order_by("position")]
    assert styles == ["negative", "grey", "grey"]
    assert batch.settings["style"] == "grey"


def test_an_approval_with_settings_that_can_not_be_changes_nothing(alice, run_jobs):
    batch = lifecycle.start(make_batch(alice, 2), sample=1)
    run_jobs()
    before = figures(batch)

    with pytest.raises(SettingsInvalid):
        lifecycle.approve(batch, settings={"strength": 7})

    assert figures(batch) == before


def test_one_bad_address_among_the_repairs_moves_nothing(alice, fake_tool):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    give(alice, 10)
    good, bad = (bare_item(batch, state=ItemState.FAILED, position=n) for n in range(2))

    with pytest.raises(lifecycle.AddressRefused) as refused:
        lifecycle.retry(
            batch,
            repairs={
                good.uid: lifecycle.Repair(url="https://example.com/a.png"),
                bad.uid: lifecycle.Repair(url="ftp://example.com/a.png"),
            },
        )

    assert refused.value.code == "source_not_allowed"
    assert batch.items.filter(state=ItemState.FAILED, source_url="http://a.example/").count() == 2
    assert ledger.balance(alice).held == 0


def test_somebody_elses_original_is_no_repair(alice, bob, fake_tool):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    item = bare_item(batch, state=ItemState.FAILED)

    with pytest.raises(lifecycle.Refused):
        lifecycle.retry(batch, repairs={item.uid: lifecycle.Repair(original=make_original(bob))})

    item.refresh_from_db()
    assert (item.state, item.original) == (ItemState.FAILED, None)


# --- Many items -----------------------------------------------------------------------


@pytest.mark.parametrize("sample", [0, 4])
def test_a_long_batch_moves_by_stretches(alice, monkeypatch, sample):
    monkeypatch.setattr(lifecycle, "MOVE_CHUNK", 3)
    batch = make_batch(alice, 8)

    batch = lifecycle.start(batch, sample=sample)

    moved = [item.position for item in batch.items.exclude(hold=None).order_by("position")]
    assert moved == list(range(sample or 8))
    assert set(batch.items.filter(position__in=moved).values_list("state", flat=True)) == {
        ItemState.FETCHED
    }


def test_what_nobody_has_paid_for_is_cancelled_by_stretches(alice, monkeypatch):
    monkeypatch.setattr(lifecycle, "MOVE_CHUNK", 3)
    batch = make_batch(alice, 8)

    batch = lifecycle.cancel(batch)

    assert batch.state == BatchState.CANCELLED
    assert batch.items.filter(state=ItemState.CANCELLED).count() == 8


def test_retrying_some_leaves_the_other_failures_as_they_are(alice):
    batch = bare_batch(alice, state=BatchState.FINISHED, settings=registry.get("fake").defaults())
    first, other = (
        bare_item(batch, position=n, state=ItemState.FAILED, error_code="file_damaged")
        for n in range(2)
    )
    give(alice, 10)

    lifecycle.retry(batch, items=[first.uid])

    first.refresh_from_db()
    other.refresh_from_db()
    assert (first.state, other.state) == (ItemState.QUEUED, ItemState.FAILED)
    assert other.error_code == "file_damaged"
