"""Results as files: one by itself, or all of a batch as a ZIP that is written while it is sent.

Nothing is packed beforehand and pictures are not compressed again, so the first byte leaves
at once and the length is known from the start. What is ready goes in; a batch may still run.
"""

import json
from collections.abc import Iterator
from typing import Any, TypeVar

from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from zipstream import ZIP_STORED, ZipStream

from batches import storage
from batches.models import Batch, Item, Result
from batches.names import Names, clean_name, split_name
from batches.states import ItemState
from tools.engines import images

MANIFEST = "manifest.json"
CHUNK = 64 * 1024
ROWS_AT_ONCE = 500

Answer = TypeVar("Answer", bound=HttpResponseBase)


def stream(batch: Batch) -> ZipStream:
    """The ZIP as chunks of bytes, each made when it is asked for; ``len()`` is its length.

    Two queries. Memory holds the names and settings, never more of the files than a chunk.
    Raises `RuntimeError` half way, and so breaks the download, when a file is not there any
    more or has another length than it should have.
    """
    names = Names(MANIFEST)
    pictures: list[tuple[str, Result]] = []
    listed: list[dict[str, Any]] = []
    for result in _results(batch):
        name = names.unique(result_name(result))
        pictures.append((name, result))
        listed.append(_entry(result.item, name=name, result=result))
    failed = batch.items.filter(state=ItemState.FAILED).iterator(chunk_size=ROWS_AT_ONCE)
    listed += [_entry(item, name=item.name, result=None) for item in failed]
    listed.sort(key=lambda entry: entry["position"])  # stable: results of one item keep theirs

    archive = ZipStream(compress_type=ZIP_STORED, sized=True)
    archive.add(_manifest(batch, listed), MANIFEST)
    for name, result in pictures:
        if result.key:
            archive.add(_chunks(result.key, result.bytes), name, size=result.bytes)
        else:
            archive.add(result.text.encode(), name)
    return archive


def filename(batch: Batch) -> str:
    """What the ZIP is called on the disk of whoever saves it."""
    stem = str(batch).replace("/", "-").replace("\\", "-")
    return clean_name(f"{stem}.zip")


def response(batch: Batch) -> StreamingHttpResponse:
    """The ZIP as an answer. The caller has made sure that the batch may be seen."""
    archive = stream(batch)
    answer = StreamingHttpResponse(
        archive,
        content_type="application/zip",
        headers={
            "Content-Length": str(len(archive)),
            "Content-Disposition": content_disposition_header(True, filename(batch)) or "",
        },
    )
    return private(answer, cache="no-store")  # while the batch runs, the next one holds more


def result_name(result: Result) -> str:
    """The name of a result's file: the item's stem, and the ending of what is inside."""
    stem, _extension = split_name(result.item.name)
    return clean_name(f"{stem}{images.EXTENSIONS.get(result.format, f'.{result.format}')}")


def file_response(result: Result, *, download: bool) -> HttpResponseBase:
    """One result as an answer, for an `<img>` or to be saved; texts are always saved.

    The caller has made sure that it may be seen. Raises `Http404` when the file is gone.
    """
    name = result_name(result)
    if not result.key:
        kind = "application/json" if result.format == "json" else "text/plain; charset=utf-8"
        answer = HttpResponse(result.text, content_type=kind)
        answer["Content-Disposition"] = content_disposition_header(True, name) or ""
        return private(answer)
    return picture_response(
        storage.RESULTS,
        result.key,
        content_type=images.CONTENT_TYPES[result.format],
        name=name,
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


def _results(batch: Batch) -> Iterator[Result]:
    made = Result.objects.filter(item__batch=batch, item__state=ItemState.DONE)
    ordered = made.select_related("item").order_by("item__position", "position")
    return ordered.iterator(chunk_size=ROWS_AT_ONCE)


def _entry(item: Item, *, name: str, result: Result | None) -> dict[str, Any]:
    """A line of the manifest: a file in the ZIP, or an item that gave none."""
    return {
        "name": name,
        "id": str(item.uid),
        "external_id": item.external_id,
        "position": item.position,
        "source": item.source_url or item.name,
        "settings": item.settings,
        "sha256": result.sha256 if result else None,
        "bytes": result.bytes if result else None,
        "width": result.width if result else None,
        "height": result.height if result else None,
        "error": {"code": item.error_code, "message": item.error} if item.error_code else None,
    }


def _manifest(batch: Batch, listed: list[dict[str, Any]]) -> bytes:
    about = {
        "batch": {"id": str(batch.uid), "name": batch.name, "tool": batch.tool},
        "items": listed,
    }
    return json.dumps(about, ensure_ascii=False, indent=1).encode()


def _chunks(key: str, size: int) -> Iterator[bytes]:
    """A stored file, opened when its turn comes."""
    sent = 0
    try:
        file = storage.open_file(storage.RESULTS, key)
    except FileNotFoundError:
        raise RuntimeError(f"The result {key} is not in the storage any more.") from None
    with file:
        while chunk := file.read(CHUNK):
            sent += len(chunk)
            yield chunk
    if sent != size:
        raise RuntimeError(f"The result {key} has {sent} bytes and should have {size}.")
