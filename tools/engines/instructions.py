"""What a person wants done to a photo, from a sentence.

`understand` cuts a sentence into clauses, finds for each the nearest of a few hundred phrases
whose edit is known, and reads what embeddings are deaf to by parsing: more or less, how much,
which colour, how many degrees, what must stay as it is. Whatever it is not sure of, it
refuses: a photo that was changed in another way than asked is worse than a question.

Everything is English: so is the model (see `tools.engines.meaning`).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Literal

from PIL import ImageColor

from tools.engines import meaning
from tools.engines.phrases import IMPOSSIBLE, PHRASES

Where = Literal["all", "background", "subject"]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Edit:
    """One thing to do to the photo.

    ``amount`` is a share, 0.2 for 20 %, and negative for the other way round (darker, cooler,
    softer …); degrees clockwise for a rotation. ``colour`` belongs to a new background.
    """

    name: str
    amount: float = 1.0
    where: Where = "all"
    colour: Colour | None = None


class NotUnderstood(Exception):
    """A part of the instruction that is no edit known here; ``part`` quotes it."""

    def __init__(self, part: str) -> None:
        super().__init__(part)
        self.part = part


def warm() -> None:
    """Load the model and read the phrases now rather than with the first instruction."""
    _nearest("make it brighter")


def understand(instruction: str) -> list[Edit]:
    """The edits that an instruction asks for, in its order; never an empty list.

    Raises `NotUnderstood` when any part is not understood, contradicts another one or asks
    for something that edits of the whole photo, its subject or its background can't do.
    """
    wanted, kept = _read(instruction)
    if not wanted:
        raise NotUnderstood(instruction.strip())
    for stays, said in kept:
        if any(edit.name in stays.edits for edit, _ in wanted):
            raise NotUnderstood(said)
    where: Where = next((stays.where for stays, _ in kept if stays.where != "all"), "all")
    merged: dict[tuple[str, Where], Edit] = {}
    for edit, _ in wanted:
        placed = edit
        if edit.where == "all" and edit.name not in _WHOLE_FRAME:
            placed = replace(edit, where=where)
        # Who says twice that it is too dark wants it lit up once.
        key = placed.name, placed.where
        merged[key] = max(placed, merged.get(key, placed), key=lambda same: abs(same.amount))
    return list(merged.values())


def _read(instruction: str) -> "tuple[list[tuple[Edit, str]], list[tuple[_Kept, str]]]":
    """What is wanted and what must stay, each with the words that say so."""
    wanted: list[tuple[Edit, str]] = []
    kept: list[tuple[_Kept, str]] = []
    previous = ""
    for clause in _clauses(instruction):
        if _CALM.search(clause.text):
            wanted = [(_calmer(edit), said) for edit, said in wanted]
        elif wanted and _SAME.search(clause.text):
            continue
        elif stays := _kept(clause.text):
            kept.append((stays, clause.said))
        else:
            edit = _edit(clause, previous)
            previous = clause.text
            for other, said in wanted:
                if _contradict(edit, other):
                    raise NotUnderstood(f"{said}, {clause.said}")
            wanted.append((edit, clause.said))
    return wanted, kept


def _contradict(edit: Edit, other: Edit) -> bool:
    """Whether two edits can't both be done."""
    if (edit.name, edit.where) != (other.name, other.where) or edit.name == "rotate":
        return False
    return edit.amount * other.amount < 0 or edit.colour != other.colour


# --- Measures --------------------------------------------------------------------------------

_SURE = 0.5
"""The least likeness to a known phrase, for a clause whose words are all in the phrases."""
_SURER = 0.6
"""The same for a clause with words that no phrase has."""
_KEYWORD = 0.2
"""What a word that belongs to one edit adds to its likeness."""
_AHEAD = 0.02
"""How far an edit must be ahead of what can't be done."""

