"""Describe a picture in a sentence, for people who don't see it.

`look` finds out what there is to say: a word for the subject, its colours, the background, faces,
text, and how it sits in the frame. `sentence` says as much of it as there is room for, the most
telling things first. What is not known is left out: a sentence may be dull, but it should not be
wrong.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from tools.engines import colours, faces, images, matting, reading, recognising
from tools.engines.colours import Colour
from tools.engines.vocabulary import (
    COLOURS,
    FRAMES,
    OPENINGS,
    THINGS,
    UNCOUNTED,
    Frames,
    article,
    on_background,
)

if TYPE_CHECKING:
    import numpy as np

VERSION = "description 1"
MODEL = "u2netp"

Detail = Literal["caption", "detailed-caption", "more-detailed-caption"]

SEEN_AT = 1280
"""Pixels of the longer side that is looked at; text of a large picture is read from more."""
SURE_TEXT = 0.9
"""How sure the reading of a line must be for it to be quoted."""
SMALL_PRINT = 0.45
"""Lines lower than this share of the tallest one are small print, for the longest descriptions."""
STRIKING = 0.12
"""Share of the subject that a colour must have to be named."""
EVEN = 0.6
"""Share of the background that one colour must have for the background to be called so."""
PLAIN = 0.97
"""And for it to be told from a subject that nobody can name."""
ROOM = 0.25
"""Share of the picture that must be background for it to be worth a word."""
CLOSE = 0.25
"""Share of the picture's outline that a subject covers when it is seen close up."""
LARGE_FACE = 0.12
"""Height of the one face in a portrait, as a share of the picture's."""
ASIDE = 0.17
"""How far from the middle a subject is "on the left", as a share of the side."""


@dataclass(frozen=True)
class Seen:
    """What there is to say of a picture; what is not known is empty.

    ``thing`` is the word for the subject and ``translated`` says whether `THINGS` has it,
    ``living`` that it is an animal, ``faces`` how many people look at the camera, ``background``
    the name of a colour or "transparent", ``place`` where a subject is that is not in the middle,
    ``text`` the lines with their heights.
    """

    thing: str = ""
    translated: bool = False
    living: bool = False
    faces: int = 0
    portrait: bool = False
    close_up: bool = False
    colours: tuple[str, ...] = ()
    background: str = ""
    place: str = ""
    black_and_white: bool = False
    text: tuple[tuple[str, float], ...] = ()


def look(image: Image.Image) -> Seen:
    """Find out what there is to say of a picture, RGB or RGBA.

    Raises what `weights.session` and `weights.run` raise.
    """
    import numpy as np

    lines = [line for line in reading.read(image) if line.sure >= SURE_TEXT and _is_text(line.text)]
    small = images.fitted(image, max_pixels=SEEN_AT * SEEN_AT, max_side=SEEN_AT)
    flat = images.flattened(small)
    mask = _mask(small, flat)
    box = None if mask is None else _box(np.asarray(mask))
    label = recognising.label(flat, subject=box)
    people = [] if label and label.animal else faces.find(flat)
    background = _background(small, flat, mask)
    known = label is not None or bool(people)
    apart = background is not None and background.share >= (EVEN if known else PLAIN)
    named = [
        colour.name
        for colour in colours.dominant(flat, where=mask if known or apart else None)
        if colour.share >= STRIKING
    ]
    outline = 0.0 if mask is None else _outline(np.asarray(mask))
    height = max((face.bottom - face.top for face in people), default=0) / flat.height
    return Seen(
        thing=label.name if label and not people else "",
        translated=bool(label and not people and not label.kind),
        living=bool(label and label.animal),
        faces=len(people),
        portrait=len(people) == 1 and height >= LARGE_FACE,
        close_up=known and not people and outline >= CLOSE,
        colours=tuple(named),
        background=background.name if background and apart else "",
        place=_place(box, flat.size) if known else "",
        black_and_white=not apart and len(named) > 1 and colours.is_grey(flat),
        text=tuple((line.text, line.height) for line in lines),
    )


