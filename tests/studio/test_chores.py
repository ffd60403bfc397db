"""What the clock calls: one line each, an exit code that means something, and never twice."""

import io
import os
import threading
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
import redis
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts.models import IdempotencyKey, Plan
from batches import dispatch, lifecycle, pipeline, sheets, storage, uploads
from batches.models import (
    Asset,
    Batch,
    Delivery,
    Draft,
    DraftImage,
    Item,
    Original,
    Recurring,
    RecurringRun,
    Result,
    Sheet,
    WebhookMessage,
)
from batches.states import ItemState
from credits import ledger
from credits.models import CreditAccount, Grant, LedgerEntry
from studio import findings, schedule
from studio.chores import CHORES, Chore, Outcome
from studio.management.commands import scheduler
from studio.models import ScheduledRun
from tests.factories import bare_batch, bare_item, done_batch, make_batch, make_original

LONG_AGO = timedelta(days=400)
REHEARSED = [name for name, chore in CHORES.items() if chore.can_rehearse]


def run(name: str, *arguments: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        call_command(name, *arguments, stdout=out, stderr=err)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except CommandError as problem:
        code = problem.returncode
        err.write(str(problem))
    return code, out.getvalue(), err.getvalue()


def is_one_line(text: str) -> bool:
    return text.endswith(".\n") and text.count("\n") == 1


@pytest.fixture
def no_valkey(monkeypatch):
    """A server that is not there."""
    gone = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2)
    monkeypatch.setattr(dispatch, "connection", lambda: gone)


@pytest.fixture
def full_site(alice, fake_tool):
    """Something old for every chore, and something that must stay beside it."""
    old = timezone.now() - LONG_AGO
    plan = Plan.objects.create(slug="p", name="P", monthly_credits=100, rollover_credits=10)
    alice.plan = plan
    alice.save()
    ledger.grant(alice, 5, kind="promo", key="old", expires_at=old)
    unused, used, drafted, typed = (make_original(alice, number) for number in range(4))
    Original.objects.update(received_at=old)
    batch = done_batch(alice, 1)
    item = batch.items.get()
    item.original = used
    item.save()
    draft = Draft.objects.create(owner=alice, tool="fake", fields={"mask": [str(typed.uid)]})
    DraftImage.objects.create(draft=draft, original=drafted)
    storage.save(storage.RESULTS, f"{batch.uid}/old.xlsx", b"x")
    Delivery.objects.create(
        batch=batch, to="xlsx", state="finished", key=f"{batch.uid}/old.xlsx", bytes=1,
        filename="a.xlsx", finished_at=old,
    )  # fmt: skip
    sheet = sheets.keep(alice, io.BytesIO(b"a,b"), "a.csv")
    page = Draft.objects.create(owner=alice, tool="upscale", fields={"sheet": [str(sheet.uid)]})
    Draft.objects.filter(pk=page.pk).update(updated_at=old)
    Sheet.objects.update(updated_at=old)
    WebhookMessage.objects.create(owner=alice, event="batch.finished", payload={}, finished_at=old)
    IdempotencyKey.objects.create(user=alice, key="k", request_hash="", created_at=old)
    storage.save(storage.RESULTS, "nobody/has.png", b"me")
    os.utime(storages[storage.RESULTS].path("nobody/has.png"), (old.timestamp(),) * 2)
    Recurring.objects.create(
        owner=alice, name="Mugs", tool="fake", kind="library", cron="0 6 * * *", zone="UTC",
        next_at=old,
    )  # fmt: skip
    for number, trashed_at in enumerate([None, timezone.now(), old]):
        key = f"library/{number}.png"
        storage.save(storage.RESULTS, key, b"png")
        Asset.objects.create(
            owner=alice, name=f"{number}.png", key=key, format="png", bytes=3, sha256="",
            trashed_at=trashed_at,
        )  # fmt: skip
    return {"unused": unused, "kept": [used, drafted, typed]}


def rows() -> dict[str, int]:
    models = [Original, Asset, Grant, LedgerEntry, Delivery, Result]
    models += [Draft, Sheet, WebhookMessage, IdempotencyKey, RecurringRun]
    found = {model.__name__: model.objects.count() for model in models}
    found["stored"] = len(list(storage.walk(storage.RESULTS, older_than=timezone.now())))
    return found | {"files": Delivery.objects.exclude(key="").count()}


