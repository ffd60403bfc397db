"""Bounded windows: who is rung for, in which order, and what happens to rings that are lost."""

from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from inspect import signature
from itertools import chain, groupby

import django_rq
import pytest
import redis
from django.utils import timezone

from batches import dispatch, hosts, lifecycle, pipeline
from batches.dispatch import ENGINE_WINDOW, FETCH_WINDOW, FETCHES_PER_JOB
from batches.models import Batch, Item
from batches.reconcile import reconcile
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from tests.factories import bare_batch, bare_item, give, make_batch, make_original
from tools import registry

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "media")

RUNG = {"rung_at__isnull": False}


def big_batch(owner, count: int, *, urls: int = 0) -> Batch:
    """A running batch of one picture many times over, and of addresses."""
    upload = str(make_original(owner).uid)
    rows = [Row(upload=upload)] * count
    rows += [Row(url=f"https://a.example.com/{n}.png") for n in range(urls)]
    give(owner, 3 * len(rows))
    return lifecycle.start(lifecycle.create(owner, registry.get("fake"), rows, reuse=False))


def create(owner, count: int) -> Batch:
    """The same, before it starts."""
    rows = [Row(upload=str(make_original(owner).uid))] * count
    give(owner, 3 * count)
    return lifecycle.create(owner, registry.get("fake"), rows, reuse=False)


def served(*, until: Batch) -> Iterator[int]:
    """Be the only worker until a batch has ended: whose images are served, in their order."""
    queue = django_rq.get_queue("cpu")
    while Item.objects.filter(batch=until).exclude(state=ItemState.DONE).exists():
        item = queue.fetch_job(queue.pop_job_id()).kwargs["item_id"]
        pipeline.run(item)
        yield Item.objects.values_list("batch", flat=True).get(pk=item)


def queued(name: str) -> list[dict]:
    """The arguments of what waits in a queue, in its order."""
    return [job.kwargs for job in django_rq.get_queue(name).jobs]


def owners_in(name: str) -> list[str]:
    """Whose items wait in a queue, in its order: the names of their batches."""
    names = dict(Item.objects.values_list("pk", "batch__name"))
    return [names[call["item_id"]] for call in queued(name)]


def work(count: int = 1, *, queue: str = "cpu") -> None:
    """Be a worker: take so many jobs from the front and do them."""
    for _ in range(count):
        job = django_rq.get_queue(queue).jobs[0]
        django_rq.get_queue(queue).remove(job)
        pipeline.run(job.kwargs["item_id"])


def top_up(batch: Batch) -> None:
    dispatch.top_up(batch.pk, now=timezone.now())


# --- Windows --------------------------------------------------------------------------


