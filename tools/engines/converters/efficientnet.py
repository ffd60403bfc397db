"""EfficientNet-Lite2's state dict of PyTorch (``.pth``) as ONNX, without PyTorch.

The file is in PyTorch's format from before 1.6: four pickles (a magic number, the protocol, the
machine, the tensors) and the list of storages, each followed by its raw numbers. Pickles can run
code, so the reader knows the names that a state dict needs and refuses all others.

The architecture is Google's "EfficientNet-Lite" (lite2: width 1.1, depth 1.2): inverted residual
blocks without squeeze-and-excitation, clipped at 6. Batch normalisation is folded into the
convolutions. The network takes ``input`` (n x 3 x 260 x 260, RGB, centred and scaled as for
ImageNet) and gives ``probs`` (n x 1000) and ``features`` (n x 1280).
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tools.engines.converters.graphs import Graph

if TYPE_CHECKING:
    import numpy as np

PACKAGES = ("onnx", "numpy")

MAGIC = 0x1950A86A20F9469CFC6C
REPEATS = (1, 3, 3, 4, 4, 5, 1)
"""Blocks of each stage: the base network's, times 1.2 and rounded up where lite scales them."""
STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Stride of the first block of each stage."""
EPSILON = 1e-3
"""What batch normalisation adds to the variance."""
SIDE = 260


def convert(state: Path, *, target: Path) -> None:
    """Write the classifier as ONNX. Raises `ValueError` for anything but its state dict."""
    with state.open("rb") as file:
        tensors = _read(file)
    network = _Network(tensors)
    network.build()
    network.graph.write(
        target,
        inputs={"input": ("n", 3, SIDE, SIDE)},
        outputs={"probs": ("n", 1000), "features": ("n", 1280)},
    )


# --- Reading the file -----------------------------------------------------------------------------


class _Storage(NamedTuple):
    key: str
    dtype: str


class _View(NamedTuple):
    """A tensor: a window on a storage, strides in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _view(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_rest: Any
) -> _View:
    return _View(storage, offset, shape, strides)


class _Plain(pickle.Unpickler):
    """Reads numbers, texts and containers, and no name from any module."""

    _known: dict[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._known[module, name]
        except KeyError:
            raise ValueError(f"a state dict has no use for {module}.{name}") from None


class _Tensors(_Plain):
    """Reads the dict of tensors; the numbers come later in the file."""

    _known = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _view,
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_where = pid
        if kind != "storage":
            raise ValueError(f"a state dict has no use for a {kind}")
        return _Storage(key, dtype)


def _read(file: IO[bytes]) -> dict[str, "np.ndarray[Any, Any]"]:
    """The tensors by their names."""
    import numpy as np

    if _Plain(file).load() != MAGIC:
        raise ValueError("not a file of PyTorch's old format")
    _protocol, _machine = _Plain(file).load(), _Plain(file).load()
    views: dict[str, _View] = _Tensors(file).load()
    dtypes = dict(view.storage for view in views.values())
    storages = {}
    for key in _Plain(file).load():
        count = int.from_bytes(file.read(8), "little")
        dtype = np.dtype(dtypes[key])
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
        if len(storages[key]) != count:
            raise ValueError("the file ends early")
    tensors = {}
    for name, (storage, offset, shape, strides) in views.items():
        numbers = storages[storage.key]
        if offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) >= len(
            numbers
        ):
            raise ValueError(f"{name} reaches beyond its storage")
        tensors[name] = np.lib.stride_tricks.as_strided(
            numbers[offset:], shape, [step * numbers.itemsize for step in strides]
        )
    return tensors


# --- Building the network -------------------------------------------------------------------------


class _Network:
    """The graph, made of tensors that are used up one by one."""

    def __init__(self, tensors: dict[str, "np.ndarray[Any, Any]"]) -> None:
        self.graph = Graph()
        self._tensors = {
            name: values
            for name, values in tensors.items()
            if not name.endswith(".num_batches_tracked")
        }
        self._zero = self.graph.numbers("zero", 0)
        self._six = self.graph.numbers("six", 6)

    def build(self) -> None:
        value = self._convolution("input", "_conv_stem", "_bn0", stride=2)
        number = 0
        for repeats, stride in zip(REPEATS, STRIDES, strict=True):
            for repeat in range(repeats):
                value = self._block(
                    f"_blocks.{number}", value, stride=1 if repeat else stride, joins=repeat > 0
                )
                number += 1
        value = self._convolution(value, "_conv_head", "_bn1")
        pooled = self.graph.node("GlobalAveragePool", [value], "pooled")
        features = self.graph.node("Flatten", [pooled], "features")
        weight = self.graph.numbers("_fc.weight", self._tensors.pop("_fc.weight"))
        bias = self.graph.numbers("_fc.bias", self._tensors.pop("_fc.bias"))
        scores = self.graph.node("Gemm", [features, weight, bias], "scores", transB=1)
        self.graph.node("Softmax", [scores], "probs", axis=1)
        if self._tensors:
            raise ValueError(f"numbers without a place: {', '.join(self._tensors)}")

    def _block(self, name: str, value: str, *, stride: int, joins: bool) -> str:
        """Expand (except in the first stage), filter each channel, project.

        Where it ``joins``, what came in is added: in all blocks but the first of a stage, whose
        results have another shape.
        """
        given = value
        if f"{name}._expand_conv.weight" in self._tensors:
            value = self._convolution(value, f"{name}._expand_conv", f"{name}._bn0")
        value = self._convolution(
            value, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, depthwise=True
        )
        value = self._convolution(value, f"{name}._project_conv", f"{name}._bn2", clip=False)
        return self.graph.node("Add", [value, given], f"{name}.sum") if joins else value

    def _convolution(
        self,
        value: str,
        name: str,
        norm: str,
        *,
        stride: int = 1,
        depthwise: bool = False,
        clip: bool = True,
    ) -> str:
        """A convolution with its batch normalisation folded in, padded as TensorFlow does."""
        import numpy as np

        weight = self._tensors.pop(f"{name}.weight")
        scale = self._tensors.pop(f"{norm}.weight") / np.sqrt(
            self._tensors.pop(f"{norm}.running_var") + np.float32(EPSILON)
        )
        bias = self._tensors.pop(f"{norm}.bias") - self._tensors.pop(f"{norm}.running_mean") * scale
        given = [
            value,
            self.graph.numbers(f"{name}.weight", weight * scale[:, None, None, None]),
            self.graph.numbers(f"{name}.bias", bias),
        ]
        result = self.graph.node(
            "Conv",
            given,
            f"{name}.result",
            auto_pad="SAME_UPPER",
            strides=[stride, stride],
            group=len(weight) if depthwise else 1,
        )
        if not clip:
            return result
        return self.graph.node("Clip", [result, self._zero, self._six], f"{name}.clipped")
