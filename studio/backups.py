"""Backups: the database and all files, in one folder, and the way back into an empty site.

A folder of backups looks like this::

    originals/…  results/…          every file once: names never repeat, so none ever changes
    2026-11-27T03-10-00Z/           one backup
        database.dump               by pg_dump, or database.sqlite3
        files.gz                    the names of all files that were there
        manifest.json               written last: a folder without it is no backup

Files appear before rows name them and go after rows have forgotten them. So files are copied
both before and after the database is: whatever a row names has been there in one of the two
rounds. The second round, and every backup after the first, copies only what is new.

The keys of the site (``SECRET_KEY``, ``CREDENTIALS_KEYS``) are not in it: whoever has both can
read everybody's credentials.
"""

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from django.core.exceptions import SuspiciousFileOperation
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils._os import safe_join

from batches import audit as batches_audit
from batches import storage
from credits import audit as credits_audit

ALIASES = (storage.ORIGINALS, storage.RESULTS)
MANIFEST = "manifest.json"
FILES = "files.gz"
FORM = "%Y-%m-%dT%H-%M-%SZ"
"""How a backup is called: its time in UTC."""
COPIES_AT_ONCE = 8
"""Files on their way at a time: most of a copy from a bucket is waiting."""
PORTION = 1_000
OURS = ("accounts", "batches", "credits", "studio", "tools")
"""Apps whose migrations say how old a backup is."""
VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "service": "PGSERVICE",
}
"""How PostgreSQL's programs hear of a connection. A password in arguments would be everybody's."""

T = TypeVar("T")


class BackupRefused(Exception):
    """Nothing was changed; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What was done: which backup, how many files it holds, and how many were copied just now."""

    name: str
    files: int
    copied: int
    bytes: int
    removed: int = 0
    """Backups that are older than those to be kept."""


def back_up(folder: Path, *, now: datetime, keep: int = 0) -> Done:
    """Write one backup; with `keep`, remove all but the newest so many, and files only they had.

    Raises `BackupRefused` where another backup is being written into the folder, and where the
    database's own tool fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        name = now.astimezone(UTC).strftime(FORM)
        draft, final = folder / f".{name}", folder / name
        if final.exists():
            raise BackupRefused(f"{final} is there already. Try again in a second.")
        for left in folder.glob(".2*Z"):
            shutil.rmtree(left)  # of a backup that was cut off
        draft.mkdir()
        copied, size = _copy_out(folder)
        dump = _dump(draft)
        more, more_size = _copy_out(folder, names=draft / FILES)
        _write_manifest(draft, dump=dump, at=now)
        draft.rename(final)
        _flush(folder)
        removed = _keep(folder, keep) if keep else 0
    return Done(
        name=name,
        files=sum(1 for _ in _files_of(final)),
        copied=copied + more,
        bytes=size + more_size,
        removed=removed,
    )


def backups(folder: Path) -> list[str]:
    """The names of all whole backups, oldest first."""
    return sorted(path.parent.name for path in folder.glob(f"2*Z/{MANIFEST}"))


def restore(folder: Path, *, name: str = "") -> Done:
    """Bring a backup (the newest, unless one is named) into a site whose database is empty.

    Files first, then the database in one transaction, then this version's migrations. Cut off
    half way, it can be called again. Raises `BackupRefused` where there is no such backup, where
    it is damaged or newer than this version, where the database holds anything, and where the
    ledger does not agree afterwards.
    """
    found = backups(folder)
    if not found or (name and name not in found):
        raise BackupRefused(
            f"There is no backup {name} in {folder}. " if name else f"No backup in {folder}. "
        )
    source = folder / (name or found[-1])
    manifest = json.loads((source / MANIFEST).read_text())
    _refuse_what_does_not_fit(source, manifest)
    copied, size = _copy_in(folder, source)
    _load(source / manifest["dump"])
    call_command("migrate", verbosity=0, interactive=False)
    wrong = next(chain(credits_audit.disagreements(), batches_audit.disagreements()), None)
    if wrong:
        raise BackupRefused(f"{source} is here now, but its ledger disagrees: {wrong}")
    files = sum(1 for _ in _files_of(source))
    return Done(name=source.name, files=files, copied=copied, bytes=size)


# --- Files ----------------------------------------------------------------------------


def _copy_out(folder: Path, names: Path | None = None) -> tuple[int, int]:
    """Copy what the folder lacks of the storages' files; how many, and of how many bytes."""
    new = bytes_ = 0
    with _noting(names) as note, ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        for alias in ALIASES:
            for keys in _portions(storage.walk(alias, older_than=_any_age())):
                sizes = list(pool.map(lambda key, a=alias: _fetch(folder, a, key), keys))
                for key, size in zip(keys, sizes, strict=True):
                    if size is None:
                        continue  # it went while we looked: no row names it any more
                    note(alias, key)
                    new += size >= 0
                    bytes_ += max(size, 0)
    return new, bytes_


def _fetch(folder: Path, alias: str, key: str) -> int | None:
    """Bytes that were copied, -1 if the file was there, None if it is gone."""
    target = _place(folder, alias, key)
    if target is None or target.exists():
        return None if target is None else -1
    draft = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with storage.open_file(alias, key) as file, draft.open("wb") as out:
            shutil.copyfileobj(file, out, storage.CHUNK)
            out.flush()
            os.fsync(out.fileno())
            size = out.tell()
    except FileNotFoundError:
        draft.unlink(missing_ok=True)
        return None
    draft.rename(target)
    return size


