"""The list of batches: what it shows, how it is narrowed, renamed in and deleted from."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from batches import lifecycle
from batches.models import Batch, Result
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import bare_batch, bare_item, make_batch

pytestmark = pytest.mark.usefixtures("fake_tool")

LIST = reverse("batches:index")
PULSE = reverse("batches:pulse")
HTMX = {"headers": {"HX-Request": "true"}}


@pytest.fixture
def browser(client, alice):
    client.force_login(alice)
    return client


def ended(owner, name: str, *states: str, state: str = BatchState.FINISHED, **fields) -> Batch:
    """A batch with items in these states."""
    batch = bare_batch(owner, name=name, state=state, **fields)
    for position, item_state in enumerate(states):
        bare_item(batch, state=item_state, position=position)
    return batch


def listed(answer) -> list[str]:
    return [str(row["batch"]) for row in answer.context["rows"]]


def count_of(answer) -> dict[str, int]:
    return {group["key"]: group["n"] for group in answer.context["groups"]}


# --- What is there --------------------------------------------------------------------


def test_it_holds_ones_own_batches_only(browser, alice, bob):
    ended(alice, "Mine", "done")
    bare_batch(bob, name="Theirs")

    answer = browser.get(LIST)

    assert listed(answer) == ["Mine"]
    assert "1 of 1 done" in answer.content.decode()


def test_it_leaves_single_images_out(browser, alice):
    bare_batch(alice, name="One mug", single=True)

    page = browser.get(LIST).content.decode()

    assert "One mug" not in page
    assert "No batches yet" in page


def test_an_empty_list_says_what_to_do(browser):
    page = browser.get(LIST).content.decode()

    assert "No batches yet" in page
    assert 'role="search"' not in page


def test_it_shows_state_credits_and_pictures(browser, alice):
    batch = ended(alice, "Mugs", "done", "done", "failed")
    done = batch.items.filter(state=ItemState.DONE)
    done.update(price=4)
    pictured, text = done.order_by("position")
    Result.objects.create(
        item=pictured, key="a.png", thumbnail_key="a.webp", format="png", bytes=1, sha256="0" * 64
    )
    Result.objects.create(item=text, text="A mug.", format="txt", bytes=6, sha256="0" * 64)

    page = browser.get(LIST).content.decode()

    assert "Finished with problems" in page
    assert "8 credits" in page
    assert re.findall(r'<img class="alpha[^>]* src="([^"]+)"', page) == [
        reverse("batches:thumbnail", args=[pictured.uid])
    ]


def test_it_shows_the_first_four_pictures_of_each_batch(browser, alice):
    batches = [ended(alice, name, *["done"] * 6) for name in ("Mugs", "Plates")]
    for batch in batches:
        for item in batch.items.all():
            Result.objects.create(
                item=item, key="a", thumbnail_key="b", format="png", bytes=1, sha256="0" * 64
            )

    rows = browser.get(LIST).context["rows"]

    for row in rows:
        first = row["batch"].items.order_by("position").values_list("uid", flat=True)[:4]
        assert row["pictures"] == list(first)


def test_a_batch_whose_tool_is_gone_is_listed_all_the_same(browser, alice):
    batch = bare_batch(alice, name="Old", state=BatchState.FINISHED)
    Batch.objects.filter(pk=batch.pk).update(tool="gone")

    page = browser.get(LIST).content.decode()

    assert "Old" in page
    assert "?from=" not in page


@pytest.mark.parametrize("query", ["", "?q=batch", "?state=problems", "?tool=fake&sort=name"])
def test_it_asks_as_little_for_many_batches_as_for_few(browser, alice, query):
    ledger.balance(alice)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            answer = browser.get(LIST + query)
        assert answer.context["rows"]
        return len(asked)

    for number in range(5):
        ended(alice, f"Batch {number}", "done", "failed")
    few = queries()
    for number in range(5, 25):
        ended(alice, f"Batch {number}", "done", "failed")

    assert queries() == few <= 8


# --- What one looks for ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("mug", ["Mugs"]),
        ("MUGS", ["Mugs"]),
        ("fake", ["Plates", "Mugs"]),
        ("0.png", ["Plates"]),
        ("teapot", []),
        (" ", ["Plates", "Mugs"]),
        ("\0", ["Plates", "Mugs"]),
    ],
)
def test_words_are_looked_for_in_names_tools_and_images(browser, alice, words, found):
    ended(alice, "Mugs")
    ended(alice, "Plates", "done")

    assert listed(browser.get(LIST, {"q": words})) == found


def test_somebody_elses_images_are_not_found(browser, alice, bob):
    ended(bob, "Theirs", "done")
    ended(alice, "Mine")

    assert listed(browser.get(LIST, {"q": "0.png"})) == []


GROUPS = {
    "running": {"running", "cancelling"},
    "waiting": {"ready", "sampled", "paused"},
    "finished": {"finished"},
    "problems": {"finished with problems"},
    "cancelled": {"cancelled"},
}


def test_each_batch_is_in_one_group_and_the_counts_add_up(browser, alice):
    for state in sorted(set(BatchState.values) - {"draft", "importing"}):
        ended(alice, state, "done", state=state)
    ended(alice, "finished with problems", "done", "failed")

    everything = browser.get(LIST)

    for group, names in GROUPS.items():
        assert set(listed(browser.get(LIST, {"state": group}))) == names
    assert count_of(everything) == {"": 8} | {group: len(n) for group, n in GROUPS.items()}
    assert len(listed(everything)) == 8


def test_a_failure_while_it_runs_is_no_problem_yet(browser, alice):
    ended(alice, "Mugs", "failed", "running", state=BatchState.RUNNING)

    assert listed(browser.get(LIST, {"state": "problems"})) == []


def test_groups_count_what_the_words_and_the_tool_leave(browser, alice):
    ended(alice, "Mugs", "done")
    text = ended(alice, "Mug texts", "done")
    Batch.objects.filter(pk=text.pk).update(tool="fake-text")
    ended(alice, "Plates", "done", state=BatchState.CANCELLED)

    answer = browser.get(LIST, {"q": "mug", "tool": "fake"})

    assert listed(answer) == ["Mugs"]
    assert count_of(answer)[""] == 1
    assert answer.context["tools"] == [("fake", "Fake", 1), ("fake-text", "Fake text", 1)]


@pytest.mark.parametrize("query", ["state=nonsense", "tool=", "sort=nonsense", "page=x", "page=99"])
def test_nonsense_in_the_address_shows_the_list(browser, alice, query):
    ended(alice, "Mugs")

    assert listed(browser.get(f"{LIST}?{query}")) == ["Mugs"]


@pytest.mark.parametrize(
    ("order", "names"),
    [("", ["b", "A", "c"]), ("oldest", ["c", "A", "b"]), ("name", ["A", "b", "c"])],
)
def test_it_is_sorted(browser, alice, order, names):
    for name in ("c", "A", "b"):
        ended(alice, name)

    assert listed(browser.get(LIST, {"sort": order})) == names


def test_pages_keep_what_was_looked_for(browser, alice):
    for number in range(60):
        bare_batch(alice, name=f"Mugs {number}", state=BatchState.FINISHED)

    answer = browser.get(LIST, {"q": "mugs", "sort": "oldest", "page": 2})

    assert listed(answer)[0] == "Mugs 25"
    page = answer.content.decode()
    assert 'href="/batches/?q=mugs&amp;sort=oldest&amp;page=3"' in page
    assert 'href="/batches/?q=mugs&amp;sort=oldest"' in page.split('aria-label="Pages"')[1]


def test_words_that_nothing_matches_are_named(browser, alice):
    ended(alice, "Mugs")

    page = browser.get(LIST, {"q": "<b>"}).content.decode()

    assert "Nothing matches “&lt;b&gt;”" in page
    assert "No batches yet" not in page


# --- While one looks ------------------------------------------------------------------


def beat(page: str) -> str:
    """Where the page asks how far it is, or nothing when it doesn't."""
    found = re.search(r'id="beat"[^>]*? hx-get="([^"]+)"', page)
    return found[1].replace("&amp;", "&") if found else ""


