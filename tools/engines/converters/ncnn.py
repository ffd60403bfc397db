"""Networks of ncnn (``.param`` and ``.bin``) as ONNX.

The format is described in ncnn's wiki ("param and model file structure" and the list of layers
with their numbered parameters). Layers are known as far as super-resolution networks use them
(Real-ESRGAN's and SPAN's); another one is an error, not a guess. The network takes ``data``
(1 x 3 x h x w, RGB, 0 to 1) and gives ``output``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.engines.converters.graphs import Graph

if TYPE_CHECKING:
    import numpy as np

PACKAGES = ("onnx", "numpy")

MAGIC = "7767517"
FLOAT16_TAG, FLOAT32_TAG = 0x01306B47, 0
ARRAY_KEYS = -23300
"""A parameter with number -23300 - n is the array number n."""


def convert(param: Path, binary: Path, *, target: Path) -> None:
    """Write the network as ONNX. Raises `ValueError` for what it doesn't know."""
    lines = param.read_text().splitlines()
    if lines[0].strip() != MAGIC:
        raise ValueError("not an ncnn .param file in text form")
    graph, numbers = Graph(), _Numbers(binary.read_bytes())
    for line in lines[2:]:
        if line.strip():
            layer = _Layer.parse(line)
            if layer.kind not in _LAYERS:
                raise ValueError(f"a layer of unknown kind: {layer.kind}")
            _LAYERS[layer.kind](graph, layer, numbers)
    numbers.finish()
    graph.write(
        target,
        inputs={"data": (1, 3, "h", "w")},
        outputs={"output": (1, 3, "output_h", "output_w")},
    )


@dataclass(frozen=True)
class _Layer:
    """One line of a .param file."""

    kind: str
    name: str
    given: list[str]
    results: list[str]
    parameters: dict[int, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, line: str) -> "_Layer":
        """Read ``kind name inputs outputs [input…] [output…] [number=value…]``."""
        kind, name, inputs, outputs, *rest = line.split()
        given, results = int(inputs), int(outputs)
        parameters = dict(pair.split("=") for pair in rest[given + results :])
        return cls(
            kind,
            name,
            rest[:given],
            rest[given : given + results],
            {int(number): value for number, value in parameters.items()},
        )

    def whole(self, number: int, default: int = 0) -> int:
        return int(self.parameters.get(number, default))

    def real(self, number: int) -> float:
        return float(self.parameters.get(number, 0))

    def array(self, number: int) -> list[float]:
        """An array parameter without its leading length; empty where it is not given."""
        values = self.parameters.get(ARRAY_KEYS - number, "0").split(",")
        return [float(value) for value in values[1:]]


class _Numbers:
    """A .bin file, read from front to back in the order of the layers."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def tagged(self, count: int) -> "np.ndarray[Any, Any]":
        """Numbers behind a tag that says how they are kept, padded to four bytes."""
        tag = int.from_bytes(self._content[self._at : self._at + 4], "little")
        self._at += 4
        if tag == FLOAT32_TAG:
            return self.plain(count)
        if tag != FLOAT16_TAG:
            raise ValueError(f"numbers of an unknown kind: {tag:#x}")
        import numpy as np

        values = np.frombuffer(self._content, np.float16, count, self._at)
        self._at += (2 * count + 3) // 4 * 4
        return values.astype(np.float32)

    def plain(self, count: int) -> "np.ndarray[Any, Any]":
        """Numbers of 32 bits, as biases are kept."""
        import numpy as np

        values = np.frombuffer(self._content, np.float32, count, self._at)
        self._at += 4 * count
        return values

    def finish(self) -> None:
        """All bytes must have found a layer."""
        if self._at != len(self._content):
            raise ValueError(f"{len(self._content) - self._at} bytes of the .bin file are left")


# --- Layers, with the numbers that ncnn gives to their parameters ---------------------------------


def _input(_graph: Graph, _layer: _Layer, _numbers: _Numbers) -> None:
    """The network's input: declared with the graph."""


def _split(graph: Graph, layer: _Layer, _numbers: _Numbers) -> None:
    """One value under several names."""
    for result in layer.results:
        graph.node("Identity", layer.given, result)


