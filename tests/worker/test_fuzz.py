"""schemathesis asks the real web server all that its OpenAPI document allows, and what it forbids.

`CONTRIBUTING.md` says how to let it ask for longer.
"""

import subprocess
import sys

import pytest
from django.conf import settings

from accounts.models import SCOPES, create_key
from batches import webhooks
from batches.models import Delivery
from batches.states import BatchState, ItemState
from tests import google_server
from tests.factories import bare_batch, bare_item, bare_result, done_batch, give, make_original

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]

PLAIN = ["--no-color", "--no-shrink", "--generation-deterministic"]


@pytest.fixture
def secret(alice) -> str:
    """The key of somebody who has something of everything."""
    give(alice, 1_000_000)
    make_original(alice)
    done = done_batch(alice)
    for state in (BatchState.READY, BatchState.RUNNING, BatchState.PAUSED, BatchState.SAMPLED):
        batch = bare_batch(alice, state=state)
        bare_result(bare_item(batch, state=ItemState.DONE))
        bare_item(batch, state=ItemState.FAILED, position=1, error_code="no_subject")
        bare_item(batch, position=2)
    key = done.items.all()[0].results.get().key
    Delivery.objects.create(
        batch=done, to="csv", state="finished", key=key, filename="x.csv", content_type="text/csv"
    )
    webhooks.register(alice, url="https://a.io/", events=["batch.finished"])
    _key, secret = create_key(alice, name="test", scopes=SCOPES)
    return secret


@pytest.fixture
def ask(web):
    """Run schemathesis with these options; fails with what it says unless all is well."""

    def run(*options: str) -> None:
        with google_server.serving() as google:
            # Nobody works here, so nothing is waited for.
            port = web(STUDIO_GOOGLE_DOCS=google.url, STUDIO_RUN_WAITS="0")
            address = f"http://127.0.0.1:{port}/api/v1/schema"
            done = subprocess.run(
                [sys.executable, "-m", "schemathesis.cli", "run", address, *PLAIN, *options],
                check=False,
                cwd=settings.BASE_DIR,
                capture_output=True,
                text=True,
            )
        if done.returncode or "Tested: " not in done.stdout:
            pytest.fail(done.stdout + done.stderr, pytrace=False)

    return run


def test_the_api_keeps_to_its_document_for_whoever_has_a_key(ask, secret):
    ask("--header", f"Authorization: Bearer {secret}", "--max-examples", "3")


@pytest.mark.usefixtures("secret")
def test_the_api_keeps_to_its_document_for_strangers(ask):
    ask("--phases", "examples,fuzzing", "--max-examples", "2")
