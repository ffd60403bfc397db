"""What every source yields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image as it was asked for, not validated yet: an address or an upload's id, never both.

    A row with a `refusal` has neither: its file was turned away before.
    """

    url: str = ""
    upload: str = ""
    name: str = ""
    external_id: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    problems: Sequence[tuple[str, str]] = ()
    """What the source could not make sense of: (field or nothing for the whole row, words)."""
    line: int | None = None
    """1-based place in what the person pasted or uploaded."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Every column of its sheet, by the column's name: name patterns may use them."""
    folder: str = ""
    """Where it lay below what was chosen (`shoes/left`); results keep the tree."""
    connection: str = ""
    """The uid of the connection whose storage `url` is a path in; empty for the web."""
    is_done: bool = False
    """Whether an earlier round trip has marked it as done: it does not run again."""
    refusal: tuple[str, Mapping[str, Any]] | None = None
    """Code and figures of why its file was turned away, so that the batch can say so."""
