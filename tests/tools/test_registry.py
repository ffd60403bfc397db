"""How tools are found."""

import sys

import pytest

from tools import registry
from tools.base import Tool

CATALOG = """
from tools.base import Tool
from tools.registry import register

@register
class Found(Tool):
    slug = "found"
    name = description = "Found"
"""


@pytest.fixture
def tools(monkeypatch):
    """A registry that nobody else sees."""
    tools = {}
    monkeypatch.setattr(registry, "_tools", tools)
    return tools


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    """A catalog of its own, with one file in it."""
    package = tmp_path / "test_catalog"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "found.py").write_text(CATALOG)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.startswith("test_catalog")]:
        del sys.modules[name]


class Sharpen(Tool):
    slug = "sharpen"
    name = description = "Sharpen"


def test_the_site_knows_the_tools_of_the_catalog():
    assert "remove-background" in [tool.slug for tool in registry.all()]
    assert registry.get("remove-background").slug == "remove-background"


def test_a_name_that_is_no_tool_is_refused():
    with pytest.raises(registry.UnknownTool):
        registry.get("levitate")


def test_a_registered_class_is_given_back_unchanged_and_served_as_one_instance(tools):
    assert registry.register(Sharpen) is Sharpen
    assert isinstance(registry.get("sharpen"), Sharpen)
    assert registry.get("sharpen") is registry.get("sharpen")


def test_two_tools_of_one_name_stop_the_start(tools):
    registry.register(Sharpen)

    class Rival(Tool):
        slug = "sharpen"
        name = description = "Rival"

    with pytest.raises(registry.DuplicateTool, match=r"'sharpen'.*Rename one"):
        registry.register(Rival)

    assert isinstance(registry.get("sharpen"), Sharpen)


def test_a_file_in_the_catalog_is_a_tool_without_being_named_anywhere(tools, catalog):
    registry.autodiscover("test_catalog")

    assert [tool.slug for tool in registry.all()] == ["found"]


def test_a_second_file_with_the_same_slug_stops_the_start(tools, catalog):
    (catalog / "twin.py").write_text(CATALOG)

    with pytest.raises(registry.DuplicateTool, match=r"test_catalog\.found and test_catalog\.twin"):
        registry.autodiscover("test_catalog")


def test_tools_are_listed_by_slug(tools):
    for slug in ("zoom", "alt-text", "crop"):
        registry.register(type("Some", (Sharpen,), {"slug": slug}))

    assert [tool.slug for tool in registry.all()] == ["alt-text", "crop", "zoom"]