@pytest.mark.parametrize("name", CHORES)
def test_a_command_says_one_line_and_ends_well(name, full_site, valkey):
    code, out, err = run(name)
    assert (code, err) == (0, ""), err
    assert is_one_line(out)
    assert "Valkey" not in out
    assert run(name)[0] == 0, "and once more"


@pytest.mark.parametrize("name", CHORES)
def test_it_ends_well_without_valkey_too_and_says_so(name, full_site, no_valkey):
    code, out, err = run(name)
    assert (code, err) == (0, "")
    assert is_one_line(out)
    assert "Valkey does not answer" in out


@pytest.mark.parametrize("name", REHEARSED)
def test_a_dry_run_changes_nothing_and_says_what_the_next_run_does(name, full_site, valkey):
    before = rows()
    code, out, _err = run(name, "--dry-run")
    assert (code, is_one_line(out)) == (0, True)
    assert rows() == before
    assert out.startswith("Dry run: would have ")

    _code, done, _err = run(name)
    assert rows() != before
    would = out.removeprefix("Dry run: would have ")
    assert done[1:] == would[1:]


def test_uploads_that_nobody_has_used_for_a_week_go_and_nothing_else_does(
    alice, full_site, django_capture_on_commit_callbacks, valkey
):
    young = make_original(alice, 9)
    with django_capture_on_commit_callbacks(execute=True):
        _code, out, _err = run("pruneuploads")

    assert "1 uploads unused for 7 days" in out
    assert "1 files of deliveries" in out
    there = set(Original.objects.values_list("pk", flat=True))
    assert there == {row.pk for row in [*full_site["kept"], young]}
    assert not storage.exists(storage.ORIGINALS, full_site["unused"].key)
    assert all(storage.exists(storage.ORIGINALS, row.key) for row in full_site["kept"])
    assert Delivery.objects.get().key == ""
    assert Asset.objects.count() == 3


def test_who_sends_an_old_file_again_keeps_it(alice):
    original = make_original(alice, 1)
    Original.objects.update(received_at=timezone.now() - LONG_AGO)
    assert make_original(alice, 1) == original
    assert uploads.prune(now=timezone.now()) == 0


def test_only_what_was_in_the_trash_for_a_month_is_deleted(full_site, valkey):
    run("pruneassets")
    assert sorted(Asset.objects.values_list("name", flat=True)) == ["0.png", "1.png"]


def test_a_ledger_that_disagrees_ends_with_1_and_is_said_on_stderr(alice, valkey):
    ledger.account_for(alice)
    CreditAccount.objects.update(available=7000)
    code, out, err = run("checkledger")
    assert code == 1
    assert is_one_line(out)
    assert "7000" in err


def test_a_missing_or_shortened_file_ends_with_1_an_orphan_does_not(alice, fake_tool, valkey):
    batch = done_batch(alice, 3)
    gone, short, _whole = Result.objects.filter(item__batch=batch).order_by("pk")
    storage.save(storage.RESULTS, "nobody/has.png", b"me")
    assert run("checkstorage")[0] == 0

    storage.delete(storage.RESULTS, gone.key)
    Result.objects.filter(pk=short.pk).update(bytes=short.bytes + 1)
    code, out, err = run("checkstorage")
    assert code == 1
    assert is_one_line(out)
    assert f"results/{gone.key} is missing" in err
    assert f"results/{short.key} has {short.bytes} bytes instead of {short.bytes + 1}" in err


def test_only_a_deep_look_sees_other_bytes_of_the_same_length(alice, fake_tool, valkey):
    result = Result.objects.filter(item__batch=done_batch(alice, 1)).get()
    content = storage.read(storage.RESULTS, result.key)
    storage.save(storage.RESULTS, result.key, bytes(reversed(content)))
    assert run("checkstorage")[0] == 0
    code, _out, err = run("checkstorage", "--deep")
    assert (code, "has other bytes" in err) == (1, True)


def test_usage_is_summed_up_by_person_and_tool_and_no_cell_is_a_formula(
    alice, bob, tmp_path, valkey
):
    from accounts.models import User

    User.objects.filter(pk=bob.pk).update(email="=cmd()@example.com")
    now = timezone.now()
    for owner, price in ((alice, 2), (alice, 3), (bob, 1)):
        batch = bare_batch(owner)
        bare_item(batch, state=ItemState.DONE, price=price, finished_at=now)
    bare_item(bare_batch(alice), state=ItemState.FAILED, finished_at=now)
    bare_item(bare_batch(alice), state=ItemState.DONE, price=9, finished_at=now - LONG_AGO)

    file = tmp_path / "usage.csv"
    code, out, _err = run("reportusage", "--csv", str(file))
    assert code == 0
    assert "3 images done and 1 failed for 2 people" in out
    assert file.read_text().splitlines() == [
        "owner,tool,done,failed,credits",
        "'=cmd()@example.com,fake,1,0,1",
        "alice@example.com,fake,2,1,5",
    ]
    _code, out, _err = run("reportusage", "--user", "Alice@example.com")
    assert "for 1 people" in out
    assert run("reportusage", "--user", "nobody@example.com")[0] == 2


