"""The real models on real photos, beside rembg with the same weights."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import skimage
from django.conf import settings
from PIL import Image, ImageFilter

from tests.weights.small_models import pin, write_model
from tools import registry
from tools.engines import matting, weights

pytestmark = pytest.mark.weights

PHOTOS = Path(skimage.__file__).parent / "data"
FURTHEST = 1
"""Of 255, in any channel of any pixel."""


@pytest.fixture(scope="module")
def rembg():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what rembg's own packages complain about is theirs
        import rembg
    return rembg


@pytest.fixture(scope="module")
def sessions():
    """Loaded once: u2net takes a second."""
    return {}


@pytest.fixture
def reference(rembg, sessions, monkeypatch):
    """What rembg makes of an image with our weights."""
    monkeypatch.setenv("U2NET_HOME", str(settings.WEIGHTS_DIR))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(image, model):
        if model not in sessions:
            sessions[model] = rembg.new_session(model)
        return rembg.remove(image, session=sessions[model])

    return run


def photo(name: str) -> Image.Image:
    return Image.open(PHOTOS / name).convert("RGB")


def furthest(ours: Image.Image, theirs: Image.Image) -> int:
    assert (ours.mode, ours.size) == (theirs.mode, theirs.size)
    difference = np.asarray(ours).astype(int) - np.asarray(theirs).astype(int)
    return int(np.abs(difference).max())


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=70)
    return Image.open(file).convert("RGB")


def with_alpha(image: Image.Image) -> Image.Image:
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    return image


PICTURES = {
    "astronaut": lambda: photo("astronaut.png"),
    "coffee": lambda: photo("coffee.png"),
    "cat": lambda: photo("chelsea.png"),
    "rocket": lambda: photo("rocket.jpg"),
    "motorcycle": lambda: photo("motorcycle_left.png"),
    "grey": lambda: photo("camera.png"),
    "coffee as a small JPEG": lambda: jpeg(photo("coffee.png")),
    "twelve megapixels": lambda: photo("coffee.png").resize((4000, 3000)),
    "transparent": lambda: with_alpha(photo("coffee.png")),
    "tall and narrow": lambda: photo("rocket.jpg").crop((300, 0, 330, 427)),
}


# The arithmetic around both is one: the slow one is held to a few kinds of picture.
@pytest.mark.parametrize(
    ("model", "picture"),
    [
        *(("u2netp", picture) for picture in PICTURES),
        *(("u2net", picture) for picture in ("coffee", "grey", "transparent")),
    ],
)
def test_a_cut_out_is_rembgs(reference, model, picture):
    image = PICTURES[picture]()

    ours = matting.cut_out(image, model=model)

    assert furthest(ours, reference(image, model)) <= FURTHEST


def test_the_arithmetic_of_isnet_is_rembgs_too(rembg, monkeypatch, tmp_path):
    file = write_model(tmp_path / "small.onnx", side=1024)
    monkeypatch.setitem(weights.MANIFEST, "isnet", pin("small", file.read_bytes()))
    monkeypatch.setattr(weights, "_folder", tmp_path)
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    image = photo("astronaut.png")
    theirs = rembg.remove(image, session=rembg.new_session("dis_custom", model_path=str(file)))

    ours = matting.cut_out(image, model="isnet")

    assert furthest(ours, theirs) <= FURTHEST


@pytest.mark.parametrize("model", ["u2net", "u2netp"])
@pytest.mark.parametrize(
    "picture", ["astronaut.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "horse.png"]
)
def test_a_photo_with_a_subject_is_never_refused(model, picture):
    matting.mask(photo(picture), model=model)


@pytest.mark.parametrize(
    "change",
    [
        lambda cup: cup.point(lambda value: value // 20),
        lambda cup: cup.point(lambda value: 235 + value * 7 // 100),
        lambda cup: cup.filter(ImageFilter.GaussianBlur(8)),
        lambda cup: cup.resize((60, 40)),
    ],
    ids=["dark", "pale", "blurred", "tiny"],
)
@pytest.mark.parametrize("model", ["u2net", "u2netp"])
def test_a_subject_that_is_hard_to_see_is_not_refused(model, change):
    matting.mask(change(photo("coffee.png")), model=model)


BLANK = {
    "white": lambda: Image.new("RGB", (800, 600), "white"),
    "black": lambda: Image.new("RGB", (800, 600), "black"),
    "red": lambda: Image.new("RGB", (800, 600), (200, 20, 20)),
    "gradient": lambda: Image.linear_gradient("L").resize((800, 600)).convert("RGB"),
    "noise": lambda: Image.fromarray(
        np.random.default_rng(1).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    ),
}


@pytest.mark.parametrize("model", ["u2net", "u2netp"])
@pytest.mark.parametrize("picture", BLANK)
def test_a_blank_picture_has_no_subject(model, picture):
    tool = registry.get("remove-background")

    with pytest.raises(matting.NoSubject):
        tool.run(BLANK[picture](), tool.clean({"model": model}))
