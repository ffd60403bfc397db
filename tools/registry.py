"""Which tools there are. A tool is a class in a module of `tools.catalog`.

Slugs are not a model's ``choices``: a new tool needs no migration.
"""

import importlib
import pkgutil
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

from tools.base import Tool

_tools: dict[str, Tool] = {}

T = TypeVar("T", bound=type[Tool])


class UnknownTool(LookupError):
    """There is no tool of this name."""


class DuplicateTool(ImproperlyConfigured):
    """Two tools want the same slug; which one would run must not depend on file names."""


def register(tool: T) -> T:
    """Add a tool; a decorator for its class. Raises `DuplicateTool`."""
    if known := _tools.get(tool.slug):
        names = f"{type(known).__module__} and {tool.__module__}"
        raise DuplicateTool(f"Two tools are called {tool.slug!r}: {names}. Rename one.")
    _tools[tool.slug] = tool()
    return tool


def get(slug: str) -> Tool:
    """The tool of this slug; raises `UnknownTool`."""
    try:
        return _tools[slug]
    except KeyError:
        raise UnknownTool(slug) from None


def all() -> list[Tool]:  # noqa: A001 - reads well where it is called: registry.all()
    """Every tool, by slug."""
    return [tool for _, tool in sorted(_tools.items())]


def autodiscover(package: str = "tools.catalog") -> None:
    """Import every module of the catalog, so that the tools in them are registered."""
    catalog = importlib.import_module(package)
    for module in pkgutil.iter_modules(catalog.__path__):
        importlib.import_module(f"{package}.{module.name}")
