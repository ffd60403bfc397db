"""``manage.py tellbalances``: tell who wants it that few credits are left."""

from studio.commands import ChoreCommand


class Command(ChoreCommand):
    """See `studio.chores`."""

    chore = "tellbalances"
