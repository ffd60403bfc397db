"""Addresses of servers that people name for their storage."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from batches.fetch import FetchError, check_url
from batches.stores.base import StoreError


def judged(endpoint: str, *, allow: Sequence[str] = ()) -> str:
    """An endpoint as it may be called: public and encrypted, or named by the operator.

    Raises `StoreError`: `store_not_allowed`.
    """
    try:
        url = check_url(endpoint, allow=allow).rstrip("/")
    except FetchError as error:
        raise StoreError("store_not_allowed", host=endpoint[:100]) from error
    parts = urlsplit(url)
    named = parts.netloc if parts.port else f"{parts.netloc}:80"
    if parts.path or parts.query or (parts.scheme == "http" and named not in allow):
        raise StoreError("store_not_allowed", host=endpoint[:100])
    return url
