"""Building an ONNX file, node by node: what all converters to ONNX share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OPSET, IR = 17, 8
"""Named here, not left to the package: its newest would change the bytes with each release."""


class Graph:
    """An ONNX graph in the making."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._numbers: list[Any] = []

    def node(self, kind: str, given: Sequence[str], result: str, **attributes: Any) -> str:
        """Add one operation with one result; returns the result's name."""
        from onnx import helper

        self._nodes.append(helper.make_node(kind, list(given), [result], **attributes))
        return result

    def numbers(self, name: str, values: Any) -> str:
        """Add constant numbers, which become 32-bit floats; returns their name."""
        import numpy as np
        from onnx import numpy_helper

        plain = np.ascontiguousarray(values, dtype=np.float32)
        self._numbers.append(numpy_helper.from_array(plain, name))
        return name

    def write(
        self,
        target: Path,
        *,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, Sequence[int | str]],
    ) -> None:
        """Check the graph and write it; a size that is a word may be any."""
        import onnx
        from onnx import TensorProto, helper

        def values(shapes: Mapping[str, Sequence[int | str]]) -> list[Any]:
            return [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
                for name, shape in shapes.items()
            ]

        graph = helper.make_graph(
            self._nodes, "weights", values(inputs), values(outputs), self._numbers
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR
        onnx.checker.check_model(model)
        target.write_bytes(model.SerializeToString(deterministic=True))
