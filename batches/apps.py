"""Django's entry for the app."""

from collections.abc import Iterator
from typing import Any

from django.apps import AppConfig


class BatchesConfig(AppConfig):
    """See the package's own docstring."""

    name = "batches"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let statements name batches, the admin tell of them, and pages ask for workers."""
        from accounts import facts
        from batches.references import KIND, describe
        from credits import references
        from tools import abilities

        references.register(KIND, describe)
        facts.register(_tell)
        abilities.ask_elsewhere(_can_run)


def _tell(request: Any, user: Any) -> Iterator[Any]:
    from batches import facts

    return facts.tell(request, user)


def _can_run(ability: str) -> bool:
    from batches import dispatch

    return dispatch.others_can_run(ability)
