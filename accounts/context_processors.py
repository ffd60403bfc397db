"""What every page may show of whoever looks at it."""

from django.http import HttpRequest

THEMES = {"light": "studio", "dark": "studio-dark"}
"""What the cookie `theme` says, and what the style sheet calls it."""


def appearance(request: HttpRequest) -> dict[str, str]:
    """``theme``: the one that was chosen on this browser; empty follows the system."""
    return {"theme": THEMES.get(request.COOKIES.get("theme", ""), "")}
