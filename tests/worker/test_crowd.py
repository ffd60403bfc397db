"""Two hundred clients at once, who all send what others send too: each key makes one batch.

The web server is the one that `make run` starts, with its sixteen threads: the others queue.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from accounts.models import SCOPES, IdempotencyKey, User, create_key
from batches.models import Batch
from credits import ledger
from studio import gunicorn_config
from tests.factories import give
from tests.studio.conftest import eventually, free_port

pytestmark = [pytest.mark.concurrency, pytest.mark.django_db(transaction=True)]

CLIENTS = 200
PEOPLE = 4
SAME_KEY = 5
"""Clients that send one key; the last of them sends another body with it."""
IMAGES = 3


@dataclass
class Client:
    """Sends one request until it has an answer that is no 409."""

    secret: str
    key: str
    name: str
    statuses: list[int] = field(default_factory=list)
    answer: dict = field(default_factory=dict)
    replayed: bool = False
    error: Exception | None = None

    def run(self, port: int, go: threading.Barrier) -> None:
        try:
            go.wait()
            while not self.statuses or self.statuses[-1] == 409:
                self._send(port)
        except (OSError, ValueError, AssertionError, http.client.HTTPException) as error:
            self.error = error

    def _send(self, port: int) -> None:
        images = [{"url": f"https://a.io/{self.name}-{n}.png"} for n in range(IMAGES)]
        body = {"tool": "smart-crop", "images": images, "name": self.name}
        headers = {
            "Authorization": f"Bearer {self.secret}",
            "Idempotency-Key": self.key,
            "Content-Type": "application/json",
        }
        visitor = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            visitor.request("POST", "/api/v1/batches", json.dumps(body), headers)
            response = visitor.getresponse()
            self.answer = json.loads(response.read())
        finally:
            visitor.close()
        self.statuses.append(response.status)
        self.replayed = response.headers.get("Idempotent-Replayed") == "true"
        if response.status == 409:
            assert self.answer["code"] == "idempotency_in_flight"
            time.sleep(0.05)


@pytest.fixture
def site(worker_env) -> Iterator[int]:
    """The web server on the test's own database; its port."""
    port = free_port()
    config = str(Path(gunicorn_config.__file__))
    line = ["gunicorn", "studio.wsgi", "--bind", f"127.0.0.1:{port}", "--config", config]
    server = subprocess.Popen(
        [sys.executable, "-m", *line, "--chdir", str(settings.BASE_DIR), "--no-control-socket"],
        env=worker_env,
    )

    def answers() -> bool:
        visitor = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            visitor.request("GET", "/api/v1/tools")
            return visitor.getresponse().status == 200
        except OSError:
            return False
        finally:
            visitor.close()

    try:
        eventually(answers)
        yield port
    finally:
        server.terminate()
        server.wait(20)


def test_each_key_makes_one_batch_however_many_send_it_at_once(site):
    people = [User.objects.create_user(f"{n}@example.com") for n in range(PEOPLE)]
    secrets = [create_key(user, name="Shop", scopes=SCOPES)[1] for user in people]
    for user in people:
        give(user, 10_000)
    had = {user: ledger.balance(user).available for user in people}
    crowd = [
        # One and the same key means another request with each of the four people.
        Client(
            secrets[number % PEOPLE],
            key := f"key-{number // PEOPLE // SAME_KEY}",
            name=f"{key}-other" if number // PEOPLE % SAME_KEY == SAME_KEY - 1 else key,
        )
        for number in range(CLIENTS)
    ]
    go = threading.Barrier(CLIENTS)
    threads = [threading.Thread(target=client.run, args=(site, go)) for client in crowd]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [client.error for client in crowd if client.error] == []
    assert {status for client in crowd for status in client.statuses} <= {201, 409, 422}
    groups = defaultdict(list)
    for client in crowd:
        groups[client.secret, client.key].append(client)
    for group in groups.values():
        made = [client for client in group if client.statuses[-1] == 201]
        others = [client for client in group if client.statuses[-1] == 422]
        assert len(group) == len(made) + len(others) == SAME_KEY
        assert len({client.answer["id"] for client in made}) == 1
        assert sum(not client.replayed for client in made) == 1
        assert {client.answer["name"] for client in made} == {made[0].name}
        assert all(client.name != made[0].name for client in others)
        assert {client.answer["code"] for client in others} <= {"idempotency_mismatch"}
    assert Batch.objects.count() == len(groups) == CLIENTS // SAME_KEY
    assert IdempotencyKey.objects.filter(status=201).count() == len(groups)
    each = len(groups) // PEOPLE
    for user in people:
        batches = Batch.objects.filter(owner=user)
        price = sum(batches.values_list("items__held_price", flat=True))
        assert batches.count() == each
        assert price >= each * IMAGES
        assert ledger.balance(user) == (had[user] - price, price)
    call_command("checkledger")
