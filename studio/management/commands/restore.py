"""``manage.py restore FOLDER``: bring a backup into a site that is empty."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from studio import backups


class Command(BaseCommand):
    """Files first, then the database, then this version's migrations; the ledger is checked."""

    requires_system_checks: list[str] = []
    requires_migrations_checks = False
    help = "Brings a backup of `manage.py backup` into a site whose database is empty."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where from, and which one."""
        parser.add_argument("folder", type=Path)
        parser.add_argument("--name", default="", help="which one; else the newest")

    def handle(self, *_: Any, folder: Path, name: str, **__: Any) -> None:
        """Print one line; end with 1 where nothing was restored or the ledger disagrees."""
        try:
            done = backups.restore(folder, name=name)
        except (backups.BackupRefused, OSError) as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(
            f"Restored {done.name}: the database and {done.files} files, {done.copied} of them "
            "copied now. The ledger agrees."
        )