def test_a_list_of_what_has_ended_asks_for_nothing(browser, alice):
    ended(alice, "Mugs", "done")
    ended(alice, "Ready", "pending", state=BatchState.READY)

    assert not beat(browser.get(LIST).content.decode())


def test_one_question_is_for_all_live_batches_and_ends_with_the_last(browser, alice):
    ended(alice, "Ended", "done")
    running = ended(alice, "Running", "done", "queued", state=BatchState.RUNNING)
    paused = ended(alice, "Paused", "queued", state=BatchState.PAUSED)

    asked = beat(browser.get(LIST, {"q": "a"}).content.decode())
    first = browser.get(asked, **HTMX)
    Batch.objects.update(state=BatchState.FINISHED)
    last = browser.get(asked, **HTMX)

    assert asked.count("live=") == 2
    assert {row["batch"] for row in first.context["rows"]} == {running, paused}
    assert beat(first.content.decode())
    assert "Ended" not in first.content.decode()
    assert last.content.decode().count("Finished") == 2
    assert not beat(last.content.decode())


def test_what_is_paused_is_asked_about_less_often(browser, alice):
    paused = ended(alice, "Paused", "queued", state=BatchState.PAUSED)

    slow = browser.get(LIST).content.decode()
    Batch.objects.filter(pk=paused.pk).update(state=BatchState.RUNNING)
    quick = browser.get(LIST).content.decode()

    assert 'hx-trigger="every 10s"' in slow
    assert 'hx-trigger="every 2s"' in quick


