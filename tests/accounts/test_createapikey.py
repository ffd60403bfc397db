"""``manage.py createapikey``."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import ApiKey, User, digest_of

pytestmark = pytest.mark.django_db


def run(*words):
    out = StringIO()
    call_command("createapikey", *words, stdout=out)
    return out.getvalue()


def test_it_prints_the_key_and_nothing_else(alice):
    [secret, nothing] = run("alice@example.com").split("\n")

    key = ApiKey.objects.get()
    assert nothing == ""
    assert (key.user, key.digest) == (alice, digest_of(secret))
    assert key.scopes == ["read", "run"]


def test_an_account_that_is_not_there_is_made_without_a_password():
    run("carol@example.com")

    carol = User.objects.get(email="carol@example.com")
    assert carol.api_keys.count() == 1
    assert not carol.has_usable_password()


def test_the_address_finds_its_account_in_any_spelling(alice):
    run("Alice@Example.COM")

    assert User.objects.count() == 1
    assert alice.api_keys.count() == 1


def test_the_address_of_this_machine_is_an_address():
    run("local@localhost")

    assert User.objects.get().email == "local@localhost"


def test_a_key_can_be_named_and_limited():
    run("alice@example.com", "--name", "Dashboard", "--scopes", "read")

    key = ApiKey.objects.get()
    assert (key.name, key.scopes) == ("Dashboard", ["read"])


@pytest.mark.parametrize("email", ["alice", "@example.com", "alice@", ""])
def test_what_is_no_address_makes_nothing(email):
    with pytest.raises(CommandError, match="not an e-mail address"):
        run(email)

    assert not User.objects.exists()


def test_a_scope_that_nobody_knows_makes_nothing():
    with pytest.raises(CommandError, match="admin"):
        run("alice@example.com", "--scopes", "admin")

    assert not User.objects.exists()
