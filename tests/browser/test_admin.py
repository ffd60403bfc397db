"""The admin in a real browser: staff cancel a batch, adjust credits, and nothing is blocked."""

import pytest
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from batches import lifecycle
from batches.states import BatchState, ItemState
from credits import ledger
from credits.models import CreditAccount
from tests.factories import bare_batch, bare_item, make_batch

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("fake_tool", "valkey")]


@pytest.fixture
def desk(page, staff, client, live_server):
    """The page after somebody of the staff has signed in."""
    client.force_login(staff)
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value}
    page.context.add_cookies([cookie | {"url": live_server.url}])
    return page


def test_staff_cancel_a_batch_after_a_question(desk, alice, complaints):
    batch = lifecycle.start(make_batch(alice, 3, name="Mugs"))
    desk.goto(reverse("admin:batches_batch_changelist"))

    desk.get_by_role("row", name="Mugs").get_by_role("checkbox").check()
    desk.locator("select[name=action]").select_option("cancel")
    desk.get_by_role("button", name="Run").click()
    expect(desk.get_by_role("heading", name="Cancel these batches?")).to_be_visible()
    expect(desk.locator("#main")).to_contain_text("0 of 3 done, 0 failed, 6 credits on hold")
    desk.get_by_role("button", name="Cancel the batches").click()

    expect(desk.locator("body")).to_contain_text("1 batch moved.")
    batch.refresh_from_db()
    assert batch.state == BatchState.CANCELLED
    desk.goto(reverse("admin:accounts_staffaction_changelist"))
    expect(desk.locator("#result_list")).to_contain_text("batch.cancel")
    desk.locator("#result_list tbody a").first.click()
    expect(desk.locator(".studio-changes")).to_contain_text("running")
    assert complaints == []


def test_staff_adjust_credits_with_a_reason(desk, alice, complaints):
    before = ledger.balance(alice).available
    account = CreditAccount.objects.get(owner=alice)
    desk.goto(reverse("admin:credits_creditaccount_change", args=[account.pk]))

    desk.get_by_role("link", name="Adjust credits").click()
    desk.get_by_label("Credits").fill("-5")
    desk.get_by_label("Reason").fill("Counted twice by hand")
    desk.get_by_role("button", name="Adjust").click()

    expect(desk.locator("body")).to_contain_text("Adjusted by -5")
    assert ledger.balance(alice).available == before - 5
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_of_the_admin_is_in_our_colours_and_nothing_is_blocked(
    desk, alice, staff, complaints, check_accessibility, scheme
):
    desk.emulate_media(color_scheme=scheme)
    batch = bare_batch(alice, name="Mugs", state=BatchState.FINISHED)
    item = bare_item(batch, state=ItemState.FAILED, error_code="no_subject")
    ledger.balance(alice)
    account = CreditAccount.objects.get(owner=alice)
    lists = ["batches_batch", "batches_item", "credits_creditaccount", "credits_ledgerentry"]
    lists += ["credits_grant", "credits_hold", "accounts_user", "accounts_apikey"]
    lists += ["accounts_plan", "accounts_staffaction", "credits_promocode", "studio_scheduledrun"]
    lists += ["batches_delivery", "batches_webhookendpoint", "batches_webhookmessage"]
    addresses = [reverse(f"admin:{name}_changelist") for name in lists]
    for name, row in [
        ("batches_batch", batch), ("batches_item", item),
        ("credits_creditaccount", account), ("accounts_user", alice),
    ]:  # fmt: skip
        addresses.append(reverse(f"admin:{name}_change", args=[row.pk]))
    addresses += [
        reverse("admin:index"),
        reverse("admin:workers"),
        reverse("admin:accounts_user_add"),
        reverse("admin:credits_creditaccount_adjust", args=[account.pk]),
    ]

    for address in addresses:
        answer = desk.goto(address)
        assert answer.status == 200, address
        expect(desk.get_by_role("link", name="Studio admin").first).to_be_visible()
    colour = desk.evaluate("getComputedStyle(document.body).backgroundColor")

    light = colour.startswith("oklch(0.98")
    assert light == (scheme == "light"), colour
    assert complaints == []
    check_accessibility(desk, ".studio-choice, form[method=post]")


def test_the_queues_are_listed_for_staff(desk, complaints):
    desk.goto("/admin/")
    desk.get_by_role("link", name="All about the workers").click()

    expect(desk.get_by_role("row", name="cpu")).to_contain_text("none")
    assert complaints == []


def test_the_dashboard_renews_itself_where_somebody_stands_and_signs_out_with_the_session(
    desk, alice, staff, complaints, check_accessibility
):
    desk.clock.install()
    desk.goto("/admin/")
    tile = desk.locator("#tile-running")
    expect(tile).to_contain_text("0 batches running")
    check_accessibility(desk, "#dashboard")
    tile.focus()
    before = desk.locator("#dashboard").bounding_box()

    bare_batch(alice, state=BatchState.RUNNING)
    desk.clock.run_for(11_000)

    expect(tile).to_contain_text("1 batches running")
    expect(tile).to_be_focused()
    assert desk.locator("#dashboard").bounding_box() == before
    Session.objects.all().delete()
    desk.clock.run_for(11_000)
    expect(desk.get_by_role("button", name="Log in")).to_be_visible()
    desk.get_by_label("E-mail").fill(staff.email)
    desk.get_by_label("Password").fill("staff's password")
    desk.get_by_role("button", name="Log in").click()
    expect(tile).to_be_visible()
    assert complaints == []


def test_the_dashboard_fits_a_phone(desk, alice, complaints):
    batch = bare_batch(alice, state=BatchState.RUNNING)
    ended = {"error_code": "source_not_found", "finished_at": timezone.now()}
    bare_item(batch, state=ItemState.FAILED, **ended)
    desk.set_viewport_size({"width": 360, "height": 740})

    for address in ("/admin/", "/admin/workers/"):
        desk.goto(address)
        expect(desk.get_by_role("heading", name="Queues").first).to_be_visible()
        assert desk.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    assert complaints == []
