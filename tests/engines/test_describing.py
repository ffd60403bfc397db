"""Sentences: what is said, in which order, and how they fit."""

import string

import pytest
from PIL import Image

from tools import examples
from tools.engines import describing
from tools.engines.describing import Seen
from tools.engines.vocabulary import COLOURS, FRAMES, LANGUAGES, THINGS, on_background

CUP = Seen(
    thing="cup of coffee", translated=True, colours=("red", "beige", "black"), background="white"
)
CAT = Seen(thing="cat", translated=True, living=True, close_up=True, colours=("brown",))
WIDGET = Seen(colours=("dark blue", "grey"))
POSTER = Seen(
    thing="cup of coffee",
    translated=True,
    colours=("red",),
    text=(("FRESH COFFEE", 40), ("20% off today", 20), ("terms and conditions apply", 9)),
)


def said(seen, *, language="en", detail="detailed-caption", max_length=125, **more):
    return describing.sentence(
        seen, language=language, detail=detail, max_length=max_length, **more
    )


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (CUP, "A red and beige cup of coffee on a white background."),
        (CAT, "Close-up of a brown cat."),
        (WIDGET, "Image, mainly dark blue and grey."),
        (Seen(), "Image."),
        (Seen(faces=1, portrait=True, colours=("orange",)), "Portrait of a person in orange."),
        (Seen(faces=2), "Two people."),
        (Seen(faces=7), "7 people."),
        (Seen(thing="orange", translated=True), "An orange."),
        (Seen(thing="sunglasses", translated=True), "Sunglasses."),
        (Seen(thing="bus", colours=("orange",)), "An orange bus."),
        (Seen(black_and_white=True), "Image, in black and white."),
        (
            Seen(colours=("red",), background="orange"),
            "Image in red on an orange background.",
        ),
        (
            POSTER,
            "A red cup of coffee, with the text “FRESH COFFEE, 20% off today”.",
        ),
    ],
)
def test_it_reads_as_a_person_would_say_it(seen, sentence):
    assert said(seen) == sentence


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("de", "Tasse Kaffee in Rot und Beige vor weißem Hintergrund."),
        ("fr", "Tasse de café en rouge et beige sur fond blanc."),
        ("es", "Taza de café en rojo y beige sobre fondo blanco."),
        ("it", "Tazza di caffè in rosso e beige su sfondo bianco."),
        ("nl", "Kop koffie in rood en beige op een witte achtergrond."),
        ("pt", "Xícara de café em vermelho e bege sobre fundo branco."),
    ],
)
def test_it_is_said_in_other_languages(language, sentence):
    assert said(CUP, language=language) == sentence


def test_each_level_says_more():
    seen = Seen(**{**CUP.__dict__, "place": "left"})
    levels = [
        said(seen, detail=detail, max_length=300)
        for detail in ("caption", "detailed-caption", "more-detailed-caption")
    ]

    assert levels == [
        "A red cup of coffee.",
        "A red and beige cup of coffee on a white background.",
        "A red, beige and black cup of coffee on a white background, on the left of the picture.",
    ]


def test_small_print_is_for_the_longest_descriptions():
    assert "terms" not in said(POSTER, max_length=300)
    assert "terms" in said(POSTER, detail="more-detailed-caption", max_length=300)


def test_a_context_leads_and_is_not_repeated():
    assert said(CUP, context="Acme Gift Set") == (
        "Acme Gift Set: a red and beige cup of coffee on a white background."
    )
    assert said(WIDGET, context="Acme  Widget") == "Acme Widget, mainly dark blue and grey."
    assert said(CAT, context="Tom the cat") == "Tom the cat, mainly brown."
    assert said(CUP, context="Rosa Coffee", language="en", detail="caption") == (
        "Rosa Coffee in red."
    )


def test_keywords_come_last_where_there_is_room_and_only_once():
    sentence = said(CUP, keywords=["ceramic", "beige", "handmade"])

    assert sentence == "A red and beige cup of coffee on a white background, ceramic, handmade."
    assert said(CUP, max_length=62, keywords=["handmade in Portugal", "ceramic"]) == (
        "A red and beige cup of coffee on a white background, ceramic."
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("max_length", [30, 45, 60, 125, 500])
@pytest.mark.parametrize("context", ["", "The Extraordinarily Long Name of a Product by Acme Ltd"])
def test_it_is_never_too_long_and_ends_with_a_whole_word(language, max_length, context):
    for seen in (CUP, CAT, WIDGET, POSTER, Seen(), Seen(faces=3, text=POSTER.text)):
        for detail in ("caption", "detailed-caption", "more-detailed-caption"):
            sentence = said(
                seen,
                language=language,
                detail=detail,
                max_length=max_length,
                context=context,
                keywords=["handmade"],
            )
            whole = said(seen, language=language, detail=detail, max_length=9999, context=context)

            assert 1 < len(sentence) <= max_length
            last = sentence.rstrip(string.punctuation + "…”“»« ").rsplit(" ", 1)[-1]
            assert last in whole or last == "handmade"
            assert sentence[0].isupper()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_and_frame_is_there_in_every_language(language):
    for name in COLOURS:
        assert COLOURS[name][language]
        assert "{}" not in on_background(name, language)
    assert all(words[language] for words in THINGS.values())
    assert set(FRAMES[language].places) == {"left", "right", "top", "bottom"}
    assert FRAMES[language].text.count("{}") == 1


@pytest.mark.parametrize(
    ("text", "shortened"),
    [
        ("one two three", "one two…"),
        ("one, two", "one…"),
        ("one", "one"),
        ("abcdefghijkl", "abcdefgh…"),
    ],
)
def test_texts_are_cut_at_words(text, shortened):
    assert describing.shortened(text, 9 if len(text) > 9 else 5) == shortened


@pytest.mark.parametrize(
    ("given", "tidied"),
    [
        ('"A red cup."', "A red cup."),
        ("Alt text: an image of a red cup.", "A red cup."),
        ("**A photo showing** a red\ncup.", "A red cup."),
        ("A red cup. " + "It stands on a table. " * 9, "A red cup. It stands on a table."),
    ],
)
def test_what_a_model_says_is_tidied(given, tidied):
    assert describing.tidied(given, language="en", max_length=50) == tidied


@pytest.mark.weights
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("chelsea.png", "Close-up of a brown cat on a dark brown background."),
        (
            "astronaut.png",
            "Portrait of a person in orange and black on a light grey background.",
        ),
    ],
)
def test_real_photos_are_described(name, sentence):
    image = Image.open(examples.photo(name)).convert("RGB")

    assert said(describing.look(image)) == sentence


@pytest.mark.weights
def test_a_wall_of_one_colour_gets_an_honest_sentence():
    assert said(describing.look(Image.new("RGB", (90, 60), (20, 40, 80)))) == (
        "Image, mainly dark blue."
    )
