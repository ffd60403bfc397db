"""Items that a worker can't run after all, and batches that nobody who is there can run."""

import pytest
import redis
from django.urls import reverse
from django.utils import timezone

from batches import dispatch, hosts, lifecycle, pipeline, pricing
from batches.models import Batch, Item
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import give, make_original
from tools import abilities, registry
from tools.engines import weights

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "media")


@pytest.fixture(autouse=True)
def _all_models_load(monkeypatch):
    monkeypatch.setattr(abilities, "_unable", {})


def there(valkey, name: str, *models: str, queue: str = "cpu") -> None:
    """Be a worker that says what it can run."""
    hosts.say(valkey, queue=queue, worker=name, about={"models": list(models), "device": "cpu"})
    dispatch._heard.until = 0.0


@pytest.fixture
def batch(alice) -> Batch:
    give(alice, 10)
    rows = [Row(upload=str(make_original(alice).uid))]
    return lifecycle.start(lifecycle.create(alice, registry.get("fake"), rows, reuse=False))


def run_once(batch: Batch) -> Item:
    """Be a worker that takes its only item."""
    item = batch.items.get()
    Item.objects.filter(pk=item.pk).update(retry_at=None)
    pipeline.run(item.pk)
    item.refresh_from_db()
    return item


def fails_to_load(monkeypatch, error=None):
    def run(*_arguments):
        raise error or weights.WeightsDamaged("u2net", "It is not what it should be.")

    monkeypatch.setattr(type(registry.get("fake")), "run", run)


def test_a_worker_whose_model_does_not_load_gives_the_item_back_and_says_so(
    batch, alice, valkey, monkeypatch
):
    there(valkey, pipeline.worker_name(), "fake")
    there(valkey, "b:1", "fake")
    fails_to_load(monkeypatch, weights.ModelNotLoaded("u2net", "Failed to allocate memory"))

    item = run_once(batch)

    assert (item.state, item.losses, item.token) == (ItemState.FETCHED, 1, None)
    assert item.history[-1]["code"] == "model_unavailable"
    assert item.retry_at > timezone.now(), "or the same worker would have it again at once"
    assert "fake" not in abilities.here()
    assert ledger.balance(alice).held == 2, "its price is still set aside"


def test_an_item_that_five_workers_gave_back_fails_at_no_cost(batch, alice, valkey, monkeypatch):
    there(valkey, pipeline.worker_name(), "fake")
    fails_to_load(monkeypatch)

    for _ in range(lifecycle.MOST_LOSSES):
        item = run_once(batch)

    assert (item.state, item.error_code) == (ItemState.FAILED, "model_unavailable")
    assert ledger.balance(alice).held == 0
    batch.refresh_from_db()
    assert batch.state == BatchState.FINISHED


def test_a_worker_that_lacks_a_model_turns_it_away_untried_while_another_has_it(
    batch, valkey, monkeypatch
):
    there(valkey, "b:1", "fake")
    fake = type(registry.get("fake"))
    monkeypatch.setattr(fake, "unavailable_reason", lambda *_: "Not here.")

    item = run_once(batch)

    assert (item.state, item.losses, item.attempt) == (ItemState.FETCHED, 0, 1)
    assert item.history == []


def test_a_model_that_this_host_lacks_can_be_used_while_a_worker_has_it(
    alice, valkey, monkeypatch, client
):
    fake = type(registry.get("fake"))
    monkeypatch.setattr(fake, "unavailable_reason", lambda *_: "Not here.")
    give(alice, 4)
    rows = [Row(upload=str(make_original(alice).uid))]
    with pytest.raises(lifecycle.ToolUnavailable):
        lifecycle.create(alice, registry.get("fake"), rows)

    there(valkey, "b:1", "fake")

    assert lifecycle.start(lifecycle.create(alice, registry.get("fake"), rows)).state == "running"
    tools = {tool["slug"]: tool for tool in client.get("/api/v1/tools").json()["results"]}
    assert tools["fake"]["available"] is True


def test_what_staff_have_switched_off_is_off_whoever_could_run_it(alice, valkey):
    there(valkey, "b:1", "fake")
    off = pricing.Terms(percent=100, is_on=False, note="Not today.")
    pricing.rules.hold({})

    assert abilities.unavailable_reason(pricing._on(registry.get("fake"), off)) == "Not today."


def test_page_api_and_admin_say_that_nobody_is_there_who_could_run_it(
    batch, alice, staff, client, valkey
):
    there(valkey, "b:1", "upscale:fast")
    client.force_login(alice)
    page = client.get(batch.get_absolute_url()).content.decode()
    answer = client.get(f"/api/v1/batches/{batch.uid}").json()
    client.force_login(staff)
    admin = client.get(reverse("admin:batches_batch_change", args=[batch.pk])).content.decode()

    assert "No worker that can run Fake is connected." in page
    assert answer["notice"].startswith("No worker that can run Fake is connected.")
    assert "manage.py worker cpu" in admin


def test_nothing_is_said_once_somebody_is_there_and_none_knows_without_valkey(
    batch, alice, client, valkey, monkeypatch
):
    there(valkey, "b:1", "fake")
    client.force_login(alice)
    url = f"/api/v1/batches/{batch.uid}"
    with_worker = client.get(url).json()["notice"]
    there(valkey, "b:1")
    without = client.get(url)
    there(valkey, "b:1", "fake")
    again = client.get(url, headers={"if-none-match": without["ETag"]})
    gone = redis.Redis(unix_socket_path="/nonexistent/valkey.sock")
    monkeypatch.setattr(dispatch, "connection", lambda: gone)
    dispatch._heard.until = 0.0

    assert with_worker is None
    assert without.json()["notice"]
    assert again.status_code == 200, "the answer has changed"
    assert client.get(url).json()["notice"] is None


def test_that_nobody_at_all_is_there_is_said_once_it_has_lasted(batch, alice, client, valkey):
    client.force_login(alice)
    url = f"/api/v1/batches/{batch.uid}"
    just_now = client.get(url).json()["notice"]
    dispatch._heard.until = 0.0
    dispatch._heard.nobody_since -= dispatch.NOBODY_SECONDS
    later = client.get(url).json()["notice"]
    there(valkey, "b:1", "fake")

    assert just_now is None, "a worker that ends is started anew at once"
    assert later.startswith("No worker that can run Fake is connected.")
    assert client.get(url).json()["notice"] is None
