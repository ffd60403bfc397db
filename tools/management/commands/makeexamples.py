"""``manage.py makeexamples``: the gallery's before and after, made by the tools themselves."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tools import examples, registry, sheets


class Command(BaseCommand):
    """Runs each tool on its example and writes two small pictures, which are committed."""

    help = "Make the gallery's pictures of tools: all that declare an example, or those named."

    def add_arguments(self, parser: CommandParser) -> None:
        """Slugs of tools, or none for all."""
        parser.add_argument("slugs", nargs="*", metavar="TOOL", help="such as remove-background")

    def handle(self, *_args: Any, slugs: list[str], **_options: Any) -> None:
        """One tool after another."""
        try:
            tools = [registry.get(slug) for slug in slugs] or registry.all()
        except registry.UnknownTool as unknown:
            raise CommandError(f"There is no tool {unknown}.") from None
        for tool in tools:
            if tool.example is None:
                self.stdout.write(f"{tool.slug}: no example")
                continue
            if reason := tool.unavailable_reason(tool.defaults() | dict(tool.example.settings)):
                raise CommandError(f"{tool.slug}: {reason}")
            pictures = examples.make(tool, tool.example)
            for path, made in zip(examples.paths(tool), pictures, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(made, str):
                    target, data = path.with_suffix(".txt"), f"{made}\n".encode()
                else:
                    target, data = path, examples.encode(made)
                target.write_bytes(data)
                self.stdout.write(f"{target.name}: {target.stat().st_size:,} bytes")
            for path, chosen in examples.options(tool).items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(examples.encode(examples.make_option(tool, tool.example, chosen)))
                self.stdout.write(f"{path.name}: {path.stat().st_size:,} bytes")
        if not slugs:
            target = settings.BASE_DIR / "docs" / "tools.webp"
            sheets.overview(tools).save(target, "WEBP", quality=82, method=6)
            self.stdout.write(f"{target.name}: {target.stat().st_size:,} bytes")
