"""``{% settings_fields tool settings %}``: a tool's settings as HTML inputs.

Our own few templates instead of the serializer library's: its HTML renderer is internal to
its browsable pages.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import template
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from rest_framework import serializers

from tools import abilities
from tools.base import ColourField, ImageSetting, Tool, ToolSettings

register = template.Library()


@dataclass(frozen=True)
class Option:
    """One of the values that a setting can have."""

    id: str
    value: str
    label: str
    selected: bool
    disabled: bool = False
    picture: str = ""
    """A static file that shows it, if there is one."""


@dataclass(frozen=True)
class Input:
    """One setting as its template sees it."""

    id: str
    name: str
    label: str
    help: str
    errors: list[str]
    value: Any
    required: bool
    described_by: str
    """Ids of the help and error texts, for ``aria-describedby``."""
    options: list[Option]
    minimum: float | None
    maximum: float | None
    step: str
    longest: int | None
    placeholder: str
    template: str
    more: bool
    """Whether most people never need it."""
    changed: bool
    """Whether it is not what it is by default."""

    @property
    def other(self) -> str:
        """The value, if it is none of the options."""
        known = any(option.selected for option in self.options)
        return "" if known or self.value is None else str(self.value)


@register.simple_tag
def settings_fields(
    tool: Tool,
    settings: ToolSettings | Mapping[str, Any] | None = None,
    prefix: str = "setting",
) -> SafeString:
    """Render all settings of ``tool``, under their own names, with ids below ``prefix``.

    Fields whose ``style`` says ``more`` come last and folded away, unless one of them differs
    from its default or is wrong.

    ``settings`` are what to show: a plain mapping, the ``bound`` settings of a
    `SettingsInvalid` (then with their errors), or nothing for the defaults.
    """
    inputs = list(_inputs(tool, settings, prefix=prefix))
    main = "".join(_rendered(field) for field in inputs if not field.more)
    if more := [field for field in inputs if field.more]:
        main += render_to_string(
            "tools/fields/_more.html",
            {
                "fields": mark_safe("".join(map(_rendered, more))),  # noqa: S308 - see below
                "open": any(field.errors or field.changed for field in more),
            },
        )
    return mark_safe(main)  # noqa: S308 - each part was escaped by its template


def _rendered(field: Input) -> str:
    return render_to_string(f"tools/fields/{field.template}.html", {"field": field})


def _inputs(
    tool: Tool, settings: ToolSettings | Mapping[str, Any] | None, *, prefix: str
) -> Iterator[Input]:
    bound = settings if isinstance(settings, ToolSettings) else tool.Settings()
    given = bound.data if isinstance(settings, ToolSettings) else (settings or {})
    errors = bound.errors if hasattr(bound, "initial_data") else {}
    for name, field in bound.fields.items():
        value = given.get(name, field.get_initial())
        at = f"{prefix}-{name}"
        wrong = [str(error) for error in errors.get(name, [])]
        notes = [f"{at}-help"] if field.help_text else []
        notes += [f"{at}-error"] if wrong else []
        yield Input(
            id=at,
            name=name,
            label=str(field.label),
            help=str(field.help_text or ""),
            errors=wrong,
            value=value,
            required=field.required,
            described_by=" ".join(notes),
            options=list(_options(tool, name, field, value, at=at)),
            minimum=getattr(field, "min_value", None),
            maximum=getattr(field, "max_value", None),
            step="1" if isinstance(field, serializers.IntegerField) else "any",
            longest=getattr(field, "max_length", None),
            placeholder=str(field.style.get("placeholder", "")),
            template=_template(field),
            more=bool(field.style.get("more")),
            changed=_as_typed(value) != _as_typed(field.get_initial()),
        )


def _as_typed(value: Any) -> str:
    return "" if value is None else str(value)


def _template(field: serializers.Field[Any, Any, Any, Any]) -> str:
    """The template for a kind of field. Raises `TypeError` for one that has none."""
    match field:
        case serializers.BooleanField():
            return "checkbox"
        case serializers.ChoiceField():
            return str(field.style.get("widget", "select"))
        case serializers.IntegerField() | serializers.FloatField():
            return "number"
        case ColourField():
            return "colour"
        case ImageSetting():
            return str(field.style.get("widget", "image"))
        case serializers.CharField():
            return str(field.style.get("widget", "text"))
    raise TypeError(f"There is no form field for a {type(field).__name__}.")


def _options(
    tool: Tool, name: str, field: serializers.Field[Any, Any, Any, Any], value: Any, *, at: str
) -> Iterator[Option]:
    if isinstance(field, ColourField):
        for colour, text in field.style.get("swatches", ()):
            yield Option(f"{at}-{colour.strip('#')}", colour, str(text), colour == value)
    elif isinstance(field, ImageSetting):
        for number, (choice, text) in enumerate(field.style.get("choices", ())):
            picture = _picture(field, choice)
            yield Option(f"{at}-{number}", choice, str(text), choice == value, picture=picture)
    elif isinstance(field, serializers.ChoiceField):
        usual = tool.defaults()
        works = abilities.unavailable_reason(tool, usual) is None
        prices = {choice: tool.price_for({**usual, name: choice}) for choice in field.choices}
        for choice, text in field.choices.items():
            # Greyed out only where this choice is what is missing, not the tool as a whole.
            missing = works and abilities.unavailable_reason(tool, {**usual, name: choice})
            label = str(text)
            if missing:
                label = _("{label} · not installed").format(label=label)
            elif len(set(prices.values())) > 1:
                credits_ = ngettext("{n} credit", "{n} credits", prices[choice])
                label = f"{label} · {credits_.format(n=prices[choice])}"
            yield Option(
                f"{at}-{choice}",
                str(choice),
                label,
                str(choice) == str(value),
                bool(missing),
                _picture(field, choice),
            )


def _picture(field: serializers.Field[Any, Any, Any, Any], choice: Any) -> str:
    """The static file that shows a choice, where the field has one for it."""
    return str(field.style.get("pictures", {}).get(choice, ""))
