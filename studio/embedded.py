"""Brings the embedded SQLite database up to date before any command needs it.

With an outside database (`DATABASE_URL`) nothing happens here: its owner runs `migrate`.
"""

import fcntl
import os
import sqlite3
import zlib
from pathlib import Path

OWN_BUSINESS = {
    "migrate",
    "makemigrations",
    "check",
    "collectstatic",
    "compilemessages",
    "makemessages",
    "fetchweights",
    "help",
    "spectacular",
    "test",
}
"""Commands that need no tables, or make them themselves."""

_ROOT = Path(__file__).resolve().parent.parent


def prepare(command: str) -> None:
    """Migrate the embedded database when this version's migrations have not all run on it."""
    if os.environ.get("DATABASE_URL") or command in OWN_BUSINESS:
        return
    from django.conf import settings

    database = settings.DATABASES["default"]["NAME"]
    wanted = _fingerprint()
    if _stamp(database) == wanted:
        return
    with (settings.DATA.run / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two first commands at once
        if _stamp(database) == wanted:
            return
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0, interactive=False)
        with sqlite3.connect(database) as connection:
            connection.execute(f"PRAGMA user_version = {wanted}")


def _stamp(database: Path) -> int:
    """What the last migration left in the file; 0 for a new or foreign one."""
    if not Path(database).exists():
        return 0
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def _fingerprint() -> int:
    """A number for this version's set of migrations; SQLite keeps 31 bits and a sign."""
    import django

    names = sorted(str(path.relative_to(_ROOT)) for path in _ROOT.glob("*/migrations/0*.py"))
    return zlib.crc32("\n".join([django.__version__, *names]).encode()) & 0x7FFF_FFFF
