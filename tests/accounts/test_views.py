"""Signing in and out in a browser."""

import pytest
from django.urls import reverse

pytestmark = [pytest.mark.django_db]

LOGIN = {"username": "Alice@Example.com", "password": "alice's password"}


def test_the_sign_in_page_asks_for_an_address_and_a_password(client):
    page = client.get(reverse("accounts:login")).content.decode()

    assert 'type="email"' in page
    assert 'type="password"' in page
    assert "csrfmiddlewaretoken" in page
    assert "<script>" not in page
    assert "style=" not in page


def test_who_signs_in_arrives_at_the_first_page(client, alice):
    answer = client.post(reverse("accounts:login"), LOGIN)

    assert (answer.status_code, answer.url) == (302, reverse("home"))
    assert client.session["_auth_user_id"] == str(alice.pk)


def test_who_was_on_the_way_somewhere_arrives_there(client, alice):
    answer = client.post(reverse("accounts:login"), LOGIN | {"next": "/admin/"})

    assert answer.url == "/admin/"


def test_nobody_is_sent_to_another_site(client, alice):
    answer = client.post(reverse("accounts:login"), LOGIN | {"next": "https://evil.example/"})

    assert answer.url == reverse("home")


def test_a_wrong_password_is_explained_and_opens_nothing(client, alice):
    answer = client.post(reverse("accounts:login"), LOGIN | {"password": "guess"})

    assert answer.status_code == 200
    assert "belong together" in answer.content.decode()
    assert "_auth_user_id" not in client.session


def test_a_wrong_address_is_answered_like_a_wrong_password(client, alice):
    wrong_password = client.post(reverse("accounts:login"), LOGIN | {"password": "guess"})
    wrong_address = client.post(reverse("accounts:login"), LOGIN | {"username": "who@example.com"})

    assert (
        wrong_address.context["form"].non_field_errors()
        == wrong_password.context["form"].non_field_errors()
    )


def test_an_account_that_was_switched_off_stays_shut(client, alice):
    alice.is_active = False
    alice.save()

    client.post(reverse("accounts:login"), LOGIN)

    assert "_auth_user_id" not in client.session


def test_who_is_signed_in_is_not_asked_again(client, alice):
    client.force_login(alice)

    assert client.get(reverse("accounts:login")).url == reverse("home")


def test_signing_out_forgets_who_it_was(client, alice):
    client.force_login(alice)

    answer = client.post(reverse("accounts:logout"))

    assert (answer.status_code, answer.url) == (302, reverse("home"))
    assert "_auth_user_id" not in client.session


def test_a_link_cannot_sign_anybody_out(client, alice):
    client.force_login(alice)

    assert client.get(reverse("accounts:logout")).status_code == 405
    assert "_auth_user_id" in client.session
