"""What every tool is: a name, a price, settings, and one function on one picture.

A tool's settings are one class that serves JSON, the HTML form, a spreadsheet row and the
admin. They are stored as plain JSON, so a tool's ``run`` gets a dict and nothing else.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal, Self
from uuid import UUID

from django.core.validators import RegexValidator
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from PIL import Image
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.fields import empty
from rest_framework.utils import html

from tools.engines import weights

Text = str | Promise
"""A text, or one that is translated when it is shown."""


class ToolError(Exception):
    """A tool could not do its work on this picture.

    ``code`` is one of the stable codes that have a wording (with ``params`` in it).
    ``permanent`` says that trying again can't help.
    """

    def __init__(
        self, code: str, params: Mapping[str, Any] | None = None, *, permanent: bool
    ) -> None:
        super().__init__(code)
        self.code = code
        self.params: dict[str, Any] = dict(params or {})
        self.permanent = permanent


class Note:
    """What a tool tells about a result of its own: "Understood: warmer, 20 %".

    ``text`` is marked for translation where it stands (``gettext_noop``) and translated when it
    is shown; ``params`` are its figures, as plain JSON values.
    """

    def __init__(self, text: str, /, **params: Any) -> None:
        self.text = text
        self.params = params

    def __str__(self) -> str:
        return gettext(self.text).format(**self.params)

    def __repr__(self) -> str:
        return f"Note({self.text!r}, **{self.params!r})"


@dataclass(frozen=True)
class Output:
    """One thing that a tool made: a picture, a text, or a report (``data``, plain JSON)."""

    image: Image.Image | None = None
    text: str | None = None
    data: Mapping[str, Any] | None = None
    notes: Sequence[Note] = ()


# --- Settings -------------------------------------------------------------------------------


def _first_given(field: serializers.Field[Any, Any, Any, Any], given: Mapping[str, Any]) -> Any:
    """A field's value in JSON or a row; in a form, the first one of its name that is not blank."""
    if not html.is_html_input(given):
        return given.get(str(field.field_name), empty)
    values = given.getlist(field.field_name)  # type: ignore[attr-defined]
    return next(filter(None, values), "") if values else empty


class ColourField(serializers.RegexField):
    """A colour as ``#rrggbb``, or ``transparent``; kept in lower case.

    The form offers `SWATCHES`, or those in ``style``.
    """

    SWATCHES = (
        ("transparent", _("Transparent")),
        ("#ffffff", _("White")),
        ("#f2f2f2", _("Light grey")),
        ("#000000", _("Black")),
    )

    default_error_messages = {"invalid": _("Use “transparent” or a colour such as #ffffff.")}

    def __init__(self, **kwargs: Any) -> None:
        kwargs["style"] = {"swatches": self.SWATCHES, **kwargs.get("style", {})}
        super().__init__("^(transparent|#[0-9a-fA-F]{6})$", **kwargs)

    def get_value(self, dictionary: Mapping[str, Any]) -> Any:
        """The value in the input; in a form, the first one that is not blank.

        The form offers a few colours and a blank "other" as radio buttons, and then a text
        field of the same name.
        """
        return _first_given(self, dictionary)

    def to_internal_value(self, data: Any) -> str:
        """The colour in lower case."""
        return str(super().to_internal_value(data)).lower()


class ImageSetting(serializers.CharField):
    """A picture as a setting: the id of an upload, or an http or https address; blank for none.

    `Tool.run` gets the picture itself in its place, or "" where none was given. Subclass it for
    a setting of which only some values are pictures, and say in `reference` which those are.
    """

    default_error_messages = {
        "not_an_image": _("Give the id of an upload, or an http or https address."),
    }

    def __init__(self, **kwargs: Any) -> None:
        if not kwargs.get("required", False):
            kwargs.setdefault("default", "")
            kwargs.setdefault("allow_blank", True)
        kwargs.setdefault("max_length", 2000)
        super().__init__(**kwargs)

    def get_value(self, dictionary: Mapping[str, Any]) -> Any:
        """The value in the input; in a form, the first one that is not blank.

        The form may offer a few values as radio buttons beside the text field of the same name.
        """
        return _first_given(self, dictionary)

    def to_internal_value(self, data: Any) -> str:
        """The upload's id or the address, without spaces around it."""
        value = str(super().to_internal_value(data))
        if value and self.reference(value) is None:
            self.fail("not_an_image")
        return value

    def reference(self, value: str) -> str | None:
        """The upload's id or the address in a value; None where it stands for no picture."""
        if re.match(r"https?://", value, re.IGNORECASE):
            return value
        try:
            return str(UUID(value))
        except ValueError:
            return None


