"""Settings: one class for JSON, forms and spreadsheet rows."""

import json

import pytest
from django.http import QueryDict
from rest_framework import serializers

from tools.base import ColourField, ImageSettings, SettingError, SettingsInvalid, Tool, ToolSettings


class SampleTool(Tool):
    slug = "sample"
    name = "Sample"
    description = "For tests."

    class Settings(ImageSettings):
        soft = serializers.BooleanField(default=True, label="Soft edges")
        scale = serializers.ChoiceField(choices=[(2, "2x"), (4, "4x")], default=2)
        strength = serializers.FloatField(min_value=0, max_value=1, default=0.5)
        prompt = serializers.CharField(max_length=20, required=False, allow_blank=True, default="")
        colour = ColourField(default="transparent")


class DemandingTool(Tool):
    slug = "demanding"
    name = "Demanding"
    description = "For tests."

    class Settings(ToolSettings):
        prompt = serializers.CharField(max_length=20, help_text="What to make of it.")
        size = serializers.IntegerField(default=512)


@pytest.fixture
def tool():
    return SampleTool()


def problems(tool, data, **how) -> list[SettingError]:
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean(data, **how)
    return caught.value.errors


# --- The three habits of serializers that are put right ----------------------------------------


def test_a_checkbox_that_is_on_by_default_can_be_switched_off_in_a_form(tool):
    assert tool.clean(QueryDict("scale=2"))["soft"] is False
    assert tool.clean(QueryDict("scale=2&soft=true"))["soft"] is True


def test_a_checkbox_that_json_does_not_mention_keeps_its_default(tool):
    assert tool.clean({"scale": 2})["soft"] is True


def test_a_form_that_nobody_has_sent_shows_the_defaults():
    shown = SampleTool.Settings().data

    assert shown["soft"] is True
    assert shown["scale"] == 2
    assert shown["colour"] == "transparent"


def test_a_name_that_is_no_setting_is_an_error(tool):
    assert problems(tool, {"sacle": 4}) == [
        SettingError("sacle", "unknown_setting", "Unknown setting.")
    ]


def test_an_unknown_name_does_not_hide_what_else_is_wrong(tool):
    wrong = problems(tool, {"sacle": 4, "strength": 2})

    assert [error.field for error in wrong] == ["sacle", "strength"]


def test_a_form_may_hold_more_than_settings(tool):
    clean = tool.clean(QueryDict("csrfmiddlewaretoken=x&urls=https://example.com&scale=4"))

    assert clean["scale"] == 4
    assert "urls" not in clean


# --- Cleaning ----------------------------------------------------------------------------------


def test_nothing_said_gives_the_defaults(tool):
    assert tool.clean({}) == tool.defaults()
    assert tool.defaults() == {
        "soft": True,
        "scale": 2,
        "strength": 0.5,
        "prompt": "",
        "colour": "transparent",
        "format": "png",
        "quality": None,
    }


def test_clean_settings_survive_json(tool):
    clean = tool.clean({"scale": 4, "strength": 1, "colour": "#FFAA00"})

    assert json.loads(json.dumps(clean)) == clean
    assert tool.clean(json.loads(json.dumps(clean))) == clean


def test_a_spreadsheet_row_says_the_same_in_words(tool):
    row = {"soft": "NO", "scale": "4", "strength": "0.25", "quality": "80"}

    clean = tool.clean(row)

    assert (clean["soft"], clean["scale"], clean["strength"], clean["quality"]) == (
        False,
        4,
        0.25,
        80,
    )


def test_an_items_settings_go_over_its_batchs_settings(tool):
    batch = tool.clean({"scale": 4, "soft": False})

    item = tool.clean({"strength": 0.1, "soft": True}, base=batch)

    assert item == {**batch, "strength": 0.1, "soft": True}


def test_a_form_over_other_settings_changes_only_what_it_shows(tool):
    batch = tool.clean({"scale": 4, "colour": "#ffffff"})

    item = tool.clean(QueryDict("strength=0.1&soft=on"), base=batch)

    assert (item["scale"], item["colour"], item["strength"]) == (4, "#ffffff", 0.1)


