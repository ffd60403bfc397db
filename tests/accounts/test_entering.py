"""Signing up, proving the address, and what stands in the way of guessing."""

import pytest
from django.core import mail
from django.urls import reverse

from accounts import addresses, limits
from accounts.models import User, create_key
from accounts.views import entering
from credits import ledger
from credits.models import LedgerEntry
from tests.accounts.mails import link

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

SIGN_UP = {"email": "Carol@Example.com", "password": "tulip spoon river"}


@pytest.fixture
def carol(settings) -> User:
    """Somebody who has signed up and whose address nobody has proved."""
    settings.WELCOME_CREDITS = 25
    addresses.sign_up("carol@example.com", "tulip spoon river")
    return User.objects.get(email="carol@example.com")


def is_signed_in(client) -> bool:
    return "_auth_user_id" in client.session


# --- Signing up -----------------------------------------------------------------------


def test_who_signs_up_is_told_to_look_into_the_mail(client):
    answer = client.post(reverse("accounts:sign_up"), SIGN_UP, follow=True)

    assert answer.redirect_chain == [(reverse("accounts:signed_up"), 302)]
    assert "carol@example.com" in answer.content.decode()
    assert [letter.to for letter in mail.outbox] == [["carol@example.com"]]
    assert User.objects.get().email_verified_at is None


def test_an_address_that_has_an_account_gets_the_same_answer_and_another_mail(client, alice):
    fresh = client.post(reverse("accounts:sign_up"), SIGN_UP)
    taken = client.post(reverse("accounts:sign_up"), SIGN_UP | {"email": "alice@example.com"})

    assert (taken.status_code, taken.url) == (fresh.status_code, fresh.url)
    assert mail.outbox[-1].to == ["alice@example.com"]
    assert "already" in mail.outbox[-1].body
    alice.refresh_from_db()
    assert alice.check_password("alice's password")


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("short", "too short"),
        ("password", "too common"),
        ("carol@example.com", "too similar"),
        ("73519572846", "entirely numeric"),
    ],
)
def test_a_weak_password_is_refused_with_the_reason(client, password, words):
    answer = client.post(reverse("accounts:sign_up"), SIGN_UP | {"password": password})

    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not User.objects.exists()


def test_a_page_that_knows_nothing_of_a_sign_up_leads_to_the_form(client):
    assert client.get(reverse("accounts:signed_up")).url == reverse("accounts:sign_up")


def test_signing_up_twice_at_once_makes_one_account(carol):
    addresses.sign_up("carol@example.com", "another password of hers")

    assert User.objects.count() == 1
    assert carol.check_password("tulip spoon river")


