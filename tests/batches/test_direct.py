"""Uploads straight to the storage: the bucket takes one file of one length, we take it in once.

Whoever sends is a plain HTTP client that does what it was answered, and nothing of boto's.
"""

import hashlib
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.utils import timezone

from accounts.models import User
from batches import direct, erasure, partials, reconcile, storage
from batches.models import Original, PartialUpload
from batches.storage import ORIGINALS
from tests import clients
from tests.batches.races import at_once
from tests.batches.test_api_uploads import animation
from tests.factories import picture

ADDRESS = "/api/v1/uploads/direct"
MUG = picture(1)


@pytest.fixture
def alices(alice):
    return clients.with_key(alice)


def ask(client, data: bytes = MUG, **wishes):
    body = {"name": "mug.png", "bytes": len(data), **wishes}
    return client.post(ADDRESS, body, format="json")


def ticket_for(client, data: bytes = MUG, **wishes) -> dict:
    response = ask(client, data, **wishes)
    assert response.status_code == 201, response.content
    return response.json()


def send(ticket: dict, data: bytes = MUG, **changes) -> int:
    """What the bucket answers to a request that is as the ticket says, but for the changes."""
    asked = {**{name: ticket[name] for name in ("method", "url", "headers")}, **changes}
    return httpx.request(**asked, content=data, trust_env=False).status_code


def sent(client, data: bytes = MUG, **wishes) -> dict:
    ticket = ticket_for(client, data, **wishes)
    assert send(ticket, data) == 200
    return ticket


