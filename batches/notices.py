"""E-mails to those who want to know when a batch has ended."""

import logging
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

log = logging.getLogger(__name__)


def tell(*, now: datetime) -> int:
    """Send an e-mail for each batch that has finished since; returns how many were sent.

    Each batch is marked before its mail is sent: several of us at once, or one that dies half
    way, send a mail once or not at all, never twice. What the mail server could not take is tried
    again in the next round; a server that is away is left alone until then.
    """
    untold = Batch.objects.many().filter(
        state=BatchState.FINISHED, told_at=None, finished_at__gt=now - NEWS_FOR
    )
    wanted = untold.filter(
        owner__notify_email=True, owner__is_active=True, owner__email_verified_at__isnull=False
    )
    sent = 0
    for batch in wanted.select_related("owner").order_by("finished_at"):
        mine = Batch.objects.filter(pk=batch.pk, state=BatchState.FINISHED, told_at=None)
        if not mine.update(told_at=now):
            continue  # somebody else tells it, or it runs again
        outcome = _send(batch)
        sent += bool(outcome)
        if outcome in {Outcome.LATER, Outcome.AWAY}:
            Batch.objects.filter(pk=batch.pk, told_at=now).update(told_at=None)
            log.error("Nobody was told by e-mail that batch %s has ended", batch.uid)
        if outcome == Outcome.AWAY:
            break
    return sent


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
