"""Pages of accounts elsewhere: what is asked, what is said, what is never shown."""

import pytest
from cryptography.fernet import Fernet
from django.urls import reverse

from accounts.models import Connection
from tests.connecting import connected_bucket, connected_sirv

SECRET = "secret-1"


@pytest.fixture(autouse=True)
def _counters(valkey):
    """Tries are counted in the cache."""


@pytest.fixture
def page(client, alice):
    client.force_login(alice)
    return client


def connect_sirv(page, **fields):
    data = {"name": "Shop", "client_id": "client-1", "secret": SECRET, **fields}
    return page.post(reverse("batches:connection_new", args=["sirv"]), data, follow=True)


def text_of(answer) -> str:
    return answer.content.decode()


def test_an_account_is_connected_and_its_page_comes_next(page, sirv):
    answer = connect_sirv(page)

    connection = Connection.objects.get()
    assert answer.redirect_chain == [(reverse("batches:connection", args=[connection.uid]), 302)]
    assert "“Shop” is connected." in text_of(answer)
    assert "alice.sirv.example" in text_of(answer)
    assert SECRET not in text_of(answer)


def test_wrong_credentials_are_said_in_words_and_the_secret_is_not_shown_again(page, sirv):
    answer = connect_sirv(page, secret="wrong-secret")

    assert answer.status_code == 422
    assert "The account refused our key" in text_of(answer)
    assert "wrong-secret" not in text_of(answer)
    assert 'value="client-1"' in text_of(answer)
    assert not Connection.objects.exists()


def test_a_bucket_is_connected_with_its_folder(page, s3):
    answer = page.post(
        reverse("batches:connection_new", args=["s3"]),
        {
            "name": "Archive",
            "bucket": "pictures",
            "endpoint": s3.url,
            "folder": "/2026/",
            "key_id": "testing",
            "secret": SECRET,
        },
        follow=True,
    )

    assert "“Archive” is connected." in text_of(answer)
    assert Connection.objects.get().config == {
        "bucket": "pictures",
        "endpoint": s3.url,
        "region": "",
        "prefix": "2026",
        "public_url": "",
        "key_id": "testing",
    }


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("endpoint", "https://169.254.169.254", "This server can&#x27;t be used"),
        ("endpoint", "http://s3.example.com", "This server can&#x27;t be used"),
        ("bucket", "no bucket!", "This is no name of a bucket"),
        ("region", "Europe, please", "This is no name of a region"),
        ("folder", "../up", "can&#x27;t be used"),
        ("bucket", "nowhere", "It isn&#x27;t there any more"),
    ],
)
def test_a_bucket_that_can_not_be_used_says_why(page, s3, field, value, words):
    data = {"name": "A", "bucket": "pictures", "endpoint": s3.url, "key_id": "k", "secret": SECRET}

    answer = page.post(reverse("batches:connection_new", args=["s3"]), {**data, field: value})

    assert answer.status_code == 422
    assert words in text_of(answer)
    assert not Connection.objects.exists()


def test_the_test_button_answers_in_words(page, alice, sirv):
    connection = connected_sirv(alice, sirv)
    url = reverse("batches:connection_test", args=[connection.uid])

    works = page.post(url, follow=True)
    sirv.faults = [("account", "503")]
    broken = page.post(url, follow=True)

    assert "It works: “Shop” answered and knows our key." in text_of(works)
    assert "out of order (error 503)" in text_of(broken)
    assert "out of order (error 503)" in text_of(page.get(reverse("batches:connections")))


def test_folders_and_the_rule_are_kept(page, alice, sirv):
    connection = connected_sirv(alice, sirv)
    url = reverse("batches:connection", args=[connection.uid])

    answer = page.post(
        url, {"name": "Shop", "conflict": "overwrite", "folder-upscale": "/large/"}, follow=True
    )

    connection.refresh_from_db()
    assert (connection.conflict, connection.folders) == ("overwrite", {"upscale": "large"})
    assert 'value="large"' in text_of(answer)


def test_a_folder_that_climbs_is_refused_and_nothing_typed_is_lost(page, alice, sirv):
    connection = connected_sirv(alice, sirv)
    url = reverse("batches:connection", args=[connection.uid])

    answer = page.post(url, {"name": "New name", "conflict": "skip", "folder-upscale": "../up"})

    assert answer.status_code == 422
    assert "The folder “../up” can&#x27;t be used" in text_of(answer)
    assert 'value="New name"' in text_of(answer)
    connection.refresh_from_db()
    assert (connection.name, connection.conflict) == ("Shop", "rename")


def test_other_credentials_take_over_only_when_they_work(page, alice, sirv):
    connection = connected_sirv(alice, sirv)
    url = reverse("batches:connection_reconnect", args=[connection.uid])

    refused = page.post(url, {"client_id": "client-1", "secret": "wrong-secret"})
    sirv.client_secret = "secret-2"
    taken = page.post(url, {"client_id": "client-1", "secret": "secret-2"}, follow=True)

    assert refused.status_code == 422
    assert "wrong-secret" not in text_of(refused)
    assert "The new credentials work and are kept." in text_of(taken)
    connection.refresh_from_db()
    assert connection.secret == "secret-2"


def test_lost_keys_of_the_site_ask_for_the_secret_again(page, alice, sirv, settings):
    connection = connected_sirv(alice, sirv)
    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]
    Connection.objects.update(sealed_secret=connection.sealed_secret[:-4] + "AAA=")

    answer = page.post(reverse("batches:connection_test", args=[connection.uid]), follow=True)

    assert answer.status_code == 200
    assert "enter its secret again" in text_of(answer)


def test_disconnecting_is_said_and_may_be_sent_twice(page, alice, sirv):
    connection = connected_sirv(alice, sirv)
    url = reverse("batches:connection_disconnect", args=[connection.uid])

    first = page.post(url, follow=True)
    second = page.post(url, follow=True)

    assert "“Shop” is disconnected." in text_of(first)
    assert second.status_code == 200
    assert not Connection.objects.exists()


def test_nobody_else_finds_a_connection(client, alice, bob, s3):
    connection = connected_bucket(alice, s3)
    client.force_login(bob)

    answers = [
        client.get(reverse("batches:connection", args=[connection.uid])),
        client.post(reverse("batches:connection", args=[connection.uid]), {"name": "Mine"}),
        client.post(reverse("batches:connection_test", args=[connection.uid])),
        client.post(reverse("batches:connection_reconnect", args=[connection.uid])),
    ]
    client.post(reverse("batches:connection_disconnect", args=[connection.uid]))

    assert {answer.status_code for answer in answers} == {404}
    assert Connection.objects.get().name == "Bucket"
    assert "Bucket" not in text_of(client.get(reverse("batches:connections")))


def test_tries_of_credentials_have_an_end(page, sirv, monkeypatch):
    from batches.views import connections

    monkeypatch.setattr(
        connections, "TESTS_BY_PERSON", connections.Limit(what="connection-tests", most=2)
    )
    answers = [connect_sirv(page, secret=f"guess-{number}") for number in range(3)]

    assert [answer.status_code for answer in answers] == [422, 422, 429]


def test_there_is_no_form_for_what_can_not_be_connected(page):
    assert page.get(reverse("batches:connection_new", args=["ftp"])).status_code == 404
