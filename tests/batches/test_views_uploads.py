"""Files in, by pieces: the tus protocol as a browser's script speaks it, and what it is told."""

import hashlib
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from batches import drafts, intake, partials
from batches.models import DraftImage, Original, PartialUpload
from batches.refusals import Refusal
from tests.batches import tus
from tests.factories import make_original, picture
from tools.engines.guard import GuardLost

pytestmark = pytest.mark.usefixtures("fake_tool", "media")

MUG = picture(1)


@pytest.fixture
def browser(client, alice) -> Client:
    """Alice's, signed in."""
    client.force_login(alice)
    return client


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- The protocol ---------------------------------------------------------------------


def test_the_server_says_what_it_can_do_to_anybody(client, db):
    answer = client.options("/uploads/tus/")

    assert answer.status_code == 204
    assert answer["Tus-Version"] == answer["Tus-Resumable"] == "1.0.0"
    assert answer["Tus-Extension"] == "creation,creation-with-upload,termination,expiration"
    assert answer["Tus-Max-Size"] == str(20 * 2**20)


def test_a_file_comes_in_by_pieces_and_becomes_an_original(browser, alice, media):
    created = tus.create(browser, len(MUG), filename="mug.png")
    place = created["Location"]

    first = tus.patch(browser, place, MUG[:100])
    seen = tus.head(browser, place)
    waiting = browser.get(place)
    second = tus.patch(browser, place, MUG[100:], offset=100)
    done = browser.get(place)

    original = Original.objects.get(owner=alice)
    assert (created.status_code, first.status_code, second.status_code) == (201, 204, 204)
    assert (first["Upload-Offset"], second["Upload-Offset"]) == ("100", str(len(MUG)))
    assert (seen.status_code, seen["Upload-Offset"], seen["Upload-Length"]) == (
        200,
        "100",
        str(len(MUG)),
    )
    assert seen["Cache-Control"] == "no-store"
    assert (waiting.status_code, waiting.json()) == (202, {})
    assert (done.status_code, done.json()) == (
        200,
        {
            "upload": str(original.uid),
            "name": "mug.png",
            "thumbnail": f"/uploads/{original.uid}/thumbnail/",
            "width": 64,
            "height": 48,
            "bytes": len(MUG),
            "sha256": hashlib.sha256(MUG).hexdigest(),
        },
    )
    assert files(media / "originals") == sorted([original.key, original.thumbnail_key])


def test_the_first_bytes_may_come_with_the_creation(browser, alice):
    answer = tus.create(browser, len(MUG), data=MUG, filename="mug.png")

    assert (answer.status_code, answer["Upload-Offset"]) == (201, str(len(MUG)))
    assert browser.get(answer["Location"]).json()["name"] == "mug.png"


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_bytes_that_begin_elsewhere_are_refused(browser, kept, media):
    place = tus.create(browser, 10)["Location"]
    if kept:
        tus.patch(browser, place, b"x" * kept)
    before = files(media)

    answer = tus.patch(browser, place, b"abc", offset=kept + 1)

    assert (answer.status_code, answer.json()["code"]) == (409, "offset_conflict")
    assert tus.head(browser, place)["Upload-Offset"] == str(kept)
    assert files(media) == before


def test_more_bytes_than_announced_are_refused_unread(browser, media):
    place = tus.create(browser, 10)["Location"]

    answer = tus.patch(browser, place, b"x" * 11)

    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_bytes")
    assert files(media) == []


def test_bytes_of_another_kind_are_refused(browser):
    place = tus.create(browser, 10)["Location"]

    assert tus.patch(browser, place, b"x", kind="application/octet-stream").status_code == 415


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("post", {"Upload-Length": "ten"}, 400),
        ("post", {}, 400),
        ("post", {"Upload-Length": "-1"}, 400),
        ("post", {"Upload-Length": "9" * 40}, 400),
        ("post", {"Upload-Length": "5", "Upload-Metadata": "filename !!"}, 400),
        ("post", {"Upload-Length": "5", "Upload-Metadata": "filename bXVn bXVn"}, 400),
        ("post", {"Upload-Length": "5", "Tus-Resumable": "0.2.0"}, 412),
        ("put", {}, 405),
    ],
)
def test_what_is_no_tus_is_refused(browser, method, headers, status):
    answer = getattr(browser, method)("/uploads/tus/", headers={**tus.TUS, **headers})

    assert answer.status_code == status
    assert answer["Tus-Resumable"] == "1.0.0"
    assert not PartialUpload.objects.exists()


def test_a_patch_says_where_it_begins(browser):
    place = tus.create(browser, 10)["Location"]

    answer = browser.patch(place, b"x", content_type=tus.BYTES, headers=tus.TUS)

    assert answer.status_code == 400


