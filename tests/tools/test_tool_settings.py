"""Settings as a form."""

import pytest
from django.http import QueryDict
from django.template import Context, Template
from rest_framework import serializers

from tests.tools.forms import Form
from tools import registry
from tools.base import (
    ColourField,
    ImageSetting,
    ImageSettings,
    SettingsInvalid,
    Tool,
    ToolSettings,
)
from tools.templatetags.tool_settings import settings_fields


class SampleTool(Tool):
    slug = "sample"
    name = description = "Sample"

    class Settings(ImageSettings):
        soft = serializers.BooleanField(default=True, label="Soft <edges>")
        scale = serializers.ChoiceField(choices=[(2, "2x"), (4, "4x")], default=2)
        strength = serializers.FloatField(min_value=0, max_value=1, default=0.5)
        prompt = serializers.CharField(max_length=20, default="a & b", help_text="Say what.")
        colour = ColourField(default="#123456", style={"swatches": [("#ffffff", "White")]})


class BackdropField(ImageSetting):
    def to_internal_value(self, data):
        return "blur" if data == "blur" else super().to_internal_value(data)


@pytest.fixture
def tool():
    return SampleTool()


def control(form: Form, **wanted) -> dict[str, str | None]:
    (found,) = [
        given for _, given in form.tags if all(given.get(k) == v for k, v in wanted.items())
    ]
    return found


def test_a_template_renders_the_defaults(tool):
    template = Template("{% load tool_settings %}{% settings_fields tool %}")

    form = Form(template.render(Context({"tool": tool})))

    assert control(form, id="setting-strength")["value"] == "0.5"
    assert "checked" in control(form, id="setting-soft")
    assert "selected" in control(form, value="2")
    assert control(form, id="setting-prompt")["value"] == "a & b"


def test_given_settings_are_shown(tool):
    clean = tool.clean({"scale": 4, "soft": False, "quality": 80, "colour": "#ffffff"})

    form = Form(settings_fields(tool, clean))

    assert "selected" in control(form, value="4")
    assert "checked" not in control(form, id="setting-soft")
    assert control(form, id="setting-quality")["value"] == "80"
    assert "checked" in control(form, value="#ffffff")
    assert tool.clean(form.sent()) == clean


def test_a_colour_that_is_not_offered_stands_in_the_text_field(tool):
    form = Form(settings_fields(tool))

    assert control(form, id="setting-colour")["value"] == "#123456"
    assert "checked" in control(form, id="setting-colour-other")
    assert tool.clean(form.sent())["colour"] == "#123456"


def test_what_was_wrong_is_shown_with_its_reason(tool):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean(QueryDict("strength=7&scale=4"))

    form = Form(settings_fields(tool, caught.value.bound))

    strength = control(form, id="setting-strength")
    assert (strength["value"], strength["aria-invalid"]) == ("7", "true")
    assert strength["aria-describedby"] == "setting-strength-error"
    assert "less than or equal to 1" in form.text
    assert "selected" in control(form, value="4")
    assert "aria-invalid" not in control(form, id="setting-scale")


def test_what_was_not_sent_is_shown_with_its_default(tool):
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean({"strength": 7})

    form = Form(settings_fields(tool, caught.value.bound))

    assert "selected" in control(form, value="2")
    assert control(form, id="setting-prompt")["value"] == "a & b"


def test_limits_are_told_to_the_browser(tool):
    form = Form(settings_fields(tool))

    strength = control(form, id="setting-strength")
    assert (strength["min"], strength["max"], strength["step"]) == ("0", "1", "any")
    assert control(form, id="setting-quality")["step"] == "1"
    assert control(form, id="setting-prompt")["maxlength"] == "20"


def test_help_is_tied_to_its_field(tool):
    form = Form(settings_fields(tool))

    assert control(form, id="setting-prompt")["aria-describedby"] == "setting-prompt-help"
    assert "Say what." in form.text


def test_labels_and_values_are_escaped(tool):
    html = settings_fields(tool, {**tool.defaults(), "prompt": '"><script>'})

    assert "<script>" not in html
    assert "Soft &lt;edges&gt;" in html


def test_two_forms_on_a_page_have_different_ids(tool):
    form = Form(settings_fields(tool) + settings_fields(tool, prefix="retry"))

    assert len(form.ids) == len(set(form.ids))


def test_a_setting_that_must_be_given_is_marked_and_blank():
    class DemandingTool(SampleTool):
        class Settings(ToolSettings):
            prompt = serializers.CharField()
            amount = serializers.IntegerField()
            scale = serializers.ChoiceField(choices=[(2, "2x"), (4, "4x")], default=2)

    form = Form(settings_fields(DemandingTool()))

    assert "required" in control(form, id="setting-prompt")
    assert "required" in control(form, id="setting-amount")
    assert control(form, id="setting-prompt")["value"] == ""


def test_models_show_their_price_where_prices_differ(pretended_weights):
    pretended_weights("u2net", "isnet")

    text = Form(settings_fields(registry.get("remove-background"))).text

    assert "U²-Net, balanced · 1 credit" in text
    assert "IS-Net, finest edges · 2 credits" in text


def test_a_model_that_is_not_installed_can_not_be_chosen(pretended_weights):
    pretended_weights("u2net", "u2netp")

    form = Form(settings_fields(registry.get("remove-background")))

    assert "disabled" in control(form, value="isnet")
    assert "disabled" not in control(form, value="u2netp")
    assert "IS-Net, finest edges · not installed" in form.text


def test_where_nothing_is_installed_nothing_is_greyed_out(no_weights):
    form = Form(settings_fields(registry.get("remove-background")))

    assert "disabled" not in control(form, value="isnet")


def test_a_kind_of_field_without_a_template_is_an_error_and_not_a_guess(tool):
    class OddTool(SampleTool):
        class Settings(ToolSettings):
            when = serializers.DateField(default=None)

    with pytest.raises(TypeError, match="DateField"):
        settings_fields(OddTool())


class PictureTool(SampleTool):
    class Settings(ToolSettings):
        backdrop = BackdropField(label="Backdrop", style={"choices": [("blur", "Blur")]})
        wish = serializers.CharField(default="a < b", style={"widget": "textarea"})


@pytest.mark.parametrize(
    ("value", "sent"),
    [("blur", ["blur", ""]), ("https://a.example/b.png", ["", "https://a.example/b.png"])],
)
def test_a_picture_is_typed_or_one_of_a_few_values(value, sent):
    form = Form(settings_fields(PictureTool(), {"backdrop": value}))

    assert form.sent().getlist("backdrop") == sent
    assert PictureTool().clean(form.sent()) == {"backdrop": value, "wish": "a < b"}


def test_only_some_values_stand_for_pictures():
    upload = "0a6d3a34-1c11-4d4b-8a64-3d2d1c5d2b11"

    assert PictureTool().image_settings({"backdrop": "blur"}) == {}
    assert PictureTool().image_settings({"backdrop": upload}) == {"backdrop": upload}
    with pytest.raises(SettingsInvalid, match="id of an upload"):
        PictureTool().clean({"backdrop": "plaid"})


def test_what_few_people_need_is_folded_away_until_it_differs(tool):
    quiet = settings_fields(tool)
    loud = settings_fields(tool, {"quality": 70})
    bound = tool.Settings(data={"quality": 999})
    assert not bound.is_valid()
    wrong = settings_fields(tool, bound)

    assert quiet.index("<details") < quiet.index('name="quality"')
    assert quiet.index('name="format"') < quiet.index("<details")
    assert "open>" not in quiet
    assert "open>" in loud
    assert "open>" in wrong
