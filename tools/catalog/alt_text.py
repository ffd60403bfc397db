"""Alt text: what a picture shows, in a sentence for people who don't see it."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from PIL import Image
from rest_framework import serializers

from tools import failures
from tools.base import Example, Output, Tool, ToolSettings, missing_weights
from tools.engines import describing, faces, reading, recognising, vision_language, weights
from tools.engines.vocabulary import NAMES
from tools.registry import register

SHORTEST, LONGEST = 30, 500
"""Characters that a description may be limited to."""
MOST_KEYWORDS = 10

LANGUAGES = [
    ("en", "English"),
    ("de", "Deutsch"),
    ("fr", "Français"),
    ("es", "Español"),
    ("it", "Italiano"),
    ("nl", "Nederlands"),
    ("pt", "Português"),
]

DETAILS = {
    "caption": "Say in a few words what it shows.",
    "detailed-caption": "Say what it shows, with its colours, the background and any text.",
    "more-detailed-caption": (
        "Describe it fully: what it shows, materials, colours, background, where things are, "
        "and any text word for word."
    ),
}
"""What a vision language model is told for each level."""


class Settings(ToolSettings):
    """Who describes it, how fully, and in which words."""

    model = serializers.ChoiceField(
        choices=[
            ("basic", _("Basic, on this machine")),
            ("vlm", _("Vision language model")),
        ],
        default="basic",
        label=_("Model"),
        help_text=_(
            "Basic puts together what it can be sure of: the kind of thing, colours, background, "
            "faces and text. A vision language model understands the whole scene."
        ),
    )
    detail_level = serializers.ChoiceField(
        choices=[
            ("caption", _("Short")),
            ("detailed-caption", _("Detailed")),
            ("more-detailed-caption", _("Very detailed")),
        ],
        default="detailed-caption",
        label=_("Detail"),
        style={"widget": "segmented"},
    )
    language = serializers.ChoiceField(
        choices=LANGUAGES,
        default="en",
        label=_("Language"),
        help_text=_(
            "Basic knows the words for about ninety everyday things in each language, and calls "
            "anything rarer by its English name."
        ),
    )
    max_length = serializers.IntegerField(
        min_value=SHORTEST,
        max_value=LONGEST,
        default=125,
        label=_("Longest"),
        help_text=_("Characters. Screen readers read 125 without a pause."),
        style={"more": True},
    )
    keywords = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=300,
        label=_("Keywords"),
        help_text=_("With commas between them. They are used as far as there is room."),
    )
    # Serializers have a property of that name; declared fields are taken off the class.
    context = serializers.CharField(  # type: ignore[assignment]
        default="",
        allow_blank=True,
        max_length=200,
        label=_("Context"),
        help_text=_("What the picture is about, such as the name of the product."),
    )

    def validate_keywords(self, value: str) -> str:
        """A few words, and not an essay."""
        if len(_listed(value)) > MOST_KEYWORDS:
            detail = _("These are {n} keywords; give at most {most}.").format(
                n=len(_listed(value)), most=MOST_KEYWORDS
            )
            raise serializers.ValidationError(detail, code="too_many_keywords")
        return value


def _listed(keywords: str) -> list[str]:
    """The keywords in a text, each of them once."""
    words = (" ".join(word.split()) for word in keywords.split(","))
    return list(dict.fromkeys(filter(None, words)))


@register
class AltText(Tool):
    """Describe a picture for people who don't see it."""

    slug = "alt-text"
    name = _("Alt text")
    description = _("Describe pictures for screen readers and search engines.")
    output = "text"
    timeout = 180
    artefacts = (
        describing.MODEL,
        recognising.MODEL,
        recognising.NAMES,
        reading.DETECTION,
        reading.RECOGNITION,
    )
    icon = "text-quote"
    example = Example("coffee.png")
    showcase = (
        {"detail_level": "caption"},
        {"detail_level": "detailed-caption"},
        {"detail_level": "more-detailed-caption", "max_length": 250},
        {"language": "de"},
    )
    Settings = Settings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """One sentence, never longer than was asked."""
        if settings["model"] == "vlm":
            with failures.of_engines():
                said = vision_language.describe(image, instruction=instruction(settings))
            text = describing.tidied(
                said, language=settings["language"], max_length=settings["max_length"]
            )
        else:
            text = describing.sentence(
                describing.look(image),
                language=settings["language"],
                detail=settings["detail_level"],
                max_length=settings["max_length"],
                context=settings["context"],
                keywords=_listed(settings["keywords"]),
            )
        return [Output(text=text)]

    def unavailable_reason(self, settings: Mapping[str, Any] | None = None) -> str | None:
        """Weights that are not there, or no vision language model."""
        if settings and settings["model"] == "vlm":
            return vision_language.missing()
        return missing_weights(*self.artefacts)

    def version(self, settings: Mapping[str, Any]) -> str:
        """All that has a say in the words."""
        if settings["model"] == "vlm":
            return vision_language.version()
        made_by = [describing.VERSION, faces.VERSION]
        return ", ".join(made_by + [weights.artefact(name).version for name in self.artefacts])

    def warm(self) -> None:
        """Load the models of the basic description."""
        describing.warm()


def instruction(settings: Mapping[str, Any]) -> str:
    """What a vision language model is asked to do."""
    parts = [
        f"Write the alternative text of this picture in {NAMES[settings['language']]}.",
        DETAILS[settings["detail_level"]],
        f"Use at most {settings['max_length']} characters, in whole sentences.",
        "Don't begin with “image of” or “picture of”, and don't guess at what can't be seen.",
    ]
    if context := " ".join(settings["context"].split()):
        parts.append(f"The picture is about: {context}.")
    if keywords := _listed(settings["keywords"]):
        parts.append(f"Where they fit, use these words: {', '.join(keywords)}.")
    parts.append("Answer with the alternative text alone.")
    return " ".join(parts)