def test_a_proxy_that_knows_no_patch_is_got_round(browser):
    place = tus.create(browser, len(MUG))["Location"]

    answer = browser.post(
        place,
        MUG,
        content_type=tus.BYTES,
        headers={**tus.TUS, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"},
    )

    assert (answer.status_code, answer["Upload-Offset"]) == (204, str(len(MUG)))


def test_an_upload_that_is_ended_is_gone_with_its_pieces(browser, media):
    place = tus.create(browser, 10)["Location"]
    tus.patch(browser, place, b"12345")
    assert len(files(media)) == 1

    ended = browser.delete(place, headers=tus.TUS)

    assert ended.status_code == 204
    assert files(media) == []
    assert tus.head(browser, place).status_code == 404
    assert tus.patch(browser, place, b"6", offset=5).status_code == 404


def test_an_original_outlives_the_upload_that_it_was(browser, alice):
    place = tus.send(browser, MUG)

    browser.delete(place, headers=tus.TUS)

    assert Original.objects.filter(owner=alice).exists()


def test_the_time_to_resume_is_said(browser):
    answer = tus.create(browser, 10)

    assert answer["Upload-Expires"].endswith("GMT")


# --- What files are refused -----------------------------------------------------------


def test_a_file_that_is_too_long_is_refused_before_its_first_byte(browser, alice):
    answer = tus.create(browser, 20 * 2**20 + 1, filename="huge.png", tool="fake")

    told = answer.json()
    assert answer.status_code == 413
    assert (told["name"], told["code"]) == ("huge.png", "file_too_large")
    assert told["message"].startswith("20.1 MB; the limit is 20 MB.")
    assert Refusal.from_token(told["refused"]).name == "huge.png"
    assert [one.name for one in drafts.contents(alice, "fake").refused] == ["huge.png"]
    assert not PartialUpload.objects.exists()


@pytest.mark.parametrize(
    ("data", "code"), [(b"", "file_empty"), (b"words, words, words", "format_unsupported")]
)
def test_a_file_that_is_no_image_is_refused_at_its_end(browser, alice, data, code, media):
    place = tus.create(browser, len(data), filename="notes.png", tool="fake")["Location"]
    if data:
        tus.patch(browser, place, data)

    answer = browser.get(place)

    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["code"]) == ("notes.png", code)
    assert answer.json()["message"]
    assert [one.code for one in drafts.contents(alice, "fake").refused] == [code]
    assert files(media) == []


def test_too_many_open_uploads_are_refused_in_words(browser, monkeypatch):
    monkeypatch.setattr(partials, "MOST_OPEN", 2)
    done = tus.send(browser, MUG)
    first = tus.create(browser, 10)["Location"]
    tus.create(browser, 10)

    refused = tus.create(browser, 10)
    browser.delete(first, headers=tus.TUS)

    assert (refused.status_code, refused.json()["code"]) == (422, "too_many_uploads")
    assert tus.create(browser, 10).status_code == 201
    assert browser.get(done).status_code == 200


def test_open_uploads_may_not_come_to_more_than_so_many_bytes(browser, bob, monkeypatch):
    monkeypatch.setattr(partials, "MOST_BYTES", 100)
    tus.create(browser, 60)

    refused = tus.create(browser, 41)
    allowed = tus.create(browser, 40)
    browser.force_login(bob)

    assert (refused.status_code, allowed.status_code) == (422, 201)
    assert tus.create(browser, 100).status_code == 201


def test_names_of_files_are_made_safe(browser):
    place = tus.send(browser, MUG, filename="../../etc/mug\u202egnp.png")

    assert browser.get(place).json()["name"] == "muggnp.png"


# --- The page that it was dropped on --------------------------------------------------


def test_what_came_in_is_on_its_tools_page_and_on_no_other(browser, alice):
    tus.send(browser, MUG, filename="mug.png", tool="fake")
    tus.send(browser, picture(2), filename="cup.png", tool="nothing")
    tus.send(browser, picture(3), filename="pot.png")

    assert [one.name for one in drafts.contents(alice, "fake").originals] == ["mug.png"]
    assert DraftImage.objects.count() == 1


def test_the_same_picture_twice_is_on_the_page_once(browser, alice):
    for name in ("mug.png", "mug copy.png"):
        tus.send(browser, MUG, filename=name, tool="fake")

    assert [one.name for one in drafts.contents(alice, "fake").originals] == ["mug copy.png"]


