"""Read the text in a picture.

PP-OCRv6 by the PaddleOCR project, small, in the ONNX files that the `rapidocr` package carries:
one model marks where text is, another reads one line of it. What is between the two is written
anew after PaddleOCR's description (differentiable binarization, Liao et al. 2020; CTC), because
the package itself brings a second geometry library, a configuration language and a downloader.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from tools.engines import weights

if TYPE_CHECKING:
    import numpy as np

DETECTION, RECOGNITION = "ppocr-detection", "ppocr-recognition"

SEEN_AT = 960
"""Pixels of the longer side on which text is looked for."""
LEAST_SEEN = 480
"""What a small picture is enlarged to first: its text has few pixels."""
READ_AT = 2560
"""Pixels of the longer side of the picture that lines are cut from."""

INK = 0.3
"""How sure the first model must be of a pixel for it to be text."""
SURE_BOX = 0.6
"""And of a box on average. PaddleOCR's own figures."""
UNCLIP = 1.6
"""The model marks the core of a line: it is widened by area / perimeter times this."""
SURE_TEXT = 0.75
"""How sure the second model must be of a line on average; below it, it reads textures."""
SURE_SPACE = 0.3
"""And of a space between two characters: within words it stays below 0.25."""
MOST_LINES = 40
"""Of a page, the largest so many are read."""
LINE_HEIGHT = 48
"""What the second model sees, in pixels; its width is free."""
LONGEST_LINE = 1600


@dataclass(frozen=True)
class Line:
    """A line of text and the box around it, in pixels of the picture."""

    text: str
    sure: float
    left: float
    top: float
    right: float
    bottom: float
    height: float
    """Of the line itself, however it is turned."""

    @property
    def area(self) -> float:
        """Pixels of the box."""
        return (self.right - self.left) * (self.bottom - self.top)


def read(image: Image.Image) -> list[Line]:
    """All text in a picture, RGB or RGBA (on white), as a person reads: top to bottom.

    Raises what `weights.session` and `weights.run` raise.
    """
    flat = _flat(image)
    corners = _found(flat)
    if not corners:
        return []
    session = weights.session(RECOGNITION)
    alphabet = _alphabet(session)
    scale = image.width / flat.width
    lines = (_read_line(session, alphabet, flat, box, scale=scale) for box in corners)
    return _in_order([line for line in lines if line is not None])


def warm() -> None:
    """Load both models now rather than with the first picture."""
    weights.session(DETECTION)
    weights.session(RECOGNITION)


def _flat(image: Image.Image) -> Image.Image:
    """The picture as RGB, no larger than lines are read from."""
    scale = min(1.0, READ_AT / max(image.size))
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
    if image.mode != "RGBA":
        return image.convert("RGB")
    flat = Image.new("RGB", image.size, (255, 255, 255))
    flat.paste(image, mask=image.getchannel("A"))
    return flat


def _found(image: Image.Image) -> list["np.ndarray[Any, Any]"]:
    """Where lines of text are: four corners each, clockwise from the top left, largest first."""
    import cv2
    import numpy as np

    longest = max(image.size)
    scale = min(max(longest, LEAST_SEEN), SEEN_AT) / longest
    width, height = (max(32, round(side * scale / 32) * 32) for side in image.size)
    small = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2))
    # The models were trained on pictures as OpenCV loads them: blue first.
    pixels = (small[..., ::-1].astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
    ink = weights.run(weights.session(DETECTION), np.ascontiguousarray(pixels))[0, 0]
    contours, _tree = cv2.findContours(
        (ink > INK).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
    )
    boxes = []
    for contour in contours:
        centre, (across, down), angle = cv2.minAreaRect(contour)
        if min(across, down) < 3 or _sureness(ink, contour) < SURE_BOX:
            continue
        grown = 2 * UNCLIP * across * down / (2 * (across + down))
        corners = cv2.boxPoints((centre, (across + grown, down + grown), angle))
        corners = corners * [image.width / width, image.height / height]
        boxes.append((across * down, _clockwise(corners)))
    boxes.sort(key=lambda box: -box[0])
    return [corners for _area, corners in boxes[:MOST_LINES]]


def _sureness(ink: "np.ndarray[Any, Any]", contour: "np.ndarray[Any, Any]") -> float:
    """How sure the model is of the pixels inside a contour, on average."""
    import cv2
    import numpy as np

    left, top, width, height = cv2.boundingRect(contour)
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [contour - [left, top]], 1)
    return float(ink[top : top + height, left : left + width][inside > 0].mean())


