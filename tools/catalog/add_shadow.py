"""Add shadow: what stands on the ground throws one."""

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
from tools.engines import composing, images, subjects, weights
from tools.registry import register

MODEL = "u2net"


class Settings(ImageSettings):
    """Where the light comes from, what the shadow is like, and what it falls on."""

    light = serializers.ChoiceField(
        choices=[
            ("top-left", _("From behind, left")),
            ("top", _("From behind")),
            ("top-right", _("From behind, right")),
            ("left", _("From the left")),
            ("right", _("From the right")),
            ("bottom-left", _("From the front, left")),
            ("bottom-right", _("From the front, right")),
        ],
        default="top-left",
        label=_("Light"),
        help_text=_("The shadow falls to the other side."),
    )
    softness = serializers.IntegerField(
        min_value=0,
        max_value=100,
        default=50,
        label=_("Softness"),
        help_text=_("0 is hard sun, 100 a cloudy day."),
    )
    opacity = serializers.IntegerField(
        min_value=0,
        max_value=100,
        default=60,
        label=_("Opacity"),
        help_text=_("0 is no shadow, 100 the darkest."),
    )
    background = ColourField(
        default="transparent",
        label=_("Background"),
        help_text=_("What the shadow falls on."),
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """JPG knows no transparency."""
        refuse_transparent_jpg(attrs)
        return attrs


@register
class AddShadow(Tool):
    """Give a cut-out the shadow of something that stands in the light."""

    slug = "add-shadow"
    name = _("Add shadow")
    description = _("Give a cut-out a soft shadow; a photo is cut out first.")
    artefacts = (MODEL,)
    icon = "sun-dim"
    example = Example("coffee.png", {"background": "#f2f2f2", "opacity": 70})
    showcase = (
        {},
        {"light": "top"},
        {"light": "right", "softness": 20},
        {"light": "bottom-left", "softness": 90},
    )
    Settings = Settings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """One picture: RGBA, or RGB when a background colour is set.

        It is larger than the original where the shadow needs room.
        """
        subject = subjects.cut(image, model=MODEL)
        softness, opacity = settings["softness"] / 100, settings["opacity"] / 100
        placed = composing.with_room(subject, light=settings["light"], softness=softness)
        done = composing.on_nothing(
            placed, light=settings["light"], softness=softness, opacity=opacity
        )
        if settings["background"] != "transparent":
            colour = ImageColor.getrgb(settings["background"])[:3]
            done = images.flattened(done, colour=colour)
        return [Output(image=done)]

    def unavailable_reason(
        self,
        settings: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> str | None:
        """The weights that cut photos out are not there, or not what they should be."""
        return missing_weights(MODEL)

    def version(self, settings: Mapping[str, Any]) -> str:  # noqa: ARG002
        """The weights, by name and content."""
        return weights.artefact(MODEL).version

    def warm(self) -> None:
        """Load the model that cuts out."""
        subjects.warm(model=MODEL)
