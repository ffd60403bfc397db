"""What schemathesis (`schemathesis.toml`) would not find by chance.

Of bytes by chance no picture comes, and a text that is sent as `Idempotency-Key` over and over
means the first request: what is behind either would never be asked for.
"""

import io
import uuid
from typing import Any

import schemathesis
from hypothesis import strategies as st
from PIL import Image
from schemathesis import openapi

KEY = "Idempotency-Key"


def picture() -> bytes:
    """A small PNG."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize((16, 12)).save(out, "PNG")
    return out.getvalue()


SHEET = b"Photo,Title\nhttps://shop.example.com/1.jpg,Shoe\n"

openapi.format("binary", st.sampled_from([picture(), SHEET]) | st.binary())


@schemathesis.hook
def before_call(_context: Any, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """Send a new key in place of each that is one; what is none stays as it is."""
    key = (case.headers or {}).get(KEY)
    if isinstance(key, str) and key.isascii() and key.isprintable() and 0 < len(key) <= 255:
        case.headers[KEY] = str(uuid.uuid4())
