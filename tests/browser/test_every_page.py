"""Every page in every state, in light and dark, on a desk and on a phone: nothing sticks out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page

from tests import pages
from tests.browser.conftest import AXE
from tests.pages import STAFF, World

pytestmark = pytest.mark.browser

SIZES = DESK, PHONE, SMALL_PHONE = (1280, 820), (390, 844), (320, 640)
SIDES = {"left", "right"}

WIDEST = """() => {
  const edge = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= edge) return [];
  return [...document.body.querySelectorAll('*')]
    .map((element) => [element, element.getBoundingClientRect()])
    .filter(([, { left, right }]) => right > edge + 1 || left < -1)
    .map(([element]) => element.outerHTML.slice(0, 120)).slice(0, 5);
}"""
"""What sticks out of the page on either side, where the page can be scrolled sideways."""

VIOLATIONS = """() => axe.run('html', {resultTypes: ['violations']}).then((told) => told.violations
  .filter(({impact}) => ['serious', 'critical'].includes(impact))
  .map(({id, help, nodes}) => `${id}: ${help} ${nodes.map((node) => node.html).join(' | ')}`))"""


@pytest.fixture
def world(transactional_db) -> World:
    return pages.build()


@contextmanager
def browsing(
    chromium: Browser, address: str, world: World, *, theme: str = "light", **options
) -> Iterator[Callable[[str], tuple[Page, list[str]]]]:
    """A function that gives the tab of somebody, and what the browser complained of there."""
    tabs, contexts = {}, []

    def tab_of(who: str) -> tuple[Page, list[str]]:
        if who not in tabs:
            context = chromium.new_context(
                base_url=address,
                color_scheme=theme,
                reduced_motion="reduce",
                service_workers="block",
                **options,
            )
            contexts.append(context)
            context.set_default_timeout(15_000)
            if user := world.user(who):
                context.add_cookies([{**pages.session_cookie(user), "url": address}])
            page, complaints = context.new_page(), []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "console",
                lambda said: complaints.append(said.text) if said.type == "error" else None,
            )
            tabs[who] = page, complaints
        return tabs[who]

    yield tab_of
    for context in contexts:
        context.close()


def problems_of(page: Page, *, axe: bool = True) -> list[str]:
    """What is wrong with the page as it is now."""
    found = []
    if (n := page.locator("h1").count()) != 1:
        found.append(f"{n} headings of the first level")
    if not page.title().strip():
        found.append("no title")
    if not page.locator("html").get_attribute("lang"):
        found.append("no language")
    found += [f"sticks out: {element}" for element in page.evaluate(WIDEST)]
    if axe:
        page.evaluate(AXE.read_text())
        found += page.evaluate(VIOLATIONS)
    return found


def told(found: dict[str, list[str]]) -> str:
    return "\n".join(f"{label}: {text}" for label, texts in found.items() for text in texts)


@pytest.mark.parametrize(
    ("theme", "sizes", "audited"), [("light", SIZES, DESK), ("dark", [PHONE], PHONE)]
)
def test_every_page_is_sound(chromium, live_server, world, theme, sizes, audited):
    """At all widths, which colours don't change; axe looks at each theme and at each layout."""
    found = {}

    with browsing(chromium, live_server.url, world, theme=theme) as tab_of:
        for look in pages.LOOKS:
            page, complaints = tab_of(look.who)
            complaints.clear()
            page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
            answer = page.goto(look.path(world))
            wrong = [] if answer.status == look.status else [f"status {answer.status}"]
            for size in sizes:
                page.set_viewport_size({"width": size[0], "height": size[1]})
                wrong += [f"{size[0]} px: {it}" for it in problems_of(page, axe=size == audited)]
            # The browser also says that the page was a failure, where it is meant to be one.
            wrong += [it for it in complaints if look.status == 200 or "status of" not in it]
            if wrong:
                found[look.label] = wrong

    assert not found, told(found)


def test_every_page_can_be_read_from_right_to_left(chromium, live_server, world, settings):
    settings.LANGUAGES = [("en", "English"), ("ar", "Arabic")]
    found = {}

    with browsing(chromium, live_server.url, world, locale="ar") as tab_of:
        # The sides don't depend on the state: one look for each address.
        for look in {look.name: look for look in pages.LOOKS}.values():
            page, _complaints = tab_of(look.who)
            page.goto(look.path(world))
            wrong = []
            if page.locator("html").get_attribute("dir") != "rtl":
                wrong.append("not from right to left")
            if page.locator("h1").evaluate("h => getComputedStyle(h).textAlign") in SIDES:
                wrong.append("the heading has a side of its own")
            for size in SIZES:
                page.set_viewport_size({"width": size[0], "height": size[1]})
                wrong += [f"{size[0]} px: {it}" for it in problems_of(page, axe=False)]
                if page.locator("header a").first.bounding_box()["x"] < size[0] / 2:
                    wrong.append(f"{size[0]} px: the header is not mirrored")
            if wrong:
                found[look.label] = wrong

    assert not found, told(found)


def test_the_admin_keeps_to_the_content_policy(chromium, live_server, world):
    from django.contrib import admin
    from django.urls import reverse

    addresses = [reverse("admin:index")]
    for model in admin.site._registry:
        if model._meta.managed:
            prefix = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            addresses.append(reverse(f"{prefix}_changelist"))
            addresses += [
                reverse(f"{prefix}_change", args=[row.pk])
                for row in model._default_manager.all()[:1]
            ]
    account = world.person.credit_account.pk if hasattr(world.person, "credit_account") else 1
    addresses.append(reverse("admin:credits_creditaccount_adjust", args=[account]))
    addresses.append(reverse("admin:accounts_user_add"))
    found = {}

    with browsing(chromium, live_server.url, world) as tab_of:
        page, complaints = tab_of(STAFF)
        for address in addresses:
            complaints.clear()
            page.goto(address)
            if complaints:
                found[address] = list(complaints)

    assert not found, told(found)
