"""E-mails to those who have few credits left."""

from datetime import datetime

from django.db.models import F

from accounts import notices
from accounts.mail import Outcome
from accounts.models import User
from credits import ledger


def tell(*, now: datetime) -> int:
    """Tell everybody who wants it and has fewer credits than they said; returns how many.

    Each is told once, until there are enough again: see `accounts.notices.tell_each`.
    """
    enough = User.objects.filter(
        low_told_at__isnull=False, credit_account__available__gte=F("low_credits")
    )
    User.objects.filter(pk__in=enough.values("pk")).update(low_told_at=None)
    low = User.objects.filter(
        low_told_at=None,
        low_credits__gt=0,
        credit_account__available__lt=F("low_credits"),
        is_active=True,
        email_verified_at__isnull=False,
    )
    return notices.tell_each(
        low.order_by("pk").iterator(), _send, of=User.objects.all(), told_at="low_told_at", now=now
    )


def _send(user: User) -> Outcome:
    available = ledger.balance(user).available
    return notices.send("low", "low", user, available=available, threshold=user.low_credits)
