"""Tools on and off, and at which price, for whom: as staff says, without a deploy."""

import io
import json
import math
import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from accounts import plans
from accounts.models import Plan, StaffAction, User
from batches import (
    audit,
    dispatch,
    etags,
    imports,
    lifecycle,
    pipeline,
    pricing,
    reconcile,
    serializers,
    sheets,
)
from batches.models import Batch, Item, ToolRule
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from credits import audit as credits_audit
from credits import ledger
from tests import clients
from tests.factories import bare_batch, bare_item, give, make_batch, make_original
from tools import registry

pytestmark = pytest.mark.usefixtures("fake_tool")


@pytest.fixture
def member(alice) -> User:
    """Alice, on a plan of her own."""
    alice.plan = Plan.objects.create(slug="studio", name="Studio")
    alice.save()
    return alice


def rule(percent: int = 100, *, plan=None, is_on: bool = True, note: str = "") -> ToolRule:
    return ToolRule.objects.create(tool="fake", plan=plan, percent=percent, is_on=is_on, note=note)


def fake():
    return registry.get("fake")


def price_for(owner) -> int:
    tool = pricing.offered(fake(), owner)
    return tool.max_price(tool.defaults())


def test_without_rules_a_tool_is_on_at_its_own_price_and_the_very_same(alice):
    assert pricing.offered(fake(), alice) is fake()
    assert pricing.offered(fake(), None) is fake()


def test_a_rule_for_the_plan_counts_before_that_for_all(member, bob):
    rule(200)
    rule(50, plan=member.plan)
    assert (price_for(member), price_for(bob), price_for(None)) == (1, 4, 4)


def test_strangers_have_the_terms_of_the_default_plan(db):
    default, _new = Plan.objects.get_or_create(
        slug="standard", defaults={"name": "Standard", "is_default": True}
    )
    plans.remembered.forget()
    rule(50, plan=default)
    assert price_for(None) == 1


@given(price=st.integers(0, 50), percent=st.integers(0, 1000))
def test_a_price_is_whole_never_below_its_share_and_free_only_at_nothing(price, percent):
    charged = pricing.charged(price, percent)
    assert charged == math.ceil(price * percent / 100 - 1e-9)
    assert (charged == 0) == (price * percent == 0)
    assert pricing.charged(price, 100) == price


@pytest.mark.parametrize("slug", sorted(tool.slug for tool in registry.all()))
def test_every_price_of_every_tool_is_its_share_rounded_up_once(slug):
    tool = registry.get(slug)
    ways = [{}, *(found["when"] for found in tool.price_rules())]
    sizes = [{}, {"width": 60, "height": 40}, {"width": 9000, "height": 9000}]
    for percent in (0, 1, 33, 50, 100, 150, 250, 1000):
        at_share = pricing.of_batch(Batch(tool=slug, price_percent=percent))
        told = at_share.price_rules()
        for way in ways:
            settings = {**tool.defaults(), **way}
            most = at_share.max_price(settings)
            assert most == pricing.charged(tool.max_price(settings), percent)
            for size in sizes:
                price = at_share.price_for(settings, **size)
                assert price == pricing.charged(tool.price_for(settings, **size), percent) <= most
            found = [one["credits"] for one in told if one["when"] == way]
            assert found in ([], [at_share.price_for(settings)])
            if not found:
                assert at_share.price_for(settings) == at_share.price_for(tool.defaults())
        assert at_share.lowest_price() == pricing.charged(tool.lowest_price(), percent)


def test_a_tool_that_was_offered_is_offered_again_at_the_same_price(alice, bob):
    rule(200)
    theirs = pricing.offered(fake(), alice)
    assert pricing.offered(theirs, alice) is pricing.offered(theirs, bob) is theirs
    batch = lifecycle.create(alice, theirs, [Row(upload=str(make_original(alice).uid))])
    assert batch.items.get().held_price == 4


