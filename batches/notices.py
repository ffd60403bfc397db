"""E-mails to those who want to know when a batch has ended."""

from datetime import datetime, timedelta

from django.conf import settings

from accounts import notices
from accounts.mail import Outcome
from batches import progress, triage
from batches.models import Batch
from batches.states import BatchState

NEWS_FOR = timedelta(days=1)
"""What ended longer ago is no news: nobody is told of a year's work on the day they ask for it."""
MOST_REASONS = 5
"""Causes of failures that a mail names; the batch's page has all."""


def tell(*, now: datetime) -> int:
    """Send an e-mail for each batch that has finished since; returns how many were sent.

    See `accounts.notices.tell_each`.
    """
    untold = Batch.objects.many().filter(
        state=BatchState.FINISHED, told_at=None, finished_at__gt=now - NEWS_FOR
    )
    wanted = untold.filter(
        owner__notify_email=True, owner__is_active=True, owner__email_verified_at__isnull=False
    )
    return notices.tell_each(
        wanted.select_related("owner").order_by("finished_at"),
        _send,
        of=Batch.objects.filter(state=BatchState.FINISHED),
        told_at="told_at",
        now=now,
    )


def _send(batch: Batch) -> Outcome:
    look = progress.of(batch, now=None)
    groups = triage.groups(triage.failures(batch)) if look.failed else []
    return notices.send(
        "ended",
        "batches/mail/ended",
        batch.owner,
        name=str(batch),
        progress=look,
        groups=groups[:MOST_REASONS],
        address=settings.SITE_URL.rstrip("/") + batch.get_absolute_url(),
    )
