"""Files of results over the HTTP API: private, inert, under their own names."""

import hashlib
import io
import json
import zipfile

import pytest
from PIL import Image

from batches import storage
from batches.models import Item, Result
from batches.states import BatchState, ItemState
from tests import clients
from tests.factories import bare_batch, bare_item, picture

pytestmark = pytest.mark.usefixtures("valkey")


@pytest.fixture
def alices(alice):
    return clients.with_key(alice, "read")


@pytest.fixture
def item(alice) -> Item:
    """A finished item with two pictures."""
    item = bare_item(bare_batch(alice, name="Autumn"), state=ItemState.DONE)
    Item.objects.filter(pk=item.pk).update(name="Zoë.jpg")
    for position in range(2):
        data = picture(position)
        key = f"{item.uid}.{position}.png"
        storage.save(storage.RESULTS, key, data)
        storage.save(storage.RESULTS, f"{key}.thumb.webp", picture(position, kind="WEBP"))
        Result.objects.create(
            item=item,
            position=position,
            key=key,
            thumbnail_key=f"{key}.thumb.webp",
            format="png",
            width=64,
            height=48,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
    return item


def body(response) -> bytes:
    data = b"".join(response.streaming_content)
    response.close()
    return data


def at(item) -> str:
    return f"/api/v1/items/{item.uid}/result"


def test_a_result_is_the_file_itself_to_look_at(alices, item):
    response = alices.get(at(item))

    assert response.status_code == 200
    assert body(response) == picture(0)
    assert response["Content-Type"] == "image/png"
    assert response["Content-Length"] == str(len(picture(0)))
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"].startswith("private")
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response["Content-Disposition"] == "inline; filename*=utf-8''Zo%C3%AB.png"


def test_a_result_can_be_saved(alices, item):
    response = alices.get(at(item), {"download": "1"})

    assert response["Content-Disposition"] == "attachment; filename*=utf-8''Zo%C3%AB.png"
    response.close()


def test_further_results_have_positions(alices, item):
    response = alices.get(at(item), {"position": 1})

    assert body(response) == picture(1)


def test_a_thumbnail_is_a_small_webp(alices, item):
    response = alices.get(f"{at(item)}/thumbnail", {"position": 1})

    assert response["Content-Type"] == "image/webp"
    assert response["Content-Disposition"].startswith("inline")
    assert Image.open(io.BytesIO(body(response))).format == "WEBP"


def test_a_text_is_always_saved_and_never_shown(alices, alice):
    item = bare_item(bare_batch(alice), state=ItemState.DONE)
    text = "<script>alert('Grüße')</script>"
    Result.objects.create(item=item, format="txt", text=text, bytes=40, sha256="0" * 64)

    response = alices.get(at(item))
    thumbnail = alices.get(f"{at(item)}/thumbnail")

    assert response.content.decode() == text
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="0.txt"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert thumbnail.status_code == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [({"position": 2}, 404), ({"position": -1}, 422), ({"position": "x"}, 422)],
)
def test_a_position_that_is_not_there(alices, item, query, status):
    assert alices.get(at(item), query).status_code == status


def test_an_item_without_a_result_says_how_far_it_is(alices, alice):
    item = bare_item(bare_batch(alice), state=ItemState.RUNNING)

    response = alices.get(at(item))

    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert "processing" in response.json()["detail"]


def test_a_result_whose_file_is_gone_is_not_found(alices, item):
    storage.delete(storage.RESULTS, item.results.get(position=0).key)

    response = alices.get(at(item))

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_a_zip_comes_while_the_batch_still_runs(alices, item):
    bare_item(item.batch, position=1, state=ItemState.RUNNING)
    item.batch.state = BatchState.RUNNING
    item.batch.save()

    response = alices.get(f"/api/v1/batches/{item.batch.uid}/results.zip")

    data = body(response)
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert response["Content-Length"] == str(len(data))
    assert response["Content-Disposition"] == 'attachment; filename="Autumn.zip"'
    assert archive.namelist() == ["manifest.json", "results.csv", "Zoë.png", "Zoë-2.png"]
    listed = json.loads(archive.read("manifest.json"))["items"]
    assert [entry["name"] for entry in listed] == ["Zoë.png", "Zoë-2.png"]
