"""Staff see the site as a user does: everything that the user sees, and nothing moves."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import seeing
from accounts.models import StaffAction, User
from batches.models import Draft
from credits.models import CreditAccount
from tests import pages
from tests.pages import PERSON

pytestmark = pytest.mark.usefixtures("valkey")

STOP = "/accounts/seeing/stop/"
METHODS = ("post", "put", "patch", "delete")
SECRETS = {"batches:webhook_secret"}
"""Pages that their owners alone may look at."""


def see_url(user) -> str:
    return reverse("admin:accounts_user_see", args=[user.pk])


def begin(staff, user) -> Client:
    """A browser of staff that has begun to see the site as the user does."""
    client = Client(raise_request_exception=False)
    client.force_login(staff)
    begun = client.post(see_url(user), {"reason": "Ticket 7"})
    assert (begun.status_code, begun["Location"]) == (302, "/")
    return client


@pytest.fixture
def looking(staff, alice):
    return begin(staff, alice)


def text(response) -> str:
    body = response.getvalue() if response.streaming else response.content
    return body.decode(errors="replace")


def writes(asked) -> list[str]:
    reading = ("SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK", "DECLARE")
    said = [query["sql"] or "?" for query in asked.captured_queries]
    return [sql[:80] for sql in said if not sql.startswith(reading)]


class TestLooking:
    def test_every_page_is_the_users_own_and_says_who_really_looks(self, world):
        client = begin(world.staff, world.person)
        banner = f"You see the site as {world.person.email} does."

        for look in pages.LOOKS:
            if look.who != PERSON or look.name in SECRETS:
                continue
            with CaptureQueriesContext(connection) as asked:
                response = client.get(look.path(world))
            html = text(response)
            assert response.status_code == look.status, look
            assert writes(asked) == [], look
            assert banner in html, look
            assert f"You are {world.staff.email}." in html, look
            assert response["Cache-Control"] == "private, no-store", look
            assert "data-save-at" not in html, look

    def test_no_question_at_any_address_writes_anything(self, world):
        client = begin(world.staff, world.person)
        closed = set()

        for name, route, _pattern in pages.addresses():
            path = pages.filled(route, world)
            with CaptureQueriesContext(connection) as asked, transaction.atomic():
                response = client.get(path)
                text(response)
                transaction.set_rollback(True)
            noted = [sql for sql in writes(asked) if "accounts_staffaction" not in sql]
            assert noted == [], path
            assert set(response.cookies) <= {"csrftoken"}, path
            assert response.status_code != 500, path
            if response.status_code == 403:
                closed.add("admin" if name.startswith("admin:") else name)

        assert closed == {"admin"} | SECRETS

    def test_nothing_at_any_address_can_be_sent(self, world):
        client = begin(world.staff, world.person)
        before = StaffAction.objects.count()
        tried = 0

        for name, route, _pattern in pages.addresses():
            if name in {"accounts:stop_seeing", "accounts:logout"}:
                continue
            path = pages.filled(route, world)
            # The admin is closed as a whole, whatever the method.
            for method in METHODS[: 1 if name.startswith("admin:") else None]:
                # A step of a page that is open gets words alone, which is quicker than a page.
                with CaptureQueriesContext(connection) as asked:
                    response = getattr(client, method)(path, headers={"HX-Request": "true"})
                assert response.status_code == 403, (method, path)
                assert writes(asked) == [], (method, path)
                assert "only to read" in text(response), (method, path)
                tried += 1

        assert tried > 400
        assert StaffAction.objects.count() == before

    def test_a_refusal_says_why_to_people_and_to_programs(self, looking):
        page = looking.post("/accounts/preferences/", {"theme": "dark"})
        assert "You can only look" in text(page)
        assert "You see the site as alice@example.com does." in text(page)

        problem = looking.post("/api/v1/batches", {}).json()
        assert (problem["status"], problem["code"]) == (403, "permission_denied")
        assert "only to read" in problem["detail"]

    def test_the_api_answers_the_session_as_it_would_answer_the_user(self, looking, alice):
        assert looking.get("/api/v1/me").json()["email"] == alice.email

    def test_what_staff_typed_before_is_not_shown_as_the_users(self, staff, alice, fake_tool):
        client = Client()
        client.force_login(staff)
        session = client.session
        session["draft"] = {"remove-background": {"batch_name": ["Mine"]}}
        session.save()
        client.post(see_url(alice), {"reason": "x"})

        page = client.get("/tools/remove-background/")

        assert page.status_code == 200
        assert "Mine" not in text(page)
        assert not Draft.objects.exists()

    def test_an_account_without_credits_is_opened_before_and_not_by_the_look(self, looking, alice):
        assert CreditAccount.objects.filter(owner=alice).exists()
        assert looking.get("/accounts/credits/").status_code == 200

    def test_the_users_last_visit_stays_as_it_was(self, looking, alice):
        looking.get("/")
        alice.refresh_from_db()
        assert alice.last_login is None


class TestRecord:
    def test_begin_and_end_are_written_down_with_the_reason(self, looking, staff, alice):
        stopped = looking.post(STOP, follow=True)

        assert "You see the site as yourself again." in text(stopped)
        assert stopped.redirect_chain[0][0] == reverse(
            "admin:accounts_user_change", args=[alice.pk]
        )
        began, ended = StaffAction.objects.order_by("pk")
        assert (began.action, began.reason) == ("user.see", "Ticket 7")
        assert (ended.action, ended.reason) == ("user.unsee", "stopped")
        for line in (began, ended):
            assert (line.actor, line.target_id) == (staff, str(alice.uid))
        assert "You see the site as" not in text(looking.get("/accounts/"))

    def test_files_that_are_taken_along_are_written_down(self, looking, alice):
        text(looking.get("/accounts/credits/statement.csv"))

        noted = StaffAction.objects.get(action="user.download")
        assert (noted.target_id, noted.after) == (
            str(alice.uid), {"address": "/accounts/credits/statement.csv"},
        )  # fmt: skip

    def test_signing_out_ends_it(self, looking, staff):
        looking.post("/accounts/logout/")

        actions = StaffAction.objects.order_by("pk").values_list("action", "actor_email")
        assert list(actions) == [
            (action, staff.email) for action in ("user.see", "user.unsee", "staff.sign_out")
        ]
        assert looking.get("/accounts/").status_code == 302

    def test_to_stop_twice_is_no_mistake(self, looking):
        looking.post(STOP)
        assert looking.post(STOP).status_code == 302
        assert StaffAction.objects.count() == 2


class TestEnd:
    def over(self, client, staff):
        """What was tried is not done, and the browser is its own person's again."""
        refused = client.post("/accounts/preferences/", {"theme": "dark"})
        assert refused.status_code == 403
        assert "You are yourself again" in text(refused)
        assert StaffAction.objects.latest("pk").action == "user.unsee"
        assert f"Account of {staff.email}" in text(client.get("/tools/"))

    def test_after_half_an_hour_it_is_over(self, looking, staff):
        session = looking.session
        noted = session[seeing.SESSION]
        left = noted["until"] - timezone.now().timestamp()
        assert 29 * 60 < left <= 30 * 60
        session[seeing.SESSION] = {**noted, "until": timezone.now().timestamp()}
        session.save()

        self.over(looking, staff)

    def test_it_is_over_when_the_user_becomes_staff(self, looking, staff, alice):
        User.objects.filter(pk=alice.pk).update(is_staff=True)
        self.over(looking, staff)

    def test_it_is_over_when_the_right_is_withdrawn(self, staff, alice):
        client = begin(staff, alice)
        User.objects.filter(pk=staff.pk).update(is_superuser=False)
        self.over(client, staff)

    def test_forms_that_are_open_are_spent_when_it_begins_and_ends(self, staff, alice):
        client = Client(enforce_csrf_checks=True)
        client.force_login(staff)
        token = client.get(see_url(alice)).cookies["csrftoken"].value
        client.post(see_url(alice), {"reason": "x", "csrfmiddlewaretoken": token})
        during = client.cookies["csrftoken"].value
        client.post(STOP, {"csrfmiddlewaretoken": during})
        after = client.cookies["csrftoken"].value

        assert len({token, during, after}) == 3
        sent = {"theme": "dark", "csrfmiddlewaretoken": during}
        assert client.post("/accounts/theme/", sent).status_code == 403


