"""``manage.py pruneuploads``: delete what nobody has used."""

from studio.commands import ChoreCommand


class Command(ChoreCommand):
    """See `studio.chores`."""

    chore = "pruneuploads"
