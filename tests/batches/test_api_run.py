"""`run/{tool}`: one image, its result in the answer, with the price and words of a batch."""

import io
import time
from collections.abc import Callable

import django_rq
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from accounts.idempotency import ABANDONED_AFTER
from accounts.models import IdempotencyKey
from batches import lifecycle, pipeline, waiting
from batches.models import Batch, Item, Original
from batches.sources.base import Row
from batches.states import ItemState
from credits import ledger
from tests import clients
from tests.factories import make_original, picture
from tools import registry

pytestmark = pytest.mark.usefixtures("fake_tool", "media", "sound", "valkey")

AT_ONCE = "/api/v1/run/fake?wait=0"


@pytest.fixture
def alices(alice):
    return clients.with_key(alice)


@pytest.fixture
def upload(alice) -> str:
    return str(make_original(alice).uid)


@pytest.fixture
def meanwhile(monkeypatch) -> Callable[[Callable[[], object]], None]:
    """Have something done by others as soon as a request waits for its image."""

    def arrange(rival: Callable[[], object]) -> None:
        monkeypatch.setattr(waiting, "has_gone", lambda _environ: bool(rival() and False))

    return arrange


def work() -> None:
    """What workers do: run whatever waits for an engine."""
    for pk in Item.objects.filter(state=ItemState.FETCHED).values_list("pk", flat=True):
        pipeline.run(pk)


def run(client, body: dict, *, path: str = "/api/v1/run/fake", **headers):
    return client.post(path, body, format="json", **headers)


def send(client, *, path: str = AT_ONCE, data: bytes | None = None, **fields):
    """As a form, with a file where there is one."""
    if data is not None:
        fields["file"] = SimpleUploadedFile("mug.png", data)
    return client.post(path, fields, format="multipart")


def pointers(response) -> list[str]:
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    return [error["pointer"] for error in response.json()["errors"]]


# --- The answer -----------------------------------------------------------------------


def test_an_image_comes_back_done_and_says_what_it_cost(alices, alice, meanwhile):
    meanwhile(work)
    before = ledger.balance(alice).available

    response = send(alices, path="/api/v1/run/fake", data=picture(), settings='{"copies": 2}')

    item = Item.objects.get()
    assert response.status_code == 200
    assert response.json() == alices.get(f"/api/v1/items/{item.uid}").json()
    assert (response.json()["state"], len(response.json()["results"])) == ("done", 2)
    assert response["X-Credits-Charged"] == "2"
    assert response["X-Credits-Remaining"] == str(before - 2)
    assert ledger.balance(alice).available == before - 2


def test_an_image_that_fails_is_an_answer_too_and_costs_nothing(alices, alice, upload, meanwhile):
    meanwhile(work)
    before = ledger.balance(alice).available

    body = {"image": {"upload": upload}, "settings": {"trouble": "permanent"}}
    response = run(alices, body)

    assert (response.status_code, response.json()["state"]) == (200, "failed")
    assert response.json()["error"]["code"] == "no_subject"
    assert response["X-Credits-Charged"] == "0"
    assert response["X-Credits-Remaining"] == str(before)


def test_the_same_work_once_more_is_free_unless_it_is_to_run_again(alices, upload, meanwhile):
    meanwhile(work)
    body = {"image": {"upload": upload}}
    first = run(alices, body)

    again = run(alices, body)
    anew = run(alices, {**body, "reuse": False})

    charged = [response["X-Credits-Charged"] for response in (first, again, anew)]
    assert charged == ["2", "0", "2"]
    assert again.json()["reused_from"] == first.json()["id"]
    assert anew.json()["reused_from"] is None
    assert again.json()["result"]["sha256"] == first.json()["result"]["sha256"]


def test_an_image_that_is_cancelled_is_waited_for_no_longer(alices, upload, meanwhile):
    meanwhile(lambda: lifecycle.cancel(Batch.objects.get()))

    response = run(alices, {"image": {"upload": upload}})

    assert (response.status_code, response.json()["state"]) == (200, "cancelled")
    assert response["X-Credits-Charged"] == "0"


