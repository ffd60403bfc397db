"""The admin's pages of single rows: a batch, an image, a delivery, a webhook and its messages."""

import re
import uuid

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import Connection, StaffAction
from batches import deliveries, lifecycle, outbox, webhooks
from batches.admin.lists import bare_address
from batches.models import (
    Delivery,
    DeliveryState,
    Item,
    Parcel,
    ParcelState,
    Sheet,
    WebhookEndpoint,
    WebhookMessage,
    WebhookState,
)
from batches.states import BatchState, ItemState
from credits import ledger
from credits.models import LedgerEntry
from tests.factories import bare_batch, bare_item, bare_result, done_batch, give, make_batch

pytestmark = pytest.mark.usefixtures("valkey")

SECRET = "whsec_c2VjcmV0IG9mIHNvbWVib2R5IGVsc2U="


@pytest.fixture
def desk(client, staff):
    """The admin, for somebody who may do everything."""
    client.force_login(staff)
    return client


def page_of(row):
    return reverse(f"admin:batches_{row._meta.model_name}_change", args=[row.pk])


def list_of(row):
    return reverse(f"admin:batches_{row._meta.model_name}_changelist")


def act(desk, action, *rows, **fields):
    """Choose rows of a list and carry out an action on them."""
    chosen = {"action": action, "_selected_action": [row.pk for row in rows]}
    return desk.post(list_of(rows[0]), chosen | fields, follow=True)


def fill(batch, count, *, begin=0, state=ItemState.DONE):
    """Images, with a line of the ledger and a delivered result for each."""
    hold = ledger.hold(batch.owner, 1, key=str(uuid.uuid4()), reference=batch.reference)
    items = Item.objects.bulk_create(
        Item(batch=batch, position=begin + n, name=f"{n}.png", state=state, price=1)
        for n in range(count)
    )
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            account_id=hold.account_id, kind="capture", available_delta=0, held_delta=-1,
            available_after=0, held_after=0, key=str(item.uid), item_uid=item.uid, hold=hold,
            reference=batch.reference,
        )
        for item in items
    )  # fmt: skip


def deliver(batch, *results, failed=0, state=DeliveryState.FINISHED, **fields):
    """A delivery of these results, of which the first few have failed."""
    delivery = Delivery.objects.create(batch=batch, to="library", state=state, **fields)
    for number, result in enumerate(results):
        is_failed = number < failed
        Parcel.objects.create(
            delivery=delivery,
            result=result,
            name=result.item.name,
            state=ParcelState.FAILED if is_failed else ParcelState.SENT,
            error_code="library_full" if is_failed else "",
            attempt=3 if is_failed else 1,
        )
    return delivery


def test_a_batch_is_told_in_words_with_all_that_hangs_on_it(desk, alice, fake_tool, media):
    sheet = Sheet.objects.create(owner=alice, kind="csv", name="autumn.csv", mapping={"A": "url"})
    batch = done_batch(
        alice, 2, name="Mugs", sheet=sheet, settings={"factor": 2}, price_percent=80,
        webhook_url="https://me:pw@hooks.example.com/a?key=hush", state=BatchState.RUNNING,
    )  # fmt: skip
    failed = bare_item(batch, state=ItemState.FAILED, position=2, error_code="no_subject")
    give(alice, 10)
    ledger.hold(alice, 3, key="h", reference=batch.reference)
    results = [item.results.get() for item in batch.items.filter(state=ItemState.DONE)]
    sent = deliver(batch, *results, failed=1)
    act(desk, "raise_priority", bare_batch(alice, state=BatchState.RUNNING))
    act(desk, "pause", batch)

    page = desk.get(page_of(batch)).content.decode()

    assert "autumn.csv (CSV)" in page
    assert "A → url" in page
    assert "80 % of the tool" in page
    assert "https://hooks.example.com/a?key=…" in page
    assert "hush" not in page
    assert str(failed.uid) in page
    assert "<code>no_subject</code>" in page
    assert page_of(sent) in page
    assert "1 × " in page
    assert "Set aside" in page
    assert "batch.pause" in page
    assert "batch.raise_priority" not in page
    assert page.count('alt="Result"') == 2
    unseen = r"<(script|style).*?</\1>|x-\S+='.*?'|<[^>]*>"
    assert "{" not in re.sub(unseen, "", page, flags=re.DOTALL), "no dictionary is shown as it is"