def code_of(response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def keys(s3) -> list[str]:
    listed = s3.client.list_objects_v2(Bucket="originals")
    return [entry["Key"] for entry in listed.get("Contents", ())]


def pieces(s3) -> list[str]:
    return [key for key in keys(s3) if key.endswith(storage.PIECE)]


# --- The way it is meant ----------------------------------------------------------------


def test_a_file_that_was_sent_to_the_bucket_is_an_upload_like_every_other(alices, on_s3):
    ticket = ticket_for(alices, name="Zoë/mug.png", content_type="image/png")

    assert send(ticket) == 200
    response = alices.post(ticket["complete"])

    original = Original.objects.get()
    assert response.status_code == 201
    assert response.json() == {
        "id": str(original.uid),
        "name": "mug.png",
        "bytes": len(MUG),
        "width": 64,
        "height": 48,
        "format": "png",
        "sha256": hashlib.sha256(MUG).hexdigest(),
        "url": f"http://testserver/api/v1/uploads/{original.uid}/file",
    }
    assert sorted(keys(on_s3)) == sorted([original.key, original.thumbnail_key])
    assert storage.read(ORIGINALS, original.key) == MUG
    assert alices.get(f"/api/v1/uploads/{original.uid}").json() == response.json()


def test_a_ticket_says_all_that_a_client_must_know_and_keeps_the_secret(alices, on_s3):
    before = timezone.now()

    ticket = ticket_for(alices, content_type="image/png")

    address = urlsplit(ticket["url"])
    assert sorted(ticket) == ["complete", "expires_at", "headers", "id", "method", "url"]
    assert ticket["method"] == "PUT"
    assert ticket["headers"] == {"Content-Length": str(len(MUG)), "Content-Type": "image/png"}
    assert ticket["complete"] == f"http://testserver{ADDRESS}/{ticket['id']}/complete"
    assert f"http://{address.netloc}" == on_s3.url
    assert parse_qs(address.query)["X-Amz-SignedHeaders"] == ["content-length;content-type;host"]
    assert parse_qs(address.query)["X-Amz-Expires"] == ["3600"]
    expires = PartialUpload.objects.get().updated_at + timedelta(hours=1)
    assert ticket["expires_at"] == expires.isoformat().replace("+00:00", "Z")
    assert expires - before < timedelta(hours=1, seconds=5)


def test_one_download_takes_a_file_in(alices, on_s3):
    ticket = sent(alices)
    on_s3.requests.clear()

    alices.post(ticket["complete"])

    assert [asked.split()[0] for asked in on_s3.requests] == ["GET", "PUT", "PUT", "DELETE"]


def test_clients_may_reach_the_bucket_at_another_address_than_the_site(alices, on_s3, settings):
    from studio import buckets

    public = on_s3.url.replace("127.0.0.1", "localhost")
    settings.STORAGES = {
        **settings.STORAGES,
        "direct": buckets.options("originals", endpoint=public),
    }

    ticket = sent(alices)

    assert ticket["url"].startswith(f"{public}/originals/")
    assert alices.post(ticket["complete"]).status_code == 201


# --- What the bucket refuses ------------------------------------------------------------


@pytest.mark.parametrize("length", [0, len(MUG) - 1, len(MUG) + 1, 21 * 2**20])
def test_the_bucket_takes_no_other_length(alices, on_s3, length):
    ticket = ticket_for(alices)
    data = MUG[:length] + b"\0" * (length - len(MUG))

    assert send(ticket, data, headers={}) == 403
    assert keys(on_s3) == []


def test_the_bucket_takes_nothing_whose_length_is_not_said(alices, on_s3):
    ticket = ticket_for(alices)

    assert send(ticket, iter([MUG]), headers={}) == 403


def test_the_bucket_takes_no_other_type_where_one_was_given(alices, on_s3):
    ticket = ticket_for(alices, content_type="image/png")

    assert send(ticket, headers={**ticket["headers"], "Content-Type": "text/html"}) == 403


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_the_address_is_good_for_nothing_but_putting(alices, on_s3, method):
    ticket = sent(alices)

    assert send(ticket, method=method) == 403
    assert len(keys(on_s3)) == 1


def test_the_address_is_good_for_no_other_name(alices, on_s3):
    ticket = ticket_for(alices)
    path = urlsplit(ticket["url"]).path

    for other in ("/originals/other.png", path + "x", path.replace("/originals/", "/results/")):
        assert send(ticket, url=ticket["url"].replace(path, other)) == 403


def test_the_address_ends_after_an_hour(alices, on_s3):
    ticket = ticket_for(alices)

    on_s3.clock_is_off_by = timedelta(minutes=59)
    assert send(ticket) == 200
    on_s3.clock_is_off_by = timedelta(minutes=61)
    assert send(ticket) == 403


# --- What we refuse ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "status", "code"),
    [
        (20 * 2**20 + 1, 413, "file_too_large"),
        (2**62, 413, "file_too_large"),
        (0, 422, "file_empty"),
    ],
)
def test_a_length_that_no_image_may_have_gets_no_address(alices, on_s3, length, status, code):
    response = ask(alices, bytes=length)

    assert code_of(response) == (status, code)
    assert not PartialUpload.objects.exists()


@pytest.mark.parametrize(
    ("wish", "value"),
    [
        ("bytes", None),
        ("bytes", -1),
        ("bytes", 2**64),
        ("name", ""),
        ("name", "n" * 1001),
        ("content_type", "image/png\r\nX-Amz-Acl: public-read"),
        ("content_type", "image"),
        ("sha256", "abc"),
        ("key", "elsewhere.png"),
    ],
)
def test_a_wish_that_makes_no_sense_is_named(alices, on_s3, wish, value):
    response = ask(alices, **{wish: value})

    assert code_of(response) == (422, "validation_failed")
    assert response.json()["errors"][0]["pointer"] == f"/{wish}"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        pytest.param(b"just some words " * 20, 415, "format_unsupported", id="text"),
        pytest.param(MUG[:-40], 422, "file_damaged", id="truncated"),
        pytest.param(animation(), 422, "image_animated", id="animated"),
    ],
)
def test_a_bad_file_is_refused_by_its_content_and_removed(alices, on_s3, data, status, code):
    ticket = sent(alices, data, content_type="image/png")

    first, again = (alices.post(ticket["complete"]) for _ in range(2))

    assert code_of(first) == code_of(again) == (status, code)
    assert keys(on_s3) == []
    assert not Original.objects.exists()


