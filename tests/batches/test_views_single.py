"""Single mode as a browser without JavaScript sees it, and what its script and htmx ask for."""

import re
import uuid
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import User
from batches import dispatch, drafts, hosts, lifecycle, storage
from batches.models import Batch, Item, Original
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import bare_batch, bare_item, give, make_batch, make_original, picture
from tools import registry
from tools.engines import weights

NEW = "/tools/fake/"
SINGLE = "/tools/fake/single/"
HTMX = {"HX-Request": "true"}

pytestmark = pytest.mark.usefixtures("fake_tool")


@pytest.fixture(autouse=True)
def _an_engine_is_there(valkey) -> None:
    hosts.say(valkey, queue="cpu", worker="a:1", about={"models": ["fake", "fake-text"]})


@pytest.fixture
def browser(client, alice) -> Client:
    """Alice's, signed in."""
    client.force_login(alice)
    return client


@pytest.fixture
def work(run_jobs) -> Callable[[], int]:
    """Do what the views have rung for: their commits, and so their rings, never come here."""

    def drain() -> int:
        dispatch.forget_rings(Item.objects.all())
        return run_jobs()

    return drain


@pytest.fixture
def run(browser, alice) -> Callable[..., Item]:
    """Send the form with an upload, and give the new image back."""

    def send(number: int = 0, *, tool: str = "fake", **settings: str) -> Item:
        upload = make_original(alice, number, name=f"mug-{number}.png").uid
        answer = browser.post(f"/tools/{tool}/single/", {"upload": upload, **settings})
        assert answer.status_code == 302, answer.content.decode()
        return Item.objects.get(uid=answer.url.rstrip("/").rpartition("/")[2])

    return send


def file(data: bytes, name: str = "mug.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data)


def page_of(item: Item) -> str:
    return reverse("batches:single_image", args=[item.batch.tool, item.uid])


def address(verb: str, item: Item) -> str:
    return reverse(f"batches:single_{verb}", args=[item.batch.tool, item.uid])


def poll_of(page: str) -> str | None:
    """What the page asks next, if it does."""
    found = re.search(r'id="stage" hx-get="([^"]+)"', page)
    return found[1] if found else None


def leave(user: User, amount: int) -> None:
    """Take all credits but so many."""
    ledger.adjust(
        user, amount - ledger.balance(user).available, actor=user, note="test", key="leave"
    )


def remembered(page: str) -> list[str]:
    """The images of the history, in order."""
    return re.findall(r'id="past-([^"]+)"', page)


# --- An image in -----------------------------------------------------------------------


def test_a_file_becomes_a_result_without_any_script(browser, work):
    sent = browser.post(SINGLE, {"file": file(picture(1)), "style": "grey"}, follow=True)
    waiting = sent.content.decode()
    work()
    done = browser.get(sent.redirect_chain[-1][0]).content.decode()

    item = Item.objects.get()
    assert "Waiting for a free engine" in waiting
    assert "Refresh" in waiting
    assert item.batch.single
    assert item.batch.settings["style"] == "grey"
    assert f'href="{reverse("batches:result", args=[item.uid])}?download=1"' in done
    assert "Used for this result" in done
    assert poll_of(done) is None


def test_an_address_waits_to_be_fetched(browser, server):
    url = server.url("/png")

    browser.post(SINGLE, {"url": url})
    waiting = Item.objects.get()

    assert waiting.source_url == url
    assert waiting.state == ItemState.QUEUED
    assert "Waiting for its turn" in browser.get(page_of(waiting)).content.decode()


def test_a_file_wins_over_an_address(browser):
    browser.post(SINGLE, {"file": file(picture(1)), "url": "https://example.com/a.png"})

    assert Item.objects.get().source_url == ""


def test_nothing_is_asked_for(browser):
    answer = browser.post(SINGLE, {"url": " "})

    assert answer.status_code == 422
    assert "Choose an image, or paste the address of one." in answer.content.decode()
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "The file is empty."),
        (b"just words", "This is a text file."),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * (20 * 2**20), "the limit is 20 MB"),
    ],
    ids=["empty", "text", "large"],
)
def test_a_file_that_cannot_be_used_says_why(browser, data, told):
    answer = browser.post(SINGLE, {"file": file(data), "style": "grey"})

    page = answer.content.decode()
    assert answer.status_code == 422
    assert told in page
    assert re.search(r'value="grey"\s+selected', page)
    assert not Batch.objects.exists()


