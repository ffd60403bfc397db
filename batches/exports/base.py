"""What an exporter is: the part of a delivery that knows its target, and nothing of queues."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Protocol, runtime_checkable

from rest_framework import serializers

from batches.models import Delivery, Item, Parcel, Result
from batches.outside import OutsideError


class ExportError(OutsideError):
    """A target that did not take it; `transient` means that trying again may help."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """Where one result lies now."""

    place: str
    url: str = ""
    undo: dict[str, Any] = field(default_factory=dict)
    is_skipped: bool = False
    """Something of this name was there, and was to be left alone."""


@dataclass(frozen=True, kw_only=True)
class MadeFile:
    """What a delivery that is a file is called."""

    filename: str
    content_type: str


@runtime_checkable
class EachExporter(Protocol):
    """Takes results one by one: `library`, `sirv`, `s3`. Safe to call twice for a result."""

    slug: str
    Options: type[serializers.Serializer]

    def send(self, delivery: Delivery, result: Result, *, name: str) -> Sent:
        """Take one result to its place, under this name (a path with its ending)."""

    def undo(self, delivery: Delivery, parcel: Parcel) -> None:
        """Put the place back as it was before `send`."""


@runtime_checkable
class FileExporter(Protocol):
    """Makes one file of all that has ended: `xlsx`, `csv`."""

    slug: str
    Options: type[serializers.Serializer]

    def make(self, delivery: Delivery, into: IO[bytes]) -> MadeFile:
        """Write the file."""


@runtime_checkable
class RowsExporter(Protocol):
    """Writes into something that lives elsewhere, many rows at once: `google_sheet`."""

    slug: str
    Options: type[serializers.Serializer]

    def push(self, delivery: Delivery, items: Sequence[Item]) -> Sequence[Item]:
        """Write what is known of these items; gives those that have no place there any more.

        The same items may come again.
        """
