"""Sizes of files as people write them, for forms: `10 GB`, `1.5 TB`."""

import re
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

UNITS = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
"""As the rest of the site counts: a kilobyte is 1,024 bytes."""
MOST = 2**63 - 1
"""What a column holds."""


class SizeField(forms.CharField):
    """Bytes, typed and shown with a unit that people know."""

    default_error_messages = {
        "invalid": _("Enter a size such as “10 GB”. Units are B, KB, MB, GB and TB."),
    }

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("help_text", _("Such as “10 GB”. Units are B, KB, MB, GB and TB."))
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Bytes as a text; what somebody typed stays as it is."""
        return in_words(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        """A text as bytes."""
        if isinstance(value, int):
            return value
        text = str(value or "").strip().upper().replace("IB", "B")
        if not text:
            return None
        found = re.fullmatch(r"([0-9]{1,19}(?:\.[0-9]{1,9})?)\s*([KMGT]?B)?", text)
        if not found:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        size = int(Decimal(found[1]) * UNITS[found[2] or "B"])
        if size > MOST:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return size

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether it stands for another number of bytes."""
        try:
            return bool(self.to_python(initial) != self.to_python(data))
        except forms.ValidationError:
            return True


def in_words(size: int) -> str:
    """Exactly that many bytes in the largest unit that needs no more than three decimals."""
    for unit, bytes_ in reversed(UNITS.items()):
        figure = Decimal(size) / bytes_
        if size >= bytes_ and figure == round(figure, 3):
            return f"{figure.normalize():f} {unit}"
    return f"{size} B"
