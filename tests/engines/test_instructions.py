"""What is understood of a sentence, and what is refused."""

from functools import cache

import pytest

from tests.engines.instruction_sentences import HELD_BACK, TUNED_ON
from tools.engines import instructions, photographic
from tools.engines.instructions import Edit, NotUnderstood, understand
from tools.engines.phrases import PHRASES

pytestmark = pytest.mark.weights


@cache
def meaning_of(sentence: str) -> str | None:
    """The edits in the notation of the lists; None when refused."""
    two_ways = {name.rstrip("+-") for name in PHRASES if name[-1] in "+-"}

    def short(edit: Edit) -> str:
        sign = ("+" if edit.amount > 0 else "-") if edit.name in two_ways else ""
        place = "" if edit.where == "all" else f"@{edit.where}"
        return f"{edit.name}{sign}{place}"

    try:
        return " ".join(sorted(map(short, understand(sentence))))
    except NotUnderstood:
        return None


def mistakes(sentences: list[tuple[str, str | None]]) -> dict[str, str | None]:
    found = {}
    for sentence, wanted in sentences:
        got = meaning_of(sentence)
        right = [" ".join(sorted(one.split())) for one in wanted.split("|")] if wanted else [None]
        if got not in right:
            found[sentence] = got
    return found


def test_sentences_that_were_never_tuned_on_are_understood():
    wrong = mistakes(HELD_BACK)

    assert len(HELD_BACK) >= 100
    assert len(wrong) <= 0.08 * len(HELD_BACK), wrong
    # To refuse what could be done is a pity; to do something else is a mistake.
    assert sum(got is not None for got in wrong.values()) <= 2, wrong


def test_nothing_that_can_not_be_done_is_done():
    wrong = mistakes([(sentence, None) for sentence, wanted in HELD_BACK + TUNED_ON if not wanted])

    assert wrong == {}


def test_sentences_that_were_tuned_on_are_understood():
    assert len(mistakes(TUNED_ON)) <= 1


@pytest.mark.parametrize(
    ("sentence", "amount"),
    [
        ("brighten it by 20%", 0.2),
        ("35 percent brighter", 0.35),
        ("brightness -20", -0.2),
        ("brighten it", 0.2),
        ("slightly brighter", 0.1),
        ("much brighter", 0.4),
        ("a little bit darker", -0.1),
        ("way too dark", 0.4),
        ("twice as bright", 1.0),
        ("900% brighter", 1.0),
        ("make it brighter, but not too much", 0.1),
    ],
)
def test_how_much_is_read_from_words_and_figures(sentence, amount):
    (edit,) = understand(sentence)

    assert edit == Edit("brightness", pytest.approx(amount))


@pytest.mark.parametrize(
    ("sentence", "degrees"),
    [
        ("rotate it", 90),
        ("rotate 90 degrees clockwise", 90),
        ("rotate by 12.5° counterclockwise", -12.5),
        ("turn it sideways by ninety degrees", 90),
        ("turn it upside down", -180),
        ("rotate to the left", -90),
        ("rotate 270 degrees", -90),
    ],
)
def test_degrees_are_clockwise(sentence, degrees):
    assert understand(sentence) == [Edit("rotate", degrees)]


@pytest.mark.parametrize(
    ("words", "colour"),
    [
        ("a navy blue background", (0, 0, 128)),
        ("change the background from white to black", (0, 0, 0)),
        ("a white background instead of a black one", (255, 255, 255)),
        ("put it on a #FC0 background", (255, 204, 0)),
        ("light grey background", (211, 211, 211)),
    ],
)
def test_a_background_has_the_colour_that_was_named(words, colour):
    assert understand(words) == [Edit("background-colour", colour=colour)]


def test_a_shade_is_lighter_or_darker_than_its_colour():
    (pale,) = understand("pale teal background")
    (deep,) = understand("deep teal background")

    assert sum(pale.colour) > sum((0, 128, 128)) > sum(deep.colour)


def test_the_verb_counts_for_what_comes_after_the_and():
    assert understand("reduce the contrast and saturation by 10%") == [
        Edit("contrast", -0.25),
        Edit("saturation", -0.1),
    ]


def test_what_is_said_twice_is_done_once():
    assert understand("it is too dark, please brighten it a lot") == [Edit("brightness", 0.4)]


def test_a_complaint_wants_the_opposite():
    assert understand("the colours look dull")[0].amount > 0
    assert understand("the photo is blurry") == [Edit("sharpness", 0.4)]
    assert understand("blur the photo") == [Edit("sharpness", -0.4)]


@pytest.mark.parametrize(
    ("sentence", "part"),
    [
        ("make it warmer and add a hat", "add a hat"),
        ("a bit brighter, and let him smile", "let him smile"),
        ("make it brighter, then make it darker", "make it brighter, make it darker"),
        ("warmer, but don't change the colours", "do not change the colours"),
        ("warmer, but leave her face alone", "leave her face alone"),
        ("don't touch the contrast", "don't touch the contrast"),
        ("...", "..."),
    ],
)
def test_what_was_not_understood_is_named(sentence, part):
    with pytest.raises(NotUnderstood) as caught:
        understand(sentence)

    assert caught.value.part == part


def test_what_must_stay_limits_the_others_to_the_rest():
    assert understand("brighten it, but keep the background as it is") == [
        Edit("brightness", 0.2, "subject")
    ]


def test_every_edit_that_can_be_understood_can_be_done():
    names = {name.rstrip("+-") for name in PHRASES}

    assert names == set(photographic._ORDER)
    assert set(instructions._KEYWORDS) <= names
