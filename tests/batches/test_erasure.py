"""Somebody leaves: nothing personal stays, the ledger does, whoever dies on the way."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core import mail
from django.urls import reverse
from django.utils import timezone

from accounts import farewell
from accounts.models import ApiKey, Connection, IdempotencyKey, User, create_key
from batches import erasure, lifecycle, pipeline, storage
from batches.models import Batch, Draft, DraftImage, Item, Original, PartialUpload, Result
from batches.reconcile import reconcile
from batches.states import ItemState
from credits import ledger
from credits.models import LedgerEntry
from tests.batches.races import at_once
from tests.factories import make_batch, make_original, picture

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("fake_tool", "rings_at_once", "no_welcome", "sound", "media"),
]

LEAVE = "/accounts/delete/"
PASSWORD = {"password": "alice's password"}


def files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


def erase(user: User) -> bool:
    """Shut the account and erase it, as the page does."""
    user.refresh_from_db()
    return erasure.leave(user, now=timezone.now())


@pytest.fixture
def finished(alice, run_jobs) -> Batch:
    """A batch of Alice's with real results."""
    batch = lifecycle.start(make_batch(alice, 2))
    run_jobs()
    assert Result.objects.count() == 2
    return batch


@pytest.fixture
def belongings(alice, finished, client) -> None:
    """Whatever else somebody may have: a draft, half an upload, a key, a session, an answer."""
    draft = Draft.objects.create(owner=alice, tool="fake", fields={"batch_name": "secret"})
    DraftImage.objects.create(draft=draft, original=make_original(alice, 9))
    storage.save(storage.ORIGINALS, "piece", b"half a picture")
    PartialUpload.objects.create(owner=alice, name="half.png", length=99, pieces=["piece"])
    create_key(alice, name="shop")
    Connection.objects.create(owner=alice, kind="sirv", name="Shop", sealed_secret="sealed")
    IdempotencyKey.objects.create(
        user=alice, key="k", request_hash="0" * 64, created_at=timezone.now()
    )
    client.force_login(alice)


# --- What goes and what stays ---------------------------------------------------------


def test_nothing_of_what_somebody_had_is_left(alice, belongings, media):
    done = erase(alice)

    assert done
    assert files(media) == []
    for model in (
        Batch,
        Item,
        Result,
        Original,
        Draft,
        DraftImage,
        PartialUpload,
        ApiKey,
        Connection,
        IdempotencyKey,
        Session,
    ):
        assert not model.objects.exists(), model


def test_the_row_stays_without_a_name_and_opens_nothing(alice, belongings, client, api):
    _key, secret = create_key(alice, name="another")

    erase(alice)

    alice.refresh_from_db()
    assert alice.email.endswith("@erased.invalid")
    assert not alice.is_active
    assert not alice.has_usable_password()
    assert client.get("/accounts/").status_code == 302
    assert api.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_the_ledger_stays_and_agrees_with_itself(alice, finished):
    before = list(LedgerEntry.objects.order_by("pk").values())

    erase(alice)

    assert list(LedgerEntry.objects.order_by("pk").values()) == before


def test_what_others_have_stays(alice, bob, finished, media):
    make_original(bob, 5)
    create_key(bob, name="bob's")
    batch = make_batch(bob, 1)
    kept = len(files(media / "originals" / str(bob.uid)))

    erase(alice)

    assert len(files(media)) == kept > 0
    assert list(Batch.objects.all()) == [batch]
    assert ApiKey.objects.usable(now=timezone.now()).get().user == bob


def test_the_sessions_of_others_stay(alice, bob, client):
    client.force_login(bob)

    erase(alice)

    assert client.get("/accounts/").status_code == 200


def test_work_under_way_is_cancelled_and_not_charged(alice, run_jobs):
    batch = lifecycle.start(make_batch(alice, 3))
    had = sum(ledger.balance(alice))
    item = pipeline._claim(batch.items.get(position=0).pk, ItemState.RUNNING)

    erase(alice)
    run_jobs()

    assert ledger.balance(alice) == (had, 0)
    assert not Item.objects.filter(pk=item.pk).exists()


def test_what_staff_noted_about_somebody_goes_as_well(alice, staff):
    about = ContentType.objects.get_for_model(User)
    LogEntry.objects.create(
        user=staff,
        content_type=about,
        object_id=str(alice.pk),
        object_repr=alice.email,
        action_flag=CHANGE,
    )

    erase(alice)

    assert not LogEntry.objects.exists()


def test_the_address_is_free_again(alice):
    erase(alice)

    User.objects.create_user("alice@example.com", "a new beginning")

    assert User.objects.count() == 2


def test_the_last_mail_says_goodbye_once(alice):
    erase(alice)
    erasure.leave(alice, now=timezone.now())

    assert [letter.to for letter in mail.outbox] == [["alice@example.com"]]


# --- Whoever dies on the way ----------------------------------------------------------


STEPS = [
    *("_stop_work", "_erase_uploads", "_erase_batches", "_erase_originals", "_erase_sheets"),
]


