"""``manage.py runbatch``: files and folders through the same pipeline, from a terminal."""

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from accounts import plans
from accounts.models import User
from batches import dispatch, intake, lifecycle, messages
from batches.models import Batch, Item
from batches.sources.base import Row
from credits import ledger
from studio import following, health
from studio.processes import AlreadyRunning, Site
from studio.supervisor import StopSignal, Supervisor
from tools import registry
from tools.base import SettingsInvalid, Tool

LOCAL_USER = "local@localhost"
INTAKE_THREADS = 4


@dataclass
class Source:
    """A file to process, and where its results go."""

    path: Path
    folder: Path
    """Relative to the output folder: the tree of the source is kept."""
    upload: str = ""
    problem: tuple[str, Mapping[str, Any]] | None = None


class Command(BaseCommand):
    """Run a tool over files and folders, and save the results."""

    requires_system_checks: list[str] = []  # they load every page; nobody opens one here
    help = "Run a tool over files and folders, and save the results into a folder."

    def add_arguments(self, parser: CommandParser) -> None:
        """What to run, on what, how, and where to."""
        parser.add_argument("paths", metavar="PATH", nargs="+", type=Path)
        parser.add_argument("--tool", required=True, metavar="SLUG")
        parser.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE", dest="pairs"
        )
        parser.add_argument("--out", required=True, type=Path, metavar="DIR")
        parser.add_argument("--user", metavar="E-MAIL", help="who pays; default: a local account")

    def handle(
        self,
        *,
        paths: list[Path],
        tool: str,
        pairs: list[str],
        out: Path,
        user: str | None,
        **_: Any,
    ) -> None:
        """Start what is needed, run batches of as many images as one takes, list what failed."""
        chosen = _tool(tool)
        wanted = _settings(chosen, pairs)
        owner = _owner(user)
        sources = list(_collect(paths, out.absolute()))
        if not sources:
            raise CommandError("There are no files in these places.")
        stop = StopSignal()
        with ExitStack() as stack:
            supervisor = _start_what_is_needed(stack, chosen)
            bar = stack.enter_context(following.progress_bar(len(sources), chosen.slug))
            _take_in(owner, sources)
            names = intake.Names()
            refused = [source for source in sources if source.problem]
            bar.update(len(refused))
            failed = [
                (str(source.path), messages.text(*source.problem), source.problem[0])
                for source in refused
                if source.problem
            ]
            good = [source for source in sources if source.upload]
            size = plans.plan_for(owner).batch_images
            for first in range(0, len(good), size):
                if stop.asked:
                    break
                part = good[first : first + size]
                batch = _start_batch(owner, chosen, wanted, part, top_up=user is None)
                failed_here = following.follow(
                    batch,
                    supervisor=supervisor,
                    on_done=partial(_save, sources=part, out=out, names=names),
                    asked_to_stop=lambda: stop.asked,
                    bar=bar,
                )
                failed += [
                    (str(part[item.position].path), item.error, item.error_code)
                    for item in failed_here
                ]
                if stop.asked:
                    lifecycle.cancel(batch)
        if failed:
            self.stderr.write(f"{len(failed)} of {len(sources)} failed; no credits were used:")
            self.stderr.write(following.failures(failed))
        if stop.asked:
            raise CommandError("Stopped. What was finished is kept.", returncode=130)
        if failed:
            raise SystemExit(1)


def _tool(slug: str) -> Tool:
    try:
        return registry.get(slug)
    except registry.UnknownTool:
        known = ", ".join(tool.slug for tool in registry.all())
        raise CommandError(f"There is no tool {slug!r}. Choose one of: {known}.") from None


def _settings(tool: Tool, pairs: Sequence[str]) -> dict[str, Any]:
    given = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise CommandError(f"--set takes NAME=VALUE, not {pair!r}.")
        given[name] = value
    try:
        wanted = tool.clean(given)
    except SettingsInvalid as invalid:
        lines = [f"{wrong.field}: {wrong.detail}" for wrong in invalid.errors]
        raise CommandError("\n".join(lines)) from None
    if reason := tool.unavailable_reason(wanted):
        raise CommandError(reason)
    try:
        dispatch.queue_for(tool.slug)
    except dispatch.NoEngine:
        raise CommandError(
            f"No engine queue here runs {tool.slug}. Add one of {', '.join(tool.engines)} "
            "to STUDIO_ENGINE_QUEUES."
        ) from None
    return wanted


