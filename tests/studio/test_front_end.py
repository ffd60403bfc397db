import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def icons_of(text):
    """The icons that a template names outright: `_icon.html` with a name, or the sprite itself."""
    return set(re.findall(r"""_icon\.html["'] with name=["']([a-z0-9-]+)["']""", text)) | set(
        re.findall(r"""dist/icons\.svg["'] %\}#([a-z0-9-]+)""", text)
    )


@pytest.fixture(scope="module")
def listed():
    lines = (ROOT / "styles/icons.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_icon_in_a_template_is_in_the_sprite(listed):
    used = {
        icon
        for template in (ROOT / "templates").rglob("*.html")
        for icon in icons_of(template.read_text())
    }

    assert used, "no template names an icon: has the way they are named changed?"
    assert used <= set(listed)


def test_the_list_of_icons_is_in_order_and_names_each_once(listed):
    assert listed == sorted(set(listed))
