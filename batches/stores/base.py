"""What every store can do, in the same verbs, and how it says no.

Paths are relative to what the connection was given (a bucket's prefix, an account's root), with
`/` between folders and none at either end; they may hold any letters.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Protocol

from batches.outside import OutsideError


class StoreError(OutsideError):
    """A store that did not do what it was asked; `code` and `params` are for people.

    Codes: `store_unreachable`, `store_credentials` (wrong or expired), `store_forbidden`,
    `store_missing` (bucket, account, folder or file), `store_limit` (too many requests),
    `store_name_taken`, `store_damaged` (what lies there is not what was sent), `store_refused`
    (anything else, with `status`), `store_not_allowed` (an address that we don't call),
    `store_clock` (our clock and its clock differ), `store_path` (a `path` that stores read in
    different ways), `store_name_too_long` (with `max`), `file_too_large` (`size` and `max` in
    megabytes); and of connections `connection_gone` and `connection_sealed`.
    """


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file in a store."""

    path: str
    bytes: int
    content_type: str = ""
    changed_at: datetime | None = None
    fingerprint: str = ""
    """The store's own word for these bytes (an ETag), where it has one."""

    @property
    def name(self) -> str:
        """Without its folder."""
        return self.path.rpartition("/")[2]


class Store(Protocol):
    """Somebody's storage elsewhere. Every method may raise `StoreError`."""

    def check(self) -> Mapping[str, str]:
        """Try the credentials; gives what is worth keeping of the account (name, CDN address)."""

    def stat(self, path: str) -> Found | None:
        """The file there, or nothing."""

    def write(self, path: str, file: IO[bytes], *, size: int, content_type: str) -> None:
        """Put a file there in place of whatever is there; folders come by themselves."""

    def read(self, path: str, *, into: IO[bytes], max_bytes: int) -> None:
        """Get a file; `file_too_large` beyond the limit."""

    def copy(self, path: str, to: str) -> None:
        """Have the same bytes in two places."""

    def delete(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""

    def walk(self, folder: str, *, recursive: bool) -> Iterator[Found]:
        """The files in a folder, by name; with `recursive` in those below it too."""

    def folders(self, folder: str) -> Sequence[str]:
        """Names of the folders right in a folder, sorted."""

    def describe(self, path: str, *, text: str, product: str) -> None:
        """Keep alt text and SKU with the file, where the store can; else nothing happens."""

    def url(self, path: str) -> str:
        """Where people see the file; empty where the store doesn't publish."""
