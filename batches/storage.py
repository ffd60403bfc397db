"""Where originals and results lie: names chosen by us, in two storages.

Names never repeat (they hold a random id or a claim's token), so a name that a row
holds always means the same bytes, and two workers never share a file.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast
from uuid import UUID, uuid4

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, Storage, storages

ORIGINALS = "originals"
RESULTS = "results"
DIRECT = "direct"
"""The bucket of originals at the address by which people's programs reach it; not on disks."""
PIECE = ".piece"
"""The ending of a part of a file that is still on its way."""
SHEET = ".sheet"
"""The ending of a spreadsheet, whatever it was called."""
MADE = ".delivery"
"""What the name of every file holds that a delivery made."""
CHUNK = 64 * 1024


class DurableFileSystemStorage(FileSystemStorage):
    """The local disk, where a name appears only when all of its bytes are safe.

    Bytes go to a draft, reach the disk, and then the draft is renamed: a power cut leaves
    either the whole file or none.
    """

    def copy(self, name: str, to: str) -> None:
        """Give the file a second name; the two share their bytes and go one by one.

        Raises `FileNotFoundError`.
        """
        target = Path(self.path(to))
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.path(name), target)
        except FileNotFoundError:
            raise
        except OSError:  # a disk without links, or a file with as many as it may have
            with self.open(name) as file:
                self.save(to, file)

    def _save(self, name: str, content: File) -> str:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=target.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(target)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        return name


def original_key(owner: UUID, uid: UUID, extension: str) -> str:
    """The name of an original; the extension (`.jpg`) is its content's, not its old name's."""
    return f"{owner}/{uid}{extension}"


def piece_key(owner: UUID, upload: UUID, offset: int) -> str:
    """A name for the bytes of a partial upload that begin there; never the same one twice."""
    return f"{owner}/{upload}.{offset}-{uuid4().hex[:12]}{PIECE}"


def upload_of_piece(key: str) -> UUID | None:
    """The partial upload that a piece belongs to; nothing for every other name."""
    name = PurePosixPath(key).name
    if not name.endswith(PIECE):
        return None
    try:
        return UUID(name.partition(".")[0])
    except ValueError:
        return None


def sheet_key(owner: UUID, uid: UUID) -> str:
    """A name for a spreadsheet as it came; never the same one twice."""
    return f"{owner}/{uid}.{uuid4().hex[:12]}{SHEET}"


def sheet_of(key: str) -> UUID | None:
    """The sheet that a file is; nothing for every other name."""
    name = PurePosixPath(key).name
    if not name.endswith(SHEET):
        return None
    try:
        return UUID(name.partition(".")[0])
    except ValueError:
        return None


def result_key(batch: UUID, item: UUID, token: UUID, position: int, extension: str) -> str:
    """The name of a result; the claim's token keeps two runs of one item apart."""
    return f"{batch}/{item}.{token.hex}.{position}{extension}"


def delivery_key(batch: UUID, delivery: UUID, token: UUID, extension: str) -> str:
    """The name of a file that a delivery made; each try has its own."""
    return f"{batch}/{delivery}.{token.hex}{MADE}{extension}"


def save(alias: str, key: str, data: bytes | IO[bytes]) -> None:
    """Store bytes, or all that an open file still gives, under exactly this name."""
    content = ContentFile(data) if isinstance(data, bytes) else File(data)
    stored = _storage(alias).save(key, content)
    if stored != key:
        raise RuntimeError(f"The storage {alias!r} kept {key!r} under another name: {stored!r}.")


def copy(alias: str, key: str, to: str, *, into: str = "") -> None:
    """Keep a file under a second name, without its bytes passing through here where possible.

    `into` names another storage for the copy. Raises `FileNotFoundError`.
    """
    storage = _storage(alias)
    if into and into != alias:
        with storage.open(key) as file:
            save(into, to, file)
        return
    if isinstance(storage, DurableFileSystemStorage):
        storage.copy(key, to)
        return
    if not storage.exists(key):
        raise FileNotFoundError(key)
    if bucket := getattr(storage, "bucket", None):  # S3 copies by itself
        bucket.Object(to).copy({"Bucket": bucket.name, "Key": key})
        return
    with storage.open(key) as file:
        save(alias, to, file)


