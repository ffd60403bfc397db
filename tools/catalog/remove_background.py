"""Remove background: the subject alone, on nothing or on a colour."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from PIL import Image, ImageColor
from rest_framework import serializers

from tools.base import (
    ColourField,
    Example,
    ImageSettings,
    Output,
    Tool,
    missing_weights,
    refuse_transparent_jpg,
)
from tools.engines import matting, weights
from tools.registry import register

CREDITS = {
    "u2net": 1,
    "u2netp": 1,
    "silueta": 1,
    "isnet": 2,
    "isnet-general-use": 2,
    "birefnet-general": 2,
}


class Settings(ImageSettings):
    """Which model cuts, and what goes behind the subject."""

    model = serializers.ChoiceField(
        choices=[
            ("u2net", _("U²-Net, balanced")),
            ("u2netp", _("U²-Net small, fast")),
            ("silueta", _("Silueta, small")),
            ("isnet", _("IS-Net, finest edges")),
            ("isnet-general-use", _("IS-Net, general use")),
            ("birefnet-general", _("BiRefNet, best and slowest")),
        ],
        default="u2net",
        label=_("Model"),
    )
    background = ColourField(
        default="transparent",
        label=_("Background"),
        help_text=_("What goes behind the subject."),
    )

    crop = serializers.BooleanField(
        default=False,
        label=_("Crop to subject"),
        help_text=_("Cut off what is empty around the subject."),
    )
    margin = serializers.IntegerField(
        min_value=0,
        max_value=50,
        default=5,
        label=_("Margin"),
        help_text=_("Space around a cropped subject, in % of its longer side (0 to 50)."),
    )
    alpha_matting = serializers.BooleanField(
        default=False,
        label=_("Soft edges"),
        help_text=_("Follow hair and fur, and take the old background out of them. Slower."),
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """JPG knows no transparency."""
        refuse_transparent_jpg(attrs)
        return attrs


@register
class RemoveBackground(Tool):
    """Cut the subject out of a photo."""

    slug = "remove-background"
    name = _("Remove background")
    description = _("Cut the subject out and put it on nothing, or on a colour.")
    artefacts = tuple(CREDITS)
    icon = "scissors"
    example = Example("coffee.png")
    showcase = (
        {},
        {"model": "u2netp"},
        {"alpha_matting": True},
        {"background": "#f2f2f2", "crop": True, "margin": 8},
    )
    credits = CREDITS
    Settings = Settings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """One picture: RGBA, or RGB when a background colour is set."""
        colour = settings["background"]
        background = None if colour == "transparent" else ImageColor.getrgb(colour)[:3]
        done = matting.cut_out(
            image,
            model=settings["model"],
            background=background,
            soft=settings["alpha_matting"],
            margin=settings["margin"] if settings["crop"] else None,
        )
        return [Output(image=done)]

    def unavailable_reason(self, settings: Mapping[str, Any] | None = None) -> str | None:
        """Weights that are not there, or not what they should be."""
        model = (settings or self.defaults())["model"]
        return missing_weights(matting.MODELS[model].weights)

    def version(self, settings: Mapping[str, Any]) -> str:
        """The weights, by name and content."""
        return weights.artefact(matting.MODELS[settings["model"]].weights).version

    def warm(self) -> None:
        """Load the default model."""
        matting.warm(model=self.defaults()["model"])