class ToolSettings(serializers.Serializer[dict[str, Any]]):
    """The settings of one tool: declare fields, each with a default where one makes sense.

    Three habits of serializers are put right here: a checkbox that is on by default can be
    switched off in a form, a form that nobody has sent yet shows the defaults, and a name
    that is no setting is an error and not silently dropped.
    """

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """The declared fields, with form defaults that mean what they say."""
        fields = super().get_fields()
        for setting in fields.values():
            if isinstance(setting, serializers.BooleanField):
                setting.default_empty_html = False  # an absent checkbox is a "no"
            if setting.default is not empty:
                setting.initial = setting.default
        return fields

    def to_internal_value(self, data: Any) -> Any:
        """Validate the fields; names that are no settings count as errors beside theirs."""
        errors: dict[str, Any] = {}
        if isinstance(data, Mapping) and not html.is_html_input(data):
            # A form holds more than settings; JSON and rows don't.
            wrong = ErrorDetail(str(_("Unknown setting.")), code="unknown_setting")
            errors = {str(name): [wrong] for name in data if name not in self.fields}
        try:
            valid = super().to_internal_value(data)
        except ValidationError as exc:
            if not isinstance(exc.detail, dict):
                raise
            errors |= exc.detail
        if errors:
            raise ValidationError(errors)
        return valid


def format_setting(default: str) -> serializers.ChoiceField:
    """The setting ``format``, for a tool whose results are mostly wanted in another one."""
    return serializers.ChoiceField(
        choices=[("png", "PNG"), ("webp", "WebP"), ("jpg", "JPG"), ("avif", "AVIF")],
        default=default,
        label=_("Format"),
        help_text=_(
            "PNG keeps every pixel, WebP and AVIF make the smallest files, JPG opens everywhere."
        ),
        style={"widget": "segmented"},
    )


