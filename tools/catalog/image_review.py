"""Image review: what a marketplace would object to, rule by rule, with figures."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _
from PIL import Image
from rest_framework import serializers

from tools.base import Example, Output, Tool, ToolSettings, missing_weights
from tools.engines import reading, reviewing, weights
from tools.engines.reviewing import Measures
from tools.registry import register

SHARPEST = 0.6
"""The blur (0 to 1) up to which a subject counts as sharp: real photos have 0.35 to 0.5, and 0.6
and more once a blur can be seen."""
DARKEST, BRIGHTEST = 12, 97
"""The mean L* of a subject that can still be made out: black shoes have 15, a white shirt 95."""
FURTHEST = 0.08
"""How far the subject's middle may be from the frame's, as a share of the side."""
CUT = 0.03
"""Share of the picture's outline that a subject may cover and still count as whole."""
WHITE, PLAIN = 0.98, 0.97
"""Shares of the rim."""


@dataclass(frozen=True)
class Marketplace:
    """What one marketplace asks of the main picture of a product, in pixels and shares.

    After their public image requirements. ``required`` are rules whose breach gets a picture
    refused or hidden; the others are advice.
    """

    name: str
    smallest: int
    recommended: int
    largest: int
    ratios: tuple[float, float]
    fill: float
    white: bool
    required: frozenset[str]


_ALWAYS = frozenset({"minimum_size", "maximum_size", "no_frame"})

MARKETPLACES = {
    "amazon": Marketplace(
        "Amazon",
        smallest=1000,
        recommended=2000,
        largest=10_000,
        ratios=(0.5, 2.0),
        fill=0.85,
        white=True,
        required=_ALWAYS | {"white_background", "frame_fill", "subject_whole", "no_text"},
    ),
    "ebay": Marketplace(
        "eBay",
        smallest=500,
        recommended=1600,
        largest=9000,
        ratios=(0.4, 2.5),
        fill=0.7,
        white=False,
        required=_ALWAYS | {"no_text"},
    ),
    "shopify": Marketplace(
        "Shopify",
        smallest=800,
        recommended=2048,
        largest=5000,
        ratios=(0.95, 1.05),
        fill=0.7,
        white=False,
        required=frozenset({"minimum_size", "maximum_size"}),
    ),
    "walmart": Marketplace(
        "Walmart",
        smallest=1500,
        recommended=2200,
        largest=5000,
        ratios=(0.95, 1.05),
        fill=0.7,
        white=True,
        required=_ALWAYS | {"aspect_ratio", "white_background", "subject_whole", "no_text"},
    ),
}


class Settings(ToolSettings):
    """Whose rules."""

    marketplace = serializers.ChoiceField(
        choices=[(slug, place.name) for slug, place in MARKETPLACES.items()],
        default="amazon",
        label=_("Marketplace"),
        help_text=_("Whose rules for the main picture of a product to check."),
        style={"widget": "segmented"},
    )


@dataclass(frozen=True)
class Verdict:
    """How one rule turned out; ``measured`` and ``wanted`` are plain JSON values."""

    passed: bool
    measured: Any
    wanted: Any
    reason: str


Rule = Callable[[Measures, Marketplace], Verdict]


def _size(width: int, height: int) -> str:
    return f"{width} × {height}"


def minimum_size(seen: Measures, place: Marketplace) -> Verdict:
    """The longer side has enough pixels to be accepted, or to be zoomed into."""
    longest = max(seen.width, seen.height)
    passed = longest >= place.smallest
    text = (
        _now("The picture has {size} pixels; the longer side needs {wanted}.")
        if passed
        else _now("The picture has {size} pixels; its longer side needs at least {wanted}.")
    )
    return Verdict(
        passed,
        longest,
        place.smallest,
        text.format(size=_size(seen.width, seen.height), wanted=place.smallest),
    )


def recommended_size(seen: Measures, place: Marketplace) -> Verdict:
    """The longer side has as many pixels as the marketplace advises."""
    longest = max(seen.width, seen.height)
    passed = longest >= place.recommended
    text = (
        _now("The longer side has {longest} pixels; {wanted} or more are recommended.")
        if passed
        else _now("The longer side has {longest} pixels; {wanted} would show more detail.")
    )
    return Verdict(
        passed, longest, place.recommended, text.format(longest=longest, wanted=place.recommended)
    )


