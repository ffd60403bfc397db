"""A real Chromium on a real server, with real workers behind it."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect, sync_playwright

# The fixtures, not the tests: what a child process needs, and how to start and end one.
from tests import pages
from tests.worker.conftest import start, worker_env  # noqa: F401

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

PATIENCE = 60_000
"""Milliseconds that a real worker may take."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module. Chromium is the one of `$CHROMIUM`, or the system's."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    if not (settings.BASE_DIR / "static/dist/app.css").exists():
        pytest.fail("The style sheet is not built. Run `make setup`.")
    # Playwright keeps an event loop in this thread, and Django would refuse to ask the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of: errors of scripts and breaches of the content policy."""
    return []


@pytest.fixture
def page(chromium, live_server, complaints) -> Iterator[Page]:
    """An empty page of a fresh visitor."""
    # A service worker would stand between the page and `page.route`; test_shell.py lets it in.
    context = chromium.new_context(
        base_url=live_server.url, accept_downloads=True, service_workers="block"
    )
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda said: complaints.append(said.text) if "Content Security" in said.text else None,
    )
    yield page
    context.close()


AXE = settings.BASE_DIR / "node_modules/axe-core/axe.min.js"


@pytest.fixture
def check_accessibility() -> Callable[[Page], None]:
    """Let axe-core look at a page as it is now; what it finds serious fails the test."""

    def check(page: Page, within: str = "html") -> None:
        page.evaluate(AXE.read_text())
        found = page.evaluate("within => axe.run(within, {resultTypes: ['violations']})", within)[
            "violations"
        ]
        serious = [
            f"{rule['id']}: {rule['help']}\n    " + "\n    ".join(n["html"] for n in rule["nodes"])
            for rule in found
            if rule["impact"] in {"serious", "critical"}
        ]
        assert serious == []

    return check


@pytest.fixture
def signed_in(page, alice, live_server) -> Page:
    """Alice's page, which shows a tool. test_accounts.py signs in by the form."""
    page.context.add_cookies([{**pages.session_cookie(alice), "url": live_server.url}])
    page.goto("/tools/remove-background/")
    return page


class Shop(ThreadingHTTPServer):
    """Somebody else's web site with one address, `/mug.png`, that shows what `content` holds."""

    content: tuple[str, bytes] = ("text/html", b"<html>Sold out</html>")

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Shelf(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind, body = self.server.content
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments) -> None:
        pass


@pytest.fixture
def shop(settings) -> Iterator[Shop]:
    """The shop, which the site is allowed to reach."""
    server = Shop(("127.0.0.1", 0), _Shelf)
    settings.FETCH_ALLOW = [server.host]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


expect.set_options(timeout=20_000)  # two browsers share the machine with a server each
