"""A vision language model on the network: looks at a picture and says in words what it is asked.

Any endpoint that speaks OpenAI's chat API with pictures: vLLM, llama.cpp's server, Ollama, or a
hosted one. The picture leaves this machine, reduced.
"""

from dataclasses import dataclass, field

from PIL import Image

from tools.engines import remote

SIDE = 1024
"""Pixels of the longer side that are sent: what such models look at, or less."""


@dataclass(frozen=True)
class Configuration:
    """Where the model is. ``url`` is the base that ``/chat/completions`` comes after."""

    url: str = ""
    model: str = ""
    key: str = field(default="", repr=False)
    patience: remote.Patience = field(default_factory=remote.Patience)


_configuration = Configuration()


def configure(configuration: Configuration) -> None:
    """Say once per process where the model is."""
    global _configuration  # noqa: PLW0603 - one model per installation, set at the start
    _configuration = configuration


def missing() -> str | None:
    """Why there is no such model here, with the settings that bring one; None: there is one."""
    wanted = {"STUDIO_VLM_URL": _configuration.url, "STUDIO_VLM_MODEL": _configuration.model}
    return remote.unset(wanted, what="No vision language model is set up.")


def version() -> str:
    """What makes the answers, for their record."""
    return f"{_configuration.model} at {remote.host(_configuration.url)}"


def describe(image: Image.Image, *, instruction: str, max_tokens: int = 300) -> str:
    """What the model says about the picture when it is told ``instruction``; never empty.

    ``max_tokens`` bounds the answer. Transparency is laid on white. Raises
    `remote.RemoteError` and `remote.NotSetUp`.
    """
    raise NotImplementedError