def sentence(
    seen: Seen,
    *,
    language: str,
    detail: Detail,
    max_length: int,
    context: str = "",
    keywords: Sequence[str] = (),
) -> str:
    """What was seen, in at most ``max_length`` characters and whole words; never empty.

    ``context`` (the name of a product, say) leads; ``keywords`` that don't occur yet come last,
    as far as there is room.
    """
    frames = FRAMES[language]
    context = " ".join(context.split())
    known = bool(seen.thing or seen.faces)
    said = _subject(seen, language, detail, frames)
    # In English the colours stand before the word for the thing, if that is said at all.
    coloured = language == "en" and bool(seen.thing)
    if context and (not known or _says(context, said)):
        said, coloured = context, False
    elif context:
        # German words keep their capitals; elsewhere only the sentence had given it one.
        said = f"{context}: {said if language == 'de' else said[:1].lower() + said[1:]}"
    room = max_length - 1  # for the full stop
    said = shortened(said, room)
    for clause in _clauses(seen, language, detail, coloured=coloured):
        if len(said) + len(clause) <= room:
            said += clause
    text = _quoted(seen, detail, frames, room - len(said))
    said += text
    for word in keywords:
        if word and word.lower() not in said.lower() and len(said) + 2 + len(word) <= room:
            said += f", {word}"
    return said if said.endswith((".", "!", "?", "…")) else f"{said}."


def shortened(text: str, length: int) -> str:
    """At most so many characters of a text, whole words, with "…" where something is missing."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    cut = text[: max(1, length - 1)]
    if not text[len(cut)].isspace() and " " in cut:
        cut = cut.rsplit(" ", 1)[0]
    return cut.rstrip(" ,;:–-") + "…"


def tidied(text: str, *, language: str, max_length: int) -> str:
    """A sentence that somebody else has written, as an alternative text should be.

    Without quotes around it, without Markdown and "Image of", and cut after a sentence or a word.
    """
    text = " ".join(re.sub(r"[*_`#]+", "", text).split())
    text = re.sub(r"^(?:alt(?:ernative)?[ -]?text|caption)\s*:\s*", "", text, flags=re.IGNORECASE)
    if len(text) > 1 and text[0] + text[-1] in {'""', "''", "“”", "«»", "„“"}:
        text = text[1:-1].strip()
    text = re.sub(f"^{OPENINGS[language]}", "", text, flags=re.IGNORECASE)
    text = text[:1].upper() + text[1:]
    if len(text) <= max_length:
        return text
    whole = re.match(rf"(.{{{max_length // 3},{max_length - 1}}}[.!?])\s", text)
    return whole[1] if whole else shortened(text, max_length)


def warm() -> None:
    """Load all models now rather than with the first picture."""
    matting.warm(model=MODEL)
    reading.warm()
    recognising.warm()
    faces.warm()


# --- Looking --------------------------------------------------------------------------------


def _is_text(text: str) -> bool:
    """Whether it is worth quoting: handles and spoons pass for an "8" or an "o"."""
    return sum(map(str.isalnum, text)) >= 2


def _mask(image: Image.Image, flat: Image.Image) -> Image.Image | None:
    """Where the subject is: its own transparency, or what the model says."""
    if images.is_see_through(image):
        return image.getchannel("A")
    try:
        return matting.mask(flat, model=MODEL)
    except matting.NoSubject:
        return None


def _box(mask: "np.ndarray[Any, Any]") -> tuple[int, int, int, int] | None:
    """The box of what surely belongs to the subject: left, top, right, bottom."""
    import numpy as np

    rows, columns = (np.flatnonzero((mask >= 128).any(axis=axis)) for axis in (1, 0))
    if len(rows) < 8 or len(columns) < 8:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _outline(mask: "np.ndarray[Any, Any]") -> float:
    """The share of the picture's outline that the subject covers."""
    import numpy as np

    outline = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return float((outline >= 128).mean())


def _background(image: Image.Image, flat: Image.Image, mask: Image.Image | None) -> Colour | None:
    """The main colour of the background and its share of it; "transparent" if it is nothing."""
    import numpy as np

    if mask is None:
        return None
    behind = np.asarray(mask) < 50
    if behind.mean() < ROOM:
        return None
    if images.is_see_through(image):
        return Colour("transparent", 1.0)
    named = colours.dominant(flat, where=Image.fromarray(behind.astype(np.uint8) * 255))
    return max(named, key=lambda colour: colour.share)


