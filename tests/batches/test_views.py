"""The pages about batches, as a browser without JavaScript sees them, and what htmx asks for."""

import io
import re
import uuid
import zipfile
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from accounts.models import User
from batches import dispatch, lifecycle, storage
from batches.models import Batch, Item, Original
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import bare_batch, bare_item, give, make_batch, make_original, picture

NEW = "/tools/fake/"
HTMX = {"HX-Request": "true"}

pytestmark = pytest.mark.usefixtures("fake_tool")


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
def finished(alice, work) -> Batch:
    """A batch of Alice's with one result."""
    batch = lifecycle.start(make_batch(alice, 1, name="Mugs"))
    work()
    batch.refresh_from_db()
    return batch


def file(name: str, data: bytes) -> io.BytesIO:
    part = io.BytesIO(data)
    part.name = name
    return part


def leave(user: User, amount: int) -> None:
    """Take all credits but so many."""
    ledger.adjust(
        user, amount - ledger.balance(user).available, actor=user, note="test", key="leave"
    )


def address(name: str, batch: Batch) -> str:
    return reverse(f"batches:{name}", args=[batch.uid])


def poll_address(page: str) -> str | None:
    """What the page asks next, if it does."""
    found = re.search(r'<div id="run" hx-get="([^"]+)"', page)
    return found[1].replace("&amp;", "&") if found else None


def cards(page: str) -> list[str]:
    return re.findall(r'<li id="item-([^"]+)"', page)


# --- Who sees what --------------------------------------------------------------------


def test_the_front_page_tells_strangers_what_this_is(client, db):
    page = client.get("/")

    assert page.status_code == 200
    assert b"Hundreds of photos" in page.content
    assert reverse("accounts:login").encode() in page.content


def test_the_front_page_takes_people_to_the_first_tool(browser):
    assert browser.get("/").url == NEW


def test_a_tool_opens_signed_out_and_asks_to_sign_in(client, db):
    page = client.get(NEW).content.decode()

    assert f'href="{reverse("accounts:login")}?next={NEW}"' in page
    assert 'id="start"' not in page


def test_starting_signed_out_leads_to_sign_in(client, db):
    answer = client.post(NEW, {"urls": "https://example.com/a.png"})

    assert answer.url == f"{reverse('accounts:login')}?next={NEW}"
    assert not Batch.objects.exists()


def test_a_tool_that_does_not_exist_is_not_found(browser):
    assert browser.get("/tools/nothing/").status_code == 404


READ = ["detail", "poll", "zip"]
VERBS = ["start", "approve", "pause", "resume", "cancel", "retry"]


@pytest.mark.parametrize("name", READ + VERBS)
def test_strangers_are_asked_to_sign_in(client, alice, name):
    batch = bare_batch(alice)

    answer = client.get(address(name, batch)) if name in READ else client.post(address(name, batch))

    assert answer.url.startswith(reverse("accounts:login"))


@pytest.mark.parametrize("name", READ + VERBS)
def test_somebody_elses_batch_does_not_exist(client, alice, bob, name):
    client.force_login(bob)
    batch = bare_batch(alice)

    answer = client.get(address(name, batch)) if name in READ else client.post(address(name, batch))

    assert answer.status_code == 404
    batch.refresh_from_db()
    assert batch.state == BatchState.READY


@pytest.mark.parametrize("name", VERBS)
def test_looking_changes_nothing(browser, alice, name):
    assert browser.get(address(name, bare_batch(alice))).status_code == 405


@pytest.mark.parametrize("name", ["original", "result", "thumbnail"])
def test_files_are_for_their_owner_alone(client, browser, bob, finished, name):
    item = finished.items.get()
    path = reverse(f"batches:{name}", args=[item.uid])

    mine = browser.get(path)
    content = b"".join(mine.streaming_content)
    client.force_login(bob)
    theirs = client.get(path)
    client.logout()

    assert content
    assert mine["Content-Type"].startswith("image/")
    assert mine["Cache-Control"].startswith("private")
    assert mine["X-Content-Type-Options"] == "nosniff"
    assert theirs.status_code == 404
    assert client.get(path).status_code == 302


