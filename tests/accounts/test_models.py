"""Users and keys as the database keeps them."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import ApiKey, User, create_key, digest_of

pytestmark = pytest.mark.django_db


class TestUsers:
    def test_an_address_is_kept_in_one_spelling(self):
        user = User.objects.create_user(" Carol@Example.COM ")

        assert user.email == "carol@example.com"
        assert User.objects.get().email == "carol@example.com"

    def test_an_address_makes_one_account_however_it_is_spelled(self, alice):
        with pytest.raises(IntegrityError), transaction.atomic():
            User.objects.create_user("ALICE@example.com")

        assert User.objects.count() == 1

    def test_the_database_itself_refuses_a_twin_in_other_letters(self, alice, bob):
        with pytest.raises(IntegrityError), transaction.atomic():
            User.objects.filter(pk=bob.pk).update(email="Alice@Example.com")

    @pytest.mark.parametrize(
        "typed", ["alice@example.com", "Alice@Example.COM", " alice@example.com"]
    )
    def test_whoever_signs_in_may_spell_the_address_freely(self, alice, typed):
        assert authenticate(username=typed, password="alice's password") == alice

    def test_a_wrong_password_opens_nothing(self, alice):
        assert authenticate(username=alice.email, password="Alice's password") is None

    def test_an_account_without_a_password_cannot_be_entered_by_one(self):
        carol = User.objects.create_user("carol@example.com")

        assert not carol.has_usable_password()
        assert authenticate(username=carol.email, password="") is None

    @pytest.mark.parametrize("email", ["", "  "])
    def test_an_account_needs_an_address(self, email):
        with pytest.raises(ValueError, match="address"):
            User.objects.create_user(email)

    def test_a_plain_user_has_no_rights_and_a_superuser_all(self, alice, staff):
        assert (alice.is_staff, alice.is_superuser) == (False, False)
        assert (staff.is_staff, staff.is_superuser) == (True, True)

    def test_every_user_has_an_id_of_their_own_for_the_outside(self, alice, bob):
        assert alice.uid != bob.uid


class TestKeys:
    def test_the_secret_is_long_random_and_nowhere_in_the_database(self, alice):
        key, secret = create_key(alice, name="Laptop")

        assert re.fullmatch(r"sk_live_[A-Za-z0-9_-]{43}", secret)
        [row] = ApiKey.objects.values()
        assert secret not in map(str, row.values())
        assert key.digest == digest_of(secret)
        assert secret.startswith(key.prefix)
        assert len(key.prefix) == 16

    def test_two_keys_have_nothing_in_common_but_their_start(self, alice):
        _first, one = create_key(alice, name="Laptop")
        _second, other = create_key(alice, name="Laptop")

        assert one[:8] == other[:8]
        assert one[8:] != other[8:]

    def test_a_key_may_do_everything_unless_it_is_told_what(self, alice):
        full, _secret = create_key(alice, name="Laptop")
        reader, _secret = create_key(alice, name="Dashboard", scopes=["read"])

        assert full.allows("read")
        assert full.allows("run")
        assert reader.allows("read")
        assert not reader.allows("run")

    @pytest.mark.parametrize("scopes", [[], ["write"], ["read", "admin"]])
    def test_a_key_for_nothing_or_for_the_unknown_is_not_made(self, alice, scopes):
        with pytest.raises(ValueError, match="scopes"):
            create_key(alice, name="Laptop", scopes=scopes)

        assert not ApiKey.objects.exists()

    def test_usable_keys_are_those_that_still_open_something(self, alice, bob):
        now = timezone.now()
        good, _secret = create_key(alice, name="Good", expires_at=now + timedelta(seconds=1))
        create_key(alice, name="Over", expires_at=now)
        revoked, _secret = create_key(alice, name="Revoked")
        ApiKey.objects.filter(pk=revoked.pk).update(revoked_at=now)
        create_key(bob, name="Of somebody switched off")
        User.objects.filter(pk=bob.pk).update(is_active=False)

        assert list(ApiKey.objects.usable(now=now)) == [good]
