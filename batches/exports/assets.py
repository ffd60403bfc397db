"""Assets of the library as files: one by itself, or chosen ones as a ZIP made while it is sent."""

from collections.abc import Iterator, Sequence

from django.http import FileResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from zipstream import ZIP_STORED, ZipStream

from batches import formats, storage
from batches.exports import archive
from batches.models import Asset
from batches.names import Names, clean_name

CHUNK = 64 * 1024


def zip_response(assets: Sequence[Asset]) -> StreamingHttpResponse:
    """These assets as one file. The caller has made sure that they may be seen.

    Memory holds one chunk at a time. A file that is gone breaks the download off, so that no
    half of it looks whole.
    """
    names = Names()
    packed = ZipStream(compress_type=ZIP_STORED, sized=True)
    for asset in assets:
        packed.add(_chunks(asset), names.unique(clean_name(asset.name)), size=asset.bytes)
    name = clean_name(_("library") + ".zip")
    answer = StreamingHttpResponse(
        packed,
        content_type="application/zip",
        headers={
            "Content-Length": str(len(packed)),
            "Content-Disposition": content_disposition_header(True, name) or "",
        },
    )
    return archive.private(answer, cache="no-store")


def file_response(asset: Asset, *, download: bool) -> FileResponse:
    """One asset, to look at or to be saved; texts are always saved. `Http404` when it is gone."""
    return archive.picture_response(
        storage.RESULTS,
        asset.key,
        content_type=formats.CONTENT_TYPES[asset.format],
        name=asset.name,
        download=download or asset.format in formats.TEXTS,
    )


def _chunks(asset: Asset) -> Iterator[bytes]:
    """A stored file, opened when its turn comes."""
    sent = 0
    try:
        file = storage.open_file(storage.RESULTS, asset.key)
    except FileNotFoundError:
        raise RuntimeError(f"The asset {asset.uid} is not in the storage any more.") from None
    with file:
        while chunk := file.read(CHUNK):
            sent += len(chunk)
            yield chunk
    if sent != asset.bytes:
        raise RuntimeError(f"The asset {asset.uid} has {sent} bytes, not {asset.bytes}.")