def test_thumbnails_of_uploads_are_for_their_owner_alone(browser, alice, bob):
    path = reverse("batches:upload_thumbnail", args=[make_original(alice).uid])

    mine = browser.get(path)

    assert b"".join(mine.streaming_content).startswith(b"RIFF")
    browser.force_login(bob)
    assert browser.get(path).status_code == 404


# --- A new batch ----------------------------------------------------------------------


def test_the_whole_way_without_javascript(client, alice, work):
    give(alice, 10)

    signed_in = client.post(
        reverse("accounts:login"),
        {"username": alice.email, "password": "alice's password", "next": NEW},
    )
    form = client.get(signed_in.url)
    started = client.post(
        NEW,
        {"files": [file("mug.png", picture(1)), file("cup.png", picture(2))], "style": "grey"},
    )
    waiting = client.get(started.url).content.decode()
    work()
    done = client.get(started.url).content.decode()
    packed = client.get(f"{started.url}results.zip")

    assert 'enctype="multipart/form-data"' in form.content.decode()
    assert waiting.count("Waiting</p>") == 2
    assert '<noscript><p class="mt-4 text-sm"><a class="link" href="">Refresh' in waiting
    assert done.count("Done</p>") == 2
    with zipfile.ZipFile(io.BytesIO(b"".join(packed.streaming_content))) as archive:
        assert {"mug.png", "cup.png"} <= set(archive.namelist())
    assert Batch.objects.get().settings["style"] == "grey"


def test_good_files_run_and_bad_ones_say_why_at_no_cost(browser, alice):
    give(alice, 10)
    before = ledger.balance(alice).available

    answer = browser.post(
        NEW,
        {"files": [file("mug.png", picture()), file("notes.png", b"words"), file("no.png", b"")]},
    )
    page = browser.get(answer.url).content.decode()

    assert [item.state for item in Item.objects.order_by("position")] == [
        ItemState.FETCHED,
        ItemState.FAILED,
        ItemState.FAILED,
    ]
    assert ledger.balance(alice) == (before - 2, 2)
    assert "The file is empty." in page
    assert page.count("No credits used.") == 2


def test_bad_addresses_are_named_by_their_line(browser, alice):
    give(alice, 10)

    answer = browser.post(
        NEW, {"urls": "https://a.example.com/1.png\n\nftp://a.example/2.png\nhttp://10.0.0.1/3.png"}
    )
    page = browser.get(answer.url).content.decode()

    assert "Line 3: This address can&#x27;t be used" in page
    assert "Line 4: This address can&#x27;t be used" in page
    assert [item.state for item in Item.objects.order_by("position")] == [
        ItemState.QUEUED,
        ItemState.FAILED,
        ItemState.FAILED,
    ]


def test_many_problems_are_summed_up(browser, alice):
    give(alice, 10)
    bad = "\n".join(f"ftp://a.example/{n}" for n in range(9))

    answer = browser.post(NEW, {"urls": f"https://a.example.com/1.png\n{bad}"})
    page = browser.get(answer.url).content.decode()

    assert page.count("Line ") == 5
    assert "4 more images can&#x27;t be used." in page


def test_nothing_is_started_when_no_image_is_usable(browser):
    answer = browser.post(NEW, {"urls": "ftp://a.example/2.png", "files": [file("no.png", b"")]})
    page = answer.content.decode()

    assert answer.status_code == 422
    assert "None of these images can be used." in page
    assert "Line 1: This address" in page
    assert "no.png: The file is empty." in page
    assert "ftp://a.example/2.png</textarea>" in page
    assert not Batch.objects.exists()


def test_a_form_without_images_says_what_is_missing(browser):
    answer = browser.post(NEW, {"urls": "  \n "})

    assert answer.status_code == 422
    assert b"Choose at least one image, or paste an address." in answer.content


def test_what_is_given_twice_runs_once_and_is_told(browser, alice):
    give(alice, 10)

    answer = browser.post(NEW, {"files": [file("a.png", picture()), file("b.png", picture())]})
    page = browser.get(answer.url).content.decode()

    assert Item.objects.count() == 1
    assert "1 duplicate was left out." in page