@pytest.mark.parametrize("door", ["page", "single", "api", "run"])
@pytest.mark.parametrize("percent", [50, 250])
def test_each_door_holds_the_price_that_it_shows(alice, client, door, percent, valkey):
    rule(percent)
    give(alice, 100)
    original = make_original(alice, 0)
    client.force_login(alice)
    if door == "page":
        client.post(reverse("batches:new", args=["fake"]), {"uploads": str(original.uid)})
    elif door == "single":
        client.post(reverse("batches:single", args=["fake"]), {"upload": str(original.uid)})
    elif door == "run":
        body = {"image": {"upload": str(original.uid)}}
        client.post("/api/v1/run/fake?wait=0", body, content_type="application/json")
    else:
        body = {"tool": "fake", "images": [{"upload": str(original.uid)}]}
        client.post("/api/v1/batches", body, content_type="application/json")
    batch = Batch.objects.get()
    shown = client.get("/api/v1/tools/fake").json()["price"]["credits"]
    assert batch.price_percent == percent
    assert batch.items.get().held_price == shown == pricing.charged(2, percent)


@pytest.mark.parametrize(("percent", "price"), [(0, 0), (50, 1), (75, 2), (100, 2), (250, 5)])
def test_what_is_held_and_captured_is_the_owners_price(
    alice, percent, price, run_jobs, rings_at_once
):
    rule(percent)
    batch = make_batch(alice, 3)
    before = ledger.balance(alice).available
    lifecycle.start(batch)
    assert ledger.balance(alice).held == 3 * price
    run_jobs()
    assert ledger.balance(alice) == (before - 3 * price, 0)
    assert set(batch.items.values_list("price", flat=True)) == {price}
    assert [*audit.disagreements(), *credits_audit.disagreements()] == []


def test_a_rule_that_changes_later_moves_nothing_of_a_batch_that_was_made(
    alice, run_jobs, rings_at_once
):
    batch = make_batch(alice, 2)
    changed = rule(1000)
    lifecycle.start(batch)
    assert ledger.balance(alice).held == 4
    run_jobs()
    changed.percent = 0
    changed.save()
    Item.objects.filter(pk=batch.items.first().pk).update(
        state=ItemState.FAILED, price=None, error_code="processing_failed"
    )
    Batch.objects.filter(pk=batch.pk).update(state=BatchState.FINISHED)
    lifecycle.retry(batch)
    assert ledger.balance(alice).held == 2, "a retry costs what the batch costs"


def test_a_tool_that_is_off_says_why_and_begins_nothing(member, client):
    ready = make_batch(member, 1)
    rule(is_on=False, plan=member.plan, note="Back on Monday.")
    client.force_login(member)
    assert b"Back on Monday." in client.get(reverse("batches:gallery")).content
    assert b"Back on Monday." in client.get(reverse("batches:new", args=["fake"])).content

    with pytest.raises(lifecycle.ToolUnavailable, match="Back on Monday"):
        lifecycle.start(ready)
    with pytest.raises(lifecycle.ToolUnavailable, match="Back on Monday"):
        make_batch(member, 2)
    failed = bare_batch(member, state=BatchState.FINISHED)
    bare_item(failed, state=ItemState.FAILED, error_code="processing_failed")
    with pytest.raises(lifecycle.ToolUnavailable, match="Back on Monday"):
        lifecycle.retry(failed)

    told = client.get("/api/v1/tools/fake").json()
    assert (told["available"], told["unavailable_reason"]) == (False, "Back on Monday.")


def test_a_page_of_a_tool_that_is_off_has_nothing_to_start_it_with(member, bob, client):
    rule(is_on=False, plan=member.plan, note="Back on Monday.")
    starts = {}
    for owner in (member, bob):
        client.force_login(owner)
        pages = [client.get(reverse(f"batches:{way}", args=["fake"])) for way in ("new", "single")]
        starts[owner] = [
            [bool(re.search(rf'id="{which}"(?![^>]*disabled)', page.content.decode()))]
            for page in pages
            for which in ("start", "start-sample")
        ]
    assert not any(found for [found] in starts[member])
    assert starts[bob][0] == starts[bob][2] == [True]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("v1/batches", {"tool": "fake", "images": [{"url": "https://a.example.com/b.png"}]}),
        ("v1/run/fake", {"image": {"url": "https://a.example.com/b.png"}}),
        ("v1/batches/{ready}/start", {}),
        ("v1/batches/{failed}/retry", {}),
        ("v1/batches/import", {"tool": "fake", "mapping": {"a": "url"}}),
        ("zapier/upscale", {"image_url": "https://a.example.com/b.png"}),
        ("zapier/batch/upscale", {"images": [{"image_url": "https://a.example.com/b.png"}]}),
    ],
)
def test_each_door_of_the_api_refuses_a_tool_that_is_off_in_staffs_words(member, path, body):
    ready, failed = make_batch(member, 1), bare_batch(member, state=BatchState.FINISHED)
    bare_item(failed, state=ItemState.FAILED, error_code="processing_failed")
    for slug in ("fake", "upscale"):
        ToolRule.objects.create(tool=slug, is_on=False, note="Back on Monday.")
    address = path.format(ready=ready.uid, failed=failed.uid)
    if address.endswith("import"):
        sheet = SimpleUploadedFile("a.csv", b"a\nhttps://a.example.com/b.png\n", "text/csv")
        body = {**body, "mapping": json.dumps(body["mapping"]), "file": sheet}
    kind = "multipart" if address.endswith("import") else "json"
    answer = clients.with_key(member).post(f"/api/{address}", body, format=kind)
    told = answer.json()
    assert (answer.status_code, told["code"].lower()) == (422, "tool_unavailable"), told
    assert told.get("detail", told.get("error")) == "Back on Monday."
    assert Batch.objects.count() == 2, "nothing was kept"


