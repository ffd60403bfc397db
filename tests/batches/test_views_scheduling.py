"""The pages of schedules: making one, changing it, looking back, and nobody else's."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from batches import folders, recurring
from batches.models import Recurring, RecurringRun, RunState
from tests.batches.test_recurring import keep, setup
from tests.factories import done_batch, give

WHEN = {
    "when-preset": "daily",
    "when-time": "06:30",
    "when-zone": "Europe/Berlin",
    "when-minute": "0",
    "when-weekday": "1",
    "when-day": "1",
    "when-cron": "",
}
FORM = {
    "schedule-name": "Mugs",
    "schedule-kind": "library",
    "schedule-folder": "",
    "schedule-deep": "on",
    "schedule-cap": "40",
    **WHEN,
}
SETTINGS = {"style": "grey", "strength": "0.5", "copies": "1", "trouble": "none"}


@pytest.fixture
def ada(alice, client, fake_tool):
    """Somebody with credits, signed in."""
    give(alice, 100)
    client.force_login(alice)
    return alice


@pytest.fixture
def schedule(ada) -> Recurring:
    return recurring.create(ada, setup(), now=timezone.now())


def new_page() -> str:
    return reverse("batches:schedule_new", args=["fake"])


def test_a_schedule_is_made_from_scratch(ada, client):
    chosen = folders.make(ada, "In")
    sent = {**FORM, **SETTINGS, "schedule-folder": str(chosen.uid)}
    sent |= {"schedule-deliver_to": "library", "schedule-deliver_folder": "Out"}

    answer = client.post(new_page(), sent, follow=True)

    made = Recurring.objects.get()
    assert answer.redirect_chain == [(made.get_absolute_url(), 302)]
    assert (made.owner, made.name, made.tool, made.cap) == (ada, "Mugs", "fake", 40)
    assert made.settings["style"] == "grey"
    assert (made.cron, made.zone, made.is_on) == ("30 6 * * *", "Europe/Berlin", True)
    assert made.source == {"folder": str(chosen.uid), "deep": True}
    assert made.delivery == {"to": "library", "connection": "", "options": {"folder": "Out"}}
    assert "Every day at 06:30 (Europe/Berlin)" in answer.content.decode()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"when-preset": "custom", "when-cron": "* * * * *"}, "15 minutes apart"),
        ({"when-preset": "custom", "when-cron": "soon"}, "Write five fields"),
        ({"when-zone": "Mars/Olympus"}, "not one of the available choices"),
        ({"schedule-kind": "sheet"}, "Paste the address"),
        ({"schedule-kind": "account"}, "Choose the account"),
        ({"schedule-cap": "0"}, "greater than or equal to 1"),
        ({"schedule-pattern": "{colour}"}, "There is no {colour}"),
        ({"schedule-deliver_to": "library"}, "again and again"),
        ({"schedule-deliver_to": "google_sheet"}, "only where images come from a sheet"),
        ({"strength": "7"}, "A setting needs another value"),
    ],
)
def test_what_makes_no_sense_is_said_where_it_was_typed(ada, client, changes, said):
    answer = client.post(new_page(), FORM | SETTINGS | changes)

    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert 'value="Mugs"' in answer.content.decode(), "nothing that was typed is lost"
    assert not Recurring.objects.exists()


def test_a_finished_batch_leads_to_a_form_that_has_what_it_was_made_with(ada, client):
    batch = done_batch(ada, name="Spring", settings={"style": "grey"}, pattern="{name}-cut", cap=9)

    page = client.get(batch.get_absolute_url()).content.decode()
    address = f"{new_page()}?from={batch.uid}"
    assert address in page
    form = client.get(address).content.decode()

    assert 'value="Spring"' in form
    assert 'value="{name}-cut"' in form
    assert 'id="setting-style-grey"' not in form or "checked" in form
    assert 'name="schedule-cap" value="9"' in form


def test_the_columns_of_a_sheet_stay_as_they_were_settled(ada, client, web):
    line = ",".join([web.put("/front.png", b"x"), web.put("/back.png", b"x")])
    feed = web.put("/feed.csv", f"front,back\n{line}\n".encode(), "text/csv")
    about = {"address": feed, "mapping": {"back": "url"}}
    made = recurring.create(ada, setup(kind="sheet", source=about), now=timezone.now())
    edit = reverse("batches:schedule_edit", args=[made.uid])
    sent = FORM | SETTINGS | {"schedule-kind": "sheet"}

    assert client.post(edit, sent | {"schedule-address": feed}).status_code == 302
    made.refresh_from_db()
    assert made.source["mapping"] == {"front": "ignore", "back": "url"}

    other = web.put("/other.csv", f"front,back\n{line}\n".encode(), "text/csv")
    client.post(edit, sent | {"schedule-address": other})
    made.refresh_from_db()
    assert made.source["mapping"] == {"front": "url", "back": "ignore"}

    refused = client.post(edit, sent | {"schedule-address": "https://x.internal/a.csv"})
    assert refused.status_code == 422
    assert "This address can&#x27;t be used" in refused.content.decode()


def test_it_is_changed_and_comes_at_its_new_time(ada, client, schedule):
    edit = reverse("batches:schedule_edit", args=[schedule.uid])
    assert 'value="06:00"' in client.get(edit).content.decode()

    client.post(edit, FORM | SETTINGS | {"when-preset": "weekly", "when-weekday": "0"})

    schedule.refresh_from_db()
    assert schedule.cron == "30 6 * * 0"
    assert schedule.next_at.isoweekday() == 7


def test_it_is_switched_off_and_on(ada, client, schedule):
    switch = reverse("batches:schedule_switch", args=[schedule.uid])
    assert client.post(switch, {"list": "1"}).url == reverse("batches:schedules")
    schedule.refresh_from_db()
    assert (schedule.is_on, schedule.next_at) == (False, None)

    assert client.post(switch, {"on": "1"}).url == schedule.get_absolute_url()
    schedule.refresh_from_db()
    assert schedule.is_on
    assert schedule.next_at > timezone.now()


def test_it_is_run_at_once_but_not_twice(ada, client, schedule):
    run = reverse("batches:schedule_run", args=[schedule.uid])
    client.post(run)
    answer = client.post(run, follow=True)
    assert "A run goes on already" in answer.content.decode()
    assert RecurringRun.objects.count() == 1


def test_it_is_deleted_and_deleting_again_is_no_mistake(ada, client, schedule):
    delete = reverse("batches:schedule_delete", args=[schedule.uid])
    for _ in range(2):
        assert client.post(delete).url == reverse("batches:schedules")
    assert not Recurring.objects.exists()


def test_the_next_times_are_shown_while_one_chooses(ada, client):
    address = reverse("batches:schedule_times")
    part = client.get(address, WHEN | {"when-preset": "hourly"}, headers={"HX-Request": "true"})
    assert "Every hour, 0 minutes past" in part.content.decode()
    assert part.content.decode().count("<time") == 3
    wrong = WHEN | {"when-preset": "custom", "when-cron": "0 0 30 2 *"}
    part = client.get(address, wrong, headers={"HX-Request": "true"})
    assert "no time that ever comes" in part.content.decode()
    assert client.get(address).url == reverse("batches:schedules")


def test_somebody_elses_schedule_is_not_there(ada, client, bob, schedule):
    client.force_login(bob)
    for name in ("schedule", "schedule_edit"):
        assert client.get(reverse(f"batches:{name}", args=[schedule.uid])).status_code == 404
    for name in ("schedule_switch", "schedule_run", "schedule_edit"):
        assert client.post(reverse(f"batches:{name}", args=[schedule.uid])).status_code == 404
    client.post(reverse("batches:schedule_delete", args=[schedule.uid]))
    assert Recurring.objects.exists()
    batch = done_batch(ada, name="Secret spring")
    assert "Secret" not in client.get(f"{new_page()}?from={batch.uid}").content.decode()


def test_the_history_says_what_became_of_each_run(ada, client, schedule):
    batch = done_batch(ada)
    facts = {"found": 12, "new": 5, "unchanged": 6, "given_up": 1, "taken": 3, "done": 3}
    now = timezone.now()
    RecurringRun.objects.create(
        recurring=schedule, due_at=now, state=RunState.FINISHED, batch=batch, credits=6, **facts
    )
    page = client.get(schedule.get_absolute_url()).content.decode()
    assert "12 there: 5 new, 0 changed, 6 as before" in page
    assert "2 images had no room" in page
    assert "1 image was left out: it has failed 5 times" in page
    assert batch.get_absolute_url() in page


def test_lists_take_as_many_queries_for_many_as_for_one(
    ada, client, schedule, django_assert_num_queries, django_assert_max_num_queries
):
    def fill(number: int) -> None:
        keep(ada, number)
        one = recurring.create(ada, setup(name=f"s{number}"), now=timezone.now())
        for hours in range(number):
            RecurringRun.objects.create(
                recurring=one, due_at=timezone.now() - timedelta(hours=hours),
                state=RunState.FINISHED, batch=done_batch(ada, 1),
            )  # fmt: skip

    fill(1)
    address = reverse("batches:schedules")
    client.get(address)
    with django_assert_max_num_queries(20) as few:
        client.get(address)
    for number in range(2, 6):
        fill(number)
    with django_assert_num_queries(len(few)):
        client.get(address)
    latest = Recurring.objects.get(name="s5").get_absolute_url()
    first = Recurring.objects.get(name="s1").get_absolute_url()
    with django_assert_max_num_queries(25) as few:
        client.get(first)
    with django_assert_num_queries(len(few)):
        client.get(latest)