_KEYWORDS: dict[str, str] = {
    "brightness": r"bright\w*|exposure|(over|under)exposed|dark(er|en)?|light(er|en)",
    "contrast": r"contrast\w*|punch\w*",
    "warmth": r"warm\w*|cool(er)?|cold(er)?|chill\w+|colou?r temperature|bluish"
    r"|(less|too) (yellow|orange|blue)",
    "saturation": r"(de)?saturat\w+|vivid|vibran\w+|colou?rful",
    "sharpness": r"sharp\w*|crisp\w*|blurry|blurred",
    "denoise": r"nois\w+|grain\w*|denois\w+",
    "low-light": r"night|low[- ]light",
    "black-and-white": r"black-and-white|mono(chrome)?|gr[ae]y ?-?scale",
    "sepia": r"sepia",
    "vintage": r"vintage|retro|film|polaroid|analogue?",
    "vignette": r"vignett\w+|corners",
    "blur-background": r"bokeh|depth of field|portrait mode",
    "rotate": r"rotat\w+|clockwise|upside down|degrees|sideways",
    "flip-horizontal": r"flip|mirror\w*|horizontal\w*",
    "flip-vertical": r"(flip|mirror)\b.*\b(vertical\w*|bottom)|upside[- ]down flip",
    "straighten": r"straight\w*|horizon|crooked|tilted|slanted|level",
    "white-balance": r"white balance|colou?r cast|tint|colou?r correct\w+",
    "fade": r"fad(e|ed|ing)|matte|washed[- ]out",
    "highlights": r"highlights?|bright (areas|parts|spots)|blown",
    "shadows": r"shadows?|dark (areas|parts|spots)",
    "square": r"square",
    "auto": r"enhance|improve|better|nicer",
}

_UP = {
    "brightness": r"bright\w*|light(er|en\w*)|overexposed|luminous",
    "contrast": r"punch\w*|strong\w*|contrasty",
    "warmth": r"warm\w*|golden|yellow\w*|orange|sunny",
    "saturation": r"saturat\w+|vivid|vibran\w+|colou?rful|rich\w*|strong\w*|garish",
    "sharpness": r"sharp\w*|crisp\w*|details?|clear(er)?",
    "highlights": r"bright\w*|strong\w*",
    "shadows": r"bright\w*|light\w*",
}
_DOWN = {
    "brightness": r"dark\w*|dim\w*|underexposed|gloomy",
    "contrast": r"flat\w*|soft\w*|gentl\w+",
    "warmth": r"cool\w*|cold\w*|blu\w+|icy|chill\w*|frosty",
    "saturation": r"desaturat\w+|mut(e|ed)|pal(e|er)|subdued|dull|fad(e|ed)|soft\w*",
    "sharpness": r"soft\w*|blur\w*|out of focus|unsharp",
    "highlights": r"dark\w*|dim\w*|dull",
    "shadows": r"dark\w*|deep\w*|crush\w*|lower\w*|strong(er)?|black\w*",
}
"""Words for more and for less; a clause with neither, such as "contrast", wants more."""
_LESS = re.compile(
    r"\b(less|reduc\w+|decreas\w+|lower\w*|fewer|(tone|turn|pull|bring|cut)\b.*\bdown"
    r"|dial\b.*\b(down|back)|remov\w+|get rid of|fix|not|minimi[sz]e|drop|weaken|calm)\b"
)
"""Words that turn what they go with round: "less warm" is cooler."""
_COMPLAINT = re.compile(
    r"^(?!.*\b(make|should|more|must)\b)"
    r".*\b(is|are|was|were|looks?|seems?|appears?|came|turned out)\b"
    r"|\b(too|enough|(under|over)exposed)\b"
)
"""What is said of the photo as it is, so that the opposite is wanted."""

_WHOLE_FRAME = {
    "vignette",
    "blur-background",
    "background-colour",
    "rotate",
    "flip-horizontal",
    "flip-vertical",
    "straighten",
    "square",
}
"""Edits that have no meaning for a part of the photo."""

_USUAL = {
    "brightness": 0.2,
    "contrast": 0.25,
    "warmth": 0.25,
    "saturation": 0.25,
    "sharpness": 0.4,
    "denoise": 0.5,
    "low-light": 0.6,
    "vignette": 0.4,
    "blur-background": 0.5,
    "fade": 0.5,
    "highlights": 0.4,
    "shadows": 0.4,
    "vintage": 0.7,
    "auto": 0.6,
}
"""Amounts when nothing is said of it; the other edits are done or not done: 1."""


# --- Clauses --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Clause:
    """One wish: as it was ``said``, and as ``text`` in the words of the phrases."""

    said: str
    text: str


