"""Asking a model that looks at pictures, over real HTTP."""

import json

import pytest
from PIL import Image

from tests.engines import service as services
from tests.engines.service import page, status, truncated
from tools.engines import remote, vision_language
from tools.engines.vision_language import Configuration

COFFEE = Image.new("RGB", (60, 40), (90, 60, 30))


@pytest.fixture(autouse=True)
def looker(service, patience, monkeypatch):
    """The service as the model that is set up."""
    chosen = Configuration(service.url, "looker", services.KEY, patience)
    monkeypatch.setattr(vision_language, "_configuration", chosen)
    return service


def describe(image: Image.Image = COFFEE) -> str:
    return vision_language.describe(image, instruction="What is this?", max_tokens=50)


def test_the_model_is_asked_about_the_picture_and_its_words_come_back(looker):
    looker.said = "  A cup of coffee.\n"

    assert describe() == "A cup of coffee."
    (seen,) = looker.seen
    assert seen.given["max_tokens"] == 50
    assert seen.given["temperature"] == 0
    assert seen.given["messages"][0]["content"][0]["text"] == "What is this?"
    assert seen.files["image"].size == (60, 40)


def test_a_base_address_may_end_with_a_slash(looker, monkeypatch):
    chosen = Configuration(f"{looker.url}/", "looker", services.KEY)
    monkeypatch.setattr(vision_language, "_configuration", chosen)

    assert describe()


def test_a_large_picture_is_sent_reduced(looker):
    describe(Image.new("RGB", (4000, 2000)))

    assert looker.seen[0].files["image"].size == (1024, 512)
    assert looker.seen[0].files["image"].format == "JPEG"


def test_what_is_see_through_is_sent_on_white(looker):
    describe(Image.new("RGBA", (50, 50), (255, 0, 0, 0)))

    assert looker.seen[0].files["image"].getpixel((25, 25)) == (255, 255, 255)


def test_the_picture_itself_stays_as_it_is(looker):
    image = Image.new("RGB", (2000, 10))

    describe(image)

    assert image.size == (2000, 10)


def test_a_model_that_takes_no_max_tokens_is_asked_in_its_own_words(looker):
    looker.takes_max_tokens = False

    assert describe() == "A cup of coffee."
    assert looker.seen[1].given["max_completion_tokens"] == 50
    assert "temperature" not in looker.seen[1].given


@pytest.mark.parametrize(
    "said",
    [
        [{"type": "text", "text": "A cup "}, {"type": "text", "text": "of coffee."}],
        "<think>It is brown, so…</think>\n\nA cup of coffee.",
    ],
)
def test_other_ways_to_say_it_are_understood(looker, said):
    looker.said = said

    assert describe() == "A cup of coffee."


@pytest.mark.parametrize("said", ["", "  ", None, 7, "<think>It is brown, so"])
def test_an_answer_without_words_is_a_bad_answer(looker, said):
    looker.said = said

    with pytest.raises(remote.BadAnswer):
        describe()


@pytest.mark.parametrize(
    "content", [{}, {"choices": []}, {"choices": [{}]}, {"choices": {"0": 1}}, {"choices": [7]}]
)
def test_an_answer_of_another_shape_is_a_bad_answer(looker, content):
    looker.faults = [page(json.dumps(content).encode())]

    with pytest.raises(remote.BadAnswer):
        describe()


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": None, "refusal": "I can't."}},
        {"message": {"content": ""}, "finish_reason": "content_filter"},
    ],
)
def test_a_model_may_decline(looker, choice):
    looker.faults = [page(json.dumps({"choices": [choice]}).encode())]

    with pytest.raises(remote.ContentRefused):
        describe()


def test_looking_twice_does_no_harm(looker):
    looker.faults = [truncated, status(429, retry_after="0")]

    assert describe() == "A cup of coffee."
    assert len(looker.seen) == 3


def test_a_wrong_key_is_refused(looker, monkeypatch, patience):
    chosen = Configuration(looker.url, "looker", "sk-wrong", patience)
    monkeypatch.setattr(vision_language, "_configuration", chosen)

    with pytest.raises(remote.Refused, match="401"):
        describe()


def test_without_settings_it_names_them_and_refuses(monkeypatch):
    monkeypatch.setattr(vision_language, "_configuration", Configuration())

    assert vision_language.missing() == (
        "No vision language model is set up. Set STUDIO_VLM_URL and STUDIO_VLM_MODEL."
    )
    with pytest.raises(remote.NotSetUp, match="STUDIO_VLM_URL"):
        describe()


def test_with_settings_nothing_is_missing_and_results_say_who_looked(looker):
    assert vision_language.missing() is None
    assert vision_language.version() == f"looker at {looker.address.removeprefix('http://')}"


def test_the_key_is_not_shown():
    assert "sk-" not in repr(Configuration("https://a.example/v1", "looker", "sk-1"))
