"""``manage.py demo``: the whole site, and a batch of real photos to watch."""

import os
import secrets
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.models import ApiKey, User, create_key, digest_of
from batches import intake, lifecycle, samples
from batches.exports import archive
from batches.models import Batch, Item
from batches.sources.base import Row
from credits import ledger
from studio import following
from studio.processes import AlreadyRunning, Site
from studio.supervisor import StopSignal
from tools import registry

DEMO_USER = "demo@example.com"
DEMO_CREDITS = 1000
TOOL = "remove-background"


class Command(BaseCommand):
    """Run the site and a sample batch; then go on serving."""

    help = "Run the site and a sample batch of real photos; then serve until Ctrl-C."

    def add_arguments(self, parser: Any) -> None:
        """For scripts: end after the sample batch; `DEMO_EXIT=1` says the same."""
        parser.add_argument(
            "--exit",
            action="store_true",
            default=os.environ.get("DEMO_EXIT") == "1",
            help="end after the sample batch (also: DEMO_EXIT=1)",
        )

    def handle(self, *, exit: bool, **_: Any) -> None:  # noqa: A002 - the option's name
        """Start everything, run the sample, say where things are, and go on serving."""
        stop = StopSignal()
        try:
            with Site() as site:
                site.take_port()
                site.start_workers()
                site.start_web()
                site.wait_until_ready(asked_to_stop=lambda: stop.asked)
                failed = [] if stop.asked else self._show(site, stop)
                if exit:
                    if failed or stop.asked:
                        raise SystemExit(1)
                    return
                self._serve(site, stop)
        except (AlreadyRunning, RuntimeError, lifecycle.Refused, samples.Missing) as error:
            raise CommandError(str(error)) from error

    def _serve(self, site: Site, stop: StopSignal) -> None:
        if not stop.asked:
            self.stdout.write("Ctrl-C stops the demo.")
            self.stdout.flush()
        while not stop.asked:
            site.supervisor.check(wait=0.5)
        self.stdout.write("Stopping …")

    def _show(self, site: Site, stop: StopSignal) -> list[Item]:
        """The sample batch, and then where everything is; returns what failed."""
        guest = Guest(settings.DATA.root / "demo")
        failed = self._run_sample(site, guest, stop)
        if not stop.asked:
            self._say_where(guest)
        return failed

    def _run_sample(self, site: Site, guest: "Guest", stop: StopSignal) -> list[Item]:
        rows = []
        for path in samples.photos():
            original, _new = intake.receive(guest.user, path.read_bytes(), name=path.name)
            rows.append(Row(upload=str(original.uid)))
        # Another demo shows the work again, not that it was done before.
        tool = registry.get(TOOL)
        batch = lifecycle.create(guest.user, tool, rows, name="Sample photos", reuse=False)
        lifecycle.start(batch)
        with closing(following.progress_bar(len(rows), "Sample photos")) as bar:
            failed = following.follow(
                batch,
                watch=site.supervisor.check,
                on_done=guest.keep,
                asked_to_stop=lambda: stop.asked,
                bar=bar,
            )
        guest.keep_archive(batch)
        if failed:
            self.stderr.write(f"{len(failed)} of {len(rows)} photos failed:")
            self.stderr.write(
                following.failures([(item.name, item.error, item.error_code) for item in failed])
            )
        return failed

    def _say_where(self, guest: "Guest") -> None:
        self.stdout.write(
            f"\n  Studio    http://127.0.0.1:{settings.PORT}/\n"
            f"  Sign in   {DEMO_USER}, password {guest.password}\n"
            f"  API key   {guest.key}\n"
            f"  Cut-outs  {guest.folder}\n"
            f"  Archive   {guest.folder / 'results.zip'}\n"
            f"  Logs      {settings.DATA.logs}\n"
        )
        self.stdout.flush()


class Guest:
    """The demo's user, with credits, a password and a key that are the same next time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.user = User.objects.filter(email=DEMO_USER).first() or User.objects.create_user(
            email=DEMO_USER, password=None
        )
        self.password = self._kept("password", lambda: secrets.token_urlsafe(9))
        if not self.user.check_password(self.password):
            self.user.set_password(self.password)
            self.user.save(update_fields=["password"])
        self.key = self._working_key()
        short = DEMO_CREDITS - ledger.balance(self.user).available
        if short > DEMO_CREDITS // 2:
            ledger.grant(self.user, short, kind="admin", key=f"demo:{uuid.uuid4()}")

    def keep(self, item: Item) -> None:
        """Save an item's results beside the archive."""
        for result in item.results.all():
            stem = Path(item.name).stem
            following.save(result, self.folder / f"{stem}.{result.key.rsplit('.', 1)[-1]}")

    def keep_archive(self, batch: Batch) -> None:
        """Save the ZIP that the page would give."""
        target = self.folder / "results.zip"
        draft = target.with_suffix(".zip.part")
        with closing(archive.Archive(batch)) as whole, draft.open("wb") as file:
            for chunk in whole:
                file.write(chunk)
        draft.replace(target)

    def _working_key(self) -> str:
        path = self.folder / "api-key"
        if path.exists():
            kept = path.read_text().strip()
            usable = ApiKey.objects.usable(now=timezone.now())
            if usable.filter(user=self.user, digest=digest_of(kept)).exists():
                return kept
        _key, secret = create_key(self.user, name="Demo", scopes=["read", "run"])
        _write_private(path, secret)
        return secret

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        path = self.folder / name
        kept = path.read_text().strip() if path.exists() else ""
        if not kept:
            kept = make()
            _write_private(path, kept)
        return kept


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(f"{text}\n")
