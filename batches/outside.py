"""What goes wrong with other people's services, in codes that `batches.messages` has texts for."""

from collections.abc import Mapping
from typing import Any


class OutsideError(Exception):
    """A service that did not do what it was asked; `code` and `params` are for people."""

    def __init__(
        self,
        code: str,
        *,
        transient: bool = False,
        retry_after: float | None = None,
        **params: Any,
    ) -> None:
        super().__init__(code, params)
        self.code = code
        self.transient = transient
        """Whether the same request may well work a little later."""
        self.retry_after = retry_after
        """Seconds, where it is known how long to wait."""
        self.params: Mapping[str, Any] = params
