"""The embedded database is there, and up to date, before any command looks for it."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from django.db.migrations.loader import MigrationLoader

from studio import embedded

pytestmark = pytest.mark.worker


def stamp_of(place) -> int:
    return place.rows("PRAGMA user_version")[0][0]


def migrations_in(place) -> set[tuple[str, str]]:
    return set(place.rows("SELECT app, name FROM django_migrations"))


def all_migrations() -> set[tuple[str, str]]:
    return set(MigrationLoader(None).disk_migrations)


def test_the_first_command_migrates_and_the_next_ones_need_not(place):
    first = place.run("checkledger")
    assert first.returncode == 0, first.stderr
    with closing(sqlite3.connect(place.data / "db.sqlite3")) as connection:
        connection.execute("DELETE FROM django_migrations")
        connection.commit()

    second = place.run("checkledger")

    assert second.returncode == 0, second.stderr
    assert migrations_in(place) == set(), "it migrated again"
    assert stamp_of(place) == embedded._fingerprint()


def test_a_database_of_an_older_version_is_brought_up_to_date(place):
    place.run("checkledger")
    wanted = all_migrations()
    backwards = place.run("migrate", "batches", "zero", "--verbosity", "0")
    assert backwards.returncode == 0, backwards.stderr
    assert ("batches", "0001_initial") in wanted - migrations_in(place)
    with closing(sqlite3.connect(place.data / "db.sqlite3")) as connection:
        connection.execute("PRAGMA user_version = 5")  # as another set of migrations leaves it

    done = place.run("checkledger")

    assert done.returncode == 0, done.stderr
    assert migrations_in(place) == wanted
    assert stamp_of(place) == embedded._fingerprint()


def test_first_commands_at_once_migrate_once_and_all_succeed(place):
    racers = [
        place.start(*line.split())
        for line in (
            "createapikey a@b.example",
            "migrate --verbosity 0",
            "checkledger",
            "createapikey c@d.example",
            "migrate --verbosity 0",
            "reconcile",
        )
    ]

    ends = [(racer.communicate(timeout=90)[0], racer.returncode) for racer in racers]

    assert [status for _said, status in ends] == [0] * 6, ends
    assert migrations_in(place) == all_migrations()
    assert place.rows("SELECT email FROM accounts_user ORDER BY email") == [
        ("a@b.example",),
        ("c@d.example",),
    ]


def test_commands_that_need_no_tables_make_none(place):
    for line in (("help",), ("check",), ("fetchweights", "--list")):
        done = place.run(*line)
        assert done.returncode == 0, done.stderr

    assert not (place.data / "db.sqlite3").exists()


def test_an_outside_database_is_left_to_its_owner(place, tmp_path):
    theirs = tmp_path / "theirs.sqlite3"

    done = place.run("checkledger", DATABASE_URL=f"sqlite:///{theirs}")

    assert done.returncode != 0
    assert "no such table" in done.stderr
    assert not (place.data / "db.sqlite3").exists()


def test_a_path_with_signs_that_mean_something_in_addresses_is_only_a_path(new_place):
    odd = new_place("50%25 of a#b? c & ü")

    first = odd.run("createapikey", "a@b.example")
    second = odd.run("grantcredits", "a@b.example", "5")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert second.stdout == "30 credits\n"
    assert stamp_of(odd) == embedded._fingerprint()
    assert [path.name for path in odd.data.parent.iterdir()] == [odd.data.name]


def test_what_a_killed_process_left_beside_the_database_is_no_obstacle(place):
    holder = place.start(
        "shell",
        "--verbosity",
        "0",
        "-c",
        (
            "import os, signal\n"
            "from accounts.models import User\n"
            "User.objects.create_user(email='last@words.example')\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        ),
    )
    holder.communicate(timeout=60)
    assert (place.data / "db.sqlite3-wal").stat().st_size > 0, "nothing was left to recover"

    done = place.run("grantcredits", "last@words.example", "1")

    assert (done.returncode, done.stdout) == (0, "26 credits\n"), done.stderr


def test_the_fingerprint_changes_with_every_migration(tmp_path, monkeypatch):
    root = Path(embedded.__file__).parents[1]
    for app in ("accounts", "credits"):
        shutil.copytree(root / app / "migrations", tmp_path / app / "migrations")
    monkeypatch.setattr(embedded, "_ROOT", tmp_path)
    before = embedded._fingerprint()

    (tmp_path / "credits" / "migrations" / "0099_more.py").touch()

    assert embedded._fingerprint() != before
    assert 0 < embedded._fingerprint() < 2**31
