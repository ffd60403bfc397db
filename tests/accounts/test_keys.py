"""The page of API keys, and preferences."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import ApiKey, User, create_key
from accounts.views import keys

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

PAGE = "/accounts/keys/"
FORM = {"name": "Shop import", "scopes": ["read", "run"], "expiry": "never"}


@pytest.fixture
def page(client, alice):
    """Alice's browser."""
    client.force_login(alice)
    return client


def me(api, secret):
    return api.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"}).status_code


def test_a_key_is_shown_once_and_works(page, api):
    answer = page.post(PAGE, FORM)

    secret = answer.context["secret"]
    assert answer.status_code == 201
    assert secret in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert secret not in page.get(PAGE).content.decode()
    assert me(api, secret) == 200


def test_a_key_has_the_scopes_that_were_chosen(page):
    page.post(PAGE, FORM | {"scopes": ["read"]})

    assert ApiKey.objects.get().scopes == ["read"]


@pytest.mark.parametrize("days", ["30", "90", "365"])
def test_a_key_ends_after_the_days_that_were_chosen(page, days):
    page.post(PAGE, FORM | {"expiry": days})

    left = ApiKey.objects.get().expires_at - timezone.now()
    assert timedelta(days=int(days)) - timedelta(minutes=1) < left <= timedelta(days=int(days))


def test_a_key_works_to_the_end_of_the_last_day_that_was_chosen(page):
    today = timezone.localdate()

    page.post(PAGE, FORM | {"expiry": "date", "expires_on": today.isoformat()})

    ends = ApiKey.objects.get().expires_at
    assert ends > timezone.now()
    assert timezone.localdate(ends) == today + timedelta(days=1)


@pytest.mark.parametrize("day", ["", "2020-01-01", "9999-12-31", "soon"])
def test_a_last_day_that_makes_no_sense_is_refused(page, day):
    answer = page.post(PAGE, FORM | {"expiry": "date", "expires_on": day})

    assert answer.status_code == 422
    assert answer.context["form"].errors["expires_on"]
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("wrong", [{"scopes": []}, {"scopes": ["admin"]}, {"name": " "}])
def test_a_key_without_a_name_or_a_known_scope_is_not_made(page, wrong):
    assert page.post(PAGE, FORM | wrong).status_code == 422
    assert not ApiKey.objects.exists()


def test_there_is_an_end_to_the_number_of_keys(page, alice, monkeypatch):
    monkeypatch.setattr(keys, "MOST_KEYS", 1)
    create_key(alice, name="the one")

    answer = page.post(PAGE, FORM)

    assert answer.status_code == 422
    assert ApiKey.objects.count() == 1


def test_a_revoked_key_opens_nothing_from_the_next_request_on(page, alice, api):
    key, secret = create_key(alice, name="shop")
    before = me(api, secret)

    answer = page.post(reverse("accounts:revoke_key", args=[key.uid]))

    assert (before, me(api, secret)) == (200, 401)
    assert answer.url == PAGE


def test_revoking_twice_keeps_the_first_date(page, alice):
    key, _secret = create_key(alice, name="shop")
    address = reverse("accounts:revoke_key", args=[key.uid])
    page.post(address)
    first = ApiKey.objects.get().revoked_at

    page.post(address)

    assert ApiKey.objects.get().revoked_at == first


def test_nobody_sees_or_ends_somebody_elses_keys(page, bob):
    key, _secret = create_key(bob, name="bob's own")

    page.post(reverse("accounts:revoke_key", args=[key.uid]))

    key.refresh_from_db()
    assert key.revoked_at is None
    assert "bob's own" not in page.get(PAGE).content.decode()


def test_a_link_revokes_nothing(page, alice):
    key, _secret = create_key(alice, name="shop")

    assert page.get(reverse("accounts:revoke_key", args=[key.uid])).status_code == 405


def test_the_page_asks_the_same_whatever_the_number_of_keys(page, alice, django_assert_num_queries):
    create_key(alice, name="the first")
    page.get(PAGE)  # opens the account of credits
    with CaptureQueriesContext(connection) as one_key:
        page.get(PAGE)
    for number in range(12):
        create_key(alice, name=f"key {number}")

    with django_assert_num_queries(len(one_key)):
        page.get(PAGE)


# --- Preferences ----------------------------------------------------------------------

PREFERENCES = {"low_credits": "25", "theme": "dark", "notify_email": "on", "default_format": "webp"}


def test_preferences_are_kept(page, alice):
    page.post("/accounts/preferences/", PREFERENCES)

    alice.refresh_from_db()
    assert (alice.theme, alice.default_format) == ("dark", "webp")
    assert (alice.notify_browser, alice.notify_email, alice.low_credits) == (False, True, 25)


def test_preferences_change_nothing_else(page, alice):
    page.post("/accounts/preferences/", PREFERENCES | {"is_staff": "on", "email": "x@y.example"})

    alice.refresh_from_db()
    assert (alice.email, alice.is_staff) == ("alice@example.com", False)


def test_a_format_that_no_tool_has_is_refused(page, alice):
    answer = page.post("/accounts/preferences/", PREFERENCES | {"default_format": "tiff"})

    alice.refresh_from_db()
    assert (answer.status_code, alice.default_format, alice.theme) == (422, "png", "")


def shown_theme(client) -> str:
    page = client.get("/accounts/").content.decode()
    return page.split("data-theme=", 1)[1][1:].split('"')[0] if "data-theme=" in page else ""


@pytest.mark.parametrize(
    ("chosen", "cookie", "shown"),
    [
        ("", "", ""),
        ("", "dark", "studio-dark"),
        ("dark", "light", "studio-dark"),
        ("light", "", "studio"),
        ("system", "dark", ""),
        ("", "nonsense", ""),
    ],
)
def test_what_the_person_chose_wins_over_what_the_browser_remembers(
    page, alice, chosen, cookie, shown
):
    User.objects.update(theme=chosen)
    page.cookies["theme"] = cookie

    assert shown_theme(page) == shown


def test_the_switch_in_the_header_is_remembered_for_the_person_and_the_browser(page, alice):
    answer = page.post("/accounts/theme/", {"theme": "dark"})

    alice.refresh_from_db()
    assert (answer.status_code, alice.theme) == (204, "dark")
    assert answer.cookies["theme"].value == "dark"


def test_a_theme_that_there_is_not_is_refused(page, alice):
    assert page.post("/accounts/theme/", {"theme": "pink"}).status_code == 422


@pytest.mark.parametrize(
    "path", ["", "keys/", "preferences/", "email/", "password/", "credits/", "delete/"]
)
def test_strangers_are_asked_to_sign_in_and_come_back(client, path):
    answer = client.get(f"/accounts/{path}")

    assert answer.url == f"/accounts/login/?next=/accounts/{path}"
