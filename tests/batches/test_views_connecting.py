"""Images of connected accounts on a tool's page: looked at, chosen, taken back, started."""

import pytest
from django.urls import reverse

from batches.connections import Pick
from batches.models import Batch, Draft
from tests.connecting import connected_bucket, connected_sirv
from tests.factories import give, picture

pytestmark = pytest.mark.usefixtures("fake_tool", "media", "valkey", "rings_at_once")

PAGE = "/tools/fake/"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def page(client, alice):
    client.force_login(alice)
    give(alice, 500)
    return client


@pytest.fixture
def account(alice, sirv):
    for path in ("/shoes/a.png", "/shoes/b.png", "/shoes/left/c.png", "/notes.txt"):
        sirv.put(path, picture())
    return connected_sirv(alice, sirv)


def act(page, connection, what: str, *, headers=HTMX, **fields):
    data = {"connected_at": str(connection.uid), "do": what, **fields}
    return page.post(reverse("batches:connected", args=["fake"]), data, headers=headers)


def chosen() -> list[tuple[str, str, int]]:
    picks = [Pick.from_token(token) for token in Draft.objects.get().fields.get("connected", [])]
    return [(pick.kind, pick.path, pick.count) for pick in picks]


def test_a_folder_is_looked_into(page, account):
    text = act(page, account, "open:shoes").content.decode()

    assert "a.png" in text
    assert 'value="open:shoes/left"' in text
    assert "notes.txt" not in text
    assert "c.png" not in text


def test_folders_and_files_are_chosen_counted_and_taken_back(page, account):
    act(page, account, "folder:shoes")
    act(page, account, "tree:shoes")
    answer = act(page, account, "files:", connected_in="shoes/left", connected_pick=["shoes/b.png"])

    assert chosen() == [("folder", "shoes", 2), ("tree", "shoes", 3), ("file", "shoes/b.png", 1)]
    assert 'data-count="3"' in answer.content.decode()

    folder = Draft.objects.get().fields["connected"][0]
    act(page, account, f"remove:{folder}")

    assert [kind for kind, _path, _count in chosen()] == ["tree", "file"]


def test_without_a_script_the_page_comes_back_with_the_folder(page, account):
    answer = act(page, account, "tree:shoes", headers={}, connected_in="shoes")

    assert answer.status_code == 302
    text = page.get(answer.headers["Location"].partition("#")[0]).content.decode()
    assert 'name="connected" value="[' in text
    assert 'value="open:shoes/left"' in text


def test_what_was_chosen_is_started_once_each_and_leaves_the_page(page, account, alice):
    act(page, account, "folder:shoes/left")
    act(page, account, "tree:shoes")
    tokens = Draft.objects.get().fields["connected"]

    answer = page.post(PAGE, {"connected": tokens, "uploads": "", "refused": ""})

    batch = Batch.objects.get()
    assert answer.status_code == 302
    items = list(batch.items.order_by("position"))
    assert [item.source_url for item in items] == [
        "shoes/left/c.png",
        "shoes/a.png",
        "shoes/b.png",
    ]
    assert {item.connection for item in items} == {account}
    assert Draft.objects.get().fields["connected"] == []


def test_too_many_are_asked_about_and_the_rest_stays(page, account, alice):
    type(alice).objects.filter(pk=alice.pk).update(batch_images=2)
    act(page, account, "tree:shoes")
    form = {"connected": Draft.objects.get().fields["connected"], "uploads": "", "refused": ""}

    asked = page.post(PAGE, form)
    page.post(PAGE, {**form, "take": 2})

    assert asked.status_code == 422
    assert "You have 3 images; one batch takes 2." in asked.content.decode()
    assert Batch.objects.get().items.count() == 2
    assert chosen() == [("file", "shoes/left/c.png", 1)]


def test_a_server_that_is_away_is_said_and_starts_nothing(page, account, sirv):
    act(page, account, "tree:shoes")
    form = {"connected": Draft.objects.get().fields["connected"], "uploads": "", "refused": ""}
    sirv.faults = [("readdir", "503")] * 3

    looked = act(page, account, "open:shoes")
    started = page.post(PAGE, form)

    assert "out of order" in looked.content.decode()
    assert started.status_code == 422
    assert "out of order" in started.content.decode()
    assert 'name="connected" value="[' in started.content.decode()
    assert not Batch.objects.exists()


def test_an_empty_folder_is_not_chosen(page, alice, s3):
    bucket = connected_bucket(alice, s3)

    answer = act(page, bucket, "folder:")

    assert "There is no image in this folder." in answer.content.decode()
    assert chosen() == []


@pytest.mark.parametrize("token", ["", "x", "[]", '["a","file","b",1]', "null", "[[[["])
def test_tokens_that_make_no_sense_are_nothing(token):
    assert Pick.from_token(token) is None


def test_nobody_chooses_in_somebody_elses_account(client, account, bob):
    client.force_login(bob)
    give(bob, 10)
    answer = act(client, account, "tree:shoes")
    pick = Pick(str(account.uid), "file", "shoes/a.png", 1)

    started = client.post(PAGE, {"connected": [pick.token], "uploads": "", "refused": ""})

    assert "a.png" not in answer.content.decode()
    assert started.status_code == 422
    assert not Batch.objects.exists()
