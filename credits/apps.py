"""Django's entry for the app."""

from typing import Any

from django.apps import AppConfig


class CreditsConfig(AppConfig):
    """See the package's own docstring."""

    name = "credits"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Give the welcome credits when an address is proved."""
        from accounts.signals import address_confirmed

        address_confirmed.connect(_give_welcome, dispatch_uid="credits.welcome")


def _give_welcome(user: Any, **_: Any) -> None:
    from credits import ledger

    ledger.welcome(user)
