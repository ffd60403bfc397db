"""Batches and items over the HTTP API: read, list, and every verb."""

from datetime import timedelta

import pytest
from django.utils import timezone

from batches.models import Batch, Item
from batches.serializers import ITEM_WORDS
from batches.states import BatchState, ItemState
from credits import ledger
from tests import clients
from tests.factories import bare_batch, bare_item, give, make_batch

pytestmark = pytest.mark.usefixtures("fake_tool", "valkey")

BATCHES = "/api/v1/batches"


@pytest.fixture
def alices(alice):
    return clients.with_key(alice)


@pytest.fixture
def ring(django_capture_on_commit_callbacks):
    """Make a request as if its transaction had committed."""

    def ring(client, path, body=None, **headers):
        with django_capture_on_commit_callbacks(execute=True):
            return client.post(path, body or {}, format="json", **headers)

    return ring


def at(batch, verb: str = "") -> str:
    return f"{BATCHES}/{batch.uid}{verb and '/'}{verb}"


# --- From start to end ----------------------------------------------------------------


def test_a_batch_runs_and_says_what_became_of_it(alices, alice, ring, run_jobs):
    batch = make_batch(alice, 3)

    started = ring(alices, at(batch, "start"))
    run_jobs()
    read = alices.get(at(batch)).json()

    assert started.status_code == 200
    assert started.json()["status"] == "running"
    assert (read["status"], read["progress"], read["eta_seconds"]) == ("finished", 100, None)
    assert read["counts"]["done"] == read["total"] == 3
    assert read["credits"] == {"quoted": 6, "held": 0, "used": 6, "released": 0, "cap": None}
    assert read["finished_at"].endswith("Z")


def test_a_finished_item_reads_as_the_contract_says(alices, alice, ring, run_jobs):
    batch = make_batch(alice, 1, settings={"copies": 2})
    ring(alices, at(batch, "start"))
    run_jobs()

    read = alices.get(at(batch, "items")).json()

    item = Item.objects.get()
    first, second = item.results.order_by("position")
    url = f"http://testserver/api/v1/items/{item.uid}/result"
    shape = {"width": 64, "height": 48, "format": "png", "text": None}
    shape |= {"report": None, "notes": []}
    results = [
        {
            "url": url,
            "thumbnail_url": f"{url}/thumbnail",
            "bytes": first.bytes,
            "sha256": first.sha256,
            **shape,
        },
        {
            "url": f"{url}?position=1",
            "thumbnail_url": f"{url}/thumbnail?position=1",
            "bytes": second.bytes,
            "sha256": second.sha256,
            **shape,
        },
    ]
    assert read == {
        "next": None,
        "previous": None,
        "results": [
            {
                "id": str(item.uid),
                "external_id": "",
                "position": 0,
                "name": "photo-1.png",
                "source_url": None,
                "state": "done",
                "attempt": 1,
                "settings": item.settings,
                "error": None,
                "review": [],
                "credits": 2,
                "reused_from": None,
                "result": results[0],
                "results": results,
                "started_at": f"{item.started_at:%Y-%m-%dT%H:%M:%S.%fZ}",
                "finished_at": f"{item.finished_at:%Y-%m-%dT%H:%M:%S.%fZ}",
            }
        ],
    }
    assert alices.get(f"/api/v1/items/{item.uid}").json() == read["results"][0]


def test_a_failed_item_has_a_code_a_sentence_and_no_price(alices, alice, ring, run_jobs):
    batch = make_batch(alice, 1, settings={"trouble": "permanent"})
    ring(alices, at(batch, "start"))
    run_jobs()

    item = alices.get(at(batch, "items")).json()["results"][0]

    assert item["state"] == "failed"
    assert item["error"] == {
        "code": "no_subject",
        "message": "No subject was found. Try another model or a tighter crop.",
    }
    assert (item["credits"], item["result"], item["results"]) == (0, None, [])
    assert ledger.balance(alice).held == 0


def test_a_text_is_in_the_result_itself(alices, alice, ring, run_jobs):
    batch = make_batch(alice, 1, tool="fake-text")
    ring(alices, at(batch, "start"))
    run_jobs()

    result = alices.get(at(batch, "items")).json()["results"][0]["result"]

    assert (result["text"], result["format"]) == ("64 × 48 pixels", "txt")
    assert (result["thumbnail_url"], result["width"], result["height"]) == (None, None, None)


