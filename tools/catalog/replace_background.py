"""Replace background: the subject in front of something else, as if it had always been there."""

import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop
from PIL import Image, ImageColor
from rest_framework import serializers

from tools.base import Example, ImageSetting, ImageSettings, Note, Output
from tools.engines import backdrops, composing, generative, meaning, painting, subjects
from tools.engines.composing import Placed
from tools.engines.stages import Rendered
from tools.failures import of_engines
from tools.registry import register
from tools.staged import MODEL, PAINTERS, POSITIONS, StagedTool

CREDITS = {"composed": 1, "diffusion": 4, "provider": 4}
REFLECTION = 0.32
"""How much a ground reflects where a reflection is asked for: like polished acrylic."""

STUDIOS = {
    "studio-white": _("White paper"),
    "studio-grey": _("Grey paper"),
    "studio-black": _("Black paper"),
    "studio-beige": _("Beige paper"),
    "studio-blue": _("Blue paper"),
    "studio-pink": _("Pink paper"),
    "studio-green": _("Green paper"),
    "spotlight": _("Spotlight"),
    "marble": _("Marble"),
    "wood": _("Wood"),
    "concrete": _("Concrete"),
    "linen": _("Linen"),
    "slate": _("Slate"),
    "terrazzo": _("Terrazzo"),
    "plaster": _("Terracotta plaster"),
}
"""What the studio backdrops are called."""

CHOICES = [
    *STUDIOS.items(),
    ("blur", _("The photo, out of focus")),
    ("#ffffff", _("White")),
    ("gradient:#ffffff,#d0d6de", _("White to grey")),
]
"""What the form offers; anything else can be typed."""

PICTURES = {
    choice: f"img/backdrops/{choice if choice in STUDIOS else choice[:8].strip('#')}.webp"
    for choice, _name in CHOICES
}

_COLOUR = re.compile("#[0-9a-f]{6}")
_GRADIENT = re.compile("gradient:(#[0-9a-f]{6}), ?(#[0-9a-f]{6})")


class BackgroundSetting(ImageSetting):
    """A colour, a gradient, ``blur``, a studio's name, or a picture."""

    default_error_messages = {
        "not_an_image": _(
            "Give a colour (#ffffff), a gradient (gradient:#ffffff,#dddddd), blur, a studio "
            "backdrop ({studios}), the id of an upload, or an http or https address."
        ),
    }

    def to_internal_value(self, data: Any) -> str:
        """Names and colours in lower case, upload ids and addresses as they are."""
        value = serializers.CharField.to_internal_value(self, data)
        lower = value.lower()
        if lower == "blur" or lower in STUDIOS or _COLOUR.fullmatch(lower):
            return str(lower)
        if ends := _GRADIENT.fullmatch(lower):
            return f"gradient:{ends[1]},{ends[2]}"
        if self.reference(value) is None:
            self.fail("not_an_image", studios=", ".join(STUDIOS))
        return str(value)


