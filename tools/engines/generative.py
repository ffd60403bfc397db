"""Pictures that a generative model paints: the one door to it, whoever runs the model.

``model`` is "diffusion" (a local pipeline on a GPU host, see `diffusion`) or "provider" (a
service on the network, see `provider`). Which of them there are is the operator's choice;
`missing` says what to set for one that is not there.

The same picture, words and ``seed`` give the same bytes with "diffusion". Without a seed one is
made of the picture and the words, so that leaving it out is no lottery either. A provider may
know no seeds: then only its own habits decide.

All three raise `remote.RemoteError` (a service failed), `remote.NotSetUp` (ask `missing` first)
and `weights.ModelOutOfMemory`.
"""

import hashlib
from typing import Literal, Protocol, get_args

from PIL import Image

from tools.engines import diffusion, provider
from tools.engines.painting import Task

Model = Literal["diffusion", "provider"]

MODELS: tuple[Model, ...] = get_args(Model)

_SEEDS = 2**32


class _Engine(Protocol):
    """What a module must have to stand behind this door."""

    def missing(self, task: Task) -> str | None: ...

    def version(self, task: Task) -> str: ...

    def background(
        self,
        image: Image.Image,
        subject: Image.Image,
        *,
        prompt: str,
        seed: int,
        reference: Image.Image | None,
    ) -> Image.Image: ...

    def edit(
        self, image: Image.Image, *, prompt: str, strength: float, seed: int
    ) -> Image.Image: ...

    def remove(self, image: Image.Image, mask: Image.Image, *, seed: int) -> Image.Image: ...


def missing(model: str, task: Task) -> str | None:
    """Why this model can't do the task here, with the setting that changes it; None: it can.

    Looks at settings and at what is installed, and imports no runtime: cheap enough for pages.
    """
    return _engine(model).missing(task)


def version(model: str, task: Task = "background") -> str:
    """What makes the results of a task, for their record."""
    return _engine(model).version(task)


def background(
    image: Image.Image,
    subject: Image.Image,
    *,
    prompt: str,
    model: str,
    seed: int | None = None,
    reference: Image.Image | None = None,
) -> Image.Image:
    """Paint what ``prompt`` says around the subject: RGB, the size of ``image``.

    ``subject`` is a mask (L, size of ``image``): where it is 255 the pixels stay what they are;
    at its soft edge the old background's colour is taken out. ``reference`` is a picture whose
    look the new background should have.
    """
    _check_mask(image, subject)
    return _engine(model).background(
        image,
        subject,
        prompt=prompt,
        seed=_seed(seed, image, prompt),
        reference=reference,
    )


def edit(
    image: Image.Image, *, prompt: str, strength: float, model: str, seed: int | None = None
) -> Image.Image:
    """Change the picture as ``prompt`` says; its size and its transparency stay.

    ``strength`` goes from 0 (hardly) to 1 (freely).
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}, outside of 0 to 1")
    return _engine(model).edit(
        image, prompt=prompt, strength=strength, seed=_seed(seed, image, prompt)
    )


def remove(image: Image.Image, mask: Image.Image, *, model: str) -> Image.Image:
    """Paint over what ``mask`` (L, 255 = remove) covers as if it had never been there.

    Pixels beyond a narrow seam around the mask stay what they are, transparency too.
    """
    _check_mask(image, mask)
    return _engine(model).remove(image, mask, seed=_seed(None, image, ""))


def _engine(model: str) -> _Engine:
    match model:
        case "diffusion":
            return diffusion
        case "provider":
            return provider
    raise ValueError(f"There is no generative model {model!r}, only {', '.join(MODELS)}.")


def _check_mask(image: Image.Image, mask: Image.Image) -> None:
    if mask.mode != "L" or mask.size != image.size:
        raise ValueError(f"A mask is L and {image.size}, not {mask.mode} and {mask.size}.")


def _seed(given: int | None, image: Image.Image, prompt: str) -> int:
    """The seed that was asked for, else one that the same work always gets."""
    if given is not None:
        return given % _SEEDS
    small = image.convert("RGB").resize((32, 32))
    digest = hashlib.sha256(small.tobytes() + prompt.encode()).digest()
    return int.from_bytes(digest[:4])
