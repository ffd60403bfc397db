"""The part of a file that a request asks for (RFC 9110, section 14)."""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Literal

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.ASCII | re.IGNORECASE)


class _Unsatisfiable(Enum):
    UNSATISFIABLE = "unsatisfiable"


UNSATISFIABLE = _Unsatisfiable.UNSATISFIABLE
"""The range begins where the file has ended already."""

Unsatisfiable = Literal[_Unsatisfiable.UNSATISFIABLE]


def asked_range(
    headers: Mapping[str, str], *, length: int, etag: str
) -> tuple[int, int] | Unsatisfiable | None:
    """Start and stop of the one part that is asked for; nothing where all of it is to be sent.

    That is so without `Range`, for ranges that are malformed or several, and where `If-Range`
    means another version of the file (a date there means one that nobody knows).
    """
    found = _RANGE.fullmatch(headers.get("Range", ""))
    if not found or headers.get("If-Range", etag).strip() != etag:
        return None
    first, last = found.groups()
    if first:
        start, stop = int(first), min(int(last) + 1, length) if last else length
        if last and int(last) < start:
            return None
    elif last:
        start, stop = max(length - int(last), 0), length
    else:
        return None
    return (start, stop) if start < stop else UNSATISFIABLE
