"""A tus client as small as can be, on Django's test client."""

import base64
from typing import Any

from django.test import Client

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = "application/offset+octet-stream"


def metadata(**values: str) -> str:
    """Names and values as the protocol writes them."""
    return ",".join(
        f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items()
    )


def create(browser: Client, length: int | str, *, data: bytes | None = None, **told: str) -> Any:
    """Open an upload; with `data` its first bytes go along."""
    return browser.post(
        "/uploads/tus/",
        data or b"",
        content_type=BYTES if data is not None else "application/x-none",
        headers={**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata(**told)},
    )


def patch(browser: Client, place: str, data: bytes, *, offset: int = 0, kind: str = BYTES) -> Any:
    """Send bytes."""
    return browser.patch(
        place, data, content_type=kind, headers={**TUS, "Upload-Offset": str(offset)}
    )


def head(browser: Client, place: str) -> Any:
    """Ask how far it is."""
    return browser.head(place, headers=TUS)


def send(browser: Client, data: bytes, **told: str) -> str:
    """A whole file in one piece; where its outcome is."""
    place: str = create(browser, len(data), **told)["Location"]
    patch(browser, place, data)
    return place