def test_a_start_rings_for_one_window_of_each_kind(alice):
    batch = big_batch(alice, 40, urls=100)

    runs = [call["item_id"] for call in queued("cpu")]
    fetches = [call["item_ids"] for call in queued("io")]
    in_order = list(batch.items.order_by("position").values_list("pk", flat=True))
    assert runs == in_order[:ENGINE_WINDOW]
    assert [len(ids) for ids in fetches] == [FETCHES_PER_JOB] * (FETCH_WINDOW // FETCHES_PER_JOB)
    assert list(chain.from_iterable(fetches)) == in_order[40 : 40 + FETCH_WINDOW]
    assert batch.items.filter(**RUNG).count() == ENGINE_WINDOW + FETCH_WINDOW


def test_never_more_than_a_window_is_rung_for_however_often_it_is_topped_up(alice):
    batch = big_batch(alice, 50)
    most = 0

    while queued("cpu"):
        work()
        top_up(batch)
        inside = batch.items.filter(state=ItemState.FETCHED, **RUNG).count()
        most = max(most, inside)
        assert len(queued("cpu")) == inside, "an item was rung for twice"

    assert most == ENGINE_WINDOW
    assert batch.items.filter(state=ItemState.DONE).count() == 50


def test_what_is_in_hand_takes_room_in_the_window(alice):
    batch = big_batch(alice, 40)
    for call in queued("cpu")[:12]:
        pipeline._claim(call["item_id"], ItemState.RUNNING)

    top_up(batch)

    assert batch.items.filter(state=ItemState.FETCHED, **RUNG).count() == 4


def test_a_window_is_filled_up_when_half_of_it_is_empty(alice):
    batch = big_batch(alice, 40)

    work(ENGINE_WINDOW // 2 - 1)
    before = len(queued("cpu"))
    work(1)

    assert before == ENGINE_WINDOW // 2 + 1
    assert len(queued("cpu")) == ENGINE_WINDOW
    assert batch.items.filter(state=ItemState.DONE).count() == ENGINE_WINDOW // 2


@pytest.mark.parametrize("state", sorted(set(BatchState.values) - {"running"}))
def test_nobody_is_rung_for_in_a_batch_that_does_not_run(alice, state):
    batch = bare_batch(alice, state=state)
    bare_item(batch, state=ItemState.FETCHED)

    top_up(batch)

    assert queued("cpu") == []


def test_an_item_that_must_wait_after_an_error_is_rung_for_in_its_time(alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    now = timezone.now()
    item = bare_item(batch, state=ItemState.FETCHED, retry_at=now + timedelta(seconds=2))

    dispatch.top_up(batch.pk, now=now)
    before = queued("cpu")
    dispatch.top_up(batch.pk, now=now + timedelta(seconds=2))

    assert before == []
    assert queued("cpu") == [{"item_id": item.pk}]


def test_a_settled_item_rings_for_the_next(alice, valkey):
    batch = big_batch(alice, 17)
    last = batch.items.get(position=16)

    work(8)

    last.refresh_from_db()
    assert last.rung_at is not None
    assert queued("cpu")[-1] == {"item_id": last.pk}


def test_a_fetched_original_goes_on_to_an_engine(alice, server):
    upload = lifecycle.create(alice, registry.get("fake"), [Row(url=server.url("/ok"))])
    give(alice, 10)
    batch = lifecycle.start(upload)

    pipeline.fetch(queued("io")[0]["item_ids"])

    assert queued("cpu") == [{"item_id": batch.items.get().pk}]


# --- Fairness -------------------------------------------------------------------------


def test_two_batches_take_turns(alice, bob):
    hers = big_batch(alice, 40)
    his = big_batch(bob, 40)
    Batch.objects.filter(pk=hers.pk).update(name="hers")
    Batch.objects.filter(pk=his.pk).update(name="his")

    at_first = owners_in("cpu")
    done = []
    while queue := owners_in("cpu"):
        done.append(queue[0])
        work()

    assert at_first == ["hers"] * 16 + ["his"] * 16
    # After the first windows nobody is more than a window ahead of the other.
    ahead = [done[:n].count("hers") - done[:n].count("his") for n in range(len(done) + 1)]
    assert done.count("hers") == done.count("his") == 40
    assert max(ahead) <= ENGINE_WINDOW
    assert min(ahead) >= -ENGINE_WINDOW
    assert done.index("his") == 16, "the second batch waited for more than one window"


def test_a_single_image_does_not_wait_behind_five_hundred(alice, bob):
    big_batch(alice, 500)
    work(20)

    single = lifecycle.start(make_batch(bob, 1))

    item = single.items.get()
    place = [call["item_id"] for call in queued("cpu")].index(item.pk)
    assert place <= ENGINE_WINDOW
    work(place + 1)
    item.refresh_from_db()
    single.refresh_from_db()
    assert (item.state, single.state) == (ItemState.DONE, BatchState.FINISHED)


def one_image(owner) -> int:
    """An image that somebody waits for, under way; its item's id."""
    return lifecycle.start(make_batch(owner, 1, single=True)).items.get().pk


def test_an_image_that_somebody_waits_for_lets_one_of_a_batch_go_first_and_no_more(alice, bob):
    big_batch(alice, 200)

    item = one_image(bob)

    assert [call["item_id"] for call in queued("cpu")].index(item) == 1
    work(2)
    assert Item.objects.get(pk=item).state == ItemState.DONE


def test_images_that_somebody_waits_for_take_turns_with_a_batch_in_their_own_order(alice, bob):
    big_batch(alice, 200)
    waited_for = [one_image(owner) for owner in (bob, alice, bob, alice)]

    served = []
    for _ in range(8):
        served.append(queued("cpu")[0]["item_id"])
        work()

    assert served[1::2] == waited_for
    assert not set(served[0::2]) & set(waited_for)


def test_who_always_waits_for_one_more_image_does_not_stop_a_batch(alice, bob):
    batch = big_batch(alice, 200)

    for _ in range(5):  # each as soon as the one before is in hand, and nothing in between
        item = one_image(bob)
        while Item.objects.get(pk=item).state != ItemState.DONE:
            work()

    assert batch.items.filter(state=ItemState.DONE).count() == 5


def test_very_many_single_images_of_one_person_queue_up_as_a_batch_does(alice, bob):
    big_batch(alice, 200)

    items = [one_image(bob) for _ in range(dispatch.MOST_AHEAD + 2)]

    places = [[call["item_id"] for call in queued("cpu")].index(item) for item in items]
    assert places[: dispatch.MOST_AHEAD] == [1, 3, 5, 7]
    assert all(place >= ENGINE_WINDOW for place in places[dispatch.MOST_AHEAD :])


def test_an_address_that_somebody_waits_for_is_fetched_before_a_batch_of_them(alice, bob):
    big_batch(alice, 0, urls=200)
    rows = [Row(url="https://a.example.com/mug.png")]
    give(bob, 10)

    mug = lifecycle.start(lifecycle.create(bob, registry.get("fake"), rows, single=True))

    places = [call["item_ids"] for call in queued("io")]
    assert places[1] == [mug.items.get().pk]


# --- Raised batches -------------------------------------------------------------------


@pytest.fixture
def small_windows(monkeypatch) -> int:
    """How many images of an ordinary batch wait in a queue: few, so that few images tell."""
    monkeypatch.setattr(dispatch, "ENGINE_WINDOW", 2)
    return 2


def longest_wait(turns: list[int], pk: int) -> int:
    """The most images of others between two of a batch, and before its first."""
    waits = [len(list(run)) for own, run in groupby(turns, lambda turn: turn == pk) if not own]
    return max(waits, default=0)


def test_raised_batches_go_ahead_and_take_turns_and_nobody_starves(
    alice, bob, staff, small_windows
):
    crowd = [big_batch(owner, 12) for owner in (alice, bob)]
    raised = [big_batch(owner, 12) for owner in (alice, staff)]
    for batch in raised:
        lifecycle.prioritise(batch, 1)

    turns, first, second = [], raised[0].pk, raised[1].pk
    for n, pk in enumerate(served(until=raised[1])):
        turns.append(pk)
        if n == 8:  # a user who comes while all of this goes on
            late = big_batch(bob, 6)

    of_both = [pk for pk in turns if pk in {first, second}]
    lead = [of_both[:n].count(first) - of_both[:n].count(second) for n in range(len(of_both))]
    assert max(map(abs, lead)) <= 2 * small_windows, "one of the raised waits for the other"
    assert len(of_both) > len(turns) * 0.55, "they do not go ahead"
    # What may be ahead: two raised windows, and the two others with a raised image behind each.
    most_ahead = (2 * 2 + 2 * 2) * small_windows
    for batch, since in [(crowd[0], 0), (crowd[1], 0), (late, 9)]:
        assert longest_wait(turns[since:], batch.pk) <= most_ahead, "it starves"


def test_a_batch_raised_among_many_has_every_other_turn_from_the_first_on(
    alice, bob, staff, small_windows
):
    crowd = {big_batch(owner, 6).pk for owner in (alice, bob, alice, bob)}
    lifecycle.prioritise(raised := create(staff, 10), 1)
    lifecycle.start(raised)

    turns = list(served(until=raised))

    assert turns[1:20:2] == [raised.pk] * 10
    assert set(turns[0:20:2]) <= crowd


def test_an_image_that_somebody_waits_for_goes_ahead_of_a_raised_batch(alice, bob, staff):
    big_batch(alice, 40)
    waited_for = [one_image(bob), one_image(alice)]
    lifecycle.prioritise(raised := create(staff, 5), 1)
    lifecycle.start(raised)
    waited_for.append(one_image(bob))

    places = [call["item_id"] for call in queued("cpu")]
    assert [places.index(pk) for pk in waited_for] == [1, 3, 5]
    turns = [places.index(item.pk) for item in raised.items.order_by("position")]
    assert turns[0] == 6
    assert [turn - turns[0] for turn in turns] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("level", [-1, 2])
def test_there_is_no_other_priority(alice, level):
    with pytest.raises(ValueError, match="no priority"):
        lifecycle.prioritise(create(alice, 1), level)


def test_five_hundred_images_fill_no_queue(alice):
    big_batch(alice, 500)

    assert len(queued("cpu")) == ENGINE_WINDOW


# --- Which queue ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "there", "queue"),
    [
        (("gpu", "cpu"), ["cpu", "gpu"], "gpu"),
        (("gpu", "cpu"), ["cpu"], "cpu"),
        (("cpu",), ["gpu", "cpu"], "cpu"),
    ],
)
def test_a_tool_runs_on_the_first_engine_it_likes_that_is_there(
    fake_tool, settings, monkeypatch, kinds, there, queue
):
    settings.ENGINE_QUEUES = there
    monkeypatch.setattr(type(fake_tool), "engines", kinds)

    assert dispatch.queue_for("fake") == queue


def test_a_tool_that_nothing_here_can_run_has_no_queue(fake_tool, settings):
    settings.ENGINE_QUEUES = ["gpu"]

    with pytest.raises(dispatch.NoEngine):
        dispatch.queue_for("fake")


@pytest.mark.parametrize("trouble", ["engine", "tool"])
def test_a_batch_that_nothing_here_can_run_any_more_waits(alice, settings, caplog, trouble, valkey):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    item = bare_item(batch, state=ItemState.FETCHED)
    if trouble == "engine":
        settings.ENGINE_QUEUES = ["gpu"]
    else:
        Batch.objects.filter(pk=batch.pk).update(tool="of-yesterday")

    top_up(batch)

    item.refresh_from_db()
    assert item.rung_at is None
    assert str(batch.uid) in caplog.text


# --- Lost rings -----------------------------------------------------------------------


def test_a_flushed_valkey_is_noticed_and_everything_is_rung_for_again(alice, valkey):
    batch = big_batch(alice, 40, urls=3)
    now = timezone.now()
    dispatch.forget_lost_rings(now=now)
    top_up(batch)
    valkey.flushdb()

    forgotten = dispatch.forget_lost_rings(now=now)
    top_up(batch)

    assert forgotten == ENGINE_WINDOW + 3
    assert len(queued("cpu")) == ENGINE_WINDOW
    assert [len(call["item_ids"]) for call in queued("io")] == [3]


def test_a_ring_that_nobody_followed_for_thirty_seconds_is_rung_again(alice):
    batch = big_batch(alice, 3)
    now = timezone.now()
    dispatch.forget_lost_rings(now=now)
    top_up(batch)
    django_rq.get_queue("cpu").empty()
    Item.objects.filter(**RUNG).update(rung_at=now)

    early = dispatch.forget_lost_rings(now=now + timedelta(seconds=30))
    late = dispatch.forget_lost_rings(now=now + timedelta(seconds=30.001))
    top_up(batch)

    assert (early, late) == (0, 3)
    assert len(queued("cpu")) == 3


@pytest.mark.parametrize("state", ["fetching", "running", "done", "failed", "pending"])
def test_only_what_waits_is_rung_for_again(alice, state, valkey):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    now = timezone.now()
    item = bare_item(batch, state=state, rung_at=now - timedelta(hours=1))

    forgotten = dispatch.forget_lost_rings(now=now)

    item.refresh_from_db()
    assert forgotten == 0
    assert item.rung_at is not None


def test_rings_of_a_paused_batch_are_forgotten_at_the_resume(alice):
    batch = big_batch(alice, 3)
    lifecycle.pause(batch)
    while queued("cpu"):
        work()  # a worker meets them and drops them
    dropped = batch.items.filter(state=ItemState.FETCHED, **RUNG).count()

    lifecycle.resume(batch)

    assert dropped == 3
    assert len(queued("cpu")) == 3


def test_a_ring_too_many_is_harmless(alice):
    batch = big_batch(alice, 1)
    pk = batch.items.get().pk

    for _ in range(3):
        pipeline.run(pk)

    item = batch.items.get()
    assert (item.state, item.attempt, item.results.count()) == (ItemState.DONE, 1, 1)


def test_without_valkey_rings_are_asked_for_in_vain_and_nothing_breaks(
    alice, monkeypatch, tmp_path, caplog
):
    caplog.set_level("INFO", logger="batches.dispatch")
    away = redis.Redis(unix_socket_path=str(tmp_path / "nobody.sock"), retry=None)
    monkeypatch.setattr(dispatch, "connection", lambda: away)

    batch = big_batch(alice, 2)

    assert batch.state == BatchState.RUNNING
    assert "could not be rung" in caplog.text
    with pytest.raises(redis.RedisError):
        dispatch.forget_lost_rings(now=timezone.now())


# --- Jobs -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", dispatch.JOBS)
def test_every_job_that_is_rung_for_exists_and_survives_arguments_of_tomorrow(db, path):
    module, _, name = path.rpartition(".")
    job = getattr(import_module(module), name)

    ids = {"item_ids": [0], "item_id": 0, "delivery_id": 0, "batch_id": 0, "run_id": 0}
    wanted = {key: ids[key] for key in signature(job).parameters if key in ids}
    assert job(**wanted, colour="of tomorrow") is None


def test_jobs_hold_ids_and_nothing_else(alice):
    big_batch(alice, 1, urls=1)

    (run,) = django_rq.get_queue("cpu").jobs
    (fetch,) = django_rq.get_queue("io").jobs
    assert (run.func_name, run.args) == (dispatch.RUN_JOB, [])
    assert (fetch.func_name, fetch.args) == (dispatch.FETCH_JOB, [])
    assert set(run.kwargs) == {"item_id"}
    assert set(fetch.kwargs) == {"item_ids"}
    assert (run.timeout, run.result_ttl) == (-1, 0)


# --- What workers can run ---------------------------------------------------------------


def there(valkey, name: str, *models: str, queue: str = "cpu", draining: bool = False) -> None:
    """Be a worker that says what it can run."""
    about = {"models": list(models), "device": "cpu", "draining": draining}
    hosts.say(valkey, queue=queue, worker=name, about=about)
    dispatch._heard.until = 0.0


def cutouts(owner) -> Batch:
    """A running batch of a tool with models to choose from."""
    batch = bare_batch(owner, state=BatchState.RUNNING)
    Batch.objects.filter(pk=batch.pk).update(tool="remove-background")
    batch.refresh_from_db()
    return batch


def waiting(batch: Batch, model: str, place: int) -> Item:
    """An image of it that waits for an engine with this model."""
    settings = {"model": model}
    return bare_item(batch, state=ItemState.FETCHED, position=place, settings=settings)


@pytest.fixture
def two_queues(settings):
    settings.ENGINE_QUEUES = ["gpu", "cpu"]
    settings.RQ_QUEUES = {**settings.RQ_QUEUES, "gpu": settings.RQ_QUEUES["cpu"]}


def test_an_item_goes_to_the_first_queue_whose_workers_have_its_model(alice, valkey, two_queues):
    there(valkey, "a:1", "upscale:fast", queue="gpu")
    there(valkey, "b:1", "upscale:fast", "fake")

    big_batch(alice, 2)

    assert queued("gpu") == []
    assert len(queued("cpu")) == 2


def test_rows_of_one_batch_that_ask_for_other_models_go_to_other_queues(alice, valkey, two_queues):
    there(valkey, "a:1", "remove-background:u2net", queue="gpu")
    there(valkey, "b:1", "remove-background:u2netp")
    batch = cutouts(alice)
    large = waiting(batch, "u2net", 0)
    small = waiting(batch, "u2netp", 1)
    other = waiting(batch, "silueta", 2)

    top_up(batch)

    assert queued("gpu") == [{"item_id": large.pk}]
    assert queued("cpu") == [{"item_id": small.pk}]
    other.refresh_from_db()
    assert other.rung_at is None, "nobody can run it"


def test_what_nobody_can_run_waits_and_runs_when_somebody_comes(alice, valkey):
    there(valkey, "a:1", "upscale:fast")
    batch = big_batch(alice, 3)
    before = queued("cpu")

    there(valkey, "b:1", "fake")
    reconcile(now=timezone.now())

    assert before == []
    assert len(queued("cpu")) == 3
    assert batch.items.filter(**RUNG).count() == 3


def test_what_nobody_can_run_does_not_keep_the_rest_of_its_batch_waiting(alice, valkey):
    there(valkey, "b:1", "remove-background:u2netp")
    batch = cutouts(alice)
    for place in range(ENGINE_WINDOW):
        waiting(batch, "silueta", place)
    small = waiting(batch, "u2netp", ENGINE_WINDOW)

    top_up(batch)

    assert queued("cpu") == [{"item_id": small.pk}]


def test_a_worker_that_drains_gets_nothing_more_where_another_is_there(alice, valkey, two_queues):
    there(valkey, "a:1", "fake", queue="gpu", draining=True)
    there(valkey, "b:1", "fake")

    big_batch(alice, 1)

    assert queued("gpu") == []
    assert len(queued("cpu")) == 1


def test_without_a_word_from_anybody_work_waits_in_the_queue_that_is_configured(alice, valkey):
    big_batch(alice, 2)

    assert len(queued("cpu")) == 2


def test_workers_are_heard_once_a_second_and_not_for_each_image(alice, valkey, monkeypatch):
    heard = []
    listen = hosts.workers
    monkeypatch.setattr(hosts, "workers", lambda client: heard.append(1) or listen(client))
    batch = big_batch(alice, 3)

    for _ in range(5):
        top_up(batch)

    assert len(heard) == 1


def test_a_queue_with_a_name_of_its_own_serves_its_kind(fake_tool, settings, monkeypatch):
    settings.ENGINE_QUEUES = ["gpu-large", "cpu"]
    monkeypatch.setattr(type(fake_tool), "engines", ("gpu", "cpu"))

    assert dispatch.queue_for("fake") == "gpu-large"