def test_a_sample_goes_on_where_its_tool_is_off_but_not_with_other_settings(
    alice, valkey, rings_at_once
):
    batch = lifecycle.start(make_batch(alice, 2, sample=1))
    pipeline.run(batch.items.first().pk)
    rule(is_on=False, note="Back on Monday.")
    with pytest.raises(lifecycle.ToolUnavailable, match="Back on Monday"):
        lifecycle.approve(batch, settings={"style": "grey"})
    assert lifecycle.approve(batch).state == BatchState.RUNNING


@pytest.mark.parametrize(("way", "field"), [("new", "uploads"), ("single", "upload")])
def test_a_page_never_charges_more_than_it_has_shown(alice, client, valkey, way, field):
    give(alice, 100)
    client.force_login(alice)
    address = reverse(f"batches:{way}", args=["fake"])
    form = {field: str(make_original(alice).uid)}

    def shown(page) -> dict[str, str]:
        found = re.search(r'name="shown_percent" value="(\d+)"', page.content.decode())
        return {**form, "shown_percent": found[1]}

    before = shown(client.get(address))
    alice.plan = Plan.objects.create(slug="dear", name="Dear")
    alice.save()
    dear = rule(250, plan=alice.plan)

    refused = client.post(address, before)
    assert refused.status_code == 422
    assert "Fake costs more now than this page has shown: 5 credits" in refused.content.decode()
    assert not Batch.objects.exists()
    assert ledger.balance(alice).held == 0

    dear.percent = 150
    dear.save()
    client.post(address, shown(refused))
    assert ledger.balance(alice).held == 3, "less than was shown is no reason to ask"


def test_a_long_sheet_is_not_begun_at_a_higher_price_than_was_shown(alice, client, monkeypatch):
    monkeypatch.setattr(imports, "AT_ONCE", 1)
    client.force_login(alice)
    rule(250)
    text = b"a\nhttps://a.example.com/1.png\nhttps://a.example.com/2.png\n"
    sheet = sheets.keep(alice, io.BytesIO(text), "a.csv")
    sheet.mapping = {"a": "url"}
    sheet.save()
    form = {"sheet": str(sheet.uid), "shown_percent": "100", "form_uid": str(uuid4())}
    address = reverse("batches:new", args=["fake"])
    assert client.post(address, form).status_code == 422
    assert not Batch.objects.exists()
    assert client.post(address, {**form, "shown_percent": "250"}).status_code == 302
    assert Batch.objects.get().price_percent == 250


def test_a_client_of_the_api_pays_no_more_than_it_says(member, valkey):
    give(member, 100)
    body = {"tool": "fake", "images": [{"upload": str(make_original(member).uid)}]}
    body["max_credits"] = (
        clients.with_key(member).get("/api/v1/tools/fake").json()["price"]["credits"]
    )
    rule(250)
    answer = clients.with_key(member).post("/api/v1/batches", body, format="json").json()
    assert answer["errors"][0]["code"] == "cap_exceeded", answer
    assert (Batch.objects.count(), ledger.balance(member).held) == (0, 0)


