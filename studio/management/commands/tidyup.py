"""``manage.py tidyup``: forget what nobody has."""

from studio.commands import ChoreCommand


class Command(ChoreCommand):
    """See `studio.chores`."""

    chore = "tidyup"
