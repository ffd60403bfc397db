"""What sentences mean: near ones are near, and nothing else has a say in it."""

import numpy as np
import pytest

from tools.engines import meaning, weights

pytestmark = pytest.mark.weights

ROOMS = {
    "kitchen": ["a kitchen worktop", "a table where meals are cooked"],
    "beach": ["sand and sea", "a sunny beach"],
    "office": ["a desk with a computer"],
}


def test_a_sentence_is_a_row_of_length_one():
    rows = meaning.embed(["a red chair", "", "x" * 5000])

    assert rows.shape == (3, meaning.DIMENSIONS)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0)


def test_no_sentences_are_no_rows():
    assert meaning.embed([]).shape == (0, meaning.DIMENSIONS)


def test_a_sentence_means_the_same_in_every_company():
    alone = meaning.embed(["make it brighter"])
    among = meaning.embed(["a very long sentence about nothing at all", "make it brighter"])

    assert np.array_equal(alone[0], among[1])


@pytest.mark.parametrize(
    ("sentence", "room"),
    [
        ("next to the stove", "kitchen"),
        ("by the ocean in the summer", "beach"),
        ("at work, beside a keyboard", "office"),
    ],
)
def test_the_nearest_phrase_names_its_meaning(sentence, room):
    found = meaning.nearest(sentence, ROOMS)

    assert found[0][0] == room
    assert [likeness for _, likeness in found] == sorted((x for _, x in found), reverse=True)
    assert {name for name, _ in found} == set(ROOMS)


def test_a_phrase_itself_could_not_be_nearer():
    assert meaning.nearest("SAND and sea", ROOMS)[0] == ("beach", pytest.approx(1.0))


def test_a_name_without_phrases_is_left_out():
    assert [name for name, _ in meaning.nearest("a chair", {"none": [], "seat": ["a seat"]})] == [
        "seat"
    ]


def test_phrases_are_read_once(monkeypatch):
    meaning.nearest("a chair", ROOMS)
    read = []
    real = meaning._embed_one
    monkeypatch.setattr(meaning, "_embed_one", lambda text: read.append(text) or real(text))

    meaning.nearest("a table", dict(ROOMS))

    assert read == ["a table"]


@pytest.mark.parametrize("name", meaning.ARTEFACTS)
def test_without_its_weights_the_error_names_the_command(name, tmp_path, monkeypatch):
    for other in set(meaning.ARTEFACTS) - {name}:
        (tmp_path / weights.path(other).name).symlink_to(weights.path(other).absolute())
    monkeypatch.setattr(weights, "_folder", tmp_path)

    with pytest.raises(weights.WeightsMissing, match=f"fetchweights {name}"):
        meaning.embed(["a chair"])
