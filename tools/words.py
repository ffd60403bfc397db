"""Tools and their settings in words, for pages that tell what was done."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.serializers import Field

from tools import registry
from tools.base import ImageSetting


def name_of(slug: str) -> str:
    """What people call the tool; its slug when it is gone."""
    try:
        return str(registry.get(slug).name)
    except registry.UnknownTool:
        return slug


def settings_used(slug: str, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and value of each setting; as they were stored when the tool is gone."""
    try:
        fields = registry.get(slug).Settings().fields
    except registry.UnknownTool:
        return [(name, str(value)) for name, value in settings.items()]
    shown = []
    for name, value in settings.items():
        if value in (None, "") or name not in fields:
            continue
        shown.append((str(fields[name].label), _value_in_words(fields[name], value)))
    return shown


def _value_in_words(field: Field[Any, Any, Any, Any], value: Any) -> str:
    """A setting's value as its form names it: a choice, a swatch, yes or no."""
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    named = {
        **getattr(field, "choices", {}),
        **dict(field.style.get("swatches", ())),
        **dict(field.style.get("choices", ())),
    }
    if isinstance(field, ImageSetting) and value not in named and field.reference(value):
        return _("An uploaded picture") if not value.startswith("http") else str(value)
    return str(named.get(value, value))