def test_usage_of_batches_that_were_deleted_since_is_in_the_table_all_the_same(
    alice, bob, fake_tool, tmp_path, valkey
):
    kept, *gone = (
        lifecycle.start(make_batch(owner, count))
        for owner, count in [(alice, 1), (alice, 2), (bob, 3)]
    )
    for pk in Item.objects.values_list("pk", flat=True):
        pipeline.run(pk)
    for batch in gone:
        lifecycle.delete(batch)
    assert Batch.objects.get() == kept

    file = tmp_path / "usage.csv"
    _code, out, _err = run("reportusage", "--csv", str(file))
    assert file.read_text().splitlines() == [
        "owner,tool,done,failed,credits",
        "alice@example.com,(deleted),2,0,4",
        "alice@example.com,fake,1,0,2",
        "bob@example.com,(deleted),3,0,6",
    ]
    assert "6 images done and 0 failed for 2 people, 12 credits used" in out
    _code, out, _err = run("reportusage", "--user", "bob@example.com")
    assert "3 images done and 0 failed for 1 people, 6 credits used" in out
    assert "0 images done" in run("reportusage", "--until", "2026-01-01")[1]


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", CHORES)
def test_two_at_once_do_the_work_once(name, full_site, valkey):
    ends = []

    def go() -> None:
        try:
            ends.append(run(name))
        finally:
            connection.close()

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [code for code, _out, _err in ends] == [0, 0], ends
    assert all(is_one_line(out) for _code, out, _err in ends)
    assert run("checkledger")[0] == 0
    monthly = Grant.objects.filter(kind="monthly").count()
    assert monthly == (1 if name == "grantmonthlycredits" else 0)
    assert RecurringRun.objects.count() == (1 if name == "runrecurring" else 0)


@pytest.mark.worker
def test_a_database_that_is_away_is_told_in_one_sentence(place):
    away = "postgresql://nobody:secret@127.0.0.1:9/nothing"

    done = place.run("expirecredits", DATABASE_URL=away)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CommandError: The database does not answer or refuses: ")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


@pytest.mark.worker
def test_two_processes_at_once_do_everything_once(place):
    """Every command of the table, as a process of its own would, on SQLite."""
    place.shell(
        "from accounts.models import Plan, User\n"
        "Plan.objects.update(monthly_credits=100)\n"
        "User.objects.create_user('a@b.example')"
    )
    code = (
        "from django.core.management import call_command\n"
        "from studio.schedule import TABLE\n"
        "for name in ['reconcile', *TABLE]: call_command(name)"
    )

    both = [place.start("shell", "--verbosity", "0", "-c", code) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert [text.count(".\n") for text in said] == [len(schedule.TABLE) + 1] * 2, said
    granted = "SELECT count(*) FROM credits_grant WHERE kind = 'monthly'"
    assert place.rows(granted) == [(1,)]


# --- The schedule -------------------------------------------------------------------------


def test_everything_in_the_schedule_is_a_chore_and_runs_once_on_a_new_site(alice, valkey):
    now = timezone.now()
    assert set(schedule.TABLE) <= set(CHORES)
    assert schedule.run_due(now=now) == list(schedule.TABLE)
    assert schedule.run_due(now=now) == []
    assert set(ScheduledRun.objects.values_list("is_well", flat=True)) == {True}
    assert all(
        is_one_line(f"{line}\n") for line in ScheduledRun.objects.values_list("line", flat=True)
    )


def test_what_was_due_while_nobody_looked_runs_once(alice, valkey):
    now = timezone.now()
    schedule.run_due(now=now - timedelta(days=3))
    assert "checkledger" in schedule.run_due(now=now)
    assert schedule.run_due(now=now) == []


def test_a_run_that_was_cut_off_with_its_scheduler_is_begun_again_after_an_hour(alice, valkey):
    night = datetime(2026, 11, 27, 2, 30, tzinfo=UTC)
    schedule.run_due(now=night)
    ScheduledRun.objects.filter(name="checkledger").update(ended_at=None, is_well=None, line="")

    early = schedule.run_due(now=night + timedelta(hours=1))
    late = schedule.run_due(now=night + timedelta(hours=1, seconds=1))

    assert ("checkledger" in early, "checkledger" in late) == (False, True)
    assert ScheduledRun.objects.get(name="checkledger").is_well
    assert schedule.run_due(now=night + timedelta(hours=1, seconds=2)) == []


def test_a_chore_that_fails_is_noted_and_the_others_run(alice, valkey, monkeypatch):
    def broken(**_):
        raise RuntimeError("no disk")

    monkeypatch.setitem(
        schedule.CHORES, "expirecredits", CHORES["expirecredits"].__class__(broken, "")
    )
    ran = schedule.run_due(now=timezone.now())
    assert ran == list(schedule.TABLE)
    noted = ScheduledRun.objects.get(name="expirecredits")
    assert (noted.is_well, noted.line) == (False, "It failed: RuntimeError: no disk")


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_schedulers_run_a_chore_once(alice, valkey):
    now, ran = timezone.now(), []

    def go() -> None:
        try:
            ran.extend(schedule.run_due(now=now))
        finally:
            connection.close()

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ran) == sorted(schedule.TABLE)


