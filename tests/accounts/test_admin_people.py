"""What staff do with users, plans and groups in the admin, and that it is written down."""

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import plans, trail
from accounts.lists import COUNTED, CappedPaginator
from accounts.models import Connection, Plan, StaffAction, User, create_key
from accounts.recorded import RecordedAdmin
from accounts.sizes import SizeField, in_words
from tests.factories import give

pytestmark = pytest.mark.django_db
USERS = "admin:accounts_user_change"


@pytest.fixture
def desk(client, staff):
    """The browser of a superuser."""
    client.force_login(staff)
    return client


@pytest.fixture
def helper(db):
    """Staff who may see and change users and plans, and have no other right."""
    user = User.objects.create_user("helper@example.com", "helper's password", is_staff=True)
    rights = ["view_user", "change_user", "view_plan", "change_plan"]
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return user


def filled(answer) -> dict:
    """The fields of a form of the admin, as a browser would send them back."""
    form = answer.context["adminform"].form
    found = {}
    for field in form:
        value = field.value()
        if isinstance(value, bool):
            found |= {field.html_name: "on"} if value else {}
        elif hasattr(value, "strftime"):
            found[f"{field.html_name}_0"] = value.strftime("%Y-%m-%d")
            found[f"{field.html_name}_1"] = value.strftime("%H:%M:%S")
        elif value is not None:
            found[field.html_name] = value
    return found


def change(client, address, **fields):
    """Open a row, fill in some fields, and save it; None leaves a box unticked."""
    sent = filled(client.get(address)) | fields
    return client.post(address, {name: value for name, value in sent.items() if value is not None})


def told(answer) -> str:
    return " ".join(answer.content.decode().split())


class TestUsers:
    def test_a_page_says_what_staff_want_to_know(self, desk, alice, staff):
        give(alice, 1240)
        create_key(alice, name="Laptop")
        shop = Connection(owner=alice, kind="sirv", name="Mug shop")
        shop.secret = "very secret"
        shop.save()

        page = told(desk.get(reverse(USERS, args=[alice.pk])))

        for words in ("1,265", "0 on hold", "Plan (the default)", "standard", "500 images",
                      "10.0", "Laptop", "Mug shop (Sirv)", "Give credits", "Adjust credits",
                      "Staff actions", f"owner__id__exact={alice.pk}"):  # fmt: skip
            assert words in page, words
        assert "very secret" not in page

    def test_a_page_asks_as_much_for_many_keys_as_for_few(self, desk, alice):
        def queries():
            with CaptureQueriesContext(connection) as asked:
                desk.get(reverse(USERS, args=[alice.pk]))
            return len(asked)

        create_key(alice, name="First")
        queries()
        few = queries()
        for number in range(30):
            create_key(alice, name=f"Key {number}")

        assert queries() == few

    def test_a_change_is_written_down_with_before_and_after(self, desk, staff, alice):
        studio = Plan.objects.create(slug="studio", name="Studio")
        address = reverse(USERS, args=[alice.pk])

        change(desk, address, plan=studio.pk, batch_images=9)

        noted = StaffAction.objects.get()
        assert (noted.action, noted.actor, noted.target_id) == (
            "user.change", staff, str(alice.uid),
        )  # fmt: skip
        assert noted.before == {"plan": None, "batch_images": None}
        assert noted.after == {"plan": "Studio", "batch_images": 9}
        assert "user.change" in told(desk.get(address))
        assert not LogEntry.objects.exists()

    def test_rights_are_written_down_by_name(self, desk, alice):
        group = Group.objects.create(name="Support")

        change(desk, reverse(USERS, args=[alice.pk]), is_staff="on", groups=[group.pk])

        noted = StaffAction.objects.get()
        assert noted.before == {"is_staff": False, "groups": ""}
        assert noted.after == {"is_staff": True, "groups": "Support"}

    def test_nothing_changed_is_nothing_written(self, desk, alice):
        assert change(desk, reverse(USERS, args=[alice.pk])).status_code == 302
        assert not StaffAction.objects.exists()

    def test_a_new_user_is_written_down_without_the_password(self, desk):
        words = "a long enough phrase"
        desk.post(
            reverse("admin:accounts_user_add"),
            {"email": "carol@example.com", "usable_password": "true",
             "password1": words, "password2": words},
        )  # fmt: skip

        noted = StaffAction.objects.get()
        assert (noted.action, noted.after) == ("user.add", {"email": "carol@example.com"})

    def test_that_a_password_was_set_is_written_down_and_nothing_of_it(self, desk, alice):
        address = reverse("admin:auth_user_password_change", args=[alice.pk])
        words = "an entirely new phrase"

        desk.post(address, {"password1": words, "password2": "another one"})
        assert not StaffAction.objects.exists()
        desk.post(address, {"password1": words, "password2": words, "usable_password": "true"})

        noted = StaffAction.objects.get()
        assert (noted.action, noted.before) == ("user.set_password", {})
        assert noted.after == {"can_sign_in_by_it": True}
        alice.refresh_from_db()
        assert alice.check_password(words)

    def test_users_are_never_deleted(self, desk, alice):
        assert desk.post(
            reverse("admin:accounts_user_delete", args=[alice.pk]), {"post": "yes"}
        ).status_code == 403  # fmt: skip
        sent = {"action": "delete_selected", "_selected_action": [alice.pk], "post": "yes"}
        desk.post(reverse("admin:accounts_user_changelist"), sent)

        assert User.objects.filter(pk=alice.pk).exists()

    def test_only_superusers_give_rights_or_change_those_who_have_some(
        self, client, helper, alice, staff
    ):
        client.force_login(helper)

        change(client, reverse(USERS, args=[alice.pk]), is_superuser="on", is_staff="on")
        own = client.post(reverse(USERS, args=[helper.pk]), {"is_superuser": "on"})
        other = client.post(
            reverse("admin:auth_user_password_change", args=[staff.pk]),
            {"password1": "mine now, thank you", "password2": "mine now, thank you"},
        )

        assert (own.status_code, other.status_code) == (403, 403)
        assert not User.objects.filter(is_superuser=True).exclude(pk=staff.pk).exists()
        assert not User.objects.get(pk=alice.pk).is_staff


