"""The ZIP of a batch's results: safe names, a manifest, a known length, little memory."""

import hashlib
import io
import json
import tracemalloc
import uuid
import zipfile

import pytest

from batches import storage
from batches.exports import archive
from batches.models import Batch, Item, Result
from batches.states import BatchState, ItemState
from tests.batches.test_names import HOSTILE
from tests.factories import bare_batch, bare_item


@pytest.fixture
def batch(alice) -> Batch:
    return bare_batch(alice, state=BatchState.RUNNING, name="Autumn")


def done(batch, position: int, name: str, *contents: bytes, kind: str = "png") -> Item:
    """A finished item with these files as its results."""
    item = bare_item(batch, state=ItemState.DONE, position=position)
    Item.objects.filter(pk=item.pk).update(name=name)
    for number, data in enumerate(contents):
        key = storage.result_key(batch.uid, item.uid, uuid.uuid4(), number, f".{kind}")
        storage.save(storage.RESULTS, key, data)
        Result.objects.create(
            item=item,
            position=number,
            key=key,
            format=kind,
            width=1,
            height=1,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
    return item


def opened(batch) -> zipfile.ZipFile:
    data = b"".join(archive.stream(batch))
    found = zipfile.ZipFile(io.BytesIO(data))
    assert found.testzip() is None
    return found


def manifest_of(found: zipfile.ZipFile) -> list[dict]:
    return json.loads(found.read("manifest.json"))["items"]


def test_results_are_in_it_under_their_own_names(batch):
    done(batch, 0, "front.jpg", b"front")
    done(batch, 1, "back.heic", b"back", kind="webp")

    found = opened(batch)

    assert found.namelist() == ["manifest.json", "front.png", "back.webp"]
    assert (found.read("front.png"), found.read("back.webp")) == (b"front", b"back")
    assert {entry.compress_type for entry in found.infolist()} == {zipfile.ZIP_STORED}


def test_further_results_and_collisions_are_numbered(batch):
    done(batch, 0, "front.jpg", b"one", b"two")
    done(batch, 1, "FRONT.png", b"three")
    done(batch, 2, "manifest", b"four")

    assert opened(batch).namelist()[1:] == [
        *("front.png", "front-2.png", "FRONT-3.png", "manifest.png"),
    ]


def test_no_result_can_pose_as_the_manifest(batch):
    item = bare_item(batch, state=ItemState.DONE)
    Item.objects.filter(pk=item.pk).update(name="manifest.txt")
    Result.objects.create(item=item, format="txt", text="words", bytes=5, sha256="0" * 64)
    done(batch, 1, "a.json", b"x")

    assert opened(batch).namelist() == ["manifest.json", "manifest.txt", "a.png"]


def test_texts_are_text_files(batch):
    item = bare_item(batch, state=ItemState.DONE, position=0)
    text = "Ein grüner Schuh"
    Result.objects.create(
        item=item, format="txt", text=text, bytes=len(text.encode()), sha256="0" * 64
    )

    assert opened(batch).read("0.txt").decode() == text


def test_hostile_names_unpack_where_they_should_and_apart(batch, tmp_path):
    for position, name in enumerate(HOSTILE):
        stored = name.encode("utf-8", "ignore").decode().replace("\0", "")[:255]
        done(batch, position, stored, str(position).encode())

    found = opened(batch)
    found.extractall(tmp_path / "out")

    unpacked = sorted((tmp_path / "out").iterdir())
    assert sorted(path.name for path in unpacked) == sorted(found.namelist())
    assert len(unpacked) == len(HOSTILE) + 1
    assert all(path.is_file() for path in unpacked)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    entries = manifest_of(found)
    for position, entry in enumerate(entries):
        assert found.read(entry["name"]) == str(position).encode()


def test_the_manifest_lists_what_succeeded_and_what_failed(batch):
    good = done(batch, 1, "front.jpg", b"front")
    Item.objects.filter(pk=good.pk).update(external_id="sku-1", settings={"model": "u2net"})
    bad = bare_item(
        batch, state=ItemState.FAILED, position=0, external_id="sku-0", error_code="file_empty"
    )
    bare_item(batch, state=ItemState.FETCHED, position=2)

    found = opened(batch)

    failed, succeeded = manifest_of(found)
    assert failed == {
        "name": "0.png",
        "id": str(bad.uid),
        "external_id": "sku-0",
        "position": 0,
        "source": "http://a.example/",
        "settings": {},
        "sha256": None,
        "bytes": None,
        "width": None,
        "height": None,
        "error": {"code": "file_empty", "message": "The file is empty."},
    }
    assert succeeded["name"] == "front.png"
    assert succeeded["sha256"] == hashlib.sha256(found.read("front.png")).hexdigest()
    assert succeeded["bytes"] == len(found.read("front.png"))
    assert (succeeded["external_id"], succeeded["settings"]) == ("sku-1", {"model": "u2net"})
    assert succeeded["error"] is None
    assert json.loads(found.read("manifest.json"))["batch"] == {
        "id": str(batch.uid),
        "name": "Autumn",
        "tool": "fake",
    }


def test_a_batch_that_has_nothing_yet_gives_a_manifest_alone(batch):
    bare_item(batch)

    assert opened(batch).namelist() == ["manifest.json"]


def test_the_length_is_known_before_the_first_byte(batch):
    done(batch, 0, "é" * 50 + ".png", b"x" * 70_000, b"")
    done(batch, 1, "b.png", b"y")

    stream = archive.stream(batch)

    announced = len(stream)
    assert announced == sum(map(len, stream))


def test_a_large_batch_needs_two_queries_and_little_memory(batch, django_assert_num_queries):
    size = 4 * 2**20
    item = done(batch, 0, "a.png", b"z" * size)
    result = Result.objects.get()
    for position in range(1, 30):
        copy = bare_item(batch, state=ItemState.DONE, position=position)
        Result.objects.create(
            item=copy, key=result.key, format="png", bytes=size, sha256=result.sha256
        )
    assert item.results.count() == 1

    tracemalloc.start()
    with django_assert_num_queries(2):
        sent = sum(len(chunk) for chunk in archive.stream(batch))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert sent > 30 * size
    assert peak < size


def test_a_file_that_is_gone_breaks_the_download_instead_of_leaving_a_gap(batch):
    done(batch, 0, "a.png", b"here")
    done(batch, 1, "b.png", b"gone")
    storage.delete(storage.RESULTS, Result.objects.get(item__position=1).key)

    with pytest.raises(RuntimeError, match="not in the storage"):
        b"".join(archive.stream(batch))


def test_a_file_of_another_length_breaks_the_download(batch):
    done(batch, 0, "a.png", b"12345")
    Result.objects.update(bytes=4)

    with pytest.raises(RuntimeError):
        b"".join(archive.stream(batch))


@pytest.mark.parametrize(
    ("name", "filename"),
    [
        ("Autumn", "Autumn.zip"),
        ("Spring/Summer 2026", "Spring-Summer 2026.zip"),
        ("../x\r\ny", "-xy.zip"),
        ("…" * 200, None),
        ("", None),
    ],
)
def test_the_zip_is_called_as_the_batch(alice, name, filename):
    batch = bare_batch(alice, name=name)

    given = archive.filename(batch)

    assert given.endswith(".zip")
    assert len(given.encode()) <= 255
    assert filename is None or given == filename


def test_the_answer_is_an_attachment_that_nobody_keeps(batch):
    done(batch, 0, "a.png", b"here")

    response = archive.response(batch)

    body = b"".join(response)
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Length"] == str(len(body))
    assert response["Content-Disposition"] == 'attachment; filename="Autumn.zip"'
    assert response["Cache-Control"] == "private, no-store"
    assert response["X-Content-Type-Options"] == "nosniff"
