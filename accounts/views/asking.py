"""What the views of accounts share."""

from typing import cast

from django.http import HttpRequest

from accounts.models import User


def user_of(request: HttpRequest) -> User:
    """Whoever is signed in; only for views that strangers can't reach."""
    return cast("User", request.user)
