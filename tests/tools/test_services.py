"""Every tool that offers a service's model, with a real service: what it gives and how it fails."""

from collections.abc import Iterator

import pytest
from PIL import Image, ImageDraw

from tests.engines import service as services
from tools import registry
from tools.base import ImageSetting, Tool, ToolError
from tools.engines import provider, remote, vision_language

PATIENCE = remote.Patience(read=10, total=20, first_pause=0.01, longest_pause=0.1)
SIZES = ((256, 256), (384, 256), (256, 384))


def models(tool: Tool) -> list[str]:
    field = tool.Settings().fields.get("model")
    return [model for model in getattr(field, "choices", []) if model in {"provider", "vlm"}]


ALL = [(tool.slug, model) for tool in registry.all() for model in models(tool)]
EACH = pytest.mark.parametrize(("slug", "model"), ALL)


@pytest.fixture
def service(monkeypatch) -> Iterator[services.Service]:
    """A service that is set up for everything."""
    with services.serving() as running:
        for engine, name in ((provider, "painter"), (vision_language, "looker")):
            chosen = engine.Configuration(
                url=running.url,
                model=name,
                key=services.KEY,
                patience=PATIENCE,
                **({"sizes": SIZES} if engine is provider else {}),
            )
            monkeypatch.setattr(engine, "_configuration", chosen)
        yield running


def cut_out() -> Image.Image:
    """A subject that is cut out already, so that no model has to find it."""
    image = Image.new("RGBA", (120, 90), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((40, 20, 80, 70), fill=(180, 60, 40, 255))
    return image


def settings_for(tool: Tool, model: str) -> dict:
    """Words wherever words can be said, and a picture where one must be given."""
    given: dict = {"model": model}
    pictures = {}
    for name, field in tool.Settings().fields.items():
        if name in {"prompt", "scene_description"}:
            given[name] = "on a wooden table"
        if isinstance(field, ImageSetting) and (field.required or name == "mask"):
            given[name] = "https://a.example/mask.png"
            mask = Image.new("L", (120, 90))
            ImageDraw.Draw(mask).rectangle((50, 30, 70, 60), fill=255)
            pictures[name] = mask.convert("RGB")
    return {**tool.clean(given), **pictures}


def test_some_tools_offer_a_service():
    assert {slug for slug, _model in ALL} >= {"replace-background", "image-to-image"}


@EACH
def test_the_service_does_the_work(slug, model, service):
    tool = registry.get(slug)
    settings = settings_for(tool, model)

    outputs = tool.run(cut_out(), settings)

    assert service.seen
    assert all(output.image or output.text for output in outputs)
    assert tool.unavailable_reason(settings) is None
    assert service.address.removeprefix("http://") in tool.version(settings)


@EACH
def test_a_service_that_has_no_time_fails_the_item_for_now(slug, model, service):
    tool = registry.get(slug)
    service.faults = [services.status(429, retry_after="3600")]

    with pytest.raises(ToolError) as caught:
        tool.run(cut_out(), settings_for(tool, model))

    assert (caught.value.code, caught.value.permanent) == ("engine_busy", False)


@EACH
def test_a_service_that_refuses_the_key_fails_the_item_for_good(slug, model, service):
    tool = registry.get(slug)
    service.faults = [services.status(401, "Incorrect API key provided.")]

    with pytest.raises(ToolError) as caught:
        tool.run(cut_out(), settings_for(tool, model))

    assert (caught.value.code, caught.value.permanent) == ("engine_refused", True)


@EACH
def test_a_service_that_is_not_set_up_makes_the_model_unavailable(slug, model):
    tool = registry.get(slug)

    reason = tool.unavailable_reason(settings_for(tool, model))

    assert f"STUDIO_{model.upper()}_URL" in reason


@EACH
def test_there_is_time_enough_for_a_service_that_takes_long(slug, model):
    engine = {"provider": provider, "vlm": vision_language}[model]

    assert registry.get(slug).timeout > engine.Configuration().patience.total + 10
