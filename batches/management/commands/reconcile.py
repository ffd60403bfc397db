"""``manage.py reconcile``: put right what nobody finished."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from batches.reconcile import reconcile


class Command(BaseCommand):
    """One round; safe to run at any time, many at once."""

    help = "End leases that ran out, ring lost items again, close batches that nobody closed."

    def handle(self, **_: Any) -> None:
        """Print one line. A Valkey that does not answer is no failure: the rest is still done."""
        self.stdout.write(f"{reconcile(now=timezone.now())}.")