def _copy_in(folder: Path, source: Path) -> tuple[int, int]:
    """Put the files of a backup into the storages; those that are there stay."""
    there = {alias: set(storage.walk(alias, older_than=_any_age())) for alias in ALIASES}

    def put(alias: str, key: str) -> int:
        path = _place(folder, alias, key)
        if path is None or key in there[alias]:
            return -1
        with path.open("rb") as file:
            storage.save(alias, key, file)
        return path.stat().st_size

    copied = bytes_ = 0
    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        for portion in _portions(_files_of(source)):
            for size in pool.map(lambda pair: put(*pair), portion):
                copied += size >= 0
                bytes_ += max(size, 0)
    return copied, bytes_


def _place(folder: Path, alias: str, key: str) -> Path | None:
    """Where a file lies in the folder; nothing for a name that leads out of it."""
    try:
        return Path(safe_join(folder / alias, key))
    except SuspiciousFileOperation:
        return None


def _files_of(backup: Path) -> Iterator[tuple[str, str]]:
    with gzip.open(backup / FILES, "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            alias, _, key = json.loads(line).partition("/")
            yield alias, key


def _any_age() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


def _portions(things: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(things)
    while portion := list(islice(rest, PORTION)):
        yield portion


@contextmanager
def _noting(path: Path | None) -> Iterator[Callable[[str, str], None]]:
    """Note names in a file, one to a line; without a file, nowhere."""
    if path is None:
        yield lambda _alias, _key: None
        return
    with gzip.open(path, "wt", encoding="utf-8", newline="\n") as lines:
        # A name may hold whatever a storage takes, line breaks too.
        yield lambda alias, key: print(json.dumps(f"{alias}/{key}"), file=lines)


def _keep(folder: Path, keep: int) -> int:
    """Remove all but the newest backups, and the files that none of those has."""
    old = backups(folder)[:-keep]
    for name in old:
        (folder / name / MANIFEST).unlink()  # from here on it is none
        shutil.rmtree(folder / name)
    if old:
        kept = {pair for name in backups(folder) for pair in _files_of(folder / name)}
        for alias in ALIASES:
            for path in (folder / alias).rglob("*"):
                if path.is_file() and (alias, str(path.relative_to(folder / alias))) not in kept:
                    path.unlink()
    return len(old)


# --- The database ---------------------------------------------------------------------


def _dump(folder: Path) -> Path:
    """The whole database as of one moment."""
    if connection.vendor == "sqlite":
        target = folder / "database.sqlite3"
        with (
            closing(sqlite3.connect(connection.settings_dict["NAME"])) as ours,
            closing(sqlite3.connect(target)) as copy,
        ):
            ours.backup(copy)
        return target
    target = folder / "database.dump"
    _run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
    return target


def _load(dump: Path) -> None:
    if connection.vendor == "sqlite":
        connection.close()
        with (
            closing(sqlite3.connect(dump)) as copy,
            closing(sqlite3.connect(connection.settings_dict["NAME"])) as ours,
        ):
            copy.backup(ours)
        return
    database = connection.settings_dict["NAME"]
    _run(
        *("pg_restore", "--single-transaction", "--exit-on-error", "--no-owner"),
        *("--no-privileges", f"--dbname={database}", str(dump)),
    )


def _run(program: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs, with the database of our settings."""
    wanted = connection.get_connection_params()
    env = {name: str(wanted[key]) for key, name in VARIABLES.items() if wanted.get(key)}
    try:
        done = subprocess.run(
            [program, *arguments],
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise BackupRefused(
            f"{program} is not installed. It comes with PostgreSQL's client programs "
            "(postgresql-client), in the server's version or a newer one."
        ) from None
    if done.returncode:
        raise BackupRefused(f"{program} failed: {done.stderr.strip()[-500:]}")


def _write_manifest(folder: Path, *, dump: Path, at: datetime) -> None:
    with dump.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    manifest = {
        "made_at": at.isoformat(),
        "database": connection.vendor,
        "dump": dump.name,
        "sha256": digest,
        "migrations": sorted(map(list, MigrationRecorder(connection).applied_migrations())),
    }
    with (folder / MANIFEST).open("w") as file:
        json.dump(manifest, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    _flush(folder)


def _refuse_what_does_not_fit(source: Path, manifest: dict[str, Any]) -> None:
    with (source / manifest["dump"]).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != manifest["sha256"]:
            raise BackupRefused(f"{source} is damaged. Take another one: nothing was changed.")
    if manifest["database"] != connection.vendor:
        raise BackupRefused(
            f"{source} is of {manifest['database']}, and DATABASE_URL names {connection.vendor}."
        )
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    new = [name for app, name in manifest["migrations"] if app in OURS and (app, name) not in known]
    if new:
        raise BackupRefused(
            f"{source} is of a newer version of the studio ({', '.join(new[:3])}): install that."
        )
    tables = connection.introspection.table_names()
    if tables:
        raise BackupRefused(
            f"The database holds {len(tables)} tables, and a backup goes only into an empty one. "
            "Name a new database in DATABASE_URL; nothing was changed."
        )


# --- The folder -----------------------------------------------------------------------


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupRefused(
                f"Another backup is being written into {folder}. This one did nothing."
            ) from None
        yield


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
