"""Schedules: only what is new or changed, once, within the caps, and told when it fails."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.db.models import F
from django.utils import timezone

from accounts import notices
from batches import (
    couriers,
    dispatch,
    folders,
    library,
    lifecycle,
    recurring,
    recurring_runs,
    sheets,
    uploads,
)
from batches.models import (
    Batch,
    Delivery,
    Original,
    Recurring,
    RecurringRun,
    RecurringSeen,
    Result,
    RunState,
    Sheet,
    ToolRule,
)
from batches.states import BatchState, ItemState
from credits import ledger
from tests.batches.races import at_once
from tests.connecting import connected_bucket, connected_sirv
from tests.factories import give, make_original, picture
from tests.google_server import TabState, table

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def rich(alice, fake_tool, media, rings_at_once, no_welcome, monkeypatch):
    """Somebody with credits. One image after the other: threads don't see a test's transaction."""
    monkeypatch.setattr(dispatch, "FETCHES_PER_JOB", 1)
    monkeypatch.setattr(couriers, "WINDOW", 1)
    give(alice, 1000)
    return alice


@pytest.fixture
def go(run_jobs):
    """Let the scheduler look at a moment, the workers work, and the scheduler look again."""

    def go(now: datetime | None = None) -> RecurringRun:
        recurring.run_due(now=now or timezone.now())
        run_jobs()
        Delivery.objects.update(retry_at=None)  # as if they had waited for each other
        if dispatch.ring_deliveries(Delivery.objects.all(), now=timezone.now()):
            run_jobs()
        recurring.run_due(now=timezone.now())
        return RecurringRun.objects.order_by("-pk")[0]

    return go


@pytest.fixture
def day(go):
    """One day after the other: each time the schedules are due once more."""

    def day() -> RecurringRun:
        Recurring.objects.filter(is_on=True).update(next_at=timezone.now())
        return go()

    return day


def setup(**changes) -> recurring.Setup:
    usual = {
        "name": "Mugs",
        "tool": "fake",
        "kind": "library",
        "source": {"folder": "", "deep": True},
        "cron": "0 6 * * *",
        "zone": "Europe/Berlin",
    }
    return recurring.Setup(**(usual | changes))


def on_bucket(owner, s3, **changes) -> Recurring:
    connection = connected_bucket(owner, s3)
    source = {"path": "in", "deep": True}
    wanted = {"kind": "account", "source": source, "connection": connection} | changes
    return recurring.create(owner, setup(**wanted), now=timezone.now())


def put(s3, *numbers: int, folder: str = "in", as_: int | None = None) -> None:
    for number in numbers:
        content = picture(number if as_ is None else as_)
        s3.client.put_object(Bucket="pictures", Key=f"{folder}/{number}.png", Body=content)


def keep(owner, *numbers: int, folder=None) -> None:
    for number in numbers:
        library.add(owner, make_original(owner, number), folder=folder)


def counts(run: RecurringRun) -> tuple[int, ...]:
    return run.found, run.new, run.changed, run.unchanged, run.taken


def test_only_what_is_new_or_changed_runs(rich, s3, day, sound):
    put(s3, 1, 2, 3, 4, 5)
    on_bucket(rich, s3)

    first = day()
    assert (first.state, counts(first)) == (RunState.FINISHED, (5, 5, 0, 0, 5))
    assert (first.done, first.credits) == (5, 10)

    second = day()
    assert (second.state, counts(second)) == (RunState.NOTHING_NEW, (5, 0, 0, 5, 0))
    assert second.batch is None
    assert Batch.objects.count() == 1
    assert ledger.balance(rich).available == 990

    put(s3, 6)
    put(s3, 2, as_=20)
    third = day()
    assert (third.state, counts(third)) == (RunState.FINISHED, (6, 1, 1, 4, 2))
    assert third.batch.items.count() == 2
    assert sorted(third.batch.items.values_list("name", flat=True)) == ["2.png", "6.png"]
    assert ledger.balance(rich).available == 986


def test_other_settings_make_everything_new_once_more(rich, s3, day):
    put(s3, 1, 2)
    schedule = on_bucket(rich, s3)
    day()

    changed = {"settings": {"strength": 0.2}, "kind": "account", "connection": schedule.connection}
    recurring.change(
        schedule, setup(**changed, source=schedule.source, name="Other"), now=timezone.now()
    )

    assert counts(day()) == (2, 0, 2, 0, 2)
    assert day().state == RunState.NOTHING_NEW


def test_rows_of_a_google_sheet_run_as_they_come(rich, cloud, web, day, sound):
    tab = TabState(
        "Shop",
        table(
            ["Image", "SKU", "Stock"],
            *([web.put(f"/{n}", picture(n)), f"sku-{n}", n] for n in range(5)),
        ),
    )
    sheet = cloud.add(tab)
    schedule = recurring.create(
        rich,
        setup(
            kind="sheet",
            source={"address": cloud.link(sheet)},
            delivery={"to": "google_sheet", "connection": "", "options": {}},
            pattern="{SKU}",
        ),
        now=timezone.now(),
    )
    assert schedule.source["mapping"]["Image"] == "url"
    assert Sheet.objects.count() == 0, "the look at it leaves nothing"

    first = day()
    assert (first.state, counts(first)) == (RunState.FINISHED, (5, 5, 0, 0, 5))
    assert tab.column("studio_status") == ["done"] * 5

    assert day().state == RunState.NOTHING_NEW
    assert Sheet.objects.count() == 1, "what nothing was made of is forgotten"

    tab.put(1, 2, 77)  # a column that nothing is made of
    assert day().state == RunState.NOTHING_NEW

    tab.put(2, 0, web.put("/new", picture(7)))
    tab.cells.append([web.put("/6", picture(6)), "sku-6", 1])
    third = day()
    assert (third.state, third.taken) == (RunState.FINISHED, 2)
    assert sorted(third.batch.items.values_list("stem", flat=True)) == ["sku-1", "sku-6"]
    assert (third.new, third.changed) == (1, 1)
    assert tab.column("studio_status") == ["done"] * 6


def test_a_file_at_an_address_is_read_anew_each_time(rich, web, day):
    lines = ["photo", web.put("/1", picture(1))]

    def publish() -> str:
        return web.put("/feed.csv", "\n".join(lines).encode(), "text/csv")

    feed = publish()
    schedule = recurring.create(
        rich, setup(kind="sheet", source={"address": feed}), now=timezone.now()
    )
    assert counts(day())[:2] == (1, 1)

    lines.append(web.put("/2", picture(2)))
    publish()
    assert counts(day()) == (2, 1, 0, 1, 1)

    lines[0] = "renamed"
    publish()
    failed = day()
    assert (failed.state, failed.error_code) == (RunState.FAILED, "recurring_column_lost")
    assert "photo" in failed.error
    schedule.refresh_from_db()
    assert schedule.failures == 1


def test_a_folder_at_sirv_is_watched(rich, sirv, day):
    connection = connected_sirv(rich, sirv)
    sirv.put("/in/1.png", picture(1))
    source = {"path": "in", "deep": False}
    recurring.create(
        rich, setup(kind="account", source=source, connection=connection), now=timezone.now()
    )
    assert counts(day()) == (1, 1, 0, 0, 1)
    assert day().state == RunState.NOTHING_NEW

    sirv.pass_time(60)
    sirv.put("/in/1.png", picture(11))
    sirv.put("/in/below/2.png", picture(2))

    assert counts(day()) == (1, 0, 1, 0, 1)


def test_a_folder_of_the_library_is_watched_and_results_come_into_another(rich, day):
    inbox = folders.make(rich, "In")
    keep(rich, 1, 2, folder=inbox)
    keep(rich, 3)
    delivery = {"to": "library", "connection": "", "options": {"folder": "Out"}}
    source = {"folder": str(inbox.uid), "deep": True}
    recurring.create(rich, setup(source=source, delivery=delivery), now=timezone.now())

    assert counts(day()) == (2, 2, 0, 0, 2)
    assert day().state == RunState.NOTHING_NEW
    [out] = [branch for branch in folders.tree(rich).walk() if branch.path == "Out"]
    assert out.count == 2

    folders.delete(inbox, with_contents=True)
    assert day().error_code == "folder_missing"


@pytest.mark.parametrize(
    ("source", "to", "pattern", "fits"),
    [
        ({"path": "in", "deep": True}, "out", "", True),
        ({"path": "in", "deep": True}, "in", "", False),
        ({"path": "in", "deep": True}, "In/cut", "", False),
        ({"path": "in", "deep": False}, "in/cut", "", True),
        ({"path": "", "deep": True}, "out", "", False),
        ({"path": "", "deep": False}, "", "", False),
        ({"path": "in", "deep": True}, "", "in/{name}", False),
        ({"path": "in/new", "deep": True}, "in", "", True),
    ],
)
def test_results_never_become_the_next_images(rich, s3, source, to, pattern, fits):
    put(s3, 1)
    connection = connected_bucket(rich, s3)
    wanted = setup(
        kind="account",
        source=source,
        connection=connection,
        pattern=pattern,
        delivery={"to": "s3", "connection": str(connection.uid), "options": {"folder": to}},
    )
    if fits:
        recurring.create(rich, wanted, now=timezone.now())
    else:
        with pytest.raises(recurring.Refused, match="again and again"):
            recurring.create(rich, wanted, now=timezone.now())


def test_as_many_run_as_the_cap_allows_and_the_others_wait(rich, s3, day, sound):
    put(s3, 1, 2, 3, 4, 5)
    on_bucket(rich, s3, cap=5)

    first = day()
    assert (first.state, first.taken, first.waiting) == (RunState.FINISHED, 2, 3)
    assert sorted(first.batch.items.values_list("name", flat=True)) == ["1.png", "2.png"]
    assert first.batch.cap == 5
    assert [day().taken for _ in range(3)] == [2, 1, 0]


def test_a_month_has_a_cap_of_its_own(rich, s3, day):
    put(s3, 1, 2, 3, 4, 5)
    schedule = on_bucket(rich, s3, month_cap=6)
    assert day().taken == 3

    spent = day()
    assert (spent.state, spent.error_code) == (RunState.SKIPPED, "recurring_month_spent")
    assert (spent.waiting, mail.outbox) == (2, [])

    RecurringRun.objects.update(due_at=F("due_at") - timedelta(days=40))
    assert day().taken == 2
    schedule.refresh_from_db()
    assert schedule.failures == 0


def test_a_cap_below_the_price_of_one_image_is_told(rich, s3, day):
    put(s3, 1)
    ToolRule.objects.create(tool="fake", percent=500)
    on_bucket(rich, s3, cap=4)

    run = day()

    assert (run.state, run.error_code) == (RunState.FAILED, "recurring_cap_small")
    assert run.error_params == {"price": 10, "cap": 4}


def test_too_few_credits_fail_the_run_and_leave_nothing(rich, s3, day, sound):
    put(s3, 1, 2, 3)
    on_bucket(rich, s3)
    ledger.adjust(rich, -998, key="x", actor=rich, note="test")

    run = day()

    assert (run.state, run.error_code) == (RunState.FAILED, "insufficient_credits")
    assert not Batch.objects.exists()
    assert not RecurringSeen.objects.exists()
    assert "6 needed, 2 left" in run.error
    [told] = mail.outbox
    assert told.to == [rich.email]
    assert run.error in told.body
    assert f"/schedules/{run.recurring.uid}/" in told.body

    give(rich, 10)
    assert day().taken == 3


def test_a_refused_account_and_a_tool_that_is_off_fail_in_plain_words(rich, s3, day):
    put(s3, 1)
    schedule = on_bucket(rich, s3)
    rule = ToolRule.objects.create(tool="fake", is_on=False, note="Off for a while.")
    assert day().error == "The tool can't run with these settings: Off for a while."
    rule.delete()

    s3.faults = [("GET", "pictures", "403 AccessDenied")]
    assert day().error_code == "store_forbidden"

    schedule.connection.delete()
    assert day().error_code == "connection_gone"
    assert len(mail.outbox) == 3


def test_after_five_failures_in_a_row_it_is_switched_off_and_told(rich, s3, day):
    put(s3, 1)
    schedule = on_bucket(rich, s3)
    schedule.connection.delete()

    runs = [day() for _ in range(5)]

    schedule.refresh_from_db()
    assert (schedule.is_on, schedule.next_at) == (False, None)
    assert [run.has_paused for run in runs] == [False] * 4 + [True]
    assert len(mail.outbox) == 5
    assert mail.outbox[-1].subject == "Mugs: switched off after 5 failures"
    day()
    assert RecurringRun.objects.count() == 5

    assert recurring.resume(schedule, now=timezone.now())
    schedule.refresh_from_db()
    assert (schedule.is_on, schedule.failures) == (True, 0)


def test_a_run_that_is_well_ends_the_row_of_failures(rich, s3, day):
    put(s3, 1)
    schedule = on_bucket(rich, s3)
    s3.faults = [("GET", "pictures", "403 AccessDenied")]
    day()
    day()
    schedule.refresh_from_db()
    assert schedule.failures == 0


def test_a_mail_is_sent_once_also_when_the_mail_server_was_away(rich, s3, day, settings):
    put(s3, 1)
    schedule = on_bucket(rich, s3)
    schedule.connection.delete()
    working = settings.EMAIL_BACKEND
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    day()
    settings.EMAIL_BACKEND = working

    assert [recurring_runs.tell(now=timezone.now()) for _ in range(2)] == [1, 0]
    assert len(mail.outbox) == 1


def test_whoever_wants_no_such_mail_gets_none(rich, s3, day):
    put(s3, 1)
    schedule = on_bucket(rich, s3)
    schedule.connection.delete()
    day()
    (first,) = mail.outbox
    assert first.extra_headers["List-Unsubscribe"].strip("<>") in first.body

    notices.switch_off(rich, "schedules")
    day()
    assert RecurringRun.objects.filter(state=RunState.FAILED).count() == 2
    assert len(mail.outbox) == 1


def test_what_fails_comes_again_until_it_has_failed_too_often(rich, s3, day):
    put(s3, 1)
    s3.client.put_object(Bucket="pictures", Key="in/broken.png", Body=b"\x89PNG broken")
    schedule = on_bucket(rich, s3)

    first = day()
    assert (first.state, first.done, first.failed) == (RunState.FINISHED, 1, 1)
    again = [day() for _ in range(4)]
    assert [run.taken for run in again] == [1, 1, 1, 1]
    assert {run.error_code for run in again} == {"recurring_none_done"}
    last = day()
    assert (last.state, last.given_up, last.taken) == (RunState.NOTHING_NEW, 1, 0)
    schedule.refresh_from_db()
    assert schedule.is_on, "one broken picture switches nothing off"

    s3.client.put_object(Bucket="pictures", Key="in/broken.png", Body=picture(9))
    assert (day().done, day().given_up) == (1, 0)


def test_switched_off_and_on_again_it_tries_what_it_had_given_up(rich, s3, day):
    s3.client.put_object(Bucket="pictures", Key="in/broken.png", Body=b"\x89PNG broken")
    put(s3, 1)
    schedule = on_bucket(rich, s3)
    day()
    RecurringSeen.objects.update(tries=recurring_runs.MOST_TRIES)
    assert day().given_up == 1

    assert recurring.pause(schedule)
    assert not recurring.pause(schedule)
    assert recurring.resume(schedule, now=timezone.now())

    assert day().taken == 1


def test_what_was_retried_by_hand_is_done(rich, s3, day, run_jobs):
    put(s3, 1, 2)
    on_bucket(rich, s3)
    s3.faults = [("GET", "/pictures/in/1.png", "403 AccessDenied")]
    run = day()
    assert (run.done, run.failed) == (1, 1)

    lifecycle.retry(run.batch)
    run_jobs()

    assert day().state == RunState.NOTHING_NEW


def test_a_cancelled_batch_leaves_what_had_not_run_for_the_next_time(rich, s3, day, go):
    put(s3, 1, 2)
    schedule = on_bucket(rich, s3)
    run = recurring.run_now(schedule, now=timezone.now())
    recurring_runs.run(run.pk)
    run.refresh_from_db()
    lifecycle.cancel(run.batch)
    recurring.run_due(now=timezone.now())
    run.refresh_from_db()
    assert (run.state, run.done, run.credits) == (RunState.FINISHED, 0, 0)

    assert day().taken == 2


def test_while_one_runs_the_next_is_left_out(rich, s3, go):
    put(s3, 1)
    schedule = on_bucket(rich, s3)
    run = recurring.run_now(schedule, now=timezone.now())
    recurring_runs.run(run.pk)  # its batch waits for workers now
    Recurring.objects.update(next_at=timezone.now())

    recurring.run_due(now=timezone.now())

    [skipped] = RecurringRun.objects.filter(state=RunState.SKIPPED)
    assert skipped.error_code == "recurring_still_running"
    with pytest.raises(recurring.Refused, match="already"):
        recurring.run_now(schedule, now=timezone.now())


def test_after_a_long_night_it_runs_once_and_then_at_its_times(rich, s3, go):
    put(s3, 1)
    schedule = on_bucket(rich, s3)
    Recurring.objects.update(next_at=NOON - timedelta(days=9))

    go(NOON)

    assert RecurringRun.objects.count() == 1
    schedule.refresh_from_db()
    assert schedule.next_at == datetime(2026, 11, 28, 5, tzinfo=UTC), "06:00 in Berlin"


def test_a_worker_that_died_leaves_a_run_that_is_ended_properly(rich, s3, go, monkeypatch):
    put(s3, 1, 2)
    schedule = on_bucket(rich, s3)
    run = recurring.run_now(schedule, now=timezone.now())
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "start", _die)  # as late as can be
        with pytest.raises(KeyboardInterrupt):
            recurring_runs.run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.batch) == (RunState.RUNNING, None)
    assert not Batch.objects.exists()

    recurring_runs.run(run.pk)
    assert not Batch.objects.exists(), "somebody has it still, as far as anybody knows"
    RecurringRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    go()

    run.refresh_from_db()
    assert (run.state, run.done) == (RunState.FINISHED, 2)
    assert Batch.objects.count() == 1


def _die(batch):
    raise KeyboardInterrupt


def test_a_run_that_loses_every_worker_ends(rich, s3, go):
    put(s3, 1)
    run = recurring.run_now(on_bucket(rich, s3), now=timezone.now())
    RecurringRun.objects.update(
        tries=recurring_runs.MOST_LOOKS, lease_until=timezone.now() - timedelta(seconds=1)
    )
    go()
    run.refresh_from_db()
    assert (run.state, run.error_code) == (RunState.FAILED, "worker_lost")


def test_a_passing_error_of_the_source_is_waited_out(rich, s3, go):
    put(s3, 1)
    schedule = on_bucket(rich, s3)
    s3.faults = [("GET", "pictures", "503 SlowDown")] * 3
    run = recurring.run_now(schedule, now=timezone.now())
    go()
    run.refresh_from_db()
    assert run.state == RunState.RUNNING
    RecurringRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    go()
    run.refresh_from_db()
    assert (run.state, run.done) == (RunState.FINISHED, 1)


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_schedulers_at_once_begin_one_run_and_two_workers_make_one_batch(
    alice, fake_tool, media, valkey
):
    give(alice, 10)
    keep(alice, 1, 2)
    schedule = recurring.create(alice, setup(), now=timezone.now())
    Recurring.objects.update(next_at=timezone.now())

    def look() -> None:
        recurring.run_due(now=timezone.now())

    at_once(look, look, look)
    [run] = RecurringRun.objects.all()
    at_once(*[lambda: recurring_runs.run(run.pk)] * 3)

    [batch] = Batch.objects.all()
    assert (batch.uid, batch.items.count()) == (run.uid, 2)
    Batch.objects.update(state=BatchState.FINISHED)
    batch.items.update(state=ItemState.FAILED)
    at_once(*[lambda: recurring_runs.settle_ended(Recurring.objects.all())] * 3)
    assert set(RecurringSeen.objects.values_list("tries", flat=True)) == {1}
    schedule.refresh_from_db()
    assert schedule.failures == 1


def test_somebody_who_may_not_work_here_any_more_is_left_alone(rich, s3):
    put(s3, 1)
    on_bucket(rich, s3)
    Recurring.objects.update(next_at=timezone.now())
    rich.is_active = False
    rich.save()
    assert recurring.run_due(now=timezone.now()).begun == []


def test_deleting_keeps_the_batches(rich, s3, day):
    put(s3, 1)
    schedule = on_bucket(rich, s3)
    day()
    recurring.delete(schedule)
    assert not RecurringRun.objects.exists()
    assert Result.objects.count() == 1


def test_a_backdrop_that_a_schedule_uses_is_no_unused_upload(rich, day):
    backdrop = make_original(rich, 77)
    Original.objects.update(received_at=NOON - timedelta(days=400))
    Recurring.objects.create(
        owner=rich, name="x", tool="fake", kind="library", cron="0 6 * * *", zone="UTC",
        settings={"backdrop": str(backdrop.uid)},
    )  # fmt: skip
    assert uploads.prune(now=timezone.now()) == 0


def test_a_source_that_can_not_be_read_makes_no_schedule(rich, web):
    page = web.put("/page", b"<html><body>No</body></html>", "text/html")
    feed = web.put("/feed.csv", b"name,price\nmug,3\ncup,4\n", "text/csv")
    for address in (page, feed):
        with pytest.raises(recurring.Refused) as refused:
            recurring.create(rich, setup(kind="sheet", source={"address": address}), now=NOON)
        assert refused.value.field == "source"
    assert not Recurring.objects.exists()
    assert not Sheet.objects.exists()


def test_nobody_has_more_schedules_than_there_may_be(rich, monkeypatch):
    monkeypatch.setattr(recurring, "MOST", 1)
    recurring.create(rich, setup(), now=NOON)
    with pytest.raises(recurring.Refused, match="You have 1 schedules"):
        recurring.create(rich, setup(), now=NOON)


def test_a_batch_tells_what_can_be_repeated(rich, cloud, s3, go):
    put(s3, 1, folder="in/a")
    put(s3, 2, folder="in/b")
    schedule = on_bucket(rich, s3, pattern="{name}-cut", cap=7)
    recurring.run_now(schedule, now=timezone.now())
    batch = go().batch

    taken = recurring.of_batch(batch)

    assert taken["source"] == {"path": "in", "deep": True}
    assert taken["connection"] == schedule.connection
    assert (taken["pattern"], taken["cap"]) == ("{name}-cut", 7)

    link = cloud.link(cloud.add(TabState("Shop", table(["Image"], ["https://x.example/1.png"]))))
    batch.sheet = sheets.keep_google(rich, link)
    batch.sheet.mapping = {"Image": "url"}
    assert recurring.of_batch(batch)["source"] == {
        "address": link,
        "tab": "Shop",
        "mapping": {"Image": "url"},
    }