def test_an_image_that_is_deleted_meanwhile_is_not_found(alices, upload, meanwhile):
    meanwhile(lambda: lifecycle.delete(lifecycle.cancel(Batch.objects.get())))

    response = run(alices, {"image": {"upload": upload}})

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_who_hangs_up_is_not_waited_for_and_the_image_goes_on(alices, upload, monkeypatch):
    monkeypatch.setattr(waiting, "has_gone", lambda _environ: True)

    response = run(alices, {"image": {"upload": upload}})
    work()

    assert response.status_code == 202
    assert Item.objects.get().state == ItemState.DONE


def test_an_image_that_takes_longer_goes_on_and_the_answer_says_where(alices, upload):
    response = run(
        alices, {"image": {"upload": upload, "id": "sku-1", "name": "mug"}}, path=AT_ONCE
    )
    work()
    later = alices.get(response["Location"])

    assert response.status_code == 202
    assert (response.json()["state"], response.json()["external_id"]) == ("waiting", "sku-1")
    assert response["X-Credits-Charged"] == "0"
    assert response["Location"] == f"http://testserver/api/v1/items/{response.json()['id']}"
    assert (later.status_code, later.json()["state"]) == (200, "done")
    assert (later.json()["name"], later.json()["credits"]) == ("mug", 2)


def test_who_finds_no_place_to_wait_is_answered_at_once(alices, upload, settings):
    places = [waiting.place() for _ in range(settings.RUN_WAITS)]
    for place in places:
        place.__enter__()
    before = time.monotonic()

    response = run(alices, {"image": {"upload": upload}})
    waited = time.monotonic() - before
    for place in places:
        place.__exit__(None, None, None)

    assert response.status_code == 202
    assert waited < waiting.LONGEST / 2


def test_a_wait_ends_when_the_time_is_up_that_was_asked_for(alices, upload):
    response = run(alices, {"image": {"upload": upload}}, path="/api/v1/run/fake?wait=1")

    assert response.status_code == 202


def test_the_batch_of_one_is_not_among_the_batches(alices, upload):
    run(alices, {"image": {"upload": upload}}, path=AT_ONCE)

    assert Batch.objects.get().single
    assert alices.get("/api/v1/batches").json()["results"] == []


# --- Sent twice -----------------------------------------------------------------------


def test_the_first_answer_is_given_again_also_where_the_image_was_under_way(alices, upload):
    key = {"HTTP_IDEMPOTENCY_KEY": "k1"}
    first = run(alices, {"image": {"upload": upload}}, path=AT_ONCE, **key)
    work()

    # How long one would wait is no part of what is asked for.
    again = run(alices, {"image": {"upload": upload}}, **key)

    assert (first.status_code, again.status_code) == (202, 202)
    assert (again.content, again["Location"]) == (first.content, first["Location"])
    assert again["Idempotent-Replayed"] == "true"
    assert Item.objects.count() == 1
    assert alices.get(again["Location"]).json()["state"] == "done"


def test_a_request_whose_first_run_has_died_finds_its_image(alices, alice):
    data, key = picture(), {"HTTP_IDEMPOTENCY_KEY": "k1"}

    def run_it():
        form = {"file": SimpleUploadedFile("mug.png", data)}
        return alices.post(AT_ONCE, form, format="multipart", **key)

    first = run_it()
    after = ledger.balance(alice)
    # As it is when the process dies before it has noted the answer.
    IdempotencyKey.objects.update(status=None, created_at=timezone.now() - ABANDONED_AFTER)
    work()

    again = run_it()

    assert (first.status_code, again.status_code) == (202, 200)
    assert (again.json()["id"], again.json()["state"]) == (first.json()["id"], "done")
    assert again["X-Credits-Charged"] == "2"
    assert Batch.objects.count() == 1
    assert ledger.balance(alice).available == after.available


def test_the_same_key_with_another_file_is_refused(alices):
    key = {"HTTP_IDEMPOTENCY_KEY": "k1"}
    form = {"file": SimpleUploadedFile("a.png", picture(1))}
    other = {"file": SimpleUploadedFile("a.png", picture(2))}
    alices.post(AT_ONCE, form, format="multipart", **key)

    response = alices.post(AT_ONCE, other, format="multipart", **key)

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_mismatch")


