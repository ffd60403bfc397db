"""Pasted addresses, judged line by line before anything is started."""

import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from django.conf import settings

from batches import fetch, messages
from batches.names import clean_name
from batches.sources import url_list
from tools.engines import images

MOST_LINES = 10_000
PROBED_TOGETHER = 8
"""Addresses of one request to look at; each has a thread."""
PROBES_AT_ONCE = 4
"""Such requests of one process at the same moment: the site has other things to do."""
PROBE_SECONDS = 5.0

_TRACKING = re.compile(
    r"utm_\w+|gclid|gclsrc|gbraid|wbraid|dclid|fbclid|msclkid|yclid|twclid|ttclid|li_fat_id"
    r"|igshid|mc_[ce]id|_hs(?:enc|mi)|srsltid|epik",
    re.IGNORECASE,
)
"""Parameters that tell a shop where a visitor came from, and never name another picture."""

_places = threading.BoundedSemaphore(PROBES_AT_ONCE)


class Busy(Exception):
    """Too many addresses are being looked at just now."""


@dataclass(frozen=True)
class Problem:
    """Why an address can't be used: the code, and words for people."""

    code: str
    message: str


@dataclass(frozen=True)
class Line:
    """One pasted address."""

    line: int
    url: str
    """In normal form; as it was typed when it can't be used."""
    typed: str
    name: str
    problem: Problem | None = None
    same_as: int | None = None
    """The earlier line that asks for the same picture."""
    tracking: Sequence[str] = ()
    """Names of the parameters that don't count when two addresses are compared."""

    @property
    def usable(self) -> bool:
        """Whether it would become an image of its own."""
        return self.problem is None and self.same_as is None


def judged(text: str) -> Iterator[Line]:
    """Every line that is not blank, by the shape of its address; nothing is fetched."""
    first: dict[str, int] = {}
    for row in url_list.rows(text):
        number, problem = row.line or 0, None
        try:
            url = fetch.check_url(row.url, allow=settings.FETCH_ALLOW)
        except fetch.FetchError as error:
            url, problem = row.url, _problem(error)
        same, tracking = without_tracking(url)
        earlier = first.setdefault(same, number)
        yield Line(
            line=number,
            url=url,
            typed=row.url,
            name=name_in(url),
            problem=problem,
            same_as=earlier if earlier != number else None,
            tracking=tracking,
        )


def name_in(url: str) -> str:
    """What the picture is called, going by its address."""
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    return clean_name(unquote(PurePosixPath(path).name))


def probe(urls: Sequence[str]) -> list[dict[str, Any]]:
    """Open each address and look at its beginning; the answers in the same order.

    Advice only: what is fine now may be gone in a minute. Raises `Busy`.
    """
    if not _places.acquire(blocking=False):
        raise Busy
    try:
        with ThreadPoolExecutor(max_workers=PROBED_TOGETHER) as threads:
            return list(threads.map(_probed, urls))
    finally:
        _places.release()


def _probed(url: str) -> dict[str, Any]:
    try:
        found = fetch.peek(
            url,
            max_bytes=settings.IMAGE_MAX_BYTES,
            deadline=PROBE_SECONDS,
            allow=settings.FETCH_ALLOW,
        )
        kind = images.check_format(found.start)
    except fetch.FetchError as error:
        return {"url": url, "ok": False, **vars(_problem(error))}
    except images.ImageProblem as problem:
        message = messages.text(problem.code, problem.params)
        return {"url": url, "ok": False, "code": problem.code, "message": message}
    return {"url": url, "ok": True, "bytes": found.bytes, "format": kind}


def _problem(error: fetch.FetchError) -> Problem:
    return Problem(error.code, messages.text(error.code, figures(error)))


def figures(error: fetch.FetchError, *, limits: images.Limits = images.LIMITS) -> dict[str, Any]:
    """The figures of a download's message: sizes in megabytes, as an upload's refusal has them.

    Seconds are whole ones.
    """
    try:
        images.check_bytes(error.params.get("size") or 1, limits=limits)
    except images.ImageProblem as too_large:
        return too_large.params
    return {
        name: round(value) if isinstance(value, float) else value
        for name, value in error.params.items()
    }


def without_tracking(url: str) -> tuple[str, list[str]]:
    """The address without what doesn't change the picture, and the names of what was left out."""
    address, question, query = url.partition("?")
    if not question:
        return url, []
    kept, tracking = [], []
    for part in query.split("&"):
        name = unquote_plus(part.partition("=")[0])
        if _TRACKING.fullmatch(name):
            tracking.append(name)
        else:
            kept.append(part)
    if not tracking:
        return url, []
    return f"{address}?{'&'.join(kept)}" if any(kept) else address, tracking
