"""``manage.py makegallery``: a contact sheet of every tool, to look at after a change."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tools import examples, registry, sheets
from tools.engines import images

PHOTOS = ("coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg", "camera.png")


class Command(BaseCommand):
    """Run every tool on every sample photo and write what came of it."""

    help = "Write a contact sheet of every tool (or of those named) on every sample photo."

    def add_arguments(self, parser: CommandParser) -> None:
        """Slugs of tools, or none for all; where to write."""
        parser.add_argument("slugs", nargs="*", metavar="TOOL", help="such as remove-background")
        parser.add_argument(
            "--out", type=Path, default=settings.BASE_DIR / "var" / "gallery", metavar="DIR"
        )

    def handle(self, *_args: Any, slugs: list[str], out: Path, **_options: Any) -> None:
        """One sheet after another."""
        try:
            tools = [registry.get(slug) for slug in slugs] or registry.all()
        except registry.UnknownTool as unknown:
            raise CommandError(f"There is no tool {unknown}.") from None
        photos = {name: images.read(examples.photo(name)) for name in PHOTOS}
        out.mkdir(parents=True, exist_ok=True)
        for tool in tools:
            chosen = sheets.columns(tool)
            shots = {
                name: [sheets.shoot(tool, photo, one) for one in chosen]
                for name, photo in photos.items()
            }
            named = [sheets.in_words(one) for one in chosen]
            target = out / f"{tool.slug}.png"
            sheets.sheet(photos, named, shots).save(target)
            self.stdout.write(str(target))
