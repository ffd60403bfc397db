"""``manage.py runrecurring``: begin the schedules that are due."""

from studio.commands import ChoreCommand


class Command(ChoreCommand):
    """See `studio.chores`."""

    chore = "runrecurring"
