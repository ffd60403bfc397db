"""What the ledger's references stand for, as told by the apps that wrote them.

The ledger keeps plain text such as ``batch:<uid>``. Whoever writes references of a kind
registers a function that names them; credits need not know what a batch is.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from accounts.models import User


@dataclass(frozen=True)
class Named:
    """A thing's name, and the address of its page."""

    name: str
    url: str


Describe = Callable[[User, Collection[str]], Mapping[str, Named]]
"""Names of those references that are there and belong to the user, in one query."""

_describers: dict[str, Describe] = {}


def register(kind: str, describe: Describe) -> None:
    """Let ``describe`` name all references that begin with ``kind:``."""
    _describers[kind] = describe


def named(user: User, references: Collection[str]) -> dict[str, Named]:
    """What is known of these references; what is gone, or nobody's, is left out."""
    found: dict[str, Named] = {}
    for kind, describe in _describers.items():
        own = {name for name in references if name.startswith(f"{kind}:")}
        if own:
            found |= describe(user, own)
    return found