def test_the_page_of_a_batch_asks_as_little_for_five_thousand_images_as_for_five(
    desk, alice, django_assert_max_num_queries, django_assert_num_queries
):
    give(alice, 10)
    batch = bare_batch(alice, state=BatchState.RUNNING)
    fill(batch, 4)
    fill(batch, 1, begin=4, state=ItemState.FAILED)
    deliver(batch)
    desk.get(page_of(batch))
    with django_assert_max_num_queries(25) as few:
        desk.get(page_of(batch))

    fill(batch, 4_000, begin=5)
    fill(batch, 995, begin=4_005, state=ItemState.FAILED)
    for _ in range(5):
        deliver(batch)
    with django_assert_num_queries(len(few)):
        page = desk.get(page_of(batch)).content.decode()

    assert "5,000" in page
    assert page.count('<code class="studio-id">') == 25 + 1  # and its own


def test_the_images_of_a_batch_are_leafed_through_and_narrowed(desk, alice):
    batch = bare_batch(alice)
    for position in range(30):
        state = ItemState.FAILED if position % 2 else ItemState.DONE
        bare_item(batch, position=position, state=state)

    def names(page):
        return re.findall(r">(\d+)\.png<", page)

    first = desk.get(page_of(batch)).content.decode()
    second = desk.get(page_of(batch) + "?show=&from=25").content.decode()
    failed = desk.get(page_of(batch) + "?show=failed").content.decode()

    assert 'href="?show=&amp;from=25#images"' in first
    assert names(first) + names(second) == [str(number) for number in range(30)]
    assert "Next page" not in second
    assert names(failed) == [str(number) for number in range(1, 30, 2)]
    assert f"{reverse('admin:batches_item_changelist')}?batch__id__exact={batch.pk}" in failed
    for odd in ("?from=²&show=nothing", f"?from={10**12}"):
        assert desk.get(page_of(batch) + odd).status_code == 200, odd


def test_an_action_on_a_row_s_page_leads_back_to_it(desk, alice, fake_tool):
    batch = lifecycle.start(make_batch(alice, 1))
    page = desk.get(page_of(batch)).content.decode()
    assert 'value="pause"' in page
    assert 'value="resume"' not in page

    paused = act(desk, "pause", batch, stays="1")
    asked = act(desk, "cancel", batch, stays="1")
    cancelled = act(desk, "cancel", batch, stays="1", confirmed="1")

    assert paused.redirect_chain[-1][0] == page_of(batch)
    assert b"1 batch moved." in paused.content
    assert b'name="stays"' in asked.content
    assert cancelled.redirect_chain[-1][0] == page_of(batch)
    batch.refresh_from_db()
    assert batch.state == BatchState.CANCELLED


def test_whoever_may_see_batches_alone_sees_nothing_else_on_their_pages(client, bob, alice):
    from django.contrib.auth.models import Permission

    bob.is_staff = True
    bob.save()
    bob.user_permissions.add(Permission.objects.get(codename="view_batch"))
    batch = bare_batch(alice)
    item = bare_item(batch, state=ItemState.FAILED, error_code="no_subject")
    client.force_login(bob)

    page = client.get(page_of(batch)).content.decode()

    assert str(item.uid) not in page
    for title in ("images-title", "deliveries-title", "money-title", "staff-title"):
        assert title not in page
    assert 'name="action" value="pause"' not in page


