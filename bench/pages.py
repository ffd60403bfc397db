"""How quickly pages show, how still they stand, and what they weigh.

The site is served as in production: gunicorn, compressed files with hashed names. Each figure is
the median of a few visits with an empty cache; "again" are the bytes of the next page of the
same visitor.
"""

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from bench.site import CHROMIUM_ARGUMENTS, DemoSite, chromium, demo_site

FIGURES = """async () => {
  const entries = (type) => new Promise((resolve) => {
    new PerformanceObserver((list) => resolve(list.getEntries())).observe({type, buffered: true});
    setTimeout(() => resolve([]), 300);
  });
  const paints = await entries('largest-contentful-paint');
  const shifts = await entries('layout-shift');
  const [page] = performance.getEntriesByType('navigation');
  const files = performance.getEntriesByType('resource');
  const kilobytes = (kinds) => files.filter(({name}) => kinds.test(name))
    .reduce((sum, {transferSize}) => sum + transferSize, 0) / 1000;
  return {
    first_byte: page.responseStart - page.requestStart,
    largest_paint: paints.length ? paints.at(-1).startTime : NaN,
    shift: shifts.reduce((sum, {value, hadRecentInput}) => sum + (hadRecentInput ? 0 : value), 0),
    requests: files.length + 1,
    total: page.transferSize / 1000 + kilobytes(/./),
    page: page.transferSize / 1000,
    css: kilobytes(/\\.css$/),
    scripts: kilobytes(/\\.js$/),
    font: kilobytes(/\\.woff2$/),
  };
}"""

COLUMNS = {
    "first_byte": ("first byte", "{:.0f} ms"),
    "largest_paint": ("largest paint", "{:.0f} ms"),
    "shift": ("shift", "{:.3f}"),
    "requests": ("requests", "{:.0f}"),
    "total": ("total", "{:.0f} kB"),
    "page": ("page", "{:.1f} kB"),
    "css": ("css", "{:.1f} kB"),
    "scripts": ("scripts", "{:.1f} kB"),
    "font": ("font", "{:.1f} kB"),
    "again": ("again", "{:.1f} kB"),
}


def main(*, rounds: int = 3) -> None:
    """Start a site, look at its pages and print a table."""
    with demo_site() as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
        rows = list(_rows(browser, site, rounds))
        browser.close()
    heads = ["page", *(head for head, _form in COLUMNS.values())]
    lines = [
        [name, *(form.format(row[key]) for key, (_head, form) in COLUMNS.items())]
        for name, row in rows
    ]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    for line in [heads, *lines]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _rows(browser: Browser, site: DemoSite, rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    context = browser.new_context(base_url=site.address)
    page = context.new_page()
    page.goto("/accounts/login/")
    page.locator("main input[type=email], main input[name=username]").first.fill(site.user)
    page.locator("main input[type=password]").fill(site.password)
    page.locator("main button[type=submit]").first.click()
    page.wait_for_url(lambda url: "login" not in url)
    cookies: Any = context.cookies()
    page.goto("/batches/")
    batch = page.locator("main a[href^='/batches/']").first.get_attribute("href") or "/batches/"
    context.close()
    for name, path, signed_in in (
        ("home", "/", False),
        ("tool", "/tools/remove-background/", False),
        ("tool, signed in", "/tools/remove-background/", True),
        ("batches", "/batches/", True),
        ("batch", batch, True),
    ):
        visits = [_visit(browser, site, path, cookies if signed_in else []) for _ in range(rounds)]
        yield name, {key: statistics.median(visit[key] for visit in visits) for key in COLUMNS}


def _visit(browser: Browser, site: DemoSite, path: str, cookies: Any) -> Mapping[str, float]:
    """The figures of one page with an empty cache, and what the same page weighs once more."""
    context = browser.new_context(
        base_url=site.address,
        viewport={"width": 1280, "height": 820},
        service_workers="block",
    )
    context.add_cookies(cookies)
    page = context.new_page()
    figures = _figures(page, path)
    again = _figures(page, path)
    context.close()
    return {**figures, "again": again["total"]}


def _figures(page: Page, path: str) -> dict[str, float]:
    page.goto(path, wait_until="networkidle")
    figures: dict[str, float] = page.evaluate(FIGURES)
    return figures


if __name__ == "__main__":
    main()
