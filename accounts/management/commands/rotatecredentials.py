"""``manage.py rotatecredentials``: put every secret under the first of ``CREDENTIALS_KEYS``."""

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model

from accounts import vault

COLUMN = "sealed_secret"
"""What every model that keeps a secret calls it."""


class Command(BaseCommand):
    """Encrypt anew, so that older keys can be taken out of the list."""

    help = (
        "Encrypts what other services trust us with anew, under the first of CREDENTIALS_KEYS. "
        "Run it after putting a new key in front; then remove the older ones. "
        "May be run again at any time. Exits with 1 if no key opens some of the secrets."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Go over all of them, one statement each: whoever changes a secret meanwhile wins."""
        done, closed = 0, 0
        for model in apps.get_models():
            if COLUMN in {field.name for field in model._meta.get_fields()}:
                went, stayed = _rotate(model)
                done, closed = done + went, closed + stayed
        self.stdout.write(f"{done} secrets encrypted with the first key")
        if closed:
            raise CommandError(
                f"{closed} secrets can't be opened with any of CREDENTIALS_KEYS. Add the key that "
                "they were made with, or let their owners connect again."
            )


def _rotate(model: type[Model]) -> tuple[int, int]:
    """Secrets of one model that were encrypted anew, and those that nothing opens."""
    done, closed = 0, 0
    rows = model._default_manager.order_by("pk").values_list("pk", COLUMN)
    for pk, sealed in rows.iterator(chunk_size=500):
        try:
            anew = vault.sealed_anew(sealed)
        except vault.Unreadable:
            closed += 1
            continue
        unchanged = model._default_manager.filter(pk=pk, **{COLUMN: sealed})
        done += unchanged.update(**{COLUMN: anew})
    return done, closed
