"""A picture of nothing, in every tool that needs something."""

import pytest
from PIL import Image

from tools import registry
from tools.engines import matting


@pytest.mark.parametrize(
    ("slug", "settings"),
    [
        ("remove-background", {}),
        ("replace-background", {}),
        ("product-lifestyle", {}),
        ("add-shadow", {}),
        ("image-to-image", {"prompt": "blur the background"}),
        ("image-to-image", {"prompt": "put it on a red background"}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_nothing_to_be_seen_is_no_subject(slug, settings, mode, faked_engine):
    tool = registry.get(slug)
    picture = Image.new(mode, (120, 90), "white" if mode == "RGB" else (255, 255, 255, 0))

    with pytest.raises(matting.NoSubject):
        tool.run(picture, {**tool.defaults(), **settings})