def maximum_size(seen: Measures, place: Marketplace) -> Verdict:
    """The longer side is not longer than what is taken."""
    longest = max(seen.width, seen.height)
    text = _now("The longer side has {longest} pixels; at most {wanted} are accepted.")
    return Verdict(
        longest <= place.largest,
        longest,
        place.largest,
        text.format(longest=longest, wanted=place.largest),
    )


def aspect_ratio(seen: Measures, place: Marketplace) -> Verdict:
    """The picture is as square as the marketplace wants it."""
    ratio = seen.width / seen.height
    low, high = place.ratios
    text = _now("Width to height is {ratio:.2f}; {low} to {high} is wanted.")
    return Verdict(
        low <= round(ratio, 3) <= high,
        round(ratio, 3),
        [low, high],
        text.format(ratio=ratio, low=low, high=high),
    )


def white_background(seen: Measures, place: Marketplace) -> Verdict:  # noqa: ARG001
    """The rim of the picture is pure white."""
    text = _now("{share} % of the rim is pure white; {wanted} % is wanted.")
    return Verdict(
        seen.white >= WHITE,
        round(seen.white, 3),
        WHITE,
        text.format(share=_percent(seen.white), wanted=_percent(WHITE)),
    )


def plain_background(seen: Measures, place: Marketplace) -> Verdict:  # noqa: ARG001
    """The rim of the picture has one colour."""
    passed = seen.plain >= PLAIN
    text = (
        _now("The background is plain: {share} % of the rim has one colour.")
        if passed
        else _now("{share} % of the rim has one colour; a plain background has {wanted} %.")
    )
    return Verdict(
        passed,
        round(seen.plain, 3),
        PLAIN,
        text.format(share=_percent(seen.plain), wanted=_percent(PLAIN)),
    )


def opaque(seen: Measures, place: Marketplace) -> Verdict:  # noqa: ARG001
    """Nothing is transparent: marketplaces lay that on whatever they like."""
    passed = seen.transparent < 0.001
    text = (
        _now("No part of the picture is transparent.")
        if passed
        else _now("{share} % of the picture is transparent; it may be shown on black.")
    )
    return Verdict(
        passed, round(seen.transparent, 3), 0, text.format(share=_percent(seen.transparent))
    )


def frame_fill(seen: Measures, place: Marketplace) -> Verdict:
    """The subject takes enough of the frame, in the direction in which it takes more."""
    wanted = place.fill
    if seen.subject is None:
        return _without_subject(wanted)
    text = _now("The product takes {share} % of the frame; at least {wanted} % is wanted.")
    return Verdict(
        round(seen.fill, 3) >= wanted - 0.005,
        round(seen.fill, 3),
        wanted,
        text.format(share=_percent(seen.fill), wanted=_percent(wanted)),
    )


def centred(seen: Measures, place: Marketplace) -> Verdict:  # noqa: ARG001
    """The subject is in the middle."""
    if seen.subject is None:
        return _without_subject(FURTHEST)
    text = _now(
        "The product is {share} % of the side off the middle; at most {wanted} % is wanted."
    )
    return Verdict(
        seen.offset <= FURTHEST,
        round(seen.offset, 3),
        FURTHEST,
        text.format(share=_percent(seen.offset), wanted=_percent(FURTHEST)),
    )


def subject_whole(seen: Measures, place: Marketplace) -> Verdict:  # noqa: ARG001
    """The subject is not cut off by the edge of the picture."""
    if seen.subject is None:
        return _without_subject(CUT)
    passed = seen.touching <= CUT
    text = (
        _now("The whole product is in the picture.")
        if passed
        else _now("The product is cut off along {share} % of the picture's edge.")
    )
    return Verdict(passed, round(seen.touching, 3), CUT, text.format(share=_percent(seen.touching)))


def sharpness(seen: Measures, place: Marketplace) -> Verdict:  # noqa: ARG001
    """The subject is in focus."""
    passed = seen.blur <= SHARPEST
    text = (
        _now("The product is sharp: its blur is {blur:.2f}, and up to {wanted} is fine.")
        if passed
        else _now("The product is blurred: its blur is {blur:.2f}, and up to {wanted} is fine.")
    )
    return Verdict(
        passed, round(seen.blur, 3), SHARPEST, text.format(blur=seen.blur, wanted=SHARPEST)
    )


def exposure(seen: Measures, place: Marketplace) -> Verdict:  # noqa: ARG001
    """The subject is neither too dark nor too bright to be made out."""
    light = seen.lightness
    if light < DARKEST:
        text = _now("The product is too dark: its lightness is {light}, from 0 to 100.")
    elif light > BRIGHTEST:
        text = _now("The product is too bright: its lightness is {light}, from 0 to 100.")
    else:
        text = _now("The light is fine: the product's lightness is {light}, from 0 to 100.")
    return Verdict(
        DARKEST <= light <= BRIGHTEST,
        round(light, 1),
        [DARKEST, BRIGHTEST],
        text.format(light=round(light)),
    )


def no_frame(seen: Measures, place: Marketplace) -> Verdict:  # noqa: ARG001
    """No frame is drawn around the picture."""
    text = (
        _now("A frame of {width} pixels is drawn around the picture.")
        if seen.frame
        else _now("No frame is drawn around the picture.")
    )
    return Verdict(not seen.frame, seen.frame, 0, text.format(width=seen.frame))


def no_text(seen: Measures, place: Marketplace) -> Verdict:  # noqa: ARG001
    """No text, price or watermark beside the product; what is printed on it is no matter."""
    if seen.overlaid:
        quoted = ", ".join(f"“{text}”" for text in seen.overlaid[:3])
        text = _now("There is text beside the product: {quoted}.").format(quoted=quoted)
    elif seen.printed:
        text = _now("The only text is on the product itself, which is allowed.")
    else:
        text = _now("There is no text in the picture.")
    return Verdict(not seen.overlaid, len(seen.overlaid), 0, text)


def _without_subject(wanted: float) -> Verdict:
    return Verdict(False, None, wanted, _now("No product stands out in the picture."))


def _percent(share: float) -> int | float:
    """A share as people read it: whole, but never a rounded-up 100 or a rounded-down 0."""
    percent = share * 100
    whole = round(percent)
    return round(percent, 1) if whole in {0, 100} and round(percent, 1) != whole else whole


RULES: tuple[Rule, ...] = (
    minimum_size,
    recommended_size,
    maximum_size,
    aspect_ratio,
    white_background,
    plain_background,
    opaque,
    frame_fill,
    centred,
    subject_whole,
    sharpness,
    exposure,
    no_frame,
    no_text,
)
"""In the order of a report. Their names are part of the API."""


def review(seen: Measures, place: Marketplace) -> Iterator[dict[str, Any]]:
    """What becomes of each rule that the marketplace has."""
    for rule in RULES:
        name = rule.__name__
        if name == ("plain_background" if place.white else "white_background"):
            continue
        verdict = rule(seen, place)
        level: Literal["required", "recommended"] = (
            "required" if name in place.required else "recommended"
        )
        yield {
            "rule": name,
            "level": level,
            "passed": verdict.passed,
            "measured": verdict.measured,
            "wanted": verdict.wanted,
            "reason": verdict.reason,
        }


@register
class ImageReview(Tool):
    """Check a product picture against a marketplace's rules."""

    slug = "image-review"
    name = _("Image review")
    description = _(
        "Check a product picture against a marketplace's rules, with a reason for each."
    )
    output = "json"
    artefacts = (reviewing.MODEL, reading.DETECTION, reading.RECOGNITION)
    icon = "clipboard-check"
    example = Example("coffee.png")
    showcase = ({"marketplace": "amazon"}, {"marketplace": "shopify"})
    Settings = Settings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """One report: passed (no required rule is broken), a score from 0 to 100, the rules."""
        place = MARKETPLACES[settings["marketplace"]]
        rules = list(review(reviewing.measure(image), place))
        report = {
            "marketplace": settings["marketplace"],
            "passed": all(rule["passed"] for rule in rules if rule["level"] == "required"),
            "score": _score(rules),
            "rules": rules,
        }
        return [Output(data=report)]

    def unavailable_reason(self, settings: Mapping[str, Any] | None = None) -> str | None:  # noqa: ARG002
        """Weights that are not there, or not what they should be."""
        return missing_weights(*self.artefacts)

    def version(self, settings: Mapping[str, Any]) -> str:  # noqa: ARG002
        """The measuring and the weights."""
        return ", ".join(
            [reviewing.VERSION, *(weights.artefact(name).version for name in self.artefacts)]
        )

    def warm(self) -> None:
        """Load all models."""
        reviewing.warm()


def _score(rules: list[dict[str, Any]]) -> int:
    """Share of the rules that are kept, in percent; a required one counts like three."""
    weight = {"required": 3, "recommended": 1}
    total = sum(weight[rule["level"]] for rule in rules)
    kept = sum(weight[rule["level"]] for rule in rules if rule["passed"])
    return kept * 100 // total
