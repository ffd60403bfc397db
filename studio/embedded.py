"""Brings the embedded SQLite database up to date before any command needs it.

With an outside database (`DATABASE_URL`) nothing happens here: its owner runs `migrate`.
"""

import atexit
import fcntl
import os
import sqlite3
import zlib
from contextlib import ExitStack, closing
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
    "restore",
    "spectacular",
    "test",
}
"""Commands that need no tables, or make them themselves."""

WAIT_SECONDS = 20
"""How long to wait for a process that has the database locked; as the settings have it."""

_ROOT = Path(__file__).resolve().parent.parent


def prepare(command: str) -> None:
    """Migrate the embedded database when this version's migrations have not all run on it.

    Of several first commands at once, ``migrate`` among them, one migrates and the others wait.
    """
    if os.environ.get("DATABASE_URL") or command in OWN_BUSINESS - {"migrate"}:
        return
    from django.conf import settings

    database = settings.DATABASES["default"]["NAME"]
    wanted = _fingerprint()
    if command != "migrate" and _stamp(database) == wanted:
        return
    with ExitStack() as stack:
        lock = stack.enter_context((settings.DATA.run / "migrate.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        if command == "migrate":
            atexit.register(stack.pop_all().close)  # it is at work until the process ends
            return
        if _stamp(database) == wanted:
            return
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0, interactive=False)
        with closing(sqlite3.connect(database, timeout=WAIT_SECONDS)) as connection:
            connection.execute(f"PRAGMA user_version = {wanted}")


def _stamp(database: Path) -> int:
    """What the last migration left in the file; 0 for a new or foreign one."""
    if not Path(database).exists():
        return 0
    address = f"{Path(database).as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=WAIT_SECONDS)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _fingerprint() -> int:
    """A number for this version's set of migrations; SQLite keeps 31 bits and a sign."""
    import django

    names = sorted(str(path.relative_to(_ROOT)) for path in _ROOT.glob("*/migrations/0*.py"))
    return zlib.crc32("\n".join([django.__version__, *names]).encode()) & 0x7FFF_FFFF
