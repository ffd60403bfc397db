"""``manage.py checkledger``: prove that the money is right."""

from studio.commands import ChoreCommand


class Command(ChoreCommand):
    """See `studio.chores`."""

    chore = "checkledger"
