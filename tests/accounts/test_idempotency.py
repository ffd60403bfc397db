"""A request that is sent twice does its work once."""

import threading
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import idempotency
from accounts.models import IdempotencyKey, create_key
from tests.accounts import urls

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.accounts.urls")]


@pytest.fixture(autouse=True)
def nothing_ran():
    urls.ran.clear()
    urls.ids.clear()
    yield
    urls.meanwhile.clear()


@pytest.fixture
def client(alice):
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {create_key(alice, name='Laptop')[1]}")
    return client


def send(client, body=None, *, key="once", path="/work", **extra):
    headers = {"HTTP_IDEMPOTENCY_KEY": key} if key is not None else {}
    return client.post(path, body or {}, format="json", **headers, **extra)


class TestReplay:
    def test_the_same_request_gets_the_first_answer_again(self, client):
        first = send(client, {"do": "it"})

        again = send(client, {"do": "it"})

        assert urls.ran == [None]
        assert (again.status_code, again.content) == (201, first.content)
        assert again["Content-Type"] == first["Content-Type"] == "application/json"
        assert again["Location"] == first["Location"] == "/work/1"
        assert again["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first

    def test_without_a_key_every_request_runs(self, client):
        send(client, key=None)
        send(client, key=None)

        assert len(urls.ran) == 2
        assert not IdempotencyKey.objects.exists()

    def test_another_key_is_another_request(self, client):
        send(client, key="one")
        send(client, key="other")

        assert len(urls.ran) == 2

    def test_a_key_belongs_to_its_user(self, client, bob):
        send(client)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {create_key(bob, name='Laptop')[1]}")

        first = send(client)
        again = send(client)

        assert first.json()["turn"] == again.json()["turn"] == 2
        assert "Idempotent-Replayed" not in first
        assert again["Idempotent-Replayed"] == "true"

    @pytest.mark.parametrize(
        ("do", "status", "code"),
        [
            ("refuse", 403, "permission_denied"),
            ("miss", 404, "not_found"),
            ("run dry", 402, "insufficient_credits"),
        ],
    )
    def test_a_refusal_is_an_answer_too(self, client, do, status, code):
        first = send(client, {"do": do})

        again = send(client, {"do": do})

        assert (first.status_code, first.json()["code"]) == (status, code)
        assert (again.status_code, again.content) == (status, first.content)
        assert again["Content-Type"] == "application/problem+json"
        assert len(urls.ran) == 1

    @pytest.mark.parametrize(("do", "status"), [("fail", 503), ("crash", 500), ("slow down", 429)])
    def test_what_asks_to_try_again_may_be_tried_again(self, client, do, status):
        assert send(client, {"do": do}).status_code == status

        assert send(client, {"do": do}).status_code == status

        assert len(urls.ran) == 2
        assert IdempotencyKey.objects.get().status is None

    def test_what_failed_on_our_side_keeps_its_key(self, client):
        send(client, {"do": "fail"})

        assert send(client, {"do": "it"}).json()["code"] == "idempotency_mismatch"

    def test_somebody_who_is_not_let_in_leaves_no_trace(self, api):
        assert send(api).status_code == 401
        assert not IdempotencyKey.objects.exists()

    def test_after_a_day_the_key_is_free_again(self, client):
        send(client)
        IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24))

        answer = send(client, {"do": "something else"})

        assert answer.status_code == 201
        assert "Idempotent-Replayed" not in answer
        assert IdempotencyKey.objects.count() == 1

    def test_a_minute_before_it_is_not(self, client):
        send(client)
        IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))

        assert send(client)["Idempotent-Replayed"] == "true"


class TestMismatch:
    def test_another_body_is_refused(self, client):
        send(client, {"do": "one"})

        answer = send(client, {"do": "other"})

        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
        assert len(urls.ran) == 1

    def test_another_address_is_refused(self, client):
        send(client)

        assert send(client, path="/work/2").json()["code"] == "idempotency_mismatch"
        assert urls.ran == [None]

    def test_a_mismatch_does_not_spoil_the_first_answer(self, client):
        send(client, {"do": "one"})
        send(client, {"do": "other"})

        assert send(client, {"do": "one"})["Idempotent-Replayed"] == "true"

    @pytest.mark.parametrize("key", ["", "k" * 256, "käse", "a\tb"])
    def test_what_cannot_be_a_key_is_refused(self, client, key):
        answer = send(client, key=key)

        assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
        assert urls.ran == []

    def test_a_key_may_be_long(self, client):
        assert send(client, key="k" * 255).status_code == 201

    def test_a_body_that_is_too_long_to_keep_in_memory_is_refused(self, client, settings):
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100

        answer = send(client, {"do": "x" * 100})

        assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
        assert urls.ran == []


