"""Optimize: the right size, the right format, as few bytes as it takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop
from PIL import Image, ImageColor
from rest_framework import serializers

from tools.base import (
    ColourField,
    Example,
    ImageSettings,
    Note,
    Output,
    Text,
    Tool,
    format_setting,
)
from tools.engines import resizing
from tools.registry import register

LONGEST = 8192
"""Pixels of a side of a result."""
MOST_PIXELS = 64_000_000

SMALLER = gettext_noop(
    "The picture is smaller than {wanted}: the result is {size} and was not enlarged."
)
ROOM = gettext_noop("The picture is smaller than {wanted}: it was not enlarged but padded.")


@dataclass(frozen=True)
class Preset:
    """What one place wants its pictures to be."""

    name: Text
    width: int
    height: int
    fit: resizing.Fit


PRESETS = {
    "instagram-square": Preset(_("Instagram square"), 1080, 1080, "cover"),
    "instagram-portrait": Preset(_("Instagram portrait"), 1080, 1350, "cover"),
    "instagram-story": Preset(_("Instagram story, reel"), 1080, 1920, "cover"),
    "facebook-post": Preset(_("Facebook post, link preview"), 1200, 630, "cover"),
    "facebook-cover": Preset(_("Facebook cover"), 1640, 624, "cover"),
    "x-post": Preset(_("X post"), 1600, 900, "cover"),
    "x-header": Preset(_("X header"), 1500, 500, "cover"),
    "linkedin-post": Preset(_("LinkedIn post"), 1200, 627, "cover"),
    "linkedin-banner": Preset(_("LinkedIn banner"), 1584, 396, "cover"),
    "pinterest-pin": Preset(_("Pinterest pin"), 1000, 1500, "cover"),
    "youtube-thumbnail": Preset(_("YouTube thumbnail"), 1280, 720, "cover"),
    "tiktok-cover": Preset(_("TikTok cover"), 1080, 1920, "cover"),
    # A product is never cut: marketplaces get it whole, on a canvas.
    "amazon-product": Preset(_("Amazon product"), 2000, 2000, "pad"),
    "ebay-product": Preset(_("eBay product"), 1600, 1600, "pad"),
    "etsy-listing": Preset(_("Etsy listing"), 2000, 1500, "pad"),
    "shopify-product": Preset(_("Shopify product"), 2048, 2048, "pad"),
    "walmart-product": Preset(_("Walmart product"), 2200, 2200, "pad"),
}


def _labelled(preset: Preset) -> Text:
    """The preset's name with its size, in the language of the page."""
    return format_lazy("{} · {} × {}", preset.name, preset.width, preset.height)


class Settings(ImageSettings):
    """How large, how it is fitted in, and how it is saved."""

    preset = serializers.ChoiceField(
        choices=[
            ("none", _("Own size")),
            *((slug, _labelled(preset)) for slug, preset in PRESETS.items()),
        ],
        default="none",
        label=_("Preset"),
        help_text=_("Takes the place of width and height."),
    )
    width = serializers.IntegerField(
        min_value=1,
        max_value=LONGEST,
        allow_null=True,
        default=None,
        label=_("Width"),
        help_text=_("Pixels. Empty: as the height and the picture's own shape say."),
    )
    height = serializers.IntegerField(
        min_value=1,
        max_value=LONGEST,
        allow_null=True,
        default=None,
        label=_("Height"),
        help_text=_("Pixels. Leave both empty to keep the size and only save it anew."),
    )
    fit = serializers.ChoiceField(
        choices=[
            ("auto", _("As the preset wants it")),
            ("contain", _("Fit inside, nothing cut")),
            ("cover", _("Fill, cut the edges")),
            ("pad", _("Fit inside, on a canvas of that size")),
            ("stretch", _("Stretch")),
        ],
        default="auto",
        label=_("Fit"),
        help_text=_(
            "Presets for social networks fill, those for marketplaces keep the product whole on "
            "a canvas; your own size fits inside unless you choose otherwise here."
        ),
    )
    background = ColourField(
        default="#ffffff",
        label=_("Canvas"),
        help_text=_("Colour of the canvas, and of what lies behind transparency on it."),
        style={"more": True},
    )
    enlarge = serializers.BooleanField(
        default=False,
        label=_("Enlarge small pictures"),
        help_text=_("Makes them no sharper: the tool Upscale does."),
        style={"more": True},
    )
    format = format_setting("webp")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A result has to fit into memory."""
        width, height, _fit = _target(attrs)
        if (width or 1) * (height or 1) > MOST_PIXELS:
            detail = _("A result can have at most {most} megapixels.").format(
                most=MOST_PIXELS // 10**6
            )
            raise serializers.ValidationError({"width": detail}, code="size_too_large")
        return attrs


def _target(settings: Mapping[str, Any]) -> tuple[int | None, int | None, resizing.Fit]:
    """Width, height and fit that clean settings ask for."""
    preset = PRESETS.get(settings["preset"])
    fit = settings["fit"]
    if preset is None:
        return settings["width"], settings["height"], "contain" if fit == "auto" else fit
    return preset.width, preset.height, preset.fit if fit == "auto" else fit


@register
class Optimize(Tool):
    """Resize, convert and compress."""

    slug = "optimize"
    name = _("Optimize")
    description = _("Resize, convert and compress for the web, a network or a marketplace.")
    price = 0
    engines = ("cpu", "gpu")
    icon = "image-down"
    example = Example("coffee.png", {"preset": "instagram-square"})
    Settings = Settings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """One picture in the wanted size."""
        width, height, fit = _target(settings)
        if width is None and height is None:
            return [Output(image=image)]
        if settings["enlarge"]:
            width, height = _bounded(image, width, height)
        done = resizing.fitted(
            image,
            (width, height),
            fit=fit,
            colour=_colour(settings["background"]),
            enlarge=settings["enlarge"],
        )
        return [Output(image=done, notes=_notes(image, done, (width, height), fit, settings))]

    def version(self, settings: Mapping[str, Any]) -> str:  # noqa: ARG002
        """The algorithm: there is no model in it."""
        return resizing.VERSION


def _bounded(
    image: Image.Image, width: int | None, height: int | None
) -> tuple[int | None, int | None]:
    """One given side, made smaller where the other one would become too long with it."""
    if width and not height:
        most = min(LONGEST, MOST_PIXELS / width)
        return min(width, max(1, int(image.width * most / image.height))), None
    if height and not width:
        most = min(LONGEST, MOST_PIXELS / height)
        return None, min(height, max(1, int(image.height * most / image.width)))
    return width, height


def _colour(value: str) -> tuple[int, int, int, int]:
    if value == "transparent":
        return (0, 0, 0, 0)
    red, green, blue = ImageColor.getrgb(value)[:3]
    return (red, green, blue, 255)


def _notes(
    image: Image.Image,
    done: Image.Image,
    wanted: tuple[int | None, int | None],
    fit: resizing.Fit,
    settings: Mapping[str, Any],
) -> list[Note]:
    """What people should know: that the picture was too small for what they asked."""
    if settings["enlarge"]:
        return []
    if fit == "pad" and None not in wanted:
        if image.width < done.width and image.height < done.height:
            return [Note(ROOM, wanted=f"{done.width} × {done.height}")]
        return []
    short = [side is not None and side > made for side, made in zip(wanted, done.size, strict=True)]
    if not any(short) or (fit == "contain" and not all(short) and None not in wanted):
        return []
    text = " × ".join(str(side or "…") for side in wanted)
    return [Note(SMALLER, wanted=text, size=f"{done.width} × {done.height}")]