class Settings(ImageSettings):
    """What goes behind the subject, and where in front of it the subject is."""

    background = BackgroundSetting(
        default="studio-white",
        allow_blank=False,
        label=_("Background"),
        help_text=_(
            "A colour (#ffffff), gradient:#ffffff,#dddddd, blur, a studio backdrop, the id of "
            "an upload, or the address of a picture."
        ),
        style={"choices": CHOICES, "pictures": PICTURES},
    )
    prompt = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=500,
        label=_("In words"),
        style={"widget": "textarea"},
        help_text=_("Describe the background instead: it takes the place of the one above."),
    )
    model = serializers.ChoiceField(
        choices=[
            ("composed", _("Our own backdrops")),
            *PAINTERS,
        ],
        default="composed",
        label=_("Model"),
        help_text=_("Who makes the background that is described in words."),
    )
    shadow = serializers.BooleanField(
        default=True, label=_("Shadow"), help_text=_("The subject throws a shadow.")
    )
    reflection = serializers.BooleanField(
        default=False, label=_("Reflection"), help_text=_("The ground is polished.")
    )
    scale = serializers.IntegerField(
        min_value=5,
        max_value=100,
        allow_null=True,
        default=None,
        label=_("Size of the subject"),
        help_text=_("Percent of the picture. Leave it empty to keep it as it is."),
        style={"more": True},
    )
    position = serializers.ChoiceField(
        choices=[
            ("original", _("Where it is")),
            *POSITIONS,
        ],
        default="original",
        label=_("Position"),
        style={"more": True},
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A model that paints wants to know what."""
        if attrs["model"] != "composed" and not attrs["prompt"]:
            detail = _("This model paints what you describe. Describe the background in words.")
            raise serializers.ValidationError({"prompt": detail}, code="prompt_required")
        return attrs


@register
class ReplaceBackground(StagedTool):
    """Put the subject in front of another background."""

    slug = "replace-background"
    name = _("Replace background")
    description = _("Put the subject in front of a colour, a studio backdrop or your own picture.")
    icon = "image-plus"
    varying = ("provider",)
    timeout = 300
    example = Example(
        "coffee.png", {"background": "marble", "scale": 66, "position": "bottom_center"}
    )
    showcase = (
        {"background": "studio-white"},
        {"background": "marble", "reflection": True},
        {"background": "spotlight"},
        {"background": "gradient:#f6d365,#fda085"},
        {"background": "blur"},
    )
    credits = CREDITS
    words = "prompt"
    nobody_paints = _(
        "No generative engine is set up here: the backdrop nearest to your words is chosen, at "
        "the price of our own backdrops."
    )
    somebody_paints = _(
        "The backdrop nearest to your words is chosen among our own. Choose another model to have "
        "it painted."
    )
    Settings = Settings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """One picture, RGB, of the original's size."""
        subject = subjects.cut(image, model=MODEL)
        scale = settings["scale"]
        placed = composing.place(
            subject,
            image.size,
            position=settings["position"],
            share=None if scale is None else scale / 100,
        )
        if settings["model"] != "composed":
            return [Output(image=_painted(placed, settings))]
        background, notes = settings["background"], []
        if settings["prompt"]:
            background = _nearest(settings["prompt"])
            chosen = gettext_noop("Nearest backdrop to your words: {backdrop}.")
            notes = [Note(chosen, backdrop=str(STUDIOS[background]))]
        if background == "blur":
            mask = composing.place(subject, image.size).mask()
            behind = Rendered(backdrops.blurred(image, mask), darkness=0.4, cast=0.3)
            if placed.at == subject.origin and placed.subject.size == subject.size:
                # It is still where it was photographed: its light is right as it is, and the
                # ground still has its shadow.
                return [Output(image=composing.pasted(behind.image, placed))]
        else:
            behind = _behind(background, placed)
        done = composing.compose(
            behind,
            placed,
            shadow=settings["shadow"],
            reflection=REFLECTION if settings["reflection"] else 0.0,
        )
        return [Output(image=done, notes=notes)]


def _nearest(words: str) -> str:
    """The studio backdrop that is meant by these words."""
    phrases = {name: backdrops.STUDIOS[name].phrases for name in STUDIOS}
    return meaning.nearest(words, phrases)[0][0]


def _behind(background: str | Image.Image, placed: Placed) -> Rendered:
    """A composed backdrop for a subject that is placed so."""
    if not isinstance(background, str):
        return Rendered(painting.backdrop(background, placed.canvas))
    if background in backdrops.STUDIOS:
        # Only now: drawing takes numpy, which a process that serves pages never loads.
        from tools.engines import rendering

        return rendering.render(
            backdrops.STUDIOS[background],
            placed.canvas,
            ground=placed.ground,
            centre=placed.centre,
        )
    if ends := _GRADIENT.fullmatch(background):
        top, bottom = (ImageColor.getrgb(colour)[:3] for colour in ends.groups())
        return Rendered(backdrops.gradient(placed.canvas, top, bottom), cast=0.5)
    colour = ImageColor.getrgb(background)[:3]
    return Rendered(backdrops.colour(placed.canvas, colour), cast=0.5)


def _painted(placed: Placed, settings: Mapping[str, Any]) -> Image.Image:
    """The subject with a background that a generative model paints around it."""
    reference = settings["background"]
    with of_engines():
        return generative.background(
            composing.pasted(backdrops.colour(placed.canvas, (238, 238, 238)), placed),
            placed.mask(),
            prompt=settings["prompt"],
            model=settings["model"],
            reference=None if isinstance(reference, str) else reference,
        )
