"""Accounts in a real browser: from signing up to leaving, by mouse and by keyboard."""

import re
import uuid

import pytest
from playwright.sync_api import expect

from accounts.models import ApiKey, User, create_key
from batches.models import Batch
from credits import ledger
from tests.factories import give

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("valkey")]

PASSWORD = "tulip spoon river"


@pytest.fixture
def mails(settings, tmp_path, live_server):
    """The folder into which the site writes its mails, and a reader of the newest link."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    settings.SITE_URL = live_server.url

    def newest_link() -> str:
        newest = max((tmp_path / "mail").iterdir(), key=lambda file: file.stat().st_mtime_ns)
        return re.search(r"http://\S+", newest.read_text())[0]

    return newest_link


def theme_of(page) -> str | None:
    return page.locator("html").get_attribute("data-theme")


def test_a_whole_life_from_signing_up_to_leaving(page, chromium, mails, settings, complaints):
    settings.WELCOME_CREDITS = 25
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    # Sign up, prove the address, sign in.
    page.goto("/accounts/login/")
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("E-mail address").fill("carol@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
    page.goto(mails())
    page.get_by_role("button", name="Yes, confirm").click()
    page.get_by_label("E-mail address").fill("carol@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/tools/**")
    expect(page.locator("#balance")).to_contain_text("25")

    # Make a key, copy it, and find that it is never shown again.
    page.goto("/accounts/keys/")
    page.get_by_label("Name").fill("Shop import")
    page.get_by_role("button", name="Make key").click()
    secret = page.get_by_label("The new key").input_value()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    page.goto("/accounts/keys/")
    expect(page.get_by_text("Shop import", exact=True)).to_be_visible()
    expect(page.get_by_label("The new key")).to_have_count(0)
    assert secret not in page.content()

    # Go dark, here and in every other browser.
    page.goto("/accounts/preferences/")
    page.get_by_text("Dark", exact=True).click()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#messages")).to_contain_text("Saved.")
    assert theme_of(page) == "studio-dark"

    # Leave.
    page.goto("/accounts/")
    page.get_by_role("link", name="Delete…").click()
    expect(page.get_by_role("main")).to_contain_text("25 credits that you have left")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Delete my account").click()
    expect(page.locator("#messages")).to_contain_text("Your account is deleted")
    assert not User.objects.filter(email="carol@example.com").exists()
    assert complaints == []


def test_signing_in_needs_no_mouse(page, alice):
    page.goto("/accounts/login/")
    expect(page.get_by_label("E-mail address")).to_be_focused()

    page.keyboard.type(alice.email)
    page.keyboard.press("Tab")
    page.keyboard.type("alice's password")
    page.keyboard.press("Enter")

    page.wait_for_url("**/tools/**")
    expect(page.get_by_text(f"Account of {alice.email}")).to_be_visible()


def test_the_switch_in_the_header_is_remembered_by_other_browsers(signed_in, alice, chromium):
    page = signed_in
    with page.expect_response("**/accounts/theme/") as answer:
        page.get_by_role("button", name="Dark colours").click()
    assert answer.value.status == 204

    page.context.clear_cookies(name="theme")
    page.reload()

    assert theme_of(page) == "studio-dark"
    alice.refresh_from_db()
    assert alice.theme == "dark"


def test_a_key_is_revoked_after_a_question_in_place(signed_in, alice):
    page = signed_in
    create_key(alice, name="Shop import")
    page.goto("/accounts/keys/")

    page.get_by_label("Revoke Shop import").click()
    assert ApiKey.objects.get().revoked_at is None
    page.get_by_role("button", name="Revoke", exact=True).click()

    expect(page.locator("#messages")).to_contain_text("The key is revoked")
    assert ApiKey.objects.get().revoked_at


def test_the_last_day_is_asked_for_only_with_a_date(signed_in):
    page = signed_in
    page.goto("/accounts/keys/")
    expect(page.get_by_label("Last day")).to_be_hidden()

    page.get_by_label("It ends").select_option("date")

    expect(page.get_by_label("Last day")).to_be_visible()


@pytest.fixture
def history(alice) -> None:
    """A batch on the statement, keys that work and one that doesn't."""
    give(alice, 600)
    batch = Batch.objects.create(owner=alice, tool="remove-background", name="Autumn catalogue")
    hold = ledger.hold(alice, 20, key="start", reference=batch.reference)
    for _image in range(15):
        ledger.capture(hold.pk, item_uid=uuid.uuid4(), generation=1, held=1, price=1)
    create_key(alice, name="Shop import")


def test_every_page_of_an_account_is_accessible_with_all_of_it_open(
    signed_in, history, check_accessibility, complaints
):
    page = signed_in
    page.emulate_media(reduced_motion="reduce")
    for path in ("", "email/", "password/", "credits/", "keys/", "preferences/", "delete/"):
        page.goto(f"/accounts/{path}")
        for closed in page.locator("main details > summary:visible").all():
            closed.click()
        check_accessibility(page)
    page.goto("/accounts/credits/")
    page.get_by_text("Details").first.click()
    page.get_by_role("link", name="Each entry").click()
    check_accessibility(page)
    assert complaints == []


def test_the_way_in_is_accessible_in_each_step(page, mails, check_accessibility, complaints):
    page.emulate_media(reduced_motion="reduce")
    page.goto("/accounts/signup/")
    page.get_by_label("E-mail address").fill("carol@example.com")
    page.get_by_label("Password").fill("password")
    page.get_by_role("button", name="Create account").click()
    check_accessibility(page)  # the form, refused
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    check_accessibility(page)  # look into your mail
    page.goto(mails())
    check_accessibility(page)  # the question
    assert complaints == []


@pytest.mark.parametrize("path", ["", "credits/", "keys/", "preferences/", "delete/"])
def test_nothing_is_wider_than_a_phone(signed_in, history, path):
    page = signed_in
    page.set_viewport_size({"width": 390, "height": 844})

    page.goto(f"/accounts/{path}")

    assert page.evaluate("document.documentElement.scrollWidth") == 390
