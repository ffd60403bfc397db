"""What went wrong in an engine, as an error that people are told of."""

from collections.abc import Iterator
from contextlib import contextmanager

from tools.base import ToolError
from tools.engines import remote

CODES: dict[type[remote.RemoteError], str] = {
    remote.Unreachable: "engine_unreachable",
    remote.Busy: "engine_busy",
    remote.Uncertain: "engine_uncertain",
    remote.Refused: "engine_refused",
    remote.ContentRefused: "engine_content",
    remote.BadAnswer: "engine_answer",
    remote.BudgetSpent: "engine_budget",
}
"""The code of each way in which a service can fail."""


@contextmanager
def of_engines() -> Iterator[None]:
    """Turn errors of services on the network, and of engines that aren't there, into `ToolError`.

    Use it around calls of `vision_language` and `generative`.
    """
    try:
        yield
    except remote.RemoteError as error:
        raise ToolError(
            CODES[type(error)], {"service": error.service}, permanent=not error.again
        ) from error
    except remote.NotSetUp as error:
        raise ToolError("tool_unavailable", {"reason": str(error)}, permanent=True) from error
