"""The site's own Google account: who it is, and whether its key file is of any use."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from batches.google.problems import SheetError

SCOPES = ("https://www.googleapis.com/auth/spreadsheets",)


class KeyFileError(Exception):
    """Why the key file can't be used, in words for the operator."""


def service_address() -> str | None:
    """Whom people share their sheets with; nothing on a site without a Google account."""
    try:
        credentials = load()
    except KeyFileError:
        return None
    return str(credentials.service_account_email) if credentials else None


def credentials() -> Any:
    """Google's credentials of the site's account, shared by all threads of a process.

    Raises `SheetError` where the site has none that can be used.
    """
    try:
        loaded = load()
    except KeyFileError as error:
        raise SheetError("google_account") from error
    if loaded is None:
        raise SheetError("google_not_public")
    return loaded


def load() -> Any:
    """Read the key file anew if it has changed; nothing where none is named.

    Raises `KeyFileError`.
    """
    if not settings.GOOGLE["credentials"]:
        return None
    path = Path(settings.GOOGLE["credentials"])
    try:
        return _loaded(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise KeyFileError(f"{path} can't be read: {error.strerror}.") from error


@lru_cache(maxsize=1)
def _loaded(path: Path, _changed: int) -> Any:
    from google.auth.exceptions import MalformedError
    from google.oauth2 import service_account

    try:
        info = json.loads(path.read_bytes())
    except ValueError as error:
        raise KeyFileError(f"{path} is not JSON.") from error
    if not isinstance(info, dict) or info.get("type") != "service_account":
        raise KeyFileError(f"{path} is not the key of a service account.")
    try:
        return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)
    except (MalformedError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path} is damaged: {error}") from error