class TestForms:
    def upload(self, client, content=b"cat", *, name="cat.png", **fields):
        return client.post(
            "/work",
            {"file": SimpleUploadedFile(name, content), **fields},
            format="multipart",
            HTTP_IDEMPOTENCY_KEY="once",
        )

    def test_the_same_file_is_the_same_request_whatever_the_boundary(self, client):
        first = self.upload(client, tool="upscale")
        boundary = "another"
        body = (
            f"--{boundary}\r\nContent-Disposition: form-data; name=tool\r\n\r\nupscale\r\n"
            f"--{boundary}\r\nContent-Disposition: form-data; name=file; filename=cat.png\r\n\r\n"
            f"cat\r\n--{boundary}--\r\n"
        )

        again = client.generic(
            "POST",
            "/work",
            body,
            content_type=f"multipart/form-data; boundary={boundary}",
            HTTP_IDEMPOTENCY_KEY="once",
        )

        assert first.status_code == 201
        assert (again.status_code, again.content) == (201, first.content)
        assert len(urls.ran) == 1

    def test_the_view_can_still_read_the_file(self, client):
        assert self.upload(client).json()["file"] == "cat"

    @pytest.mark.parametrize(
        "other",
        [
            {"content": b"dog"},
            {"name": "dog.png"},
            {"tool": "upscale"},
            {"mode": ["a", "b"]},
        ],
    )
    def test_another_form_is_another_request(self, client, other):
        self.upload(client)

        answer = self.upload(client, **other)

        assert answer.json()["code"] == "idempotency_mismatch"
        assert len(urls.ran) == 1

    def test_fields_cannot_be_shuffled_into_one_another(self, client):
        self.upload(client, a="bc")

        assert self.upload(client, ab="c").json()["code"] == "idempotency_mismatch"


class TestInFlight:
    def test_a_second_request_during_the_first_is_told_to_wait(self, client):
        answers = []
        urls.meanwhile.append(lambda: (urls.meanwhile.clear(), answers.append(send(client))))

        first = send(client)

        [meanwhile] = answers
        assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "idempotency_in_flight")
        assert first.status_code == 201
        assert len(urls.ran) == 1

    def test_the_wait_is_over_when_the_first_is_answered(self, client):
        urls.meanwhile.append(lambda: (urls.meanwhile.clear(), send(client)))
        first = send(client)

        again = send(client)

        assert (again.status_code, again.content) == (201, first.content)

    def test_a_request_that_died_is_run_anew_after_a_while(self, client):
        send(client)
        died = timezone.now() - idempotency.ABANDONED_AFTER
        IdempotencyKey.objects.update(status=None, created_at=died)

        answer = send(client)

        assert answer.status_code == 201
        assert "Idempotent-Replayed" not in answer
        assert send(client).content == answer.content
        assert len(urls.ran) == 2

    def test_a_request_that_comes_back_from_the_dead_does_not_overwrite_the_answer(self, client):
        def oversleep():
            urls.meanwhile.clear()
            IdempotencyKey.objects.update(created_at=timezone.now() - idempotency.ABANDONED_AFTER)
            send(client)  # somebody takes over and is done before we wake up

        urls.meanwhile.append(oversleep)

        late = send(client)

        assert late.json()["turn"] == 1
        assert send(client).json()["turn"] == 2
        assert IdempotencyKey.objects.get().status == 201
        assert len(urls.ran) == 2

    @pytest.mark.parametrize("do", ["it", "crash"])
    def test_who_comes_back_from_the_dead_leaves_the_row_to_whoever_took_over(self, client, do):
        taken_over = timezone.now() + timedelta(seconds=1)
        urls.meanwhile.append(lambda: IdempotencyKey.objects.update(created_at=taken_over))

        send(client, {"do": do})

        row = IdempotencyKey.objects.get()
        assert (row.status, row.created_at) == (None, taken_over)

    def test_what_is_made_has_the_same_id_in_each_run_of_one_request(self, client):
        send(client, {"do": "fail"})
        send(client, {"do": "fail"})
        IdempotencyKey.objects.update(created_at=timezone.now() - idempotency.ABANDONED_AFTER)
        send(client, {"do": "fail"})

        assert len(urls.ids) == 3
        assert len(set(urls.ids)) == 1

    def test_and_another_one_in_another_request(self, client, bob):
        send(client)
        send(client, key="other")
        IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24))
        send(client)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {create_key(bob, name='Laptop')[1]}")
        send(client)
        send(client, key=None)

        assert len(set(urls.ids)) == 5
        assert urls.ids[-1] is None

    def test_an_abandoned_request_with_another_body_is_still_another_request(self, client):
        send(client, {"do": "one"})
        IdempotencyKey.objects.update(
            status=None, created_at=timezone.now() - idempotency.ABANDONED_AFTER
        )

        assert send(client, {"do": "other"}).json()["code"] == "idempotency_mismatch"


@pytest.mark.django_db(transaction=True)
def test_of_eight_requests_at_once_one_runs(alice):
    secret = create_key(alice, name="Laptop")[1]
    all_are_here = threading.Barrier(8)
    others_are_answered = threading.Event()
    urls.meanwhile.append(lambda: others_are_answered.wait(20))
    answers = []

    def ask():
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        all_are_here.wait()
        answers.append(send(client).status_code)
        if len(answers) == 7:
            others_are_answered.set()
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [201] + [409] * 7
    assert len(urls.ran) == 1
    assert IdempotencyKey.objects.get().status == 201


def test_answers_are_pruned_after_a_day(alice):
    now = timezone.now()
    for name, age in {"old": 24, "young": 23}.items():
        IdempotencyKey.objects.create(
            user=alice, key=name, request_hash="", created_at=now - timedelta(hours=age)
        )

    assert idempotency.prune(now=now) == 1

    assert IdempotencyKey.objects.get().key == "young"
