"""``manage.py grantcredits``."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from credits import ledger

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sound")]


def run(*words):
    out = StringIO()
    call_command("grantcredits", *words, stdout=out)
    return out.getvalue()


def test_it_prints_the_new_balance_and_nothing_else(alice, settings):
    settings.WELCOME_CREDITS = 25

    assert run("alice@example.com", "1000") == "1025 credits\n"
    assert ledger.balance(alice) == (1025, 0)


def test_each_run_gives_again(alice):
    run("alice@example.com", "1")

    assert run("alice@example.com", "1") == "2 credits\n"


def test_the_address_finds_its_account_in_any_spelling(alice):
    assert run("Alice@Example.COM", "1") == "1 credit\n"


def test_credits_on_hold_are_not_part_of_what_can_be_spent(alice, fund):
    fund(alice, 10)
    ledger.hold(alice, 10, key="work")

    assert run("alice@example.com", "5") == "5 credits\n"


def test_an_account_that_is_not_there_is_named_and_not_made():
    with pytest.raises(CommandError, match="There is no account for who@") as refusal:
        run("who@example.com", "5")

    assert refusal.value.returncode == 1
    assert not User.objects.exists()


@pytest.mark.parametrize("amount", ["0", "-5", "1.5", "ten", "", "٣"])
def test_only_whole_numbers_above_zero_are_given(alice, amount):
    with pytest.raises(CommandError, match="whole number above zero"):
        run("alice@example.com", amount)

    assert ledger.balance(alice) == (0, 0)
