"""Say in a word what a photo shows.

EfficientNet-Lite 2 knows ImageNet's thousand classes, 120 of them breeds of dogs. What belongs
together in everyday speech is added up: three cats at 30 % each are a cat at 90 %.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from tools.engines import weights

if TYPE_CHECKING:
    import numpy as np

MODEL, NAMES = "efficientnet-lite2", "imagenet-labels"

SURE = 0.35
"""How sure the model must be for its word to be used: astronauts are barbells at 0.2."""
MANY = 12
SURE_OF_MANY = 0.7
"""And for a group of more than that many classes, of which one must be sure by itself: a dark
shape is a bit of every black dog."""
SURE_OF_PATTERN = 0.9
"""And for what gravel, cells, stars and bricks pass for."""

SIDE, AROUND = 260, 297
"""Pixels of the square that the model sees, and of the shorter side it is cut from."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _numbers(text: str) -> frozenset[int]:
    """The numbers in "1, 5-7"."""
    found: set[int] = set()
    for part in text.split(","):
        first, _dash, last = part.strip().partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


GROUPS = {
    name: _numbers(numbers)
    for name, numbers in {
        "fish": "0, 1, 389-397",
        "shark": "2-4",
        "bird": "7-24, 80-100, 127-146",
        "frog": "30-32",
        "turtle": "33-37",
        "lizard": "38-48",
        "crocodile": "49, 50",
        "snake": "52-68",
        "spider": "72-77",
        "snail": "113, 114",
        "crab": "118-121",
        "lobster": "122-124",
        "whale": "147, 148",
        "dog": "151-268",
        "wolf": "269-271",
        "fox": "277-280",
        "cat": "281-285",
        "big cat": "286-293",
        "bear": "294-297",
        "insect": "300-320",
        "butterfly": "321-326",
        "rabbit": "330-332",
        "horse": "339, 603",
        "zebra": "340",
        "cow": "345-347",
        "sheep": "348, 349",
        "monkey": "365-384",
        "elephant": "101, 385, 386",
        "guitar": "402, 546",
        "plane": "404, 726, 895, 908",
        "backpack": "414",
        "bag": "636, 728, 748",
        "car": "436, 468, 511, 609, 627, 656, 661, 717, 751, 817",
        "bottle": "440, 720, 737, 898, 907",
        "bicycle": "444, 671",
        "bus": "654, 779, 874",
        "truck": "555, 569, 675, 864, 867",
        "train": "466, 547, 565, 705, 820, 829",
        "boat": "472, 484, 510, 554, 576, 625, 628, 780, 814, 871, 914",
        "motorcycle": "665, 670",
        "rocket": "657, 744, 812",
        "candle": "470",
        "castle": "483, 698",
        "church": "497, 663, 668",
        "mobile phone": "487, 590, 605",
        "laptop": "620, 681",
        "computer": "508, 527, 664, 782",
        "camera": "732, 759",
        "clock": "409, 530, 892",
        "wristwatch": "531",
        "coat": "568, 617, 869",
        "dress": "578, 601, 689",
        "jeans": "608",
        "sweater": "474, 841",
        "shoe": "502, 514, 630, 770, 774",
        "sunglasses": "836, 837",
        "necklace": "679",
        "hat": "439, 452, 515, 808",
        "helmet": "518, 560, 715",
        "chair": "423, 559, 765, 857",
        "table": "526, 532, 736",
        "sofa": "831",
        "bed": "516, 520, 564",
        "lamp": "619, 846",
        "pillow": "721",
        "pan": "567, 909",
        "pot": "469, 505, 521, 544, 849",
        "plate": "923",
        "cup of coffee": "504, 967, 968",
        "vase": "883",
        "flowerpot": "738",
        "basket": "588, 790",
        "ball": "429, 430, 522, 574, 722, 768, 805, 852, 890",
        "soft toy": "850",
        "umbrella": "879",
        "perfume": "711",
        "lipstick": "629",
        "glass of wine": "572, 966",
        "glass of beer": "441",
        "ice cream": "928, 929",
        "bread": "930-932",
        "burger": "933",
        "pizza": "963",
        "strawberry": "949",
        "apple": "948",
        "orange": "950",
        "lemon": "951",
        "banana": "954",
        "pineapple": "953",
        "mushroom": "947, 991-997",
        "flower": "985, 986",
        "mountain": "970, 980",
        "coast": "972, 976-978",
        "lake": "975",
        "bridge": "821, 839, 888",
    }.items()
}
"""Words of everyday speech by the numbers of the classes that they stand for."""

ANIMALS = frozenset(range(398))

_PATTERNS = _numbers(
    "107, 109, 111, 422, 464, 488, 490, 509, 530, 533, 539, 549, 581, 599, 611, 616, 640, 644, "
    "646, 672, 677, 680, 682, 683, 688, 692, 696, 702, 712, 733, 741, 750, 753, 767, 769, 783, "
    "786, 798, 806, 807, 812, 818, 825, 840, 844, 854, 862, 885, 904, 905, 911, 916-918, 920-922, "
    "971, 988"
)


@dataclass(frozen=True)
class Label:
    """What a picture shows.

    ``name`` is one of `GROUPS`; with ``kind`` it is the English name of a class of its own.
    """

    name: str
    sure: float
    kind: bool = False
    animal: bool = False


def label(image: Image.Image, *, subject: tuple[int, int, int, int] | None = None) -> Label | None:
    """The word for an RGB picture; None when the model is not sure of any.

    Both the whole and the box of its ``subject`` are looked at, where that is known: a thing far
    away is easier to tell when it fills the frame. Raises what `weights` raises.
    """
    import numpy as np

    session = weights.session(MODEL)
    views = [_view(image), *([] if subject is None else [_view(image.crop(subject))])]
    seen = np.mean([weights.run(session, _pixels(view))[0] for view in views], axis=0)
    return _named(seen)


def warm() -> None:
    """Load the model now rather than with the first picture."""
    weights.session(MODEL)
    weights.verify(NAMES)


def _named(seen: "np.ndarray[Any, Any]") -> Label | None:
    """The word for what the model gives for each of the classes."""
    best = int(seen.argmax())
    if name := next((name for name, numbers in GROUPS.items() if best in numbers), None):
        numbers = GROUPS[name]
        sure = float(seen[list(numbers)].sum())
        enough = sure >= SURE
        if len(numbers) > MANY:
            enough = sure >= SURE_OF_MANY and seen[best] >= SURE
        return Label(name, sure, animal=best in ANIMALS) if enough else None
    wanted = SURE_OF_PATTERN if best in _PATTERNS else SURE
    if seen[best] >= wanted:
        return Label(_name(best), float(seen[best]), kind=True, animal=best in ANIMALS)
    return None


def _name(number: int) -> str:
    """The first of the names that a class has."""
    lines = weights.verify(NAMES).read_text(encoding="utf-8").splitlines()
    return lines[number].split(",")[0].strip()


def _view(image: Image.Image) -> Image.Image:
    """What the model sees of a picture: its middle, or most of it where it is long."""
    scale = AROUND / min(image.size)
    # Of a long picture the middle would be too little: it is squeezed to four by three.
    width, height = (min(AROUND * 4 // 3, round(side * scale)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return small.crop((left, top, left + SIDE, top + SIDE))


def _pixels(view: Image.Image) -> "np.ndarray[Any, Any]":
    import numpy as np

    values = (np.asarray(view, dtype=np.float32) / 255 - _MEAN) / _STD
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], dtype=np.float32)
