"""A tool's page over time: what was put there stays until it is started, and starts once."""

import re
import uuid
from functools import partial

import pytest
from django.test import Client
from django.urls import reverse

from batches import drafts, samples
from batches.models import Batch, Draft, Item, Original
from batches.refusals import Refusal
from batches.states import ItemState
from tests.batches.races import at_once
from tests.batches.test_views import file
from tests.factories import give, make_original, picture

NEW = "/tools/fake/"
SCRIPT = {"X-CSRFToken": "x"}

pytestmark = pytest.mark.usefixtures("fake_tool", "media", "valkey")


@pytest.fixture
def browser(client, alice) -> Client:
    """Alice's, signed in."""
    client.force_login(alice)
    return client


def on_page(owner, tool: str = "fake") -> list[str]:
    """Names of the images and refused files that are on the page."""
    found = drafts.contents(owner, tool)
    return [one.name for one in [*found.originals, *found.refused]]


def typed(owner) -> dict[str, str]:
    return {
        name: "\n".join(values) for name, values in drafts.contents(owner, "fake").fields.items()
    }


def put(owner, *numbers: int) -> list[Original]:
    """Pictures on the page, as uploads put them there."""
    originals = [make_original(owner, number) for number in numbers]
    drafts.add(owner, "fake", originals)
    return originals


# --- What is kept ---------------------------------------------------------------------


def test_a_page_shows_what_was_put_there_before(browser, alice):
    put(alice, 0, 1)
    drafts.add(alice, "fake", [Refusal("notes.png", "file_empty")])
    browser.post(
        f"{NEW}draft/",
        {"urls": "https://a.example.com/1.png", "batch_name": "Mugs", "style": "grey"},
        headers=SCRIPT,
    )

    answer = browser.get(NEW)

    page = answer.content.decode()
    assert [one.name for one in answer.context["originals"]] == ["photo-1.png", "photo-2.png"]
    assert [one.name for one in answer.context["refused"]] == ["notes.png"]
    assert "https://a.example.com/1.png</textarea>" in page
    assert 'value="Mugs"' in page
    assert re.search(r'value="grey"\s+selected', page)
    assert answer["Cache-Control"] == "no-store, private"


def test_settings_are_shown_as_they_were_typed_without_complaint(browser):
    browser.post(f"{NEW}draft/", {"copies": "many", "style": "grey"}, headers=SCRIPT)

    page = browser.get(NEW).content.decode()

    assert re.search(r'name="copies"[^>]*value="many"', page)
    assert not re.search(r'id="setting-copies-error"', page)


def test_a_box_that_was_switched_off_stays_off(browser):
    before = browser.get(NEW).content.decode()
    browser.post(f"{NEW}draft/", {"mirrored": "true", "style": "grey"}, headers=SCRIPT)
    on = browser.get(NEW).content.decode()
    browser.post(f"{NEW}draft/", {"style": "grey"}, headers=SCRIPT)

    off = browser.get(NEW).content.decode()

    box = re.compile(r'name="mirrored"[^>]*\schecked')
    assert [bool(box.search(page)) for page in (before, on, off)] == [False, True, False]


def test_each_tool_has_a_page_of_its_own(browser, alice):
    put(alice, 0)

    assert browser.get("/tools/fake-text/").context["originals"] == []


def test_the_format_that_somebody_prefers_is_chosen(browser, alice):
    alice.default_format = "webp"
    alice.save()

    page = browser.get("/tools/remove-background/").content.decode()

    assert re.search(r'value="webp"[^>]*\schecked', page)


def test_keeping_says_nothing_to_a_script_and_leads_a_form_back(browser):
    by_script = browser.post(f"{NEW}draft/", {"urls": "x"}, headers=SCRIPT)
    by_form = browser.post(f"{NEW}draft/", {"urls": "x"})

    assert by_script.status_code == 204
    assert by_form.url == NEW


def test_more_text_than_can_be_kept_is_refused(browser, client):
    answer = browser.post(f"{NEW}draft/", {"urls": "x" * 2_000_001}, headers=SCRIPT)
    browser.logout()
    strangers = browser.post(f"{NEW}draft/", {"urls": "x" * 200_001}, headers=SCRIPT)

    assert (answer.status_code, answer.json()["code"]) == (413, "too_much_text")
    assert strangers.status_code == 413


# --- What is removed ------------------------------------------------------------------


def test_one_image_is_removed_and_the_others_stay(browser, alice):
    first, _second = put(alice, 0, 1)

    answer = browser.post(f"{NEW}draft/remove/", {"image": str(first.uid)}, headers=SCRIPT)

    assert answer.status_code == 204
    assert on_page(alice) == ["photo-2.png"]
    assert Original.objects.count() == 2


