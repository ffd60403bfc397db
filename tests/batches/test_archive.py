"""The ZIP of a batch's results: safe names, a manifest, a known length, little memory."""

import csv
import hashlib
import io
import json
import struct
import tracemalloc
import uuid
import zipfile
import zlib
from contextlib import closing
from datetime import UTC, datetime

import pytest

from batches import storage
from batches.exports import archive, zipped
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
            crc32=zlib.crc32(data),
        )
    return item


def packed(batch) -> bytes:
    with closing(archive.Archive(batch)) as whole:
        return b"".join(whole)


def opened(batch) -> zipfile.ZipFile:
    data = packed(batch)
    found = zipfile.ZipFile(io.BytesIO(data))
    assert found.testzip() is None
    return found


def manifest_of(found: zipfile.ZipFile) -> list[dict]:
    return json.loads(found.read("manifest.json"))["items"]


def test_results_are_in_it_under_their_own_names(batch):
    done(batch, 0, "front.jpg", b"front")
    done(batch, 1, "back.heic", b"back", kind="webp")

    found = opened(batch)

    assert found.namelist() == ["manifest.json", "results.csv", "front.png", "back.webp"]
    assert (found.read("front.png"), found.read("back.webp")) == (b"front", b"back")
    assert {entry.compress_type for entry in found.infolist()} == {zipfile.ZIP_STORED}


def test_further_results_and_collisions_are_numbered(batch):
    done(batch, 0, "front.jpg", b"one", b"two")
    done(batch, 1, "FRONT.png", b"three")
    done(batch, 2, "manifest", b"four")

    assert opened(batch).namelist()[2:] == [
        *("front.png", "front-2.png", "FRONT-3.png", "manifest.png"),
    ]


def test_no_result_can_pose_as_the_manifest(batch):
    item = bare_item(batch, state=ItemState.DONE)
    Item.objects.filter(pk=item.pk).update(name="manifest.txt")
    Result.objects.create(item=item, format="txt", text="words", bytes=5, sha256="0" * 64)
    done(batch, 1, "a.json", b"x")

    assert opened(batch).namelist() == ["manifest.json", "results.csv", "manifest.txt", "a.png"]


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
    assert len(unpacked) == len(HOSTILE) + 2
    assert all(path.is_file() for path in unpacked)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    entries = manifest_of(found)
    for position, entry in enumerate(entries):
        assert found.read(entry["name"]) == str(position).encode()