def test_too_few_credits_keep_the_images_and_say_what_is_needed(browser, alice):
    leave(alice, 5)

    answer = browser.post(
        NEW,
        {
            "files": [*(file(f"{n}.png", picture(n)) for n in range(3)), file("no.png", b"")],
            "batch_name": "Mugs",
            "style": "grey",
        },
    )
    page = answer.content.decode()

    assert answer.status_code == 402
    assert "Not enough credits: 6 are needed, 5 are there." in page
    assert "Run only the first 2" in page
    assert 'value="Mugs"' in page
    assert re.search(r'value="grey"\s+selected', page)
    assert not Batch.objects.exists()
    assert ledger.balance(alice) == (5, 0)

    kept = {
        name: re.search(rf'name="{name}" value="([^"]*)"', page)[1]
        for name in ("uploads", "refused")
    }
    again = browser.post(NEW, {**kept, "sample": "2"})

    batch = Batch.objects.get()
    assert again.url == batch.get_absolute_url()
    assert [item.state for item in batch.items.order_by("position")] == [
        ItemState.FETCHED,
        ItemState.FETCHED,
        ItemState.PENDING,
        ItemState.FAILED,
    ]
    assert ledger.balance(alice) == (1, 4)


def test_settings_that_contradict_each_other_are_marked(browser, alice):
    upload = make_original(alice)

    answer = browser.post(
        NEW, {"uploads": str(upload.uid), "mirrored": "true", "strength": "0", "copies": "3"}
    )
    page = answer.content.decode()

    assert answer.status_code == 422
    assert "Nothing would be left to mirror." in page
    assert re.search(r'name="copies"[^>]*value="3"', page)
    assert str(upload.uid) in page
    assert not Batch.objects.exists()


def test_more_images_than_the_plan_takes_are_asked_about(browser):
    urls = "\n".join(f"https://a.example.com/{n}.png" for n in range(501))

    answer = browser.post(NEW, {"urls": urls})

    assert answer.status_code == 422
    assert b"You have 501 images; one batch takes 500." in answer.content
    assert not Batch.objects.exists()


def test_more_files_than_one_request_takes_are_refused_in_words(browser):
    answer = browser.post(NEW, {"files": [file(f"{n}.png", b"x") for n in range(101)]})

    assert answer.status_code == 413
    assert b"Without JavaScript 100 files can be sent at once." in answer.content


def test_a_form_from_elsewhere_is_refused(alice):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)

    answer = strict.post(NEW, {"urls": "https://a.example.com/1.png"})

    assert answer.status_code == 403
    assert b"This page is out of date" in answer.content
    assert not Batch.objects.exists()


def test_a_form_of_ours_is_accepted(alice):
    give(alice, 10)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    page = strict.get(NEW).content.decode()
    token = re.search(r'id="new-batch".*?csrfmiddlewaretoken" value="([^"]+)"', page, re.DOTALL)[1]

    answer = strict.post(NEW, {"urls": "https://a.example.com/1.png", "csrfmiddlewaretoken": token})

    assert answer.url == Batch.objects.get().get_absolute_url()


def test_somebody_elses_upload_can_not_be_used(browser, alice, bob):
    give(alice, 10)
    theirs, mine = make_original(bob, 1), make_original(alice, 2)

    page = browser.post(NEW, {"uploads": f"{theirs.uid}"})
    browser.post(NEW, {"uploads": f"{mine.uid} {theirs.uid}"})

    assert page.status_code == 422
    assert str(theirs.uid) not in page.content.decode().split('id="uploads"')[1]
    assert [item.error_code for item in Item.objects.order_by("position")] == ["", "source_missing"]


def test_a_name_that_is_too_long_is_refused_in_words(browser, alice):
    upload = make_original(alice)

    answer = browser.post(NEW, {"uploads": str(upload.uid), "batch_name": "x" * 201})

    assert answer.status_code == 422
    assert b"at most 200 characters" in answer.content
    assert str(upload.uid) in answer.content.decode()


def test_names_of_files_are_shown_as_text(browser, alice):
    give(alice, 10)
    name = '<img src=x onerror="alert(1)">.png'

    answer = browser.post(NEW, {"files": [file("a.png", picture())], "batch_name": name})
    page = browser.get(answer.url).content.decode()

    assert name not in page
    assert escape(name) in page


# --- Uploads by script ----------------------------------------------------------------


