"""Product lifestyle: the product in a place where people would use it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop
from PIL import Image
from rest_framework import serializers

from tools.base import Example, ImageSetting, ImageSettings, Note, Output, format_setting
from tools.engines import backdrops, composing, generative, meaning, scenes, subjects
from tools.engines.composing import Placed
from tools.engines.stages import Stage
from tools.engines.subjects import Subject
from tools.failures import of_engines
from tools.registry import register
from tools.staged import MODEL, PAINTERS, POSITIONS, StagedTool

CREDITS = {"composed": 2, "diffusion": 4, "provider": 4}
"""For each result."""
MOST_RESULTS = 4
MOST_PIXELS = 25_000_000
"""A product with room around it is made smaller beyond so many pixels."""
PLACED_SHARE = 0.55
"""The part of the picture that a product fills where its position is chosen by hand."""

SCENES = {
    "oak-window": _("Oak table by a window"),
    "marble-bathroom": _("Marble in the bathroom"),
    "kitchen": _("Kitchen worktop"),
    "loft": _("Loft with a brick wall"),
    "linen-leaves": _("Linen under palm leaves"),
    "terracotta-sun": _("Terracotta in the sun"),
    "garden": _("On the lawn"),
    "garden-table": _("Garden table"),
    "beach": _("Beach"),
    "zen-gravel": _("Gravel garden"),
    "terrazzo-pastel": _("Terrazzo and pastel green"),
    "pink-sun": _("Pink wall in the sun"),
    "evening-lights": _("Bar in the evening"),
    "city-night": _("City at night"),
    "winter": _("Snow"),
    "watercolour-studio": _("Painted wall"),
    "office": _("Office desk"),
}
"""What the scenes are called."""


class Settings(ImageSettings):
    """The place, where in it the product stands, and how many pictures of it."""

    scene = serializers.ChoiceField(
        choices=list(SCENES.items()),
        default="oak-window",
        label=_("Scene"),
        style={
            "widget": "tiles",
            "pictures": {name: f"img/scenes/{name}.webp" for name in SCENES},
        },
    )
    scene_description = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=500,
        label=_("In words"),
        style={"widget": "textarea"},
        help_text=_("Describe the scene instead: it takes the place of the one above."),
    )
    placement_type = serializers.ChoiceField(
        choices=[
            ("automatic", _("Automatic")),
            ("original", _("Where it is")),
            ("manual_placement", _("At a position")),
            ("manual_padding", _("With room around it")),
        ],
        default="automatic",
        label=_("Placement"),
    )
    position = serializers.ChoiceField(
        choices=POSITIONS,
        default="bottom_center",
        label=_("Position"),
        help_text=_("For the placement “At a position”."),
        style={"more": True},
    )
    padding = serializers.IntegerField(
        min_value=0,
        max_value=200,
        default=30,
        label=_("Room"),
        help_text=_("Percent of the product's longer side, for “With room around it”."),
        style={"more": True},
    )
    num_results = serializers.IntegerField(
        min_value=1,
        max_value=MOST_RESULTS,
        default=1,
        label=_("Results"),
        help_text=_("1 to 4: each with other light, another frame and other material."),
    )
    ref_image = ImageSetting(
        label=_("Reference"),
        help_text=_(
            "The id of an upload or the address of a picture, whose surroundings and colours "
            "the scene takes on."
        ),
    )
    model = serializers.ChoiceField(
        choices=[
            ("composed", _("Our own scenes")),
            *PAINTERS,
        ],
        default="composed",
        label=_("Model"),
    )
    format = format_setting("jpg")


@register
class ProductLifestyle(StagedTool):
    """Show the product in a scene."""

    slug = "product-lifestyle"
    name = _("Product lifestyle")
    description = _("Show the product on a table by the window, on the beach, in a bar.")
    icon = "lamp"
    varying = ("provider",)
    price = CREDITS["composed"]
    timeout = 1200  # a service may take four minutes for each of four results
    example = Example("coffee.png", {"scene": "garden-table"})
    showcase = tuple({"scene": scene} for scene in SCENES)
    words = "scene_description"
    nobody_paints = _(
        "No generative engine is set up here: the scene nearest to your words is chosen, at "
        "the price of our own scenes."
    )
    somebody_paints = _(
        "The scene nearest to your words is chosen among our own. Choose another model to have "
        "it painted."
    )
    Settings = Settings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """``num_results`` pictures, RGB."""
        subject = subjects.cut(image, model=MODEL)
        name, notes = settings["scene"], []
        words = settings["scene_description"]
        if words and settings["model"] == "composed":
            name = _nearest(words)
            chosen = gettext_noop("Nearest scene to your words: {scene}.")
            notes = [Note(chosen, scene=str(SCENES[name]))]
        stage = scenes.SCENES[name]
        done = []
        for number in range(settings["num_results"]):
            placed = _placed(subject, image.size, settings, number)
            if settings["model"] == "composed":
                made = _composed(stage, placed, settings, number)
            else:
                made = _painted(words or stage.phrases[0], placed, settings, number)
            done.append(Output(image=made, notes=notes))
        return done

    def price_for(
        self,
        settings: Mapping[str, Any],
        *,
        width: int | None = None,  # noqa: ARG002
        height: int | None = None,  # noqa: ARG002
    ) -> int:
        """By who makes the scene, for each result."""
        return CREDITS[settings["model"]] * settings["num_results"]

    def price_rules(self) -> list[dict[str, Any]]:
        """Painted scenes, and more results than one."""
        return [
            {"when": {"model": model, "num_results": results}, "credits": price * results}
            for model, price in CREDITS.items()
            for results in range(1, MOST_RESULTS + 1)
            if price * results != self.price
        ]


def _nearest(words: str) -> str:
    """The scene that is meant by these words."""
    phrases = {name: scenes.SCENES[name].phrases for name in SCENES}
    return meaning.nearest(words, phrases)[0][0]


# --- What makes the results of one picture differ ---------------------------------------------

_SHARES = (0.62, 0.56, 0.66, 0.5)
_FEET = (0.87, 0.84, 0.89, 0.83)
_MIDDLES = (0.5, 0.42, 0.57, 0.5)
_DEPTHS = (1.0, 1.2, 0.9, 1.1)
_OTHER_SIDE = {
    "left": "right",
    "right": "left",
    "top-left": "top-right",
    "top-right": "top-left",
    "bottom-left": "bottom-right",
    "bottom-right": "bottom-left",
    "top": "top",
}


def _placed(
    subject: Subject, canvas: tuple[int, int], settings: Mapping[str, Any], number: int
) -> Placed:
    match settings["placement_type"]:
        case "original":
            return composing.place(subject, canvas)
        case "manual_placement":
            return composing.place(
                subject, canvas, position=settings["position"], share=PLACED_SHARE
            )
        case "manual_padding":
            return composing.padded(subject, settings["padding"] / 100, most=MOST_PIXELS)
    if subject.cut_off:
        # Half a figure fills the frame from its edge: smaller, it would look like a bust.
        return composing.place(subject, canvas)
    return composing.place(
        subject,
        canvas,
        position="bottom_center",
        share=_SHARES[number],
        foot=_FEET[number],
        middle=_MIDDLES[number],
    )


def _composed(
    stage: Stage, placed: Placed, settings: Mapping[str, Any], number: int
) -> Image.Image:
    # Only now: drawing takes numpy, which a process that serves pages never loads.
    from tools.engines import rendering

    backdrop = rendering.render(
        replace(stage, depth=stage.depth * _DEPTHS[number]),
        placed.canvas,
        ground=placed.ground,
        centre=placed.centre,
        seed=number,
        light=_OTHER_SIDE[stage.light] if number % 2 else stage.light,
        behind=settings["ref_image"] or None,
    )
    return composing.compose(backdrop, placed, honest=False)


def _painted(prompt: str, placed: Placed, settings: Mapping[str, Any], number: int) -> Image.Image:
    with of_engines():
        return generative.background(
            composing.pasted(backdrops.colour(placed.canvas, (238, 238, 238)), placed),
            placed.mask(),
            prompt=prompt,
            model=settings["model"],
            seed=number,
            reference=settings["ref_image"] or None,
        )