def test_files_that_were_sent_before_need_not_be_sent_again(browser, alice, bob):
    mine, theirs = make_original(alice, 1, name="old.png"), make_original(bob, 2)
    asked = [
        {"sha256": mine.sha256.upper(), "name": "../new.png"},
        {"sha256": theirs.sha256, "name": "theirs.png"},
        {"sha256": "0" * 64},
    ]

    answer = browser.post(
        "/uploads/known/", {"tool": "fake", "files": asked}, content_type="application/json"
    )

    assert list(answer.json()["known"]) == [mine.sha256]
    known = answer.json()["known"][mine.sha256]
    assert (known["upload"], known["name"]) == (str(mine.uid), "new.png")
    assert drafts.contents(alice, "fake").originals == [mine]


@pytest.mark.parametrize(
    "body",
    [[], {"files": "x"}, {"files": [1]}, {"files": [{"sha256": 1}]}, {"files": [{}] * 501}, "{"],
)
def test_what_is_no_list_of_files_is_refused(browser, body):
    answer = browser.post("/uploads/known/", body, content_type="application/json")

    assert answer.status_code == 400


def test_asking_for_500_files_takes_as_few_queries_as_for_one(
    browser, alice, django_assert_max_num_queries
):
    own = [make_original(alice, number) for number in range(3)]
    asked = [{"sha256": one.sha256, "name": one.name} for one in own]
    asked += [{"sha256": f"{number:064}"} for number in range(497)]

    with django_assert_max_num_queries(12):
        answer = browser.post(
            "/uploads/known/", {"tool": "fake", "files": asked}, content_type="application/json"
        )

    assert len(answer.json()["known"]) == 3


# --- When something goes wrong --------------------------------------------------------


def test_a_file_that_could_not_be_judged_is_judged_when_it_is_asked_for(
    browser, alice, monkeypatch
):
    def lost(*_args, **_options):
        raise GuardLost("the guard is gone")

    with monkeypatch.context() as broken:
        broken.setattr(intake.guard, "inspect", lost)
        place = tus.create(browser, len(MUG), filename="mug.png", tool="fake")["Location"]
        sent = tus.patch(browser, place, MUG)
        early = browser.get(place)

    late = browser.get(place)

    assert (sent.status_code, sent["Upload-Offset"]) == (204, str(len(MUG)))
    assert (early.status_code, early["Retry-After"]) == (503, "5")
    assert (late.status_code, late.json()["name"]) == (200, "mug.png")
    assert len(drafts.contents(alice, "fake").originals) == 1


def test_an_outcome_whose_original_was_deleted_is_gone(browser):
    place = tus.send(browser, MUG)
    Original.objects.all().delete()

    assert browser.get(place).status_code == 404


def test_an_expired_upload_is_gone(browser):
    place = tus.create(browser, 10)["Location"]

    partials.prune(now=timezone.now() + timedelta(hours=25))

    assert tus.head(browser, place).status_code == 404


# --- Who may --------------------------------------------------------------------------


def test_somebody_elses_upload_does_not_exist(browser, bob):
    place = tus.create(browser, 10)["Location"]
    browser.force_login(bob)

    answers = [
        tus.head(browser, place),
        tus.patch(browser, place, b"x"),
        browser.delete(place, headers=tus.TUS),
        browser.get(place),
    ]

    assert [answer.status_code for answer in answers] == [404] * 4
    assert PartialUpload.objects.get().offset == 0


def test_scripts_of_strangers_are_told_to_sign_in(client, db):
    somewhere = f"/uploads/tus/{uuid.uuid4()}/"

    answers = [
        tus.create(client, 10),
        tus.patch(client, somewhere, b"x"),
        client.get(somewhere),
        client.delete(somewhere, headers=tus.TUS),
        client.post("/uploads/known/", {}, content_type="application/json"),
    ]

    assert [answer.status_code for answer in answers] == [401] * 5
    assert {answer.json()["code"] for answer in answers} == {"not_authenticated"}


@pytest.mark.parametrize("method", ["post", "patch", "delete"])
def test_requests_from_elsewhere_are_refused(alice, method):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    partial = PartialUpload.objects.create(owner=alice, name="mug.png", length=10)
    place = "/uploads/tus/" if method == "post" else f"/uploads/tus/{partial.uid}/"

    answer = getattr(strict, method)(
        place, headers={**tus.TUS, "Upload-Length": "5", "Upload-Offset": "0"}
    )

    assert answer.status_code == 403
    assert PartialUpload.objects.get() == partial


def test_the_five_hundredth_upload_costs_what_the_first_did(
    browser, alice, django_assert_num_queries, django_assert_max_num_queries
):
    def one(number: int) -> None:
        data = picture(number)
        place = tus.create(browser, len(data), data=data, tool="fake")["Location"]
        browser.get(place)

    one(0)
    with django_assert_max_num_queries(32) as first:
        one(1)
    many = [PartialUpload(owner=alice, name="x", length=1, outcome={}) for _ in range(500)]
    PartialUpload.objects.bulk_create(many)

    with django_assert_num_queries(len(first)):
        one(2)
