"""Credits in the admin: to look at, and to adjust with a reason."""

import uuid

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from accounts.models import StaffAction, User
from credits import ledger
from credits.models import Grant, LedgerEntry

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sound")]

MODELS = ["creditaccount", "grant", "hold", "ledgerentry"]


@pytest.fixture
def admin(client, staff):
    client.force_login(staff)
    return client


@pytest.fixture
def account(alice, fund):
    fund(alice, 100)
    hold = ledger.hold(alice, 40, key="work", reference="batch:1")
    ledger.capture(hold.pk, item_uid=uuid.uuid4(), generation=1, held=4, price=3)
    return ledger.account_for(alice)


def row_of(model, account):
    rows = {
        "creditaccount": [account],
        "grant": account.grants.all(),
        "hold": account.holds.all(),
        "ledgerentry": account.entries.all(),
    }
    return rows[model][0].pk


@pytest.mark.parametrize("model", MODELS)
class TestLooking:
    def test_the_list_and_each_page_can_be_read(self, admin, account, model):
        shown = admin.get(reverse(f"admin:credits_{model}_changelist"))
        page = admin.get(reverse(f"admin:credits_{model}_change", args=[row_of(model, account)]))

        assert (shown.status_code, page.status_code) == (200, 200)
        assert "alice@example.com" in shown.content.decode()

    def test_nothing_can_be_added_changed_or_deleted(self, admin, account, model):
        row = row_of(model, account)
        pages = {
            reverse(f"admin:credits_{model}_add"),
            reverse(f"admin:credits_{model}_change", args=[row]),
            reverse(f"admin:credits_{model}_delete", args=[row]),
        }

        assert {admin.post(page, {"post": "yes"}).status_code for page in pages} == {403}

    def test_it_can_be_searched_by_owner(self, admin, account, bob, fund, model):
        fund(bob, 7)

        found = admin.get(reverse(f"admin:credits_{model}_changelist"), {"q": "alice"})

        page = found.content.decode()
        assert "alice@example.com" in page
        assert "bob@example.com" not in page

    def test_the_list_asks_as_much_for_twenty_users_as_for_one(
        self, admin, account, fund, model, django_assert_max_num_queries
    ):
        for number in range(20):
            user = User.objects.create_user(f"user{number}@example.com")
            fund(user, 10)
            ledger.hold(user, 5, key=f"work:{number}")

        with django_assert_max_num_queries(8):
            admin.get(reverse(f"admin:credits_{model}_changelist"))


class TestAdjusting:
    def url(self, account):
        return reverse("admin:credits_creditaccount_adjust", args=[account.pk])

    def fill(self, client, account, **fields):
        """Open the form and send it, with these fields in it."""
        form = client.get(self.url(account)).context["form"]
        filled = {"form_uid": form.initial["form_uid"], "delta": "5", "note": "Sorry"} | fields
        return client.post(self.url(account), filled, follow=True)

    def test_the_account_leads_to_the_form(self, admin, account):
        page = admin.get(reverse("admin:credits_creditaccount_change", args=[account.pk]))

        assert self.url(account) in page.content.decode()

    def test_credits_are_added_in_the_name_of_whoever_did_it(self, admin, account, alice, staff):
        answer = self.fill(admin, account, delta="5", note="Sorry for the wait")

        entry = LedgerEntry.objects.get(kind="adjust")
        assert (entry.available_delta, entry.actor) == (5, staff)
        assert entry.note == "Sorry for the wait"
        assert ledger.balance(alice) == (66, 36)
        assert "66 credits are available now" in answer.content.decode()

    def test_credits_are_taken(self, admin, account, alice):
        self.fill(admin, account, delta="-61")

        assert ledger.balance(alice) == (0, 36)

    def test_it_is_noted_once_however_often_the_form_is_sent(self, admin, account, staff):
        self.fill(admin, account, delta="-5", note="Paid twice")

        noted = StaffAction.objects.get()
        assert (noted.actor, noted.action, noted.reason) == (
            staff, "creditaccount.adjust", "Paid twice",
        )  # fmt: skip
        assert noted.before["available"] - noted.after["available"] == 5
        assert noted.target_id == str(account.owner.uid)

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({"note": ""}, "This field is required."),
            ({"note": "   "}, "This field is required."),
            ({"delta": ""}, "This field is required."),
            ({"delta": "0"}, "Enter a number above or below zero."),
            ({"delta": "1.5"}, "Enter a whole number."),
            ({"delta": "99999999999999999999"}, "more than can be adjusted at once"),
            ({"delta": "-62"}, "Only 61 credits are available to take."),
            ({"form_uid": "x"}, "Enter a valid UUID."),
        ],
    )
    def test_what_cannot_be_done_is_explained_and_changes_nothing(
        self, admin, account, alice, fields, told
    ):
        answer = self.fill(admin, account, **fields)

        assert answer.status_code == 200
        assert told in answer.content.decode()
        assert ledger.balance(alice) == (61, 36)
        assert not StaffAction.objects.exists()

    def test_a_form_that_is_sent_twice_adjusts_once(self, admin, account, alice):
        again = {"form_uid": uuid.uuid4(), "delta": "5", "note": "Sorry"}

        admin.post(self.url(account), again)
        admin.post(self.url(account), again)

        assert ledger.balance(alice) == (66, 36)
        assert Grant.objects.filter(kind="admin").count() == 1

    def test_an_account_that_is_not_there_is_404(self, admin, account):
        assert admin.get(reverse("admin:credits_creditaccount_adjust", args=[0])).status_code == 404

    def test_staff_without_the_right_may_look_but_not_adjust(self, client, account, bob, alice):
        bob.is_staff = True
        bob.save()
        bob.user_permissions.add(Permission.objects.get(codename="view_creditaccount"))
        client.force_login(bob)

        page = client.get(reverse("admin:credits_creditaccount_change", args=[account.pk]))
        assert page.status_code == 200
        assert self.url(account) not in page.content.decode()
        assert client.get(self.url(account)).status_code == 403
        refused = client.post(
            self.url(account), {"form_uid": uuid.uuid4(), "delta": "5", "note": "Mine"}
        )
        assert refused.status_code == 403
        assert ledger.balance(alice) == (61, 36)

    def test_strangers_are_sent_to_sign_in(self, client, account):
        assert client.get(self.url(account)).status_code == 302
