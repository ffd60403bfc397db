"""Every tool from a batch to its results, with real models on a real photo."""

import io

import pytest
from PIL import Image

from batches import intake, lifecycle, pipeline
from batches.models import Batch, Item, Original
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import give
from tools import examples, registry
from tools.base import Example, Tool

pytestmark = [
    pytest.mark.weights,
    # As workers do it: no transaction is open while a model computes.
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("rings_at_once", "no_welcome", "sound", "media"),
]

SIZE = (240, 160)
"""Small: each tool runs twice."""


@pytest.fixture(params=[tool.slug for tool in registry.all()])
def tool(request) -> Tool:
    return registry.get(request.param)


def upload(owner, image: Image.Image, name: str) -> Original:
    out = io.BytesIO()
    image.save(out, "PNG")
    return intake.receive(owner, out.getvalue(), name=name)[0]


def run(owner, tool: Tool, *, single: bool) -> tuple[Batch, Item]:
    example = tool.example or Example("coffee.png")
    photo = examples.original(Example("coffee.png")).resize(SIZE)
    settings = dict(example.settings)
    for name, draw in example.images.items():
        settings[name] = str(upload(owner, draw(photo), f"{name}.png").uid)
    row = Row(upload=str(upload(owner, photo, "coffee.png").uid))
    batch = lifecycle.create(owner, tool, [row], settings=settings, single=single, reuse=False)
    batch = lifecycle.start(batch)
    item = batch.items.get()
    pipeline.run(item.pk)
    item.refresh_from_db()
    batch.refresh_from_db()
    return batch, item


def test_it_gives_the_same_bytes_at_the_same_price_alone_and_in_a_batch(alice, tool):
    give(alice, 100)

    batch, many = run(alice, tool, single=False)
    _batch, one = run(alice, tool, single=True)

    assert (many.state, many.error_code) == (ItemState.DONE, "")
    assert batch.state == BatchState.FINISHED
    assert many.model_version
    results = [list(item.results.order_by("position")) for item in (many, one)]
    assert [made.sha256 for made in results[0]] == [made.sha256 for made in results[1]]
    price = tool.price_for(many.settings, width=SIZE[0], height=SIZE[1])
    assert (many.price, one.price) == (price, price)
    assert ledger.balance(alice).available == 100 - 2 * price
    assert {made.format for made in results[0]} == {
        {"text": "txt", "json": "json"}.get(tool.output) or many.settings["format"]
    }
