"""A request that is sent again after something broke makes no second batch and no second hold."""

import json
import signal
import subprocess

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.utils import timezone

from accounts import idempotency
from accounts.models import SCOPES, IdempotencyKey, create_key
from batches import api, import_api, run_api
from batches.models import Batch, Item
from credits import ledger
from studio.supervisor import manage
from tests import clients

pytestmark = pytest.mark.usefixtures("valkey")

BATCHES = "/api/v1/batches"
BODY = {"tool": "smart-crop", "images": [{"url": "https://a.io/x.png"}]}
DIES_AFTER_ITS_WORK = """
import json, os, signal
from rest_framework.test import APIClient
from accounts import idempotency

idempotency._remember = lambda claim, response: os.kill(os.getpid(), signal.SIGKILL)
APIClient().post(
    "{path}", json.loads(os.environ["TEST_BODY"]), format="json", HTTP_HOST="localhost",
    headers={{"Authorization": "Bearer " + os.environ["TEST_KEY"], "Idempotency-Key": "once"}},
)
"""


@pytest.fixture
def alices(alice):
    return clients.with_key(alice)


def send(client, body=BODY):
    return client.post(BATCHES, body, format="json", headers={"Idempotency-Key": "once"})


def send_sheet(client):
    file = SimpleUploadedFile("x.csv", b"url\nhttps://a.io/x.png\n")
    data = {"tool": "smart-crop", "file": file}
    headers = {"Idempotency-Key": "once"}
    return client.post(f"{BATCHES}/import", data, format="multipart", headers=headers)


def age():
    """Let the request look as if its process had died a while ago."""
    died = timezone.now() - idempotency.ABANDONED_AFTER
    assert IdempotencyKey.objects.filter(status=None).update(created_at=died) == 1


def one_batch_and_one_hold(user) -> bool:
    batch = Batch.objects.get()
    held = sum(batch.items.values_list("held_price", flat=True))
    return held > 0 and ledger.balance(user).held == held


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
def test_a_process_that_is_killed_before_it_can_answer_has_made_the_only_batch(alice, worker_env):
    _key, secret = create_key(alice, name="Shop", scopes=SCOPES)
    env = {**worker_env, "TEST_KEY": secret, "TEST_BODY": json.dumps(BODY)}
    ran = subprocess.run(
        manage("shell", "--verbosity", "0", "-c", DIES_AFTER_ITS_WORK.format(path=BATCHES)),
        env=env,
        check=False,
        timeout=90,
    )
    assert ran.returncode == -signal.SIGKILL
    client = clients.with_secret(secret)

    too_early = send(client)
    age()
    answer = send(client)
    again = send(client)

    assert (too_early.status_code, too_early.json()["code"]) == (409, "idempotency_in_flight")
    assert (answer.status_code, again.status_code) == (201, 201)
    assert answer.json()["id"] == again.json()["id"] == str(Batch.objects.get().uid)
    assert again["Idempotent-Replayed"] == "true"
    assert one_batch_and_one_hold(alice)


@pytest.mark.parametrize(("door", "post"), [(api, send), (import_api, send_sheet)])
def test_an_outage_between_the_work_and_the_answer_is_no_second_batch(
    alices, alice, monkeypatch, door, post
):
    with monkeypatch.context() as broken:

        def away(*_args, **_kwargs):
            raise OperationalError("the database is away")

        broken.setattr(door, "_answer", away)
        assert post(alices).status_code == 503
    assert Batch.objects.exists()

    answer = post(alices)

    assert (answer.status_code, answer.json()["id"]) == (201, str(Batch.objects.get().uid))
    assert one_batch_and_one_hold(alice)


def test_one_image_whose_wait_was_cut_short_is_paid_for_once(alices, alice, monkeypatch):
    def run():
        body = {"image": BODY["images"][0]}
        headers = {"Idempotency-Key": "once"}
        return alices.post("/api/v1/run/smart-crop?wait=0", body, format="json", headers=headers)

    def away(*_args, **_kwargs):
        raise OperationalError("the database is away")

    with monkeypatch.context() as broken:
        broken.setattr(run_api.waiting, "until_ended", away)
        assert run().status_code == 503
    item = Item.objects.get()

    answer = run()

    assert (answer.status_code, answer.json()["id"]) == (202, str(item.uid))
    assert one_batch_and_one_hold(alice)


def test_who_was_slow_answers_with_what_was_made_by_whoever_took_it_for_dead(
    alices, alice, monkeypatch
):
    answers = []

    def oversleep(user, asked):
        monkeypatch.undo()
        age()
        answers.append(send(alices))
        return []

    monkeypatch.setattr(api, "wishes_of", oversleep)

    late = send(alices)

    [first] = answers
    assert (late.status_code, first.status_code) == (201, 201)
    assert late.json()["id"] == first.json()["id"]
    assert one_batch_and_one_hold(alice)


def test_after_a_day_the_same_request_is_a_new_one(alices):
    first = send(alices)
    IdempotencyKey.objects.update(created_at=timezone.now() - idempotency.KEPT_FOR)

    second = send(alices)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]
    assert Batch.objects.count() == 2
