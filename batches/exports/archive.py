"""Results as files: one by itself, or all of a batch as a ZIP that is written while it is sent.

Nothing is packed beforehand and pictures are not compressed again, so the first byte leaves
at once and the length is known from the start. What is ready goes in; a batch may still run.
Once it has ended, the same ZIP comes out each time, and a download that broke off can go on.
"""

import hashlib
import io
import json
import tempfile
import zlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import IO, Any, TypeVar

from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from rest_framework.request import Request

from accounts import seeing
from batches import formats, storage
from batches.exports import report
from batches.exports.ranges import UNSATISFIABLE, asked_range
from batches.exports.zipped import Layout, Member, stamp
from batches.models import Batch, Item, Original, Result
from batches.names import Names, clean_name, clean_path, split_name
from batches.states import BatchState, ItemState

MANIFEST = "manifest.json"
TABLE = "results.csv"
CHUNK = 64 * 1024
KEPT_IN_MEMORY = 2**20
"""Bytes of each list that a ZIP holds; a longer one goes to a temporary file."""

Answer = TypeVar("Answer", bound=HttpResponseBase)


class Archive:
    """A batch's ZIP, as it is at this moment; `len()` is its length. Close it after use.

    Memory holds names and places of the results, never more of the files than a chunk.
    Raises `RuntimeError` half way, and so breaks the download, when a file is not there any
    more or has another length than it should have.
    """

    def __init__(self, batch: Batch) -> None:
        self._written: dict[str, IO[bytes]] = {}
        names = Names(MANIFEST, TABLE)
        made_at = stamp(batch.created_at)
        members: list[Member] = []
        texts = self._write("")
        with _Lists(batch, self._write(MANIFEST), self._write(TABLE)) as lists:
            for item in report.items(batch):
                given: dict[Result, str] = {}
                for result in item.results.all() if item.state == ItemState.DONE else ():
                    name = given[result] = names.unique_path(result_path(result))
                    if result.key:
                        place: str | int = result.key
                        size, crc32 = result.bytes, _checksum(result)
                    else:
                        data = result.text.encode()
                        place, size, crc32 = texts.tell(), len(data), zlib.crc32(data)
                        texts.write(data)
                    members.append(Member(name, size, crc32, stamp(result.created_at), place))
                lists.add(item, given)
        lists_first = [self._listed(name, made_at) for name in (MANIFEST, TABLE)]
        self._layout = Layout([*lists_first, *members])
        self._etag = _fingerprint(self._layout)

    @property
    def etag(self) -> str:
        """A strong validator: archives with the same one have the same bytes."""
        return f'"{self._etag}"'

    def __len__(self) -> int:
        return len(self._layout)

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks()

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop``."""
        return self._layout.chunks(self._read, start, stop)

    def close(self) -> None:
        """Let go of what was written for it."""
        for file in self._written.values():
            file.close()

    def _write(self, name: str) -> IO[bytes]:
        file = tempfile.SpooledTemporaryFile(max_size=KEPT_IN_MEMORY)  # noqa: SIM115
        return self._written.setdefault(name, file)

    def _listed(self, name: str, made_at: tuple[int, int]) -> Member:
        file = self._written[name]
        size, crc32 = file.tell(), 0
        file.seek(0)
        while chunk := file.read(CHUNK):
            crc32 = zlib.crc32(chunk, crc32)
        return Member(name, size, crc32, made_at, 0)

    def _read(self, member: Member, skip: int) -> Iterator[bytes]:
        if isinstance(member.place, str):
            yield from _chunks(member.place, skip)
            return
        file = self._written.get(member.name, self._written[""])
        at, end = member.place + skip, member.place + member.size
        while at < end:
            file.seek(at)  # members take turns, and so do readers
            chunk = file.read(min(CHUNK, end - at))
            at += len(chunk)
            yield chunk


def filename(batch: Batch, ending: str = ".zip") -> str:
    """What a file of the whole batch is called on the disk of whoever saves it."""
    stem = str(batch).replace("/", "-").replace("\\", "-")
    return clean_name(f"{stem}{ending}")


def response(batch: Batch, request: HttpRequest | Request) -> HttpResponseBase:
    """The ZIP as an answer, or the part of it that is asked for.

    Parts are given once the batch has ended; until then the next ZIP holds more, and a part
    of it would fit to nothing. The caller has made sure that the batch may be seen.
    """
    archive = Archive(batch)
    length = len(archive)
    headers = {"ETag": archive.etag}
    start, stop, status = 0, length, HTTPStatus.OK
    has_ended = batch.state in (BatchState.FINISHED, BatchState.CANCELLED)
    if has_ended:
        headers["Accept-Ranges"] = "bytes"
        wanted = asked_range(request.headers, length=length, etag=archive.etag)
        if wanted is UNSATISFIABLE:
            archive.close()
            headers["Content-Range"] = f"bytes */{length}"
            refusal = HttpResponse(status=416, headers=headers)
            return private(refusal, cache="no-cache")
        if wanted:
            start, stop = wanted
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
    headers |= {
        "Content-Type": "application/zip",
        "Content-Length": str(stop - start),
        "Content-Disposition": content_disposition_header(True, filename(batch)) or "",
    }
    answer: HttpResponseBase
    if request.method == "HEAD":
        archive.close()
        answer = HttpResponse(status=status, headers=headers)
    else:
        part = _Part(archive, start, stop)
        answer = StreamingHttpResponse(part, status=status, headers=headers)
    return private(answer, cache="no-cache" if has_ended else "no-store")


def result_path(result: Result) -> str:
    """Where a result belongs below a folder of results: `shoes/front.png`.

    The item's own place, or its name; further results of an item are numbered. Clean, but
    not yet unlike those of other items.
    """
    item = result.item
    stem = item.stem or split_name(clean_name(item.name))[0]
    number = f"-{result.position + 1}" if result.position else ""
    return clean_path(f"{stem}{number}{formats.ending(result.format)}")


def result_name(result: Result) -> str:
    """The name of a result's file, without folders."""
    return result_path(result).rpartition("/")[2]