def test_a_sample_waits_for_approval_and_then_the_rest_runs(alices, alice, ring, run_jobs):
    batch = make_batch(alice, 4)

    ring(alices, at(batch, "start"), {"sample": 1})
    run_jobs()
    sampled = alices.get(at(batch)).json()
    approved = ring(alices, at(batch, "approve"))
    run_jobs()

    assert (sampled["status"], sampled["counts"]["done"]) == ("sampled", 1)
    assert sampled["credits"]["held"] == 0
    assert (approved.status_code, approved.json()["credits"]["held"]) == (200, 6)
    assert (approved["X-Credits-Charged"], approved["X-Credits-Remaining"]) == ("0", "57")
    assert alices.get(at(batch)).json()["counts"]["done"] == 4


def test_an_approval_that_cannot_be_paid_leaves_the_batch_sampled(alices, alice, ring, run_jobs):
    batch = make_batch(alice, 20, sample=1)
    ring(alices, at(batch, "start"))
    run_jobs()
    available = ledger.balance(alice).available
    ledger.adjust(alice, 10 - available, actor=alice, note="test", key="test")

    response = ring(alices, at(batch, "approve"))

    assert response.status_code == 402
    assert (response.json()["required"], response.json()["available"]) == (38, 10)
    assert alices.get(at(batch)).json()["status"] == "sampled"


def test_pause_and_resume(alices, alice, ring, run_jobs):
    batch = make_batch(alice, 2)
    ring(alices, at(batch, "start"))

    paused = ring(alices, at(batch, "pause"))
    run_jobs()
    while_paused = alices.get(at(batch)).json()
    resumed = ring(alices, at(batch, "resume"))
    run_jobs()

    assert paused.json()["status"] == while_paused["status"] == "paused"
    assert while_paused["counts"]["waiting"] == 2
    assert resumed.json()["status"] == "running"
    assert alices.get(at(batch)).json()["status"] == "finished"


def test_cancel_gives_back_what_was_not_used(alices, alice, ring):
    batch = make_batch(alice, 2)
    ring(alices, at(batch, "start"))

    cancelled = ring(alices, at(batch, "cancel")).json()

    assert cancelled["status"] == "cancelled"
    assert cancelled["counts"]["cancelled"] == 2
    assert cancelled["credits"]["released"] == 4
    assert ledger.balance(alice).held == 0


def test_retry_runs_the_failed_ones_with_other_settings(alices, alice, ring, run_jobs):
    batch = make_batch(alice, 2, settings={"trouble": "permanent"})
    ring(alices, at(batch, "start"))
    run_jobs()
    chosen = Item.objects.order_by("position").last()

    response = ring(
        alices,
        at(batch, "retry"),
        {"items": [str(chosen.uid)], "settings": {"trouble": "none"}},
    )
    run_jobs()

    assert response.status_code == 200
    assert response["X-Credits-Charged"] == "0"
    counts = alices.get(at(batch)).json()["counts"]
    assert (counts["done"], counts["failed"]) == (1, 1)
    assert alices.get(f"/api/v1/items/{chosen.uid}").json()["attempt"] == 2


def test_retry_without_a_body_takes_all_that_failed(alices, alice, ring, run_jobs):
    batch = make_batch(alice, 2, settings={"trouble": "permanent"})
    ring(alices, at(batch, "start"))
    run_jobs()

    response = alices.generic("POST", at(batch, "retry"))

    assert (response.status_code, response.json()["counts"]["waiting"]) == (200, 2)


def test_retry_names_an_item_that_is_not_of_this_batch(alices, alice):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    failed = bare_item(batch, state=ItemState.FAILED)
    elsewhere = bare_item(bare_batch(alice), state=ItemState.FAILED)

    response = alices.post(
        at(batch, "retry"), {"items": [str(failed.uid), str(elsewhere.uid)]}, format="json"
    )

    assert response.status_code == 422
    assert [wrong["pointer"] for wrong in response.json()["errors"]] == ["/items/1"]


def test_retry_with_settings_that_are_wrong_says_which(alices, alice):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    bare_item(batch, state=ItemState.FAILED)

    response = alices.post(at(batch, "retry"), {"settings": {"strength": 9}}, format="json")

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/settings/strength"


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("start", BatchState.RUNNING),
        ("approve", BatchState.READY),
        ("pause", BatchState.FINISHED),
        ("resume", BatchState.RUNNING),
        ("cancel", BatchState.FINISHED),
        ("retry", BatchState.READY),
    ],
)
def test_a_verb_that_the_state_forbids_is_a_conflict(alices, alice, verb, state):
    batch = bare_batch(alice, state=state)

    response = alices.post(at(batch, verb))

    assert (response.status_code, response.json()["code"]) == (409, "state_conflict")
    assert Batch.objects.get().state == state