_UNIFORM = (
    ("[\N{RIGHT SINGLE QUOTATION MARK}\N{ACUTE ACCENT}`]", "'"),
    (r"\bnot enough\b", "more"),
    (r"\b(b ?& ?w|b ?/ ?w|black (and|&|n|'n'?) white|bnw|black and whites?)\b", "black-and-white"),
    (r"\b(do|does|did|should|would|could|must|is|are|was|ca)n'?t\b", r"\1 not"),
    (r"\bca not\b|\bcannot\b", "can not"),
    (r"\bdont\b", "do not"),
    (r"\bi'd\b", "i would"),
    (r"\b(it|that)'s\b", r"\1 is"),
    (r"\bcolor", "colour"),
    (r"\bgray\b", "grey"),
    (r"\banti-?\s?clockwise\b|\bcounter-?\s?clockwise\b", "counterclockwise"),
    (r"\b(left and right|top and bottom|light and dark|yellow and orange)\b", r"\1"),
)
_PAIRS = re.compile(r"\b(left|top|light|bottom|right) (and|to) (right|bottom|dark|top|left)\b")
_POLITE = re.compile(
    r"\b(please|pls|kindly|just|thanks?( you)?( very much| a lot)?|hi|hey|hello there|for me"
    r"|(can|could|would|will) you( please)?|i (want|need|would like|would love|wish)( you)?( to)?"
    r"|you (should|could|can)|let us|lets|let's|maybe|perhaps|if possible|try to|i think"
    r"|also|too(?=\W*$)|as well|at the same time|overall|a version that is)\b"
)
_APART = re.compile(
    r"[;\n!?]+|\.(?!\d)|,(?!\d)|\s(?:and then|and also|and|then|but|plus|while"
    r"|with(?= (?:a|an|some|more|less|strong|soft)\b))\s|\s[&+]\s"
)


def _clauses(instruction: str) -> Iterator[_Clause]:
    """The wishes in an instruction, without politeness."""
    text = unicodedata.normalize("NFKC", instruction).lower()
    for found, uniform in _UNIFORM:
        text = re.sub(found, uniform, text)
    text = _PAIRS.sub(r"\1 to \3", text)
    text = re.sub(r"\b(without)\b", r", \1", text)
    for part in _APART.split(text):
        said = " ".join(part.split()).strip(" ,.-–—:\"'")
        wish = " ".join(_POLITE.sub(" ", said).split()).strip(" ,.-–—:\"'")
        if wish and wish not in {"and", "then", "but", "it"}:
            yield _Clause(said=said, text=wish)


_CALM = re.compile(
    r"^(but )?(not too (much|strong\w*|heavy|heavily|intense)|do not overdo( it| this)?"
    r"|nothing too (strong|much|heavy)|keep (it|this|everything) (natural|subtle|realistic)\w*"
    r"|only (slightly|a (little|bit))|subtly|slightly|gently)$"
)
"""A clause of its own that only says: less of all that."""


_SAME = re.compile(
    r"^(fix|correct|repair|recover|restore|reduce|improve|sort|clean|tone|turn|bring|get rid of"
    r"|adjust|save|remove) (it|them|that|this)( up| down| out| back)?$"
)
"""A clause that only says: do something about what was said before."""


def _calmer(edit: Edit) -> Edit:
    """The same edit at half its amount, where it has one."""
    return replace(edit, amount=edit.amount / 2) if edit.name in _USUAL else edit


# --- What must stay -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kept:
    """Edits that an instruction forbids; ``where`` is what is left to edit."""

    edits: frozenset[str] = frozenset()
    where: Where = "all"


_KEEP = re.compile(
    r"^(do not|never|without|no|avoid)\b(?! (so|as|too|enough))"
    r"|^(keep|leave|preserve|maintain|retain)\b"
)
_FAULTS = re.compile(
    r"^(without|no) (any |more )?(noise|grain|colour cast|tint|colours?( at all)?)$"
)
"""What reads like "keep", but asks for something to go."""

