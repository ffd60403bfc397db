"""Every command works with nothing but STUDIO_DATA_DIR set, on a folder that is not there yet."""

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.studio.conftest import place_at

pytestmark = pytest.mark.worker

LONG = "so lang daß der Pfad zu Sockeln über hundert Bytes hat, mit Leerzeichen und Umlauten äöü"
ROOT_USER = {
    "DJANGO_SUPERUSER_EMAIL": "root@b.example",
    "DJANGO_SUPERUSER_PASSWORD": "for the test",
}
LINES = {
    "createapikey": "createapikey New@Example.com",
    "grantcredits": "grantcredits nobody@b.example 5",
    "checkledger": "checkledger",
    "reconcile": "reconcile",
    "createsuperuser": "createsuperuser --noinput",
    "worker tpu": "worker tpu",
    "worker io": "worker io",
    "worker cpu": "worker cpu",
    "showmigrations": "showmigrations",
    "migrate": "migrate",
    "check": "check",
    "makemigrations": "makemigrations --check --dry-run",
    LONG: "reconcile",
}
"""Commands, each run as the very first one on a folder of its own."""


def one_line(text: str) -> bool:
    return text.endswith("\n") and text.count("\n") == 1


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """How each of the commands ended, and the place where it ran."""
    folder = tmp_path_factory.mktemp("first")
    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        places = {name: stack.enter_context(place_at(folder / name)) for name in LINES}
        ends = {
            name: pool.submit(places[name].run, *line.split(), seconds=40, **ROOT_USER)
            for name, line in LINES.items()
        }
        yield {name: (end.result(), places[name]) for name, end in ends.items()}


def test_a_key_is_printed_on_one_line_and_the_account_is_made(first):
    done, place = first["createapikey"]

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"sk_live_[\w-]{40,}\n", done.stdout)
    assert place.rows(
        "SELECT email, count(*) FROM accounts_user "
        "JOIN accounts_apikey ON user_id = accounts_user.id"
    ) == [("new@example.com", 1)]


def test_credits_are_given_and_the_new_balance_is_printed_on_one_line(first):
    _made, place = first["createapikey"]

    done = place.run("grantcredits", "new@example.com", "75")

    assert (done.returncode, done.stdout, done.stderr) == (0, "100 credits\n", "")


def test_credits_for_nobody_are_refused_with_the_way_to_make_somebody(first):
    done, _place = first["grantcredits"]

    assert done.returncode == 1
    assert one_line(done.stderr)
    assert "createapikey nobody@b.example" in done.stderr


def test_an_empty_ledger_agrees_with_itself(first):
    done, _place = first["checkledger"]

    assert (done.returncode, done.stderr) == (0, "")
    assert one_line(done.stdout)


def test_a_ledger_that_disagrees_ends_the_audit_with_1_and_says_where(first):
    _made, place = first["grantcredits"]
    place.run("createapikey", "a@b.example")
    place.run("grantcredits", "a@b.example", "5")
    place.shell("from credits.models import CreditAccount as A; A.objects.update(available=7000)")

    done = place.run("checkledger")

    assert done.returncode == 1
    assert "7000" in done.stderr
    assert "Traceback" not in done.stderr


def test_reconcile_without_valkey_prints_one_line_and_ends_well(first):
    done, _place = first["reconcile"]

    assert (done.returncode, done.stderr) == (0, "")
    assert one_line(done.stdout)
    assert "Valkey does not answer" in done.stdout


def test_reconcile_mends_what_it_can_without_valkey(first):
    _done, place = first["reconcile"]
    place.shell(
        "from datetime import timedelta; from django.utils import timezone\n"
        "from accounts.models import User; from batches.models import Batch, Item\n"
        "batch = Batch.objects.create(owner=User.objects.create_user('a@b.example'),\n"
        "    tool='remove-background', state='running')\n"
        "Item.objects.create(batch=batch, name='a', source_url='http://a.example', position=0,\n"
        "    state='fetching', lease_until=timezone.now() - timedelta(minutes=1))"
    )

    done = place.run("reconcile")

    assert done.returncode == 0, done.stderr
    assert one_line(done.stdout)
    assert done.stdout.startswith("1 leases ended, ")