# --- The image ------------------------------------------------------------------------


def test_a_file_is_an_upload_and_identical_bytes_are_one(alices, alice):
    known = make_original(alice, 3)

    response = send(alices, data=picture(3), id="sku-3")

    assert response.status_code == 202
    assert response.json()["external_id"] == "sku-3"
    assert Item.objects.get().original == known == Original.objects.get()


def test_a_form_may_name_an_upload_or_an_address(alices, upload):
    by_upload = send(alices, upload=upload, settings='{"style": "grey"}', reuse="false")
    by_url = send(alices, url="https://a.example.com/mug.png")

    assert (by_upload.status_code, by_url.status_code) == (202, 202)
    assert by_upload.json()["settings"]["style"] == "grey"
    assert by_url.json()["source_url"] == "https://a.example.com/mug.png"
    assert sorted(Batch.objects.values_list("reuse", flat=True)) == [False, True]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        pytest.param(b"", 422, "file_empty", id="nothing"),
        pytest.param(b"%PDF-1.7 " + b"x" * 100, 415, "format_unsupported", id="pdf"),
        pytest.param(picture()[:-40], 422, "file_damaged", id="truncated"),
        pytest.param(b"\0" * (20 * 2**20 + 1), 413, "file_too_large", id="large"),
    ],
)
def test_a_bad_file_is_refused_as_an_upload_is(alices, data, status, code):
    response = send(alices, data=data)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert not Batch.objects.exists()


@pytest.mark.parametrize("secret", ["known", "unknown"])
def test_a_form_that_is_announced_as_too_large_is_not_even_read(alices, secret):
    class Unread(io.BytesIO):
        def read(self, *_args):
            raise AssertionError("the body was read")

    client = alices if secret == "known" else clients.with_secret("sk_live_unknown")
    response = client.generic(
        "POST",
        AT_ONCE,
        content_type="multipart/form-data; boundary=x",
        **{"wsgi.input": Unread(), "CONTENT_LENGTH": str(25 * 2**20)},
    )

    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")


# --- Refused --------------------------------------------------------------------------

UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, ["/image"]),
        ([], [""]),
        ({"image": "https://a.example.com/"}, ["/image"]),
        ({"image": {}}, ["/image"]),
        ({"image": {"url": "https://a.example.com/", "upload": UNKNOWN}}, ["/image"]),
        ({"image": {"url": 7, "settings": {}}}, ["/image/settings", "/image/url"]),
        ({"image": {"url": "ftp://a.example.com/"}}, ["/image/url"]),
        ({"image": {"url": "http://127.0.0.1/"}}, ["/image/url"]),
        ({"image": {"upload": UNKNOWN}}, ["/image/upload"]),
        ({"image": {"url": "https://a.example.com/"}, "wait": 3}, ["/wait"]),
        (
            {
                "image": {"url": "https://a.example.com/"},
                "settings": {"strength": 2, "sparkle": True},
            },
            ["/settings/strength", "/settings/sparkle"],
        ),
    ],
)
def test_what_is_wrong_is_pointed_to_in_this_body(alices, body, wrong):
    response = run(alices, body, path=AT_ONCE)

    assert sorted(pointers(response)) == sorted(wrong)
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, ["/file"]),
        ({"file": "words"}, ["/file"]),
        ({"data": picture(), "url": "https://a.example.com/"}, ["/file"]),
        ({"url": ["https://a.example.com/1", "https://a.example.com/2"]}, ["/url"]),
        ({"url": "http://127.0.0.1/"}, ["/url"]),
        ({"upload": UNKNOWN}, ["/upload"]),
        ({"data": picture(), "settings": "grey"}, ["/settings"]),
        ({"data": picture(), "settings": '{"strength": NaN}'}, ["/settings"]),
        ({"data": picture(), "settings": "[" * 100_000}, ["/settings"]),
        ({"data": picture(), "settings": '{"strength": 2}'}, ["/settings/strength"]),
        ({"data": picture(), "sparkle": "1"}, ["/sparkle"]),
    ],
)
def test_what_is_wrong_in_a_form_is_pointed_to_by_its_field(alices, fields, wrong):
    response = send(alices, **fields)

    assert pointers(response) == wrong
    assert not Batch.objects.exists()
    assert not Original.objects.exists(), "a picture was looked at before it was needed"