def test_a_pulse_takes_a_batch_away_that_was_deleted(browser, alice):
    batch = ended(alice, "Mugs", "done", state=BatchState.RUNNING)
    asked = beat(browser.get(LIST).content.decode())
    batch.delete()

    page = browser.get(asked, **HTMX).content.decode()

    assert f'id="batch-{batch.uid}" hx-swap-oob="delete"' in page


def test_a_pulse_shows_nothing_of_others(browser, bob):
    theirs = ended(bob, "Theirs", "done", state=BatchState.RUNNING)

    page = browser.get(PULSE, {"live": [str(theirs.uid), "nonsense"]}, **HTMX).content.decode()

    assert "Theirs" not in page


def test_a_pulse_asks_as_little_for_many_batches_as_for_few(browser, alice):
    ledger.balance(alice)
    for number in range(25):
        ended(alice, f"Batch {number}", "done", "queued", state=BatchState.RUNNING)
    uids = [str(uid) for uid in Batch.objects.values_list("uid", flat=True)]

    def queries(count: int) -> int:
        with CaptureQueriesContext(connection) as asked:
            answer = browser.get(PULSE, {"live": uids[:count]}, **HTMX)
        assert len(answer.context["rows"]) == count
        return len(asked)

    assert queries(5) == queries(25) <= 7


def test_a_pulse_without_htmx_leads_to_the_list(browser):
    assert browser.get(PULSE).url == LIST


# --- A new name -----------------------------------------------------------------------


def rename_of(batch: Batch, place: str = "page") -> str:
    return reverse("batches:rename", args=[batch.uid]) + f"?place={place}"


@pytest.mark.parametrize(("place", "shown"), [("page", "<h2"), ("list", "<a id=")])
def test_a_name_changes_where_it_stands(browser, alice, place, shown):
    batch = ended(alice, "Mugs", "done")

    form = browser.get(rename_of(batch, place), **HTMX).content.decode()
    after = browser.post(rename_of(batch, place), {"name": " Cups & co "}, **HTMX).content.decode()

    assert 'value="Mugs"' in form
    assert shown in after
    assert "Cups &amp; co" in after
    assert ("<title>1/1 · Cups &amp; co</title>" in after.replace("\n", "")) == (place == "page")
    batch.refresh_from_db()
    assert batch.name == "Cups & co"


def test_a_name_changes_without_javascript(browser, alice):
    batch = ended(alice, "Mugs")

    page = browser.get(rename_of(batch)).content.decode()
    to_page = browser.post(rename_of(batch), {"name": "Cups"})
    to_list = browser.post(rename_of(batch, "list"), {"name": "Pots"})

    assert "Rename “Mugs”" in page
    assert (to_page.url, to_list.url) == (batch.get_absolute_url(), LIST)
    batch.refresh_from_db()
    assert batch.name == "Pots"


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\0b"])
def test_a_name_that_is_none_is_refused_in_place(browser, alice, name):
    batch = ended(alice, "Mugs")

    in_place = browser.post(rename_of(batch), {"name": name}, **HTMX)
    alone = browser.post(rename_of(batch), {"name": name})

    assert (in_place.status_code, alone.status_code) == (200, 422)
    assert 'aria-invalid="true"' in in_place.content.decode()
    batch.refresh_from_db()
    assert batch.name == "Mugs"