def _place(box: tuple[int, int, int, int] | None, size: tuple[int, int]) -> str:
    """Where a subject is that is clearly not in the middle."""
    if box is None:
        return ""
    across = (box[0] + box[2]) / 2 / size[0] - 0.5
    down = (box[1] + box[3]) / 2 / size[1] - 0.5
    if max(abs(across), abs(down)) < ASIDE:
        return ""
    if abs(across) >= abs(down):
        return "left" if across < 0 else "right"
    return "top" if down < 0 else "bottom"


# --- Saying ---------------------------------------------------------------------------------


def _subject(seen: Seen, language: str, detail: Detail, frames: Frames) -> str:
    """What it is, with a capital: "Close-up of a cat", "Two people", "Image"."""
    if seen.portrait:
        return frames.portrait
    if seen.faces:
        most = len(frames.people) - 1
        return frames.people[min(seen.faces - 1, most)].format(seen.faces)
    if not seen.thing:
        return frames.image
    thing = _thing(seen, language, _shown(seen, detail))
    said = frames.close_up.format(thing) if seen.close_up else thing
    return said[:1].upper() + said[1:]


def _thing(seen: Seen, language: str, shown: list[str]) -> str:
    """The word for the subject: in English with article and colours, else as a caption has it."""
    if language != "en":
        return THINGS[seen.thing][language] if seen.translated else seen.thing
    name = seen.thing
    plural = name.endswith("s") and not name.endswith(("ss", "us", "is"))
    bare = plural or name in UNCOUNTED
    if not seen.black_and_white and shown:
        name = f"{_joined(shown, FRAMES[language])} {name}"
    return name if bare else f"{article(name)} {name}"


def _says(context: str, said: str) -> bool:
    """Whether the context names the thing itself: "Tom the cat"."""
    words = [word.lower() for word in re.findall(r"\w+", said)]
    return words[-1] in re.findall(r"\w+", context.lower())


def _clauses(seen: Seen, language: str, detail: Detail, *, coloured: bool) -> Iterable[str]:
    """What is said after the subject, the most telling first; ``coloured``: colours were said."""
    frames = FRAMES[language]
    known = bool(seen.thing or seen.faces)
    shown = _shown(seen, detail)
    if seen.black_and_white:
        yield frames.black_and_white
    elif shown and not coloured:
        # "In brown" is what a person wears, and no cat.
        apart = seen.background and not seen.living
        frame = frames.coloured if apart or (known and not seen.living) else frames.mainly
        yield frame.format(_joined([COLOURS[each][language] for each in shown], frames))
    if detail == "caption" and known:
        return
    if seen.background == "transparent":
        yield frames.transparent
    elif seen.background:
        yield on_background(seen.background, language)
    if detail == "more-detailed-caption" and seen.place:
        yield frames.places[seen.place]


def _shown(seen: Seen, detail: Detail) -> list[str]:
    """The colours to name: what the background is called is said of the background."""
    most = {"caption": 1, "detailed-caption": 2, "more-detailed-caption": 3}[detail]
    others = [each for each in seen.colours if each != seen.background]
    return (others or list(seen.colours))[:most]


def _joined(words: list[str], frames: Frames) -> str:
    """The words as a list: "red, white and black"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])}{frames.also}{words[-1]}"


def _quoted(seen: Seen, detail: Detail, frames: Frames, room: int) -> str:
    """The text on the picture as far as there is room for it; "" if that is hardly a word."""
    if detail == "caption" or not seen.text:
        return ""
    tallest = max(height for _line, height in seen.text)
    least = 0 if detail == "more-detailed-caption" else SMALL_PRINT * tallest
    text = _run_on([(line, height) for line, height in seen.text if height >= least])
    room -= len(frames.text.format(""))
    if room < min(len(text), 12):
        return ""
    return frames.text.format(shortened(text, room))


def _run_on(lines: Sequence[tuple[str, float]]) -> str:
    """Lines as one text: those of one size belong together, others are set apart by commas."""
    text, last = "", 0.0
    for line, height in lines:
        if text:
            alike = 0.8 <= height / last <= 1.25 or text.endswith((",", ".", ":", "!", "?"))
            text += " " if alike else ", "
        text, last = text + line, height
    return text