def test_a_picture_that_does_not_suit_the_tool_is_pointed_to(alices, alice):
    mask = make_original(alice, 1)
    tool = "/api/v1/run/object-removal?wait=0"
    other = SimpleUploadedFile("other.png", picture(2, size=(40, 40)))
    form = {"file": other, "settings": f'{{"mask": "{mask.uid}"}}'}

    by_form = alices.post(tool, form, format="multipart")
    sent = {"image": {"upload": str(Original.objects.latest("pk").uid)}}
    by_json = run(alices, {**sent, "settings": {"mask": str(mask.uid)}}, path=tool)
    without = run(alices, {**sent, "settings": {"mask": UNKNOWN}}, path=tool)

    assert pointers(by_form) == ["/file"]
    assert pointers(by_json) == ["/image"]
    assert pointers(without) == ["/settings/mask"]


@pytest.mark.parametrize("wait", ["-1", "31", "1.5", "nan", "soon", ""])
def test_nobody_waits_for_longer_than_may_be_or_less_than_nothing(alices, upload, wait):
    response = run(alices, {"image": {"upload": upload}}, path=f"/api/v1/run/fake?wait={wait}")

    assert pointers(response) == ["/wait"]
    assert not Batch.objects.exists()


def test_a_tool_that_there_is_not_is_not_found(alices, upload):
    response = run(alices, {"image": {"upload": upload}}, path="/api/v1/run/sparkle")

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_a_tool_that_can_not_run_here_is_refused(alices, upload):
    body = {"image": {"upload": upload}, "settings": {"trouble": "unavailable"}}

    response = run(alices, body, path=AT_ONCE)

    assert (response.status_code, response.json()["code"]) == (422, "tool_unavailable")


def test_somebody_elses_upload_is_as_good_as_none(bob, upload):
    response = run(clients.with_key(bob), {"image": {"upload": upload}}, path=AT_ONCE)

    assert pointers(response) == ["/image/upload"]


@pytest.mark.usefixtures("no_welcome")
def test_without_credits_nothing_begins(bob):
    response = send(clients.with_key(bob), data=picture())

    assert (response.status_code, response.json()["code"]) == (402, "insufficient_credits")
    assert (response.json()["required"], response.json()["available"]) == (2, 0)
    assert (response["X-Credits-Charged"], response["X-Credits-Remaining"]) == ("0", "0")
    assert not Batch.objects.exists()


def test_what_is_neither_json_nor_a_form_is_not_read(alices):
    response = alices.post(AT_ONCE, "image=x", content_type="application/x-www-form-urlencoded")

    assert (response.status_code, response.json()["code"]) == (415, "format_unsupported")


# --- Beside others --------------------------------------------------------------------


def test_an_image_beside_a_batch_of_two_hundred_is_served_second(
    alices, bob, upload, django_capture_on_commit_callbacks
):
    tool, theirs = registry.get("fake"), str(make_original(bob).uid)
    ledger.grant(bob, 400, kind="admin", key="test")
    with django_capture_on_commit_callbacks(execute=True):
        rows = [Row(upload=theirs)] * 200
        lifecycle.start(lifecycle.create(bob, tool, rows, reuse=False))

    with django_capture_on_commit_callbacks(execute=True):
        response = run(alices, {"image": {"upload": upload}}, path=AT_ONCE)

    for job in django_rq.get_queue("cpu").jobs[:2]:
        pipeline.run(job.kwargs["item_id"])
    mine = Item.objects.get(uid=response.json()["id"])
    assert mine.state == ItemState.DONE
    assert Item.objects.filter(batch__owner=bob, state=ItemState.DONE).count() == 1
