"""Tells the site's operators of what the clock finds broken: each finding once, while it lasts.

Who runs a command by hand reads its output, and cron mails it. What the scheduler finds at night
nobody would see before they look.
"""

from collections.abc import Sequence
from hashlib import blake2b

from django.conf import settings
from django.utils import timezone

from accounts import mail
from studio.models import ScheduledRun

LISTED = 20
"""Findings that one mail lists; it says how many more there are."""


def tell(run: ScheduledRun, findings: Sequence[str]) -> int:
    """Mail what has come since the last look; how many findings that is.

    What is mended is forgotten, so that it is news when it breaks again. Where no mail can be
    handed over the next run tries again.
    """
    now = {_digest(finding): finding for finding in findings}
    known = set(run.told)
    new = [finding for digest, finding in now.items() if digest not in known]
    if new and not _mail(run.name, new):
        now = {digest: finding for digest, finding in now.items() if digest in known}
        new = []
    if now.keys() != known:
        ScheduledRun.objects.filter(pk=run.pk).update(told=sorted(now))
    return len(new)


def _mail(chore: str, new: Sequence[str]) -> bool:
    """Whether somebody got it, or nobody is to."""
    outcomes = [
        mail.send(
            "studio/mail/broken",
            address,
            chore=chore,
            count=len(new),
            findings=[" ".join(finding.split()) for finding in new[:LISTED]],
            more=len(new) - LISTED,
            found_at=timezone.now(),
        )
        for address in settings.OPERATORS
    ]
    return any(outcomes) or not outcomes


def _digest(finding: str) -> str:
    return blake2b(finding.encode(), digest_size=12).hexdigest()
