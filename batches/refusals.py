"""Files that were turned away, remembered without being kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from django.core import signing

from batches import messages


@dataclass(frozen=True)
class Refusal:
    """A file that can't be taken in: its name and why.

    The file itself is not kept, so this travels with the form, signed, until the batch is
    made and remembers it as a failed item.
    """

    name: str
    code: str
    params: Mapping[str, Any] = field(default_factory=dict)

    _SALT = "batches.refusal"

    @property
    def token(self) -> str:
        """The refusal as signed text without blanks."""
        return signing.dumps([self.name, self.code, dict(self.params)], salt=self._SALT)

    @property
    def message(self) -> str:
        """Why, for people."""
        return messages.text(self.code, self.params)

    @classmethod
    def from_token(cls, token: str) -> Self | None:
        """The refusal that the token stands for; nothing when we did not sign it."""
        try:
            name, code, params = signing.loads(token, salt=cls._SALT)
        except signing.BadSignature:
            return None
        return cls(name, code, params)