def test_one_of_two_refused_files_is_removed(browser, alice):
    twins = [Refusal("notes.png", "file_empty"), Refusal("notes.png", "file_empty")]
    drafts.add(alice, "fake", [*twins, Refusal("list.png", "file_empty")])
    token = browser.get(NEW).context["refused"][0].token

    browser.post(f"{NEW}draft/remove/", {"refused": token}, headers=SCRIPT)

    assert on_page(alice) == ["notes.png", "list.png"]


def test_everything_is_removed(browser, alice):
    put(alice, 0, 1)
    browser.post(f"{NEW}draft/", {"urls": "https://a.example.com/1.png"}, headers=SCRIPT)

    answer = browser.post(f"{NEW}draft/remove/", {"all": "1"})

    assert answer.url == NEW
    assert (on_page(alice), typed(alice)) == ([], {})


def test_nobody_removes_from_somebody_elses_page(browser, alice, bob):
    (original,) = put(alice, 0)
    browser.force_login(bob)

    browser.post(f"{NEW}draft/remove/", {"image": str(original.uid)}, headers=SCRIPT)
    browser.post(f"{NEW}draft/remove/", {"image": "nonsense"}, headers=SCRIPT)

    assert on_page(alice) == ["photo-1.png"]


# --- Before signing in ----------------------------------------------------------------


def test_what_a_stranger_typed_is_there_after_signing_in(client, alice):
    drafts.save_fields(alice, "fake", {"urls": ["https://a.example.com/1.png"], "copies": ["2"]})
    form = {"urls": "https://a.example.com/2.png", "batch_name": "Mugs", "style": "grey"}

    asked = client.post(NEW, form)
    seen = client.get(NEW).content.decode()
    signed_in = client.post(
        asked.url, {"username": alice.email, "password": "alice's password", "next": NEW}
    )
    page = client.get(signed_in.url).content.decode()

    assert asked.url == f"{reverse('accounts:login')}?next={NEW}"
    assert "https://a.example.com/2.png</textarea>" in seen
    assert "https://a.example.com/1.png\nhttps://a.example.com/2.png</textarea>" in page
    assert 'value="Mugs"' in page
    assert re.search(r'value="grey"\s+selected', page)
    assert "drafts" not in client.session


def test_a_stranger_can_empty_the_page(client, db):
    client.post(f"{NEW}draft/", {"urls": "https://a.example.com/2.png"}, headers=SCRIPT)

    client.post(f"{NEW}draft/remove/", {"all": "1"}, headers=SCRIPT)

    assert b"https://a.example.com/2.png" not in client.get(NEW).content
    assert not Draft.objects.exists()


# --- Sample photos --------------------------------------------------------------------


def test_a_newcomer_gets_three_photos(browser, alice):
    answer = browser.post(f"{NEW}samples/", headers=SCRIPT)

    images = answer.json()["images"]
    assert [image["name"] for image in images] == list(samples.PHOTOS[:3])
    assert all(image["thumbnail"] and image["width"] >= 300 for image in images)
    assert on_page(alice) == list(samples.PHOTOS[:3])


def test_photos_without_javascript_lead_back_to_the_page(browser, alice):
    answer = browser.post(f"{NEW}samples/")

    assert answer.url == NEW
    assert len(on_page(alice)) == 3


def test_photos_are_for_people_who_signed_in(client, db):
    by_script = client.post(f"{NEW}samples/", headers=SCRIPT)
    by_form = client.post(f"{NEW}samples/")

    assert (by_script.status_code, by_script.json()["code"]) == (401, "not_authenticated")
    assert by_form.url.startswith(reverse("accounts:login"))


# --- Start ----------------------------------------------------------------------------


def test_a_start_takes_what_it_started_and_only_that(browser, alice):
    give(alice, 20)
    one, two, late = put(alice, 0, 1, 2)
    refusals = [Refusal("notes.png", "file_empty"), Refusal("late.png", "file_empty")]
    drafts.add(alice, "fake", refusals)
    drafts.save_fields(alice, "fake", {"urls": ["https://a.example.com/late.png"]})
    form = {
        "uploads": f"{one.uid} {two.uid}",
        "refused": refusals[0].token,
        "urls": "https://a.example.com/1.png\n https://a.example.com/1.png?utm_source=x ",
        "batch_name": "Mugs",
        "style": "grey",
    }

    browser.post(NEW, form)

    assert Batch.objects.get().items.count() == 5
    assert on_page(alice) == [late.name, "late.png"]
    assert typed(alice) == {
        "urls": "https://a.example.com/late.png",
        "batch_name": "",
        "style": "grey",
    }


def test_a_form_without_its_images_starts_those_on_the_page(browser, alice):
    give(alice, 20)
    put(alice, 0, 1)

    browser.post(NEW, {"style": "grey"})

    assert Batch.objects.get().items.count() == 2
    assert on_page(alice) == []