def file_response(result: Result, *, download: bool) -> HttpResponseBase:
    """One result as an answer, for an `<img>` or to be saved; texts are always saved.

    The caller has made sure that it may be seen. Raises `Http404` when the file is gone.
    """
    name = result_name(result)
    if not result.key:
        answer = HttpResponse(result.text, content_type=formats.CONTENT_TYPES[result.format])
        answer["Content-Disposition"] = content_disposition_header(True, name) or ""
        return private(answer)
    return picture_response(
        storage.RESULTS,
        result.key,
        content_type=formats.CONTENT_TYPES[result.format],
        name=name,
        download=download,
    )


def original_response(original: Original, *, download: bool) -> FileResponse:
    """A picture as it came in, or upright and in sRGB where it was not. `Http404` when it is gone.

    The caller has made sure that it may be seen.
    """
    stem, _extension = split_name(original.name)
    ending = split_name(original.key)[1]
    return picture_response(
        storage.ORIGINALS,
        original.key,
        content_type=original.content_type,
        name=f"{stem}{ending}",
        download=download,
    )


def picture_response(
    alias: str, key: str, *, content_type: str, name: str, download: bool = False
) -> FileResponse:
    """A stored picture as an answer. Raises `Http404` when it is gone."""
    try:
        file = storage.open_file(alias, key)
    except FileNotFoundError:
        raise Http404 from None
    answer = FileResponse(file, as_attachment=download, filename=name, content_type=content_type)
    return private(answer)


def private(answer: Answer, *, cache: str = "max-age=3600") -> Answer:
    """Headers for what a stranger's bytes may do in a browser (nothing) and who may keep them."""
    answer["Cache-Control"] = f"private, {cache}"
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return answer


def _entry(item: Item, *, name: str, result: Result | None) -> dict[str, Any]:
    """A line of the manifest: a file in the ZIP, or an item that gave none."""
    return {
        "name": name,
        "id": str(item.uid),
        "external_id": item.external_id,
        "position": item.position,
        "source": item.source_url or item.name,
        "settings": item.settings,
        "reused_from": str(item.reused_from) if item.reused_from else None,
        "sha256": result.sha256 if result else None,
        "bytes": result.bytes if result else None,
        "width": result.width if result else None,
        "height": result.height if result else None,
        "error": {"code": item.error_code, "message": item.error} if item.error_code else None,
    }


class _Lists:
    """The two lists in the archive, written image by image: for programs, and for people."""

    def __init__(self, batch: Batch, manifest: IO[bytes], table: IO[bytes]) -> None:
        self._manifest = manifest
        self._lines = io.TextIOWrapper(table, encoding="utf-8", newline="", write_through=True)
        self._table = report.Table(self._lines)
        about = {"id": str(batch.uid), "name": batch.name, "tool": batch.tool}
        self._manifest.write(f'{{\n "batch": {_json(about)},\n "items": ['.encode())
        self._separator = "\n  "

    def __enter__(self) -> "_Lists":
        return self

    def __exit__(self, *_: object) -> None:
        self._manifest.write(b"\n ]\n}\n")
        self._lines.detach()

    def add(self, item: Item, names: dict[Result, str]) -> None:
        """An image, and what its results are called in the archive."""
        self._table.add(report.row(item, names.__getitem__))
        entries = [_entry(item, name=name, result=result) for result, name in names.items()]
        if item.state == ItemState.FAILED:
            entries = [_entry(item, name=item.name, result=None)]
        for entry in entries:
            self._manifest.write(f"{self._separator}{_json(entry)}".encode())
            self._separator = ",\n  "


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _fingerprint(layout: Layout) -> str:
    """A digest of everything that decides what the bytes are."""
    digest = hashlib.sha256()
    for member in layout.members:
        digest.update(repr(member[:4]).encode())
    return digest.hexdigest()[:32]


def _checksum(result: Result) -> int:
    """A result's CRC-32, which is looked for once where the tool's run did not leave it."""
    if result.crc32 is None:
        crc32 = 0
        for chunk in _chunks(result.key, 0):
            crc32 = zlib.crc32(chunk, crc32)
        result.crc32 = crc32
        if seeing.only_looks():
            return crc32
        Result.objects.filter(pk=result.pk).update(crc32=crc32)
    return result.crc32


def _chunks(key: str, skip: int) -> Iterator[bytes]:
    """A stored file, opened when its turn comes."""
    try:
        file = storage.open_file(storage.RESULTS, key)
    except FileNotFoundError:
        raise RuntimeError(f"The result {key} is not in the storage any more.") from None
    with file:
        file.seek(skip)
        while chunk := file.read(CHUNK):
            yield chunk


class _Part:
    """A part of an archive that is sent; the archive is closed with the answer."""

    def __init__(self, archive: Archive, start: int, stop: int) -> None:
        self._chunks = archive.chunks(start, stop)
        self.close = archive.close

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks
