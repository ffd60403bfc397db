"""Smart crop: other shapes and sizes, with all faces and the whole subject in them."""

import re
from collections.abc import Mapping
from typing import Any

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
    Tool,
    missing_weights,
)
from tools.engines import cropping, faces, weights
from tools.registry import register

SHORTEST, LONGEST = 16, 8192
"""Pixels of a side of a result."""
STEEPEST = 20
"""The longest side that a ratio may have, in widths of the other one."""
MOST_SIZES = 12
MOST_PIXELS = 64_000_000
"""Of all results of one picture together: they are in memory at once."""

KEPT = 0.98
"""Share of the salient mass below which a crop is said to cut the subject."""

CUT = gettext_noop("{percent} % of the subject fits this shape. Choose a padding to keep it whole.")
CUT_FACES = gettext_noop("Not every face fits this shape. Choose a padding to keep them all.")
PADDED = gettext_noop("The picture ends before the crop does: the rest is padding.")
NOT_ENLARGED = gettext_noop(
    "The picture is too small for {wanted}: the crop is {size} and was not enlarged."
)
TOO_LARGE = gettext_noop("The crop would have been too large and was reduced to {size}.")
NO_FACE = gettext_noop("No face was found: the crop follows the subject.")
NOTHING = gettext_noop("Nothing stands out in this picture: the crop follows its middle.")


def parsed_ratio(text: str) -> float:
    """Width by height of "4:5" or "1.91:1". Raises `ValueError`."""
    match = re.fullmatch(r"\s*(\d{1,5}(?:\.\d{1,4})?)\s*[:/]\s*(\d{1,5}(?:\.\d{1,4})?)\s*", text)
    if match is None:
        raise ValueError(text)
    width, height = map(float, match.groups())
    if not width or not height or not 1 / STEEPEST <= width / height <= STEEPEST:
        raise ValueError(text)
    return width / height


def parsed_sizes(text: str) -> list[tuple[int, int]]:
    """The sizes in "1080x1080, 1200x628", each of them once. Raises `ValueError`."""
    sizes = []
    for part in filter(None, re.split(r"[,;\n]+", text.strip())):
        match = re.fullmatch(r"\s*(\d{1,5})\s*[x×*]\s*(\d{1,5})\s*", part, re.IGNORECASE)
        if match is None:
            raise ValueError(part)
        size = (int(match[1]), int(match[2]))
        if not all(SHORTEST <= side <= LONGEST for side in size):
            raise ValueError(part)
        sizes.append(size)
    return list(dict.fromkeys(sizes))


