"""Object removal: paint over a thing, and it was never there."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from PIL import Image, ImageDraw
from rest_framework import serializers

from tools.base import (
    Example,
    ImageSetting,
    ImageSettings,
    Output,
    Tool,
    ToolError,
    missing_weights,
)
from tools.engines import generative, removing, weights
from tools.failures import of_engines
from tools.registry import register

LOCAL = ("patchmatch", "lama")
"""The models that run here, by their names in `removing`."""


class MaskSetting(ImageSetting):
    """A mask of the image's own size, white where something is to go; drawn in the browser."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.style = {"widget": "mask", **self.style}


class Settings(ImageSettings):
    """What is to go, and who fills the hole."""

    mask = MaskSetting(
        required=True,
        label=_("Mask"),
        help_text=_(
            "As large as the image, white over what is to go. Paint it here, or give an upload "
            "or an address."
        ),
    )
    model = serializers.ChoiceField(
        choices=[
            ("patchmatch", _("PatchMatch, for surfaces and textures")),
            ("lama", _("LaMa, for structures")),
            ("diffusion", _("Diffusion, on this site's GPU")),
            ("provider", _("Online service")),
        ],
        default="patchmatch",
        label=_("Model"),
    )


def _masts(image: Image.Image) -> Image.Image:
    """The mask of the example: the two lightning masts beside the rocket."""
    mask = Image.new("L", image.size)
    draw = ImageDraw.Draw(mask)
    for left, right in ((0.235, 0.32), (0.69, 0.775)):
        box = (left * image.width, 0.27 * image.height, right * image.width, 0.94 * image.height)
        draw.rectangle(box, fill=255)
    return mask


@register
class ObjectRemoval(Tool):
    """Take out what a mask covers and fill the hole with what is around it."""

    slug = "object-removal"
    name = _("Object removal")
    description = _("Paint over what disturbs: it goes, and its surroundings close the gap.")
    price = 3
    varying = ("provider",)
    timeout = 300
    artefacts = ("lama",)
    icon = "eraser"
    example = Example("rocket.jpg", images={"mask": _masts})
    Settings = Settings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """The image without what the mask covers; nothing else of it changes."""
        mask = removing.hole(settings["mask"])
        try:
            removing.check(mask)
        except removing.MaskEmpty:
            raise ToolError("mask_empty", permanent=True) from None
        except removing.MaskTooLarge:
            raise ToolError("mask_too_large", permanent=True) from None
        model = settings["model"]
        if model in LOCAL:
            return [Output(image=removing.remove(image, mask, model=model))]
        with of_engines():
            return [Output(image=generative.remove(image, mask, model=model))]

    def refuse_size(
        self,
        size: tuple[int, int],
        settings: Mapping[str, Any],
        drawn: Mapping[str, tuple[int, int]],
    ) -> None:
        """The mask is as large as the image: nothing else says where it belongs."""
        super().refuse_size(size, settings, drawn)
        mask = drawn.get("mask", size)
        if mask != size:
            sizes = {"mask_w": mask[0], "mask_h": mask[1], "w": size[0], "h": size[1]}
            raise ToolError("mask_wrong_size", sizes, permanent=True)

    def unavailable_reason(self, settings: Mapping[str, Any] | None = None) -> str | None:
        """LaMa's weights that are missing, or a generative model that is not set up."""
        match (settings or self.defaults())["model"]:
            case "patchmatch":
                return None
            case "lama":
                return missing_weights("lama")
            case model:
                return generative.missing(model, "remove")

    def version(self, settings: Mapping[str, Any]) -> str:
        """The algorithm with its patches, or the model."""
        match settings["model"]:
            case "patchmatch":
                return f"patchmatch {removing.PATCH}"
            case "lama":
                return weights.artefact("lama").version
            case model:
                return generative.version(model, "remove")
