"""Whether every file that a row names is there, and how many files no row names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

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

    Changes nothing. Takes some 150 bytes of memory for each file.
    """
    found = Found()
    for alias, columns in NAMED_BY.items():
        there: dict[bytes, int] = {}
        for key, size in storage.sizes(alias):
            there[_short(key)] = size
            found.files += 1
            found.bytes += size
        named: set[bytes] = set()
        for model, column, length in columns:
            for pk, key, wanted in _rows(model, column, length):
                found.named += 1
                named.add(_short(key))
                has = there.get(_short(key))
                if has is not None and (wanted is None or has == wanted):
                    continue
                # What came or went while we looked is no damage: ask again, both of them.
                still_named = model._default_manager.filter(pk=pk, **{column: key}).exists()
                if still_named and (has is not None or not storage.exists(alias, key)):
                    problem = _problem(f"{alias}/{key}", wanted, has)
                    found.wrong.append(f"{model._meta.verbose_name} {pk}: {problem}.")
        if alias == storage.ORIGINALS:
            named |= {_short(key) for key in Sheet.objects.values_list("key", flat=True) if key}
        found.orphans += len(there.keys() - named)
    if deep:
        found.wrong += _damaged()
    return found


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


def _short(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=12).digest()
