"""The tool around the engine: settings, prices, what it says when it can't."""

import pytest
from PIL import Image

from tools import registry
from tools.base import SettingsInvalid
from tools.engines import matting, weights


@pytest.fixture
def tool():
    return registry.get("remove-background")


def test_the_defaults_are_u2net_on_nothing_as_png(tool):
    assert tool.defaults() == {
        "model": "u2net",
        "background": "transparent",
        "crop": False,
        "margin": 5,
        "alpha_matting": False,
        "format": "png",
        "quality": None,
    }


@pytest.mark.parametrize(
    ("model", "price"),
    [("u2net", 1), ("u2netp", 1), ("silueta", 1), ("isnet", 2), ("birefnet-general", 2)],
)
def test_a_model_has_one_price_for_every_size(tool, model, price):
    settings = tool.clean({"model": model})

    assert tool.price_for(settings) == price
    assert tool.price_for(settings, width=8000, height=6000) == price
    assert tool.max_price(settings) == price


def test_the_finer_models_cost_more(tool):
    assert tool.price_rules() == [
        {"when": {"model": model}, "credits": 2}
        for model in ("isnet", "isnet-general-use", "birefnet-general")
    ]


def test_every_model_works_on_this_machine(tool):
    """Nothing is sent anywhere: each has weights that are pinned."""
    models = tool.Settings().fields["model"].choices

    assert {weights.artefact(matting.MODELS[model].weights).name for model in models} == set(models)


@pytest.mark.parametrize("margin", [-1, 51, "wide"])
def test_a_margin_that_makes_no_sense_is_refused(tool, margin):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({"crop": True, "margin": margin})

    assert caught.value.errors[0].field == "margin"


def test_the_picture_is_cropped_where_that_is_asked_for(tool, faked_engine):
    image = Image.linear_gradient("L").convert("RGB").resize((400, 300))

    (whole,) = tool.run(image, tool.clean({"margin": 50}))
    (cropped,) = tool.run(image, tool.clean({"crop": True, "margin": 0}))

    assert whole.image.size == (400, 300)
    assert cropped.image.width < 400
    assert cropped.image.height < 300


def test_soft_edges_need_no_other_weights(tool, faked_engine):
    image = Image.linear_gradient("L").convert("RGB").resize((90, 60))

    (cut,) = tool.run(image, tool.clean({"alpha_matting": True}))

    assert (cut.image.mode, cut.image.size) == ("RGBA", (90, 60))


def test_jpg_can_not_be_transparent(tool):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({"format": "jpg"})

    (wrong,) = caught.value.errors
    assert (wrong.field, wrong.code) == ("format", "transparent_jpg")
    assert "Choose PNG, WebP or AVIF, or set a background colour." in wrong.detail


def test_jpg_on_a_colour_is_fine_until_an_item_asks_for_nothing(tool):
    batch = tool.clean({"format": "jpg", "background": "#ffffff"})

    with pytest.raises(SettingsInvalid, match="JPG can't be transparent"):
        tool.clean({"background": "transparent"}, base=batch)


def test_a_result_remembers_which_weights_made_it(tool):
    assert tool.version(tool.clean({"model": "u2netp"})) == "u2netp 309c8469258d"


def test_a_model_whose_weights_are_missing_is_named_with_the_command(tool, no_weights):
    reason = tool.unavailable_reason(tool.clean({"model": "isnet"}))

    assert reason == "The weights of isnet are not here. Run `manage.py fetchweights isnet`."


def test_an_opt_in_model_that_is_missing_does_not_take_the_tool_down(tool, pretended_weights):
    pretended_weights("u2net")

    assert tool.unavailable_reason() is None
    assert tool.unavailable_reason(tool.clean({"model": "isnet"})) is not None


def test_truncated_weights_make_the_tool_unavailable(tool, no_weights):
    folder = weights.weights_folder()
    folder.mkdir()
    (folder / "u2net.onnx").write_bytes(b"half")

    reason = tool.unavailable_reason()

    assert reason == "The weights of u2net are damaged. Run `manage.py fetchweights u2net`."


def test_the_background_decides_the_mode_of_the_result(tool, faked_engine):
    image = Image.new("RGB", (40, 30), (200, 10, 10))
    image.paste((250, 10, 10), (10, 5, 30, 25))

    (cut,) = tool.run(image, tool.defaults())
    (flat,) = tool.run(image, tool.clean({"background": "#00ff00"}))

    assert (cut.image.mode, cut.image.getpixel((0, 0))[3]) == ("RGBA", 0)
    assert (flat.image.mode, flat.image.getpixel((0, 0))) == ("RGB", (0, 255, 0))
    assert flat.image.getpixel((20, 15))[0] > 150


def test_warming_loads_the_default_model(tool, monkeypatch):
    loaded = []
    monkeypatch.setattr(weights, "session", loaded.append)

    tool.warm()

    assert loaded == ["u2net"]