def test_an_address_that_may_not_be_used_is_marked_in_its_field(browser):
    page = browser.post(SINGLE, {"url": "http://127.0.0.1/mug.png"}).content.decode()

    assert 'aria-invalid="true"' in page
    assert "private network" in page
    assert 'value="http://127.0.0.1/mug.png"' in page


def test_somebody_elses_upload_is_not_found(browser, bob):
    answer = browser.post(SINGLE, {"upload": make_original(bob).uid})

    assert answer.status_code == 422
    assert not Batch.objects.exists()


def test_a_wrong_setting_is_marked_and_the_image_stays(browser, alice):
    upload = make_original(alice, name="mug.png")

    answer = browser.post(SINGLE, {"upload": upload.uid, "strength": "7"})

    page = answer.content.decode()
    assert answer.status_code == 422
    assert "A setting needs another value." in page
    assert f'name="upload" value="{upload.uid}"' in page
    assert 'data-name="mug.png"' in page


def test_too_few_credits_start_nothing_and_keep_the_image(browser, alice):
    leave(alice, 1)

    answer = browser.post(SINGLE, {"file": file(picture(1))})

    page = answer.content.decode()
    assert answer.status_code == 402
    assert "Not enough credits: 2 needed, 1 there." in page
    assert f'name="upload" value="{Original.objects.get().uid}"' in page
    assert not Batch.objects.exists()
    assert ledger.balance(alice).available == 1


def test_a_model_that_is_not_here_is_named(browser, alice, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_folder", tmp_path)
    original = make_original(alice)

    page = browser.get("/tools/remove-background/single/").content.decode()
    answer = browser.post("/tools/remove-background/single/", {"upload": original.uid})

    assert "manage.py fetchweights u2net" in page
    assert 'data-works="no"' in page
    assert answer.status_code == 422
    assert "manage.py fetchweights u2net" in answer.content.decode()


def test_a_tool_that_does_not_exist_is_not_found(browser):
    assert browser.get("/tools/nothing/single/").status_code == 404


# --- Signed out -------------------------------------------------------------------------


def test_the_page_opens_signed_out(client, db):
    page = client.get(SINGLE).content.decode()

    assert "Sign in to start" in page
    assert "data-upload-url" not in page


def test_starting_signed_out_keeps_what_was_typed(client, alice):
    typed = {"url": "https://example.com/mug.png", "style": "grey", "strength": "0.5"}

    answer = client.post(SINGLE, {**typed, "file": file(picture(1))}, follow=True)
    asked = urlsplit(answer.redirect_chain[0][0])
    client.force_login(alice)
    back = client.get(parse_qs(asked.query)["next"][0]).content.decode()

    assert asked.path == reverse("accounts:login")
    assert "has to be chosen again" in answer.content.decode()
    assert not Original.objects.exists()
    assert 'value="https://example.com/mug.png"' in back
    assert re.search(r'value="grey"\s+selected', back)
    assert 'value="0.5"' in back


@pytest.mark.parametrize("verb", ["image", "poll", "cancel", "delete"])
def test_images_are_ones_own(browser, client, bob, verb):
    theirs = lifecycle.start(make_batch(bob, 1, single=True)).items.get()
    method = browser.get if verb in {"image", "poll"} else browser.post

    assert method(address(verb, theirs)).status_code == 404
    assert Item.objects.get().state == ItemState.FETCHED


def test_an_image_of_a_batch_has_no_page_here(browser, alice):
    item = lifecycle.start(make_batch(alice, 1)).items.get()

    assert browser.get(page_of(item)).status_code == 404


# --- While it runs ----------------------------------------------------------------------


def test_a_poll_answers_only_what_is_new(browser, run, work):
    item = run()
    asked = poll_of(browser.get(page_of(item)).content.decode())
    quiet = browser.get(asked, headers=HTMX)
    work()
    news = browser.get(asked, headers=HTMX).content.decode()

    assert quiet.status_code == 204
    assert "Done" in re.search(r"<title>(.*)</title>", news)[1]
    assert poll_of(news) is None
    assert 'id="steps"' in news
    assert "Download" in news
    assert remembered(news) == [str(item.uid)]
    assert 'id="balance"' in news


def test_a_poll_that_says_nothing_costs_three_queries(browser, run, django_assert_num_queries):
    asked = poll_of(browser.get(page_of(run())).content.decode())

    with django_assert_num_queries(3):  # the session, the user, the image
        browser.get(asked, headers=HTMX)


def test_a_poll_without_htmx_is_the_page(browser, run):
    item = run()

    assert browser.get(address("poll", item)).url == page_of(item)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (ItemState.QUEUED, "Waiting for its turn"),
        (ItemState.FETCHING, "Fetching the image"),
        (ItemState.FETCHED, "Waiting for a free engine"),
        (ItemState.RUNNING, "Processing"),
    ],
)
def test_it_says_how_far_it_is(browser, alice, state, words):
    item = bare_item(bare_batch(alice, single=True, state=BatchState.RUNNING), state=state)
    Item.objects.update(settings=registry.get("fake").defaults())

    page = browser.get(page_of(item)).content.decode()

    assert f"{words} · Fake</title>" in page
    assert poll_of(page)


