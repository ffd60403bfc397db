"""``manage.py reportusage``: images and credits of a time."""

import argparse
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.models import User
from studio.commands import ChoreCommand


def day(text: str) -> datetime:
    """The beginning of a day in UTC."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a day such as 2026-11-01.") from None
    return datetime(found.year, found.month, found.day, tzinfo=UTC)


class Command(ChoreCommand):
    """See `studio.chores` and `batches.usage`."""

    chore = "reportusage"

    def add_arguments(self, parser: CommandParser) -> None:
        """Which time, whose, and where the table goes."""
        parser.add_argument(
            "--since", type=day, metavar="DAY", help="from this day on; else this month's first"
        )
        parser.add_argument("--until", type=day, metavar="DAY", help="before this day; else now")
        parser.add_argument("--user", metavar="E-MAIL", help="of one person")
        parser.add_argument(
            "--csv", type=Path, metavar="FILE", help="write a table by person and tool there"
        )

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """The same for the chore. Raises `CommandError` for somebody unknown."""
        user = None
        if options["user"]:
            user = User.objects.filter(email=options["user"].strip().lower()).first()
            if user is None:
                raise CommandError(f"There is no account for {options['user']}.", returncode=2)
        since, until = options["since"], options["until"]
        return {"since": since, "until": until, "user": user, "into": options["csv"]}
