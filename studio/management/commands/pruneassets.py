"""``manage.py pruneassets``: empty old trash."""

from studio.commands import ChoreCommand


class Command(ChoreCommand):
    """See `studio.chores`."""

    chore = "pruneassets"
