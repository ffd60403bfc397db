"""Cut a subject out of its background.

The arithmetic is rembg's, step for step, so that a picture comes out as it does there (for
the same weights no channel is further away than 1 of 255). rembg itself is not imported: it
brings a compiler along and takes two seconds to load.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops, ImageStat

from tools.engines import edges, weights

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Model:
    """How one model wants its picture.

    ``side`` is the length of the square that it sees; ``mean`` and ``std`` centre and scale
    each colour.

    ``surest`` is the least that the model must be sure of somewhere (0 to 1) for its mask to
    count as a subject. The mask is stretched to the full range afterwards, so that even a
    blank wall would get a "subject". Measured on plain colours, gradients and noise against
    photos and crops of photos: the blank ones mostly stayed below 0.03 (u2net, u2netp) and
    0.29 (isnet), real photos went down to 0.045, and every cut-out that a person would keep
    had more than 0.9. The figures are on the blank side on purpose: a poor cut-out can be
    thrown away, one that was refused is not even seen. Plain pictures that fool a model all
    the same are caught by ``PLAINEST``.

    ``logits`` says that the model's numbers are turned into 0 to 1 by a sigmoid.
    """

    weights: str
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    surest: float
    logits: bool = False


_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_HALF: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (1.0, 1.0, 1.0)}

MODELS: dict[str, Model] = {
    "u2net": Model("u2net", side=320, surest=0.03, **_IMAGENET),
    "u2netp": Model("u2netp", side=320, surest=0.03, **_IMAGENET),
    "silueta": Model("silueta", side=320, surest=0.03, **_IMAGENET),
    "isnet": Model("isnet", side=1024, surest=0.3, **_HALF),
    "isnet-general-use": Model("isnet-general-use", side=1024, surest=0.3, **_HALF),
    "birefnet-general": Model("birefnet-general", side=1024, surest=0.03, logits=True, **_IMAGENET),
}
"""All work on this machine: rembg has others that send the picture to a service."""


FAINTEST = 26
"""Alpha (of 255) from which a pixel counts as the subject where it is cropped to: a tenth."""
PLAINEST = 8
"""Levels (of 255) that a picture must span in some colour to show anything at all."""


class NoSubject(Exception):
    """The model saw nothing that stands out from the rest."""


def warm(*, model: str) -> None:
    """Load the model now rather than with the first picture."""
    weights.session(MODELS[model].weights)


def mask(image: Image.Image, *, model: str) -> Image.Image:
    """How much of each pixel belongs to the subject: 0 to 255, mode L, size of ``image``.

    An image's own transparency is not looked at. Raises `NoSubject`, and what
    `weights.session` and `weights.run` raise.
    """
    import numpy as np

    chosen = MODELS[model]
    square = _square(image, chosen)
    if max(high - low for low, high in ImageStat.Stat(square).extrema) < PLAINEST:
        raise NoSubject
    seen = weights.run(weights.session(chosen.weights), _pixels(square, chosen))[0, 0]
    if chosen.logits:
        seen = 1 / (1 + np.exp(-seen))
    low, high = float(seen.min()), float(seen.max())
    if high < chosen.surest or high == low:
        raise NoSubject
    stretched = (seen - seen.min()) / (seen.max() - seen.min())
    small = Image.fromarray((stretched * 255).astype(np.uint8))
    return small.resize(image.size, Image.Resampling.LANCZOS)


def cut_out(
    image: Image.Image,
    *,
    model: str,
    background: tuple[int, int, int] | None = None,
    soft: bool = False,
    margin: int | None = None,
) -> Image.Image:
    """The subject alone: RGBA on nothing, or RGB on a ``background`` colour.

    On nothing, colours fade to black with the mask as rembg's do. On a colour, every pixel
    is mixed once from the original and the background; rembg mixes its faded pixels, which
    counts the mask twice and leaves a dark rim.

    ``soft`` solves for the finest edges (see `edges`). With a ``margin``, the picture is cropped
    to the subject with so many percent of its longer side around it; the canvas grows where it
    must, except where the subject runs out of the picture. Raises what `mask` raises.
    """
    if image.mode not in {"RGB", "RGBA"}:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    subject = mask(image, model=model)
    if soft:
        solved = edges.refine(image.convert("RGB"), subject)
        subject = solved.getchannel("A")
        if image.mode == "RGBA":
            solved.putalpha(ImageChops.multiply(subject, image.getchannel("A")))
        done = solved if background is None else _on_colour(solved, None, background)
    elif background is None:
        done = _on_nothing(image, subject)
    else:
        done = _on_colour(image, subject, background)
    if margin is None:
        return done
    if image.mode == "RGBA":
        subject = ImageChops.multiply(subject, image.getchannel("A"))
    return _cropped(done, _box(subject, margin=margin), background)


def _box(subject: Image.Image, *, margin: int) -> tuple[int, int, int, int]:
    """Where the subject is, with a margin in percent of its longer side. Raises `NoSubject`."""
    found = subject.point(lambda value: 255 if value >= FAINTEST else 0).getbbox()
    if found is None:
        raise NoSubject
    left, top, right, bottom = found
    room = round(max(right - left, bottom - top) * margin / 100)
    return (
        left - room if left > 0 else 0,
        top - room if top > 0 else 0,
        right + room if right < subject.width else right,
        bottom + room if bottom < subject.height else bottom,
    )


def _cropped(
    image: Image.Image,
    box: tuple[int, int, int, int],
    background: tuple[int, int, int] | None,
) -> Image.Image:
    """A part of the picture, on a larger canvas where the box reaches beyond it."""
    left, top, right, bottom = box
    canvas = Image.new(image.mode, (right - left, bottom - top), background or (0, 0, 0, 0))
    canvas.paste(image, (-left, -top))
    return canvas


def _square(image: Image.Image, model: Model) -> Image.Image:
    """The picture in the size that the model sees, RGB."""
    # Alpha is dropped before the resize, not after: a resize of RGBA weighs colours by it.
    image = image if image.mode == "RGB" else image.convert("RGB")
    # The plain full-quality filter: a faster one (draft, reducing_gap) changes the mask.
    return image.resize((model.side, model.side), Image.Resampling.LANCZOS)


def _pixels(seen: Image.Image, model: Model) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """What the model sees: 1 x 3 x side x side."""
    import numpy as np

    square = np.asarray(seen)
    # Each colour has 256 values only, so the double-precision arithmetic is done on those.
    levels = np.arange(256) / max(int(square.max()), 1e-6)
    pixels = np.empty((1, 3, model.side, model.side), dtype=np.float32)
    for colour in range(3):
        table = ((levels - model.mean[colour]) / model.std[colour]).astype(np.float32)
        pixels[0, colour] = table[square[:, :, colour]]
    return pixels


def _on_nothing(image: Image.Image, subject: Image.Image) -> Image.Image:
    """Colours and alpha times the mask, over transparent black."""
    # For RGB the three colours are faded and the mask becomes the alpha: the very pixels of
    # fading all four, in half the time for a photo of 12 megapixels.
    faded = Image.new(image.mode, image.size)
    faded.paste(image, mask=subject)
    if image.mode == "RGB":
        faded.putalpha(subject)
    return faded


def _on_colour(
    image: Image.Image, subject: Image.Image | None, colour: tuple[int, int, int]
) -> Image.Image:
    """The original over a colour, through the mask (and its own alpha, if it has one)."""
    flat = Image.new("RGB", image.size, colour)
    if image.mode == "RGBA":
        alpha = image.getchannel("A")
        if subject is not None:
            own, alpha = alpha, Image.new("L", image.size)
            alpha.paste(own, mask=subject)
        flat.paste(image.convert("RGB"), mask=alpha)
    else:
        flat.paste(image, mask=subject)
    return flat
