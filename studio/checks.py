"""Wrong configuration is refused at the start, with a hint."""

import os
import re
from collections.abc import Iterable
from typing import Any, get_args

from cryptography.fernet import Fernet
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register

from batches import hosts
from batches.google import account as google_account
from tools import outside, registry
from tools.engines import provider, remote

_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


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
def check_credentials_keys(**_: Any) -> Iterable[CheckMessage]:
    """A key that is none would be noticed when somebody connects an account."""
    for position, key in enumerate(settings.CREDENTIALS_KEYS, start=1):
        try:
            Fernet(key)
        except ValueError:
            yield Error(
                f"Number {position} of CREDENTIALS_KEYS is no key.",
                hint="A key is 32 random bytes in URL-safe base64; see docs/connections.md.",
                id="studio.E010",
            )


@register(deploy=True)
def check_credentials_keys_are_shared(**_: Any) -> Iterable[CheckMessage]:
    """A key of one machine's own opens nothing on another, and goes with its disk."""
    if not os.environ.get("CREDENTIALS_KEYS"):
        yield checks.Warning(
            "CREDENTIALS_KEYS is not set: this machine has made a key of its own.",
            hint="Set it on every host, and keep it apart from the database's backups.",
            id="studio.W001",
        )


@register()
def check_engines(**_: Any) -> Iterable[CheckMessage]:
    """Every tool must find an engine queue that can run it."""
    kinds = {hosts.kind_of(queue) for queue in settings.ENGINE_QUEUES}
    for tool in registry.all():
        if not kinds.intersection(tool.engines):
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


@register()
def check_services(**_: Any) -> Iterable[CheckMessage]:
    """What the operator says of services outside must be something that can be called."""
    for name, service in (("VLM", settings.VLM), ("PROVIDER", settings.PROVIDER)):
        if service["url"] and not remote.is_address(service["url"]):
            yield Error(
                f"STUDIO_{name}_URL is {service['url']!r}, which is no http or https address.",
                hint="Write the base of the API, such as https://api.example.com/v1.",
                id="studio.E005",
            )
        if service["key"] and not remote.is_writable(service["key"]):
            yield Error(
                f"STUDIO_{name}_KEY has spaces, line breaks or other characters that no key has.",
                hint="Copy it once more, without quotes.",
                id="studio.E009",
            )
    if settings.PROVIDER["protocol"] not in get_args(provider.Protocol):
        yield Error(
            f"STUDIO_PROVIDER_PROTOCOL is {settings.PROVIDER['protocol']!r}.",
            hint=f"Say one of {', '.join(get_args(provider.Protocol))}.",
            id="studio.E006",
        )
    sizes = settings.PROVIDER["sizes"]
    if not sizes or len(outside.sizes(sizes)) < len(sizes):
        yield Error(
            f"STUDIO_PROVIDER_SIZES is {','.join(sizes)!r}.",
            hint="Write sizes in pixels, such as 1024x1024,1536x1024.",
            id="studio.E008",
        )
    for name in ("INPAINT", "EDIT"):
        _folder, revision = getattr(settings, f"DIFFUSION_{name}")
        if revision and not _COMMIT.fullmatch(revision):
            yield Error(
                f"STUDIO_DIFFUSION_{name}_REVISION is {revision!r}, which is no commit.",
                hint="Name the commit with all its 40 digits: branches and tags move.",
                id="studio.E007",
            )


@register()
def check_google(**_: Any) -> Iterable[CheckMessage]:
    """The key file of the site's Google account must be one, and Google must be somewhere."""
    try:
        google_account.load()
    except google_account.KeyFileError as error:
        yield Error(
            f"STUDIO_GOOGLE_CREDENTIALS: {error}",
            hint="Name the JSON key file of a service account: docs/google-sheets.md.",
            id="studio.E010",
        )
    for name in ("api", "docs"):
        if not remote.is_address(settings.GOOGLE[name]):
            yield Error(
                f"STUDIO_GOOGLE_{name.upper()} is {settings.GOOGLE[name]!r}, "
                "which is no http or https address.",
                hint="Leave it out, unless something of yours stands between Google and the site.",
                id="studio.E011",
            )
