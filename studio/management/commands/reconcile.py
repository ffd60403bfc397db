"""``manage.py reconcile``: put right what nobody finished."""

from studio.commands import ChoreCommand


class Command(ChoreCommand):
    """See `studio.chores`."""

    chore = "reconcile"