def test_a_mail_server_that_is_away_breaks_no_page(client, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1

    answer = client.post(reverse("accounts:sign_up"), SIGN_UP)

    assert answer.url == reverse("accounts:signed_up")


# --- Proving the address --------------------------------------------------------------


def test_credits_come_when_the_address_is_proved_and_once(client, carol):
    assert ledger.balance(carol).available == 0

    client.post(link())
    client.post(link())

    assert ledger.balance(carol).available == 25
    assert LedgerEntry.objects.count() == 1


def test_an_account_that_nobody_had_looked_at_gets_them_too(client, carol):
    client.post(link())

    assert ledger.balance(carol).available == 25
    assert LedgerEntry.objects.count() == 1


def test_opening_the_link_proves_nothing_until_the_button_is_pressed(client, carol):
    page = client.get(link())

    carol.refresh_from_db()
    assert page.status_code == 200
    assert carol.email_verified_at is None


def test_a_link_works_once(client, carol):
    first, second = client.post(link()), client.post(link())

    assert (first.status_code, second.status_code) == (302, 410)


def test_a_link_ends_after_three_days(client, carol, settings):
    settings.PASSWORD_RESET_TIMEOUT = -1

    assert client.get(link()).status_code == 410


def test_a_link_ends_with_a_new_password(client, carol):
    carol.set_password("a new password of hers")
    carol.save()

    assert client.get(link()).status_code == 410


@pytest.mark.parametrize("token", ["nonsense", "a:b:c", "x" * 3000])
def test_a_made_up_link_proves_nothing(client, token):
    assert client.get(reverse("accounts:confirm", args=[token])).status_code == 410


def test_a_link_for_one_purpose_serves_no_other(client, carol):
    token = link().rstrip("/").rsplit("/", 1)[1]

    assert client.get(reverse("accounts:move", args=[token])).status_code == 410


def test_the_banner_stays_until_the_address_is_proved(client, carol):
    client.force_login(carol)
    before = client.get(reverse("accounts:home")).content.decode()

    client.post(link())

    assert "Send it again" in before
    assert "Send it again" not in client.get(reverse("accounts:home")).content.decode()


def test_the_link_can_be_sent_again(client, carol):
    client.force_login(carol)
    mail.outbox.clear()

    client.post(reverse("accounts:send_again"))

    assert client.post(link()).status_code == 302
    carol.refresh_from_db()
    assert carol.email_verified_at


def test_nothing_is_sent_to_who_has_proved_it(client, alice):
    client.force_login(alice)

    client.post(reverse("accounts:send_again"))

    assert mail.outbox == []


def test_people_made_by_staff_or_by_a_command_have_proved_it(alice, staff):
    assert alice.email_verified_at
    assert staff.email_verified_at


# --- Limits ---------------------------------------------------------------------------


def sign_in(client, **fields):
    return client.post(
        reverse("accounts:login"),
        {"username": "alice@example.com", "password": "alice's password"} | fields,
    )


def test_guessing_for_one_address_is_stopped_even_for_the_right_password(client, alice):
    for number in range(entering.WRONG_BY_ADDRESS.most):
        assert sign_in(client, password=f"guess {number}").status_code == 200

    answer = sign_in(client, username="ALICE@example.com")

    assert answer.status_code == 429
    assert not is_signed_in(client)


def test_signing_in_rightly_is_never_counted(client, alice):
    for _time in range(entering.WRONG_BY_ADDRESS.most + 2):
        sign_in(client)
        assert is_signed_in(client)
        client.logout()


def test_one_network_that_tries_many_addresses_is_stopped(client, alice, monkeypatch):
    few = limits.Limit(what="sign-in-network", most=2)
    monkeypatch.setattr(entering, "WRONG_BY_NETWORK", few)
    for number in range(2):
        sign_in(client, username=f"{number}@example.com")

    here = sign_in(client)
    there = client.post(
        reverse("accounts:login"),
        {"username": "alice@example.com", "password": "alice's password"},
        REMOTE_ADDR="192.0.2.9",
    )

    assert (here.status_code, there.status_code) == (429, 302)


def test_one_address_is_not_flooded_with_mails(client):
    for _time in range(entering.SIGN_UPS_BY_ADDRESS.most):
        client.post(reverse("accounts:sign_up"), SIGN_UP)

    answer = client.post(reverse("accounts:sign_up"), SIGN_UP)

    assert answer.status_code == 429
    assert len(mail.outbox) == entering.SIGN_UPS_BY_ADDRESS.most


@pytest.mark.parametrize(
    ("proxies", "forwarded", "network"),
    [
        (0, "198.51.100.7", "192.0.2.1"),
        (1, "6.6.6.6, 198.51.100.7", "198.51.100.7"),
        (2, "6.6.6.6, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
        (1, "", "192.0.2.1"),
        (1, "2001:db8::1:2:3:4", "2001:db8::/64"),
        (1, "nonsense", "nonsense"),
    ],
)
def test_what_strangers_write_into_a_header_is_not_believed(
    rf, settings, proxies, forwarded, network
):
    settings.PROXIES = proxies

    request = rf.get("/", REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": forwarded})

    assert limits.network_of(request) == network


# --- Passwords ------------------------------------------------------------------------


def choose(client, password="a quiet lake at noon"):
    page = client.get(link(), follow=True)
    form = {"new_password1": password, "new_password2": password}
    return client.post(page.redirect_chain[-1][0] if page.redirect_chain else link(), form)


def test_a_forgotten_password_is_replaced_by_the_link_of_a_mail(client, alice):
    client.post(reverse("accounts:password_reset"), {"email": "ALICE@example.com"})

    answer = choose(client)

    assert answer.url == reverse("accounts:login")
    assert client.login(email="alice@example.com", password="a quiet lake at noon")


def test_a_reset_link_works_once(client, alice):
    client.post(reverse("accounts:password_reset"), {"email": "alice@example.com"})
    choose(client)
    client.logout()

    page = client.get(link(), follow=True)

    assert "no longer works" in page.content.decode()


def test_an_unknown_address_gets_the_same_answer_and_no_mail(client, alice):
    known = client.post(reverse("accounts:password_reset"), {"email": "alice@example.com"})
    unknown = client.post(reverse("accounts:password_reset"), {"email": "who@example.com"})

    assert (known.status_code, known.url) == (unknown.status_code, unknown.url)
    assert len(mail.outbox) == 1


def test_a_reset_proves_the_address_and_ends_keys_from_before(client, carol, api):
    _key, secret = create_key(carol, name="made by whoever signed up")
    client.post(reverse("accounts:password_reset"), {"email": "carol@example.com"})

    choose(client)

    carol.refresh_from_db()
    assert carol.email_verified_at
    assert ledger.balance(carol).available == 25
    assert api.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_a_reset_leaves_the_keys_of_a_proved_account_alone(client, alice, api):
    _key, secret = create_key(alice, name="shop")
    client.post(reverse("accounts:password_reset"), {"email": "alice@example.com"})

    choose(client)

    assert api.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"}).status_code == 200


def test_links_in_mails_never_take_the_name_from_the_request(client, alice, settings):
    settings.SITE_URL = "https://studio.example"
    settings.ALLOWED_HOSTS = ["*"]

    client.post(
        reverse("accounts:password_reset"),
        {"email": "alice@example.com"},
        headers={"Host": "evil.example"},
    )

    assert "https://studio.example/accounts/password/reset/" in mail.outbox[0].body
    assert "evil" not in mail.outbox[0].body


def test_a_changed_password_signs_other_browsers_out_and_not_this_one(client, alice):
    other = type(client)()
    other.force_login(alice)
    client.force_login(alice)

    answer = client.post(
        reverse("accounts:password"),
        {
            "old_password": "alice's password",
            "new_password1": "a quiet lake at noon",
            "new_password2": "a quiet lake at noon",
        },
    )

    assert answer.url == reverse("accounts:home")
    assert client.get(reverse("accounts:home")).status_code == 200
    assert other.get(reverse("accounts:home")).status_code == 302


# --- Another address ------------------------------------------------------------------


def ask_to_move(client, email="alice@new.example", password="alice's password"):
    return client.post(reverse("accounts:email"), {"email": email, "password": password})


def test_the_address_changes_when_the_new_one_is_proved(client, alice):
    client.force_login(alice)
    ask_to_move(client, "Alice@New.example")
    alice.refresh_from_db()
    before = alice.email

    client.post(link(0))

    alice.refresh_from_db()
    assert (before, alice.email) == ("alice@example.com", "alice@new.example")
    assert [letter.to for letter in mail.outbox] == [["alice@new.example"], ["alice@example.com"]]
    assert client.post(link(0)).status_code == 410


def test_a_new_address_needs_the_password(client, alice):
    client.force_login(alice)

    answer = ask_to_move(client, password="guess")

    assert answer.status_code == 422
    assert mail.outbox == []


def test_somebody_elses_address_is_not_told_and_not_taken(client, alice, bob):
    client.force_login(alice)

    answer = ask_to_move(client, "bob@example.com")

    assert answer.status_code == 302
    assert "already" in mail.outbox[0].body


def test_an_address_that_was_taken_meanwhile_stays_with_its_owner(client, alice):
    client.force_login(alice)
    ask_to_move(client)
    User.objects.create_user("alice@new.example", "somebody else's")

    answer = client.post(link(0), follow=True)

    alice.refresh_from_db()
    assert alice.email == "alice@example.com"
    assert "another account with this address" in answer.content.decode()
