"""The shape of commands that a clock calls: one line, and an exit code that means something."""

from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from batches import clock
from studio.chores import CHORES, sentence


class ChoreCommand(BaseCommand):
    """Run one chore: one line on stdout. 1 where an invariant broke, or the database is away.

    A Valkey that is away is no failure: the line says so, and what needs it is done later.
    """

    chore: ClassVar[str]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.help = CHORES[self.chore].help

    def add_arguments(self, parser: CommandParser) -> None:
        """``--dry-run``, for those that delete or give."""
        if CHORES[self.chore].can_rehearse:
            parser.add_argument(
                "--dry-run", action="store_true", help="say what would be done, and change nothing"
            )

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """What the chore is told, besides the time."""
        return {"dry_run": options["dry_run"]} if CHORES[self.chore].can_rehearse else {}

    def handle(self, *_: Any, **options: Any) -> None:
        """Print the line; what is wrong goes to stderr, each as a sentence."""
        told = self.options(options)
        try:
            outcome = CHORES[self.chore].run(now=clock.now(), **told)
        except Error as problem:
            first = str(problem).strip().partition("\n")[0]
            raise CommandError(
                f"The database does not answer or refuses: {first}. Nothing that had not been "
                "finished was kept; run the command again."
            ) from problem
        for sentence_ in outcome.wrong:
            self.stderr.write(sentence_)
        self.stdout.write(sentence(outcome, dry_run=bool(told.get("dry_run"))))
        if outcome.wrong:
            raise CommandError(
                f"{len(outcome.wrong)} things must not be: {outcome.line}. Nothing was changed; "
                "docs/scheduled.md says what to do."
            )
