"""The pages that say where results go, and the forms that send them there."""

import django_rq
import pytest
from django.urls import reverse

from batches import couriers, deliveries
from batches.models import Batch, Delivery
from batches.states import BatchState
from batches.stores.base import StoreError
from tests.factories import done_batch, give, make_original

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "media", "shop")

HTMX = {"HX-Request": "true"}


@pytest.fixture
def page(client, alice):
    client.force_login(alice)
    return client


def carry() -> None:
    queue = django_rq.get_queue("io")
    while jobs := queue.jobs:
        queue.remove(jobs[0])
        couriers.send(**jobs[0].kwargs)


def text_of(response) -> str:
    return " ".join(response.content.decode().split())


def test_results_are_sent_from_the_page_of_their_batch(page, alice, shop, store):
    batch = done_batch(alice, 2)
    form = {"to": f"account:{shop.uid}", "folder": "sale", "conflict": "skip"}

    answer = page.post(reverse("batches:send", args=[batch.uid]), form, follow=True)

    delivery = Delivery.objects.get()
    assert delivery.options == {"folder": "sale", "conflict": "skip"}
    assert not delivery.follows
    assert "The results go to Shop (Sirv)." in text_of(answer)
    assert 'hx-trigger="every 3s"' in text_of(answer)
    carry()
    after = text_of(page.get(batch.get_absolute_url()))
    assert "2 of 2 delivered" in after
    assert "every 3s" not in after


def test_what_is_sent_while_a_batch_runs_follows_it(page, alice, store):
    batch = done_batch(alice, 1, state=BatchState.RUNNING)

    page.post(reverse("batches:send", args=[batch.uid]), {"to": "zip"})

    assert Delivery.objects.get().follows


@pytest.mark.parametrize("to", ["", "moon", "account:x", f"account:{'0' * 32}"])
def test_a_place_that_there_is_not_is_refused_in_words(page, alice, to):
    batch = done_batch(alice, 1)

    answer = page.post(reverse("batches:send", args=[batch.uid]), {"to": to}, follow=True)

    assert not Delivery.objects.exists()
    assert "alert-error" in text_of(answer)


def test_an_account_of_somebody_else_is_no_place(page, alice, bob, shop):
    shop.owner = bob
    shop.save()
    batch = done_batch(alice, 1)

    page.post(reverse("batches:send", args=[batch.uid]), {"to": f"account:{shop.uid}"})

    assert not Delivery.objects.exists()


def test_a_delivery_shows_its_links_and_causes_and_is_sent_again_and_taken_back(page, alice, store):
    store.trouble = [None, StoreError("store_forbidden")]
    delivery = deliveries.ask(done_batch(alice, 2), to="sirv")
    carry()
    address = reverse("batches:delivery", args=[delivery.uid])

    shown = text_of(page.get(address))
    assert 'href="https://cdn.example/cutouts/0.png"' in shown
    assert "1 failed" in shown
    page.post(reverse("batches:delivery_retry", args=[delivery.uid]))
    carry()
    assert "2 of 2 delivered" in text_of(page.get(address))
    page.post(reverse("batches:delivery_undo", args=[delivery.uid]))
    carry()

    shown = text_of(page.get(address))
    assert "2 taken back" in shown
    assert "Take it back" not in shown
    assert store.files == {}
    refused = page.post(reverse("batches:delivery_undo", args=[delivery.uid]), follow=True)
    assert "Nothing lies there" in text_of(refused)


def test_a_file_is_downloaded_from_the_page(page, alice, made_places):
    delivery = deliveries.ask(done_batch(alice, 1), to="csv")
    address = reverse("batches:delivery_file", args=[delivery.uid])
    assert page.get(address).status_code == 404
    carry()

    assert address in text_of(page.get(delivery.batch.get_absolute_url()))
    assert b"".join(page.get(address).streaming_content) == b"0.png"


def test_pages_of_a_delivery_are_its_owners_alone(client, alice, bob, made_places):
    delivery = deliveries.ask(done_batch(alice, 1), to="csv")
    carry()
    client.force_login(bob)

    for name in ("delivery", "delivery_file"):
        assert client.get(reverse(f"batches:{name}", args=[delivery.uid])).status_code == 404
    for name in ("delivery_retry", "delivery_undo"):
        assert client.post(reverse(f"batches:{name}", args=[delivery.uid])).status_code == 404
    for name, ask in (("send", client.post), ("deliveries", client.get)):
        assert ask(reverse(f"batches:{name}", args=[delivery.batch.uid])).status_code == 404


def test_the_list_polls_and_is_no_page_of_its_own(page, alice, store):
    delivery = deliveries.ask(done_batch(alice, 1), to="sirv")
    address = reverse("batches:deliveries", args=[delivery.batch.uid])

    assert page.get(address).status_code == 302
    part = page.get(address, headers=HTMX)
    assert "<html" not in text_of(part)
    assert f'hx-get="{address}"' in text_of(part)


def test_the_list_takes_as_many_queries_for_many_as_for_one(
    page, alice, store, django_assert_num_queries
):
    batch = done_batch(alice, 1)
    address = reverse("batches:deliveries", args=[batch.uid])
    for _number in range(6):
        deliveries.ask(batch, to="sirv")

    with django_assert_num_queries(6):  # session, user, batch, deliveries, parcels, images
        page.get(address, headers=HTMX)


# --- A tool's page --------------------------------------------------------------------


def test_a_new_batch_goes_where_its_form_says(page, alice, shop, store):
    give(alice, 10)
    form = {
        "uploads": str(make_original(alice).uid),
        "deliver_to": f"account:{shop.uid}",
        "deliver_folder": "new",
    }

    page.post(reverse("batches:new", args=["fake"]), form)

    delivery = Delivery.objects.get()
    assert (delivery.batch, delivery.follows) == (Batch.objects.get(), True)
    assert delivery.options == {"folder": "new", "conflict": "rename"}


def test_a_form_with_a_place_that_is_gone_comes_back_as_it_was(page, alice, shop):
    give(alice, 10)
    form = {
        "uploads": str(make_original(alice).uid),
        "deliver_to": f"account:{shop.uid}",
        "deliver_folder": "../up",
    }

    answer = page.post(reverse("batches:new", args=["fake"]), form)

    assert answer.status_code == 422
    assert not Batch.objects.exists()
    shown = text_of(answer)
    assert f'value="account:{shop.uid}" selected' in shown
    assert 'value="../up"' in shown
    assert "dots that climb" in shown
