"""Accounts elsewhere: tried, sealed, opened, noted, forgotten."""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import vault
from accounts.models import Connection, ConnectionKind
from batches import connections
from batches.stores.base import StoreError
from tests.connecting import connected_bucket, connected_sirv


def refusal(call, *args, **kwargs) -> StoreError:
    with pytest.raises(StoreError) as caught:
        call(*args, **kwargs)
    return caught.value


def test_a_connection_is_kept_with_what_the_account_tells(alice, sirv):
    connection = connected_sirv(alice, sirv)

    kept = Connection.objects.get(owner=alice)
    assert kept.config == {"client_id": "client-1", "account": "alice", "cdn": "alice.sirv.example"}
    assert kept.checked_at
    assert connections.open_store(connection).url("a.png") == "https://alice.sirv.example/a.png"


def test_the_secret_is_nowhere_in_the_row(alice, sirv):
    connected_sirv(alice, sirv)

    row = Connection.objects.values().get()
    assert sirv.client_secret not in str(row)
    assert Connection.objects.get().secret == sirv.client_secret


def test_credentials_that_do_not_work_are_not_kept(alice, sirv):
    sirv.client_secret = "another"
    error = refusal(
        connections.connect,
        alice,
        kind=ConnectionKind.SIRV,
        name="Shop",
        config={"client_id": sirv.client_id},
        secret="secret-1",
        now=timezone.now(),
    )

    assert error.code == "store_credentials"
    assert not Connection.objects.exists()


def test_two_of_one_name_are_refused(alice, bob, sirv):
    connected_sirv(alice, sirv)
    connected_sirv(bob, sirv)

    with pytest.raises(connections.Refused, match="called “Shop” already"):
        connected_sirv(alice, sirv)

    assert Connection.objects.count() == 2


def test_there_is_an_end_to_connections(alice, sirv, monkeypatch):
    monkeypatch.setattr(connections, "MOST", 1)
    connected_sirv(alice, sirv)

    with pytest.raises(connections.Refused, match="You have 1 connections"):
        connected_sirv(alice, sirv, name="Another")


def test_threads_share_one_store_and_changed_credentials_get_another(alice, sirv):
    connection = connected_sirv(alice, sirv)
    with ThreadPoolExecutor(8) as threads:
        stores = set(threads.map(lambda _: connections.open_store(connection), range(16)))
    assert len(stores) == 1

    sirv.client_secret = "secret-2"
    connections.reconnect(
        connection,
        config={"client_id": sirv.client_id},
        secret="secret-2",
        now=timezone.now(),
    )

    connection.refresh_from_db()
    assert connections.open_store(connection) not in stores
    assert connection.secret == "secret-2"


def test_a_test_notes_the_answer_and_the_next_one_clears_it(alice, sirv):
    connection = connected_sirv(alice, sirv)
    sirv.faults = [("account", "503")]

    error = connections.test(connection, now=timezone.now())

    connection.refresh_from_db()
    assert (error.code, connection.error_code) == ("store_unreachable", "store_unreachable")
    assert connection.error_params == {"status": 503}
    assert connections.test(connection, now=timezone.now()) is None
    connection.refresh_from_db()
    assert connection.error_code == ""


def test_lost_keys_ask_to_connect_again(alice, sirv, settings):
    connection = connected_sirv(alice, sirv)
    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]
    connections._open.clear()

    error = connections.test(connection, now=timezone.now())

    assert error.code == "connection_sealed"
    connections.reconnect(
        connection, config=connection.config, secret=sirv.client_secret, now=timezone.now()
    )
    connection.refresh_from_db()
    assert connections.test(connection, now=timezone.now()) is None


def test_folders_and_the_rule_for_taken_names_are_kept_tidily(alice, sirv):
    connection = connected_sirv(alice, sirv)

    connections.arrange(
        connection,
        name="Shop",
        folders={"upscale": " /large/2026/ ", "alt-text": ""},
        conflict="overwrite",
    )

    connection.refresh_from_db()
    assert connection.folders == {"upscale": "large/2026"}
    assert connection.conflict == "overwrite"


@pytest.mark.parametrize("path", ["../up", "a//b", "a/./b"])
def test_folders_that_climb_are_refused(alice, sirv, path):
    connection = connected_sirv(alice, sirv)

    with pytest.raises(connections.Refused, match="can't be used"):
        connections.arrange(connection, name="Shop", folders={"upscale": path}, conflict="rename")


def test_a_folder_shows_its_folders_and_pictures_and_nothing_else(alice, s3):
    connection = connected_bucket(alice, s3, prefix="shop")
    for key in ("a.JPG", "b.png", "notes.txt", "deep/c.webp", "deep/er/d.heic"):
        s3.client.put_object(Bucket="pictures", Key=f"shop/{key}", Body=b"x")

    folder = connections.browse(connection, "", most=10)
    cut = connections.browse(connection, "/", most=1)

    assert [found.path for found in folder.pictures] == ["a.JPG", "b.png"]
    assert (folder.folders, folder.is_cut) == (["deep"], False)
    assert ([found.path for found in cut.pictures], cut.is_cut) == (["a.JPG"], True)
    everything = connections.pictures_in(connection, "deep", recursive=True)
    assert [found.path for found in everything] == ["deep/c.webp", "deep/er/d.heic"]


def test_disconnecting_forgets_the_secret(alice, sirv):
    connection = connected_sirv(alice, sirv)

    connections.disconnect(connection)
    connections.disconnect(connection)

    assert not Connection.objects.exists()


def test_a_new_key_takes_over_every_secret(alice, bob, sirv, settings):
    for owner in (alice, bob):
        connected_sirv(owner, sirv)
    old, new = settings.CREDENTIALS_KEYS[0], Fernet.generate_key().decode()
    settings.CREDENTIALS_KEYS = [new, old]

    out = io.StringIO()
    call_command("rotatecredentials", stdout=out)

    assert out.getvalue() == "2 secrets encrypted with the first key\n"
    settings.CREDENTIALS_KEYS = [new]
    assert {connection.secret for connection in Connection.objects.all()} == {sirv.client_secret}


def test_secrets_that_no_key_opens_are_counted_and_left(alice, bob, sirv, settings):
    lost = connected_sirv(alice, sirv)
    Connection.objects.filter(pk=lost.pk).update(sealed_secret="gAAAAA-of-another-site")
    connected_sirv(bob, sirv)

    with pytest.raises(CommandError, match="1 secrets can't be opened"):
        call_command("rotatecredentials", stdout=io.StringIO())

    lost.refresh_from_db()
    with pytest.raises(vault.Unreadable):
        lost.secret  # noqa: B018
