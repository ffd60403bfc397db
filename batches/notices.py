"""E-mails to those who want to know when a batch has ended."""

import logging
from datetime import datetime, timedelta

from django.conf import settings

from accounts import notices
from batches import progress
from batches.models import Batch
from batches.states import BatchState

NEWS_FOR = timedelta(days=1)
"""What ended longer ago is no news: nobody is told of a year's work on the day they ask for it."""

log = logging.getLogger(__name__)


def tell(*, now: datetime) -> int:
    """Send an e-mail for each batch that has finished since; returns how many were sent.

    Each batch is marked before its mail is sent: several of us at once, or one that dies half
    way, send a mail once or not at all, never twice. A mail server that fails is logged and left
    alone until the next round.
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
        if not _send(batch):
            log.error("Nobody was told by e-mail that batch %s has ended", batch.uid)
            break
        sent += 1
    return sent


def _send(batch: Batch) -> bool:
    return notices.send(
        "ended",
        "batches/mail/ended",
        batch.owner,
        name=" ".join(str(batch).split()),  # a line break would end the subject
        progress=progress.of(batch, now=None),
        address=settings.SITE_URL.rstrip("/") + batch.get_absolute_url(),
    )
