"""Schedules in the admin: what runs by the clock for whom, and off and on."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import StaffAction
from batches.models import Recurring, RecurringRun, RunState
from tests.factories import bare_batch

LIST = reverse("admin:batches_recurring_changelist")
RUNS = reverse("admin:batches_recurringrun_changelist")

pytestmark = pytest.mark.usefixtures("valkey")


@pytest.fixture
def desk(client, staff):
    client.force_login(staff)
    return client


def schedule_of(owner, name="Mugs", **fields):
    about = {"tool": "upscale", "kind": "sheet", "cron": "0 6 * * *", "zone": "Europe/Berlin"}
    source = {"address": "https://shop.example/list.csv?token=s3cr3t"}
    return Recurring.objects.create(owner=owner, name=name, source=source, **about | fields)


def run_of(schedule, days=0, **fields):
    due = timezone.now() - timedelta(days=days)
    return RecurringRun.objects.create(recurring=schedule, due_at=due, **fields)


def page_of(schedule):
    return reverse("admin:batches_recurring_change", args=[schedule.pk])


def test_a_schedule_is_told_in_words_with_its_runs_and_without_what_opens_its_sheet(desk, alice):
    schedule = schedule_of(alice, delivery={"to": "library", "options": {"folder": "Shop"}})
    batch = bare_batch(alice, name="Mugs, 2026-11-26 06:00")
    run_of(schedule, 1, state=RunState.FINISHED, batch=batch, found=7, taken=3, done=3, credits=9)
    run_of(schedule, state=RunState.FAILED, error_code="recurring_no_addresses")

    page = desk.get(page_of(schedule)).content.decode()
    assert "Every day at 06:00 (Europe/Berlin)" in page
    assert "https://shop.example/list.csv" in page
    assert "s3cr3t" not in page
    assert "Library: Shop" in page
    assert reverse("admin:batches_batch_change", args=[batch.pk]) in page
    assert RecurringRun.objects.get(state="failed").error in page.replace("&#x27;", "'")

    listed = desk.get(LIST).content.decode()
    assert "Failed" in listed, "the latest run"
    of_schedule = desk.get(RUNS, {"q": str(schedule.uid)}).content.decode()
    assert of_schedule.count("field-schedule") == 2


def test_schedules_go_off_and_on_again_with_a_record_of_who_did_it(desk, staff, alice):
    on, off = schedule_of(alice), schedule_of(alice, "Cups", is_on=False, failures=5)

    def act(action):
        chosen = {"action": action, "_selected_action": [on.pk, off.pk]}
        answer = desk.post(LIST, chosen, follow=True).content.decode()
        on.refresh_from_db()
        off.refresh_from_db()
        return answer

    said = act("pause")
    assert "1 schedule is off now." in said
    assert "Cups: It is off." in said
    assert (on.is_on, on.next_at) == (False, None)

    assert "2 schedules are on now." in act("resume")
    assert (off.is_on, off.failures) == (True, 0)
    assert off.next_at > timezone.now()
    done = StaffAction.objects.order_by("pk").values_list("action", "actor__email", "before")
    assert list(done) == [
        ("recurring.pause", staff.email, {"is_on": True, "failures": 0}),
        ("recurring.resume", staff.email, {"is_on": False, "failures": 0}),
        ("recurring.resume", staff.email, {"is_on": False, "failures": 5}),
    ]


def test_pages_ask_as_often_for_many_schedules_and_runs(desk, alice):
    first = schedule_of(alice, "0")
    run_of(first, state=RunState.FINISHED, batch=bare_batch(alice))
    pages = (LIST, RUNS, page_of(first))

    def questions():
        counts = []
        for page in pages:
            with CaptureQueriesContext(connection) as asked:
                assert desk.get(page).status_code == 200
            counts.append(len(asked))
        return counts

    questions()  # what is asked once and remembered
    few = questions()
    Recurring.objects.bulk_create(
        Recurring(owner=alice, name=str(n), tool="upscale", kind="library", cron="0 6 * * *",
                  zone="UTC")
        for n in range(60)
    )  # fmt: skip
    RecurringRun.objects.bulk_create(
        RecurringRun(
            recurring=schedule,
            due_at=timezone.now() - timedelta(days=n + 1),
            state=RunState.FINISHED,
            batch=bare_batch(alice),
        )
        for schedule in Recurring.objects.all()
        for n in range(2)
    )
    assert questions() == few
