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


def cards(page: str) -> list[str]:
    return re.findall(r'<li id="item-([^"]+)"', page)


# --- Who sees what --------------------------------------------------------------------


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


# --- What is not there --------------------------------------------------------------


def test_a_page_that_is_not_there_says_so_kindly(browser):
    page = browser.get(f"/batches/{uuid.uuid4()}/")

    assert page.status_code == 404
    assert b"There is nothing here" in page.content
