"""Users and keys in the admin."""

import pytest
from django.urls import reverse

from accounts.models import ApiKey, Connection, User, create_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client, staff):
    client.force_login(staff)
    return client


@pytest.fixture
def key(alice):
    return create_key(alice, name="Laptop")[0]


def page(client, name, *args):
    answer = client.get(reverse(f"admin:accounts_{name}", args=args))
    assert answer.status_code == 200
    return answer.content.decode()


def test_users_are_listed_found_and_shown(admin, alice, bob):
    assert alice.email in page(admin, "user_changelist")
    assert str(alice.uid) in page(admin, "user_change", alice.pk)

    found = admin.get(reverse("admin:accounts_user_changelist"), {"q": "alice"}).content.decode()
    assert alice.email in found
    assert bob.email not in found


def test_a_user_is_made_from_an_address_and_a_password(admin):
    page(admin, "user_add")

    admin.post(
        reverse("admin:accounts_user_add"),
        {
            "email": "Carol@Example.com",
            "usable_password": "true",
            "password1": "a long enough phrase",
            "password2": "a long enough phrase",
        },
    )

    carol = User.objects.get(email="carol@example.com")
    assert carol.check_password("a long enough phrase")


def test_a_second_account_of_one_address_is_refused_in_the_form(admin, alice):
    answer = admin.post(
        reverse("admin:accounts_user_add"),
        {
            "email": "ALICE@example.com",
            "usable_password": "true",
            "password1": "a long enough phrase",
            "password2": "a long enough phrase",
        },
    )

    assert "There is already an account with this e-mail address." in answer.content.decode()
    assert User.objects.filter(email="alice@example.com").count() == 1


def test_a_key_is_shown_without_anything_that_could_be_used(admin, key):
    shown = page(admin, "apikey_changelist") + page(admin, "apikey_change", key.pk)

    assert key.prefix in shown
    assert key.digest not in shown


def test_keys_are_neither_made_nor_edited_nor_deleted_here(admin, key):
    assert admin.get(reverse("admin:accounts_apikey_add")).status_code == 403
    assert admin.post(reverse("admin:accounts_apikey_delete", args=[key.pk])).status_code == 403
    admin.post(reverse("admin:accounts_apikey_change", args=[key.pk]), {"name": "Changed"})

    assert ApiKey.objects.get().name == "Laptop"


def test_keys_can_be_revoked_and_the_answer_counts_them(admin, alice, key):
    create_key(alice, name="Phone")

    answer = admin.post(
        reverse("admin:accounts_apikey_changelist"),
        {"action": "revoke", "_selected_action": list(ApiKey.objects.values_list("pk", flat=True))},
        follow=True,
    )

    assert not ApiKey.objects.filter(revoked_at=None).exists()
    assert "2 keys revoked." in answer.content.decode()


def test_a_revoked_key_keeps_the_time_of_its_end(admin, key):
    revoke = {"action": "revoke", "_selected_action": [key.pk]}
    admin.post(reverse("admin:accounts_apikey_changelist"), revoke)
    first = ApiKey.objects.get().revoked_at

    admin.post(reverse("admin:accounts_apikey_changelist"), revoke)

    assert ApiKey.objects.get().revoked_at == first


def test_the_list_of_keys_asks_as_much_for_twenty_as_for_one(
    admin, key, bob, django_assert_max_num_queries
):
    for number in range(20):
        create_key(bob, name=f"Key {number}")

    with django_assert_max_num_queries(8):
        page(admin, "apikey_changelist")


def test_a_connection_is_shown_without_its_secret_and_may_be_cut_off(admin, alice):
    connection = Connection(owner=alice, kind="sirv", name="Shop", config={"client_id": "id-1"})
    connection.secret = "very secret"
    connection.save()

    shown = page(admin, "connection_changelist") + page(admin, "connection_change", connection.pk)
    admin.post(
        reverse("admin:accounts_connection_change", args=[connection.pk]), {"name": "Changed"}
    )

    assert "id-1" in shown
    assert "very secret" not in shown
    assert connection.sealed_secret not in shown
    assert Connection.objects.get().name == "Shop"
    assert admin.get(reverse("admin:accounts_connection_add")).status_code == 403
    admin.post(reverse("admin:accounts_connection_delete", args=[connection.pk]), {"post": "yes"})
    assert not Connection.objects.exists()


@pytest.mark.parametrize(
    "address",
    [
        "accounts_connection_changelist?sealed_secret__startswith=g",
        "accounts_connection_changelist?owner__password__startswith=p",
        "accounts_apikey_changelist?digest__startswith=0",
        "accounts_user_changelist?password__startswith=p",
        "auth_group_changelist?user__password__startswith=p",
    ],
)
def test_no_list_can_be_asked_letter_by_letter_about_a_secret(client, staff, address):
    client.force_login(staff)
    name, query = address.split("?")

    answer = client.get(f"{reverse(f'admin:{name}')}?{query}")

    assert answer.status_code == 400


def test_a_list_takes_no_null_character_and_counts_no_choices(admin, alice):
    address = reverse("admin:accounts_connection_changelist")

    assert admin.get(address, {"kind__exact": "s3\0"}).status_code == 400
    assert admin.get(address, {"q": "\0"}).status_code == 400
    counted = admin.get(address, {"_facets": "True"}).context["cl"]
    assert not counted.add_facets
