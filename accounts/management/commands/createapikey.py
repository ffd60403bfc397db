"""``manage.py createapikey E-MAIL``: a key to the HTTP API, on one line."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from accounts.models import SCOPES, User, create_key, normal_email


class Command(BaseCommand):
    """Make a key and print it; this is the only time that it can be read."""

    help = (
        "Creates an API key and prints it on one line. "
        "Creates the account as well when there is none; it has no password then."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The address, and what the key is for."""
        parser.add_argument("email", metavar="E-MAIL")
        parser.add_argument("--name", default="Command line", help="what the key is called")
        parser.add_argument(
            "--scopes",
            nargs="+",
            choices=SCOPES,
            default=list(SCOPES),
            help="what the key may do (default: everything)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the key's secret and nothing else."""
        email = normal_email(options["email"])
        try:
            validate_email(email)
        except ValidationError as error:
            raise CommandError(f"{options['email']} is not an e-mail address.") from error
        with transaction.atomic():
            user = User.objects.filter(email=email).first() or User.objects.create_user(email)
            _key, secret = create_key(user, name=options["name"], scopes=options["scopes"])
        self.stdout.write(secret)