def test_base_settings_are_left_alone(tool):
    batch = tool.defaults()

    tool.clean({"scale": 4}, base=batch)

    assert batch == tool.defaults()


@pytest.mark.parametrize("data", [None, [], "png", 3])
def test_what_is_no_object_is_refused_as_a_whole(tool, data):
    (wrong,) = problems(tool, data)

    assert (wrong.field, wrong.code) == ("", "invalid")


def test_a_blank_field_of_a_form_means_nothing_was_said(tool):
    clean = tool.clean(QueryDict("quality=&scale=&prompt="))

    assert (clean["quality"], clean["scale"], clean["prompt"]) == (None, 2, "")


def test_wrong_settings_can_be_shown_again(tool):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({"strength": "7", "scale": "4"})

    assert caught.value.bound.data["strength"] == "7"
    assert caught.value.bound.data["scale"] == "4"
    assert list(caught.value.bound.errors) == ["strength"]


def test_every_error_has_a_code_and_words(tool):
    wrong = problems(tool, {"scale": 3, "quality": 101, "soft": "perhaps", "prompt": "x" * 21})

    assert {error.field: error.code for error in wrong} == {
        "scale": "invalid_choice",
        "quality": "max_value",
        "soft": "invalid",
        "prompt": "max_length",
    }
    assert all(error.detail for error in wrong)


def test_a_setting_without_a_default_is_asked_for():
    assert [error.code for error in problems(DemandingTool(), {})] == ["required"]


def test_what_must_be_said_has_no_default():
    assert DemandingTool().defaults() == {"size": 512}


# --- Colours -----------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["#fff", "red", "#ffffff0", "#gggggg", "#ffffff\n#", ""])
def test_what_is_no_colour_is_refused(tool, colour):
    assert [error.field for error in problems(tool, {"colour": colour})] == ["colour"]


def test_a_colour_is_kept_in_lower_case(tool):
    assert tool.clean({"colour": "#FFAA00"})["colour"] == "#ffaa00"


@pytest.mark.parametrize(
    ("form", "colour"),
    [
        ("colour=%23ffffff&colour=", "#ffffff"),
        ("colour=&colour=%23ABCDEF", "#abcdef"),
        ("colour=transparent&colour=%23abcdef", "transparent"),
        ("scale=2", "transparent"),
    ],
    ids=["offered", "other", "offered-with-a-forgotten-other", "not-shown"],
)
def test_a_form_gives_an_offered_colour_or_another(tool, form, colour):
    assert tool.clean(QueryDict(form))["colour"] == colour


def test_choosing_other_without_saying_which_is_an_error(tool):
    assert [error.field for error in problems(tool, QueryDict("colour=&colour="))] == ["colour"]


# --- The schema --------------------------------------------------------------------------------


def test_the_schema_says_what_the_settings_say(tool):
    schema = tool.settings_schema()

    assert schema["additionalProperties"] is False
    assert "required" not in schema
    assert schema["properties"]["soft"] == {
        "type": "boolean",
        "default": True,
        "title": "Soft edges",
    }
    assert schema["properties"]["scale"] == {
        "type": "integer",
        "enum": [2, 4],
        "default": 2,
        "title": "Scale",
    }
    assert schema["properties"]["strength"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.5,
        "title": "Strength",
    }
    assert schema["properties"]["quality"]["type"] == ["integer", "null"]
    assert schema["properties"]["prompt"]["maxLength"] == 20
    assert schema["properties"]["colour"]["pattern"] == "^(transparent|#[0-9a-fA-F]{6})$"


def test_the_schema_names_what_must_be_given():
    schema = DemandingTool().settings_schema()

    assert schema["required"] == ["prompt"]
    assert schema["properties"]["prompt"]["description"] == "What to make of it."


def test_a_kind_of_field_that_the_schema_does_not_know_is_an_error_and_not_a_guess():
    class OddTool(SampleTool):
        class Settings(ToolSettings):
            when = serializers.DateField(default=None)

    with pytest.raises(TypeError, match="DateField"):
        OddTool().settings_schema()


def test_format_and_quality_come_after_a_tools_own_settings():
    assert list(SampleTool.Settings().fields)[-2:] == ["format", "quality"]
