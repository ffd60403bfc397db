"""Whether every file that a row names is there, and how many files no row names."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from batches import storage
from batches.models import Asset, Delivery, Original, Result, Sheet

Named = tuple[type[Asset | Delivery | Original | Result], str, str | None]

NAMED_BY: Mapping[str, Sequence[Named]] = {
    storage.ORIGINALS: [(Original, "key", None), (Original, "thumbnail_key", None)],
    storage.RESULTS: [
        (Result, "key", "bytes"),
        (Result, "thumbnail_key", None),
        (Asset, "key", "bytes"),
        (Asset, "thumbnail_key", None),
        (Delivery, "key", "bytes"),
    ],
}
"""Which columns of which rows name files, and which column says how long they are."""

_AMISS = """
SELECT named.key, named.bytes, place, id, files.bytes
FROM named LEFT JOIN files ON files.key = named.key
WHERE id IS NOT NULL AND (files.key IS NULL OR named.bytes <> files.bytes)
ORDER BY place, id
"""
_ORPHANS = """
SELECT count(*) FROM files WHERE NOT EXISTS (SELECT 1 FROM named WHERE named.key = files.key)
"""


@dataclass
class Found:
    """What one look found. `wrong` says each damage as a sentence."""

    files: int = 0
    bytes: int = 0
    named: int = 0
    orphans: int = 0
    """Files that no row names: pieces of uploads on their way, and what the sweeper removes."""
    wrong: list[str] = field(default_factory=list)


def take(*, deep: bool = False) -> Found:
    """Compare rows and files; with `deep` read every result, too, and compare its sha256.

    Changes nothing. Memory stays the same however many files there are: what is compared lies in a
    temporary file meanwhile, of some 350 bytes for each, which goes with the process.
    """
    found = Found()
    for alias, columns in NAMED_BY.items():
        with closing(sqlite3.connect("")) as notes:
            _note_files(notes, alias, found)
            for place, one in enumerate(columns):
                _note_rows(notes, place, one)
            found.named += _count(notes, "SELECT count(*) FROM named")
            if alias == storage.ORIGINALS:
                keys = Sheet.objects.exclude(key="").values_list("key", flat=True).iterator()
                sheets = ((key, None, None, None) for key in keys)
                notes.executemany("INSERT INTO named VALUES (?, ?, ?, ?)", sheets)
            # Now, not before: to sort once is far quicker than to keep in order.
            notes.execute("CREATE INDEX files_by_key ON files (key, bytes)")
            notes.execute("CREATE INDEX named_by_key ON named (key)")
            found.wrong += _wrong(notes, alias, columns)
            found.orphans += _count(notes, _ORPHANS)
    if deep:
        found.wrong += _damaged()
    return found


def _note_files(notes: sqlite3.Connection, alias: str, found: Found) -> None:
    notes.execute("CREATE TABLE files (key, bytes)")
    notes.execute("CREATE TABLE named (key, bytes, place, id)")
    notes.executemany("INSERT INTO files VALUES (?, ?)", storage.sizes(alias))
    found.files += _count(notes, "SELECT count(*) FROM files")
    found.bytes += _count(notes, "SELECT total(bytes) FROM files")


def _note_rows(notes: sqlite3.Connection, place: int, named: Named) -> None:
    rows = ((key, length, place, pk) for pk, key, length in _rows(*named))
    notes.executemany("INSERT INTO named VALUES (?, ?, ?, ?)", rows)


def _wrong(notes: sqlite3.Connection, alias: str, columns: Sequence[Named]) -> Iterator[str]:
    for key, wanted, place, pk, has in notes.execute(_AMISS):
        model, column, _length = columns[place]
        # What came or went while we looked is no damage: ask again, both of them.
        still_named = model._default_manager.filter(pk=pk, **{column: key}).exists()
        if still_named and (has is not None or not storage.exists(alias, key)):
            problem = _problem(f"{alias}/{key}", wanted, has)
            yield f"{model._meta.verbose_name} {pk}: {problem}."


def _count(notes: sqlite3.Connection, question: str) -> int:
    return int(notes.execute(question).fetchone()[0])


def _problem(file: str, wanted: int | None, has: int | None) -> str:
    if has is None:
        return f"the file {file} is missing"
    return f"the file {file} has {has} bytes instead of {wanted}"


def _rows(
    model: type[Asset | Delivery | Original | Result], column: str, length: str | None
) -> Iterator[tuple[int, str, int | None]]:
    rows = model._default_manager.exclude(**{column: ""}).order_by("pk")
    for pk, key, *size in rows.values_list("pk", column, *filter(None, [length])).iterator():
        yield pk, key, size[0] if size else None


def _damaged() -> Iterator[str]:
    for model in (Result, Asset):
        rows = model._default_manager.exclude(key="").order_by("pk")
        for pk, key, digest in rows.values_list("pk", "key", "sha256").iterator():
            try:
                same = storage.digest(storage.RESULTS, key) == digest
            except FileNotFoundError:
                continue  # it is missing, and that was said
            if not same:
                yield f"{model._meta.verbose_name} {pk}: the file results/{key} has other bytes."
