"""What staff sees first: true figures, few questions, and something to read without Valkey."""

from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.core.cache import caches
from django.urls import reverse
from django.utils import timezone
from redis.backoff import NoBackoff
from redis.retry import Retry

from batches import dispatch, failures
from batches.models import Batch, Item
from batches.states import BatchState, ItemState
from credits import ledger
from credits.models import LedgerEntry
from studio import admin_site, dashboard, fleet
from studio.worker import Pulse
from tests.factories import bare_batch, bare_item, give

WORKERS = "/admin/workers/"


@pytest.fixture(autouse=True)
def _days_are_asked_anew():
    dashboard.forget()
    yield
    dashboard.forget()


@pytest.fixture
def desk(client, staff, valkey):
    client.force_login(staff)
    return client


@pytest.fixture
def no_valkey(monkeypatch, settings):
    """Neither queues nor the cache answer."""
    gone = redis.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    monkeypatch.setattr(dispatch, "connection", lambda: gone)
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1"}}
    yield
    caches.close_all()


def items(batch, count: int) -> None:
    now = timezone.now()
    Item.objects.bulk_create(
        Item(
            batch=batch,
            position=number,
            name=f"{number}.png",
            state=ItemState.FAILED if number % 5 == 0 else ItemState.DONE,
            error_code="no_subject" if number % 5 == 0 else "",
            finished_at=now - timedelta(minutes=number % 50),
        )
        for number in range(count)
    )


def test_it_counts_what_runs_what_ended_and_what_failed(desk, alice):
    bare_batch(alice, state=BatchState.PAUSED)
    items(bare_batch(alice, state=BatchState.RUNNING), 10)

    found = desk.get("/admin/").context["dashboard"]

    assert {state["name"]: state["n"] for state in found["batches"]} == {
        "Running": 1, "Paused": 1, "Importing": 0, "Cancelling": 0,
    }  # fmt: skip
    assert [series.total for series in found["minutes"].series] == [8, 2]
    assert [(one.error_code, one.n) for one in found["failures"].reasons] == [("no_subject", 2)]


def test_images_that_wait_are_counted_so_far_and_no_further(desk, alice, monkeypatch):
    monkeypatch.setattr(dashboard, "MOST", 3)
    running = bare_batch(alice, state=BatchState.RUNNING)
    for position in range(3):
        bare_item(running, state=ItemState.FETCHED, position=position)
    bare_item(bare_batch(alice, state=BatchState.PAUSED), state=ItemState.FETCHED)

    assert "<strong>3</strong> <span>images waiting" in desk.get("/admin/").content.decode()
    bare_item(running, state=ItemState.QUEUED, position=3)
    assert "<strong>3+</strong> <span>images waiting" in desk.get("/admin/").content.decode()


def test_of_very_many_failures_the_latest_are_looked_at(desk, alice, monkeypatch):
    monkeypatch.setattr(failures, "MOST", 2)
    now, batch = timezone.now(), bare_batch(alice)
    for position, (code, minutes) in enumerate([("a", 30), ("a", 20), ("b", 10)]):
        ended = {"error_code": code, "finished_at": now - timedelta(minutes=minutes)}
        bare_item(batch, state=ItemState.FAILED, position=position, **ended)

    found = failures.lately(now=now)

    assert found.is_cut
    assert found.since == now - timedelta(minutes=20)
    assert [(one.error_code, one.n) for one in found.reasons] == [("a", 1), ("b", 1)]
    assert "There were more than 2." in desk.get("/admin/").content.decode()
    Item.objects.filter(error_code="b").delete()
    assert not failures.lately(now=now).is_cut


def test_credits_are_shown_by_day(alice, desk):
    held = ledger.hold(alice, 7, key="h")
    give(alice, 30)
    before = dashboard.look(now=timezone.now())["credits"]
    ledger.capture(held.pk, item_uid=alice.uid, generation=1, held=7, price=5)

    after = dashboard.look(now=timezone.now())["credits"]

    assert [series.total for series in after.series] == [before.series[0].total, 5]
    assert before.series[0].total >= 30
    assert after.bars[-1].values == (before.series[0].total, 5)
    assert after.most == max(after.bars[-1].values), "they stand side by side"


def test_days_that_are_over_are_asked_for_once(alice, django_assert_num_queries):
    give(alice, 30)
    given = LedgerEntry.objects.latest("pk").created_at
    midnight = given.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    soon = midnight + timedelta(days=1, minutes=30)
    later = midnight + timedelta(days=1, hours=2)
    days = 29 * 2

    with django_assert_num_queries(days + 2):
        first = dashboard._credits(soon)
    with django_assert_num_queries(2 * 2):  # yesterday may not be settled yet
        dashboard._credits(soon)
    with django_assert_num_queries(2 * 2):
        dashboard._credits(later)
    with django_assert_num_queries(2):
        settled = dashboard._credits(later)

    assert first.bars[-2].values[0] >= 30
    assert settled.bars == first.bars
    assert datetime.fromisoformat(settled.bars[-2].label).date() == midnight.date()


def test_it_asks_as_little_for_five_thousand_images_as_for_five(
    desk, alice, django_assert_num_queries, django_assert_max_num_queries
):
    items(bare_batch(alice, state=BatchState.RUNNING), 5)
    desk.get("/admin/")
    with django_assert_max_num_queries(11 + 2) as few:  # yesterday is asked for until it is settled
        desk.get("/admin/")
    items(bare_batch(alice, state=BatchState.RUNNING), 5_000)
    with django_assert_num_queries(len(few)):
        desk.get("/admin/")


