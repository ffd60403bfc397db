"""Messages are what the OpenAPI document says of them."""

import json

import pytest

from batches import deliveries, library, lifecycle, outbox, webhooks
from batches.models import Result, WebhookMessage
from studio.schema import openapi_document
from tests import contract
from tests.factories import make_batch

NOBODY = "127.0.0.1:9"
"""Where nothing listens: what is sent there stays in the outbox."""


@pytest.mark.usefixtures("fake_tool", "rings_at_once")
def test_every_kind_of_message_is_as_described(alice, run_jobs, settings):
    settings.FETCH_ALLOW = [NOBODY]
    endpoint = webhooks.register(alice, url=f"http://{NOBODY}/hook", events=outbox.EVENTS)
    webhooks.ping(endpoint)
    batch = make_batch(alice, 2)
    lifecycle.start(batch, sample=1)
    run_jobs()
    batch.refresh_from_db()
    lifecycle.approve(batch)
    run_jobs()
    deliveries.ask(batch, to="zip", connection="", options={})
    kept = library.save(alice, Result.objects.first())
    library.edit(kept.asset, alt_text="A mug")
    library.trash(alice, [kept.asset.uid])
    library.delete(alice, [kept.asset.uid])

    messages = WebhookMessage.objects.all()

    described = openapi_document()["webhooks"]
    assert (
        {message.event for message in messages} == set(described) == {*outbox.EVENTS, outbox.PING}
    )
    for message in messages:
        content = described[message.event]["post"]["requestBody"]["content"]
        contract.validate(
            json.loads(webhooks.body_of(message)), content["application/json"]["schema"]
        )
