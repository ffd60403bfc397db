"""The columns that a round trip adds to a sheet: written after a run, understood before the next.

Whoever writes into a sheet (a copy of a file, a Google Sheet) uses these names, and whoever reads
one knows by them which rows are done. They never hold what a person has to tell us.
"""

from typing import Final

STATUS: Final = "studio_status"
RESULT: Final = "studio_result"
ALT_TEXT: Final = "studio_alt_text"
ERROR: Final = "studio_error"
CREDITS: Final = "studio_credits"
TIME: Final = "studio_time"

OURS: Final = (STATUS, RESULT, ALT_TEXT, ERROR, CREDITS, TIME)
"""In the order in which they are written."""

DONE: Final = "done"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
WAITING: Final = "waiting"
"""What `STATUS` may say: a row that is done does not run again, any other does."""


def is_ours(column: str) -> bool:
    """Whether a column was written by us."""
    return column.strip().casefold() in OURS


def is_done(status: str) -> bool:
    """Whether a row's cell in `STATUS` says that it does not run again."""
    return status.strip().casefold() == DONE