def test_another_run_of_an_image_is_offered_at_todays_price(alice, client, run_jobs, rings_at_once):
    client.force_login(alice)
    batch = lifecycle.start(make_batch(alice, 1, single=True))
    run_jobs()
    rule(250)
    address = reverse("batches:single_poll", args=["fake", batch.items.get().uid])
    page = client.get(address, headers={"HX-Request": "true"}).content.decode()
    assert "<dd data-cost>5 credits</dd>" in page


def test_preview_page_and_batch_of_a_sheet_agree_to_the_credit(member, client):
    """Each row has a price of its own, and each is rounded up by itself."""
    ToolRule.objects.create(tool="product-lifestyle", percent=33, plan=member.plan)
    text = b"a,num_results\n" + b"".join(
        b"https://a.example.com/%d.png,%d\n" % (n, n) for n in (1, 2, 3)
    )
    costs = [math.ceil(price * 33 / 100) for price in (2, 4, 6)]

    def send(path: str, **fields: str) -> dict:
        sheet = SimpleUploadedFile("a.csv", text, "text/csv")
        mapping = json.dumps({"a": "url", "num_results": "num_results"})
        fields = {"tool": "product-lifestyle", "mapping": mapping, "file": sheet, **fields}
        return clients.with_key(member).post(path, fields, format="multipart").json()

    assert send("/api/v1/batches/import", dry_run="true")["quote"] == sum(costs)
    made = send("/api/v1/batches/import", start="false")
    items = Batch.objects.get(uid=made["id"]).items.order_by("position")
    assert [item.held_price for item in items] == costs

    client.force_login(member)
    address = reverse("batches:sheet_change", args=["product-lifestyle"])
    client.post(address, {"sheet_file": SimpleUploadedFile("a.csv", text, "text/csv")})
    page = client.get(reverse("batches:new", args=["product-lifestyle"])).content.decode()
    assert f'data-credits="{sum(costs)}"' in page


def test_a_batch_that_runs_goes_on_when_its_tool_is_switched_off(alice, run_jobs, rings_at_once):
    batch = lifecycle.start(make_batch(alice, 2))
    rule(is_on=False)
    run_jobs()
    assert set(batch.items.values_list("state", flat=True)) == {ItemState.DONE}


def test_pages_and_clients_see_the_price_of_whoever_asks(member, bob, client, api):
    rule(250, plan=member.plan)
    for owner, price in ((member, 5), (bob, 2)):
        client.force_login(owner)
        page = client.get(reverse("batches:new", args=["fake"]))
        assert f'data-price="{price}"' in page.content.decode()
        assert client.get("/api/v1/tools/fake").json()["price"]["credits"] == price
    assert api.get("/api/v1/tools/fake").json()["price"]["credits"] == 2


def test_rules_are_read_once_until_one_changes(alice, django_assert_num_queries):
    known = rule(50)
    with django_assert_num_queries(1):
        assert [price_for(alice) for _ in range(3)] == [1, 1, 1]
    known.percent = 200
    known.save()
    assert price_for(alice) == 4


def test_there_is_one_rule_for_a_tool_and_plan(member):
    rule()
    rule(plan=member.plan)
    for plan in (None, member.plan):
        with pytest.raises(IntegrityError), transaction.atomic():
            rule(plan=plan)


def test_staff_make_a_rule_which_is_noted(client, staff, alice):
    client.force_login(staff)
    address = reverse("admin:batches_toolrule_add")
    fields = {"tool": "fake", "plan": "", "is_on": "on", "percent": "150", "note": ""}
    answer = client.post(address, fields, follow=True)
    assert answer.status_code == 200
    assert price_for(alice) == 3
    assert StaffAction.objects.get().action == "toolrule.add"

    twice = client.post(address, fields)
    assert b"There is a rule for this tool and plan already." in twice.content
    wrong = client.post(address, {**fields, "tool": "upscale", "percent": "1001"})
    assert ToolRule.objects.count() == 1, wrong.content
    page = client.get(reverse("admin:batches_toolrule_changelist")).content.decode()
    assert "150" in page


# --- Batches at a time, and priority --------------------------------------------------------


def rung(batch: Batch) -> int:
    return batch.items.filter(rung_at__isnull=False).count()


@pytest.fixture
def one_at_a_time(member) -> User:
    """Alice, on a plan that runs one of her batches at a time."""
    member.plan.concurrent_batches = 1
    member.plan.save()
    return member


