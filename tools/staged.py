"""What tools have in common that cut a subject out and put something behind it.

What comes behind is composed by us, or painted by a generative model that somebody has set up.
Words without such a model choose the nearest of ours.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _

from tools.base import Text, Tool, missing_weights
from tools.engines import generative, meaning, subjects, weights

MODEL = "u2net"
"""What cuts subjects out."""

PAINTERS = [
    ("diffusion", _("Painted here, by a diffusion model")),
    ("provider", _("Painted by a service")),
]
"""Choices of the setting `model` beside "composed"."""

POSITIONS = [
    ("bottom_center", _("Bottom, centre")),
    ("bottom_left", _("Bottom left")),
    ("bottom_right", _("Bottom right")),
    ("upper_center", _("Top, centre")),
    ("upper_left", _("Top left")),
    ("upper_right", _("Top right")),
    ("center_vertical", _("Half-way up")),
    ("center_horizontal", _("Half-way across")),
    ("left_center", _("Left, half-way up")),
    ("right_center", _("Right, half-way up")),
]
"""Names that `composing.place` knows, and what people read."""


class StagedTool(Tool):
    """A subject in front of something, by the setting `model`: "composed" or a painter."""

    words: ClassVar[str]
    """The setting that describes what comes behind; may be empty."""
    nobody_paints: ClassVar[Text]
    """The notice for words where no generative model is set up."""
    somebody_paints: ClassVar[Text]
    """The notice for words where another `model` could paint them."""
    artefacts = (MODEL, *meaning.ARTEFACTS)

    def unavailable_reason(self, settings: Mapping[str, Any] | None = None) -> str | None:
        """Weights that are not there, or a generative model that nobody has set up."""
        settings = settings or self.defaults()
        if reason := missing_weights(MODEL):
            return reason
        if settings["model"] != "composed":
            return generative.missing(settings["model"], "background")
        return missing_weights(*meaning.ARTEFACTS) if settings[self.words] else None

    def notice(self, settings: Mapping[str, Any]) -> str | None:
        """That words only choose among what we compose."""
        if not settings[self.words] or settings["model"] != "composed":
            return None
        if all(generative.missing(model, "background") for model in generative.MODELS):
            return str(self.nobody_paints)
        return str(self.somebody_paints)

    def version(self, settings: Mapping[str, Any]) -> str:
        """The weights and the generative model, by name and content."""
        parts = [weights.artefact(MODEL).version]
        if settings["model"] != "composed":
            parts.append(generative.version(settings["model"], "background"))
        elif settings[self.words]:
            parts.append(weights.artefact(meaning.ARTEFACTS[0]).version)
        return ", ".join(parts)

    def warm(self) -> None:
        """Load the model that cuts out."""
        subjects.warm(model=MODEL)
