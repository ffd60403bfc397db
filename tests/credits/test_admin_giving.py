"""Staff give credits and make promo codes."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from accounts.models import StaffAction
from credits import ledger, promos
from credits.models import Grant, LedgerEntry, PromoCode

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sound")]

PROMO = "admin:credits_promocode"


@pytest.fixture
def admin(client, staff):
    client.force_login(staff)
    return client


def told(answer) -> str:
    return " ".join(answer.content.decode().split())


class TestGiving:
    @pytest.fixture
    def url(self, alice):
        return reverse("admin:credits_creditaccount_give", args=[ledger.account_for(alice).pk])

    def fill(self, client, url, **fields):
        form = client.get(url).context["form"]
        filled = {"form_uid": form.initial["form_uid"], "amount": "50", "note": "Sorry"}
        return client.post(url, filled | fields, follow=True)

    def test_credits_are_given_in_the_name_of_whoever_did_it(self, admin, url, alice, staff):
        answer = self.fill(admin, url, note="Sorry for the wait")

        assert "50 credits given; 50 are available now." in told(answer)
        assert answer.redirect_chain[-1][0] == reverse(
            "admin:accounts_user_change", args=[alice.pk]
        )
        entry = LedgerEntry.objects.get()
        assert (entry.kind, entry.actor, entry.note) == ("grant", staff, "Sorry for the wait")
        assert (entry.available_delta, Grant.objects.get().expires_at) == (50, None)
        noted = StaffAction.objects.get()
        assert (noted.action, noted.target_id) == ("creditaccount.give", str(alice.uid))
        assert (noted.before, noted.after) == (
            {"available": 0}, {"available": 50, "expires_at": None},
        )  # fmt: skip

    def test_they_last_to_the_end_of_a_day_where_one_is_named(self, admin, url):
        day = timezone.localdate() + timedelta(days=3)

        self.fill(admin, url, last_day=day.isoformat())

        ends = timezone.localtime(Grant.objects.get().expires_at)
        assert (ends.date(), ends.hour) == (day + timedelta(days=1), 0)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"note": " "}, "This field is required."),
            ({"amount": "0"}, "greater than or equal to 1"),
            ({"amount": "9999999999"}, "less than or equal to 1000000000"),
            ({"last_day": "2001-01-01"}, "This day is over."),
            ({"last_day": "9999-12-31"}, "This day is over."),
        ],
    )
    def test_what_cannot_be_given_is_explained(self, admin, url, alice, fields, words):
        assert words in told(self.fill(admin, url, **fields))
        assert ledger.balance(alice) == (0, 0)
        assert not StaffAction.objects.exists()

    def test_a_form_that_is_sent_twice_gives_once_and_is_noted_once(self, admin, url, alice):
        uid = uuid.uuid4()
        self.fill(admin, url, form_uid=uid)
        self.fill(admin, url, form_uid=uid)

        assert ledger.balance(alice) == (50, 0)
        assert StaffAction.objects.count() == 1

    def test_staff_without_the_right_give_nothing(self, client, url, bob, alice):
        bob.is_staff = True
        bob.save()
        bob.user_permissions.set(
            Permission.objects.filter(codename__in=["view_creditaccount", "view_user"])
        )
        client.force_login(bob)

        page = told(client.get(reverse("admin:accounts_user_change", args=[alice.pk])))
        assert "Used this month" in page
        assert url not in page
        assert client.post(url, {"amount": "5", "note": "Mine"}).status_code == 403


class TestPromoCodes:
    SENT = {"code": "autumn-26", "amount": "50", "note": "Fair"}

    def test_a_code_is_made_in_capitals_and_written_down(self, admin):
        admin.post(reverse(f"{PROMO}_add"), self.SENT)

        assert PromoCode.objects.get().code == "AUTUMN-26"
        noted = StaffAction.objects.get()
        assert (noted.action, noted.after["code"]) == ("promocode.add", "AUTUMN-26")

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"code": "ab"}, "Use 3 to 40 letters"),
            ({"code": "50%"}, "Use 3 to 40 letters"),
            ({"code": "taken"}, "already exists"),
            ({"amount": "0"}, "promo_of_something"),
            (
                {"begins_at_0": "2026-12-02", "begins_at_1": "00:00",
                 "ends_at_0": "2026-12-01", "ends_at_1": "00:00"},
                "This is before it begins.",
            ),
        ],
    )  # fmt: skip
    def test_what_makes_no_code_is_explained(self, admin, fields, words):
        PromoCode.objects.create(code="TAKEN", amount=1)

        assert words in told(admin.post(reverse(f"{PROMO}_add"), self.SENT | fields))
        assert PromoCode.objects.count() == 1

    def test_its_page_says_who_used_it_and_its_spelling_then_stays(self, admin, alice):
        code = PromoCode.objects.create(code="AUTUMN", amount=50, most_uses=5)
        promos.redeem(alice, "autumn")
        address = reverse(f"{PROMO}_change", args=[code.pk])

        page = told(admin.get(address))
        refused = admin.post(address, {"code": "WINTER", "amount": "60", "most_uses": "0"})
        admin.post(address, {"code": "WINTER", "amount": "60", "most_uses": "9"})

        assert "alice@example.com" in page
        assert "1 of 5" in page
        assert "It has been used 1 time already." in told(refused)
        code.refresh_from_db()
        assert (code.code, code.amount, code.uses, code.most_uses) == ("AUTUMN", 60, 1, 9)
        assert admin.post(reverse(f"{PROMO}_delete", args=[code.pk])).status_code == 403

    def test_uses_that_are_counted_while_the_form_is_open_stay_counted(
        self, admin, alice, monkeypatch
    ):
        code = PromoCode.objects.create(code="AUTUMN", amount=50)
        from credits.admin import PromoCodeForm

        clean = PromoCodeForm.clean

        def meanwhile(form):
            promos.redeem(alice, "autumn")
            return clean(form)

        monkeypatch.setattr(PromoCodeForm, "clean", meanwhile)
        admin.post(reverse(f"{PROMO}_change", args=[code.pk]), {"code": "AUTUMN", "amount": "60"})

        code.refresh_from_db()
        assert (code.amount, code.uses) == (60, 1)

    def test_codes_are_stopped_and_the_answer_counts_them(self, admin, alice):
        codes = [PromoCode.objects.create(code=f"CODE{n}", amount=5) for n in range(2)]
        sent = {"action": "stop", "_selected_action": [code.pk for code in codes]}

        answer = admin.post(reverse(f"{PROMO}_changelist"), sent, follow=True)

        assert "2 codes stopped." in told(answer)
        assert "Ended" in told(answer)
        with pytest.raises(promos.Ended):
            promos.redeem(alice, "code0")
        assert list(StaffAction.objects.values_list("action", flat=True)) == ["promocode.stop"] * 2
        assert "0 codes stopped." in told(
            admin.post(reverse(f"{PROMO}_changelist"), sent, follow=True)
        )
