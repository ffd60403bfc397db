"""Promo codes: who gets what from them, how often, and what the others are told."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import User
from credits import ledger, promos
from credits.models import Grant, PromoCode

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sound")]

REDEEM, PAGE = "/accounts/credits/redeem/", "/accounts/credits/"
DAY = timedelta(days=1)


@pytest.fixture
def autumn():
    return PromoCode.objects.create(code="AUTUMN", amount=50)


@pytest.mark.parametrize("typed", ["AUTUMN", "autumn", "  Autumn ", "au tumn"])
def test_a_code_gives_its_credits_however_it_is_typed(alice, autumn, typed):
    entry = promos.redeem(alice, typed)

    assert ledger.balance(alice) == (50, 0)
    assert (entry.key, entry.note) == (f"promo:AUTUMN:{alice.pk}", "AUTUMN")
    grant = Grant.objects.get()
    assert (grant.kind, grant.expires_at) == ("promo", None)
    autumn.refresh_from_db()
    assert autumn.uses == 1


def test_credits_of_a_code_last_as_long_as_it_says(alice, autumn):
    PromoCode.objects.update(credits_last_days=30)
    now = timezone.now()

    promos.redeem(alice, "autumn", now=now)

    assert Grant.objects.get().expires_at == now + 30 * DAY


def test_a_code_counts_once_for_each_person(alice, bob, autumn):
    promos.redeem(alice, "autumn")
    with pytest.raises(promos.UsedBefore):
        promos.redeem(alice, "AUTUMN")
    promos.redeem(bob, "autumn")

    autumn.refresh_from_db()
    assert (autumn.uses, ledger.balance(alice), ledger.balance(bob)) == (2, (50, 0), (50, 0))
    assert [grant.account.owner for grant in promos.grants_of(autumn)] == [bob, alice]


@pytest.mark.parametrize(
    ("fields", "refusal", "code"),
    [
        ({"begins_at": DAY}, promos.NotBegun, "promo_not_begun"),
        ({"ends_at": -DAY}, promos.Ended, "promo_ended"),
        ({"ends_at": timedelta()}, promos.Ended, "promo_ended"),
        ({"most_uses": 0}, promos.UsedUp, "promo_used_up"),
        ({"code": "WINTER"}, promos.Unknown, "promo_unknown"),
    ],
)
def test_who_gets_nothing_is_told_why_and_the_code_stays_as_it_was(
    alice, autumn, fields, refusal, code
):
    now = timezone.now()
    PromoCode.objects.update(
        **{name: now + by if isinstance(by, timedelta) else by for name, by in fields.items()}
    )

    with pytest.raises(refusal) as refused:
        promos.redeem(alice, "autumn", now=now)

    assert refused.value.code == code
    assert "credits were added" in refused.value.detail
    assert ledger.balance(alice) == (0, 0)
    assert PromoCode.objects.get().uses == 0


def test_a_code_waits_for_a_confirmed_address(alice, autumn):
    User.objects.update(email_verified_at=None)

    with pytest.raises(promos.Unproved):
        promos.redeem(alice, "autumn")

    assert not Grant.objects.exists()


def test_a_code_that_is_stopped_serves_nobody_and_is_stopped_once(alice, autumn):
    assert promos.stop(autumn)
    assert not promos.stop(autumn)
    with pytest.raises(promos.Ended):
        promos.redeem(alice, "autumn")


@pytest.mark.django_db(transaction=True)
def test_of_twenty_at_once_as_many_are_served_as_the_code_has_uses():
    people = [User.objects.create_user(f"user{number}@example.com") for number in range(20)]
    PromoCode.objects.create(code="FIVE", amount=7, most_uses=5)
    start, answers = threading.Barrier(20), []

    def run(user):
        try:
            start.wait()
            answers.append(promos.redeem(user, "five"))
        except promos.UsedUp as refused:
            answers.append(refused)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[user]) for user in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 20
    assert sum(isinstance(answer, promos.UsedUp) for answer in answers) == 15
    assert Grant.objects.filter(amount=7).count() == PromoCode.objects.get().uses == 5


@pytest.mark.django_db(transaction=True)
def test_one_person_who_asks_twenty_times_at_once_is_served_once(alice):
    PromoCode.objects.create(code="MANY", amount=7, most_uses=5)
    start, answers = threading.Barrier(20), []

    def run():
        try:
            start.wait()
            answers.append(promos.redeem(alice, "many"))
        except promos.UsedBefore as refused:
            answers.append(refused)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 20
    assert (PromoCode.objects.get().uses, ledger.balance(alice)) == (1, (7, 0))


class TestPage:
    @pytest.fixture
    def page(self, client, alice, valkey):
        """Alice's browser."""
        client.force_login(alice)
        return client

    def test_the_page_of_credits_asks_for_a_code_and_says_what_it_gave(self, page, alice, autumn):
        assert REDEEM in page.get(PAGE).content.decode()

        answer = page.post(REDEEM, {"code": "autumn"}, follow=True)

        assert "50 credits were added." in answer.content.decode()
        assert ledger.balance(alice) == (50, 0)

    @pytest.mark.parametrize(
        ("typed", "told"), [("winter", "There is no such code"), ("", "Enter a code.")]
    )
    def test_a_wrong_code_is_explained_beside_its_field(self, page, autumn, typed, told):
        answer = page.post(REDEEM, {"code": typed})

        html = answer.content.decode()
        assert answer.status_code == 422
        assert told in html
        assert 'aria-invalid="true"' in html
        assert 'id="id_code_error" role="alert"' in html
        assert '<details class="panel px-5 py-3" open>' in html

    def test_guessing_ends_after_ten_tries_and_right_codes_are_no_guesses(self, page, autumn):
        page.post(REDEEM, {"code": "autumn"})
        tries = [page.post(REDEEM, {"code": f"guess{n}"}).status_code for n in range(11)]

        assert tries == [422] * 10 + [429]

    def test_it_takes_no_questions_and_no_strangers(self, page, client):
        assert page.get(REDEEM).status_code == 405
        client.logout()
        assert client.post(REDEEM, {"code": "x"}).status_code == 302
