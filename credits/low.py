"""E-mails to those who have few credits left."""

import logging
from datetime import datetime

from django.db.models import F

from accounts import notices
from accounts.mail import Outcome
from accounts.models import User
from credits import ledger

log = logging.getLogger(__name__)


def tell(*, now: datetime) -> int:
    """Tell everybody who wants it and has fewer credits than they said; returns how many.

    Each is told once, until there are enough again. Whoever is told is marked before the mail is
    sent: several of us at once send one. What the mail server could not take is tried again in the
    next run; a server that is away is left alone until then.
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
    told = 0
    for user in low.order_by("pk").iterator():
        if not User.objects.filter(pk=user.pk, low_told_at=None).update(low_told_at=now):
            continue
        available = ledger.balance(user).available
        outcome = notices.send("low", "low", user, available=available, threshold=user.low_credits)
        told += bool(outcome)
        if outcome in {Outcome.LATER, Outcome.AWAY}:
            User.objects.filter(pk=user.pk, low_told_at=now).update(low_told_at=None)
            log.error("User %s was not told that credits run low", user.uid)
        if outcome == Outcome.AWAY:
            break
    return told
