"""Random cases of single operations against onnxruntime and onnx's reference, where these two agree.

python benchmarks/byom_random.py            # writes benchmarks/byom_random.csv
python benchmarks/byom_random.py --only Pool    # these rows anew
"""

from __future__ import annotations

import argparse
import csv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tao_like.byom.conversion import convert
from tao_like.byom.proof.comparison import session

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = ("op", "cases", "agreed", "equal", "different", "first_difference")
Draw = np.random.Generator
Case = tuple[dict[str, Any], list[np.ndarray | None]]
_OPSET = 19
_CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def _pick(draw: Draw, *choices: Any) -> Any:
    return choices[draw.integers(len(choices))]


def _numbers(draw: Draw, *shape: int) -> np.ndarray:
    return draw.standard_normal(shape).astype(np.float32)


def _shape(draw: Draw, axes: int, most: int = 9) -> list[int]:
    return [int(size) for size in draw.integers(1, most + 1, axes)]


def _window(draw: Draw, axes: int, most: int = 4) -> dict[str, Any]:
    """Kernel, strides, dilations and borders."""
    kernel = [int(size) for size in draw.integers(1, most, axes)]
    settings: dict[str, Any] = {"kernel_shape": kernel}
    settings["strides"] = [int(step) for step in draw.integers(1, most, axes)]
    if draw.random() < 0.4:
        settings["dilations"] = [int(step) for step in draw.integers(1, 3, axes)]
    kind = draw.random()
    if kind < 0.25 and "dilations" not in settings:
        settings["auto_pad"] = _pick(draw, "SAME_UPPER", "SAME_LOWER", "VALID")
    elif kind < 0.8:
        settings["pads"] = [int(draw.integers(0, size)) for size in (*kernel, *kernel)]
    return settings


def average_pool(draw: Draw) -> Case:
    """AveragePool, with all that its window may do: a last one in the border too."""
    axes = int(draw.integers(1, 4))
    settings = _window(draw, axes, 5) | {"count_include_pad": int(draw.integers(2))}
    if draw.random() < 0.7:
        settings["ceil_mode"] = int(draw.integers(2))
    return settings, [
        _numbers(draw, *_shape(draw, 2, 3), *(int(size) for size in draw.integers(2, 12, axes)))
    ]


def max_roi_pool(draw: Draw) -> Case:
    """MaxRoiPool: boxes inside, across the edge and outside, turned around and of no size."""
    samples, channels = _shape(draw, 2, 3)
    values = _numbers(draw, samples, channels, *(int(size) for size in draw.integers(1, 16, 2)))
    scale = float(np.float32(_pick(draw, 1.0, 0.5, 0.25, 0.1, 0.0625, 1.7)))
    count = int(draw.integers(1, 6))
    corners = draw.uniform(-8, 24, (count, 4)) / scale
    kind = draw.random()
    if kind < 0.4:
        corners = np.round(corners)
    elif kind < 0.6:
        corners[:, 2:] = corners[:, :2]
    boxes = np.concatenate([draw.integers(0, samples, (count, 1)), corners], 1).astype(np.float32)
    settings = {"pooled_shape": _shape(draw, 2, 6), "spatial_scale": scale}
    return settings, [values, boxes]


