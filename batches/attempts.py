"""What was tried with an image, and what came of each try."""

from dataclasses import dataclass
from datetime import datetime

from django.utils.dateparse import parse_datetime

from batches import messages
from batches.models import Item
from batches.states import ItemState


@dataclass(frozen=True)
class Try:
    """One try at an image, as people see it."""

    number: int
    started_at: datetime | None
    ended_at: datetime | None
    message: str
    """Why it came to nothing; empty where it is done, or under way."""
    code: str = ""
    done: bool = False


def of(item: Item) -> list[Try]:
    """All tries, the newest first."""
    past = [
        Try(
            entry["attempt"],
            _time(entry["started_at"]),
            _time(entry["ended_at"]),
            messages.text(entry["code"], entry["params"]),
            entry["code"],
        )
        for entry in item.history
    ]
    if item.started_at:
        begun = max(filter(None, [item.started_at, past[-1].ended_at if past else None]))
        done = item.state == ItemState.DONE
        past.append(
            Try(item.attempt, begun, item.finished_at, item.error, item.error_code, done=done)
        )
    return past[::-1]


def _time(text: str | None) -> datetime | None:
    return parse_datetime(text) if text else None
