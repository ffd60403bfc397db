"""``manage.py checkstorage``: look whether every file is there."""

from typing import Any

from django.core.management.base import CommandParser

from studio.commands import ChoreCommand


class Command(ChoreCommand):
    """See `studio.chores` and `batches.inventory`."""

    chore = "checkstorage"

    def add_arguments(self, parser: CommandParser) -> None:
        """How closely."""
        parser.add_argument(
            "--deep", action="store_true", help="read every result, and compare its sha256"
        )

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """The same for the chore."""
        return {"deep": options["deep"]}