def test_a_file_with_another_sha256_is_refused_and_removed(alices, on_s3):
    ticket = sent(alices, sha256=hashlib.sha256(picture(2)).hexdigest())

    response = alices.post(ticket["complete"])

    assert code_of(response) == (422, "upload_differs")
    assert keys(on_s3) == []


def test_a_file_with_its_own_sha256_is_taken(alices, on_s3):
    ticket = sent(alices, sha256=hashlib.sha256(MUG).hexdigest().upper())

    assert alices.post(ticket["complete"]).status_code == 201


def test_what_a_careless_server_took_beyond_the_limit_is_neither_read_nor_kept(alices, on_s3):
    ticket = ticket_for(alices)
    (key,) = PartialUpload.objects.get().pieces
    on_s3.client.put_object(Bucket="originals", Key=key, Body=MUG + b"\0" * 30 * 2**20)

    response = alices.post(ticket["complete"])

    assert code_of(response) == (422, "upload_differs")
    assert keys(on_s3) == []
    storage.save(ORIGINALS, "large", bytes(2**20))
    assert len(storage.read_at_most(ORIGINALS, "large", 1000)) == 1000


def test_an_answer_that_breaks_off_says_nothing_of_the_file(alices, on_s3):
    ticket = sent(alices, data := MUG + b"\0" * 100_000)
    alices.raise_request_exception = False
    on_s3.faults = [("GET", storage.PIECE, "cut")]

    broken = alices.post(ticket["complete"])
    whole = alices.post(ticket["complete"])

    assert broken.status_code >= 500
    assert whole.status_code == 201
    assert whole.json()["bytes"] == len(data)


# --- Before, twice, too late ------------------------------------------------------------


def test_a_file_that_is_not_there_yet_can_be_completed_when_it_is(alices, on_s3):
    ticket = ticket_for(alices)

    early = alices.post(ticket["complete"])
    assert code_of(early) == (409, "direct_upload_missing")

    assert send(ticket) == 200
    assert alices.post(ticket["complete"]).status_code == 201


def test_what_never_came_can_not_come_after_the_address_has_ended(alices, on_s3):
    ticket = ticket_for(alices)
    PartialUpload.objects.update(updated_at=timezone.now() - direct.OPEN_FOR)

    assert code_of(alices.post(ticket["complete"])) == (409, "direct_upload_expired")


def test_what_came_in_time_may_be_completed_later(alices, on_s3):
    ticket = sent(alices)
    PartialUpload.objects.update(updated_at=timezone.now() - timedelta(hours=20))

    assert alices.post(ticket["complete"]).status_code == 201


