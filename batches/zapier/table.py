"""The table of doors: which tool stands behind each, and what its fields and models are to us."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings as site
from django.utils.translation import gettext as _
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.serializers import ChoiceField

from tools import abilities, registry
from tools.base import Tool

IMAGE, IMAGES, MODEL, SCALE = "image_url", "images", "model", "scale"
_BESIDE_SETTINGS = frozenset({IMAGE, IMAGES, "id"})

_PAINTERS = ("provider", "diffusion")


@dataclass(frozen=True, kw_only=True)
class Door:
    """One tool call of Sirv AI Studio's, in our terms."""

    tool: str
    """The slug of ours."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Fields that we call by another name: theirs to ours."""
    required: Collection[str] = ()
    """Fields beside the image that a call must have."""
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Their models to ours, the nearest first; the first that can run here runs."""
    usual: tuple[str, ...] = ()
    """What runs where no model is named, or one that nobody knows. Empty: the tool's default."""
    over_words: str = ""
    """The setting that counts where the prompt could only choose among backdrops of ours."""
    gpu: Collection[str] = ()
    """Models of ours that take too long without a GPU to stand for one of theirs."""
    scales: tuple[int, ...] = ()
    """Other scales mean the nearest of these, as they do there."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a request asks for, in our terms."""

    tool: Tool
    settings: dict[str, Any]
    ignored: list[str]
    """Fields that mean nothing here; the answer names them."""


DOORS: Mapping[str, Door] = {
    "remove-bg": Door(
        tool="remove-background",
        models={
            "birefnet": ("birefnet-general", "isnet", "u2net"),
            "birefnet-v2": ("birefnet-general", "isnet", "u2net"),
            "bria": ("birefnet-general", "isnet", "u2net"),
        },
    ),
    "upscale": Door(
        tool="upscale",
        models=dict.fromkeys(("esrgan", "clarity", "topaz", "seedvr"), ("quality", "fast")),
        gpu={"quality"},
        scales=(2, 3, 4),
    ),
    "replace-bg": Door(
        tool="replace-background",
        fields={"ref_image_url": "background"},
        required=("prompt",),
        usual=(*_PAINTERS, "composed"),
        over_words="background",
    ),
    "image-to-image": Door(
        tool="image-to-image", required=("prompt",), usual=(*_PAINTERS, "basic")
    ),
    "product-lifestyle": Door(
        tool="product-lifestyle",
        fields={"ref_image_url": "ref_image"},
        usual=(*_PAINTERS, "composed"),
    ),
    "alt-text": Door(
        tool="alt-text",
        models={
            "florence": ("vlm", "basic"),
            "gemini-flash": ("vlm", "basic"),
            "gemini-3-flash": ("vlm", "basic"),
        },
    ),
    "object-removal": Door(
        tool="object-removal",
        fields={"mask_url": "mask"},
        required=("mask_url",),
        usual=(*_PAINTERS, "lama", "patchmatch"),
    ),
}
BATCH_DOORS = ("remove-bg", "upscale", "alt-text")


def read(door: Door, body: Any) -> Call:
    """What a body asks of a door. Raises `ValidationError` for what it lacks.

    Our own settings are taken, too. Fields that nobody knows here are not refused: programs that
    were written for another service may send what only that one understands.
    """
    if not isinstance(body, Mapping):
        raise ValidationError(_("Send a JSON object."))
    given = {name: value for name, value in body.items() if value is not None}
    tool = registry.get(door.tool)
    known = tool.Settings().fields
    settings, ignored = {}, []
    for name, value in given.items():
        ours = _ours(door, name)
        if ours in known:
            settings[ours] = value
        elif name not in _BESIDE_SETTINGS:
            ignored.append(str(name))
    if missing := [name for name in door.required if settings.get(_ours(door, name), "") == ""]:
        needed = ErrorDetail(_("This field is needed."), code="required")
        raise ValidationError({name: [needed] for name in missing})
    if model := _model(door, tool, settings):
        settings[MODEL] = model
    else:
        settings.pop(MODEL, None)
    if door.scales and (scale := _number(settings.get(SCALE))) is not None:
        settings[SCALE] = min(door.scales, key=lambda ours: abs(ours - scale))
    chooses = door.over_words in settings and settings.get(MODEL) == "composed"
    if chooses and settings.pop("prompt", None):
        ignored.append("prompt")
    return Call(tool=tool, settings=settings, ignored=ignored)


def _ours(door: Door, name: Any) -> str:
    return str(door.fields.get(name, name))


def field_of(door: Door, setting: str) -> str:
    """What the callers of a door call a setting of ours."""
    theirs = {ours: name for name, ours in door.fields.items()}
    return theirs.get(setting, setting)


def _model(door: Door, tool: Tool, settings: Mapping[str, Any]) -> str | None:
    """The model of ours that runs; None for the tool's default.

    One that we have is taken at its word: where it can't run, the caller is told so.
    """
    named = settings.get(MODEL)
    ours = tool.Settings().fields[MODEL]
    if isinstance(ours, ChoiceField) and isinstance(named, str) and named in ours.choices:
        return named
    nearest = door.models.get(named, door.usual) if isinstance(named, str) else door.usual
    for model in nearest:
        waits_for_gpu = model in door.gpu and "gpu" not in site.ENGINE_QUEUES
        if not waits_for_gpu and not _missing(tool, model, settings):
            return model
    return nearest[-1] if nearest else None


def _missing(tool: Tool, model: str, settings: Mapping[str, Any]) -> str | None:
    """Why a model can't do this here, going by the words that it would be given."""
    words = {name: text for name, text in settings.items() if isinstance(text, str)}
    return abilities.unavailable_reason(tool, {**tool.defaults(), **words, MODEL: model})


def _number(value: Any) -> float | None:
    """A number, or one in words: programs that fill in forms send those."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