def test_an_image_shows_what_was_tried_and_whole_pictures_are_opened_on_the_record(
    desk, staff, alice, fake_tool, media
):
    batch = make_batch(alice, 1)
    item = batch.items.get()
    tried = {
        "attempt": 1, "code": "source_not_found", "params": {},
        "started_at": "2026-11-26T10:00:00+00:00", "ended_at": "2026-11-26T10:00:01.5+00:00",
    }  # fmt: skip
    now = timezone.now()
    Item.objects.filter(pk=item.pk).update(
        state=ItemState.DONE, attempt=2, history=[tried], started_at=now, finished_at=now
    )
    result = bare_result(item)
    deliver(batch, result)

    page = desk.get(page_of(item)).content.decode()

    assert "There is nothing at this address (404)." in page
    assert page.index('class="number">2<') < page.index('class="number">1<')
    opened = re.findall(r'href="([^"]+/(?:original|results/0)/)"', page)
    assert len(opened) == 2
    for address in opened:
        answer = desk.get(address)
        assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert "private" in answer["Cache-Control"]
        assert b"".join(answer.streaming_content)
    noted = StaffAction.objects.filter(target_id=str(item.uid)).order_by("pk")
    assert [one.action for one in noted] == ["item.open_original", "item.open_result"]
    assert desk.get(opened[1].replace("/0/", "/99999999/")).status_code == 404
    desk.force_login(alice)
    assert {desk.get(address).status_code for address in opened} == {302}


def test_a_failed_image_runs_again_from_its_page(desk, alice, fake_tool):
    give(alice, 10)
    batch = bare_batch(alice, state=BatchState.FINISHED)
    item = bare_item(batch, state=ItemState.FAILED, error_code="source_not_found")
    assert b'value="requeue"' in desk.get(page_of(item)).content

    answer = act(desk, "requeue", item, stays="1")

    assert answer.redirect_chain[-1][0] == page_of(item)
    item.refresh_from_db()
    assert item.state == ItemState.QUEUED
    assert b'value="requeue"' not in answer.content


def test_failed_deliveries_are_sent_again_and_the_others_said_to_be_well(
    desk, alice, fake_tool, media
):
    batch = done_batch(alice, 3)
    results = [item.results.get() for item in batch.items.order_by("position")]
    failed = deliver(batch, *results, failed=2)
    fine = deliver(batch, *results)
    assert b'value="retry"' not in desk.get(page_of(fine)).content
    assert b'value="retry"' in desk.get(page_of(failed)).content

    page = act(desk, "retry", failed, fine).content.decode()

    assert "1 delivery goes on." in page
    assert f"{fine}: Nothing has failed that could be sent again." in page
    assert failed.parcels.filter(state=ParcelState.WAITING).count() == 2
    noted = StaffAction.objects.get(action="delivery.retry")
    assert (noted.rows, noted.target_id) == (2, str(failed.uid))
    assert (noted.before, noted.after) == (
        {"state": "finished", "failed": 2}, {"state": "running"},
    )  # fmt: skip


def test_deliveries_are_found_by_state_place_owner_and_batch(desk, alice, bob):
    mine, other = bare_batch(alice), bare_batch(bob)
    failed = deliver(mine, state=DeliveryState.FAILED, error_code="disk_full")
    deliver(other)
    zipped = Delivery.objects.create(batch=other, to="zip", state=DeliveryState.FINISHED)

    def found(query):
        return list(desk.get(f"{list_of(failed)}?{query}").context["cl"].result_list)

    assert found("state__exact=failed") == [failed]
    assert found("to=zip") == [zipped]
    assert found("owner=alice@") == [failed]
    assert found(f"q={failed.uid}") == [failed]
    assert found(f"q={mine.uid}") == [failed]
    assert found("owner=nobody") == []
    assert b"<code>disk_full</code>" in desk.get(list_of(failed)).content


@pytest.fixture
def endpoint(alice):
    return webhooks.register(
        alice, url="https://hooks.example.com/t?token=hush", events=["batch.finished"],
        secret=SECRET,
    )  # fmt: skip


def message_to(endpoint, **fields):
    values = {
        "owner": endpoint.owner, "endpoint": endpoint, "url": endpoint.url,
        "event": outbox.BATCH_FINISHED, "payload": {"name": "Mugs", "total": 3},
    }  # fmt: skip
    return WebhookMessage.objects.create(**values | fields)


