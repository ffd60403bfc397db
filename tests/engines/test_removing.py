"""Taking things out: what goes, what stays, and what masks mean."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from tests.weights.small_models import pin
from tools.engines import removing, weights
from tools.examples import photo


def wood(size: tuple[int, int] = (150, 110)) -> Image.Image:
    return Image.open(photo("grass.png")).convert("RGB").crop((0, 0, *size))


def spot(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return mask


def with_ball(image: Image.Image, box=(60, 40, 90, 70)) -> Image.Image:
    ball = image.copy()
    ImageDraw.Draw(ball).ellipse(box, fill=(255, 0, 0, 255))
    return ball


def redness(image: Image.Image) -> int:
    pixels = np.asarray(image.convert("RGB"), int)
    return int((pixels[..., 0] - pixels[..., 1]).max())


BALL = (57, 37, 93, 73)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_thing_is_gone_and_the_rest_is_untouched(mode):
    image = with_ball(wood()).convert(mode)
    before = image.tobytes()
    mask = spot(image.size, BALL)

    done = removing.remove(image, mask)

    kept = np.asarray(mask) == 0
    assert redness(image) > 200
    assert redness(done) < 60
    assert (np.asarray(done)[kept] == np.asarray(image)[kept]).all()
    assert (done.mode, image.tobytes()) == (mode, before)


def test_the_hole_looks_like_what_is_around_it():
    clean = wood()
    done = removing.remove(with_ball(clean), spot(clean.size, BALL))

    hole = np.asarray(done.crop(BALL).convert("L"), float)
    around = np.asarray(clean.convert("L"), float)
    assert hole.mean() == pytest.approx(around.mean(), rel=0.2)
    assert hole.std() > 0.5 * around.std()


def test_the_same_mask_gives_the_same_bytes():
    image, mask = with_ball(wood()), spot((150, 110), BALL)

    assert removing.remove(image, mask).tobytes() == removing.remove(image, mask).tobytes()


def test_each_of_several_things_goes():
    image = with_ball(with_ball(wood((300, 110)), (20, 20, 40, 40)), (250, 60, 280, 90))
    mask = spot(image.size, (17, 17, 43, 43))
    ImageDraw.Draw(mask).ellipse((247, 57, 283, 93), fill=255)

    assert len(list(removing._holes(mask))) == 2
    assert redness(removing.remove(image, mask)) < 60


def test_a_stroke_of_one_pixel_is_a_thing_too():
    image = wood((900, 90))
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).line((100, 10, 100, 80), fill=255)
    ImageDraw.Draw(image).line((100, 10, 100, 80), fill=(255, 0, 0))

    assert redness(removing.remove(image, mask)) < 60


def test_a_large_photo_is_worked_on_in_a_bounded_window(monkeypatch):
    import patchmatch

    seen = []
    real = patchmatch.inpaint
    monkeypatch.setattr(
        patchmatch,
        "inpaint",
        lambda image, *a, **k: seen.append(image.shape) or real(image, *a, **k),
    )
    monkeypatch.setattr(removing, "WINDOW_PIXELS", 5_000)
    image = with_ball(wood((400, 300)), (100, 80, 180, 160))

    done = removing.remove(image, spot(image.size, (96, 76, 184, 164)))

    assert [height * width <= 5_200 for height, width, _ in seen] == [True]
    assert redness(done) < 60


def test_what_is_transparent_does_not_fill_a_hole():
    image = with_ball(wood()).convert("RGBA")
    image.paste((0, 255, 0, 0), (100, 0, 150, 110))  # green that nobody sees

    done = np.asarray(removing.remove(image, spot(image.size, BALL)), int)

    assert done[:, 100:, 3].max() == 0
    assert (done[40:70, 60:90, 1] - done[40:70, 60:90, 0]).max() < 60


@pytest.mark.parametrize("size", [(8, 8), (500, 8), (3, 500), (40, 40)])
def test_tiny_and_narrow_pictures_come_through(size):
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    mask = Image.new("L", size)
    mask.paste(255, (size[0] // 3, size[1] // 3, size[0] // 3 + 1, size[1] // 2))

    assert removing.remove(image, mask).size == size


def test_an_empty_mask_is_named():
    with pytest.raises(removing.MaskEmpty):
        removing.remove(wood(), Image.new("L", (150, 110)))


def test_a_mask_that_leaves_nothing_is_named():
    mask = Image.new("L", (150, 110), 255)
    mask.paste(0, (0, 0, 150, 9))

    with pytest.raises(removing.MaskTooLarge):
        removing.remove(wood(), mask)


def test_greys_count_from_the_half_on():
    ramp = Image.linear_gradient("L")

    levels = np.asarray(removing.hole(ramp))

    assert (np.asarray(ramp)[levels == 255].min(), np.asarray(ramp)[levels == 0].max()) == (
        128,
        127,
    )


def test_white_strokes_on_nothing_are_a_mask():
    strokes = Image.new("RGBA", (30, 20), (255, 255, 255, 0))
    strokes.paste((255, 255, 255, 255), (5, 5, 10, 10))

    assert removing.hole(strokes).getbbox() == (5, 5, 10, 10)


@pytest.fixture
def lama(tmp_path, monkeypatch):
    """A model with LaMa's inputs and outputs that paints blue where the mask is."""
    names = {"image": 3, "mask": 1}
    given = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", depth, 512, 512])
        for name, depth in names.items()
    ]
    blue = numpy_helper.from_array(np.float32([0, 0, 255]).reshape(1, 3, 1, 1), "blue")
    out = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3, 512, 512])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["mask", "blue"], ["painted"]),
         helper.make_node("Sub", ["image", "image"], ["nothing"]),
         helper.make_node("Add", ["painted", "nothing"], ["output"])],
        "lama", given, [out], [blue],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    artefact = pin("lama", content, file="lama_fp32.onnx")
    (tmp_path / artefact.file).write_bytes(content)
    monkeypatch.setitem(weights.MANIFEST, "lama", artefact)
    monkeypatch.setattr(weights, "_folder", tmp_path)


@pytest.mark.parametrize("size", [(150, 110), (110, 700), (900, 600)])
def test_lama_paints_the_hole_and_nothing_else(lama, size):
    image = Image.new("RGB", size, (10, 200, 10))
    mask = spot(size, BALL)

    done = np.asarray(removing.remove(image, mask, model="lama"), int)

    assert (done[50:60, 70:80] == (0, 0, 255)).all()
    assert (done[np.asarray(mask) == 0] == (10, 200, 10)).all()