_COLOURS = frozenset(
    {"saturation", "warmth", "black-and-white", "sepia", "vintage", "white-balance"}
)
_ASPECTS: tuple[tuple[str, _Kept], ...] = (
    (r"background|backdrop", _Kept(where="subject")),
    (r"subject|product|foreground", _Kept(where="background")),
    (r"colou?rs?|tones?|hues?|saturation|tint", _Kept(_COLOURS)),
    (r"bright\w*|exposure|light\w*", _Kept(frozenset({"brightness", "low-light"}))),
    (r"dark\w*", _Kept(frozenset({"brightness"}))),
    (r"contrast", _Kept(frozenset({"contrast"}))),
    (r"sharp\w*|details?|focus|textures?", _Kept(frozenset({"sharpness"}))),
    (r"nois\w+|grain\w*", _Kept(frozenset({"denoise"}))),
    (r"shadows", _Kept(frozenset({"shadows"}))),
    (r"highlights", _Kept(frozenset({"highlights"}))),
    (r"warm\w*|temperature", _Kept(frozenset({"warmth"}))),
    (
        r"crop\w*|fram(e|ing)|composition|size|proportions|orientation|rotat\w+|flip\w*",
        _Kept(frozenset({"square", "rotate", "straighten", "flip-horizontal", "flip-vertical"})),
    ),
    (r"(every|any)thing else|(the )?(rest|else)", _Kept()),
    (r"vignett\w+", _Kept(frozenset({"vignette"}))),
)


def _kept(text: str) -> _Kept | None:
    """What a clause forbids; None when it is a wish. Raises `NotUnderstood`."""
    if not _KEEP.search(text) or _FAULTS.search(text) or re.search(r"\bonly\b.*\bfocus\b", text):
        return None
    for words, stays in _ASPECTS:
        if re.search(rf"\b({words})\b", text):
            if foreign := _foreign(text):
                raise NotUnderstood(foreign)
            return stays
    raise NotUnderstood(text)


# --- One clause -----------------------------------------------------------------------------


def _edit(clause: _Clause, previous: str) -> Edit:
    """The edit that a clause asks for; ``previous`` lends its verb to one without."""
    text = clause.text
    if not _has_verb(text) and (verb := _leading_verb(previous)):
        text = f"{verb} {text}"
    if _foreign(_without_amounts(text)):
        raise NotUnderstood(clause.said)
    name, sign = _nearest(text)
    if not name:
        raise NotUnderstood(clause.said)
    if _undone(text, name):
        raise NotUnderstood(clause.said)
    where = _where(text) if name not in _WHOLE_FRAME else "all"
    colour = None
    if name == "background-colour":
        colour = colour_in(text)
        if colour is None or not _background(text):
            raise NotUnderstood(clause.said)
    if name == "rotate":
        return Edit(name, _degrees(text))
    if name in _UP and re.search(r"(^|[ :])[-\N{MINUS SIGN}] ?\d", text):
        sign = -1  # "brightness -20"
    return Edit(name, sign * _amount(text, name), where, colour)


_RID = re.compile(
    r"\b(no|without|less|fewer|too|is|are|looks?|remov\w+|reduc\w+|clean\w*|rid|smooth\w*|fix"
    r"|denois\w+|lower|decrease|filter|suppress|noisy|grainy)\b"
)


def _undone(text: str, name: str) -> bool:
    """Whether a clause is near an edit, but asks for its opposite or for something else."""
    if name == "denoise":
        return not _RID.search(text)
    if name == "square":
        return not re.search(r"\b(square|1:1|1 ?(x|by|to) ?1|one (to|by) one)\b", text)
    if name == "shadows" and re.search(r"\bshadow\b(?! (areas?|parts?|details?|recovery))", text):
        return True  # one that a thing throws
    one_way = {"vignette", "sepia", "vintage", "fade", "blur-background"}
    return name in one_way and bool(re.search(r"\b(less|reduce|remove|get rid of|undo)\b", text))


_VERBS = re.compile(
    r"^(increase|decrease|reduce|lower|raise|boost|more|less|turn up|turn down|tone down|add|lift"
    r"|remove|fix|correct|improve|drop|cut)\b"
)


def _has_verb(text: str) -> bool:
    """Whether a clause is more than the name of something."""
    return not re.fullmatch(
        r"(the )?(brightness|contrast|saturation|sharpness|warmth|exposure|highlights|shadows|noise"
        r"|grain|clarity|colours?)",
        text.partition(" by ")[0],
    )