def test_workers_are_listed_with_what_they_said_and_have_in_hand(desk, alice, valkey):
    batch = bare_batch(alice)
    for position in range(3):
        bare_item(batch, state=ItemState.RUNNING, position=position, worker="gpu-1:42")
    said = {
        "device": "cpu", "memory_bytes": 2**30, "models": ["remove-background:u2netp"],
        "loaded": ["u2netp"], "runtime": "1.32.0", "started_at": timezone.now().timestamp(),
    }  # fmt: skip
    with Pulse(valkey, queue="cpu", worker="gpu-1:42", about=lambda: said):
        while not fleet.workers(valkey):
            pass
        pages = [desk.get(path).content.decode() for path in ("/admin/", WORKERS)]
        (worker,) = fleet.workers(valkey)
    assert (worker.host, worker.loaded, worker.device) == ("gpu-1", ("u2netp",), "cpu")
    first = reverse("admin:batches_item_change", args=[batch.items.order_by("pk")[0].pk])
    for page in pages:
        assert "gpu-1:42" in page
        assert "u2netp" in page
        assert f'href="{first}">0.png</a> and 2 more' in page
    assert "ONNX Runtime 1.32.0" in pages[1]
    assert fleet.workers(valkey) == [], "it has said goodbye"


def test_the_page_of_workers_asks_as_little_for_many_images_as_for_one(
    desk, alice, valkey, django_assert_num_queries
):
    def hold(count: int) -> None:
        batch = bare_batch(alice)
        for position in range(count):
            bare_item(batch, state=ItemState.RUNNING, position=position, worker="gpu-1:42")

    said = {
        "queue": "cpu", "host": "gpu-1", "device": "cpu", "memory_bytes": None,
        "loaded": [], "runtime": "", "started_at": timezone.now().timestamp(),
    }  # fmt: skip
    with Pulse(valkey, queue="cpu", worker="gpu-1:42", about=lambda: said):
        while not fleet.workers(valkey):
            pass
        hold(1)
        with django_assert_num_queries(3):
            desk.get(WORKERS)
        hold(40)
        with django_assert_num_queries(3):
            assert "and 40 more" in desk.get(WORKERS).content.decode()


def test_a_queue_that_nobody_serves_is_marked_and_says_how_long_it_waits(desk, valkey):
    valkey.rpush("rq:queue:cpu", "one", "two")
    begun = datetime.now(UTC) - timedelta(minutes=5)
    valkey.hset("rq:job:one", "enqueued_at", begun.isoformat())

    (queue,) = (q for q in dashboard.staffing(now=timezone.now()).queues if q.name == "cpu")

    assert (queue.depth, queue.waits, queue.workers) == (2, "5 min", 0)
    assert "Images wait until one comes." in desk.get(WORKERS).content.decode()


@pytest.mark.usefixtures("no_valkey")
@pytest.mark.parametrize("path", ["/admin/", "/admin/figures/", WORKERS])
def test_without_valkey_it_says_so_and_shows_the_rest(desk, path):
    page = desk.get(path)
    assert page.status_code == 200
    assert b"Valkey does not answer" in page.content


@pytest.mark.usefixtures("no_valkey")
def test_without_valkey_the_search_says_so(desk):
    page = desk.get("/admin/search/", {"s": "batch"})
    assert page.status_code == 200
    assert b"Valkey does not answer" in page.content


def test_the_search_finds_lists(desk):
    assert reverse("admin:batches_batch_changelist") in str(
        desk.get("/admin/search/", {"s": "batch"}).content
    )


def test_nobody_empties_queues_in_the_admin(desk):
    """The pages of the queues' own package ask for no right and leave no record."""
    assert not [model for model in admin.site._registry if model._meta.app_label == "django_rq"]
    assert desk.get("/admin/django_rq/dashboard/").status_code == 404


def test_staff_who_may_not_see_batches_see_no_figures(client, bob, valkey):
    bob.is_staff = True
    bob.save()
    client.force_login(bob)
    page = client.get("/admin/")
    assert page.status_code == 200
    assert "dashboard" not in page.context
    assert client.get(WORKERS).status_code == 403
    assert client.get("/admin/figures/").status_code == 403


def test_a_part_of_a_page_loads_the_whole_page_again_where_the_session_has_ended(client, db):
    for path in ("/admin/figures/", "/admin/workers/now/"):
        answer = client.get(path)
        assert (answer.status_code, answer["HX-Refresh"]) == (403, "true")
    assert client.get(WORKERS).status_code == 302


def test_signing_in_goes_on_to_the_admin(client, staff):
    form = client.get("/admin/login/", follow=True)
    address = form.context["app_path"]
    answer = client.post(address, {"username": staff.email, "password": "staff's password"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_the_sidebar_has_what_somebody_may_see_and_nothing_without_a_page(rf, bob, desk):
    bob.is_staff = True
    bob.save()
    bob.user_permissions.add(Permission.objects.get(codename="view_item"))
    request = rf.get("/admin/")
    request.user = bob
    lines = [
        (str(line["title"]), line["has_permission"])
        for group in admin.site.get_sidebar_list(request)
        for line in group["items"]
    ]
    assert [title for title, is_shown in lines if is_shown] == ["Dashboard", "Items"]
    assert "Workers" in dict(lines)

    for model in (Batch, Item):
        assert admin.site.is_registered(model)
    assert admin_site._line(admin_site.Entry.of("Gone", "x", "batches.gone")) is None
    page = desk.get("/admin/").content.decode()
    assert page.count('href="/admin/batches/item/"') >= 1


def test_the_environment_is_named_where_it_has_a_name():
    named = admin_site.settings(environment="staging")
    assert named["ENVIRONMENT"](None) == ["staging", "warning"]
    assert named["ENVIRONMENT_TITLE_PREFIX"] == "[staging]"
    assert admin_site.settings(environment="")["ENVIRONMENT"](None) is None