def test_it_can_be_cancelled_and_costs_nothing(browser, alice, run):
    before = ledger.balance(alice).available
    item = run()

    answer = browser.post(address("cancel", item), headers=HTMX).content.decode()

    assert "Cancelled." in answer
    assert "No credits used." in answer
    assert ledger.balance(alice).available == before
    assert browser.post(address("cancel", item)).url == page_of(item)


# --- What came of it --------------------------------------------------------------------


def test_a_failure_says_why_and_what_to_do(browser, alice, run, work):
    before = ledger.balance(alice).available
    item = run(trouble="permanent")
    work()

    page = browser.get(page_of(item)).content.decode()

    assert "No subject was found." in page
    assert "No credits used." in page
    assert "Run again" in page
    assert ledger.balance(alice).available == before


def test_a_text_can_be_read_and_copied(browser, run, work):
    item = run(tool="fake-text")
    work()

    page = browser.get(page_of(item)).content.decode()

    assert "64 × 48 pixels" in page
    assert 'data-copy="64 × 48 pixels"' in page


def test_run_again_takes_the_same_original_with_other_settings(browser, run, work):
    first = run(style="negative")
    work()

    answer = browser.post(SINGLE, {"again": first.uid, "style": "grey"})
    work()

    second = Item.objects.exclude(pk=first.pk).get()
    assert answer.url == page_of(second)
    assert second.original == first.original
    assert second.name == first.name
    assert second.batch != first.batch
    assert second.settings["style"] == "grey"
    first.refresh_from_db()
    assert first.state == second.state == ItemState.DONE


def test_run_again_tries_an_address_that_failed_once_more(browser, alice):
    failed = bare_item(
        bare_batch(alice, single=True, state=BatchState.FINISHED), state=ItemState.FAILED
    )
    failed.source_url = "https://example.com/mug.png"
    failed.settings = registry.get("fake").defaults()
    failed.save()

    page = browser.get(page_of(failed)).content.decode()
    browser.post(SINGLE, {"again": failed.uid})

    assert f'name="url" value="{failed.source_url}"' in page
    assert Item.objects.exclude(pk=failed.pk).get().source_url == failed.source_url


def test_run_again_of_somebody_elses_image_finds_nothing(browser, bob):
    theirs = lifecycle.start(make_batch(bob, 1, single=True)).items.get()

    assert browser.post(SINGLE, {"again": theirs.uid}).status_code == 422
    assert Batch.objects.count() == 1


