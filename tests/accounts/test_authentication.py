"""Which credentials open the HTTP API, and how far."""

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import authentication
from accounts.models import ApiKey, User, create_key

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.accounts.urls")]


def bearer(secret):
    return {"HTTP_AUTHORIZATION": f"Bearer {secret}"}


@pytest.fixture
def secret(alice):
    return create_key(alice, name="Laptop")[1]


def test_a_key_says_who_is_asking(api, alice, secret):
    answer = api.get("/work", **bearer(secret))

    assert (answer.status_code, answer.json()) == (200, {"email": alice.email})


@pytest.mark.parametrize("kind", ["bearer", "BEARER"])
def test_the_word_bearer_may_be_spelled_freely(api, secret, kind):
    assert api.get("/work", HTTP_AUTHORIZATION=f"{kind} {secret}").status_code == 200


def test_without_credentials_the_answer_is_401_and_names_the_way_in(api):
    answer = api.get("/work")

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize(
    "sent",
    [
        "Bearer",
        "Bearer ",
        "Bearer sk_live_",
        "Bearer sk_live_doesnotexistdoesnotexistdoesnotexistdoesnot",
        "Bearer two words",
        "Bearer sk_live_\0",
        "Bearer \xff\xfe",
        "Basic YWxpY2U6YWxpY2U=",
        "sk_live_without_the_word",
    ],
)
def test_what_is_no_key_of_ours_is_401(api, secret, sent):
    answer = api.get("/work", HTTP_AUTHORIZATION=sent)

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_key_with_one_letter_changed_opens_nothing(api, secret):
    changed = secret[:-1] + ("A" if secret[-1] != "A" else "B")

    assert api.get("/work", **bearer(changed)).status_code == 401


def test_the_stored_digest_is_no_key(api, secret):
    digest = ApiKey.objects.get().digest

    assert api.get("/work", **bearer(digest)).status_code == 401


def test_two_keys_that_start_alike_are_told_apart(api, alice, bob, secret):
    twin, _secret = create_key(bob, name="Twin")
    ApiKey.objects.filter(pk=twin.pk).update(prefix=secret[:16])

    assert api.get("/work", **bearer(secret)).json() == {"email": alice.email}


def test_a_key_that_was_revoked_opens_nothing(api, secret):
    ApiKey.objects.update(revoked_at=timezone.now())

    assert api.get("/work", **bearer(secret)).status_code == 401


def test_a_key_that_ran_out_opens_nothing(api, secret):
    ApiKey.objects.update(expires_at=timezone.now())

    assert api.get("/work", **bearer(secret)).status_code == 401


def test_a_key_of_somebody_switched_off_opens_nothing(api, secret):
    User.objects.update(is_active=False)

    assert api.get("/work", **bearer(secret)).status_code == 401


def test_all_keys_that_fail_are_refused_in_the_same_words(api, secret):
    unknown = api.get("/work", **bearer("sk_live_unknown")).json()["detail"]
    ApiKey.objects.update(revoked_at=timezone.now())

    assert api.get("/work", **bearer(secret)).json()["detail"] == unknown


class TestScopes:
    def test_a_key_that_may_only_read_reads(self, api, alice):
        _key, secret = create_key(alice, name="Dashboard", scopes=["read"])

        assert api.get("/work", **bearer(secret)).status_code == 200

    def test_a_key_that_may_only_read_starts_nothing(self, api, alice):
        _key, secret = create_key(alice, name="Dashboard", scopes=["read"])

        answer = api.post("/work", {}, format="json", **bearer(secret))

        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
        assert answer.json()["scope"] == "run"

    def test_a_key_that_may_only_run_does_not_read(self, api, alice):
        _key, secret = create_key(alice, name="Uploader", scopes=["run"])

        answer = api.get("/work", **bearer(secret))

        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
        assert answer.json()["scope"] == "read"

    def test_a_key_that_may_run_starts_work(self, api, alice):
        _key, secret = create_key(alice, name="Uploader", scopes=["run"])

        assert api.post("/work", {}, format="json", **bearer(secret)).status_code == 201


class TestSessions:
    def test_a_signed_in_browser_may_read_and_run(self, alice):
        browser = APIClient()
        browser.force_login(alice)

        assert browser.get("/work").json() == {"email": alice.email}
        assert browser.post("/work", {}, format="json").status_code == 201

    def test_a_browser_without_the_csrf_token_changes_nothing(self, alice):
        browser = APIClient(enforce_csrf_checks=True)
        browser.force_login(alice)

        assert browser.post("/work", {}, format="json").status_code == 403

    def test_a_key_needs_no_csrf_token(self, secret):
        program = APIClient(enforce_csrf_checks=True)

        assert program.post("/work", {}, format="json", **bearer(secret)).status_code == 201

    def test_a_bad_key_is_refused_even_in_a_signed_in_browser(self, alice):
        browser = APIClient()
        browser.force_login(alice)

        assert browser.get("/work", **bearer("sk_live_wrong")).status_code == 401


class TestLastUse:
    def test_the_first_use_is_noted(self, api, secret):
        before = timezone.now()

        api.get("/work", **bearer(secret))

        assert before <= ApiKey.objects.get().last_used_at <= timezone.now()

    def test_a_use_within_the_minute_writes_nothing(self, api, secret, django_assert_num_queries):
        recently = timezone.now() - timedelta(seconds=50)
        ApiKey.objects.update(last_used_at=recently)

        with django_assert_num_queries(1):
            api.get("/work", **bearer(secret))

        assert ApiKey.objects.get().last_used_at == recently

    def test_a_use_a_minute_later_is_noted(self, api, secret):
        long_ago = timezone.now() - authentication.USE_NOTED_EVERY
        ApiKey.objects.update(last_used_at=long_ago)

        api.get("/work", **bearer(secret))

        assert ApiKey.objects.get().last_used_at > long_ago

    def test_a_refused_key_is_not_noted(self, api, secret):
        ApiKey.objects.update(revoked_at=timezone.now())

        api.get("/work", **bearer(secret))

        assert ApiKey.objects.get().last_used_at is None
