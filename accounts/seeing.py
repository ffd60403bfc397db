"""Staff who look at the site as one of its users does, and change nothing while they do.

The session stays the one of whoever acts; it holds for whom they look and since when. For the
length of a request `studio.seeing.SeeingMiddleware` puts the user in their place.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.csrf import rotate_token

from accounts import trail
from accounts.models import User
from accounts.signals import about_to_be_seen

LASTS = timedelta(minutes=30)
"""How long somebody may look before they have to say again why."""
PERMISSION = "accounts.see_as_user"
SESSION = "seeing_as"
"""In the session: the user's id, and when it ends (seconds since 1970)."""
SIGHT = "sight"
"""The attribute of a request that is answered as a user sees it."""

READING = frozenset({"SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK"})
"""What may be said to the database meanwhile, by first words."""

_only_looks: ContextVar[bool] = ContextVar("only_looks", default=False)

View = Callable[..., HttpResponseBase]


class ReadOnly(PermissionDenied):
    """What was asked for changes something, or shows a secret: not while seeing as a user."""


class NotAllowed(PermissionDenied):
    """Whoever asks may not see the site as this user, or nobody may."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """Who looks as whom, and until when."""

    actor: User
    target: User
    until: datetime

    def is_over(self, *, now: datetime) -> bool:
        """Whether the time has run out, or one of the two is no longer who they were."""
        return now >= self.until or not may_see(self.actor, self.target)


def may_see(actor: User, target: User) -> bool:
    """Whether the one may see the site as the other: only staff with the right, never as staff."""
    is_user = not (target.is_staff or target.is_superuser or target.erasing_at)
    return is_user and actor.is_active and actor.is_staff and actor.has_perm(PERMISSION)


def begin(request: HttpRequest, target: User, *, reason: str, now: datetime) -> None:
    """From the next request on, answer this session as `target` sees it. Raises `NotAllowed`."""
    actor: Any = request.user
    if not may_see(actor, target):
        raise NotAllowed
    about_to_be_seen.send(User, user=target)
    until = now + LASTS
    request.session[SESSION] = {"user": target.pk, "until": until.timestamp()}
    rotate_token(request)  # forms that are open act for somebody else now
    trail.record(request, "user.see", target, after={"until": until}, reason=reason)


def end(request: HttpRequest, *, why: str) -> User | None:
    """Answer this session as its own person again; as whom it was. `why` is for the record."""
    noted = request.session.pop(SESSION, None)
    if noted is None:
        return None
    target = User.objects.filter(pk=noted["user"]).first()
    rotate_token(request)
    trail.record(request, "user.unsee", target, reason=why)
    return target


def of(request: HttpRequest) -> Sight | None:
    """As whom this session sees the site, whether or not it still may; None for all others."""
    session = request.session
    asked_before = session.accessed
    noted = session.get(SESSION)
    if noted is None:
        # Pages that don't mind who looks stay so: their answers may be kept by caches.
        session.accessed = asked_before
        return None
    actor: Any = request.user
    target = User.objects.filter(pk=noted["user"]).first()
    if target is None or not actor.is_authenticated:
        return None
    until = datetime.fromtimestamp(noted["until"], tz=UTC)
    return Sight(actor=actor, target=target, until=until)


def hidden(view: View) -> View:
    """Mark a view that shows a secret: its owner sees it and nobody else. Raises `ReadOnly`."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if hasattr(request, SIGHT):
            raise ReadOnly
        return view(request, *args, **kwargs)

    return guarded


def only_looks() -> bool:
    """Whether the work at hand is for staff's look: what it finds out is not kept then.

    For what a page computes from what is there and stores so as to do it once.
    """
    return _only_looks.get()


@contextmanager
def reading_only() -> Iterator[None]:
    """Refuse whatever would change the database: raises `ReadOnly` in whoever tries.

    Pages that only show something have no business to write; this holds for those, too, that
    somebody adds next year.
    """

    def judge(
        execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        words = str(sql).split(None, 1)
        if not words or words[0].upper().rstrip(";") not in READING:
            raise ReadOnly
        return execute(sql, params, many, context)

    before = _only_looks.set(True)
    try:
        with connection.execute_wrapper(judge):
            yield
    finally:
        _only_looks.reset(before)