class ImageSettings(ToolSettings):
    """What all tools that make pictures have in common: how the picture is saved."""

    format = format_setting("png")
    quality = serializers.IntegerField(
        min_value=1,
        max_value=100,
        allow_null=True,
        default=None,
        label=_("Quality"),
        help_text=_("1 to 100, for JPG, WebP and AVIF. Leave it empty for a good balance."),
        style={"more": True},
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """The tool's own settings first, then format and quality."""
        fields = super().get_fields()
        for name in ("format", "quality"):
            if name in fields:
                fields[name] = fields.pop(name)
        return fields


def refuse_transparent_jpg(attrs: Mapping[str, Any]) -> None:
    """For ``validate`` where a ``background`` may be transparent: JPG knows no transparency."""
    if attrs["format"] == "jpg" and attrs["background"] == "transparent":
        detail = _(
            "JPG can't be transparent. Choose PNG, WebP or AVIF, or set a background colour."
        )
        raise serializers.ValidationError({"format": detail}, code="transparent_jpg")


@cache
def _picture_settings(kind: type[ToolSettings]) -> dict[str, ImageSetting]:
    """Those settings of a kind that may be pictures.

    Remembered: it is asked several times for each image, and DRF copies every field each time.
    """
    fields = kind().fields.items()
    return {name: setting for name, setting in fields if isinstance(setting, ImageSetting)}


@dataclass(frozen=True)
class SettingError:
    """One thing that is wrong with one setting; ``field`` is empty when it is all of them."""

    field: str
    code: str
    detail: str


class SettingsInvalid(Exception):
    """Settings that a tool can't work with.

    ``bound`` holds what was given and can be shown again as a form.
    """

    def __init__(self, errors: Sequence[SettingError], *, bound: ToolSettings) -> None:
        super().__init__("; ".join(f"{error.field}: {error.detail}" for error in errors))
        self.errors = list(errors)
        self.bound = bound

    @classmethod
    def about(cls, bound: ToolSettings, errors: Sequence[SettingError]) -> Self:
        """For settings that are fine by themselves, but not with what is here."""
        bound.is_valid()
        bound._errors = {  # type: ignore[attr-defined]
            error.field: [ErrorDetail(error.detail, code=error.code)] for error in errors
        }
        return cls(errors, bound=bound)


# --- Tools ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """What the gallery's pictures of a tool are made of; `manage.py makeexamples` makes them.

    ``photo`` is a file of the scikit-image package, ``settings`` go on top of the defaults.
    ``images`` draw the pictures that settings want, given the photo: a mask, say. With a ``box``
    (left, top, right, bottom) the tool gets that part of the photo, as small as it is.
    """

    photo: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, Callable[[Image.Image], Image.Image]] = field(default_factory=dict)
    box: tuple[int, int, int, int] | None = None


class Tool:
    """One thing that can be done to one picture.

    Subclass it in a module of `tools.catalog` and decorate the class with
    ``@registry.register``; nothing else has to know. One instance serves a whole process, so
    keep no state in it.
    """

    slug: ClassVar[str]
    name: ClassVar[Text]
    description: ClassVar[Text]
    output: ClassVar[Literal["image", "text", "json"]] = "image"
    engines: ClassVar[tuple[str, ...]] = ("gpu", "cpu")
    """The kinds of engine it runs on, best first."""
    timeout: ClassVar[int] = 120
    """Seconds after which a run counts as hung."""
    price: ClassVar[int] = 1
    """Credits per image."""
    credits: ClassVar[Mapping[str, int]] = {}
    """Credits per image by `model`, for a tool whose models differ in price."""
    varying: ClassVar[tuple[str, ...]] = ()
    """Values of `model` that make something else each time, and are meant to."""
    min_side: ClassVar[int] = 1
    """Pixels: a picture with a shorter side fails as `dimensions_too_small`."""
    max_pixels: ClassVar[int | None] = None
    """A picture of more pixels fails as `dimensions_too_large`; None: there is no such limit."""
    artefacts: ClassVar[tuple[str, ...]] = ()
    """Names of all the weights that it can use."""
    icon: ClassVar[str] = "wand-sparkles"
    """Its icon: a name in `styles/icons.txt`."""
    example: ClassVar[Example | None] = None
    """How the gallery shows what it does; without one it shows the icon."""
    showcase: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """Settings on top of the example's that `make gallery` shows, a column each."""

    Settings: ClassVar[type[ToolSettings]] = ImageSettings

    def run(self, image: Image.Image, settings: Mapping[str, Any]) -> list[Output]:
        """Do it. ``image`` is RGB or RGBA, upright and in sRGB; ``settings`` are clean.

        In place of an `ImageSetting`'s value there is the picture. May be called twice for the
        same picture and must not change it. Raises `ToolError`. What engines raise when there
        is no subject or no memory may pass: the pipeline knows what that means.
        """
        raise NotImplementedError

    def refuse_size(
        self,
        size: tuple[int, int],
        settings: Mapping[str, Any],  # noqa: ARG002
        drawn: Mapping[str, tuple[int, int]],  # noqa: ARG002
    ) -> None:
        """Raise a permanent `ToolError` for a picture that is of no use by its size alone.

        ``drawn`` are the sizes of the pictures in the settings, as far as they are known. Asked
        when an upload is made an item, and of every picture before `run`.
        """
        width, height = size
        figures = {"w": width, "h": height}
        if min(size) < self.min_side:
            params = {**figures, "min": self.min_side}
            raise ToolError("dimensions_too_small", params, permanent=True)
        if self.max_pixels and width * height > self.max_pixels:
            params = {**figures, "max": self.max_pixels // 1_000_000}
            raise ToolError("dimensions_too_large", params, permanent=True)

    def price_for(
        self,
        settings: Mapping[str, Any],
        *,
        width: int | None = None,  # noqa: ARG002
        height: int | None = None,  # noqa: ARG002
    ) -> int:
        """Credits for one image with these settings, given its size in pixels if known."""
        return self.credits[settings["model"]] if self.credits else self.price

    def max_price(self, settings: Mapping[str, Any]) -> int:
        """The most that one image can cost with these settings, whatever its size."""
        return self.price_for(settings)

    def lowest_price(self) -> int:
        """The least that an image costs with any settings: what "from" says on pages."""
        usual = self.max_price(self.defaults())
        return min([usual, *(rule["credits"] for rule in self.price_rules())])

    def price_rules(self) -> list[dict[str, Any]]:
        """What makes the price differ from that of the default settings.

        Each rule is ``{"when": {setting: value}, "credits": n}``.
        """
        usual = self.price_for(self.defaults())
        return [
            {"when": {"model": model}, "credits": price}
            for model, price in self.credits.items()
            if price != usual
        ]

    def unavailable_reason(
        self,
        settings: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> str | None:
        """Why these settings (None: the defaults) can't be used here; None when they can.

        The text names the command or the setting that changes that. Cheap enough for every
        page.
        """
        return None

    def notice(self, settings: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """What people should know before they start with these settings; None: nothing.

        Cheap enough for every page.
        """
        return None

    def repeats(self, settings: Mapping[str, Any]) -> bool:
        """Whether the same picture with these settings gives the same result again.

        Then an earlier result serves instead of another run, at no cost.
        """
        return settings.get("model") not in self.varying

    def version(self, settings: Mapping[str, Any]) -> str:
        """What makes the result with these settings: kept with each result."""
        raise NotImplementedError

    def warm(self) -> None:
        """Load what a run with the default settings needs, before the first run."""

    def defaults(self) -> dict[str, Any]:
        """The settings that apply when nothing is said; without those that must be said."""
        fields = self.Settings().fields
        return {name: field.default for name, field in fields.items() if not field.required}

    @property
    def may_name_pictures(self) -> bool:
        """Whether any of its settings may stand for a picture."""
        return bool(_picture_settings(self.Settings))

    def image_settings(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """The settings that stand for pictures: name to the upload's id or the address."""
        images = _picture_settings(self.Settings).items()
        found = {name: setting.reference(settings.get(name) or "") for name, setting in images}
        return {name: reference for name, reference in found.items() if reference}

    def clean(
        self, data: Mapping[str, Any], *, base: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Valid settings as plain JSON values: ``data`` over ``base`` over the defaults.

        ``data`` is JSON, a spreadsheet row without its blank cells, or a submitted form
        (where a missing checkbox means "no"); ``base`` are settings that were clean before,
        such as the batch's. The result is judged as a whole. Raises `SettingsInvalid`.
        """
        if not isinstance(data, Mapping):
            wrong = SettingError(
                "", "invalid", str(_("Settings are an object of names and values."))
            )
            raise SettingsInvalid([wrong], bound=self.Settings())
        given: dict[str, Any] = dict(data)
        if html.is_html_input(data):
            values = {name: field.get_value(data) for name, field in self.Settings().fields.items()}
            given = {name: value for name, value in values.items() if value is not empty}
        bound = self.Settings(data={**(base or {}), **given})
        if not bound.is_valid():
            raise SettingsInvalid(
                [
                    SettingError(
                        "" if field == "non_field_errors" else field, detail.code, str(detail)
                    )
                    for field, details in bound.errors.items()
                    for detail in details
                ],
                bound=bound,
            )
        return dict(bound.data)

    def settings_schema(self) -> dict[str, Any]:
        """The settings as a JSON Schema, for the API and for whoever builds a form from it."""
        fields = self.Settings().fields
        schema = {
            "type": "object",
            "properties": {name: _field_schema(field) for name, field in fields.items()},
            "additionalProperties": False,
        }
        if required := [name for name, field in fields.items() if field.required]:
            schema["required"] = required
        return schema


def missing_weights(*names: str) -> str | None:
    """Why a tool that needs these weights can't run here, with the command that helps."""
    for name in names:
        match weights.problem(name):
            case "missing":
                text = gettext(
                    "The weights of {name} are not here. Run `manage.py fetchweights {name}`."
                )
            case "damaged":
                text = gettext(
                    "The weights of {name} are damaged. Run `manage.py fetchweights {name}`."
                )
            case "large":
                text = gettext("The GPU has too little memory for {name}. Use a larger one.")
            case None:
                continue
        return text.format(name=name)
    return None


_LIMITS = {
    "min_value": "minimum",
    "max_value": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
}


def _field_schema(field: serializers.Field[Any, Any, Any, Any]) -> dict[str, Any]:
    """One setting as a JSON Schema. Raises `TypeError` for a kind of field it doesn't know."""
    schema: dict[str, Any] = {"type": _json_type(field)}
    if isinstance(field, serializers.ChoiceField):
        schema["enum"] = list(field.choices)
    for validator in field.validators:
        if isinstance(validator, RegexValidator):
            schema["pattern"] = re.compile(validator.regex).pattern
    for limit, keyword in _LIMITS.items():
        if (value := getattr(field, limit, None)) is not None:
            schema[keyword] = value
    if field.allow_null:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"].append(None)
    if field.default is not empty:
        schema["default"] = field.default
    schema["title"] = str(field.label)
    if field.help_text:
        schema["description"] = str(field.help_text)
    return schema


def _json_type(field: serializers.Field[Any, Any, Any, Any]) -> str:
    match field:
        case serializers.BooleanField():
            return "boolean"
        case serializers.IntegerField():
            return "integer"
        case serializers.FloatField():
            return "number"
        case serializers.MultipleChoiceField():
            raise TypeError("A setting has one value.")
        case serializers.ChoiceField():
            kinds = {type(choice) for choice in field.choices}
            return "integer" if kinds == {int} else "string"
        case serializers.CharField():
            return "string"
    raise TypeError(f"There is no JSON Schema for a {type(field).__name__}.")
