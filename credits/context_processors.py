"""What every page may show of a user's credits."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from credits import ledger


def balance(request: HttpRequest) -> dict[str, Any]:
    """``credits``: the signed-in user's ``Balance``, or something false for strangers.

    Nothing is asked of the database, not even who the user is, until a template looks.
    """

    def look() -> ledger.Balance | None:
        user = getattr(request, "user", None)  # error pages may come before there is one
        return ledger.balance(user) if user is not None and user.is_authenticated else None

    return {"credits": SimpleLazyObject(look)}