def test_a_script_uploads_one_file_and_gets_its_id(browser, alice):
    answer = browser.post(reverse("batches:upload"), {"file": file("mug.png", picture())})

    original = Original.objects.get(owner=alice)
    assert answer.status_code == 201
    assert answer.json() == {
        "upload": str(original.uid),
        "name": "mug.png",
        "thumbnail": f"/uploads/{original.uid}/thumbnail/",
        "width": 64,
        "height": 48,
        "bytes": len(picture()),
        "sha256": original.sha256,
    }


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 422, "The file is empty."),
        (b"words, words, words", 415, "This is a text file."),
        (b"\xff\xd8\xff" + b"0" * 20 * 2**20, 413, "20.1 MB; the limit is 20 MB."),
    ],
)
def test_a_script_is_told_why_a_file_is_refused(browser, data, status, words):
    answer = browser.post(reverse("batches:upload"), {"file": file("a.png", data)})

    assert answer.status_code == status
    assert answer.json()["message"].startswith(words)
    form = browser.post(NEW, {"refused": answer.json()["refused"]}).content.decode()
    assert "data-refused=" in form
    assert escape(words) in form


def test_an_upload_without_a_file_is_refused(browser):
    assert browser.post(reverse("batches:upload"), {}).status_code == 422


def test_uploads_of_strangers_are_refused(client, db):
    answer = client.post(reverse("batches:upload"), {"file": file("a.png", picture())})

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert not Original.objects.exists()


# --- One batch ------------------------------------------------------------------------


