"""Models of a few hundred bytes with the real ones' inputs, for what must not wait for those."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tools.engines.weights import Artefact


def write_model(path: Path, *, side: int, gain: float = 4.0, bias: float = 0.0) -> Path:
    """A model that is the surer of a pixel the brighter it is: sigmoid(gain * mean + bias).

    It has a second output of nothing but ones, as u2net has outputs that nobody asks for.
    """
    shape = [1, 3, side, side]
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["grey"], keepdims=1),
        helper.make_node("Mul", ["grey", "gain"], ["steep"]),
        helper.make_node("Add", ["steep", "bias"], ["moved"]),
        helper.make_node("Sigmoid", ["moved"], ["mask"]),
        helper.make_node("Sub", ["mask", "mask"], ["nothing"]),
        helper.make_node("Exp", ["nothing"], ["ones"]),
    ]
    numbers = {
        "axes": np.array([1], dtype=np.int64),
        "gain": np.array(gain, dtype=np.float32),
        "bias": np.array(bias, dtype=np.float32),
    }
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, side, side])
        for name in ("mask", "ones")
    ]
    return _save(path, nodes, numbers, helper.make_tensor_value_info("input", 1, shape), outputs)


def write_greedy_model(path: Path) -> Path:
    """A model that wants four terabytes for one run."""
    nodes = [
        helper.make_node("Shape", ["input"], ["asked"]),
        helper.make_node("Mul", ["asked", "factor"], ["wanted"]),
        helper.make_node("ConstantOfShape", ["wanted"], ["output"]),
    ]
    numbers = {"factor": np.array([1_000_000], dtype=np.int64)}
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [None])
    return _save(path, nodes, numbers, helper.make_tensor_value_info("input", 1, [None]), [output])


def _save(path, nodes, numbers, given, outputs) -> Path:
    graph = helper.make_graph(
        nodes,
        "small",
        [given],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def pin(name: str, content: bytes, *sources, kind="default", file: str | None = None) -> Artefact:
    """A manifest entry for this content."""
    return Artefact(
        name=name,
        file=file or f"{name}.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        licence="CC0-1.0",
        kind=kind,
        sources=sources,
    )
