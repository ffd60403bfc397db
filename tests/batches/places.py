"""Places that results go to, in memory, that misbehave on demand."""

import errno
import hashlib
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import IO

from rest_framework import serializers

from batches.exports.base import MadeFile
from batches.models import Delivery, Item
from batches.stores.base import Found, StoreError


class MemoryStore:
    """A `Store` that keeps bytes and counts calls. `trouble` is raised by the next writes."""

    def __init__(self, *, digests: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.described: dict[str, tuple[str, str]] = {}
        self.calls: list[str] = []
        self.trouble: list[Exception | None] = []
        self.cut: int | None = None
        """Keep only so many bytes of what is written."""
        self._digests = digests
        self._written: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def check(self) -> Mapping[str, str]:
        return {}

    def stat(self, path: str) -> Found | None:
        self.calls.append(f"stat {path}")
        if path not in self.files:
            return None
        data = self.files[path]
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest() if self._digests else ""
        return Found(
            path=path, bytes=len(data), fingerprint=digest, changed_at=self._written.get(path)
        )

    def write(self, path: str, file: IO[bytes], *, size: int, content_type: str) -> None:
        self.calls.append(f"write {path}")
        data = file.read()
        assert len(data) == size
        with self._lock:
            trouble = self.trouble.pop(0) if self.trouble else None
        if isinstance(trouble, StoreError) and trouble.code == "store_unreachable":
            self.put(path, data[: len(data) // 2])  # the connection broke in the middle
        if trouble:
            raise trouble
        self.put(path, data[: self.cut])

    def read(self, path: str, *, into: IO[bytes], max_bytes: int) -> None:
        self.calls.append(f"read {path}")
        into.write(self.files[path])

    def copy(self, path: str, to: str) -> None:
        self.put(to, self.files[path])

    def delete(self, path: str) -> None:
        self.files.pop(path, None)

    def walk(self, folder: str, *, recursive: bool) -> Iterator[Found]:
        raise NotImplementedError

    def describe(self, path: str, *, text: str, product: str) -> None:
        self.described[path] = (text, product)

    def url(self, path: str) -> str:
        return f"https://cdn.example/{path}"

    def put(self, path: str, data: bytes) -> None:
        """Have somebody write a file there; each time is later than the one before."""
        with self._lock:
            self.files[path] = data
            self._written[path] = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(
                seconds=len(self._written) + len(self.calls)
            )


class NoOptions(serializers.Serializer):
    """Nothing to choose."""


class ListOfNames:
    """A `FileExporter`; `full` says how often the disk has no room."""

    slug = "csv"
    Options = NoOptions
    full = 0

    def make(self, delivery: Delivery, into: IO[bytes]) -> MadeFile:
        names = delivery.batch.items.order_by("position").values_list("name", flat=True)
        into.write("\n".join(names).encode())
        if type(self).full:
            type(self).full -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return MadeFile(filename="names.csv", content_type="text/csv")


class Rows:
    """A `RowsExporter` that keeps what it was told."""

    slug = "google_sheet"
    Options = NoOptions
    pushed: list[list[str]] = []
    trouble: list[Exception] = []
    gone: set[str] = set()
    """Names of images whose row somebody has deleted."""

    def push(self, delivery: Delivery, items: Sequence[Item]) -> Sequence[Item]:
        if type(self).trouble:
            raise type(self).trouble.pop(0)
        found = [item for item in items if item.name not in type(self).gone]
        type(self).pushed.append([f"{item.name} {item.state}" for item in found])
        return [item for item in items if item not in found]


def body(text: str) -> io.BytesIO:
    """Bytes as a file."""
    return io.BytesIO(text.encode())
