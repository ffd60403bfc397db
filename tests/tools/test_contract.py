"""What must hold for every tool there is. A new tool is tested here without a new line."""

import json
import re
from typing import Any

import jsonschema
import pytest
from django.utils import translation
from PIL import Image

from batches.models import Item
from tests.tools.forms import Form
from tools import registry
from tools.base import ImageSetting, Output, SettingsInvalid, Tool
from tools.engines import weights
from tools.templatetags.tool_settings import settings_fields

ANY_UPLOAD = "0a6d3a34-1c11-4d4b-8a64-3d2d1c5d2b11"
SIZES = [(None, None), (1, 1), (640, 480), (4000, 3000), (7000, 7000)]


@pytest.fixture(params=[tool.slug for tool in registry.all()])
def tool(request) -> Tool:
    return registry.get(request.param)


def usual(tool: Tool) -> dict[str, Any]:
    """The defaults, with something for what has none: the example's, or any upload."""
    settings = tool.defaults()
    for name, field in tool.Settings().fields.items():
        if name not in settings:
            settings[name] = (
                ANY_UPLOAD if isinstance(field, ImageSetting) else (tool.example.settings[name])
            )
    return settings


def picture(mode: str, width: int, height: int) -> Image.Image:
    bands = [
        Image.radial_gradient("L").resize((width, height)),
        Image.linear_gradient("L").resize((width, height)),
        Image.linear_gradient("L").rotate(90).resize((width, height)),
        Image.radial_gradient("L").rotate(45).resize((width, height)),
    ]
    return Image.merge(mode, bands[: len(mode)])


PICTURES = [
    picture(mode, width, height)
    for mode in ("RGB", "RGBA")
    for width, height in ((64, 48), (8, 8), (500, 8), (8, 500))
]


def test_its_slug_fits_addresses_and_columns(tool):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", tool.slug)
    assert len(tool.slug) <= 50


def test_it_has_a_name_and_a_sentence(tool):
    assert str(tool.name)
    assert str(tool.description).endswith(".")


def test_it_runs_on_known_engines_and_for_a_bounded_time(tool):
    assert tool.engines
    assert set(tool.engines) <= {"gpu", "cpu"}
    assert 0 < tool.timeout <= 3600


def test_its_defaults_are_valid_and_stay_what_they_are(tool):
    settings = usual(tool)

    assert tool.clean(settings) == settings
    assert tool.clean({}, base=settings) == settings


def test_its_settings_survive_json(tool):
    settings = usual(tool)

    assert tool.clean(json.loads(json.dumps(settings, allow_nan=False))) == settings


def test_its_settings_survive_a_spreadsheet_row(tool):
    settings = usual(tool)
    row = {name: str(value) for name, value in settings.items() if value not in (None, "")}

    assert tool.clean(row) == settings


def test_its_settings_survive_a_form(tool):
    settings = usual(tool)
    form = Form(settings_fields(tool, settings))

    assert tool.clean(form.sent()) == settings


def test_unknown_settings_are_refused(tool):
    with pytest.raises(SettingsInvalid, match="no_such_setting"):
        tool.clean({"no_such_setting": 1})


def test_its_schema_is_a_schema_and_agrees_with_its_settings(tool):
    schema = json.loads(json.dumps(tool.settings_schema()))

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(usual(tool), schema)
    assert list(schema["properties"]) == list(tool.Settings().fields)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**usual(tool), "no_such_setting": 1}, schema)


def test_its_price_is_whole_and_never_above_the_highest(tool):
    settings = usual(tool)

    highest = tool.max_price(settings)

    assert isinstance(highest, int)
    for width, height in SIZES:
        price = tool.price_for(settings, width=width, height=height)
        assert isinstance(price, int)
        assert 0 <= price <= highest


def test_its_price_rules_are_what_it_charges(tool):
    for rule in tool.price_rules():
        settings = {**usual(tool), **rule["when"]}

        assert tool.price_for(settings) == rule["credits"]
        assert set(rule["when"]) <= set(tool.Settings().fields)


def test_it_says_what_made_a_result(tool):
    assert 0 < len(tool.version(usual(tool))) <= Item._meta.get_field("model_version").max_length


def test_the_weights_it_names_are_in_the_manifest(tool):
    assert set(tool.artefacts) <= set(weights.MANIFEST)


def test_without_weights_it_says_which_command_brings_them(tool, no_weights):
    reason = tool.unavailable_reason()

    # A tool may do without some of its weights.
    assert reason is None or "`manage.py fetchweights " in reason
    assert reason is None or tool.artefacts


def test_its_form_is_labelled_and_free_of_styles_and_scripts(tool):
    html = settings_fields(tool)
    form = Form(html)

    assert {given["name"] for _, given in form.controls} == set(tool.Settings().fields)
    assert len(form.ids) == len(set(form.ids))
    labelled = {given["for"] for tag, given in form.tags if tag == "label" and "for" in given}
    for _, given in form.controls:
        assert given["id"] in labelled or given.get("aria-label"), given
    for _, given in form.tags:
        described = (given.get("aria-describedby") or "").split()
        assert set(described) <= set(form.ids)
        assert not [name for name in given if name == "style" or name.startswith("on")]
    assert "<script" not in html


def test_its_form_comes_in_any_language(tool):
    with translation.override("de"):
        assert settings_fields(tool)


@pytest.mark.parametrize(
    "image", PICTURES, ids=lambda image: f"{image.mode}-{image.width}x{image.height}"
)
def test_it_makes_what_it_promises_of_every_picture(tool, image, faked_engine):
    before = image.tobytes()

    if min(image.size) < tool.min_side:
        return  # it never comes to that
    outputs = tool.run(image, run_settings(tool, image))

    assert outputs
    for output in outputs:
        made = {"image": output.image, "text": output.text, "json": output.data}
        assert [kind for kind, value in made.items() if value is not None] == [tool.output]
        if tool.output == "image":
            assert output.image.mode in {"RGB", "RGBA"}
        if tool.output == "json":
            assert json.loads(json.dumps(output.data, allow_nan=False)) == output.data
        for note in output.notes:
            assert str(note)
            json.dumps(note.params, allow_nan=False)
    assert image.tobytes() == before


@pytest.mark.parametrize("image", PICTURES[:1], ids=["RGB"])
def test_the_same_picture_and_settings_give_the_same_bytes(tool, image, faked_engine):
    first, second = (tool.run(image, run_settings(tool, image)) for _ in range(2))

    assert [_bytes(output) for output in first] == [_bytes(output) for output in second]


def run_settings(tool: Tool, image: Image.Image) -> dict[str, Any]:
    """What the tool gets in a run, pictures in place of what names them."""
    drawn = (
        {name: draw(image) for name, draw in tool.example.images.items()} if tool.example else {}
    )
    return {**usual(tool), **drawn}


def _bytes(output: Output) -> object:
    return output.image.tobytes() if output.image else (output.text, output.data)