@pytest.mark.parametrize("verb", ["start", "approve", "pause", "resume", "cancel", "retry"])
def test_a_verb_refuses_what_it_does_not_know(alices, alice, verb):
    batch = bare_batch(alice)

    response = alices.post(at(batch, verb), {"deliver": []}, format="json")

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/deliver"
    assert Batch.objects.get().state == BatchState.READY


def test_a_start_that_is_sent_twice_with_one_key_is_answered_once(alices, alice, ring):
    batch = make_batch(alice, 1)

    first = ring(alices, at(batch, "start"), HTTP_IDEMPOTENCY_KEY="go")
    again = ring(alices, at(batch, "start"), HTTP_IDEMPOTENCY_KEY="go")
    without = ring(alices, at(batch, "start"))

    assert (again.status_code, again.content) == (200, first.content)
    assert without.status_code == 409


def test_start_holds_no_more_than_there_is(alices, alice):
    batch = make_batch(alice, 1)
    available = ledger.balance(alice).available
    ledger.adjust(alice, 1 - available, actor=alice, note="test", key="test")

    response = alices.post(at(batch, "start"))

    assert (response.status_code, response.json()["required"]) == (402, 2)
    assert alices.get(at(batch)).json()["status"] == "ready"


# --- Reading --------------------------------------------------------------------------


def one_item_in_each_state(batch):
    for position, state in enumerate(ItemState):
        bare_item(batch, state=state, position=position)


def test_inner_states_have_outer_words_and_the_counts_add_up(alices, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    one_item_in_each_state(batch)

    counts = alices.get(at(batch)).json()["counts"]
    states = [item["state"] for item in alices.get(at(batch, "items")).json()["results"]]

    assert states == [
        *("waiting", "waiting", "fetching", "waiting", "processing"),
        *("done", "failed", "cancelled"),
    ]
    assert counts == {
        "waiting": 4,
        "processing": 1,
        "done": 1,
        "needs_review": 0,
        "failed": 1,
        "cancelled": 1,
    }
    assert set(ITEM_WORDS) == set(ItemState)


@pytest.mark.parametrize(
    ("words", "positions"),
    [
        ("waiting", [0, 1, 3]),
        ("fetching", [2]),
        ("processing,done", [4, 5]),
        ("failed, cancelled", [6, 7]),
        ("needs_review", [8]),
        ("needs_review,failed", [6, 8]),
    ],
)
def test_items_are_chosen_by_the_words_of_the_api(alices, alice, words, positions):
    batch = bare_batch(alice)
    one_item_in_each_state(batch)
    bare_item(batch, state=ItemState.DONE, position=8, review=["halo"])
    if "done" in words:
        positions = [*positions, 8]

    items = alices.get(at(batch, "items"), {"state": words}).json()["results"]

    assert [item["position"] for item in items] == positions


def test_a_word_that_is_no_state_is_refused(alices, alice):
    response = alices.get(at(bare_batch(alice), "items"), {"state": "queued"})

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/state"


def test_items_come_in_their_order_page_by_page(alices, alice):
    batch = bare_batch(alice)
    for position in (2, 0, 4, 1, 3):
        bare_item(batch, position=position)

    first = alices.get(at(batch, "items"), {"page_size": 2}).json()
    second = alices.get(first["next"]).json()
    third = alices.get(second["next"]).json()
    back = alices.get(third["previous"]).json()

    pages = [[item["position"] for item in page["results"]] for page in (first, second, third)]
    assert pages == [[0, 1], [2, 3], [4]]
    assert (first["previous"], third["next"]) == (None, None)
    assert back["results"] == second["results"]


def test_a_page_holds_five_hundred_at_most(alices, alice):
    batch = bare_batch(alice)
    Item.objects.bulk_create(Item(batch=batch, position=n, name=f"{n}") for n in range(501))

    page = alices.get(at(batch, "items"), {"page_size": 1000}).json()

    assert len(page["results"]) == 500
    assert page["next"]


@pytest.mark.parametrize("path", ["", "/items"])
def test_reading_costs_as_many_queries_for_many_items_as_for_few(
    alices, alice, path, django_assert_num_queries
):
    few, many = bare_batch(alice), bare_batch(alice)
    for batch, count in ((few, 5), (many, 500)):
        Item.objects.bulk_create(
            Item(batch=batch, position=n, name=f"{n}", state=ItemState.DONE) for n in range(count)
        )
    alices.get("/api/v1/me")  # the first use of a key is written down
    queries = 4  # the key, the batch; its newest change and its counts, or its items and results

    for batch in (few, many):
        with django_assert_num_queries(queries):
            response = alices.get(at(batch) + path, {"page_size": 500})
        assert response.status_code == 200


def test_the_list_costs_as_many_queries_for_many_batches_as_for_few(
    alices, alice, django_assert_num_queries
):
    for _number in range(20):
        bare_item(bare_batch(alice))
    alices.get("/api/v1/me")

    for size in (2, 20):
        with django_assert_num_queries(3):
            page = alices.get(BATCHES, {"page_size": size}).json()
        assert len(page["results"]) == size


def test_the_list_is_ones_own_newest_first(alices, alice, bob):
    old, new = bare_batch(alice), bare_batch(alice)
    bare_batch(bob)

    listed = alices.get(BATCHES).json()

    assert [batch["id"] for batch in listed["results"]] == [str(new.uid), str(old.uid)]
    assert listed["results"][0] == alices.get(at(new)).json()


def test_the_list_leaves_single_images_of_the_pages_out(alices, alice):
    single = bare_batch(alice, name="One mug", single=True)
    bare_batch(alice, name="Mugs")

    assert [one["name"] for one in alices.get("/api/v1/batches").json()["results"]] == ["Mugs"]
    assert alices.get(f"/api/v1/batches/{single.uid}").status_code == 200


def test_the_list_can_be_narrowed(alices, alice):
    long_ago = timezone.now() - timedelta(days=9)
    old = bare_batch(alice, created_at=long_ago, state=BatchState.FINISHED)
    other = Batch.objects.create(owner=alice, tool="upscale", state=BatchState.READY)
    running = bare_batch(alice, state=BatchState.RUNNING)

    def found(**query):
        return [batch["id"] for batch in alices.get(BATCHES, query).json()["results"]]

    assert found(status="running") == [str(running.uid)]
    assert found(status="finished,ready") == [str(other.uid), str(old.uid)]
    assert found(tool="upscale") == [str(other.uid)]
    assert found(created_after=(long_ago + timedelta(seconds=1)).isoformat()) == [
        str(running.uid),
        str(other.uid),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("status", "done"), ("created_after", "yesterday"), ("tool", "a\0b")],
)
def test_a_filter_that_makes_no_sense_is_refused(alices, name, value):
    response = alices.get(BATCHES, {name: value})

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert response.json()["errors"][0]["pointer"] == f"/{name}"