class TestPlans:
    @pytest.fixture
    def standard(self, db):
        plan, _new = Plan.objects.get_or_create(
            is_default=True, defaults={"slug": "standard", "name": "Standard"}
        )
        return plan

    def test_a_library_is_typed_and_shown_in_units_for_people(self, desk, standard):
        address = reverse("admin:accounts_plan_change", args=[standard.pk])
        assert 'value="10 GB"' in told(desk.get(address))

        change(desk, address, library_bytes="1.5 tb")

        standard.refresh_from_db()
        assert standard.library_bytes == 3 * 1024**4 // 2
        noted = StaffAction.objects.get()
        assert noted.before == {"library_bytes": 10 * 1024**3}

    def test_the_default_is_handed_on_and_never_dropped(self, desk, standard):
        studio = Plan.objects.create(slug="studio", name="Studio", batch_images=7)
        address = reverse("admin:accounts_plan_change", args=[standard.pk])

        refused = change(desk, address, is_default=None)
        assert "Make another plan the default instead." in told(refused)
        change(desk, reverse("admin:accounts_plan_change", args=[studio.pk]), is_default="on")

        assert [plan.slug for plan in Plan.objects.filter(is_default=True)] == ["studio"]
        plans.remembered.forget()
        assert plans.plan_for(User()).batch_images == 7

    def test_a_plan_that_somebody_is_on_stays_and_so_does_the_default(self, desk, standard, alice):
        used = Plan.objects.create(slug="used", name="Used")
        free = Plan.objects.create(slug="free", name="Free")
        User.objects.filter(pk=alice.pk).update(plan=used)

        def delete(plan):
            address = reverse("admin:accounts_plan_delete", args=[plan.pk])
            return desk.post(address, {"post": "yes"}).status_code

        assert [delete(plan) for plan in (standard, used, free)] == [403, 403, 302]
        noted = StaffAction.objects.get()
        assert (noted.action, noted.before["name"]) == ("plan.delete", "Free")
        assert f'?plan__id__exact={used.pk}">1</a>' in told(
            desk.get(reverse("admin:accounts_plan_changelist"))
        )

    @pytest.mark.parametrize(
        ("typed", "size"),
        [("10 GB", 10 * 1024**3), ("10gib", 10 * 1024**3), ("1.5 kb", 1536), ("77", 77), ("0", 0)],
    )
    def test_sizes_are_read_as_people_write_them(self, typed, size):
        assert SizeField().clean(typed) == size
        assert SizeField().clean(in_words(size)) == size

    @pytest.mark.parametrize("typed", ["ten", "-1 GB", "1 PB", "9999999999 TB", "1e3"])
    def test_what_is_no_size_is_refused(self, typed):
        with pytest.raises(Exception, match="such as “10 GB”"):
            SizeField().clean(typed)


