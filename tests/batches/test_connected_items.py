"""Images out of accounts elsewhere, from a row to an original."""

import pytest

from accounts.models import Connection
from batches import connections, intake, lifecycle, pipeline
from batches.models import Original
from batches.sources.base import Row
from batches.states import ItemState
from tests.connecting import connected_bucket, connected_sirv
from tests.factories import give, picture
from tools import registry

pytestmark = pytest.mark.usefixtures("fake_tool", "media", "valkey", "rings_at_once", "sound")


def started(owner, connection, *paths: str):
    rows = [Row(url=path, connection=str(connection.uid)) for path in paths]
    give(owner, 100)
    return lifecycle.start(lifecycle.create(owner, registry.get("fake"), rows))


def fetched(batch):
    """The first item, after its file was asked for."""
    item = batch.items.get()
    pipeline.fetch([item.pk])
    item.refresh_from_db()
    return item


def test_a_file_of_an_account_becomes_an_original(alice, sirv):
    sirv.put("/Schuhe/links 100%.png", picture())
    batch = started(alice, connected_sirv(alice, sirv), "Schuhe/links 100%.png")

    item = fetched(batch)

    assert (item.state, item.error_code) == (ItemState.FETCHED, "")
    assert item.name == "links 100%.png"
    assert item.source == "sirv:/Schuhe/links 100%.png"
    assert Original.objects.get(owner=alice).name == "links 100%.png"


def test_a_file_of_a_bucket_becomes_one_below_the_prefix(alice, s3):
    s3.client.put_object(Bucket="pictures", Key="shop/a/b.png", Body=picture())
    batch = started(alice, connected_bucket(alice, s3, prefix="shop"), "a/b.png")

    item = fetched(batch)

    assert item.state == ItemState.FETCHED
    assert item.source == "s3:/a/b.png"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no picture at all", "format_unsupported"),
        (bytes(21 * 2**20), "file_too_large"),
        (picture()[:100], "file_damaged"),
        (None, "store_missing"),
    ],
)
def test_what_can_not_be_used_fails_as_an_upload_would(alice, sirv, data, code):
    if data is not None:
        sirv.put("/a.png", data)
    batch = started(alice, connected_sirv(alice, sirv), "a.png")

    item = fetched(batch)

    assert (item.state, item.error_code) == (ItemState.FAILED, code)


def test_a_server_that_is_away_is_asked_again(alice, sirv):
    sirv.put("/a.png", picture())
    batch = started(alice, connected_sirv(alice, sirv), "a.png")
    sirv.faults = [("download", "cut")]

    first = fetched(batch)
    again = fetched(batch)

    assert (first.state, first.tries) == (ItemState.QUEUED, 1)
    assert again.state == ItemState.FETCHED


def test_a_limit_is_waited_out_as_long_as_the_account_says(alice, sirv):
    batch = started(alice, connected_sirv(alice, sirv), "a.png")
    sirv.faults = [("download", "429")]

    item = fetched(batch)

    assert item.state == ItemState.QUEUED
    assert (item.retry_at - item.changed_at).total_seconds() > 30


def test_credentials_that_ended_fail_the_image_and_mark_the_connection(alice, sirv):
    connection = connected_sirv(alice, sirv)
    connections._open.clear()
    sirv.client_secret = "another"
    batch = started(alice, connection, "a.png")

    item = fetched(batch)

    connection.refresh_from_db()
    assert (item.state, item.error_code) == (ItemState.FAILED, "store_credentials")
    assert connection.error_code == "store_credentials"


def test_a_connection_that_is_gone_is_a_clear_error(alice, sirv):
    connection = connected_sirv(alice, sirv)
    batch = started(alice, connection, "a.png")
    connections.disconnect(connection)

    item = fetched(batch)

    assert (item.state, item.error_code) == (ItemState.FAILED, "connection_gone")
    assert "isn't connected any more" in item.error
    assert item.source == "/a.png"


def test_an_address_may_take_the_place_of_a_path(alice, sirv):
    connection = connected_sirv(alice, sirv)
    batch = started(alice, connection, "a.png")
    item = fetched(batch)

    lifecycle.retry(
        batch, repairs={item.uid: lifecycle.Repair(url="https://shop.example.com/a.png")}
    )

    item.refresh_from_db()
    assert (item.connection, item.source) == (None, "https://shop.example.com/a.png")


def test_nobody_reads_through_somebody_elses_connection(alice, bob, sirv):
    connection = connected_sirv(bob, sirv)

    with pytest.raises(intake.RowsInvalid) as caught:
        started(alice, connection, "a.png")

    assert [error.code for error in caught.value.errors] == ["connection_gone"]


@pytest.mark.parametrize("path", ["../a.png", "/a.png", "a//b.png"])
def test_a_path_that_climbs_is_refused_before_anything_starts(alice, sirv, path):
    connection = connected_sirv(alice, sirv)

    with pytest.raises(intake.RowsInvalid) as caught:
        started(alice, connection, path)

    assert [error.code for error in caught.value.errors] == ["store_path"]
    assert Connection.objects.get().error_code == ""
