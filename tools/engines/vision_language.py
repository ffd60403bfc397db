"""A vision language model on the network: looks at a picture and says in words what it is asked.

Any endpoint that speaks OpenAI's chat API with pictures: vLLM, llama.cpp's server, Ollama, or a
hosted one. The picture leaves this machine, reduced.
"""

import base64
import io
import json
import re
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from tools.engines import images, remote

SIDE = 1024
"""Pixels of the longer side that are sent: what such models look at, or less."""

_LONGEST_ANSWER = 256 * 1024  # bytes
_THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
"""What models that think aloud say before they answer."""


@dataclass(frozen=True)
class Configuration:
    """Where the model is. ``url`` is the base that ``/chat/completions`` comes after."""

    url: str = ""
    model: str = ""
    key: str = field(default="", repr=False)
    patience: remote.Patience = field(default_factory=lambda: remote.Patience(total=90.0))


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
    if reason := missing():
        raise remote.NotSetUp(reason)
    asked: dict[str, Any] = {
        "model": _configuration.model,
        "max_tokens": max_tokens,
        "temperature": 0,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": instruction},
                    {"type": "image_url", "image_url": {"url": _data_url(image)}},
                ],
            }
        ],
    }
    try:
        return _said(_asked(asked))
    except remote.Refused as refusal:
        if "max_completion_tokens" not in refusal.detail:
            raise
    # The hosted models that think take this name instead, and no temperature.
    asked["max_completion_tokens"] = asked.pop("max_tokens")
    del asked["temperature"]
    return _said(_asked(asked))


def _asked(asked: dict[str, Any]) -> remote.Answer:
    return remote.call(
        remote.Request(
            method="POST",
            url=remote.below(_configuration.url, "/chat/completions"),
            headers={"Content-Type": "application/json", **remote.bearer(_configuration.key)},
            body=json.dumps(asked).encode(),
            max_bytes=_LONGEST_ANSWER,
        ),
        _configuration.patience,
    )


def _data_url(image: Image.Image) -> str:
    small = images.flattened(image)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _said(answer: remote.Answer) -> str:
    """The words of an answer; raises `remote.ContentRefused` and `remote.BadAnswer`."""
    try:
        choice = answer.json()["choices"][0]
        message = choice["message"]
        if message.get("refusal") or choice.get("finish_reason") == "content_filter":
            raise remote.ContentRefused(answer.service, str(message.get("refusal") or "filtered"))
        said = message["content"]
        if isinstance(said, list):  # some servers answer in parts, as they are asked
            said = "".join(part["text"] for part in said if part.get("type") == "text")
        said = _THOUGHTS.sub("", said).strip()
    except (LookupError, TypeError, AttributeError) as exc:
        raise remote.BadAnswer(answer.service, f"no message in {answer.body[:80]!r}") from exc
    if not said:
        raise remote.BadAnswer(answer.service, "an empty message")
    return str(said)