@pytest.mark.parametrize("cursor", ["nonsense", "cD1ub25zZW5zZQ==", "cD0lMDA="])
def test_a_cursor_that_nobody_gave_out_leads_nowhere(alices, alice, cursor):
    batch = bare_batch(alice)

    for path in (BATCHES, at(batch, "items")):
        response = alices.get(path, {"cursor": cursor})
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


# --- ETag -----------------------------------------------------------------------------


def test_a_batch_that_stands_still_is_not_sent_again(alices, alice):
    batch = bare_batch(alice)
    seen = alices.get(at(batch))

    same = alices.get(at(batch), HTTP_IF_NONE_MATCH=seen["ETag"])
    anything = alices.get(at(batch), HTTP_IF_NONE_MATCH="*")
    strong = alices.get(at(batch), HTTP_IF_NONE_MATCH=f'"x", {seen["ETag"][2:]}')

    for response in (same, anything, strong):
        assert (response.status_code, response.content) == (304, b"")
        assert response["ETag"] == seen["ETag"]


def test_a_batch_that_moved_is_sent_again(alices, alice):
    batch = bare_batch(alice)
    seen = alices.get(at(batch))
    bare_item(batch)

    response = alices.get(at(batch), HTTP_IF_NONE_MATCH=seen["ETag"])

    assert response.status_code == 200
    assert response["ETag"] != seen["ETag"]


def test_time_that_passes_is_no_news(alices, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    begun = timezone.now() - timedelta(minutes=5)
    for position in range(20):
        state = ItemState.DONE if position < 10 else ItemState.FETCHED
        bare_item(batch, state=state, position=position, started_at=begun, finished_at=begun)
    seen = alices.get(at(batch))
    Item.objects.filter(state=ItemState.DONE).update(started_at=begun - timedelta(hours=1))

    response = alices.get(at(batch), HTTP_IF_NONE_MATCH=seen["ETag"])

    assert seen.json()["eta_seconds"]
    assert response.status_code == 304


# --- Staying with oneself -------------------------------------------------------------


def test_a_signed_in_browser_may_do_the_same_with_its_csrf_token(alice):
    give(alice, 10)
    browser = clients.with_session(alice)
    batch = make_batch(alice, 1)

    without = browser.post(at(batch, "start"))
    browser.get("/accounts/login/")
    browser.cookies["csrftoken"] = "a" * 32
    with_token = browser.post(at(batch, "start"), HTTP_X_CSRFTOKEN="a" * 32)

    assert (without.status_code, without.json()["code"]) == (403, "permission_denied")
    assert with_token.status_code == 200