class Settings(ImageSettings):
    """The shapes, what to keep in view, and what to do where the picture ends."""

    ratio = serializers.CharField(
        default="1:1",
        max_length=20,
        label=_("Ratio"),
        help_text=_("Width to height, such as 1:1, 4:5, 16:9 or 1.91:1."),
    )
    width = serializers.IntegerField(
        min_value=SHORTEST,
        max_value=LONGEST,
        allow_null=True,
        default=None,
        label=_("Width"),
        help_text=_("Pixels. With a height too, the ratio is theirs; alone, the ratio decides."),
    )
    height = serializers.IntegerField(
        min_value=SHORTEST,
        max_value=LONGEST,
        allow_null=True,
        default=None,
        label=_("Height"),
        help_text=_("Pixels. Leave both empty for the largest crop of the ratio."),
    )
    sizes = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=200,
        label=_("Several sizes"),
        help_text=_(
            "Up to 12, such as 1080x1080, 1200x628: one result each, for the price of one. "
            "They take the place of ratio, width and height."
        ),
        style={"more": True},
    )
    focus = serializers.ChoiceField(
        choices=[
            ("auto", _("Faces and subject")),
            ("face", _("Faces")),
            ("subject", _("Subject")),
            ("center", _("Middle")),
        ],
        default="auto",
        label=_("Keep in view"),
    )
    padding = serializers.ChoiceField(
        choices=[
            ("background", _("Continue the background")),
            ("color", _("Colour")),
            ("none", _("No padding")),
        ],
        default="background",
        label=_("Padding"),
        help_text=_("What to do where the subject needs more room than the picture has."),
    )
    padding_color = ColourField(
        default="#ffffff",
        label=_("Padding colour"),
        help_text=_("For the padding “Colour”."),
        style={"more": True},
    )
    enlarge = serializers.BooleanField(
        default=False,
        label=_("Enlarge small pictures"),
        help_text=_("Otherwise a picture that is too small for a size is padded."),
        style={"more": True},
    )

    def validate_ratio(self, value: str) -> str:
        """Two numbers, neither of them absurdly larger than the other."""
        try:
            parsed_ratio(value)
        except ValueError:
            detail = _("Give two numbers with a colon, from 1:20 to 20:1, such as 4:5.")
            raise serializers.ValidationError(detail, code="ratio_invalid") from None
        return value

    def validate_sizes(self, value: str) -> str:
        """Sizes with a cross in them, not too many and not too large."""
        try:
            sizes = parsed_sizes(value)
        except ValueError as exc:
            detail = _(
                "“{part}” is no size. Give width x height in pixels, each from {least} to "
                "{most}, and commas between sizes: 1080x1080, 1200x628."
            ).format(part=str(exc).strip()[:20], least=SHORTEST, most=LONGEST)
            raise serializers.ValidationError(detail, code="size_invalid") from None
        if len(sizes) > MOST_SIZES:
            detail = _("These are {n} sizes; at most {most} are made of one picture.").format(
                n=len(sizes), most=MOST_SIZES
            )
            raise serializers.ValidationError(detail, code="too_many_sizes")
        if sum(width * height for width, height in sizes) > MOST_PIXELS:
            detail = _(
                "Together these sizes have more than {most} megapixels. Make some of them "
                "smaller, or make them in two runs."
            ).format(most=MOST_PIXELS // 10**6)
            raise serializers.ValidationError(detail, code="sizes_too_large")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """What width, height and ratio give together must be a size that can be made."""
        for width, height in [shape.size for shape in shapes(attrs) if shape.size]:
            if not all(SHORTEST <= side <= LONGEST for side in (width, height)):
                detail = _(
                    "With this ratio the crop would be {width} × {height} pixels; each side "
                    "can have {least} to {most}."
                ).format(width=width, height=height, least=SHORTEST, most=LONGEST)
                name = "width" if attrs["width"] else "height"
                raise serializers.ValidationError({name: detail}, code="size_invalid")
            if width * height > MOST_PIXELS:
                detail = _("A crop can have at most {most} megapixels.").format(
                    most=MOST_PIXELS // 10**6
                )
                raise serializers.ValidationError({"width": detail}, code="size_too_large")
        return attrs


def shapes(settings: Mapping[str, Any]) -> list[cropping.Shape]:
    """The crops that clean settings ask for, in their order."""
    if sizes := parsed_sizes(settings["sizes"]):
        return [cropping.Shape(width / height, (width, height)) for width, height in sizes]
    ratio = parsed_ratio(settings["ratio"])
    match settings["width"], settings["height"]:
        case None, None:
            return [cropping.Shape(ratio)]
        case width, None:
            size = (width, round(width / ratio))
        case None, height:
            size = (round(height * ratio), height)
        case width, height:
            size, ratio = (width, height), width / height
    return [cropping.Shape(ratio, size)]


@register
class SmartCrop(Tool):
    """Crop to a shape around what the picture shows."""

    slug = "smart-crop"
    name = _("Smart crop")
    description = _("Crop to any shape or size and keep every face and the whole subject in it.")
    artefacts = ("u2netp",)
    icon = "crop"
    example = Example("rocket.jpg", {"ratio": "1:1"})
    showcase = (
        {"ratio": "1:1"},
        {"ratio": "4:5"},
        {"ratio": "9:16"},
        {"ratio": "3:1", "padding": "none"},
    )
    Settings = Settings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """One picture for each size, in the order of the sizes."""
        interest = cropping.look(image, focus=settings["focus"])
        padding = cropping.Padding(settings["padding"], _color(settings["padding_color"]))
        outputs = []
        for shape in shapes(settings):
            made = cropping.crop(
                image, interest, shape, padding=padding, enlarge=settings["enlarge"]
            )
            outputs.append(Output(image=made.image, notes=_notes(made, shape, interest, settings)))
        return outputs

    def unavailable_reason(self, settings: Mapping[str, Any] | None = None) -> str | None:
        """Weights that are not there, or not what they should be."""
        focus = (settings or self.defaults())["focus"]
        return None if focus == "center" else missing_weights(*self.artefacts)

    def version(self, settings: Mapping[str, Any]) -> str:
        """The algorithm, the detector of faces and the weights, as far as the focus needs them."""
        parts = [cropping.VERSION]
        if settings["focus"] in {"auto", "face"}:
            parts.append(faces.VERSION)
        if settings["focus"] != "center":
            parts.append(weights.artefact(cropping.MODEL).version)
        return ", ".join(parts)

    def warm(self) -> None:
        """Load the detectors and the model."""
        cropping.warm()


def _color(value: str) -> tuple[int, int, int, int]:
    if value == "transparent":
        return (0, 0, 0, 0)
    red, green, blue = ImageColor.getrgb(value)[:3]
    return (red, green, blue, 255)


def _notes(
    made: cropping.Crop,
    shape: cropping.Shape,
    interest: cropping.Interest,
    settings: Mapping[str, Any],
) -> list[Note]:
    """What people should know about one crop."""
    notes = []
    if settings["focus"] == "face" and not interest.faces:
        notes.append(Note(NO_FACE))
    if settings["focus"] != "center" and interest.keep is None:
        notes.append(Note(NOTHING))
    if made.cut_faces:
        notes.append(Note(CUT_FACES))
    elif made.kept < KEPT:
        notes.append(Note(CUT, percent=round(made.kept * 100)))
    size = f"{made.image.width} × {made.image.height}"
    if made.smaller and shape.size:
        wanted = f"{shape.size[0]} × {shape.size[1]}"
        notes.append(Note(NOT_ENLARGED, wanted=wanted, size=size))
    elif made.smaller:
        notes.append(Note(TOO_LARGE, size=size))
    if made.padded:
        notes.append(Note(PADDED))
    return notes