def _clockwise(corners: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """The corners of a box, the one nearest to the top left first."""
    import numpy as np

    centre = corners.mean(0)
    angles = np.arctan2(corners[:, 1] - centre[1], corners[:, 0] - centre[0])
    turned = corners[np.argsort(angles)]
    return np.roll(turned, -int(np.argmin(turned.sum(1))), axis=0).astype(np.float32)


def _read_line(
    session: Any,
    alphabet: tuple[str, ...],
    image: Image.Image,
    corners: "np.ndarray[Any, Any]",
    *,
    scale: float,
) -> Line | None:
    """What stands in one box; None when that is nothing the model is sure of."""
    import cv2
    import numpy as np

    across = float(np.linalg.norm(corners[1] - corners[0]))
    down = float(np.linalg.norm(corners[3] - corners[0]))
    if down > 1.5 * across:  # a line that runs upwards or downwards
        corners, across, down = np.roll(corners, 1, axis=0), down, across
    width = int(min(LONGEST_LINE, max(LINE_HEIGHT / 2, round(LINE_HEIGHT * across / down))))
    target = np.array(
        [[0, 0], [width, 0], [width, LINE_HEIGHT], [0, LINE_HEIGHT]], dtype=np.float32
    )
    # Only the surroundings of the line are turned, and made smaller before if they are large.
    left, top = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    right, bottom = np.ceil(corners.max(0)).astype(int)
    part = image.crop((left, top, min(right, image.width), min(bottom, image.height)))
    reduced = max(1, int(down / (2 * LINE_HEIGHT)))
    if reduced > 1:
        part = part.reduce(reduced)
    source = ((corners - [left, top]) / reduced).astype(np.float32)
    strip = cv2.warpPerspective(
        np.asarray(part)[..., ::-1],
        cv2.getPerspectiveTransform(source, target),
        (width, LINE_HEIGHT),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    pixels = (strip.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
    text, sure = _decoded(weights.run(session, np.ascontiguousarray(pixels))[0], alphabet)
    if not text or sure < SURE_TEXT:
        return None
    (x0, y0), (x1, y1) = corners.min(0) * scale, corners.max(0) * scale
    return Line(text, sure, float(x0), float(y0), float(x1), float(y1), down * scale)


def _decoded(steps: "np.ndarray[Any, Any]", alphabet: tuple[str, ...]) -> tuple[str, float]:
    """The text of a matrix of steps by characters (CTC: repeats are one, the first is none)."""
    import numpy as np

    best = steps.argmax(1)
    # Between words set close together "nothing" wins by a little, and words would grow into one.
    best[(best == 0) & (steps[:, -1] >= SURE_SPACE)] = steps.shape[1] - 1
    chosen = (best > 0) & np.concatenate([[True], best[1:] != best[:-1]])
    if not chosen.any():
        return "", 0.0
    text = "".join(alphabet[index] for index in best[chosen])
    return " ".join(text.split()), float(steps.max(1)[chosen].mean())


def _alphabet(session: Any) -> tuple[str, ...]:
    """The characters by their numbers in the model's output, as the file itself lists them."""
    listed = session.get_modelmeta().custom_metadata_map["character"]
    return ("", *listed.splitlines(), " ")


def _in_order(lines: list[Line]) -> list[Line]:
    """Top to bottom, and from left to right what stands on one line."""
    return [line for row in _rows(lines) for line in sorted(row, key=lambda each: each.left)]


def _rows(lines: list[Line]) -> Iterator[list[Line]]:
    row: list[Line] = []
    for line in sorted(lines, key=lambda each: each.top + each.bottom):
        middle = (line.top + line.bottom) / 2
        if row and middle > row[0].bottom - 0.1 * (row[0].bottom - row[0].top):
            yield row
            row = []
        row.append(line)
    if row:
        yield row
