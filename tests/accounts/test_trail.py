"""What staff does is noted, without secrets, and stays as it was written."""

import pytest
from django.db import InternalError, connection, transaction
from django.db.utils import IntegrityError

from accounts import trail
from accounts.models import StaffAction


@pytest.fixture
def by_staff(rf, staff):
    request = rf.post("/admin/", REMOTE_ADDR="192.0.2.7")
    request.user, request.request_id = staff, "trace-1"
    return request


def test_an_action_is_noted_with_who_what_before_and_after(by_staff, staff, alice):
    trail.record(
        by_staff,
        "user.change",
        alice,
        before={"plan": None, "password": "x", "batch_images": 3},
        after={"plan": "studio", "api_secret": "y", "batch_images": 5},
        reason="asked for it",
    )

    noted = StaffAction.objects.get()
    assert (noted.actor, noted.actor_email, noted.ip) == (staff, staff.email, "192.0.2.7")
    assert (noted.action, noted.request_id, noted.reason) == (
        "user.change", "trace-1", "asked for it",
    )  # fmt: skip
    assert (noted.target_kind, noted.target_id, noted.target_label) == (
        "accounts.user", str(alice.uid), alice.email,
    )  # fmt: skip
    assert noted.before == {"plan": None, "batch_images": 3}
    assert noted.after == {"plan": "studio", "batch_images": 5}


@pytest.mark.parametrize("address", ["unknown", "", "/run/nginx.sock"])
def test_what_is_no_address_is_left_out(by_staff, address):
    by_staff.META["REMOTE_ADDR"] = address
    assert trail.record(by_staff, "command.run").ip is None


def test_what_was_written_stays(by_staff):
    noted = trail.record(by_staff, "command.run", rows=3)
    with pytest.raises(TypeError):
        noted.save()
    with pytest.raises(TypeError):
        noted.delete()
    with pytest.raises(TypeError):
        StaffAction.objects.all().delete()
    with pytest.raises(TypeError):
        StaffAction.objects.update(rows=1)
    with (
        pytest.raises((InternalError, IntegrityError)),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE accounts_staffaction SET rows = 1")


def test_what_an_account_did_stays_when_the_account_is_gone(by_staff, staff):
    trail.record(by_staff, "command.run")
    staff.delete()
    assert StaffAction.objects.get().actor_email == "staff@example.com"
