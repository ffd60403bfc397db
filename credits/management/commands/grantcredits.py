"""``manage.py grantcredits E-MAIL N``: give credits; the new balance, on one line."""

import argparse
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import ngettext

from accounts.models import User
from credits import ledger
from credits.models import GrantKind


def positive(text: str) -> int:
    """A whole number above zero."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above zero.")
    return int(text)


class Command(BaseCommand):
    """Give credits to somebody who has an account. Each run gives again."""

    help = "Gives N credits to an account and prints its new balance. Each run gives again."

    def add_arguments(self, parser: CommandParser) -> None:
        """To whom, and how many."""
        parser.add_argument("email", metavar="E-MAIL")
        parser.add_argument("amount", metavar="N", type=positive)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the balance and nothing else."""
        try:
            user = User.objects.get_by_natural_key(options["email"])
        except User.DoesNotExist as error:
            raise CommandError(
                f"There is no account for {options['email']}. "
                f"“manage.py createapikey {options['email']}” makes one."
            ) from error
        entry = ledger.grant(
            user,
            options["amount"],
            kind=GrantKind.ADMIN,
            key=f"grantcredits:{uuid.uuid4()}",
            note="manage.py grantcredits",
        )
        now = entry.available_after
        self.stdout.write(ngettext("%d credit", "%d credits", now) % now)