def resize(draw: Draw) -> Case:
    """Resize by scales or to sizes, in all modes."""
    mode = _pick(draw, "nearest", "nearest", "linear", "cubic")
    coordinates = _pick(draw, "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    settings: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        settings["nearest_mode"] = _pick(draw, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    shape = [*_shape(draw, 2, 3), *(int(size) for size in draw.integers(2, 12, 2))]
    values = _numbers(draw, *shape)
    if draw.random() < 0.6:
        scales = [1.0, 1.0, *(float(_pick(draw, 0.6, 2.3, 0.5, 1.7, 2.0, 3.0, 0.75, 1.31)) for _ in range(2))]
        return settings, [values, None, np.array(scales, np.float32)]
    sizes = [*shape[:2], *(int(size) for size in draw.integers(1, 20, 2))]
    return settings, [values, None, None, np.array(sizes, np.int64)]


def conv(draw: Draw) -> Case:
    """Conv in groups, with borders of all kinds."""
    axes, groups = int(draw.integers(1, 4)), int(_pick(draw, 1, 1, 2, 3))
    settings = _window(draw, axes) | {"group": groups}
    inner, outer = int(draw.integers(1, 3)), int(draw.integers(1, 3)) * groups
    values = _numbers(draw, 2, inner * groups, *(int(size) for size in draw.integers(7, 12, axes)))
    inputs = [values, _numbers(draw, outer, inner, *settings["kernel_shape"])]
    return settings, [*inputs, _numbers(draw, outer)] if draw.random() < 0.5 else inputs


def pad(draw: Draw) -> Case:
    """Pad in all modes; by less than the size where it mirrors, by less than nothing sometimes."""
    axes = int(draw.integers(1, 5))
    mode = _pick(draw, "constant", "reflect", "edge", "wrap")
    shape = [int(size) for size in draw.integers(4, 8, axes)]
    low = -1 if mode == "constant" else 0
    pads = draw.integers(low, 4, 2 * axes).astype(np.int64)
    inputs: list[np.ndarray | None] = [_numbers(draw, *shape), pads]
    if mode == "constant" and draw.random() < 0.5:
        inputs.append(np.array(0.5, np.float32))
    return {"mode": mode}, inputs


def slice_(draw: Draw) -> Case:
    """Slice forwards and backwards, beyond the ends too."""
    axes = int(draw.integers(1, 5))
    chosen = draw.permutation(axes)[: int(draw.integers(1, axes + 1))]
    steps = np.array([_pick(draw, 1, 1, 2, 3, -1, -2) for _ in chosen], np.int64)
    starts, ends = draw.integers(-9, 10, len(chosen)), draw.integers(-9, 10, len(chosen))
    axis = np.array([_pick(draw, one, one - axes) for one in chosen], np.int64)
    return {}, [
        _numbers(draw, *_shape(draw, axes)),
        starts.astype(np.int64),
        ends.astype(np.int64),
        axis,
        steps,
    ]


def gather(draw: Draw) -> Case:
    """Gather by numbers from either end."""
    axes = int(draw.integers(1, 5))
    values, axis = _numbers(draw, *_shape(draw, axes, 6)), int(draw.integers(-axes, axes))
    length = values.shape[axis]
    indices = draw.integers(-length, length, _shape(draw, int(draw.integers(0, 3)), 4)).astype(np.int64)
    return {"axis": axis}, [values, np.array(indices)]


def reshape(draw: Draw) -> Case:
    """Reshape with zeros and a minus one."""
    shape = _shape(draw, int(draw.integers(1, 5)), 5)
    target = [int(size) for size in draw.permutation(shape)] if draw.random() < 0.5 else list(shape)
    for axis, size in enumerate(target):
        if axis < len(shape) and size == shape[axis] and draw.random() < 0.4:
            target[axis] = 0
    if draw.random() < 0.6:
        target[int(draw.integers(len(target)))] = -1
    return {}, [_numbers(draw, *shape), np.array(target, np.int64)]


CASES: dict[str, Callable[[Draw], Case]] = {
    "AveragePool": average_pool,
    "MaxRoiPool": max_roi_pool,
    "Resize": resize,
    "Conv": conv,
    "Pad": pad,
    "Slice": slice_,
    "Gather": gather,
    "Reshape": reshape,
}

_MORE = {"AveragePool": 2, "MaxRoiPool": 2}
"""Operations of which there are more kinds of cases: how many times as many."""
_WITHOUT_REFERENCE = ("MaxRoiPool",)


def model_of(op: str, attributes: dict[str, Any], inputs: list[np.ndarray | None]) -> onnx.ModelProto:
    """A model of one node; its first input is given, the others are in it."""
    names = ["" if value is None else f"i{index}" for index, value in enumerate(inputs)]
    constants = [
        numpy_helper.from_array(value, name)
        for value, name in zip(inputs[1:], names[1:], strict=True)
        if value is not None
    ]
    assert inputs[0] is not None
    given = helper.make_tensor_value_info("i0", TensorProto.FLOAT, inputs[0].shape)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node(op, names, ["y"], **attributes)
    graph = helper.make_graph([node], "one", [given], [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)


def expected_of(model: onnx.ModelProto, values: np.ndarray) -> np.ndarray | None:
    """What onnxruntime and, where it has the operation, onnx's reference give; None where they disagree."""
    try:
        first = session(model).run(None, {"i0": values})[0]
        if model.graph.node[0].op_type in _WITHOUT_REFERENCE:
            return first
        second = ReferenceEvaluator(model).run(None, {"i0": values})[0]
    except Exception:  # each fails in its own way on what it does not take
        return None
    alike = first.shape == second.shape and np.allclose(first, second, **_CLOSE, equal_nan=True)
    return first if alike else None


def problem(model: onnx.ModelProto, values: np.ndarray, expected: np.ndarray) -> str:
    """What is wrong with the converted operation; empty: nothing."""
    try:
        with torch.inference_mode():
            given = convert(model).module(torch.from_numpy(values)).numpy()
    except Exception as error:  # whatever it does, it has failed
        return f"{type(error).__name__}: {error}".splitlines()[0][:120]
    if given.shape != expected.shape:
        return f"shape {given.shape} instead of {expected.shape}"
    if np.allclose(given, expected, **_CLOSE, equal_nan=True):
        return ""
    return f"largest difference {np.abs(given - expected).max():.2g}"


def measure(op: str, count: int) -> dict[str, Any]:
    """Random cases of an operation, until as many were agreed on as are wanted."""
    draw = np.random.default_rng(sum(map(ord, op)))
    row: dict[str, Any] = {"op": op, "cases": 0, "agreed": 0, "equal": 0, "different": 0}
    row["first_difference"] = ""
    while row["agreed"] < count and row["cases"] < 10 * count:
        attributes, inputs = CASES[op](draw)
        model = model_of(op, attributes, inputs)
        assert inputs[0] is not None
        row["cases"] += 1
        expected = expected_of(model, inputs[0])
        if expected is None or not expected.size:
            continue
        row["agreed"] += 1
        wrong = problem(model, inputs[0], expected)
        row["different" if wrong else "equal"] += 1
        if wrong:
            shown = [inputs[0].shape, *(None if value is None else value.tolist() for value in inputs[1:])]
            text = f"{wrong}: {attributes} {shown if op != 'Conv' else inputs[0].shape}"
            print(op, text)
            row["first_difference"] = row["first_difference"] or text[:200]
    return row


def main() -> None:
    """Runs the cases and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--cases", type=int, default=150)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = [measure(op, options.cases * _MORE.get(op, 1)) for op in CASES if options.only in op]
    for row in rows:
        print(*row.values())
    with TABLE.open(newline="", encoding="utf-8") as file:
        known = {row["op"]: row for row in csv.DictReader(file)} | {row["op"]: row for row in rows}
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(known[op] for op in CASES if op in known)


if __name__ == "__main__":
    main()