def _leading_verb(text: str) -> str:
    found = _VERBS.match(text)
    return found[0] if found else ""


def _nearest(text: str) -> tuple[str, int]:
    """The edit and its direction; "" when none is near enough."""
    if _background(text):
        if re.search(r"\b(blur\w*|out of focus|unfocused|defocus\w*|bokeh|soft(en|er)?)\b", text):
            return "blur-background", 1
        if colour_in(text) and not re.search(r"-and-white|\b(more|less|too)\b", text):
            return "background-colour", 1
    plain = _without_amounts(text)
    likeness = dict(meaning.nearest(plain, {**PHRASES, "": IMPOSSIBLE}))
    impossible = likeness.pop("")
    best, score, raw = "", -1.0, -1.0
    for signed, near in likeness.items():
        name = signed.rstrip("+-")
        keyed = name in _KEYWORDS and re.search(rf"\b({_KEYWORDS[name]})\b", text)
        if (near + _KEYWORD * bool(keyed)) > score:
            best, score, raw = signed, near + _KEYWORD * bool(keyed), near
    needed = _SURER if _strange(plain) else _SURE
    if score < needed or score < impossible + _AHEAD or raw < _SURE / 2:
        return "", 1
    name = best.rstrip("+-")
    return name, _direction(text, name) or (-1 if best.endswith("-") else 1)


def _direction(text: str, name: str) -> int:
    """1 for more, -1 for less, 0 when no word tells."""
    if name not in _UP:
        return 1
    text = re.sub(r"\bbright\w* (areas|parts|spots|regions)\b", "highlights", text)
    text = re.sub(r"\bdark\w* (areas|parts|spots|regions)\b", "shadows", text)
    if name == "highlights" and re.search(r"\b(recover|blown|burnt|clipped|save|back)\b", text):
        return -1
    up, down = _last(_UP[name], text), _last(rf"{_DOWN[name]}|low|weak|poor", text)
    named = re.search(rf"\b({_KEYWORDS[name]})\b", text)
    if up < 0 and down < 0 and not named:
        return 0
    sign = -1 if down > up else 1
    if _COMPLAINT.search(text) and not (sign > 0 and up < 0 and "too" not in text.split()):
        sign = -sign
    # Lower, less and softer shadows: the first is darker, the others are lighter.
    if name != "shadows" and _LESS.search(text):
        sign = -sign
    return sign


def _last(words: str, text: str) -> int:
    """Where the last of these words begins; -1 without one."""
    return max((found.start() for found in re.finditer(rf"\b({words})\b", text)), default=-1)


# --- Whose words these are ------------------------------------------------------------------


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DETERMINERS = _words_of(
    """
    the his her their my your our its this that these those a an some any every each all
    """
)
_SMALL = _words_of(
    """
    i me we it is are was were be been am to of in on at by for from with into onto as so than
    like which what when where there here and or not no do does did has have had can could
    should would will make makes made turn turned get give given let put set bring take go look
    looks looking feel feels seem seems appear appears become becomes got came come comes out up
    down off over under around more most less least much many very really way far quite too bit
    little lot lots touch tad hint slightly somewhat strongly heavily gently subtly subtle
    strong heavy light only about approximately nearly almost all whole entire both again back
    please percent per cent degrees degree deg one two three ten twenty thirty forty fifty
    ninety hundred half quarter twice double myself itself rather kind sort type style effect
    filter use apply create change convert transform want need try i'd
    """
)
_THINGS = _words_of(
    """
    image photo picture pic pics photos pictures images shot shots photograph snapshot scene
    frame colour colours tone tones tint hue hues light lighting lights background backdrop
    subject product foreground object item look feel feeling vibe mood atmosphere style effect
    filter touch bit little lot tad hint amount degree contrast brightness saturation sharpness
    warmth exposure shadows shadow highlights highlight whites white blacks black noise grain
    details detail texture edges corners corner borders horizon verticals tilt angle side way
    axis vignette blur bokeh focus temperature balance cast crop square format ratio turn
    rotation flip mirror quality clarity punch depth areas parts spots glow glare left right top
    bottom clockwise centre middle whole thing everything result version sepia monochrome
    greyscale grayscale kind sort haze finish fade dark night camera film person
    """
)
_DOING = _words_of(
    """
    blur brighten clean colour darken desaturate enhance fix flip improve increase lighten reduce
    remove rotate sharpen smooth soften straighten whiten
    """
)
_PERSONS = re.compile(
    r"\b(him|her|them|himself|herself|themselves|me|us|myself|his|hers|their)\b(?! photo| picture)"
)

