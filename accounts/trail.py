"""The record of what staff does: every change in the admin ends here, and nothing leaves."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_ipv46_address
from django.db import models
from django.http import HttpRequest

from accounts import limits
from accounts.models import StaffAction, User

SECRETS = ("password", "secret", "token", "digest", "sealed")
"""Fields whose names hold one of these words never enter the record."""


def record(
    request: HttpRequest,
    action: str,
    target: models.Model | None = None,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
    rows: int = 1,
    actor: User | None = None,
) -> StaffAction:
    """Note that whoever asks did `action` (`batch.pause`) to `target`, in the same transaction.

    `before` and `after` hold what changed, by name; what looks like a secret is left out.
    `rows` is how many rows moved. `actor` is named where the request doesn't know it yet, or no
    longer.
    """
    who: Any = actor or request.user
    return StaffAction.objects.create(
        actor=who,
        actor_email=who.email,
        ip=_address(request),
        request_id=getattr(request, "request_id", ""),
        action=action,
        target_kind=target._meta.label_lower if target is not None else "",
        target_id=id_of(target) if target is not None else "",
        target_label=str(target)[:255] if target is not None else "",
        before=_plain(before),
        after=_plain(after),
        reason=reason[:500],
        rows=rows,
    )


def signed_in(request: HttpRequest | None, user: User, **_signal: object) -> None:
    """Note that somebody of staff came in, by whatever door."""
    _note_door(request, user, "staff.sign_in")


def signed_out(request: HttpRequest | None, user: User | None, **_signal: object) -> None:
    """Note that somebody of staff left."""
    _note_door(request, user, "staff.sign_out")


def _note_door(request: HttpRequest | None, user: User | None, action: str) -> None:
    # A program that signs somebody in has no request worth the name, and is no person.
    if user is not None and user.is_staff and request is not None and request.method:
        record(request, action, user, actor=user)


def id_of(target: models.Model) -> str:
    """The id under which the record has a row: the one that people see, where there is one."""
    return str(getattr(target, "uid", target.pk))


def _address(request: HttpRequest) -> str | None:
    address = limits.address_of(request)
    try:
        validate_ipv46_address(address)
    except ValidationError:  # what a proxy wrote need not be one
        return None
    return address


def _plain(fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """Values as JSON knows them, without secrets."""
    return {
        name: value if isinstance(value, bool | int | float | None) else str(value)
        for name, value in (fields or {}).items()
        if not any(word in name.lower() for word in SECRETS)
    }
