"""Wrong configuration is refused at the start, with a hint."""

import re
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from tools import registry

_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}")


@register()
def check_database(**_: Any) -> Iterable[CheckMessage]:
    """The locks and constraints are right on PostgreSQL and SQLite, and tried on no other."""
    engine = settings.DATABASES["default"]["ENGINE"]
    if not engine.endswith((".postgresql", ".sqlite3")):
        yield Error(
            f"The database {engine} is not supported.",
            hint="Point DATABASE_URL at PostgreSQL, or leave it out for SQLite.",
            id="studio.E001",
        )


@register()
def check_fetch_allow(**_: Any) -> Iterable[CheckMessage]:
    """A malformed entry would open nothing, in silence."""
    for entry in settings.FETCH_ALLOW:
        if not _HOST_AND_PORT.fullmatch(entry):
            yield Error(
                f"STUDIO_FETCH_ALLOW has {entry!r}, which is not host:port.",
                hint="Write entries such as images.intranet.example:8080, comma separated.",
                id="studio.E002",
            )


@register()
def check_engines(**_: Any) -> Iterable[CheckMessage]:
    """Every tool must find an engine queue that can run it."""
    for tool in registry.all():
        if not set(tool.engines) & set(settings.ENGINE_QUEUES):
            yield Error(
                f"Tool {tool.slug!r} can run on none of the engine queues.",
                hint=f"Add {' or '.join(tool.engines)} to STUDIO_ENGINE_QUEUES.",
                id="studio.E003",
            )


@register()
def check_buckets(**_: Any) -> Iterable[CheckMessage]:
    """Buckets must have names."""
    for alias in ("originals", "results"):
        options = settings.STORAGES[alias].get("OPTIONS", {})
        if "bucket_name" in options and not options["bucket_name"]:
            yield Error(
                f"The storage of {alias} has no bucket.",
                hint=f"Set STUDIO_{alias.upper()}_BUCKET, or STUDIO_STORAGE=disk.",
                id="studio.E004",
            )
