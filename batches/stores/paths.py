"""Paths in a store, the same for all of them."""

import re
from urllib.parse import quote

from batches.stores.base import StoreError

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def checked(path: str) -> str:
    """The path, if every store can mean the same by it. Raises `StoreError`.

    Dots that climb, empty names and control characters are refused: what lies between us and
    the store may read them otherwise than we do.
    """
    if not is_plain(path):
        raise StoreError("store_path", path=path[:100])
    return path


def is_plain(path: str) -> bool:
    """Whether it names a file or folder below the root, with nothing in it to be interpreted."""
    names = path.split("/")
    return not _CONTROL.search(path) and not any(name in ("", ".", "..") for name in names)


def folder(text: str) -> str:
    """A folder as people write it, without slashes at its ends; empty for the root.

    Raises `StoreError`.
    """
    trimmed = text.strip().strip("/")
    return checked(trimmed) if trimmed else ""


def below(folder_path: str, name: str) -> str:
    """The path of something in a folder."""
    return f"{folder_path}/{name}" if folder_path else name


def in_url(path: str) -> str:
    """The path as part of an address: all but letters, digits, `-`, `_`, `.` and `~` encoded."""
    return quote(path, safe="/-_.~")
