"""What this process can run: the words by which workers say so, and dispatch finds them.

An ability is a tool's slug, and its model where people choose one: `upscale:fast`.
"""

import time
from collections.abc import Mapping
from threading import Lock
from typing import Any

from rest_framework import serializers

from tools import registry
from tools.base import Tool

UNABLE_SECONDS = 60.0
"""How long a model that failed to load counts as not there; then it is tried again."""

_unable: dict[str, float] = {}
_lock = Lock()


def needed(tool: Tool, settings: Mapping[str, Any]) -> str:
    """The ability that an item with these settings needs."""
    model = settings.get("model")
    return f"{tool.slug}:{model}" if model else tool.slug


def here() -> list[str]:
    """All abilities of this process: weights are there and fit, services are set up.

    Looks at the weights' folder: a few milliseconds.
    """
    unable = lost()
    found = []
    for tool in registry.all():
        usual = tool.defaults()
        model = tool.Settings().fields.get("model")
        chosen: list[dict[str, Any]] = [{}]
        if isinstance(model, serializers.ChoiceField):
            chosen = [{"model": choice} for choice in model.choices]
        for settings in ({**usual, **some} for some in chosen):
            ability = needed(tool, settings)
            if ability not in unable and tool.unavailable_reason(settings) is None:
                found.append(ability)
    return found


def lose(ability: str) -> None:
    """Take it that this process can't run it for a while: its model failed to load."""
    with _lock:
        _unable[ability] = time.monotonic() + UNABLE_SECONDS


def lost() -> frozenset[str]:
    """The abilities whose models failed to load here, not long ago."""
    now = time.monotonic()
    with _lock:
        return frozenset(ability for ability, until in _unable.items() if until > now)
