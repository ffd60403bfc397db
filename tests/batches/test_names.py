"""Names of files from strangers: safe on every disk, in every archive, and different."""

import unicodedata

import pytest

from batches.names import LONGEST_NAME, Names, clean_name, split_name

HOSTILE = [
    "../../etc/passwd",
    "..\\..\\windows\\system32\\cmd.exe",
    "/etc/shadow.png",
    "\\\\server\\share\\x.png",
    "C:\\autoexec.png",
    "C:evil.png",
    "a/b/../../c.png",
    "..",
    ".",
    "",
    "   ",
    "...png",
    "nul\0byte.png",
    "line\nbreak.png",
    "tab\there.png",
    "bell\a.png",
    "gpj.\u202eexe.png",
    "iso\u2066late\u2069.png",
    "mark\u200f.png",
    "zero\u200bwidth.png",
    "\ufeffbom.png",
    "line\u2028separator.png",
    "half\ud800surrogate.png",
    "CON",
    "con.png",
    "Aux.tar.gz",
    "COM1.jpg",
    "lpt9 .png",
    'what?*|<>:".png',
    "trailing dot.",
    "trailing space ",
    "x" * 400 + ".png",
    "é" * 400 + ".png",
    "\U0001f45f" * 400,
    "a." + "b" * 400,
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_becomes_a_harmless_one(name):
    clean = clean_name(name)

    assert clean
    assert len(clean.encode()) <= LONGEST_NAME
    assert not set(clean) & set('/\\<>:"|?*')
    assert not {unicodedata.category(character) for character in clean} & {"Cc", "Cf", "Cs", "Zl"}
    assert clean == clean.strip(" .")
    assert clean.split(".")[0].strip().lower() not in {"con", "aux", "com1", "lpt9", "nul"}


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_clean_name_stays_as_it_is(name):
    assert clean_name(clean_name(name)) == clean_name(name)


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("front.png", "front.png"),
        ("Schuh  (2).JPG", "Schuh  (2).JPG"),
        ("靴.webp", "靴.webp"),
        ("folder/front.png", "front.png"),
        ("C:\\pictures\\front.png", "front.png"),
        ("Zoe\u0308.png", "Zoë.png"),
        ("con.png", "_con.png"),
        ("constant.png", "constant.png"),
        ("..", "image"),
        ("x" * 400 + ".png", "x" * (LONGEST_NAME - 4) + ".png"),
    ],
)
def test_a_name_keeps_what_it_may(name, clean):
    assert clean_name(name) == clean


def test_cutting_a_long_name_breaks_no_character():
    clean = clean_name("\U0001f45f" * 400 + ".png")

    assert clean.endswith("\U0001f45f.png")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("front.png", ("front", ".png")),
        ("front", ("front", "")),
        (".png", (".png", "")),
        ("a.tar.gz", ("a.tar", ".gz")),
        ("v1. the long end of a sentence", ("v1. the long end of a sentence", "")),
    ],
)
def test_a_name_has_a_stem_and_an_extension(name, parts):
    assert split_name(name) == parts


def test_names_that_come_twice_are_numbered():
    names = Names()

    given = [names.unique(name) for name in ["a.png", "a.png", "a-2.png", "a.png", "a.jpg", "a"]]

    assert given == ["a.png", "a-2.png", "a-2-2.png", "a-3.png", "a.jpg", "a"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Front.PNG", "front.png"),
        ("Zo\u00eb.png", "Zoe\u0308.png"),
        ("STRASSE.png", "straße.png"),
    ],
    ids=["case", "accents", "folding"],
)
def test_names_that_a_disk_takes_for_the_same_are_told_apart(one, other):
    names = Names()
    names.unique(one)

    assert names.unique(other) == "-2.".join(other.rsplit(".", 1))


def test_a_taken_name_is_given_to_nobody():
    assert Names("manifest.json").unique("Manifest.JSON") == "Manifest-2.JSON"


def test_all_hostile_names_together_become_different_ones():
    names = Names()

    given = [names.unique(clean_name(name)) for name in HOSTILE * 2]

    assert len({unicodedata.normalize("NFC", name).casefold() for name in given}) == len(given)
