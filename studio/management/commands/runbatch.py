"""``manage.py runbatch``: files and folders through the same pipeline, from a terminal."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from accounts import plans
from accounts.models import User
from batches import dispatch, intake, lifecycle, messages
from batches.models import Batch, Item
from batches.names import Names
from batches.sources.base import Row
from batches.states import BatchState
from credits import ledger
from studio import following, health
from studio.processes import AlreadyRunning, Site
from studio.supervisor import StopSignal, Supervisor
from tools import registry
from tools.base import SettingsInvalid, Tool
from tools.engines import guard, images

LOCAL_USER = "local@localhost"
INTAKE_THREADS = 4
LOOK_FOR_WORKERS_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
"""How long another supervisor of this data directory may take until its workers are there."""


@dataclass
class Source:
    """A file to process, and where its results go."""

    path: Path
    folder: Path
    """Relative to the output folder: the tree of the source is kept."""
    upload: str = ""
    problem: tuple[str, Mapping[str, Any]] | None = None
    target: str = ""
    """The name of its first result, relative to the output folder."""


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
        sources = list(_collect(paths, out))
        if not sources:
            raise CommandError("There are no files in these places.")
        _make_folder(out)
        guard.start()  # while we look for workers
        owner = _owner(user)
        stop = StopSignal()
        failed: list[tuple[str, str, str]] = []
        with ExitStack() as stack:
            workers = Workers(stack, chosen)
            workers.start_if_missing()
            bar = stack.enter_context(following.progress_bar(len(sources), chosen.slug))
            _take_in(owner, sources, asked_to_stop=lambda: stop.asked)
            for source in sources:
                if source.problem:
                    code, params = source.problem
                    failed.append((str(source.path), messages.text(code, params), code))
            bar.update(len(failed))
            good = [source for source in sources if source.upload]
            names = _name_targets(good, _extension(chosen, wanted), _inside(sources, out))
            if user is not None:
                _refuse_too_dear(owner, chosen.max_price(wanted) * len(good))
            size = plans.plan_for(owner).batch_images
            for first in range(0, len(good), size):
                if stop.asked:
                    break
                part = good[first : first + size]
                batch = _start_batch(owner, chosen, wanted, part, top_up=user is None)
                try:
                    ended = following.follow(
                        batch,
                        watch=workers.watch,
                        on_done=lambda item, part=part: _save(item, part, out, names),
                        asked_to_stop=lambda: stop.asked,
                        bar=bar,
                    )
                except BaseException:
                    following.cancel(batch)  # nobody waits for it any more
                    raise
                for item in ended:
                    failed.append((str(part[item.position].path), item.error, item.error_code))
                batch.refresh_from_db(fields=["state"])
                if batch.state == BatchState.CANCELLED and not stop.asked:
                    raise CommandError("Somebody cancelled the batch. What was finished is kept.")
        if failed:
            self.stderr.write(f"{len(failed)} of {len(sources)} failed, and cost nothing:")
            self.stderr.write(following.failures(failed))
        if stop.asked:
            raise CommandError("Stopped. What was finished is kept.", returncode=130)
        if failed:
            raise SystemExit(1)


class Workers:
    """The engine workers that a batch needs: those of a running site, or else our own.

    Ours end with the stack. A running site may end while we wait for it, and then its part is
    taken over: it may be no more than somebody else's `runbatch`.
    """

    def __init__(self, stack: ExitStack, tool: Tool) -> None:
        self._stack = stack
        self._needed = {"database", "valkey", f"{dispatch.queue_for(tool.slug)} worker"}
        self._supervisor = Supervisor(logs=settings.DATA.logs)
        self._ours = False
        self._looked_at = self._there_at = time.monotonic()

    def watch(self, *, wait: float) -> None:
        """Sleep, and see to it that there are workers."""
        self._supervisor.check(wait=wait)
        if not self._ours and time.monotonic() - self._looked_at > LOOK_FOR_WORKERS_SECONDS:
            self.start_if_missing()

    def start_if_missing(self) -> None:
        """Start workers, and Valkey too, unless they are there or another is starting them.

        Raises `CommandError` when they can't be started, or don't come.
        """
        self._looked_at = time.monotonic()
        missing = self._needed & set(health.missing())
        if not missing:
            self._there_at = self._looked_at
            return
        try:
            site = self._stack.enter_context(Site())
            # Files need no downloads, and we reconcile ourselves.
            site.start_workers(engines_only=True)
        except AlreadyRunning as error:
            if self._looked_at - self._there_at > PATIENCE_SECONDS:
                gone = ", ".join(sorted(missing))
                raise CommandError(f"{error} What it lacks: {gone}.") from error
        except RuntimeError as error:
            raise CommandError(str(error)) from error
        else:
            self._supervisor, self._ours = site.supervisor, True


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
        return User.objects.get_by_natural_key(email)
    except User.DoesNotExist:
        raise CommandError(
            f"There is no account {email}. “manage.py createapikey {email}” makes one; "
            "or leave --user out."
        ) from None


def _collect(paths: Sequence[Path], out: Path) -> Iterator[Source]:
    """Every file to process, each once.

    In folders, hidden files are left out, and so is the output folder when it lies in one.
    """
    met: set[Path] = set()
    results = out.resolve()
    for path in paths:
        if not path.exists():
            raise CommandError(f"{path} is not there.")
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            inside = path.resolve() in results.parents
        else:
            files, inside = [path], False
        for file in files:
            place = file.relative_to(path) if path.is_dir() else Path(file.name)
            if path.is_dir() and any(part.startswith(".") for part in place.parts):
                continue
            # Two names of one file are two sources; two ways to one name are not.
            real = file.parent.resolve() / file.name
            if real in met or (inside and results in real.parents):
                continue
            met.add(real)
            yield Source(file, place.parent)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{out} can't be used: {error.strerror}.") from error


def _inside(sources: Sequence[Source], out: Path) -> list[str]:
    """The sources that lie in the output folder, relative to it: no result may replace one."""
    results = out.resolve()
    places = [source.path.parent.resolve() / source.path.name for source in sources]
    return [str(place.relative_to(results)) for place in places if results in place.parents]


def _name_targets(sources: Sequence[Source], extension: str, taken: Sequence[str]) -> Names:
    """Give each source the name of its first result: by the order of sources, not of finishing.

    Returns the names, to which further results can be added.
    """
    names = Names(*taken)
    for source in sources:
        source.target = names.unique(str(source.folder / f"{source.path.stem}.{extension}"))
    return names


def _extension(tool: Tool, wanted: Mapping[str, Any]) -> str:
    return "txt" if tool.output == "text" else images.EXTENSIONS[wanted["format"]]


def _take_in(
    owner: User, sources: Sequence[Source], *, asked_to_stop: Callable[[], bool]
) -> None:
    """Validate and store all files, a few at a time; what is refused is noted.

    Goes on to no other file when asked to stop.
    """

    def take(source: Source) -> None:
        if asked_to_stop():
            return
        try:
            with source.path.open("rb") as file:
                # One byte more than is allowed is enough to see that it is too large.
                data = file.read(settings.IMAGE_MAX_BYTES + 1)
            original, _new = intake.receive(owner, data, name=source.path.name)
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


def _refuse_too_dear(owner: User, quote: int) -> None:
    """All batches together must be affordable before the first one begins."""
    available = ledger.balance(owner).available
    if quote > available:
        params = {"required": quote, "available": available}
        raise CommandError(messages.text("insufficient_credits", params))


def _start_batch(
    owner: User, tool: Tool, wanted: Mapping[str, Any], sources: Sequence[Source], *, top_up: bool
) -> Batch:
    rows = [Row(upload=source.upload, name=source.path.name) for source in sources]
    try:
        batch = lifecycle.create(owner, tool, rows, settings=wanted, name=f"runbatch {tool.slug}")
        while True:
            try:
                return lifecycle.start(batch)
            except ledger.InsufficientCredits as short:
                if not top_up:
                    following.cancel(batch)
                    raise CommandError(messages.text(short.code, short.params)) from None
                # Again if need be: another local batch may take what was meant for this one.
                lacking = short.params["required"] - short.params["available"]
                ledger.grant(owner, lacking, kind="admin", key=f"local:{uuid.uuid4()}")
    except lifecycle.Refused as refused:
        raise CommandError(refused.detail) from None


def _save(item: Item, sources: Sequence[Source], out: Path, names: Names) -> None:
    """`OUT/<tree>/<stem>.<ext>`; further results and collisions are numbered."""
    target = sources[item.position].target
    for result in sorted(item.results.all(), key=lambda result: result.position):
        name = target if result.position == 0 else names.unique(target)
        try:
            following.save(result, out / name)
        except OSError as error:
            raise CommandError(
                f"{out / name} can't be written: {error.strerror}. What was finished is kept."
            ) from error