def test_the_manifest_lists_what_succeeded_and_what_failed(batch):
    good = done(batch, 1, "front.jpg", b"front")
    bad = bare_item(
        batch, state=ItemState.FAILED, position=0, external_id="sku-0", error_code="file_empty"
    )
    Item.objects.filter(pk=good.pk).update(
        external_id="sku-1", settings={"model": "u2net"}, reused_from=bad.uid
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
        "reused_from": None,
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
    assert succeeded["reused_from"] == str(bad.uid)
    assert json.loads(found.read("manifest.json"))["batch"] == {
        "id": str(batch.uid),
        "name": "Autumn",
        "tool": "fake",
    }


def test_a_batch_that_has_nothing_yet_gives_a_manifest_alone(batch):
    bare_item(batch)

    assert opened(batch).namelist() == ["manifest.json", "results.csv"]


def test_the_length_is_known_before_the_first_byte(batch):
    done(batch, 0, "é" * 50 + ".png", b"x" * 70_000, b"")
    done(batch, 1, "b.png", b"y")

    with closing(archive.Archive(batch)) as whole:
        assert len(whole) == sum(map(len, whole))


def test_a_large_batch_needs_two_queries_and_little_memory(batch, django_assert_num_queries):
    size = 4 * 2**20
    item = done(batch, 0, "a.png", b"z" * size)
    result = Result.objects.get()
    for position in range(1, 30):
        copy = bare_item(batch, state=ItemState.DONE, position=position)
        Result.objects.create(
            item=copy,
            key=result.key,
            format="png",
            bytes=size,
            sha256=result.sha256,
            crc32=result.crc32,
        )
    assert item.results.count() == 1

    tracemalloc.start()
    with django_assert_num_queries(2), closing(archive.Archive(batch)) as whole:
        sent = sum(map(len, whole))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert sent > 30 * size
    assert peak < size


def test_a_file_that_is_gone_breaks_the_download_instead_of_leaving_a_gap(batch):
    done(batch, 0, "a.png", b"here")
    done(batch, 1, "b.png", b"gone")
    storage.delete(storage.RESULTS, Result.objects.get(item__position=1).key)

    with pytest.raises(RuntimeError, match="not in the storage"):
        packed(batch)


def test_a_file_of_another_length_breaks_the_download(batch):
    done(batch, 0, "a.png", b"12345")
    Result.objects.update(bytes=4)

    with pytest.raises(RuntimeError):
        packed(batch)


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


def test_the_answer_is_an_attachment_that_nobody_keeps(batch, ask):
    done(batch, 0, "a.png", b"here")

    response = ask(batch)

    length = len(body(response))
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Length"] == str(length)
    assert response["Content-Disposition"] == 'attachment; filename="Autumn.zip"'
    assert response["Cache-Control"] == "private, no-store"
    assert response["X-Content-Type-Options"] == "nosniff"


def test_results_lie_in_the_folders_of_their_items(batch):
    for position, stem in enumerate(["shoes/left/a", "Shoes/left/A", "shoes\\..\\../b", "c.1"]):
        item = done(batch, position, "x.jpg", b"1", b"2")
        Item.objects.filter(pk=item.pk).update(stem=stem)

    assert opened(batch).namelist()[2:] == [
        *("shoes/left/a.png", "shoes/left/a-2.png", "shoes/left/A-3.png", "shoes/left/A-2-2.png"),
        *("shoes/b.png", "shoes/b-2.png", "c.1.png", "c.1-2.png"),
    ]


def test_a_folder_that_is_called_as_a_file_goes_beside_it(batch, tmp_path):
    for position, stem in enumerate(["a", "a.png/b", "A.png/c", "d.png/e", "d"]):
        item = done(batch, position, "x.jpg", b"1")
        Item.objects.filter(pk=item.pk).update(stem=stem)

    found = opened(batch)

    found.extractall(tmp_path)
    assert found.namelist()[2:] == [
        *("a.png", "a-2.png/b.png", "a-2.png/c.png", "d.png/e.png", "d-2.png"),
    ]


def test_the_table_has_a_row_for_each_image_and_no_formulas(batch):
    made = done(batch, 0, "=front.jpg", b"one", b"two")
    ended = datetime(2026, 11, 27, 10, 0, 1, tzinfo=UTC)
    Item.objects.filter(pk=made.pk).update(price=2, finished_at=ended, external_id="+1")
    failed = {"position": 1, "error_code": "file_empty"}
    bare_item(batch, state=ItemState.FAILED, **failed)
    bare_item(batch, state=ItemState.CANCELLED, position=2)
    bare_item(batch, state=ItemState.RUNNING, position=3)

    data = opened(batch).read("results.csv")

    assert data.startswith(b'\xef\xbb\xbf"name","id","source","studio_status"')
    source = "http://a.example/"
    assert list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))[1:] == [
        [
            *("'=front.jpg", "'+1", source, "done", "'=front.png '=front-2.png".replace(" '", " ")),
            *("", "", "2", "2026-11-27T10:00:01Z"),
        ],
        ["1.png", "", source, "failed", "", "", "The file is empty.", "0", ""],
        ["2.png", "", source, "cancelled", "", "", "", "0", ""],
        ["3.png", "", source, "waiting", "", "", "", "", ""],
    ]


@pytest.fixture
def ended(batch) -> Batch:
    done(batch, 0, "a.png", b"a" * 5000, b"")
    text = bare_item(batch, state=ItemState.DONE, position=1)
    Result.objects.create(item=text, format="txt", text="Zoë", bytes=4, sha256="0" * 64)
    done(batch, 2, "é.png", b"b" * 70_000)
    batch.state = BatchState.FINISHED
    batch.save()
    return batch


def body(response) -> bytes:
    """All of it; the test client closes what has been read to its end."""
    return b"".join(response)


@pytest.fixture
def ask(client, alice, valkey):
    """Ask for a batch's ZIP, as a browser does."""
    client.force_login(alice)

    def asking(batch, method: str = "get", **headers):
        return getattr(client, method)(f"{batch.get_absolute_url()}results.zip", headers=headers)

    return asking


def test_each_part_is_what_the_whole_has_there(ended, ask):
    whole = body(ask(ended))
    length = len(whole)
    marks = sorted({0, 1, length - 1, *range(0, length, 1531), *range(length - 400, length, 7)})

    with closing(archive.Archive(ended)) as again:
        assert all(b"".join(again.chunks(mark)) == whole[mark:] for mark in marks)
        assert all(b"".join(again.chunks(m, m + 777)) == whole[m : m + 777] for m in marks)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=500-", 500, None),
        ("bytes=6000-7000", 6000, 7001),
        ("bytes=-10", -10, None),
        ("Bytes = 10-99999999", 10, None),
    ],
)
def test_a_download_goes_on_where_it_broke_off(ended, ask, asked, start, stop):
    complete = ask(ended)
    whole = body(complete)

    part = ask(ended, range=asked, if_range=complete["ETag"])

    data = body(part)
    assert part.status_code == 206
    assert data == whole[start:stop]
    first = start % len(whole)
    assert part["Content-Range"] == f"bytes {first}-{first + len(data) - 1}/{len(whole)}"
    assert part["Content-Length"] == str(len(data))
    assert complete["Accept-Ranges"] == "bytes"