def test_only_as_many_batches_run_as_the_plan_lets(one_at_a_time, bob, valkey, rings_at_once):
    first, second = (lifecycle.start(make_batch(one_at_a_time, 2)) for _ in range(2))
    single = lifecycle.start(make_batch(one_at_a_time, 1, single=True))
    other = lifecycle.start(make_batch(bob, 2))
    reconcile.reconcile(now=second.created_at)
    assert [rung(batch) for batch in (first, second, single, other)] == [2, 0, 1, 2]
    assert dispatch.waiting(one_at_a_time, [first, second, single]) == {second.pk}


@pytest.mark.parametrize("verb", [lifecycle.pause, lifecycle.cancel])
def test_the_next_batch_begins_by_itself_when_one_stops(one_at_a_time, verb, valkey, rings_at_once):
    first, second, third = (lifecycle.start(make_batch(one_at_a_time, 2)) for _ in range(3))
    verb(first)
    assert (rung(second), rung(third)) == (2, 0)


def test_the_next_batch_begins_by_itself_when_one_is_done_or_waits_for_a_yes(
    one_at_a_time, valkey, rings_at_once
):
    first = lifecycle.start(make_batch(one_at_a_time, 2, sample=1))
    second = lifecycle.start(make_batch(one_at_a_time, 1))
    pipeline.run(first.items.first().pk)
    assert (lifecycle.approve(first).state, rung(second)) == (BatchState.RUNNING, 1)
    pipeline.run(second.items.get().pk)
    assert set(Batch.objects.values_list("pk", "state")) == {
        (first.pk, BatchState.RUNNING),
        (second.pk, BatchState.FINISHED),
    }


def test_a_batch_that_waits_for_others_says_so_wherever_it_is_shown(
    one_at_a_time, client, valkey, django_assert_num_queries
):
    first, second = (lifecycle.start(make_batch(one_at_a_time, 2)) for _ in range(2))
    client.force_login(one_at_a_time)
    page = client.get(second.get_absolute_url()).content.decode()
    assert "Waits for your other batches" in page
    assert "Your plan runs 1 batch at a time" in page
    assert "Waits for your other" not in client.get(first.get_absolute_url()).content.decode()

    address = reverse("batches:index")
    with CaptureQueriesContext(connection) as asked:
        listed = client.get(address).content.decode()
    few = len(asked)
    assert listed.count("Waits for your other batches") == 1
    notices = [client.get(f"/api/v1/batches/{b.uid}").json()["notice"] for b in (first, second)]
    assert notices == [None, str(serializers.WAITS)]

    with CaptureQueriesContext(connection) as asked:
        client.get("/api/v1/batches")
    few_read = len(asked)
    for _ in range(3):
        lifecycle.start(make_batch(one_at_a_time, 2))
    with django_assert_num_queries(few):
        assert client.get(address).content.decode().count("Waits for your other") == 4
    with django_assert_num_queries(few_read):
        found = client.get("/api/v1/batches").json()["results"]
    assert [one["notice"] for one in found] == [str(serializers.WAITS)] * 4 + [None]


def test_an_answer_has_another_tag_once_a_batch_waits_no_longer(
    one_at_a_time, client, valkey, monkeypatch
):
    monkeypatch.setattr(etags, "SETTLED_AFTER", timedelta(0))
    first, second = (lifecycle.start(make_batch(one_at_a_time, 2)) for _ in range(2))
    client.force_login(one_at_a_time)
    address = f"/api/v1/batches/{second.uid}"
    tag = client.get(address)["ETag"]
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 304
    lifecycle.pause(first)
    assert client.get(address, headers={"If-None-Match": tag}).json()["notice"] is None


def test_a_raised_batch_has_twice_the_window_and_others_keep_theirs(alice, valkey):
    normal, raised = (lifecycle.start(make_batch(alice, 40)) for _ in range(2))
    lifecycle.prioritise(raised, 1)
    assert (rung(normal), rung(raised)) == (dispatch.ENGINE_WINDOW, 2 * dispatch.ENGINE_WINDOW)


def test_what_has_ended_cannot_be_raised(alice):
    over = bare_batch(alice, state=BatchState.FINISHED)
    with pytest.raises(lifecycle.StateConflict):
        lifecycle.prioritise(over, 1)