def test_messages_that_are_over_are_sent_again_and_those_on_their_way_are_left(desk, endpoint):
    lost = {"at": "2026-11-27T08:00:05+00:00", "seconds": 15.0, "status": None, "code": "dns"}
    refused = {"at": "2026-11-27T08:01:05+00:00", "seconds": 0.1, "status": 503, "code": ""}
    failed = message_to(endpoint, state=WebhookState.FAILED, attempts=[lost, refused])
    waiting = message_to(endpoint)
    assert b"answered 503" in desk.get(list_of(failed)).content
    assert b'value="resend"' not in desk.get(page_of(waiting)).content

    page = act(desk, "resend", failed, waiting).content.decode()

    assert "1 message is sent again." in page
    assert f"{waiting}: It is on its way already." in page
    failed.refresh_from_db()
    assert (failed.state, failed.tries) == (WebhookState.WAITING, 0)
    noted = StaffAction.objects.get(action="webhook.resend")
    assert (noted.target_id, noted.before["state"]) == (str(failed.uid), "failed")
    found = desk.get(f"{list_of(failed)}?q={failed.message_id}").context["cl"].result_list
    assert list(found) == [failed]


def test_an_endpoint_that_was_given_up_is_switched_on_and_tried(desk, endpoint):
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(disabled_at=timezone.now())
    page = desk.get(page_of(endpoint)).content.decode()
    assert 'value="switch_on"' in page

    first = act(desk, "switch_on", endpoint, stays="1").content.decode()
    again = act(desk, "switch_on", endpoint).content.decode()
    act(desk, "ping", endpoint)

    assert "1 webhook is on again." in first
    assert "It is on already." in again
    endpoint.refresh_from_db()
    assert endpoint.disabled_at is None
    assert endpoint.messages.get().event == outbox.PING
    actions = StaffAction.objects.values_list("action", flat=True).order_by("pk")
    assert list(actions) == ["webhook.switch_on", "webhook.ping"]


def test_no_secret_is_in_any_page_list_search_or_record(desk, alice, endpoint):
    link = "http://testserver/files/abc.def"
    message = message_to(endpoint, event=outbox.ASSET_CREATED, payload={"url": link})
    connection = Connection(owner=alice, kind="s3", name="Shop", config={"bucket": "mugs"})
    connection.secret = SECRET
    connection.save()
    batch = bare_batch(alice)
    url = "https://b.example.com/p.png?X-Amz-Signature=hush"
    item = bare_item(batch)
    Item.objects.filter(pk=item.pk).update(source_url=url)
    webhooks.default_secret(alice)
    act(desk, "ping", endpoint)
    shop = reverse("admin:accounts_connection_change", args=[connection.pk])

    addresses = [
        *(page_of(row) for row in (endpoint, message, item, batch)),
        *(f"{list_of(row)}?q=hooks" for row in (endpoint, message, item, batch)),
        *(list_of(row) for row in (endpoint, message)),
        shop,
        shop.replace("change", "history"),
        reverse("admin:accounts_connection_changelist"),
        f"{reverse('admin:accounts_connection_changelist')}?q=Shop",
        reverse("admin:accounts_staffaction_changelist"),
        f"{reverse('admin:search')}?s=hooks",
        f"{reverse('admin:search')}?s=Shop&extended",
    ]
    for address in addresses:
        page = desk.get(address, follow=True)
        text = page.content.decode()
        assert page.status_code == 200, address
        for secret in (SECRET, "hush", "abc.def", connection.sealed_secret, endpoint.sealed_secret):
            assert secret not in text, (address, secret)
    for lookup in ("sealed_secret__startswith=g", "owner__password__startswith=p"):
        for model in ("accounts_connection", "batches_webhookendpoint"):
            answer = desk.get(f"{reverse(f'admin:{model}_changelist')}?{lookup}")
            assert answer.status_code in (302, 400), (model, lookup)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", ""),
        ("products/mug.png", "products/mug.png"),
        ("https://a.example/x.png", "https://a.example/x.png"),
        ("https://u:p@a.example:8443/x?w=1&sig=2", "https://a.example:8443/x?w=…&sig=…"),
        ("https://a.example/x#t=1", "https://a.example/x"),
        ("https://[bad/x", "…"),
        ("https://studio.example/files/abc.def", "https://studio.example/files/…"),
    ],
)
def test_addresses_are_shown_without_what_may_be_a_secret(address, shown):
    assert bare_address(address) == shown


def test_staff_can_retry_nothing_that_its_owner_could_not(desk, alice):
    fine = deliver(bare_batch(alice))
    with pytest.raises(lifecycle.StateConflict):
        deliveries.retry(fine)
    assert b"goes on" not in act(desk, "retry", fine).content
    assert not StaffAction.objects.exists()
