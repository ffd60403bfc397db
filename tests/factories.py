"""Rows for tests. What depends on a state is built through the verbs wherever that is possible."""

import hashlib
import io
import uuid

from PIL import Image

from batches import intake, lifecycle, storage
from batches.models import Batch, Item, Original, Result
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from credits import ledger
from tools import registry


def picture(number: int = 0, *, size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    """A small picture; another number gives another one."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.putpixel((0, 0), (number % 256, number // 256 % 256, 7))
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def make_original(owner, number: int = 0, *, name: str = "") -> Original:
    """An original that went through the whole intake."""
    original, _new = intake.receive(owner, picture(number), name=name or f"photo-{number + 1}.png")
    return original


def give(owner, credits: int) -> None:
    """Credits for a test."""
    ledger.grant(owner, credits, kind="admin", key=f"test:{uuid.uuid4()}")


def make_batch(
    owner, count: int = 3, *, tool: str = "fake", settings: dict | None = None, **options
) -> Batch:
    """A ready batch of uploaded pictures, with the credits to run it.

    The pictures are always the same ones, and yet each is work: without `reuse`, unless asked for.
    """
    options.setdefault("reuse", False)
    rows = [Row(upload=str(make_original(owner, number).uid)) for number in range(count)]
    batch = lifecycle.create(owner, registry.get(tool), rows, settings=settings, **options)
    give(owner, count * 10)
    return batch


def bare_batch(owner, *, state: str = BatchState.READY, **fields) -> Batch:
    """A batch in any state, without items and without the verbs."""
    return Batch.objects.create(owner=owner, tool="fake", state=state, **fields)


def bare_item(batch: Batch, *, state: str = ItemState.PENDING, position: int = 0, **fields) -> Item:
    """An item in any state, without the verbs."""
    return Item.objects.create(
        batch=batch,
        position=position,
        name=f"{position}.png",
        source_url="http://a.example/",
        state=state,
        **fields,
    )


def bare_result(item: Item, content: bytes | None = None, *, position: int = 0) -> Result:
    """A picture of a done item, with a file; without the verbs."""
    content = content if content is not None else picture(item.position)
    key = f"{item.batch.uid}/{item.uid}.{position}.png"
    storage.save(storage.RESULTS, key, content)
    return Result.objects.create(
        item=item,
        position=position,
        key=key,
        thumbnail_key=key,
        format="png",
        width=64,
        height=48,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def done_batch(owner, count: int = 3, *, state: str = BatchState.FINISHED, **fields) -> Batch:
    """A batch whose images are done, without the verbs."""
    batch = bare_batch(owner, state=state, **fields)
    for position in range(count):
        bare_result(bare_item(batch, state=ItemState.DONE, position=position))
    return batch
