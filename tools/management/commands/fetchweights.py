"""``manage.py fetchweights``: bring the models' weights, once, before the studio runs."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from tools import registry
from tools.engines import weights

MEGABYTE = 1_000_000
LINE_EVERY = 25
"""Percent between two lines of progress where there is no terminal to draw a bar in."""


class Command(BaseCommand):
    """Fetches what is missing or damaged; what is there and right is left alone."""

    help = (
        "Fetch the weights of models. Without names: what every tool's default and fast "
        "choices need."
    )
    requires_system_checks: list[str] = []  # runs while the studio is still being set up

    def add_arguments(self, parser: CommandParser) -> None:
        """Names, or one of ``--all`` and ``--list``."""
        which = parser.add_mutually_exclusive_group()
        which.add_argument("names", nargs="*", default=[], metavar="NAME", help="such as u2net")
        which.add_argument("--all", action="store_true", help="extras too")
        which.add_argument("--list", action="store_true", help="show what there is, fetch nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Fetch one after another; a failure does not stop the others."""
        if options["list"]:
            self._list()
            return
        try:
            wanted = [weights.artefact(name) for name in options["names"]]
        except weights.UnknownWeights as exc:
            raise CommandError(str(exc)) from None
        if options["all"]:
            wanted = list(weights.MANIFEST.values())
        failed = [artefact.name for artefact in wanted or _needed() if not self._fetch(artefact)]
        if failed:
            raise CommandError(
                f"Not fetched: {', '.join(failed)}. Check the network, or put the files into a "
                "folder and name it in STUDIO_WEIGHTS_FROM; then run this command again."
            )

    def _fetch(self, artefact: weights.Artefact) -> bool:
        failures: Sequence[weights.Failure]
        with _Bar(artefact, sys.stderr) as bar:
            try:
                fetched = weights.fetch(artefact.name, progress=bar.show)
            except weights.WeightsUnavailable as exc:
                state, failures = "FAILED", exc.failures
            else:
                failures = fetched.failures
                state = f"fetched from {fetched.source}" if fetched.source else "there"
        for failure in failures:
            self.stderr.write(f"  {failure.source}: {failure.reason}")
        self.stdout.write(f"{artefact.name}: {state} (licence: {artefact.licence})")
        if artefact.note and state != "FAILED":
            self.stdout.write(f"  {artefact.note}")
        return state != "FAILED"

    def _list(self) -> None:
        rows = [("NAME", "SIZE", "STATE", "KIND", "USED BY", "LICENCE")]
        for artefact in weights.MANIFEST.values():
            used_by = [tool.slug for tool in registry.all() if artefact.name in tool.artefacts]
            rows.append(
                (
                    artefact.name,
                    f"{artefact.size / MEGABYTE:.1f} MB",
                    weights.problem(artefact.name) or "there",
                    artefact.kind,
                    ", ".join(used_by) or "-",
                    artefact.licence,
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())


def _needed() -> list[weights.Artefact]:
    """What the default and fast choices of all tools need."""
    used = {name for tool in registry.all() for name in tool.artefacts}
    return [
        artefact
        for artefact in weights.MANIFEST.values()
        if artefact.name in used and artefact.kind != "extra"
    ]


class _Bar:
    """Progress of one file: a bar in a terminal, now and then a line elsewhere."""

    def __init__(self, artefact: weights.Artefact, stream: TextIO) -> None:
        self._name = artefact.name
        self._stream = stream
        self._bar: Any = None
        self._shown = ("", 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, what: str, done: int, total: int) -> None:
        """Take news from a source."""
        if self._stream.isatty():
            self._draw(what, done, total)
            return
        quarter = done * 100 // total // LINE_EVERY * LINE_EVERY if total else 0
        if (what, quarter) != self._shown:
            self._shown = (what, quarter)
            self._stream.write(f"{self._name}: {what}, {quarter} %\n" if total else "")

    def _draw(self, what: str, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = tqdm(
                unit="B", unit_scale=True, leave=False, file=self._stream, dynamic_ncols=True
            )
        label = f"{self._name}: {what}"
        if (label, total) != (self._bar.desc.removesuffix(": "), self._bar.total):
            self._bar.set_description(label, refresh=False)
            self._bar.reset(total or None)
        self._bar.update(done - self._bar.n)
        if done == total:
            self._bar.refresh()  # the last step may come too soon after the one before