def test_a_batch_shows_true_counts_and_credits(browser, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    states = [ItemState.DONE, ItemState.FAILED, ItemState.RUNNING, ItemState.QUEUED]
    for position, state in enumerate(states):
        bare_item(batch, state=state, position=position, price=3 if state == "done" else None)

    page = browser.get(batch.get_absolute_url()).content.decode()

    assert "<title>2/4 · " in page
    assert 'aria-valuemax="4" aria-valuenow="2"' in page
    assert 'aria-valuetext="2 of 4 finished, 1 processing, 1 failed"' in page
    bar = dict(re.findall(r'id="bar-(\w+)"[^>]* width="([\d.]+)"', page))
    assert {name: float(width) for name, width in bar.items()} == {
        "processing": 75, "cancelled": 50, "failed": 50, "review": 25, "done": 25,
    }  # fmt: skip
    assert re.search(r"Credits used</dt><dd>3</dd>", page)


def test_there_is_nothing_inline_in_a_page(browser, finished, alice):
    for path in ["/tools/fake/", finished.get_absolute_url(), reverse("batches:index")]:
        page = browser.get(path).content.decode()

        assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:", page)
        assert not re.search(r"<script(?![^>]*\ssrc=)", page)


def test_a_result_is_seen_and_saved(browser, finished):
    item = finished.items.get()
    page = browser.get(finished.get_absolute_url()).content.decode()
    path = reverse("batches:result", args=[item.uid])

    seen, saved = browser.get(path), browser.get(f"{path}?download=1")

    assert f'src="{reverse("batches:thumbnail", args=[item.uid])}"' in page
    assert f'href="{path}?download=1"' in page
    assert b"".join(seen.streaming_content).startswith(b"\x89PNG")
    assert seen["Content-Disposition"].startswith("inline")
    assert saved["Content-Disposition"] == 'attachment; filename="photo-1.png"'
    saved.close()


def test_a_result_that_is_gone_from_the_storage_is_not_found(browser, finished):
    result = finished.items.get().results.get()
    storage.delete(storage.RESULTS, result.key, result.thumbnail_key)

    for name in ("result", "thumbnail"):
        path = reverse(f"batches:{name}", args=[finished.items.get().uid])
        assert browser.get(path).status_code == 404


def test_texts_are_shown_on_their_cards(browser, alice, work):
    batch = lifecycle.start(make_batch(alice, 1, tool="fake-text"))
    work()

    page = browser.get(batch.get_absolute_url()).content.decode()

    assert "64 × 48 pixels" in page


def test_500_cards_come_in_pages_of_100(browser, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    for position in range(205):
        bare_item(batch, position=position)

    first = browser.get(batch.get_absolute_url()).content.decode()
    last = browser.get(f"{batch.get_absolute_url()}?page=3").content.decode()
    beyond = browser.get(f"{batch.get_absolute_url()}?page=99").content.decode()
    nonsense = browser.get(f"{batch.get_absolute_url()}?page=x").content.decode()

    assert len(cards(first)) == 100
    assert len(cards(last)) == len(cards(beyond)) == 5
    assert cards(nonsense) == cards(first)


def test_the_grid_can_be_narrowed_to_what_failed(browser, alice):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    bad = bare_item(batch, state=ItemState.FAILED, position=0, error_code="file_damaged")
    bare_item(batch, state=ItemState.DONE, position=1)

    page = browser.get(f"{batch.get_absolute_url()}?show=failed").content.decode()

    assert cards(page) == [str(bad.uid)]


# --- Polling --------------------------------------------------------------------------


def test_the_page_polls_while_the_batch_lives_and_then_stops(browser, alice, work):
    batch = lifecycle.start(make_batch(alice, 2))
    page = browser.get(batch.get_absolute_url()).content.decode()

    waiting = browser.get(poll_address(page), headers=HTMX).content.decode()
    work()
    last = browser.get(poll_address(waiting), headers=HTMX).content.decode()

    assert 'hx-trigger="every 2s"' in waiting
    assert poll_address(last) is None
    assert "hx-trigger" not in last
    assert "<title>2/2 · " in last


def test_a_poll_brings_only_the_cards_that_changed(browser, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    items = [bare_item(batch, state=ItemState.FETCHED, position=n) for n in range(5)]
    page = browser.get(batch.get_absolute_url()).content.decode()

    Item.objects.filter(pk=items[3].pk).advance(ItemState.RUNNING)
    changed = browser.get(poll_address(page), headers=HTMX).content.decode()
    same = browser.get(poll_address(changed), headers=HTMX).content.decode()

    assert cards(changed) == [str(items[3].uid)]
    assert f'<li id="item-{items[3].uid}"' in changed
    assert 'hx-swap-oob="true"' in changed
    assert cards(same) == []


def test_a_poll_brings_a_card_that_failed_twice_in_a_row(browser, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    bare_item(batch, position=0)
    item = bare_item(batch, state=ItemState.FAILED, position=1, error_code="file_empty", attempt=1)
    page = browser.get(batch.get_absolute_url()).content.decode()

    Item.objects.filter(pk=item.pk).update(attempt=2, error_code="file_damaged")
    answer = browser.get(poll_address(page), headers=HTMX).content.decode()

    assert cards(answer) == [str(item.uid)]
    assert "The file ends early" in answer


def test_a_poll_of_another_page_brings_only_that_pages_cards(browser, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    items = [bare_item(batch, position=n) for n in range(102)]
    page = browser.get(f"{batch.get_absolute_url()}?page=2").content.decode()

    Item.objects.filter(pk__in=[items[0].pk, items[101].pk]).advance(ItemState.QUEUED)
    answer = browser.get(poll_address(page), headers=HTMX).content.decode()

    assert cards(answer) == [str(items[101].uid)]


def test_a_poll_of_a_narrowed_grid_brings_the_grid_when_it_changes(browser, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    bare_item(batch, position=0)
    bad = bare_item(batch, state=ItemState.FAILED, position=1, attempt=1)
    page = browser.get(f"{batch.get_absolute_url()}?show=failed").content.decode()

    same = browser.get(poll_address(page), headers=HTMX).content.decode()
    Item.objects.filter(pk=bad.pk).advance(ItemState.QUEUED)
    answer = browser.get(poll_address(page), headers=HTMX).content.decode()

    assert 'id="cards"' not in same
    assert 'id="cards"' in answer
    assert "No image is in this state." in answer


def test_steps_change_with_the_state_and_are_left_alone_otherwise(browser, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    bare_item(batch, state=ItemState.QUEUED)
    page = browser.get(batch.get_absolute_url()).content.decode()

    same = browser.get(poll_address(page), headers=HTMX).content.decode()
    lifecycle.pause(batch)
    paused = browser.get(poll_address(page), headers=HTMX).content.decode()

    assert "innerHTML:#controls" not in same
    assert "innerHTML:#controls" in paused
    assert address("resume", batch) in paused


def test_steps_stay_as_they_are_while_more_and_more_fails(browser, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    bare_item(batch, state=ItemState.FAILED, position=0)
    item = bare_item(batch, state=ItemState.RUNNING, position=1)
    bare_item(batch, state=ItemState.RUNNING, position=2)
    page = browser.get(batch.get_absolute_url()).content.decode()

    Item.objects.filter(pk=item.pk).advance(ItemState.FAILED)
    answer = browser.get(poll_address(page), headers=HTMX).content.decode()

    assert "Retry what failed" in page
    assert "innerHTML:#controls" not in answer


def test_quarters_and_the_first_failure_are_announced_once(browser, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    items = [bare_item(batch, state=ItemState.RUNNING, position=n) for n in range(4)]
    page = browser.get(batch.get_absolute_url()).content.decode()

    Item.objects.filter(pk=items[0].pk).advance(ItemState.FAILED)
    told = browser.get(poll_address(page), headers=HTMX).content.decode()
    silent = browser.get(poll_address(told), headers=HTMX).content.decode()

    assert "1 of 4 finished. 1 image failed." in told
    assert "innerHTML:#announcement" not in silent


@pytest.mark.parametrize("count", [5, 500])
def test_a_page_and_a_poll_ask_the_same_whatever_the_size(
    browser, alice, count, django_assert_num_queries
):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    Item.objects.bulk_create(
        Item(batch=batch, position=n, name=f"{n}.png", source_url="http://a.example/",
             state=ItemState.DONE if n % 2 else ItemState.FAILED)
        for n in range(count - 1)
    )  # fmt: skip
    bare_item(batch, position=count)
    ledger.balance(alice)

    with django_assert_num_queries(10):
        page = browser.get(batch.get_absolute_url()).content.decode()
    with django_assert_num_queries(8):
        browser.get(poll_address(page), headers=HTMX)


def test_a_poll_without_htmx_leads_to_the_page(browser, alice):
    batch = bare_batch(alice)

    assert browser.get(address("poll", batch)).url == batch.get_absolute_url()


def test_a_poll_after_the_session_ended_leads_to_sign_in_and_back(client, alice):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    page = f"http://testserver{batch.get_absolute_url()}?page=1"

    answer = client.get(address("poll", batch), headers={**HTMX, "HX-Current-URL": page})

    assert answer["HX-Redirect"].startswith(reverse("accounts:login"))
    assert batch.get_absolute_url() in answer["HX-Redirect"]


# --- Verbs ----------------------------------------------------------------------------


def test_cancel_keeps_what_is_done_and_gives_the_rest_back(browser, alice):
    batch = lifecycle.start(make_batch(alice, 2))
    held = ledger.balance(alice).held

    answer = browser.post(address("cancel", batch))
    page = browser.get(answer.url).content.decode()

    batch.refresh_from_db()
    assert batch.state == BatchState.CANCELLED
    assert (held, ledger.balance(alice).held) == (4, 0)
    assert page.count("Not run</p>") == 2


def test_pause_and_resume(browser, alice):
    batch = lifecycle.start(make_batch(alice, 1))

    paused = browser.get(browser.post(address("pause", batch)).url).content.decode()
    resumed = browser.get(browser.post(address("resume", batch)).url).content.decode()

    assert "Resume" in paused
    assert "Pause" in resumed
    batch.refresh_from_db()
    assert batch.state == BatchState.RUNNING


def test_a_ready_batch_is_started_for_what_it_costs(browser, alice):
    batch = make_batch(alice, 3)

    page = browser.get(batch.get_absolute_url()).content.decode()
    browser.post(address("start", batch))

    assert "Start batch · 6 credits" in page
    batch.refresh_from_db()
    assert batch.state == BatchState.RUNNING


def test_a_sample_is_looked_at_and_then_the_rest_is_run(browser, alice, work):
    give(alice, 20)
    files = [file(f"{n}.png", picture(n)) for n in range(4)]

    answer = browser.post(NEW, {"files": files, "sample": "3"})
    work()
    page = browser.get(answer.url).content.decode()
    browser.post(address("approve", Batch.objects.get()))
    work()

    assert "Run the other 1 · 2 credits" in page
    assert Batch.objects.get().state == BatchState.FINISHED
    assert Item.objects.filter(state=ItemState.DONE).count() == 4


def test_approving_without_credits_leaves_the_sample_and_says_so(browser, alice, work):
    batch = lifecycle.start(make_batch(alice, 2, sample=1))
    work()
    leave(alice, 1)

    page = browser.get(browser.post(address("approve", batch)).url).content.decode()

    batch.refresh_from_db()
    assert batch.state == BatchState.SAMPLED
    assert "Not enough credits: 2 needed, 1 left." in page


@pytest.fixture
def with_failures(alice) -> Batch:
    """A finished batch with one good image, two that failed, and one file that was refused."""
    give(alice, 20)
    batch = bare_batch(alice, state=BatchState.FINISHED)
    bare_item(batch, state=ItemState.DONE, position=0)
    for position in (1, 2):
        bare_item(batch, state=ItemState.FAILED, position=position, error_code="source_not_found")
    refused = bare_item(batch, state=ItemState.FAILED, position=3, error_code="file_empty")
    Item.objects.filter(pk=refused.pk).update(source_url="")
    return batch


def test_all_that_can_be_retried_is_retried(browser, with_failures):
    page = browser.get(with_failures.get_absolute_url()).content.decode()
    browser.post(address("retry", with_failures))

    assert "Retry 2 failed images" in page
    states = with_failures.items.order_by("position").values_list("state", flat=True)
    assert list(states) == [ItemState.DONE, ItemState.QUEUED, ItemState.QUEUED, ItemState.FAILED]


def test_one_image_is_retried_by_its_card(browser, with_failures):
    one = with_failures.items.get(position=2)
    page = browser.get(with_failures.get_absolute_url()).content.decode()

    browser.post(address("retry", with_failures), {"item": str(one.uid)})

    assert page.count('name="item"') == 2
    states = with_failures.items.order_by("position").values_list("state", flat=True)
    assert list(states) == [ItemState.DONE, ItemState.FAILED, ItemState.QUEUED, ItemState.FAILED]


@pytest.mark.parametrize("item", ["nonsense", str(uuid.UUID(int=7))])
def test_an_image_that_is_not_there_can_not_be_retried(browser, with_failures, item):
    browser.post(address("retry", with_failures), {"item": item})

    with_failures.refresh_from_db()
    assert with_failures.state == BatchState.FINISHED


def test_a_verb_that_comes_too_late_says_so(browser, alice):
    batch = bare_batch(alice, state=BatchState.FINISHED)

    page = browser.get(browser.post(address("cancel", batch)).url).content.decode()

    assert "It has ended already." in page


def test_a_verb_by_htmx_brings_figures_steps_and_cards_into_the_page(browser, with_failures):
    page = f"http://testserver{with_failures.get_absolute_url()}"

    answer = browser.post(
        address("retry", with_failures), headers={**HTMX, "HX-Current-URL": page}
    ).content.decode()

    assert answer.lstrip().startswith("<title>2/4")
    assert poll_address(answer)
    assert "innerHTML:#controls" in answer
    assert len(cards(answer)) == 4


def test_a_verb_by_htmx_that_is_refused_says_so_in_the_page(browser, alice):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    page = f"http://testserver{batch.get_absolute_url()}"

    answer = browser.post(address("pause", batch), headers={**HTMX, "HX-Current-URL": page})

    assert answer.status_code == 200
    assert b"Only a running batch can be paused." in answer.content


# --- Words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("done", "failed", "words"),
    [(2, 0, "Finished"), (1, 1, "Finished with problems"), (0, 2, "All failed")],
)
def test_how_a_batch_ended_is_said_in_words(browser, alice, done, failed, words):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    for position in range(2):
        state = ItemState.DONE if position < done else ItemState.FAILED
        bare_item(batch, state=state, position=position)

    page = browser.get(batch.get_absolute_url()).content.decode()

    assert f'<h2 class="font-semibold">{words}</h2>' in page
    assert ("Download ZIP" in page) == (done > 0)


def test_a_page_that_is_not_there_says_so_kindly(browser):
    page = browser.get(f"/batches/{uuid.uuid4()}/")

    assert page.status_code == 404
    assert b"There is nothing here" in page.content