def _convolution(graph: Graph, layer: _Layer, numbers: _Numbers) -> None:
    channels, width = layer.whole(0), layer.whole(1)
    height = layer.whole(11, width)
    weights = numbers.tagged(layer.whole(6)).reshape(channels, -1, height, width)
    given = [layer.given[0], graph.numbers(f"{layer.name}.weight", weights)]
    if layer.whole(5):
        given.append(graph.numbers(f"{layer.name}.bias", numbers.plain(channels)))
    (result,) = layer.results
    activation = layer.whole(9)
    before = f"{result}.before" if activation else result
    graph.node(
        "Conv",
        given,
        before,
        kernel_shape=[height, width],
        pads=[layer.whole(4)] * 4,
        strides=[layer.whole(3, 1)] * 2,
        dilations=[layer.whole(2, 1)] * 2,
    )
    match activation:
        case 0:
            pass
        case 1:
            graph.node("Relu", [before], result)
        case 2:
            graph.node("LeakyRelu", [before], result, alpha=layer.array(10)[0])
        case _:
            raise ValueError(f"a convolution with the unknown activation {activation}")


def _prelu(graph: Graph, layer: _Layer, numbers: _Numbers) -> None:
    slopes = numbers.plain(layer.whole(0)).reshape(-1, 1, 1)
    given = [layer.given[0], graph.numbers(f"{layer.name}.slope", slopes)]
    graph.node("PRelu", given, layer.results[0])


def _sigmoid(graph: Graph, layer: _Layer, _numbers: _Numbers) -> None:
    graph.node("Sigmoid", layer.given, layer.results[0])


def _swish(graph: Graph, layer: _Layer, _numbers: _Numbers) -> None:
    gate = graph.node("Sigmoid", layer.given, f"{layer.name}.gate")
    graph.node("Mul", [layer.given[0], gate], layer.results[0])


def _concat(graph: Graph, layer: _Layer, _numbers: _Numbers) -> None:
    if layer.whole(0):
        raise ValueError("values are joined along another axis than channels")
    graph.node("Concat", layer.given, layer.results[0], axis=1)


def _eltwise(graph: Graph, layer: _Layer, _numbers: _Numbers) -> None:
    """A weighted sum; ncnn's product and maximum don't occur."""
    if layer.whole(0) != 1:
        raise ValueError("an element-wise layer that is no sum")
    terms = []
    factors = layer.array(1) or [1.0] * len(layer.given)
    for number, (value, factor) in enumerate(zip(layer.given, factors, strict=True)):
        if factor == 1:
            terms.append(value)
            continue
        constant = graph.numbers(f"{layer.name}.factor{number}", factor)
        terms.append(graph.node("Mul", [value, constant], f"{layer.name}.term{number}"))
    graph.node("Sum", terms, layer.results[0])


def _binary(graph: Graph, layer: _Layer, _numbers: _Numbers) -> None:
    operations = {0: "Add", 1: "Sub", 2: "Mul", 3: "Div"}
    if layer.whole(0) not in operations:
        raise ValueError(f"the unknown arithmetic {layer.whole(0)}")
    given = list(layer.given)
    if layer.whole(1):
        given.append(graph.numbers(f"{layer.name}.number", layer.real(2)))
    graph.node(operations[layer.whole(0)], given, layer.results[0])


def _memory(graph: Graph, layer: _Layer, numbers: _Numbers) -> None:
    """Constants: width, height and channels, of which the last may be missing."""
    shape = [side for side in (layer.whole(2), layer.whole(1), layer.whole(0)) if side]
    count = 1
    for side in shape:
        count *= side
    graph.numbers(layer.results[0], numbers.plain(count).reshape(shape))


def _pixel_shuffle(graph: Graph, layer: _Layer, _numbers: _Numbers) -> None:
    graph.node("DepthToSpace", layer.given, layer.results[0], blocksize=layer.whole(0), mode="CRD")


def _interpolate(graph: Graph, layer: _Layer, _numbers: _Numbers) -> None:
    """A resize by fixed factors, with the grid and the coefficients of ncnn."""
    factors = graph.numbers(f"{layer.name}.factors", [1, 1, layer.real(1), layer.real(2)])
    ways: dict[int, dict[str, Any]] = {
        1: {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
        2: {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
        3: {
            "mode": "cubic",
            "coordinate_transformation_mode": "half_pixel",
            "cubic_coeff_a": -0.75,
        },
    }
    if layer.whole(0) not in ways:
        raise ValueError(f"the unknown interpolation {layer.whole(0)}")
    graph.node("Resize", [layer.given[0], "", factors], layer.results[0], **ways[layer.whole(0)])


_LAYERS: dict[str, Callable[[Graph, _Layer, _Numbers], None]] = {
    "Input": _input,
    "Split": _split,
    "Convolution": _convolution,
    "PReLU": _prelu,
    "Sigmoid": _sigmoid,
    "Swish": _swish,
    "Concat": _concat,
    "Eltwise": _eltwise,
    "BinaryOp": _binary,
    "MemoryData": _memory,
    "PixelShuffle": _pixel_shuffle,
    "Interp": _interpolate,
}
