"""``manage.py grantmonthlycredits``: this month's credits."""

from studio.commands import ChoreCommand


class Command(ChoreCommand):
    """See `studio.chores`."""

    chore = "grantmonthlycredits"
