"""``manage.py backup FOLDER``: the database and all files, into a folder."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from studio import backups


class Command(BaseCommand):
    """Write one backup beside the earlier ones; files that are there already stay."""

    help = "Copies the database and all files into a folder; the site may go on running."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to, and how many backups stay."""
        parser.add_argument("folder", type=Path)
        parser.add_argument(
            "--keep", type=int, default=0, metavar="N", help="remove all but the newest N backups"
        )

    def handle(self, *_: Any, folder: Path, keep: int, **__: Any) -> None:
        """Print one line; end with 1 where there is no new backup."""
        try:
            done = backups.back_up(folder, now=timezone.now(), keep=keep)
        except (backups.BackupRefused, OSError) as problem:
            raise CommandError(f"No backup was written. {problem}") from problem
        size = filesizeformat(done.bytes).replace("\xa0", " ")
        self.stdout.write(
            f"{folder / done.name}: the database and {done.files} files, "
            f"{done.copied} of them copied now ({size}); {done.removed} old backups removed."
        )