class TestRecord:
    LIST = "admin:accounts_staffaction_changelist"

    @pytest.fixture
    def noted(self, rf, staff, alice):
        request = rf.post("/admin/")
        request.user, request.request_id = staff, "trace-7"
        return trail.record(
            request, "user.change", alice,
            before={"plan": None, "is_staff": False, "odd": "<b>"},
            after={"plan": "Studio", "is_staff": True},
            reason="asked for it",
        )  # fmt: skip

    def test_an_entry_shows_before_and_after_in_words(self, desk, noted):
        page = told(desk.get(reverse("admin:accounts_staffaction_change", args=[noted.pk])))

        assert "<tr><th scope='row'>plan</th><td>–</td><td>Studio</td></tr>" in page
        assert "<th scope='row'>may enter the admin</th><td>no</td><td>yes</td>" in page
        assert "<td>&lt;b&gt;</td><td>–</td>" in page
        assert "trace-7" in page

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"q": "trace-7"}, True),
            ({"q": "TARGET"}, True),
            ({"q": "STAFF@example.com"}, True),
            ({"q": "trace"}, False),
            ({"action": "user.change"}, True),
            ({"action": "batch.pause"}, False),
            ({"target_kind": "accounts.user"}, True),
            ({"target_kind": "accounts.plan"}, False),
            ({"actor": "STAFF"}, True),
            ({"actor": "0"}, False),
            ({"actor": "x"}, False),
            ({"at_from_0": "2001-01-01", "at_to_0": "2001-01-02"}, False),
            ({"at_from_0": "2001-01-01"}, True),
            ({"at_to_0": "2001-01-01", "at_to_1": "10:00"}, False),
            ({"at_from_0": "x", "at_to_0": "9999-12-31"}, True),
        ],
    )
    def test_it_is_found_by_what_it_is_about(self, desk, noted, alice, staff, query, found):
        names = {"TARGET": str(alice.uid), "STAFF": str(staff.pk)}
        asked = {name: names.get(value, value) for name, value in query.items()}

        answer = desk.get(reverse(self.LIST), asked)

        assert answer.status_code == 200
        assert (noted in answer.context["cl"].result_list) is found

    def test_nobody_writes_in_it_not_even_superusers(self, desk, noted):
        row = [noted.pk]
        pages = [
            reverse("admin:accounts_staffaction_add"),
            reverse("admin:accounts_staffaction_change", args=row),
            reverse("admin:accounts_staffaction_delete", args=row),
        ]

        assert {desk.post(page, {"post": "yes"}).status_code for page in pages} == {403}

    def test_the_list_asks_as_much_for_five_thousand_as_for_five(self, desk, staff):
        def lines(count):
            StaffAction.objects.bulk_create(
                StaffAction(actor=staff, actor_email=staff.email, action=f"batch.{n % 9}")
                for n in range(count)
            )

        def queries():
            with CaptureQueriesContext(connection) as asked:
                assert desk.get(reverse(self.LIST)).status_code == 200
            return len(asked)

        lines(5)
        few = queries()
        lines(4995)

        assert queries() == few <= 10

    def test_a_list_counts_no_further_than_it_says(self, django_assert_num_queries, staff):
        rows = StaffAction.objects.order_by("-pk")
        StaffAction.objects.bulk_create(
            StaffAction(actor_email="x", action="x") for _n in range(COUNTED + 5)
        )

        with django_assert_num_queries(1):
            assert CappedPaginator(rows, 50).count == COUNTED

    def test_the_history_of_a_row_leads_here(self, desk, alice):
        answer = desk.get(reverse("admin:accounts_user_history", args=[alice.pk]))

        assert answer["Location"] == (
            f"{reverse(self.LIST)}?q={alice.uid}&target_kind=accounts.user"
        )


def test_staff_who_come_and_go_are_written_down_and_others_are_not(client, staff, alice, valkey):
    doors = [("/admin/login/", "/admin/logout/"), ("/accounts/login/", "/accounts/logout/")]
    for way_in, way_out in doors:
        client.post(way_in, {"username": staff.email, "password": "staff's password"})
        client.post(way_out)
    client.post("/accounts/login/", {"username": alice.email, "password": "alice's password"})
    client.post("/accounts/logout/")

    noted = StaffAction.objects.order_by("pk").values_list("action", "actor_email")
    assert (
        list(noted)
        == [
            ("staff.sign_in", staff.email),
            ("staff.sign_out", staff.email),
        ]
        * 2
    )


def test_whatever_staff_can_write_in_the_admin_is_written_down(rf, staff):
    request = rf.get("/admin/")
    request.user = staff
    unrecorded = {
        model._meta.label
        for model, page in admin.site._registry.items()
        if model._meta.managed
        and not isinstance(page, RecordedAdmin)
        and _may_write(page, request, model())
    }

    assert unrecorded == set()


def _may_write(page, request, row) -> bool:
    if page.has_add_permission(request) or page.has_delete_permission(request, row):
        return True
    fields = set(page.get_fields(request, row)) - set(page.get_readonly_fields(request, row))
    return bool(fields) and page.has_change_permission(request, row)
