"""`run/{tool}` on the real web server: with a worker, without one, and as it stops."""

import http.client
import json
import threading
from contextlib import closing

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import SCOPES, create_key
from batches import audit, intake, lifecycle, storage
from batches.models import Item
from batches.sources.base import Row
from batches.states import ItemState
from bench.photos import photos
from credits import audit as credits_audit
from credits import ledger
from tests.worker.conftest import wait_for
from tools import registry

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]

BOUNDARY = "a-line-that-no-picture-has"


@pytest.fixture
def key(alice) -> str:
    ledger.grant(alice, 100, kind="admin", key="test")
    return create_key(alice, name="test", scopes=SCOPES)[1]


def a_photo() -> bytes:
    [(_name, data)] = photos(1, sizes=[(320, 240)])
    return data


def connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


def ask(port: int, key: str, path: str, body: bytes, *, kind: str):
    """A whole request; its answer, with what was in it."""
    with closing(connect(port)) as caller:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
        caller.request("POST", f"/api/v1/run/{path}", body, headers)
        answer = caller.getresponse()
        answer.body = json.loads(answer.read())
        return answer


def a_form(file: bytes, settings: dict) -> bytes:
    lines = [
        f"--{BOUNDARY}",
        'Content-Disposition: form-data; name="settings"',
        "",
        json.dumps(settings),
        f"--{BOUNDARY}",
        'Content-Disposition: form-data; name="file"; filename="mug.jpg"',
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()


def bytes_of(item: Item) -> bytes:
    return storage.read(storage.RESULTS, item.results.get().key)


def test_one_image_in_a_request_is_what_a_batch_makes_of_it(alice, key, web, start):
    photo, chosen = a_photo(), {"model": "u2netp"}
    upload, _new = intake.receive(alice, photo, name="mug.jpg")
    tool = registry.get("remove-background")
    rows = [Row(upload=str(upload.uid))]
    batch = lifecycle.start(lifecycle.create(alice, tool, rows, settings=chosen))
    site = web()
    start("worker", "cpu")
    wait_for(lambda: batch.items.filter(state=ItemState.DONE).exists())

    form, kind = a_form(photo, chosen), f"multipart/form-data; boundary={BOUNDARY}"
    served = ask(site, key, "remove-background", form, kind=kind)
    anew = {"image": {"upload": str(upload.uid)}, "settings": chosen, "reuse": False}
    ran = ask(site, key, "remove-background", json.dumps(anew).encode(), kind="application/json")

    in_batch = batch.items.get()
    assert (served.status, served.body["state"]) == (200, "done")
    assert served.body["reused_from"] == str(in_batch.uid)
    assert (ran.status, ran.body["state"]) == (200, "done")
    mine = Item.objects.get(uid=ran.body["id"])
    assert mine.original == in_batch.original == upload
    assert bytes_of(mine) == bytes_of(in_batch)
    assert ran.body["result"]["sha256"] == in_batch.results.get().sha256
    charged = [answer.headers["X-Credits-Charged"] for answer in (served, ran)]
    assert charged == ["0", str(in_batch.price)]
    assert ran.headers["X-Credits-Remaining"] == str(ledger.balance(alice).available)
    assert [*credits_audit.disagreements(), *audit.disagreements()] == []


def test_who_waits_holds_nothing_and_is_answered_when_the_server_stops(alice, key, web, servers):
    upload, _new = intake.receive(alice, a_photo(), name="mug.jpg")
    body = json.dumps({"image": {"upload": str(upload.uid)}}).encode()
    site = web(STUDIO_RUN_WAITS="1")
    answers = []

    def wait() -> None:
        answers.append(ask(site, key, "optimize", body, kind="application/json"))

    def started(count: int) -> None:
        wait_for(lambda: Item.objects.filter(state=ItemState.FETCHED).count() == count)

    with closing(connect(site)) as impatient:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        impatient.request("POST", "/api/v1/run/optimize", body, headers)
        started(1)
        # The only place is taken: nobody else waits.
        beside = ask(site, key, "optimize", body, kind="application/json")
        in_transaction = transactions()
    # It was given up with the connection, sooner or later: now somebody else can have it.
    for count in range(3, 20):
        waiter = threading.Thread(target=wait)
        waiter.start()
        started(count)
        waiter.join(timeout=2)
        if waiter.is_alive():
            break
    assert waiter.is_alive(), "the place of who has gone stayed taken"
    given_up = len(answers)
    stopped = timezone.now()
    servers[site].terminate()
    waiter.join()
    servers[site].wait()

    assert beside.status == 202
    assert in_transaction == 0
    assert all(answer.status == 202 for answer in answers)
    assert len(answers) == given_up + 1
    assert answers[-1].headers["Location"].endswith(answers[-1].body["id"])
    assert (timezone.now() - stopped).total_seconds() < 9, "it was killed, not answered"


def transactions() -> int:
    """How many connections to this database are in a transaction and do nothing."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state LIKE 'idle in transaction%'"
        )
        return int(cursor.fetchone()[0])
