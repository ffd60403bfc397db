"""Stand-ins that only tests know. `fake` is a tool without a model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from PIL import Image, ImageOps
from rest_framework import serializers

from tools import registry
from tools.base import ImageSettings, Output, Tool, ToolError, ToolSettings


class FakeTool(Tool):
    """Inverts a picture at once, or goes wrong in the way that its settings say."""

    slug = "fake"
    name = "Fake"
    description = "Inverts the picture."
    engines = ("cpu",)
    price = 2

    class Settings(ImageSettings):
        style = serializers.ChoiceField(
            choices=[("negative", "Negative"), ("grey", "Grey")], default="negative"
        )
        strength = serializers.FloatField(min_value=0, max_value=1, default=1.0)
        mirrored = serializers.BooleanField(default=False)
        copies = serializers.IntegerField(min_value=1, max_value=5, default=1)
        trouble = serializers.ChoiceField(
            choices=[
                ("none", "None"),
                ("permanent", "Fails for good"),
                ("transient", "Fails, and may work later"),
                ("unavailable", "Can't run here"),
            ],
            default="none",
        )

        def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
            """A rule that spans two settings, as real tools have."""
            if attrs["mirrored"] and attrs["strength"] == 0:
                raise serializers.ValidationError({"mirrored": "Nothing would be left to mirror."})
            return attrs

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        trouble = settings["trouble"]
        if trouble in {"permanent", "transient"}:
            raise ToolError("no_subject", permanent=trouble == "permanent")
        changed = ImageOps.grayscale(image) if settings["style"] == "grey" else image
        changed = ImageOps.invert(changed.convert("RGB"))
        changed = Image.blend(image.convert("RGB"), changed, settings["strength"])
        if settings["mirrored"]:
            changed = ImageOps.mirror(changed)
        return [Output(image=changed) for _copy in range(settings["copies"])]

    def unavailable_reason(self, settings: Mapping[str, Any] | None = None) -> str | None:
        if settings and settings["trouble"] == "unavailable":
            return "The fake model is away."
        return None

    def version(self, settings: Mapping[str, Any]) -> str:
        return "fake 1"


class FakeTextTool(Tool):
    """Says how large a picture is."""

    slug = "fake-text"
    name = "Fake text"
    description = "Says how large the picture is."
    output = "text"
    engines = ("cpu",)
    Settings = ToolSettings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        return [Output(text=f"{image.width} × {image.height} pixels")]

    def version(self, settings: Mapping[str, Any]) -> str:
        return "fake 1"


@contextmanager
def registered(*tools: type[Tool]) -> Iterator[list[Tool]]:
    """Let the site know these tools for a while."""
    for tool in tools:
        registry.register(tool)
    try:
        yield [registry.get(tool.slug) for tool in tools]
    finally:
        for tool in tools:
            del registry._tools[tool.slug]
