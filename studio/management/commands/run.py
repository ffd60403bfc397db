"""``manage.py run``: the whole site, until Ctrl-C."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from studio.processes import AlreadyRunning, Site
from studio.supervisor import StopSignal


class Command(BaseCommand):
    """Web server, workers, scheduler and Valkey, kept running."""

    help = "Run the whole site on this machine until Ctrl-C."

    def handle(self, **_: Any) -> None:
        """Start everything, say where it is, and watch over it."""
        stop = StopSignal()
        try:
            with Site() as site:
                site.take_port()
                site.start_workers()
                site.start_web()
                site.wait_until_ready(asked_to_stop=lambda: stop.asked)
                if not stop.asked:
                    self.stdout.write(
                        f"The studio runs at http://127.0.0.1:{settings.PORT}/\n"
                        f"Data and logs are in {settings.DATA.root}. Ctrl-C stops it."
                    )
                    self.stdout.flush()
                while not stop.asked:
                    site.supervisor.check(wait=0.5)
                self.stdout.write("Stopping …")
        except (AlreadyRunning, RuntimeError) as error:
            raise CommandError(str(error)) from error