def _owner(email: str | None) -> User:
    if email is None:
        local = User.objects.filter(email=LOCAL_USER).first()
        return local or User.objects.create_user(email=LOCAL_USER, password=None)
    try:
        return User.objects.get(email=email.lower())
    except User.DoesNotExist:
        raise CommandError(
            f"There is no account {email}. Create it, or leave --user out."
        ) from None


def _collect(paths: Sequence[Path], out: Path) -> Iterator[Source]:
    """Every file to process, each once; hidden files and the output folder are left out."""
    met: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise CommandError(f"{path} is not there.")
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            inside = file.relative_to(path) if path.is_dir() else Path(file.name)
            if path.is_dir() and any(part.startswith(".") for part in inside.parts):
                continue
            real = file.resolve()
            if real in met or (path.is_dir() and out.resolve() in real.parents):
                continue
            met.add(real)
            yield Source(file, inside.parent)


def _start_what_is_needed(stack: ExitStack, tool: Tool) -> Supervisor:
    """Engine workers and Valkey, unless a running site has them; they end with the stack."""
    needed = {"database", "valkey", f"{dispatch.queue_for(tool.slug)} worker"}
    if not needed & set(health.missing()):
        return Supervisor(logs=settings.DATA.logs)
    try:
        site = stack.enter_context(Site())
        # Files need no downloads, and we reconcile ourselves.
        site.start_workers(engines_only=True)
    except (AlreadyRunning, RuntimeError) as error:
        raise CommandError(str(error)) from error
    return site.supervisor


def _take_in(owner: User, sources: Sequence[Source]) -> None:
    """Validate and store all files, a few at a time; what is refused is noted."""
    lock = threading.Lock()

    def take(source: Source) -> None:
        try:
            with source.path.open("rb") as file:
                # One byte more than is allowed is enough to see that it is too large.
                data = file.read(settings.IMAGE_MAX_BYTES + 1)
            original, _new = intake.receive(owner, data, name=source.path.name)
            with lock:
                source.upload = str(original.uid)
        except intake.ImageRefused as refused:
            source.problem = (refused.code, refused.params)
        except OSError as error:
            source.problem = ("file_unreadable", {"reason": error.strerror or str(error)})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(INTAKE_THREADS) as pool:
        for done in [pool.submit(take, source) for source in sources]:
            done.result()


def _start_batch(
    owner: User, tool: Tool, wanted: Mapping[str, Any], sources: Sequence[Source], *, top_up: bool
) -> Batch:
    rows = [Row(upload=source.upload, name=source.path.name) for source in sources]
    try:
        batch = lifecycle.create(owner, tool, rows, settings=wanted, name=f"runbatch {tool.slug}")
        if top_up:
            quote = tool.max_price(dict(wanted)) * len(rows)
            short = quote - ledger.balance(owner).available
            if short > 0:
                ledger.grant(owner, short, kind="admin", key=f"local:{uuid.uuid4()}")
        return lifecycle.start(batch)
    except ledger.InsufficientCredits as short_of:
        raise CommandError(messages.text("insufficient_credits", short_of.params)) from None
    except lifecycle.Refused as refused:
        raise CommandError(refused.detail) from None


def _save(item: Item, *, sources: Sequence[Source], out: Path, names: intake.Names) -> None:
    """`OUT/<tree>/<stem>.<ext>`; further results and collisions are numbered."""
    source = sources[item.position]
    for result in sorted(item.results.all(), key=lambda result: result.position):
        extension = "txt" if not result.key else result.key.rsplit(".", 1)[-1]
        name = names.unique(str(source.folder / f"{source.path.stem}.{extension}"))
        following.save(result, out / name)
