"""``manage.py expirecredits``: take credits that ran out."""

from studio.commands import ChoreCommand


class Command(ChoreCommand):
    """See `studio.chores`."""

    chore = "expirecredits"