_PLACES = re.compile(
    r"\b(left|right|upper|lower|top|bottom)(?: hand)? (side|half|part|third|area)"
    r"|\b(in|on|at) the (left|right|top|bottom|middle|centre|front|corner|distance)\b"
)
"""Places in the photo: no edit is for one of them."""


@cache
def _vocabulary() -> frozenset[str]:
    """Every word of the phrases, and small words around them."""
    known = set(_SMALL) | _THINGS | _DETERMINERS | set(_colour_names())
    for said in PHRASES.values():
        for phrase in said:
            known |= set(_words(phrase))
    return frozenset(known)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+(?:[-'][a-z]+)*", text)


def _strange(text: str) -> list[str]:
    """Words that no phrase has."""
    return [word for word in _words(text) if word not in _vocabulary()]


def _foreign(text: str) -> str | None:
    """The first thing in a clause that is neither the photo nor a part that can be told apart.

    "The hat", "his jacket": edits work on the whole photo, its subject or its background.
    """
    if somebody := _PERSONS.search(text) or _PLACES.search(text):
        return somebody[0]
    words = _words(text)
    if len(words) > 1 and words[0] in _DOING and words[1] not in _vocabulary():
        return words[1]  # "blur faces"
    for at, word in enumerate(words):
        if word not in _DETERMINERS:
            continue
        named: list[str] = []
        for following in words[at + 1 : at + 5]:
            if following in _DETERMINERS or following in {
                "of",
                "to",
                "in",
                "by",
                "on",
                "is",
                "with",
            }:
                break
            named.append(following)
        # "The rose" is a thing, but for a background it is a colour.
        known = _vocabulary() if _background(text) else _vocabulary() - _colour_names().keys()
        if not any(noun in _THINGS for noun in named) and set(named) - known:
            return " ".join([word, *named])
    return None


def _background(text: str) -> bool:
    return bool(
        re.search(r"\b(background|backdrop|behind)\b|\bon (a|an) [a-z ]*(surface|wall)\b", text)
    )


def _where(text: str) -> Where:
    """Which part of the photo a clause is about."""
    if _background(text):
        return "background"
    if re.search(
        r"\b(subject|foreground|person|(product|object|item)(?! (photo|image|picture|shot)))\b",
        text,
    ):
        return "subject"
    return "all"


# --- Amounts, degrees, colours --------------------------------------------------------------

_SLIGHT = (
    r"slight(ly)?|(just )?a (tiny |little )?(bit|little|touch|tad|hint|notch)|somewhat|subt(le|ly)"
    r"|gent(le|ly)|a little bit|mild(ly)?|minor|barely|softly|light(ly)"
)
_STRONG = (
    r"(much|way|far|a lot|lots|very|strong(ly)?|heav(y|ily)|significant(ly)?|really|extreme(ly)?"
    r"|dramatic(ally)?|intense(ly)?|super|massive(ly)?|considerabl[ey]|drastic(ally)?|hugely|max(imum)?)"
)
_PERCENT = re.compile(r"(\d+(?:[.,]\d+)?) ?(?:%|percent|per cent)")
_BARE = re.compile(r"(?:\bby |[+-])(\d+(?:[.,]\d+)?)(?![\d%°]| ?(?:deg|px|pixel|percent|per cent))")
_DEGREES = re.compile(r"(\d+(?:[.,]\d+)?) ?(?:°|º|deg(?:rees?)?\b)")
_NUMBERS = {
    "ten": 10,
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
    "forty-five": 45,
    "forty five": 45,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "ninety": 90,
    "hundred and eighty": 180,
    "one hundred eighty": 180,
    "two hundred seventy": 270,
    "five": 5,
}


def _amount(text: str, name: str) -> float:
    """How much of it, 0 to 1: as said in percent or in words, else what is usual."""
    if number := _PERCENT.search(text) or _BARE.search(text):
        return min(float(number[1].replace(",", ".")) / 100, 1.0)
    if name not in _USUAL:
        return 1.0
    usual = _USUAL[name]
    if re.search(r"\b(twice|double|completely|totally|fully)\b", text):
        return 1.0
    if re.search(r"\b(by half|half as|halve)\b", text):
        return 0.5
    slight, strong = re.search(rf"\b({_SLIGHT})\b", text), re.search(rf"\b({_STRONG})\b", text)
    if slight:
        return usual * (0.35 if strong else 0.5)
    return min(usual * 2, 1.0) if strong else usual


def _without_amounts(text: str) -> str:
    """A clause without what says how much, which only blurs what is meant."""
    bare = _DEGREES.sub(" degrees ", text)
    bare = re.sub(rf"\bby {_PERCENT.pattern}|{_PERCENT.pattern}|\bby \d+\S*", " ", bare)
    bare = re.sub(rf"\b({_SLIGHT})\b", " ", bare)
    bare = re.sub(rf"\b(so |not )?{_STRONG}\b(?! (areas|parts))", " ", bare)
    # "By a", "of", "some": what is left of an amount that was taken away.
    bare = re.sub(r"\b(by|of)\s*$", " ", " ".join(bare.split()))
    return " ".join(bare.split()) or text


def _degrees(text: str) -> float:
    """Degrees clockwise; a quarter turn when nothing is said."""
    angle: float = 90
    if number := _DEGREES.search(text) or _BARE.search(text):
        angle = float(number[1].replace(",", "."))
    elif re.search(r"\b(upside|half|around|head)\b", text):
        angle = 180
    else:
        spelled = [value for words, value in _NUMBERS.items() if re.search(rf"\b{words}\b", text)]
        angle = max(spelled, default=90)
    if re.search(r"\bcounterclockwise\b|\bleft\b", text):
        angle = -angle
    return (angle + 180) % 360 - 180 or 0.0


_MORE_COLOURS: dict[str, Colour] = {
    "off-white": (250, 249, 246),
    "cream": (255, 249, 230),
    "charcoal": (54, 69, 79),
    "mint": (152, 255, 205),
    "peach": (255, 218, 185),
    "burgundy": (128, 0, 32),
    "mustard": (225, 173, 1),
    "rose": (255, 182, 203),
    "sand": (226, 202, 160),
    "taupe": (139, 126, 116),
    "lilac": (200, 162, 200),
    "emerald": (80, 200, 120),
    "blush": (250, 218, 221),
    "terracotta": (204, 102, 68),
    "sage": (178, 190, 163),
}
_SHADES: dict[str, tuple[float, int]] = {
    "light": (0.55, 255),
    "pale": (0.65, 255),
    "pastel": (0.6, 255),
    "soft": (0.5, 255),
    "dark": (0.5, 0),
    "deep": (0.35, 0),
}
"""How far a shade moves a colour, and towards which level."""


@cache
def _colour_names() -> dict[str, Colour]:
    """Names of colours, in one word."""
    css = {name: ImageColor.getrgb(name)[:3] for name in ImageColor.colormap}
    return {**css, **_MORE_COLOURS, "green": (46, 139, 74), "grey": (128, 128, 128)}


def colour_in(text: str) -> Colour | None:
    """The colour that a text names: ``#rrggbb``, a CSS name in one word or two, a shade of one."""
    if exact := re.search(r"#([0-9a-f]{6}|[0-9a-f]{3})\b", text):
        return ImageColor.getrgb(exact[0])[:3]
    # Of two colours the last one is meant: "from white to black"; but not "instead of black".
    text = re.split(r"\b(?:instead|rather|not)\b", text.replace("black-and-white", ""))[0]
    words, names = _words(text), _colour_names()
    for before, word in reversed(list(pairwise(["", *words]))):
        if before + word in names:
            return names[before + word]
        if word in names and before in names:
            return names[before]  # "navy blue"
        if word in names:
            share, level = _SHADES.get(before, (0.0, 0))
            red, green, blue = (round(c + (level - c) * share) for c in names[word])
            return red, green, blue
    return None
