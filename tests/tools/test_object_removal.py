"""The tool around the hole: its mask, its models, what it says when it can't."""

import pytest
from PIL import Image

from batches import messages
from tools import registry
from tools.base import SettingsInvalid, ToolError
from tools.engines import generative, removing, weights

UPLOAD = "4be0643f-1d98-473b-97cd-ca98a65347dd"


@pytest.fixture
def tool():
    return registry.get("object-removal")


@pytest.fixture
def image() -> Image.Image:
    return Image.linear_gradient("L").resize((60, 40)).convert("RGB")


@pytest.fixture
def mask() -> Image.Image:
    mask = Image.new("L", (60, 40))
    mask.paste(255, (20, 10, 30, 20))
    return mask.convert("RGB")  # as the pipeline hands it over


@pytest.mark.parametrize("mask", [None, "", "the spoon"])
def test_a_mask_is_needed(tool, mask):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({} if mask is None else {"mask": mask})

    assert [wrong.field for wrong in caught.value.errors] == ["mask"]


@pytest.mark.parametrize("mask", [UPLOAD, "https://example.com/mask.png"])
def test_a_mask_is_an_upload_or_an_address(tool, mask):
    settings = tool.clean({"mask": mask})

    assert tool.image_settings(settings) == {"mask": mask}
    assert tool.max_price(settings) == 3


def test_only_what_the_mask_covers_changes(tool, image, mask):
    (output,) = tool.run(image, {**tool.defaults(), "mask": mask})

    outside = mask.convert("L").point([255] + [0] * 255)
    black = Image.new("RGB", image.size)
    assert (
        Image.composite(output.image, black, outside).tobytes()
        == Image.composite(image, black, outside).tobytes()
    )


def test_a_mask_of_another_size_fails_with_both_sizes(tool, image):
    with pytest.raises(ToolError) as caught:
        tool.refuse_size(image.size, tool.defaults(), {"mask": (30, 40)})

    assert (caught.value.code, caught.value.permanent) == ("mask_wrong_size", True)
    text = messages.text(caught.value.code, caught.value.params)
    assert "30 × 40 px, the image 60 × 40 px" in text


@pytest.mark.parametrize("model", ["patchmatch", "lama", "provider"])
@pytest.mark.parametrize(("colour", "code"), [("black", "mask_empty"), ("white", "mask_too_large")])
def test_a_mask_that_means_nothing_fails_with_every_model(tool, image, model, colour, code):
    settings = {**tool.defaults(), "mask": Image.new("RGB", image.size, colour), "model": model}

    with pytest.raises(ToolError) as caught:
        tool.run(image, settings)

    assert (caught.value.code, caught.value.permanent) == (code, True)
    assert messages.text(code) != messages.text("processing_failed")


def test_a_generative_model_gets_the_mask_in_black_and_white(tool, image, mask, monkeypatch):
    asked = {}

    def remove(picture, covered, *, model):
        asked.update(mode=covered.mode, levels=covered.getcolors(), model=model)
        return picture

    monkeypatch.setattr(generative, "remove", remove)

    tool.run(image, {**tool.defaults(), "mask": mask, "model": "provider"})

    assert asked == {"mode": "L", "levels": [(2300, 0), (100, 255)], "model": "provider"}


def test_patchmatch_needs_no_weights_and_lama_does(tool, no_weights):
    assert tool.unavailable_reason() is None
    assert "fetchweights lama" in tool.unavailable_reason({**tool.defaults(), "model": "lama"})
    assert tool.unavailable_reason({**tool.defaults(), "model": "diffusion"})


def test_a_result_remembers_what_filled_the_hole(tool):
    def version(model: str) -> str:
        return tool.version({**tool.defaults(), "model": model})

    assert version("patchmatch") == f"patchmatch {removing.PATCH}"
    assert version("lama") == weights.artefact("lama").version
