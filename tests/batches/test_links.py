"""Signed links: who they let in, and until when."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.test import Client

from batches import intake, library, lifecycle, links
from batches.models import Result
from tests import clients
from tests.factories import make_batch, make_original, picture

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fake_tool", "rings_at_once")]


@pytest.fixture
def result(alice, run_jobs) -> Result:
    lifecycle.start(make_batch(alice, 1))
    run_jobs()
    return Result.objects.select_related("item__batch").get()


def path(link: str) -> str:
    return urlsplit(link).path


def status(link: str) -> int:
    """What a stranger is answered."""
    answer = Client().get(path(link))
    if answer.streaming:
        answer.getvalue()  # read to its end, the client closes it and leaves the connection alone
    return answer.status_code


def test_a_link_opens_the_result_for_whoever_has_it(result, settings):
    link = links.result_link(result)

    answer = Client().get(path(link))

    assert link.startswith(settings.SITE_URL)
    assert answer.status_code == 200
    assert len(b"".join(answer.streaming_content)) == result.bytes
    assert answer["Cache-Control"] == "private, no-store"
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_it_ends(result):
    link = links.result_link(result, expires_in=timedelta(seconds=-1))

    assert status(link) == 404


def test_it_is_taken_back_for_the_whole_batch_and_new_ones_work(alice, result):
    old = links.result_link(result)

    answer = clients.with_key(alice).post(f"/api/v1/batches/{result.item.batch.uid}/links/revoke")
    fresh = Result.objects.select_related("item__batch").get()

    assert answer.status_code == 204
    assert status(old) == 404
    assert status(links.result_link(fresh)) == 200


def test_taking_back_from_the_page(alice, bob, result, client):
    old = links.result_link(result)
    page = f"/batches/{result.item.batch.uid}/links/revoke/"

    client.force_login(bob)
    assert client.post(page).status_code == 404
    assert status(old) == 200
    client.force_login(alice)
    client.post(page)

    assert status(old) == 404


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: "x" + t, lambda _t: "nothing"])
def test_nobody_makes_one_up(result, change):
    token = path(links.result_link(result)).removeprefix("/files/")

    assert Client().get(f"/files/{change(token)}").status_code == 404


def test_it_ends_with_the_account(alice, result):
    given = [
        links.result_link(result),
        links.upload_link(make_original(alice)),
        links.asset_link(library.add(alice, result)),
    ]
    assert [status(link) for link in given] == [200, 200, 200]
    alice.is_active = False
    alice.save()

    assert [status(link) for link in given] == [404, 404, 404]


def test_a_link_to_an_upload_opens_the_file_that_was_sent(alice):
    data = picture(5)
    link = links.upload_link(intake.receive(alice, data, name="mug.png")[0])

    answer = Client().get(path(link))

    assert b"".join(answer.streaming_content) == data
    assert answer["Content-Length"] == str(len(data))
    assert answer["Content-Disposition"] == 'inline; filename="mug.png"'
    assert answer["Cache-Control"] == "private, no-store"
    assert status(links.upload_link(make_original(alice), expires_in=timedelta(seconds=-1))) == 404


def test_a_link_to_an_asset_ends_where_it_is_thrown_away(alice, result):
    asset = library.add(alice, result)
    link = links.asset_link(asset)
    assert status(link) == 200

    library.trash(alice, [asset.uid])

    assert status(link) == 404


def test_a_link_can_be_looked_at_without_taking_the_file(result):
    answer = Client().head(path(links.result_link(result)))
    answer.close()

    assert (answer.status_code, answer["Content-Length"]) == (200, str(result.bytes))
