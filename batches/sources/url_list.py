"""Pasted addresses, one per line."""

from collections.abc import Iterator

from batches.sources.base import Row


def rows(text: str) -> Iterator[Row]:
    """One row per line that is not blank, with its line number; nothing is judged here."""
    for number, line in enumerate(text.splitlines(), start=1):
        if address := line.strip():
            yield Row(url=address, line=number)