def read(alias: str, key: str) -> bytes:
    """All bytes of a file."""
    with _storage(alias).open(key) as file:
        return bytes(file.read())


def read_at_most(alias: str, key: str, size: int) -> bytes:
    """The first bytes of a file that a stranger may have written, as long as it may be.

    Raises `FileNotFoundError`.
    """
    storage = _storage(alias)
    bucket = getattr(storage, "bucket", None)
    if not bucket:
        with storage.open(key) as file:
            return bytes(file.read(size))
    # A bucket's file, opened, is fetched whole; what is streamed ends where we stop.
    try:
        body = bucket.Object(key).get()["Body"]
    except bucket.meta.client.exceptions.NoSuchKey:
        raise FileNotFoundError(key) from None
    data = bytearray()
    with closing(body):
        # Up to an empty chunk, where an answer that broke off is told from one that is whole.
        while len(data) < size and (chunk := body.read(min(CHUNK, size - len(data)))):
            data += chunk
    return bytes(data)


def may_be_written_directly() -> bool:
    """Whether programs can write originals without sending them through this site."""
    return DIRECT in settings.STORAGES


def address_to_write(key: str, *, length: int, content_type: str = "", seconds: int) -> str:
    """Where anybody may PUT an original for a while: this one, of exactly this many bytes.

    With a type, that one must be sent along. Storages have it where `may_be_written_directly`.
    """
    bucket = cast("Any", _storage(DIRECT)).bucket
    signed = {"Bucket": bucket.name, "Key": key, "ContentLength": length}
    if content_type:
        signed["ContentType"] = content_type
    client = bucket.meta.client
    address: str = client.generate_presigned_url("put_object", Params=signed, ExpiresIn=seconds)
    return address


def open_file(alias: str, key: str) -> IO[Any]:
    """The file, open for reading; the caller closes it."""
    return _storage(alias).open(key)


def delete(alias: str, *keys: str) -> None:
    """Remove files; one that is not there is no error."""
    for key in keys:
        if key:
            _storage(alias).delete(key)


def sizes(alias: str) -> Iterator[tuple[str, int]]:
    """The names of all files, and their bytes."""
    storage = _storage(alias)
    if bucket := getattr(storage, "bucket", None):
        for entry in bucket.objects.all():
            yield entry.key, entry.size
        return
    for key in walk(alias, older_than=datetime.max.replace(tzinfo=UTC)):
        with suppress(FileNotFoundError):
            yield key, storage.size(key)


def exists(alias: str, key: str) -> bool:
    """Whether the file is there."""
    return bool(_storage(alias).exists(key))


def digest(alias: str, key: str) -> str:
    """The sha256 of a file's bytes, in hex. Raises `FileNotFoundError`."""
    with _storage(alias).open(key) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def walk(alias: str, *, older_than: datetime) -> Iterator[str]:
    """The names of all files last changed before ``older_than``."""
    storage = _storage(alias)
    if bucket := getattr(storage, "bucket", None):  # it tells names and ages a thousand at a time
        for entry in bucket.objects.all():
            if entry.last_modified < older_than:
                yield entry.key
        return
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            folders, files = storage.listdir(folder)
        except FileNotFoundError:
            continue
        pending += [str(PurePosixPath(folder, name)) for name in folders]
        for name in files:
            key = str(PurePosixPath(folder, name))
            try:
                if storage.get_modified_time(key) < older_than:
                    yield key
            except FileNotFoundError:
                continue  # it went while we looked


def _storage(alias: str) -> Storage:
    return storages[alias]
