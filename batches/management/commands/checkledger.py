"""``manage.py checkledger``: prove that the money is right."""

from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from batches import audit as batches_audit
from credits import audit as credits_audit


class Command(BaseCommand):
    """Recompute every figure of the ledger from its entries and from the items."""

    help = "Recompute the whole ledger; end with 1 on any disagreement."

    def handle(self, **_: Any) -> None:
        """Print each disagreement as a sentence, or one line that says there is none."""
        found = list(chain(credits_audit.disagreements(), batches_audit.disagreements()))
        for sentence in found:
            self.stderr.write(sentence)
        if found:
            raise CommandError(f"The ledger disagrees in {len(found)} places.")
        self.stdout.write("The ledger agrees with itself and with the items.")
