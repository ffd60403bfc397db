"""A service on the network that generates pictures. Pictures leave this machine, reduced.

Two protocols. *openai*: OpenAI's images API, which many servers and services speak
(``/images/edits`` with a mask, ``/images/generations``). *queue*: a job is handed over, then asked
after until it is done, as Replicate does it (``POST /predictions``, ``GET`` of the job's own
address).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image

from tools.engines import remote
from tools.engines.painting import Size, Task

Protocol = Literal["openai", "queue"]


def _unlimited() -> bool:
    return True


@dataclass(frozen=True)
class Configuration:
    """Which service, and what it may cost.

    ``url`` is the base of the API. ``model`` paints where a mask says, ``edit_model`` (else the
    same) follows an instruction. ``sizes`` are the canvases that the service takes. ``edits`` is
    off for servers that only generate: they paint backgrounds, nothing else. ``seeds`` says that
    the service knows the parameter ``seed``, ``idempotent`` that it honours ``Idempotency-Key``.

    ``spend`` is asked before each job and answers whether one more may be paid for.
    """

    protocol: Protocol = "openai"
    url: str = ""
    model: str = ""
    edit_model: str = ""
    key: str = field(default="", repr=False)
    sizes: tuple[Size, ...] = ((1024, 1024), (1536, 1024), (1024, 1536))
    edits: bool = True
    seeds: bool = False
    idempotent: bool = False
    spend: Callable[[], bool] = _unlimited
    patience: remote.Patience = field(
        default_factory=lambda: remote.Patience(read=180.0, total=300.0)
    )
    poll_seconds: float = 2.0


_configuration = Configuration()


def configure(configuration: Configuration) -> None:
    """Say once per process which service there is."""
    global _configuration  # noqa: PLW0603 - one service per installation, set at the start
    _configuration = configuration


def missing(task: Task) -> str | None:
    """Why the service can't do this, with the settings that change it; None: it can."""
    wanted = {
        "STUDIO_PROVIDER_URL": _configuration.url,
        "STUDIO_PROVIDER_MODEL": _configuration.model,
    }
    if reason := remote.unset(wanted, what="No image provider is set up."):
        return reason
    if task != "background" and not _configuration.edits:
        return "The image provider only generates. Set STUDIO_PROVIDER_EDITS=on if it edits too."
    return None


def version(task: Task) -> str:
    """What makes the results of a task, for their record."""
    return f"{_model(task)} at {remote.host(_configuration.url)}"


def _model(task: Task) -> str:
    return (task == "edit" and _configuration.edit_model) or _configuration.model


def background(
    image: Image.Image,
    subject: Image.Image,
    *,
    prompt: str,
    seed: int,
    reference: Image.Image | None,
) -> Image.Image:
    """See `generative.background`."""
    raise NotImplementedError


def edit(image: Image.Image, *, prompt: str, strength: float, seed: int) -> Image.Image:
    """See `generative.edit`."""
    raise NotImplementedError


def remove(image: Image.Image, mask: Image.Image, *, seed: int) -> Image.Image:
    """See `generative.remove`."""
    raise NotImplementedError