def test_completing_again_is_the_same_upload(alices, on_s3):
    ticket = sent(alices)

    first, again = (alices.post(ticket["complete"]) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert Original.objects.count() == 1


def test_an_identical_file_that_is_there_already_is_that_one(alices, alice, on_s3):
    first = sent(alices)
    one = alices.post(first["complete"]).json()
    second = sent(alices, name="cup.png")

    response = alices.post(second["complete"])

    assert response.status_code == 200
    assert response.json() == {**one, "name": "cup.png"}
    assert pieces(on_s3) == []


@pytest.mark.django_db(transaction=True)
def test_of_two_that_complete_at_once_both_get_the_one_upload(alice, on_s3):
    ticket = sent(clients.with_key(alice))

    def complete():
        return clients.with_key(alice).post(ticket["complete"])

    answers = at_once(complete, complete)

    assert sorted(answer.status_code for answer in answers) == [200, 201]
    assert answers[0].json() == answers[1].json()
    assert Original.objects.count() == 1
    assert len(keys(on_s3)) == 2


def test_whoever_writes_again_after_the_file_was_taken_changes_nothing(alices, on_s3):
    ticket = sent(alices)
    taken = alices.post(ticket["complete"]).json()

    assert send(ticket, b"x" * len(MUG)) == 200
    again = alices.post(ticket["complete"])

    assert again.json() == taken
    assert storage.read(ORIGINALS, Original.objects.get().key) == MUG
    later = timezone.now() + reconcile.ORPHAN_AGE + timedelta(minutes=1)
    assert reconcile.sweep_orphans(now=later) == 1
    assert pieces(on_s3) == []


def test_an_upload_that_was_deleted_since_is_not_found(alices, on_s3):
    ticket = sent(alices)
    alices.post(ticket["complete"])
    Original.objects.all().delete()

    assert code_of(alices.post(ticket["complete"])) == (404, "not_found")


def test_a_ticket_that_goes_while_it_is_completed_is_not_found(alice, alices, on_s3):
    sent(alices)
    ticket = PartialUpload.objects.select_related("owner").get()
    partials.prune(now=timezone.now() + partials.KEPT_FOR + timedelta(minutes=1))

    with pytest.raises(partials.Gone):
        direct.complete(ticket)
    assert not Original.objects.exists()


# --- Whose it is, and what is left of it ------------------------------------------------


def test_a_site_on_a_disk_says_so_and_where_to_send_the_file(alices):
    response = ask(alices)

    assert code_of(response) == (409, "direct_upload_unavailable")
    assert "“uploads”" in response.json()["detail"]


def test_a_client_finds_out_beforehand(alices, on_s3, settings):
    assert alices.get("/api/v1/me").json()["limits"]["direct_uploads"] is True

    settings.STORAGES = {key: value for key, value in settings.STORAGES.items() if key != "direct"}
    assert alices.get("/api/v1/me").json()["limits"]["direct_uploads"] is False


def test_somebody_elses_ticket_is_not_there(alices, bob, on_s3):
    ticket = sent(alices)

    response = clients.with_key(bob).post(ticket["complete"])

    assert code_of(response) == (404, "not_found")
    assert len(pieces(on_s3)) == 1


def test_a_ticket_is_none_of_the_pages_uploads_by_pieces(alice, alices, on_s3):
    ticket = ticket_for(alices)
    page = clients.with_session(alice, csrf=False)
    headers = {"HTTP_TUS_RESUMABLE": "1.0.0", "HTTP_UPLOAD_OFFSET": "0"}

    for method in ("HEAD", "PATCH", "DELETE"):
        answer = page.generic(
            method,
            f"/uploads/tus/{ticket['id']}/",
            content_type="application/offset+octet-stream",
            **headers,
        )
        assert answer.status_code == 404
    assert PartialUpload.objects.exists()


def test_nobody_has_more_than_so_many_tickets_open(alices, on_s3, monkeypatch):
    monkeypatch.setattr(partials, "MOST_OPEN", 2)
    first, _second = sent(alices), ticket_for(alices)

    assert code_of(ask(alices)) == (422, "too_many_uploads")

    alices.post(first["complete"])
    assert ask(alices).status_code == 201


def test_a_ticket_that_is_asked_for_twice_with_one_key_is_one(alices, on_s3):
    body = {"name": "mug.png", "bytes": len(MUG)}
    first, again = (
        alices.post(ADDRESS, body, format="json", HTTP_IDEMPOTENCY_KEY="k1") for _ in range(2)
    )

    assert first.content == again.content
    assert PartialUpload.objects.count() == 1


def test_what_nobody_completes_is_forgotten_with_its_file(alices, on_s3):
    sent(alices)
    ticket_for(alices)

    soon = timezone.now() + timedelta(hours=2)
    assert (partials.prune(now=soon), reconcile.sweep_orphans(now=soon)) == (0, 0)
    late = timezone.now() + partials.KEPT_FOR + timedelta(minutes=1)
    assert partials.prune(now=late) == 2
    assert keys(on_s3) == []


def test_whoever_leaves_takes_what_was_on_its_way_along(alice, alices, on_s3):
    sent(alices)
    done = sent(alices, picture(2))
    alices.post(done["complete"])

    erasure.leave(User.objects.get(pk=alice.pk), now=timezone.now())

    assert keys(on_s3) == []
    assert not PartialUpload.objects.exists()
