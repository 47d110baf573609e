"""The batch of a file that was written for one sample, set free.

The graph is walked once, with a number in the place of the batch that no network has by chance. Where it
meets a shape that was written down for one sample, the shape is written anew. Whether the result is right is
for the comparison with onnxruntime to say: sample by sample the source must give the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tao_like.byom.source.shapes import real_inputs, skeleton

_BATCH = "batch"
_MARK = 7919
"""A batch that no network has by chance: a prime. As a number it goes through every operation's inference."""
_MOST_VALUES = 1024
"""Constants with more values than this are no shapes; their values are not needed."""
_ARITHMETIC = frozenset(
    [
        *("Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Floor"),
        *("Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod"),
        *("Mul", "Neg", "Not", "Or", "Pow", "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"),
        *("Reshape", "Slice", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where"),
    ]
)
"""Operations of shape arithmetic, which are computed on the way."""

_ELEMENTWISE = frozenset(["Add", "Sub", "Mul", "Div", "Where"])

Known = dict[str, NDArray[np.generic]]


def free_batch(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model for any number of samples, where the source was written for one.

    Returns:
        None where the source is not fixed at one sample.
    """
    inputs = real_inputs(model)
    if not inputs or not all(_is_fixed_at_one(item) for item in inputs):
        return None
    free = onnx.ModelProto()
    free.CopyFrom(model)
    # What the source says of its inner values was true for one sample.
    del free.graph.value_info[:]
    for item in free.graph.output:
        if item.type.tensor_type.shape.dim:
            item.type.tensor_type.ClearField("shape")
    one = _Walk(free)
    one.through(list(free.graph.node))
    for item in real_inputs(free):
        item.type.tensor_type.shape.dim[0].dim_value = _MARK
    nodes = list(free.graph.node)
    del free.graph.node[:]
    free.graph.node.extend(_Freeing(free, one).through(nodes))
    for item in real_inputs(free):
        item.type.tensor_type.shape.dim[0].dim_param = _BATCH
    return free


def _is_fixed_at_one(item: onnx.ValueInfoProto) -> bool:
    sizes = item.type.tensor_type.shape.dim
    return len(sizes) > 1 and sizes[0].dim_value == 1


class _Walk:
    """Types of a graph's values, and the values of its shape arithmetic, node by node.

    Args:
        model: of which all inputs have a known shape.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.opsets = {item.domain: item.version for item in model.opset_import}
        small = skeleton(model)
        self.types = {item.name: item.type for item in small.graph.input}
        self.known: Known = {}
        for item in small.graph.initializer:
            self.set_known(item.name, numpy_helper.to_array(item))

    def set_known(self, name: str, value: NDArray[np.generic]) -> None:
        """Keeps the type and the numbers of a small value."""
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        self.types[name] = helper.make_tensor_type_proto(kind, value.shape)
        self.known[name] = value

    def shape(self, name: str) -> list[int] | None:
        """The sizes of a value; None where one of them is not known."""
        kind = self.types.get(name)
        if kind is None or not kind.tensor_type.HasField("shape"):
            return None
        sizes = kind.tensor_type.shape.dim
        return [item.dim_value for item in sizes] if all(s.HasField("dim_value") for s in sizes) else None

    def through(self, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """Walks nodes; gives them back with those that were added."""
        done = []
        for node in nodes:
            for one in (*self.before(node), node):
                self._infer(one)
                done.append(one)
        return done

    def before(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Nodes that are put in front of one."""
        del node
        return []

    def _infer(self, node: onnx.NodeProto) -> None:
        if self._compute(node):
            return
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opsets.get(node.domain, 1), node.domain)
            found = onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                {name: self.types[name] for name in node.input if name in self.types},
                {
                    name: numpy_helper.from_array(self.known[name], name)
                    for name in node.input
                    if name in self.known
                },
                opset_imports=list(self.model.opset_import),
                ir_version=self.model.ir_version,
            )
        except Exception:  # onnx fails in many ways on graphs that are odd and yet can be run
            return
        self.types.update(found)

    def _compute(self, node: onnx.NodeProto) -> bool:
        """Does shape arithmetic; says whether the node was that."""
        if node.domain not in ("", "ai.onnx"):
            return False
        if node.op_type == "Constant":
            values = [item.t for item in node.attribute if item.name == "value"]
            if not values or math.prod(values[0].dims) > _MOST_VALUES:
                return False
            self.set_known(node.output[0], numpy_helper.to_array(values[0]))
            return True
        if node.op_type == "Shape":
            sizes = self.shape(node.input[0])
            if sizes is not None:
                part = {item.name: item.i for item in node.attribute}
                chosen = sizes[part.get("start", 0) : part.get("end")]
                self.set_known(node.output[0], np.array(chosen, np.int64))
            return sizes is not None
        if node.op_type not in _ARITHMETIC or any(name and name not in self.known for name in node.input):
            return False
        if self._size_after(node) > _MOST_VALUES:
            return False
        try:
            result = self._run(node)
        except Exception:  # the evaluator fails in many ways on what it does not know
            return False
        if result.size <= _MOST_VALUES:
            self.set_known(node.output[0], result)
        return result.size <= _MOST_VALUES

    def _size_after(self, node: onnx.NodeProto) -> float:
        """How many values a node makes that can make many of few."""
        given = [self.known[name].astype(np.float64) for name in node.input if name]
        if node.op_type == "ConstantOfShape":
            return float(given[0].prod())
        if node.op_type in ("Expand", "Tile"):
            return float(given[1].prod() * max(given[0].size, 1))
        if node.op_type == "Range":
            return float(((given[1] - given[0]) / given[2]).max()) if given[2].all() else math.inf
        return 0.0

    def _run(self, node: onnx.NodeProto) -> NDArray[np.generic]:
        from onnx.reference import ReferenceEvaluator

        inputs = {name: self.known[name] for name in node.input if name}
        infos = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in inputs.items()
        ]
        output = onnx.ValueInfoProto(name=node.output[0])
        graph = helper.make_graph([node], "arithmetic", infos, [output])
        model = helper.make_model(graph, opset_imports=list(self.model.opset_import))
        results: Any = ReferenceEvaluator(model).run(None, inputs)
        return np.asarray(results[0])


class _Freeing(_Walk):
    """Rewrites shapes that were written down for one sample.

    Args:
        model: with the mark as batch of its inputs.
        single: a walk of the same graph with a batch of one.
    """

    def __init__(self, model: onnx.ModelProto, single: _Walk) -> None:
        super().__init__(model)
        self.single = single

    def before(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Changes a node where it is bound to one sample; nodes that compute its new shape."""
        if node.domain in ("", "ai.onnx"):
            if node.op_type == "Reshape" and len(node.input) > 1:
                self._free_reshape(node)
            if node.op_type == "Concat":
                return self._widen(node)
            if node.op_type == "Resize" and len(node.input) > 3:
                return self._free_resize(node)
            if node.op_type == "Gather":
                return self._free_gather(node)
            if node.op_type in _ELEMENTWISE:
                return self._repeat(node)
        return []

    def _batch_axis(self, name: str) -> int | None:
        """The axis that has the batch, where it is one."""
        found = [axis for axis, size in enumerate(self.shape(name) or ()) if size and size % _MARK == 0]
        return found[0] if len(found) == 1 else None

    def _constant(self, name: str, values: Sequence[int]) -> str:
        self.model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        self.set_known(name, np.array(values, np.int64))
        return name

    def _free_reshape(self, node: onnx.NodeProto) -> None:
        """A Reshape to numbers: the batch keeps its position in the order of the values."""
        axis, target = self._batch_axis(node.input[0]), self.known.get(node.input[1])
        goal, given = self.single.shape(node.output[0]), self.shape(node.input[0])
        if axis is None or target is None or goal is None or given is None or 0 in goal:
            return
        if any(size % _MARK == 0 for size in target.tolist() if size > 0):
            return  # The graph has computed it from the batch.
        before = math.prod(given[:axis])
        axes = [one for one in range(len(goal)) if math.prod(goal[:one]) == before]
        if not axes:
            return
        goal_axis = axes[0]
        kept = given[axis] == _MARK and goal_axis == axis and goal[goal_axis] == 1
        sizes = [*goal[:goal_axis], 0 if kept else -1, *goal[goal_axis + 1 :]]
        node.input[1] = self._constant(f"{node.output[0]}_free_shape", sizes)
        attributes = [item for item in node.attribute if item.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(attributes)

    def _size(self, name: str, axis: int, new: str) -> list[onnx.NodeProto]:
        """Nodes that give the size of an axis, as a list of one."""
        axes = self._constant(f"{new}_axis", [axis])
        return [
            helper.make_node("Shape", [name], [f"{new}_shape"]),
            helper.make_node("Gather", [f"{new}_shape", axes], [new], axis=0),
        ]

    def _along(
        self, op: str, name: str, axis: int, new: str, size: list[onnx.NodeProto]
    ) -> list[onnx.NodeProto]:
        """Nodes that give a value anew, along an axis as long or as often as ``{new}_size`` says."""
        behind = len(self.shape(name) or ()) - axis - 1
        before, after = (
            self._constant(f"{new}_{side}", [1] * count)
            for side, count in (("before", axis), ("behind", behind))
        )
        return [
            *size,
            helper.make_node("Concat", [before, f"{new}_size", after], [f"{new}_sizes"], axis=0),
            helper.make_node(op, [name, f"{new}_sizes"], [new]),
        ]

    def _widen(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Parts of a Concat that are the same for all samples, such as tokens: repeated for each."""
        marked = [name for name in node.input if self._batch_axis(name) is not None]
        along = next((item.i for item in node.attribute if item.name == "axis"), 0)
        axis = self._batch_axis(marked[0]) if marked else None
        shapes = [self.shape(name) for name in node.input]
        if axis is None or None in shapes or along % len(shapes[0] or [0]) == axis:
            return []
        added: list[onnx.NodeProto] = []
        for index, (name, shape) in enumerate(zip(list(node.input), shapes, strict=True)):
            if shape is None or shape[axis] != 1:
                continue
            new = f"{node.output[0]}_part_{index}"
            added += self._along("Expand", name, axis, new, self._size(marked[0], axis, f"{new}_size"))
            node.input[index] = new
        return added

    def _free_gather(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Indices of one sample's values in a row, as torch writes a strided view: those of each sample."""
        given, indices = self.shape(node.input[0]), self.known.get(node.input[1])
        along = next((item.i for item in node.attribute if item.name == "axis"), 0)
        if (
            given is None
            or len(given) != 1
            or along not in (0, -1)
            or self._batch_axis(node.input[0]) is None
        ):
            return []
        if indices is None or indices.ndim < 2 or indices.shape[0] != 1:
            return []
        new = f"{node.output[0]}_by_sample"
        rows = self._constant(f"{new}_shape", [-1, given[0] // _MARK])
        self.model.graph.initializer.append(numpy_helper.from_array(indices[0], f"{new}_indices"))
        self.set_known(f"{new}_indices", indices[0])
        added = helper.make_node("Reshape", [node.input[0], rows], [new])
        node.input[0], node.input[1] = new, f"{new}_indices"
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("axis", 1))
        return [added]

    def _repeat(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Operands with a row for each part of one sample, such as masks of windows: repeated for each.

        The parts of a sample lie behind each other, the samples around them.
        """
        marked = next((name for name in node.input if self._batch_axis(name) is not None), None)
        if marked is None:
            return []
        shape, axis = self.shape(marked) or [], self._batch_axis(marked) or 0
        behind, parts = len(shape) - axis, shape[axis] // _MARK
        added: list[onnx.NodeProto] = []
        for index, name in enumerate(list(node.input)):
            own = self.shape(name)
            if parts == 1 or own is None or len(own) < behind or own[-behind] != parts:
                continue
            new = f"{node.output[0]}_repeated_{index}"
            size = self._size(real_inputs(self.model)[0].name, 0, f"{new}_size")
            added += self._along("Tile", name, len(own) - behind, new, size)
            node.input[index] = new
        return added

    def _free_resize(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """A Resize to written sizes, of which the first is that of one sample."""
        sizes, given = self.known.get(node.input[3]), self.shape(node.input[0])
        if sizes is None or given is None or sizes.size != len(given) or given[0] != _MARK or sizes[0] != 1:
            return []
        new = f"{node.output[0]}_batch"
        added = self._size(node.input[0], 0, new)
        rest = self._constant(f"{new}_rest", sizes[1:].tolist())
        added.append(helper.make_node("Concat", [new, rest], [f"{new}_sizes"], axis=0))
        node.input[3] = f"{new}_sizes"
        return added