class TestWho:
    def test_it_needs_a_right_of_its_own(self, client, alice, bob):
        bob.is_staff = True
        bob.save()
        view = Permission.objects.get(codename="view_user")
        bob.user_permissions.add(view, Permission.objects.get(codename="change_user"))
        client.force_login(bob)
        page = reverse("admin:accounts_user_change", args=[alice.pk])

        assert see_url(alice) not in text(client.get(page))
        assert client.post(see_url(alice), {"reason": "x"}).status_code == 403

        bob.user_permissions.set([view, Permission.objects.get(codename="see_as_user")])
        assert see_url(alice) in text(client.get(page))
        assert client.get(see_url(alice)).status_code == 200
        assert client.post(see_url(alice), {"reason": "x"}).status_code == 302

    @pytest.mark.parametrize("fields", [
        {"is_staff": True}, {"is_superuser": True}, {"erasing_at": timezone.now()},
    ])  # fmt: skip
    def test_nobody_is_seen_as_staff_or_as_somebody_who_leaves(self, client, staff, bob, fields):
        User.objects.filter(pk=bob.pk).update(**fields)
        client.force_login(staff)

        page = reverse("admin:accounts_user_change", args=[bob.pk])
        assert see_url(bob) not in text(client.get(page))
        assert client.get(see_url(bob)).status_code == 403
        assert client.post(see_url(bob), {"reason": "x"}).status_code == 403
        assert not StaffAction.objects.filter(action="user.see").exists()

    def test_it_takes_a_reason(self, client, staff, alice):
        client.force_login(staff)
        refused = client.post(see_url(alice), {"reason": " "})

        assert "This field is required." in text(refused)
        assert seeing.SESSION not in client.session

    def test_a_forged_note_in_a_users_own_session_gives_nothing(self, client, alice, bob):
        client.force_login(bob)
        session = client.session
        until = (timezone.now() + timedelta(minutes=5)).timestamp()
        session[seeing.SESSION] = {"user": alice.pk, "until": until}
        session.save()

        assert client.get("/accounts/").status_code == 403
        assert alice.email not in text(client.get("/accounts/"))


def test_pages_that_mind_nobody_may_still_be_kept(client, alice):
    client.force_login(alice)

    answer = client.get("/site.webmanifest")

    assert "no-store" not in answer.get("Cache-Control", "")
    assert "Cookie" not in answer.get("Vary", "")
