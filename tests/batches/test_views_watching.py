"""A batch's page: its grid, its polls and its verbs, without JavaScript and as htmx asks."""

import re
import uuid
from collections.abc import Callable
from html import unescape

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse

from batches import dispatch, lifecycle
from batches.models import Batch, Item
from batches.states import BatchState, ItemState
from credits import ledger
from tests.batches.test_views import address, file, leave
from tests.factories import bare_batch, bare_item, give, make_batch, picture

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


def seen(page: str) -> dict[str, str]:
    """What the page's polls send along of its cards."""
    return dict(
        re.findall(r'<input type="hidden" id="seen-\d+" name="(m\d+)" value="([^"]*)"', page)
    )


def poll_address(page: str, before: str = "") -> str | None:
    """What the page asks next, if it does; `before` is the page that an answer came into."""
    found = re.search(r'<div id="run" hx-get="([^"]+)"', page)
    marks = "".join(f"&{name}={value}" for name, value in (seen(before) | seen(page)).items())
    return unescape(found[1]) + marks if found else None


def cards(page: str) -> list[str]:
    return re.findall(r'<li id="item-([^"]+)"', page)


def cards_text(page: str) -> list[str]:
    return re.findall(r'<li id="item-.*?</li>', page, re.DOTALL)


# --- The grid -------------------------------------------------------------------------


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
    last = browser.get(poll_address(waiting, page), headers=HTMX).content.decode()

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
    same = browser.get(poll_address(changed, page), headers=HTMX).content.decode()

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
    silent = browser.get(poll_address(told, page), headers=HTMX).content.decode()

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

    with django_assert_num_queries(12):
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

    assert "Retry all 2" in page
    states = with_failures.items.order_by("position").values_list("state", flat=True)
    assert list(states) == [ItemState.DONE, ItemState.QUEUED, ItemState.QUEUED, ItemState.FAILED]


def test_one_image_is_retried_by_its_card(browser, with_failures):
    one = with_failures.items.get(position=2)
    page = browser.get(with_failures.get_absolute_url()).content.decode()

    browser.post(address("retry", with_failures), {"item": str(one.uid)})

    assert page.count('name="item"') == 2
    states = with_failures.items.order_by("position").values_list("state", flat=True)
    assert list(states) == [ItemState.DONE, ItemState.FAILED, ItemState.QUEUED, ItemState.FAILED]


def test_an_image_of_an_account_is_tried_again_or_replaced_and_has_no_address_to_edit(
    browser, alice
):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    for position, source in enumerate(["products/mug.png", "http://a.example/mug.png"]):
        item = bare_item(batch, state=ItemState.FAILED, position=position)
        Item.objects.filter(pk=item.pk).update(source_url=source, error_code="source_unreachable")

    stored, pasted = cards_text(browser.get(batch.get_absolute_url()).content.decode())

    assert "Retry" in stored
    assert "Replace file" in stored
    assert "Edit address" not in stored
    assert "Edit address" in pasted


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


# --- More cards, causes, fixes --------------------------------------------------------


def many(owner, count: int, *, state: str = BatchState.RUNNING) -> Batch:
    batch = bare_batch(owner, state=state)
    Item.objects.bulk_create(
        Item(batch=batch, position=n, name=f"{n}.png", source_url=f"http://a.example/{n}.png")
        for n in range(count)
    )
    return batch


def test_all_500_cards_are_reached_by_scrolling_and_each_comes_once(browser, alice):
    batch = many(alice, 500)
    page = browser.get(batch.get_absolute_url()).content.decode()
    marks, found = seen(page), cards(page)

    while 'id="next-cards"' in page:
        page = browser.get(address("cards", batch), marks, headers=HTMX).content.decode()
        marks |= seen(page)
        found += cards(page)

    assert len(found) == len(set(found)) == 500
    assert sorted(marks) == ["m1", "m2", "m3", "m4", "m5"]