def test_what_was_sent_already_is_not_even_opened(ended, ask):
    whole = body(ask(ended))
    storage.delete(storage.RESULTS, Result.objects.get(item__position=0, position=0).key)

    assert body(ask(ended, range="bytes=20000-")) == whole[20000:]


@pytest.mark.parametrize("asked", ["bytes=9-3", "bytes=0-1,5-6", "bytes=-", "items=0-1", "x"])
def test_a_range_that_makes_no_sense_gets_everything(ended, ask, asked):
    response = ask(ended, range=asked)

    assert response.status_code == 200
    assert response["Content-Length"] == str(len(body(response)))


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_range_behind_the_end_is_refused_with_the_length(ended, ask, asked):
    length = ask(ended, "head")["Content-Length"]

    response = ask(ended, range=asked)

    assert response.status_code == 416
    assert response["Content-Range"] == f"bytes */{length}"


def test_another_version_is_sent_from_the_start(ended, ask):
    old = ask(ended, "head")["ETag"]
    assert ask(ended, "head")["ETag"] == old
    done(ended, 3, "late.png", b"late")

    response = ask(ended, range="bytes=5000-", if_range=old)

    assert response.status_code == 200
    assert response["ETag"] != old
    assert int(response["Content-Length"]) == len(body(response))


def test_while_it_runs_there_are_no_parts(ended, ask):
    ended.state = BatchState.RUNNING
    ended.save()

    response = ask(ended, range="bytes=10-")

    assert response.status_code == 200
    assert "Accept-Ranges" not in response
    assert int(response["Content-Length"]) == len(body(response))


def test_a_head_has_the_same_headers_and_no_body(ended, ask):
    get, head = ask(ended), ask(ended, "head")

    named = ("ETag", "Content-Length", "Content-Type", "Accept-Ranges", "Content-Disposition")
    assert [head[name] for name in named] == [get[name] for name in named]
    assert head.content == b""
    assert len(body(get)) == int(head["Content-Length"])


def test_a_missing_checksum_is_looked_for_once(ended, django_assert_num_queries):
    Result.objects.update(crc32=None)

    opened(ended)

    assert Result.objects.exclude(key="").filter(crc32=None).count() == 0
    with django_assert_num_queries(2):
        opened(ended)


def test_archives_beyond_the_old_limits_are_read_by_everybody():
    """Ten gigabytes, of which only the directory is looked at."""
    stamped = zipped.stamp(datetime(2026, 11, 27, 12, 30, 58, tzinfo=UTC))
    big = [zipped.Member(f"{n}.bin", 2**31 + n, 7, stamped, "") for n in range(3)]
    huge = zipped.Member("huge.bin", 2**32 + 5, 9, stamped, "")
    small = zipped.Member("small.txt", 0, 0, stamped, "")
    layout = zipped.Layout([*big, huge, small])

    class Window(io.RawIOBase):
        """Gives the archive's bytes wherever they are asked for."""

        at = 0

        def seekable(self):
            return True

        def readable(self):
            return True

        def seek(self, offset, whence=0):
            self.at = offset + {0: 0, 1: self.at, 2: len(layout)}[whence]
            return self.at

        def tell(self):
            return self.at

        def read(self, size=-1):
            stop = len(layout) if size < 0 else self.at + size
            data = b"".join(layout.chunks(lambda *_: iter(()), self.at, stop))
            self.at += len(data)
            return data

    with zipfile.ZipFile(Window()) as found:
        listed = found.infolist()
        assert [(e.file_size, e.CRC) for e in listed[:4]] == [
            *((2**31 + n, 7) for n in range(3)),
            (2**32 + 5, 9),
        ]
        assert listed[0].date_time == (2026, 11, 27, 12, 30, 58)
        assert found.read("small.txt") == b""


def test_an_archive_may_have_more_files_than_the_old_limit():
    count = 0xFFFF + 1
    layout = zipped.Layout([zipped.Member(f"{n}", 0, 0, (0, 0), "") for n in range(count)])

    footer = b"".join(layout.chunks(lambda *_: iter(()), len(layout) - 200))

    assert (struct.pack("<Q", count) * 2) in footer
    few, few_again = struct.unpack("<2H", footer[-14:-10])
    assert few == few_again == 0xFFFF  # the old field is full: readers look at the new one
