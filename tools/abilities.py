"""What this process can run: the words by which workers say so, and dispatch finds them.

An ability is a tool's slug, and its model where people choose one: `upscale:fast`.
"""

import time
from collections.abc import Callable, Mapping
from functools import cache
from threading import Lock
from typing import Any

from rest_framework import serializers

from tools import registry
from tools.base import Tool, ToolSettings

UNABLE_SECONDS = 60.0
"""How long a model that failed to load counts as not there; then it is tried again."""

_ask: dict[str, Callable[[str], bool]] = {}
_unable: dict[str, float] = {}
_lock = Lock()


def needed(tool: Tool, settings: Mapping[str, Any]) -> str:
    """The ability that an item with these settings needs."""
    model = settings.get("model")
    return f"{tool.slug}:{model}" if model else tool.slug


def all_of(tool: Tool) -> list[str]:
    """All abilities that items of the tool may need."""
    return [needed(tool, some) for some in _choices(tool)]


def here() -> list[str]:
    """All abilities of this process: weights are there and fit, services are set up.

    Looks at the weights' folder: a few milliseconds.
    """
    unable = lost()
    return [
        ability
        for tool in registry.all()
        for some in _choices(tool)
        if (ability := needed(tool, some)) not in unable
        and tool.unavailable_reason({**tool.defaults(), **some}) is None
    ]


def ask_elsewhere(can_run: Callable[[str], bool]) -> None:
    """Say once per process who knows whether a worker that is there has an ability."""
    _ask["elsewhere"] = can_run


def unavailable_reason(tool: Tool, settings: Mapping[str, Any] | None = None) -> str | None:
    """Why the tool can't be used with these settings (None: the defaults); None when it can.

    Here, or on a worker that is there: pages are often served where no weights are. Cheap enough
    for every page.
    """
    reason = tool.unavailable_reason(settings)
    # A tool that staff have switched off is off everywhere: then it says something of its own.
    if not reason or reason != registry.get(tool.slug).unavailable_reason(settings):
        return reason
    elsewhere = _ask.get("elsewhere")
    wanted = needed(tool, tool.defaults() if settings is None else settings)
    return None if elsewhere and elsewhere(wanted) else reason


def lose(ability: str) -> None:
    """Take it that this process can't run it for a while: its model failed to load."""
    with _lock:
        _unable[ability] = time.monotonic() + UNABLE_SECONDS


def lost() -> frozenset[str]:
    """The abilities whose models failed to load here, not long ago."""
    now = time.monotonic()
    with _lock:
        return frozenset(ability for ability, until in _unable.items() if until > now)


def _choices(tool: Tool) -> list[dict[str, str]]:
    """The settings that tell its models apart: one for each, or none."""
    return [{"model": model} for model in _models(tool.Settings)] or [{}]


@cache
def _models(kind: type[ToolSettings]) -> tuple[str, ...]:
    """Remembered: it is asked for each image, and DRF copies every field each time."""
    model = kind().fields.get("model")
    return tuple(model.choices) if isinstance(model, serializers.ChoiceField) else ()
