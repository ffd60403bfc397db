"""Promo codes: words that give credits, once to each person.

A code that is used up and one that was never there cost whoever tries them the same: the page
counts tries (`credits.views`), since short words can be guessed.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from accounts.models import User
from credits import ledger
from credits.models import Grant, GrantKind, LedgerEntry, PromoCode


class Refused(Exception):
    """A code that gave nothing; `code` is stable, `detail` says what to do now."""

    code = "promo_refused"

    def __init__(self, **params: Any) -> None:
        super().__init__(self.code)
        self.params = params

    @property
    def detail(self) -> str:
        """What is wrong, what that means, and what to do."""
        raise NotImplementedError


class Unknown(Refused):
    """There is no such code."""

    code = "promo_unknown"

    @property
    def detail(self) -> str:
        """In words."""
        return _("There is no such code, and no credits were added. Check how it is written.")


class NotBegun(Refused):
    """The code counts from a later time."""

    code = "promo_not_begun"

    @property
    def detail(self) -> str:
        """In words, with the day."""
        return _("This code counts from {day}. No credits were added; try it again then.").format(
            day=date_format(timezone.localtime(self.params["begins_at"]), "DATETIME_FORMAT")
        )


class Ended(Refused):
    """The code's time is over."""

    code = "promo_ended"

    @property
    def detail(self) -> str:
        """In words, with the day."""
        return _("This code ended on {day}. No credits were added; use another code.").format(
            day=date_format(timezone.localtime(self.params["ends_at"]), "DATETIME_FORMAT")
        )


class UsedUp(Refused):
    """As many people as it was meant for have used the code."""

    code = "promo_used_up"

    @property
    def detail(self) -> str:
        """In words."""
        return _("Others have used this code up. No credits were added; use another code.")


class UsedBefore(Refused):
    """The same person has used the code."""

    code = "promo_used_before"

    @property
    def detail(self) -> str:
        """In words."""
        return _("You have used this code before, and it counts once. No credits were added again.")


class Unproved(Refused):
    """The person's address is not known to be theirs: credits wait for that, as welcome ones do."""

    code = "promo_address_unconfirmed"

    @property
    def detail(self) -> str:
        """In words."""
        return _(
            "Your address is not confirmed yet, so no credits were added and the code stays "
            "unused. Open the link that we sent to you, then enter the code again."
        )


def redeem(user: User, code: str, *, now: datetime | None = None) -> LedgerEntry:
    """Give the user what the code gives; it may be typed in any case. Raises `Refused`.

    The use is counted in the same transaction as the grant, and only while the code has uses
    left and its time is not over: however many ask at once, no more are served than it has.
    """
    now = now or timezone.now()
    word = spelled(code)
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, email_verified_at__isnull=False).exists():
            raise Unproved
        # Two requests of one person wait for each other here; those of others at the code's row.
        ledger.lock(user.pk)
        key = key_of(word, user)
        if Grant.objects.filter(key=key).exists():
            raise UsedBefore
        promo = PromoCode.objects.filter(code=word).first()
        if promo is None:
            raise Unknown
        counted = PromoCode.objects.filter(
            Q(begins_at=None) | Q(begins_at__lte=now),
            Q(ends_at=None) | Q(ends_at__gt=now),
            Q(most_uses=None) | Q(uses__lt=F("most_uses")),
            pk=promo.pk,
        ).update(uses=F("uses") + 1)
        promo.refresh_from_db()
        if not counted:
            raise _why_not(promo, now=now)
        lasts = promo.credits_last_days
        return ledger.grant(
            user,
            promo.amount,
            kind=GrantKind.PROMO,
            key=key,
            expires_at=None if lasts is None else now + timedelta(days=lasts),
            note=word,
        )


def stop(promo: PromoCode, *, now: datetime | None = None) -> bool:
    """Let nobody use the code from now on; False when its time was over already."""
    now = now or timezone.now()
    going = PromoCode.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), pk=promo.pk)
    return bool(going.update(ends_at=now))


def grants_of(promo: PromoCode) -> QuerySet[Grant]:
    """What the code has given, newest first, with whom it was given to."""
    given = Grant.objects.filter(kind=GrantKind.PROMO, key__startswith=_start_of(promo.code))
    return given.select_related("account__owner").order_by("-pk")


def spelled(code: str) -> str:
    """The one spelling of a code that the database holds: in capitals, without spaces."""
    return "".join(code.split()).upper().replace("\0", "")


def key_of(word: str, user: User) -> str:
    """The key of the one grant that this user may get for the code."""
    return f"{_start_of(word)}{user.pk}"


def _start_of(word: str) -> str:
    return f"promo:{word}:"


def _why_not(promo: PromoCode, *, now: datetime) -> Refused:
    if promo.begins_at and promo.begins_at > now:
        return NotBegun(begins_at=promo.begins_at)
    if promo.ends_at and promo.ends_at <= now:
        return Ended(ends_at=promo.ends_at)
    return UsedUp()
