"""What every page may show of whoever looks at it."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.seeing import SIGHT

THEMES = {"light": "studio", "dark": "studio-dark"}
"""What a choice is called in the database and in the cookie `theme`, and by the style sheet."""


def appearance(request: HttpRequest) -> dict[str, Any]:
    """``theme``: what the person chose, else this browser; empty follows the system.

    Nothing is asked of the database until a template looks.
    """

    def look() -> str:
        user = getattr(request, "user", None)  # error pages may come before there is one
        chosen = user.theme if user is not None and user.is_authenticated else ""
        return THEMES.get(chosen or request.COOKIES.get("theme", ""), "")

    return {"theme": SimpleLazyObject(look)}


def sight(request: HttpRequest) -> dict[str, Any]:
    """``sight``: who of staff sees this page as its user does; nothing for everybody else."""
    return {"sight": getattr(request, SIGHT, None)}
