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
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from tqdm import tqdm

from accounts import plans
from accounts.models import User
from batches import (
    addresses,
    dispatch,
    fetch,
    intake,
    lifecycle,
    messages,
    patterns,
    pipeline,
    pricing,
    reuse,
)
from batches.models import Batch, Item, Original
from batches.names import Names
from batches.sources.base import Row
from batches.states import BatchState
from credits import ledger
from studio import following, health
from studio.processes import AlreadyRunning, Site, engine_devices
from studio.supervisor import StopSignal, Supervisor
from tools import abilities, registry
from tools.base import ImageSetting, SettingError, SettingsInvalid, Tool
from tools.engines import guard, images

LOCAL_USER = "local@localhost"
INTAKE_THREADS = 4
LOOK_FOR_WORKERS_SECONDS = 1.0
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
    """Why it failed: the code and the figures of its message."""
    stem: str = ""
    """What its result is to be called, relative to the output folder and without an ending."""
    target: str = ""
    """The name of its first result, relative to the output folder."""


@dataclass(frozen=True)
class Order:
    """What is to be done with all sources, who pays, and where the results go."""

    tool: Tool
    settings: Mapping[str, Any]
    owner: User
    top_up: bool
    """Give the owner what is lacking: it is the local account."""
    out: Path
    pattern: str
    """How results are named; empty: as their files."""
    reuse: bool
    """Whether an earlier result serves instead of another run."""


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
        parser.add_argument(
            "--name-pattern",
            default="",
            metavar="PATTERN",
            help="how results are named: {name} {n} {n:03} {tool} {date}, and / for folders; "
            "default: as their files, in their folders",
        )
        parser.add_argument(
            "--no-reuse", action="store_true", help="run also what an earlier result could serve"
        )

    def handle(
        self,
        *,
        paths: list[Path],
        tool: str,
        pairs: list[str],
        out: Path,
        user: str | None,
        name_pattern: str,
        no_reuse: bool,
        **_: Any,
    ) -> None:
        """Start what is needed, run batches of as many images as one takes, list what failed."""
        chosen = _tool(tool)
        given = _given(pairs)
        owner = _owner(user)
        wanted = _settings(chosen, given | _pictures(chosen, given, owner))
        sources = list(_collect(paths, out))
        if not sources:
            raise CommandError("There are no files in these places.")
        if notice := chosen.notice(wanted):
            self.stderr.write(notice)
        order = Order(
            chosen,
            wanted,
            owner,
            top_up=user is None,
            out=out,
            pattern=name_pattern,
            reuse=not no_reuse,
        )
        _name_stems(sources, order)
        _make_folder(out)
        guard.start()  # while we look for workers
        stop = StopSignal()
        with ExitStack() as stack:
            workers = Workers(stack, chosen)
            workers.start_if_missing()
            bar = stack.enter_context(following.progress_bar(len(sources), chosen.slug))
            _take_in(order.owner, sources, asked_to_stop=lambda: stop.asked)
            good = [source for source in sources if source.upload]
            bar.update(sum(source.problem is not None for source in sources))
            names = _name_targets(good, order, taken=_inside(sources, out))
            _refuse_too_dear(order, good)
            size = plans.plan_for(order.owner).batch_images
            ended: str = BatchState.FINISHED
            for first in range(0, len(good), size):
                if stop.asked or ended == BatchState.CANCELLED:
                    break
                shelf = Shelf(good[first : first + size], out, names)
                ended = _run_batch(order, shelf, workers=workers, stop=stop, bar=bar)
        failed = self._list_failures(sources)
        if stop.asked:
            raise CommandError("Stopped. What was finished is kept.", returncode=130)
        if ended == BatchState.CANCELLED:
            raise CommandError("Somebody cancelled the batch. What was finished is kept.")
        if failed:
            raise SystemExit(1)
        self.stdout.write(f"{len(sources)} done. The results are in {out}.")

    def _list_failures(self, sources: Sequence[Source]) -> int:
        """One line for each source that failed, in order; returns how many."""
        failed = [
            (str(source.path), messages.text(code, params), code)
            for source in sources
            if source.problem
            for code, params in [source.problem]
        ]
        if failed:
            self.stderr.write(f"{len(failed)} of {len(sources)} failed, and cost nothing:")
            self.stderr.write(following.failures(failed))
        return len(failed)


class Shelf:
    """Where the results of one batch go: `OUT/<tree>/<stem>.<ext>`."""

    def __init__(self, sources: Sequence[Source], out: Path, names: Names) -> None:
        self.sources = sources
        self._out = out
        self._names = names

    def save(self, item: Item) -> None:
        """Save an item's results; all after the first are numbered."""
        target = self.sources[item.position].target
        for result in sorted(item.results.all(), key=lambda result: result.position):
            name = self._names.unique(target) if result.position else target
            try:
                following.save(result, self._out / name)
            except OSError as error:
                raise CommandError(
                    f"{self._out / name} can't be written: {error.strerror}. "
                    "What was finished is kept."
                ) from error