@pytest.mark.parametrize("step", STEPS)
def test_who_dies_half_way_is_followed_by_the_scheduler(
    alice, belongings, media, monkeypatch, step
):
    def die(*_args):
        raise RuntimeError("the process dies")

    with monkeypatch.context() as patched:
        patched.setattr(erasure, step, die)
        assert not erase(alice)
    alice.refresh_from_db()
    assert not alice.is_active

    reconcile(now=timezone.now() + farewell.ABANDONED_AFTER)

    alice.refresh_from_db()
    assert alice.email.endswith("@erased.invalid")
    assert files(media) == []


def test_who_dies_between_files_and_rows_leaves_rows_that_find_the_rest(
    alice, finished, media, monkeypatch
):
    deleted = storage.delete

    def delete_one_and_die(alias, *keys):
        deleted(alias, keys[0])
        raise OSError("the storage is away")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "delete", delete_one_and_die)
        assert not erase(alice)
    assert Result.objects.count() == 2

    reconcile(now=timezone.now() + farewell.ABANDONED_AFTER)

    assert files(media) == []


def test_the_scheduler_leaves_alone_what_has_just_begun(alice):
    farewell.begin(alice, now=timezone.now())

    reconcile(now=timezone.now())

    alice.refresh_from_db()
    assert alice.email == "alice@example.com"


def test_more_than_fits_into_a_request_goes_on_later(alice, finished, media, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "BUDGET_SECONDS", -1.0)
        assert not erase(alice)
    assert Batch.objects.exists()

    reconcile(now=timezone.now() + farewell.ABANDONED_AFTER)

    assert files(media) == []
    assert not Batch.objects.exists()


def test_what_a_request_under_way_brought_is_found_by_the_last_look(alice, media):
    erase(alice)
    make_original(alice, 3)

    reconcile(now=timezone.now() + farewell.LAST_LOOK_AFTER)

    alice.refresh_from_db()
    assert files(media) == []
    assert alice.erased_at


def test_after_the_last_look_nobody_looks_again(alice):
    erase(alice)
    later = timezone.now() + farewell.LAST_LOOK_AFTER
    first = erasure.finish(now=later)

    second = erasure.finish(now=later + timedelta(hours=1))

    assert (first, second) == (1, 0)


def test_one_account_that_fails_does_not_stop_the_next(alice, bob, monkeypatch):
    for user in (alice, bob):
        farewell.begin(user, now=timezone.now())
    real = erasure.erase

    def fail_for_alice(user, *, now):
        if user.pk == alice.pk:
            raise OSError("the storage is away")
        return real(user, now=now)

    monkeypatch.setattr(erasure, "erase", fail_for_alice)

    with pytest.raises(OSError, match="away"):
        erasure.finish(now=timezone.now() + farewell.ABANDONED_AFTER)

    bob.refresh_from_db()
    assert bob.email.endswith("@erased.invalid")


@pytest.mark.django_db(transaction=True)
def test_two_who_erase_at_once_finish_one_erasure(alice, finished, media):
    answers = at_once(lambda: erase(alice), lambda: erase(alice))

    assert True in answers
    erasure.finish(now=timezone.now() + farewell.ABANDONED_AFTER)
    alice.refresh_from_db()
    assert alice.email.endswith("@erased.invalid")
    assert files(media) == []
    assert len(mail.outbox) == 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_settles_while_its_owner_leaves_disturbs_nothing(alice, media):
    batch = lifecycle.start(make_batch(alice, 1))
    pk = batch.items.get().pk

    at_once(lambda: pipeline.run(pk), lambda: erase(alice))

    erasure.finish(now=timezone.now() + farewell.LAST_LOOK_AFTER)
    assert not Item.objects.exists()
    assert not Original.objects.exists()


# --- The page -------------------------------------------------------------------------


def test_the_page_says_exactly_what_will_be_lost(client, alice, finished):
    lifecycle.start(make_batch(alice, 1))
    create_key(alice, name="shop")
    client.force_login(alice)

    lost = client.get(LEAVE).context["losses"]

    assert (lost.batches, lost.running, lost.results, lost.keys) == (2, 1, 2, 1)
    assert lost.originals == Original.objects.count()
    assert lost.credits == sum(ledger.balance(alice))


def test_the_password_opens_the_way_out(client, alice, finished):
    client.force_login(alice)

    answer = client.post(LEAVE, PASSWORD, follow=True)

    assert answer.redirect_chain[0][0] == reverse("home")
    assert "Your account is deleted" in answer.content.decode()
    assert not Batch.objects.exists()
    assert not client.login(email="alice@example.com", password="alice's password")


def test_a_wrong_password_deletes_nothing(client, alice):
    client.force_login(alice)

    answer = client.post(LEAVE, {"password": "guess"})

    alice.refresh_from_db()
    assert answer.status_code == 422
    assert alice.is_active


def test_the_last_one_who_runs_the_site_stays(client, staff):
    client.force_login(staff)

    answer = client.post(LEAVE, {"password": "staff's password"})

    staff.refresh_from_db()
    assert answer.status_code == 422
    assert staff.is_active


def test_a_picture_that_is_sent_with_the_key_of_somebody_gone_is_refused(alice, api):
    _key, secret = create_key(alice, name="shop")
    farewell.begin(alice, now=timezone.now())

    answer = api.post(
        "/api/v1/uploads",
        picture(),
        headers={"Authorization": f"Bearer {secret}"},
        content_type="image/png",
    )

    assert answer.status_code == 401
    assert not Original.objects.exists()