def test_a_poll_of_500_loaded_cards_fits_into_a_request_line_and_finds_each_change(browser, alice):
    batch = many(alice, 500)
    page = browser.get(batch.get_absolute_url()).content.decode()
    marks = seen(page)
    for _ in range(4):
        more = browser.get(address("cards", batch), marks, headers=HTMX).content.decode()
        marks |= seen(more)
    path = re.search(r'<div id="run" hx-get="([^"]+)"', page)[1]
    path = unescape(path) + "".join(f"&{name}={value}" for name, value in marks.items())
    changed = list(batch.items.filter(position__in=[3, 250, 499]).order_by("position"))
    batch.items.filter(pk__in=[item.pk for item in changed]).advance(ItemState.QUEUED)

    answer = browser.get(path, headers=HTMX).content.decode()

    assert len(path) < 2000
    assert cards(answer) == [str(item.uid) for item in changed]
    assert sorted(seen(answer)) == ["m1", "m3", "m5"]


@pytest.mark.parametrize("every", [1, 2])
def test_a_page_stops_loading_while_its_polls_fit_and_links_to_the_rest(browser, alice, every):
    """Of 10,000 images; also where those that are shown lie far apart, which takes more words."""
    batch = many(alice, 10_000)
    batch.items.annotate(n=F("position") % every).filter(n=0).update(state=ItemState.DONE)
    query = {"show": "done"} if every > 1 else {}
    page = browser.get(batch.get_absolute_url(), query).content.decode()
    path = unescape(re.search(r'<div id="run" hx-get="([^"]+)"', page)[1])
    marks, found = seen(page), cards(page)

    while 'id="next-cards"' in page:
        page = browser.get(address("cards", batch), query | marks, headers=HTMX).content.decode()
        marks |= seen(page)
        found += cards(page)
    polled = path + "".join(f"&{name}={value}" for name, value in marks.items())

    links = [unescape(link) for link in re.findall(r'href="(\?[^"]*page=\d+)"', page)]
    after = browser.get(f"{batch.get_absolute_url()}{links[0]}").content.decode()
    parts = [int(link.rpartition("=")[2]) for link in links[1:]]
    assert len(polled) < 4000
    assert len(found) == len(set(found)) == 100 * len(marks)
    assert len(marks) == 15 if every == 1 else len(marks) < 15
    assert cards(after)[0] == str(batch.items.get(position=100 * every * len(marks)).uid)
    assert parts == list(range(1, 10_000 // every // 100 + 1, 15))


def test_a_narrowed_page_lets_cards_go_when_its_polls_grow_too_long(browser, alice):
    batch = many(alice, 3000)
    batch.items.annotate(n=F("position") % 2).filter(n=1).update(state=ItemState.DONE)
    page = browser.get(batch.get_absolute_url(), {"show": "done"}).content.decode()
    path = unescape(re.search(r'<div id="run" hx-get="([^"]+)"', page)[1])
    # So many stretches were loaded while what was done lay side by side.
    marks = "".join(f"&m{number}=0.{100 * number - 100}-{'d0' * 100}" for number in range(1, 16))

    answer = browser.get(path + marks, headers=HTMX).content.decode()

    assert len(poll_address(answer)) < 4000
    assert 100 < len(cards(answer)) == 100 * len(seen(answer)) < 1500
    assert 'id="more-pages"' in answer


def test_what_failed_comes_first_when_it_is_over(browser, alice):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    bare_item(batch, state=ItemState.DONE, position=0)
    bad = bare_item(batch, state=ItemState.FAILED, position=1, error_code="file_damaged")

    page = browser.get(batch.get_absolute_url()).content.decode()

    assert cards(page)[0] == str(bad.uid)


def test_one_cause_is_shown_alone(browser, alice):
    batch = bare_batch(alice, state=BatchState.FINISHED)
    bare_item(batch, state=ItemState.FAILED, position=0, error_code="file_damaged")
    lost = bare_item(batch, state=ItemState.FAILED, position=1, error_code="source_not_found")

    key = "source_not_found~prefix~a.example"
    page = browser.get(batch.get_absolute_url(), {"show": "failed", "cause": key}).content.decode()

    assert cards(page) == [str(lost.uid)]
    assert "2 images failed, for 2 reasons" in page


def test_the_beginning_of_addresses_is_changed_for_a_cause(browser, with_failures):
    browser.post(
        address("retry", with_failures),
        {
            "cause": "source_not_found~prefix~a.example",
            "old": "http://a.example/",
            "new": "https://cdn.shop.com/img/",
        },
    )

    moved = with_failures.items.filter(state=ItemState.QUEUED)
    assert {item.source_url for item in moved} == {"https://cdn.shop.com/img/"}
    assert moved.count() == 2


def test_an_address_that_can_not_be_used_moves_nothing(browser, with_failures):
    one = with_failures.items.get(position=1)

    answer = browser.post(
        address("retry", with_failures), {"item": str(one.uid), "url": "http://127.0.0.1/a.png"}
    )

    assert "can&#x27;t be used" in browser.get(answer.url).content.decode()
    one.refresh_from_db()
    assert (one.state, one.source_url) == (ItemState.FAILED, "http://a.example/")


def test_a_file_takes_the_place_of_the_one_that_was_turned_away(browser, alice, with_failures):
    refused = with_failures.items.get(position=3)

    browser.post(
        address("retry", with_failures),
        {"cause": "file_empty~replace", "files": [file("3.jpg", picture(9, kind="JPEG"))]},
    )

    refused.refresh_from_db()
    assert refused.state == ItemState.FETCHED
    assert refused.original.format == "jpg"
    assert refused.attempt == 1


def test_a_file_of_another_name_is_told_and_not_used(browser, with_failures):
    bare_item(with_failures, state=ItemState.FAILED, position=9, error_code="file_empty")
    with_failures.items.filter(position=9).update(source_url="")

    answer = browser.post(
        address("retry", with_failures),
        {"cause": "file_empty~replace", "files": [file("stranger.png", picture(9))]},
    )

    assert "No failed image has this name: stranger.png" in browser.get(answer.url).content.decode()
    assert with_failures.items.filter(state=ItemState.FAILED).count() == 4


def test_failed_images_are_retried_with_other_settings(browser, with_failures):
    browser.post(
        address("retry", with_failures),
        {"with_settings": "1", "style": "grey", "strength": "0.5", "copies": "1",
         "trouble": "none", "format": "webp"},
    )  # fmt: skip

    moved = with_failures.items.filter(state=ItemState.QUEUED)
    assert {(item.settings["style"], item.settings["format"]) for item in moved} == {
        ("grey", "webp")
    }


def test_the_rest_of_a_sample_runs_with_other_settings(browser, alice, work):
    batch = lifecycle.start(make_batch(alice, 2, sample=1))
    work()

    page = browser.get(batch.get_absolute_url()).content.decode()
    browser.post(
        address("approve", batch),
        {"with_settings": "1", "style": "grey", "strength": "1", "copies": "1",
         "trouble": "none", "format": "png"},
    )  # fmt: skip

    assert "Run the rest with these" in page
    styles = batch.items.order_by("position").values_list("settings__style", flat=True)
    assert list(styles) == ["negative", "grey"]


def test_a_batch_that_has_not_begun_says_how_many_are_ahead(browser, alice, bob):
    lifecycle.start(make_batch(bob, 1))
    batch = lifecycle.start(make_batch(alice, 1))

    assert "1 batch ahead" in browser.get(batch.get_absolute_url()).content.decode()


# --- One image ------------------------------------------------------------------------


def test_an_image_has_a_page_with_its_attempts(browser, with_failures):
    one = with_failures.items.get(position=1)
    lifecycle.retry(with_failures, items=[one.uid])
    Item.objects.filter(pk=one.pk).update(state=ItemState.FAILED, error_code="file_damaged")

    page = browser.get(reverse("batches:item", args=[one.uid])).content.decode()

    assert "<html" in page
    assert "There is nothing at this address (404)." in page
    assert "The file ends early" in page
    assert "Retry with this address" in page


def test_the_drawer_gets_the_image_alone_in_few_queries(
    browser, alice, work, django_assert_max_num_queries
):
    batch = lifecycle.start(make_batch(alice, 3))
    work()
    first, middle, last = batch.items.order_by("position")

    with django_assert_max_num_queries(6):
        path = reverse("batches:item", args=[middle.uid])
        page = browser.get(path, headers=HTMX).content.decode()

    assert "<html" not in page
    assert str(first.uid) in page
    assert str(last.uid) in page
    assert "fake 1" in page


def test_somebody_elses_image_does_not_exist(browser, bob):
    item = bare_item(bare_batch(bob))

    assert browser.get(reverse("batches:item", args=[item.uid])).status_code == 404
