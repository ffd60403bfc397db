"""Upscale: two, three or four times as many pixels each way, sharp."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from PIL import Image
from rest_framework import serializers

from tools.base import Example, ImageSettings, Output, Tool, ToolError, missing_weights
from tools.engines import upscaling, weights
from tools.registry import register

LARGE = 48_000_000
"""Pixels of a result above which it costs more."""
MEGAPIXEL = 1_000_000


class Settings(ImageSettings):
    """How much larger, and by which model."""

    scale = serializers.ChoiceField(
        choices=[(scale, f"{scale}×") for scale in upscaling.SCALES],
        default=2,
        label=_("Scale"),
        help_text=_(
            "How many times as wide and high. A result above 48 MP costs twice as much; "
            "100 MP is the most."
        ),
        style={"widget": "segmented"},
    )
    model = serializers.ChoiceField(
        choices=[
            ("fast", _("SPAN, fast and faithful")),
            ("quality", _("Real-ESRGAN, cleanest")),
        ],
        default="fast",
        label=_("Model"),
        help_text=_(
            "Real-ESRGAN also removes noise and JPEG traces, and smooths skin. Without a GPU it "
            "takes minutes, and images of up to 1 MP."
        ),
    )


@register
class Upscale(Tool):
    """Enlarge a picture without blur."""

    slug = "upscale"
    name = _("Upscale")
    description = _("Make an image two, three or four times as large, with sharp edges.")
    artefacts = ("span-x4", "real-esrgan-x4plus")
    timeout = 2400  # the largest picture takes either model ten to fifteen minutes on one core
    price = 1
    icon = "scaling"
    example = Example("chelsea.png", {"scale": 4}, box=(130, 75, 270, 180))
    showcase = ({"scale": 2}, {"scale": 4})
    Settings = Settings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """One picture, in the mode of ``image``."""
        scale = settings["scale"]
        size = {"w": image.width, "h": image.height}
        try:
            done = upscaling.upscale(image, scale=scale, model=settings["model"])
        except upscaling.TooLarge as exc:
            size["scale"] = scale
            raise self._too_large(size, exc) from None
        except upscaling.TooSlow as exc:
            size["cpu"] = 1
            raise self._too_large(size, exc) from None
        return [Output(image=done)]

    def _too_large(self, params: Mapping[str, int], exc: upscaling.TooMuch) -> ToolError:
        # Rounded down: an image that is made to fit must fit.
        most = exc.pixels * 10 // MEGAPIXEL / 10
        return ToolError("dimensions_too_large", {**params, "max": most}, permanent=True)

    def price_for(
        self,
        settings: Mapping[str, Any],
        *,
        width: int | None = None,
        height: int | None = None,
    ) -> int:
        """By the pixels of the result; the highest price while they are not known."""
        if width is not None and height is not None:
            pixels = width * height * settings["scale"] ** 2
            if pixels <= LARGE:
                return self.price
        return 2 * self.price

    def lowest_price(self) -> int:
        """What all but very large results cost."""
        return self.price

    def unavailable_reason(self, settings: Mapping[str, Any] | None = None) -> str | None:
        """Weights that are not there, or not what they should be."""
        return missing_weights(*self._needed(settings or self.defaults()))

    def version(self, settings: Mapping[str, Any]) -> str:
        """The weights, by name and content."""
        return ", ".join(weights.artefact(name).version for name in self._needed(settings))

    def warm(self) -> None:
        """Load the default model."""
        upscaling.warm(model=self.defaults()["model"])

    def _needed(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        return upscaling.needed(model=settings["model"])
