"""Django's entry for the app."""

from collections.abc import Iterator
from typing import Any

from django.apps import AppConfig


class CreditsConfig(AppConfig):
    """See the package's own docstring."""

    name = "credits"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Give the welcome credits when an address is proved; open accounts to be looked at."""
        from accounts import facts
        from accounts.signals import about_to_be_seen, address_confirmed

        address_confirmed.connect(_give_welcome, dispatch_uid="credits.welcome")
        about_to_be_seen.connect(_open_account, dispatch_uid="credits.open")
        facts.register(_tell)


def _give_welcome(user: Any, **_: Any) -> None:
    from credits import ledger

    ledger.welcome(user)


def _open_account(user: Any, **_: Any) -> None:
    from credits import ledger

    ledger.account_for(user)


def _tell(request: Any, user: Any) -> Iterator[Any]:
    from credits import facts

    return facts.tell(request, user)
