"""Image to image: change a photo as a sentence says."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _
from PIL import Image
from rest_framework import serializers

from tools.base import Example, ImageSettings, Note, Output, Tool, ToolError, missing_weights
from tools.engines import generative, instructions, meaning, photographic, weights
from tools.engines.instructions import Edit
from tools.failures import of_engines
from tools.registry import register

CREDITS = {"basic": 1, "diffusion": 3, "provider": 3}

EXAMPLES = (
    _("“a bit warmer and blur the background”"),
    _("“brighten it by 20%, more contrast”"),
    _("“black and white with a strong vignette”"),
)
"""What a person reads who was not understood."""

NAMES = {
    "brightness": (_("brighter"), _("darker")),
    "contrast": (_("more contrast"), _("less contrast")),
    "warmth": (_("warmer"), _("cooler")),
    "saturation": (_("more saturated"), _("less saturated")),
    "sharpness": (_("sharper"), _("softer")),
    "highlights": (_("brighter highlights"), _("highlights recovered")),
    "shadows": (_("shadows lifted"), _("deeper shadows")),
    "denoise": _("noise reduced"),
    "low-light": _("low light lit up"),
    "black-and-white": _("black and white"),
    "sepia": _("sepia"),
    "vintage": _("vintage"),
    "vignette": _("vignette"),
    "blur-background": _("background blurred"),
    "background-colour": _("background {colour}"),
    "rotate": _("rotated by {degrees}°"),
    "flip-horizontal": _("mirrored"),
    "flip-vertical": _("flipped top to bottom"),
    "straighten": _("straightened"),
    "white-balance": _("white balance corrected"),
    "fade": _("faded"),
    "square": _("cropped to a square"),
    "auto": _("enhanced"),
}
"""How each edit is told; for those with two directions: more, less."""

PLACES = {
    "all": "{edit}",
    "background": _("background: {edit}"),
    "subject": _("subject: {edit}"),
}


class Settings(ImageSettings):
    """What to do, and how strictly."""

    prompt = serializers.CharField(
        max_length=1000,
        label=_("Instruction"),
        help_text=_("In English, such as “a bit warmer, and blur the background slightly”."),
        style={"widget": "textarea"},
    )
    strength = serializers.FloatField(
        min_value=0,
        max_value=1,
        default=1.0,
        label=_("Strength"),
        help_text=_(
            "1 does what the instruction says, 0.5 half of it. "
            "A generative model stays nearer to the photo the lower this is."
        ),
    )
    model = serializers.ChoiceField(
        choices=[
            ("basic", _("Photographic edits")),
            ("diffusion", _("Diffusion, on this site's GPU")),
            ("provider", _("Online service")),
        ],
        default="basic",
        label=_("Model"),
        help_text=_(
            "Photographic edits change light, colour, sharpness, background and shape. "
            "The others can paint what was not there."
        ),
    )
    seed = serializers.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        allow_null=True,
        default=None,
        label=_("Seed"),
        help_text=_("For generative models: another number, another picture."),
        style={"more": True},
    )


@register
class ImageToImage(Tool):
    """Edit a photo by an instruction in words."""

    slug = "image-to-image"
    name = _("Image to image")
    description = _("Say in words what to change: light, colours, sharpness, background.")
    timeout = 300
    artefacts = (*meaning.ARTEFACTS, photographic.SUBJECTS)
    icon = "wand-sparkles"
    varying = ("provider",)
    example = Example("chelsea.png", {"prompt": "black and white background, a bit warmer"})
    showcase = (
        {"prompt": "a bit brighter and much warmer"},
        {"prompt": "black and white with more contrast"},
        {"prompt": "give it a vintage look and a vignette"},
        {"prompt": "blur the background"},
        {"prompt": "put it on a light blue background"},
    )
    credits = CREDITS
    Settings = Settings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """The edited photo and what was understood; a generative model tells nothing."""
        prompt, strength = settings["prompt"], settings["strength"]
        if settings["model"] != "basic":
            model, seed = settings["model"], settings["seed"]
            with of_engines():
                painted = generative.edit(
                    image, prompt=prompt, strength=strength, model=model, seed=seed
                )
            return [Output(image=painted)]
        try:
            edits = instructions.understand(prompt)
        except instructions.NotUnderstood as exc:
            raise ToolError(
                "instruction_not_understood",
                {"part": exc.part, "examples": ", ".join(map(str, EXAMPLES))},
                permanent=True,
            ) from None
        done, idle = photographic.apply(image, edits, strength=strength)
        notes = [Note(gettext_noop("Understood: {edits}."), edits=_told(edits, strength))]
        if idle:
            text = gettext_noop("Nothing had to be done for: {edits}.")
            notes.append(Note(text, edits=_told(idle, strength)))
        return [Output(image=done, notes=notes)]

    def unavailable_reason(self, settings: Mapping[str, Any] | None = None) -> str | None:
        """Weights that are missing, or a generative model that is not set up."""
        model = (settings or self.defaults())["model"]
        if model == "basic":
            return missing_weights(*self.artefacts)
        return generative.missing(model, "edit")

    def version(self, settings: Mapping[str, Any]) -> str:
        """The model of meaning and the one that finds the subject; or the generative one."""
        if settings["model"] != "basic":
            return generative.version(settings["model"], "edit")
        used = (weights.artefact(name).version for name in ("minilm", photographic.SUBJECTS))
        return ", ".join(used)

    def warm(self) -> None:
        """Load what understands the instruction."""
        instructions.warm()


def _told(edits: Sequence[Edit], strength: float) -> str:
    """The edits in words: "warmer +25 %, background blurred"."""
    return ", ".join(_words(edit, strength) for edit in edits)


def _words(edit: Edit, strength: float) -> str:
    name = NAMES[edit.name]
    told = str(name[edit.amount < 0] if isinstance(name, tuple) else name)
    if edit.name in photographic.WITHOUT_AMOUNT:
        colour = "#{:02x}{:02x}{:02x}".format(*(edit.colour or (255, 255, 255)))
        told = told.format(colour=colour, degrees=f"{edit.amount:+g}")
    else:
        percent = round(abs(edit.amount) * strength * 100)
        told = gettext("{edit} {percent} %").format(edit=told, percent=percent)
    return str(PLACES[edit.where]).format(edit=told)