def test_too_many_images_are_asked_about_and_the_first_start(browser, alice):
    give(alice, 2000)
    urls = "\n".join(f"https://a.example.com/{n}.png" for n in range(502))

    asked = browser.post(NEW, {"urls": urls})
    over = asked.context["over"]
    still = browser.post(NEW, {"urls": urls, "take": "501"})
    taken = browser.post(NEW, {"urls": urls, "take": "500"})

    batch = Batch.objects.get()
    assert (asked.status_code, over.count, over.limit, over.rest) == (422, 502, 500, 2)
    assert "You have 502 images; one batch takes 500." in asked.content.decode()
    assert still.status_code == 422
    assert taken.url == batch.get_absolute_url()
    assert batch.items.count() == 500
    assert typed(alice)["urls"] == "\n".join(urls.splitlines()[500:])


def test_files_of_a_plain_form_that_are_not_taken_stay_on_the_page(browser, alice):
    give(alice, 20)
    files = [file("a.png", picture(1)), file("no.png", b""), file("b.png", picture(2))]

    browser.post(NEW, {"files": files, "take": "1"})

    assert [item.name for item in Item.objects.all()] == ["a.png"]
    assert on_page(alice) == ["b.png", "no.png"]


def test_refused_files_do_not_count_as_images(browser, alice, monkeypatch):
    give(alice, 20)
    monkeypatch.setattr("batches.views.tool_page.limit_of", lambda _request: 2)
    put(alice, 0, 1)
    drafts.add(alice, "fake", [Refusal("notes.png", "file_empty")])

    answer = browser.post(NEW, {})

    assert answer.url == Batch.objects.get().get_absolute_url()
    assert Item.objects.count() == 2
    assert on_page(alice) == ["notes.png"]


def test_what_could_not_be_started_is_on_the_page_afterwards(browser, alice):
    files = [file("a.png", picture(1)), file("no.png", b"")]

    answer = browser.post(NEW, {"files": files, "mirrored": "true", "strength": "0"})

    assert answer.status_code == 422
    assert on_page(alice) == ["a.png", "no.png"]
    assert typed(alice)["strength"] == "0"


# --- Once -----------------------------------------------------------------------------


def test_a_form_that_is_sent_twice_starts_once(browser, alice):
    give(alice, 20)
    original = make_original(alice)
    form = {"uploads": str(original.uid), "form_uid": str(uuid.uuid4()), "style": "grey"}

    answers = [browser.post(NEW, form), browser.post(NEW, form)]

    batch = Batch.objects.get()
    assert [answer.url for answer in answers] == [batch.get_absolute_url()] * 2


@pytest.mark.parametrize("change", [{"style": "negative"}, {"urls": "https://a.example.com/2.png"}])
def test_going_back_and_starting_something_else_is_no_mistake(browser, alice, change):
    give(alice, 20)
    original = make_original(alice)
    form = {"uploads": str(original.uid), "form_uid": str(uuid.uuid4()), "style": "grey"}

    first = browser.post(NEW, form)
    second = browser.post(NEW, {**form, **change})

    assert Batch.objects.count() == 2
    assert first.url != second.url


def test_an_id_that_belongs_to_somebody_else_starts_a_batch_of_ones_own(browser, alice, bob):
    form = {"uploads": str(make_original(bob).uid), "form_uid": str(uuid.uuid4())}
    theirs = Client()
    theirs.force_login(bob)
    give(bob, 20)
    theirs.post(NEW, form)
    give(alice, 20)

    answer = browser.post(NEW, {**form, "uploads": str(make_original(alice).uid)})

    mine = Batch.objects.get(owner=alice)
    assert answer.url == mine.get_absolute_url()
    assert str(mine.uid) != form["form_uid"]


def test_each_page_has_an_id_of_its_own(browser):
    assert browser.get(NEW).context["form_uid"] != browser.get(NEW).context["form_uid"]


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_start_one_batch(alice):
    give(alice, 100)
    clients = [Client(), Client()]
    for client in clients:
        client.force_login(alice)
    for number in range(5):
        original = make_original(alice, number)
        drafts.add(alice, "fake", [original])
        form = {"uploads": str(original.uid), "form_uid": str(uuid.uuid4())}

        answers = at_once(*[partial(client.post, NEW, form) for client in clients])

        batch = Batch.objects.get(uid=form["form_uid"])
        assert [answer.url for answer in answers] == [batch.get_absolute_url()] * 2
        assert Batch.objects.count() == number + 1
        assert on_page(alice) == []


@pytest.mark.parametrize("state", [ItemState.FETCHED])
def test_the_images_of_a_batch_keep_the_order_of_the_page(browser, alice, state):
    give(alice, 20)
    originals = put(alice, 3, 1, 2)

    browser.post(NEW, {"uploads": " ".join(str(one.uid) for one in originals)})

    items = Item.objects.filter(state=state).order_by("position")
    assert [item.original for item in items] == originals
