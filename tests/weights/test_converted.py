"""The real networks that were converted here, on real photos."""

import numpy as np
import pytest
from PIL import Image

from tools.engines import weights
from tools.examples import photo

pytestmark = pytest.mark.weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("name", "label"), [("coffee.png", "espresso"), ("chelsea.png", "Egyptian cat")]
)
def test_the_classifier_names_what_a_photo_shows(name, label):
    image = Image.open(photo(name)).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    small = image.resize((260, 260), box=(left, top, left + side, top + side))
    pixels = ((np.asarray(small) / 255 - MEAN) / STD).astype(np.float32).transpose(2, 0, 1)
    session = weights.session("efficientnet-lite2")

    probs, features = session.run(["probs", "features"], {"input": pixels[None]})

    labels = weights.verify("imagenet-labels").read_text(encoding="utf-8").splitlines()
    assert len(labels) == 1000
    assert features.shape == (1, 1280)
    assert labels[probs[0].argmax()] == label
    assert np.isclose(probs.sum(), 1, atol=1e-3)