def test_an_image_stays_on_the_stage_while_its_new_settings_are_mended(browser, run, work):
    item = run()
    work()

    answer = browser.post(SINGLE, {"again": item.uid, "strength": "7"})

    page = answer.content.decode()
    assert answer.status_code == 422
    assert f'name="again" value="{item.uid}"' in page
    assert 'value="7"' in page


def test_a_single_image_is_the_batchs_to_the_last_byte(browser, alice, run, work):
    options = {"style": "grey", "format": "webp", "quality": "70"}
    batch = lifecycle.start(make_batch(alice, 1, settings=options))
    item = run(0, anew="1", **options)
    work()

    results = [one.items.get().results.get() for one in (batch, item.batch)]
    prices = {one.items.get().price for one in (batch, item.batch)}
    assert len({storage.read(storage.RESULTS, result.key) for result in results}) == 1
    assert prices == {2}


# --- The history ------------------------------------------------------------------------


def test_the_history_is_empty_at_first(browser):
    assert "are kept in this place" in browser.get(SINGLE).content.decode()


def test_the_history_holds_the_last_twelve_of_this_tool_newest_first(browser, alice, run):
    give(alice, 100)
    run(50, tool="fake-text")
    items = [run(number) for number in range(13)]

    found = remembered(browser.get(SINGLE).content.decode())

    assert found == [str(item.uid) for item in items[:0:-1]]


def test_the_page_asks_as_little_for_many_images_as_for_one(
    browser, alice, run, work, django_assert_num_queries, django_assert_max_num_queries
):
    give(alice, 100)
    item = run()
    work()
    browser.get(page_of(item))
    with django_assert_max_num_queries(9) as log:
        browser.get(page_of(item))
    few = len(log)

    for number in range(1, 8):
        run(number)
    work()

    with django_assert_num_queries(few):
        browser.get(page_of(item))


def test_an_image_can_be_taken_out_of_the_history_with_its_files(
    browser, run, work, media, django_capture_on_commit_callbacks
):
    kept, gone = run(1), run(2)
    work()
    path = media / "results" / gone.results.get().key
    assert path.exists()

    with django_capture_on_commit_callbacks(execute=True):
        answer = browser.post(address("delete", gone), {"here": kept.uid})

    assert answer.url == page_of(kept)
    assert list(Item.objects.all()) == [kept]
    assert not path.exists()
    assert list(Original.objects.all()) == [kept.original]


def test_deleting_with_htmx_answers_the_rest_of_the_history(browser, run, work):
    kept, gone = run(1), run(2)
    work()

    answer = browser.post(address("delete", gone), {"here": kept.uid}, headers=HTMX)

    assert remembered(answer.content.decode()) == [str(kept.uid)]


def test_deleting_the_image_that_is_shown_leads_to_the_empty_stage(browser, run, work):
    item = run()
    work()

    answer = browser.post(address("delete", item), {"here": item.uid}, headers=HTMX)

    assert answer.headers["HX-Redirect"] == SINGLE


def test_an_image_that_runs_is_not_deleted(browser, run):
    item = run()

    browser.post(address("delete", item))

    assert Item.objects.filter(pk=item.pk).exists()
    assert "Cancel it first" in browser.get(SINGLE).content.decode()


# --- From one to many -------------------------------------------------------------------


def test_settings_go_to_the_batch_tab_and_leave_its_images_alone(browser, alice):
    waiting = make_original(alice)
    drafts.add(alice, "fake", [waiting])
    drafts.save_fields(alice, "fake", {"batch_name": ["Mugs"], "style": ["negative"]})

    answer = browser.post(f"{SINGLE}for-batch/", {"style": "grey", "strength": "0.5"})

    found = drafts.contents(alice, "fake")
    assert answer.url == NEW
    assert found.originals == [waiting]
    assert found.fields["batch_name"] == ["Mugs"]
    assert found.fields["style"] == ["grey"]
    assert found.fields["strength"] == ["0.5"]


def test_an_address_that_is_no_id_is_not_found(browser):
    assert browser.get(f"{SINGLE}{uuid.uuid4()}/").status_code == 404
    assert browser.post(SINGLE, {"upload": "nonsense"}).status_code == 422
