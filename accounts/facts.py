"""What the admin shows of a user beside the row itself, told by the apps that know.

Accounts know neither credits nor batches; whoever knows more registers a function.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.http import HttpRequest

from accounts.models import User


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A figure, what it is, and where there is more about it."""

    label: str
    value: str
    note: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that staff can do for the user, on a page of its own."""

    label: str
    url: str


Tell = Callable[[HttpRequest, User], Iterator[Fact | Step]]
"""What an app has to say of a user, to whoever asks: only what they may see and do."""

_told_by: list[Tell] = []


def register(tell: Tell) -> None:
    """Let `tell` speak on every user's page."""
    if tell not in _told_by:
        _told_by.append(tell)


def of(request: HttpRequest, user: User) -> tuple[list[Fact], list[Step]]:
    """All facts about the user and all steps, in the order of the apps."""
    told = [one for tell in _told_by for one in tell(request, user)]
    facts = [one for one in told if isinstance(one, Fact)]
    return facts, [one for one in told if isinstance(one, Step)]