@pytest.mark.django_db(transaction=True)
def test_what_people_gave_a_time_to_waits_for_no_chore_that_takes_long(alice, valkey, monkeypatch):
    assert sorted(chain(*schedule.LANES)) == sorted(schedule.TABLE)
    begun, may_end = threading.Event(), threading.Event()

    def long(**_):
        begun.set()
        assert may_end.wait(60)
        return Outcome("done")

    monkeypatch.setitem(schedule.CHORES, "grantmonthlycredits", Chore(long, ""))
    lanes = [scheduler.on_a_thread(lane) for lane in reversed(schedule.LANES)]
    assert begun.wait(60)
    lanes[1].join(60)
    try:
        assert ScheduledRun.objects.get(name="runrecurring").is_well
        assert lanes[0].is_alive()
    finally:
        may_end.set()
        lanes[0].join(60)
    assert ScheduledRun.objects.filter(is_well=True).count() == len(schedule.TABLE)


# --- Who is told ------------------------------------------------------------------------


def test_what_the_schedule_finds_broken_is_mailed_once_until_it_is_mended(
    alice, bob, valkey, settings, mailoutbox
):
    settings.OPERATORS = ["ops@example.com", "night@example.com"]
    day = datetime(2026, 11, 27, 3, tzinfo=UTC)

    def told(days: int) -> list[str]:
        del mailoutbox[:]
        assert "checkledger" in schedule.run_due(now=day + timedelta(days=days))
        return [mail.body for mail in mailoutbox]

    def available(owner, credit: int) -> None:
        CreditAccount.objects.filter(owner=owner).update(available=credit)

    for owner in (alice, bob):
        ledger.account_for(owner)
    before = {owner: ledger.balance(owner).available for owner in (alice, bob)}
    assert told(0) == []
    available(alice, 7000)
    one, _other = told(1)
    assert [mail.to for mail in mailoutbox] == [["ops@example.com"], ["night@example.com"]]
    assert "7000" in one
    assert "/admin/studio/scheduledrun/" in one
    assert told(2) == [], "they know"
    available(bob, 8000)
    assert ["8000" in body and "7000" not in body for body in told(3)] == [True, True]
    available(alice, before[alice])
    assert told(4) == []
    available(alice, 7000)
    assert "7000" in told(5)[0], "it broke again"


def test_a_finding_is_told_later_where_no_mail_could_be_sent(alice, valkey, settings, mailoutbox):
    settings.OPERATORS = ["ops@example.com"]
    run_ = ScheduledRun.objects.create(name="checkstorage")
    backend = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert findings.tell(run_, ["result 1: the file is missing."]) == 0
    settings.EMAIL_BACKEND = backend
    run_.refresh_from_db()
    assert findings.tell(run_, ["result 1: the file is missing."]) == 1


def test_a_mail_lists_the_first_findings_and_says_how_many_more(db, settings, mailoutbox):
    settings.OPERATORS = ["ops@example.com"]
    run_ = ScheduledRun.objects.create(name="checkstorage")
    assert findings.tell(run_, [f"result {n}: gone." for n in range(25)]) == 25
    [mail] = mailoutbox
    assert mail.subject == "checkstorage found 25 things that must not be"
    assert mail.body.count(": gone.") == findings.LISTED
    assert "and 5 more; run the command by hand to see them." in mail.body