def test_a_superuser_is_made_without_questions(first):
    done, place = first["createsuperuser"]

    assert done.returncode == 0, done.stderr
    assert (
        place.shell(
            "from accounts.models import User; u = User.objects.get()\n"
            "print(u.email, u.is_superuser, u.check_password('for the test'))"
        )
        == "root@b.example True True"
    )


def test_an_unknown_queue_is_refused_with_the_ones_that_exist(first):
    done, _place = first["worker tpu"]

    assert done.returncode == 1
    assert done.stderr == ("CommandError: There is no queue 'tpu' here. Choose one of: io, cpu.\n")


@pytest.mark.parametrize("queue", ["io", "cpu"])
def test_a_worker_without_valkey_says_so_on_one_line(first, queue):
    done, _place = first[f"worker {queue}"]

    assert done.returncode == 1
    assert one_line(done.stderr)
    assert "Valkey does not answer" in done.stderr


def test_migrate_makes_all_tables(first):
    done, place = first["migrate"]

    assert done.returncode == 0, done.stderr
    assert "[ ]" not in place.run("showmigrations").stdout
    assert place.shell("from batches.models import Batch; print(Batch.objects.count())") == "0"


def test_showmigrations_as_the_first_command_finds_all_of_them_run(first):
    done, _place = first["showmigrations"]

    assert done.returncode == 0, done.stderr
    assert "[X] 0002_append_only" in done.stdout
    assert "[ ]" not in done.stdout


@pytest.mark.parametrize("name", ["check", "makemigrations"])
def test_checks_and_missing_migrations_can_be_asked_for(first, name):
    done, _place = first[name]

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_long_path_with_spaces_and_umlauts_serves_as_well(first):
    done, place = first[LONG]

    assert len(os.fsencode(place.data / "run" / "valkey.sock")) > 100
    assert done.returncode == 0, done.stderr
    link = place.data / "run" / "valkey.sock"
    assert link.is_symlink()
    link.readlink().parent.rmdir()


def test_the_secret_key_survives_every_further_command(first):
    _done, place = first["checkledger"]
    key = (place.data / "secret-key").read_text()

    told = place.shell("from django.conf import settings; print(settings.SECRET_KEY)")

    assert told == key
    assert (place.data / "secret-key").read_text() == key


def test_a_folder_with_things_of_others_serves_as_well(place):
    place.data.mkdir()
    (place.data / "holiday.jpg").write_bytes(b"mine")
    (place.data / "media").mkdir()
    (place.data / "media" / "notes.txt").write_bytes(b"mine too")

    made = place.run("createapikey", "a@b.example")

    assert made.returncode == 0, made.stderr
    assert (place.data / "holiday.jpg").read_bytes() == b"mine"
    assert (place.data / "media" / "notes.txt").read_bytes() == b"mine too"
    assert {path.name for path in place.data.iterdir()} - {"db.sqlite3-wal", "db.sqlite3-shm"} == {
        "holiday.jpg",
        "media",
        "db.sqlite3",
        "logs",
        "run",
        "credentials-key",
        "secret-key",
    }
    assert stat.S_IMODE((place.data / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((place.data / "secret-key").stat().st_mode) == 0o600


def test_hosts_and_weights_are_the_installations_own(first, tmp_path):
    _done, place = first["checkledger"]
    code = "from django.conf import settings as s; print(*s.ALLOWED_HOSTS, s.WEIGHTS_DIR)"

    usual = place.shell(code).split()
    moved = place.run("shell", "--verbosity", "0", "-c", code, STUDIO_WEIGHTS_DIR=str(tmp_path))

    assert usual[:2] == ["127.0.0.1", "localhost"]
    assert usual[2].endswith("/var/weights")
    assert not usual[2].startswith(str(place.data))
    assert moved.stdout.split()[2] == str(tmp_path)