class Workers:
    """The engine workers that a batch needs: those of a running site, or else our own.

    Ours end with the stack. A running site may end while we wait for it, and then its part is
    taken over: it may be no more than somebody else's `runbatch`.
    """

    def __init__(self, stack: ExitStack, tool: Tool) -> None:
        self._stack = stack
        self._tool = tool
        self._queues = dispatch.queues_for(tool)
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
        if not (missing := self._missing()):
            self._there_at = self._looked_at
            return
        try:
            site = self._stack.enter_context(Site())
        except AlreadyRunning as error:
            if self._looked_at - self._there_at > PATIENCE_SECONDS:
                raise CommandError(f"{error} It lacks: {', '.join(sorted(missing))}.") from error
            return
        try:
            # Files need no downloads, and we reconcile ourselves.
            site.start_workers(only=self._served_here())
        except (AlreadyRunning, RuntimeError) as error:
            raise CommandError(str(error)) from error
        self._supervisor, self._ours = site.supervisor, True
        if len(self._queues) > 1:
            self._wait_until_there()

    def _wait_until_there(self) -> None:
        """Images are rung for where somebody serves them: it has to be known who does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while missing := self._missing():
            if time.monotonic() > deadline:
                raise CommandError(
                    f"Not there after {PATIENCE_SECONDS:.0f} s: {', '.join(sorted(missing))}. "
                    f"The logs are in {settings.DATA.logs}."
                )
            self._supervisor.check(wait=0.1)

    def _missing(self) -> set[str]:
        """What is not there of what the batch needs: a worker of one of the queues will do."""
        gone = set(health.missing())
        workers = {f"{queue} worker" for queue in self._queues}
        lacking = gone & {"database", "valkey"}
        return lacking | {f"{self._queues[0]} worker"} if workers <= gone else lacking

    def _served_here(self) -> str:
        """The best of the queues that this host can serve. Raises `CommandError` for none."""
        for queue in self._queues:
            if engine_devices([queue])[queue]:
                return queue
        raise CommandError(
            f"No GPU was found here, so nobody here runs {self._tool.slug}. Add cpu to "
            "STUDIO_ENGINE_QUEUES, or name the GPUs in STUDIO_DEVICES."
        )


def _tool(slug: str) -> Tool:
    try:
        return registry.get(slug)
    except registry.UnknownTool:
        known = ", ".join(tool.slug for tool in registry.all())
        raise CommandError(f"There is no tool {slug!r}. Choose one of: {known}.") from None


def _given(pairs: Sequence[str]) -> dict[str, str]:
    given = {}
    for pair in pairs:
        name, _equals, value = pair.partition("=")
        if not name or name == pair:
            raise CommandError(f"--set takes NAME=VALUE, not {pair!r}.")
        given[name] = value
    return given


def _pictures(tool: Tool, given: Mapping[str, str], owner: User) -> dict[str, str]:
    """The settings that name pictures, files of this machine among them, with uploads' ids.

    What is a value of the setting stays one, whatever files there are.
    """
    taken = {}
    for name, setting in tool.Settings().fields.items():
        if not isinstance(setting, ImageSetting) or name not in given:
            continue
        value = given[name]
        try:
            if value.lower().startswith(("http://", "https://")):
                original = pipeline.fetched(owner, value, name=addresses.name_in(value))
            elif not _is_valid(setting, value) and Path(value).is_file():
                original, _new = intake.receive(owner, _content(Path(value)), name=Path(value).name)
            else:
                continue
        except (fetch.FetchError, intake.ImageRefused) as wrong:
            raise CommandError(f"--set {name}: {messages.text(wrong.code, wrong.params)}") from None
        except OSError as error:
            raise CommandError(f"--set {name}: {value} can't be read: {error.strerror}.") from error
        taken[name] = str(original.uid)
    return taken


def _is_valid(setting: ImageSetting, value: str) -> bool:
    try:
        setting.run_validation(value)
    except ValidationError:
        return False
    return True


def _content(path: Path) -> bytes:
    """What is in a file, or as much of it as shows that it is too large."""
    with path.open("rb") as file:
        return file.read(settings.IMAGE_MAX_BYTES + 1)


def _settings(tool: Tool, given: Mapping[str, str]) -> dict[str, Any]:
    try:
        wanted = tool.clean(given)
    except SettingsInvalid as invalid:
        lines = [
            f"--set {wrong.field}: {wrong.detail} {_allowed(tool, wrong)}".rstrip()
            for wrong in invalid.errors
        ]
        raise CommandError("\n".join(lines)) from None
    if reason := abilities.unavailable_reason(tool, wanted):
        raise CommandError(reason)
    try:
        dispatch.queue_for(tool.slug)
    except dispatch.NoEngine:
        raise CommandError(
            f"No engine queue here runs {tool.slug}. Add one of {', '.join(tool.engines)} "
            "to STUDIO_ENGINE_QUEUES."
        ) from None
    return wanted


def _allowed(tool: Tool, wrong: SettingError) -> str:
    """What there is to choose from, where a name or a value is none of it."""
    there = tool.settings_schema()["properties"]
    match wrong.code:
        case "unknown_setting":
            return f"Choose one of: {', '.join(there)}."
        case "invalid_choice":
            return f"Choose one of: {', '.join(map(str, there[wrong.field]['enum']))}."
    return ""


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


def _name_targets(sources: Sequence[Source], order: Order, *, taken: Sequence[str]) -> Names:
    """Give each source the name of its first result: by the order of sources, not of finishing.

    Returns the names, from which further results get theirs.
    """
    names = Names(*taken)
    extension = {"text": ".txt", "json": ".json"}.get(order.tool.output) or images.EXTENSIONS[
        order.settings["format"]
    ]
    for source in sources:
        source.target = names.unique(f"{source.stem}{extension}")
    return names


def _name_stems(sources: Sequence[Source], order: Order) -> None:
    """Name all results by the pattern, or after their files; nothing has been taken in yet."""
    try:
        namer = patterns.Namer(order.pattern)
    except patterns.PatternInvalid as invalid:
        raise CommandError(f"--name-pattern: {invalid.detail}") from None
    for number, source in enumerate(sources, start=1):
        if not order.pattern:
            source.stem = str(source.folder / source.path.stem)
            continue
        facts = patterns.Facts(
            name=source.path.name,
            number=number,
            tool=order.tool.slug,
            day=timezone.localdate(),
            folder=source.folder.as_posix(),
        )
        try:
            source.stem = namer.stem(facts, row=number)
        except patterns.NameTaken as taken:
            first = sources[taken.params["first"] - 1].path
            raise CommandError(
                f"{first} and {source.path} would both be saved as {taken.params['name']}. "
                "Add {n} to the pattern."
            ) from None


def _take_in(owner: User, sources: Sequence[Source], *, asked_to_stop: Callable[[], bool]) -> None:
    """Validate and store all files, a few at a time; what is refused is noted.

    Goes on to no other file when asked to stop.
    """

    def take(source: Source) -> None:
        if asked_to_stop():
            return
        try:
            original, _new = intake.receive(owner, _content(source.path), name=source.path.name)
            source.upload = str(original.uid)
        except intake.ImageRefused as refused:
            source.problem = (refused.code, refused.params)
        except guard.GuardLost:
            source.problem = ("processing_failed", {})
        except OSError as error:
            source.problem = ("file_unreadable", {"reason": error.strerror or str(error)})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(INTAKE_THREADS) as pool:
        for done in [pool.submit(take, source) for source in sources]:
            done.result()


def _refuse_too_dear(order: Order, sources: Sequence[Source]) -> None:
    """All batches together must be affordable before the first one begins."""
    count = len(sources)
    if order.reuse:
        originals = {
            original.pk: original
            for original in Original.objects.visible_to(order.owner).filter(
                uid__in=[source.upload for source in sources]
            )
        }
        known = reuse.done_before(order.owner, order.tool, order.settings, originals.values())
        count = len(originals) - len(known)
    quote = pricing.offered(order.tool, order.owner).max_price(order.settings) * count
    available = ledger.balance(order.owner).available
    if quote > available and not order.top_up:
        params = {"required": quote, "available": available}
        raise CommandError(messages.text("insufficient_credits", params))


def _run_batch(
    order: Order, shelf: Shelf, *, workers: Workers, stop: StopSignal, bar: "tqdm[None]"
) -> str:
    """One batch from start to end; returns its last state. Notes with the sources what failed."""
    batch = _start_batch(order, shelf.sources)
    try:
        failed = following.follow(
            batch,
            watch=workers.watch,
            on_done=shelf.save,
            asked_to_stop=lambda: stop.asked,
            bar=bar,
        )
    except BaseException:
        following.cancel(batch)  # nobody waits for it any more
        raise
    for item in failed:
        shelf.sources[item.position].problem = (item.error_code, item.error_params)
    return batch.state


def _start_batch(order: Order, sources: Sequence[Source]) -> Batch:
    rows = [
        Row(upload=source.upload, name=source.path.name, folder=source.folder.as_posix())
        for source in sources
    ]
    try:
        batch = lifecycle.create(
            order.owner,
            order.tool,
            rows,
            settings=order.settings,
            name=f"runbatch {order.tool.slug}",
            reuse=order.reuse,
            skip_invalid=True,  # it fails by itself and is listed with the others
        )
        while True:
            try:
                return lifecycle.start(batch)
            except ledger.InsufficientCredits as short:
                if not order.top_up:
                    following.cancel(batch)
                    raise CommandError(messages.text(short.code, short.params)) from None
                # Again if need be: another local batch may take what was meant for this one.
                lacking = short.required - short.available
                ledger.grant(order.owner, lacking, kind="admin", key=f"local:{uuid.uuid4()}")
    except lifecycle.Refused as refused:
        raise CommandError(refused.detail) from None
