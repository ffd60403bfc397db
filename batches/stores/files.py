"""Bytes of a store on their way into a file of ours."""

import math
from collections.abc import Iterator
from typing import IO

from batches.stores.base import StoreError

_MB = 2**20


def copy_limited(
    chunks: Iterator[bytes], into: IO[bytes], *, announced: int, max_bytes: int
) -> None:
    """Put a body into a file, up to a limit. Raises `StoreError`."""
    if announced > max_bytes:
        raise too_large(announced, max_bytes)
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise too_large(size, max_bytes)
        into.write(chunk)


def too_large(size: int, limit: int) -> StoreError:
    """The refusal of so many bytes, in megabytes as an upload's has them."""
    # Rounded up: one byte too many must not read "20.0 MB; the limit is 20 MB".
    return StoreError("file_too_large", size=math.ceil(size * 10 / _MB) / 10, max=limit // _MB)