def test_the_old_name_can_be_kept(browser, alice):
    batch = ended(alice, "Mugs")

    kept = browser.get(rename_of(batch) + "&keep=1", **HTMX).content.decode()

    assert "Mugs" in kept
    assert "<form" not in kept


@pytest.mark.parametrize("name", ["rename", "delete"])
def test_somebody_elses_batch_is_not_there(browser, bob, name):
    theirs = ended(bob, "Theirs", "done")
    address = reverse(f"batches:{name}", args=[theirs.uid])

    assert browser.get(address).status_code == 404
    assert browser.post(address, {"name": "Mine"}).status_code == 404
    theirs.refresh_from_db()
    assert theirs.name == "Theirs"


# --- Deleting -------------------------------------------------------------------------


def delete_of(batch: Batch) -> str:
    return reverse("batches:delete", args=[batch.uid])


def test_the_question_says_what_is_lost(browser, alice, rings_at_once, run_jobs, media):
    batch = lifecycle.start(make_batch(alice, 3))
    run_jobs()

    question = " ".join(browser.get(delete_of(batch)).content.decode().split())

    assert "3 images and 3 results will be deleted." in question
    assert "6 credits used stay used. It can't be undone." in question
    assert "Cancel and delete" not in question


def test_an_ended_batch_is_deleted_and_the_list_is_where_it_was(browser, alice):
    batch = ended(alice, "Mugs", "failed")

    answer = browser.post(delete_of(batch), {"place": "state=problems&page=2"})

    assert answer.url == f"{LIST}?state=problems&page=2"
    assert "“Mugs” was deleted." in browser.get(answer.url).content.decode()
    assert not Batch.objects.exists()


def test_a_running_batch_is_cancelled_first_and_its_credits_come_back(browser, alice):
    batch = lifecycle.start(make_batch(alice, 2))
    before = ledger.balance(alice)

    question = " ".join(browser.get(delete_of(batch), **HTMX).content.decode().split())
    browser.post(delete_of(batch), {"cancel": "1"})

    assert "It stops at once. 2 images will be deleted. 4 credits on hold come back." in question
    assert not Batch.objects.exists()
    assert ledger.balance(alice) == (before.available + 4, 0)


def test_a_batch_that_was_started_meanwhile_is_not_deleted(browser, alice):
    batch = lifecycle.start(make_batch(alice, 1))

    answer = browser.post(delete_of(batch), follow=True)

    assert "It has not ended yet. Cancel it first, then delete it." in answer.content.decode()
    assert Batch.objects.exists()


def test_a_batch_that_ended_meanwhile_is_deleted_all_the_same(browser, alice):
    batch = ended(alice, "Mugs", "done")

    browser.post(delete_of(batch), {"cancel": "1"})

    assert not Batch.objects.exists()


# --- The same settings again ----------------------------------------------------------


def page_from(browser, batch, tool: str = "fake"):
    return browser.get(reverse("batches:new", args=[tool]), {"from": str(batch.uid)})


def test_a_new_batch_takes_the_settings_of_another_over(browser, alice, fake_tool):
    settings = fake_tool.clean({"style": "grey", "copies": 3})
    batch = ended(alice, "Mugs", "done")
    Batch.objects.filter(pk=batch.pk).update(settings=settings)
    link = reverse("batches:new", args=["fake"]) + f"?from={batch.uid}"

    assert f'href="{link}"' in browser.get(LIST).content.decode()
    assert page_from(browser, batch).context["settings_form"] == settings


def test_settings_of_others_of_another_tool_or_of_nothing_are_not_taken_over(browser, alice, bob):
    theirs = ended(bob, "Theirs", "done")
    mine = ended(alice, "Mine", "done")
    Batch.objects.update(settings={"style": "grey"})

    assert "style" not in page_from(browser, theirs).context["settings_form"]
    assert "style" not in page_from(browser, mine, "fake-text").context["settings_form"]
    nonsense = browser.get(reverse("batches:new", args=["fake"]), {"from": "nonsense"})
    assert nonsense.status_code == 200
