"""An ONNX graph as plain typed Python: nodes in the order in which they can be run, constants as tensors."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from tao_like.byom.source.unreadable import UnreadableModelError
from tao_like.errors import ConversionError

Dimension = int | str | None
"""A size, the name of a size that may differ from run to run, or None where nothing is known."""
Shape = tuple[Dimension, ...]

STANDARD_DOMAINS = ("", "ai.onnx")
NAMED_AT_MOST = 5
"""Names that a message lists before it only counts."""


@dataclass(frozen=True)
class TensorType:
    """What the source says of a value.

    Attributes:
        dtype: element type; None where unknown or unknown to torch.
        shape: None where not even the number of axes is known.
    """

    dtype: torch.dtype | None = None
    shape: Shape | None = None

    @property
    def rank(self) -> int | None:
        """The number of axes, where it is known."""
        return None if self.shape is None else len(self.shape)


@dataclass
class Node:
    """One operation.

    Attributes:
        op: its name in the standard, such as ``Conv``.
        domain: the standard's is ``""``.
        name: the source's name of this node; may be empty.
        inputs: names of values; an optional input that is left out is ``""``.
        outputs: names of values.
        attributes: numbers, texts, tensors, graphs, or lists of them.
    """

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    name: str = ""

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{self.qualified} '{self.name or next(filter(None, self.outputs), '?')}'"

    @property
    def qualified(self) -> str:
        """The operation with its domain in front, where that is not the standard's."""
        return f"{self.domain}.{self.op}" if self.domain else self.op


@dataclass
class Graph:
    """A network, or the body of a branch or a loop.

    Attributes:
        inputs: names of the values that the caller gives.
        outputs: names of the values that it gives back.
        nodes: each after those whose results it uses.
        constants: initializers by name.
        types: what is known of values, by name.
        opsets: version of the operators by domain.
    """

    inputs: list[str]
    outputs: list[str]
    nodes: list[Node]
    constants: dict[str, Tensor]
    types: dict[str, TensorType]
    opsets: dict[str, int]

    def type_of(self, name: str) -> TensorType:
        """What is known of a value."""
        return self.types.get(name, TensorType())

    def captured(self) -> list[str]:
        """Names that this graph uses and does not make: a body's values from outside, in order of use."""
        made = {*self.inputs, *self.constants, ""}
        names: dict[str, None] = {}
        for node in self.nodes:
            inner = [name for body in bodies(node) for name in body.captured()]
            names |= dict.fromkeys(name for name in (*node.inputs, *inner) if name not in made)
            made.update(node.outputs)
        return list(names | dict.fromkeys(name for name in self.outputs if name not in made))


def bodies(node: Node) -> list[Graph]:
    """The graphs that a node holds: branches, or the body of a loop."""
    return [value for value in node.attributes.values() if isinstance(value, Graph)]


def all_nodes(graph: Graph) -> Iterable[Node]:
    """Every node, those in branches and loops included."""
    for node in graph.nodes:
        yield node
        for body in bodies(node):
            yield from all_nodes(body)


def graph_of(model: onnx.ModelProto) -> Graph:
    """The typed form of a model's graph.

    Raises:
        ConversionError: nodes need each other in a circle, or a value is missing.
    """
    opsets = {_domain(item.domain): item.version for item in model.opset_import}
    return _graph(model.graph, opsets)


def _graph(proto: onnx.GraphProto, opsets: Mapping[str, int], known: Iterable[str] = ()) -> Graph:
    _check_texts(item.name for item in (*proto.initializer, *proto.input, *proto.output))
    constants = {item.name: to_tensor(item) for item in proto.initializer}
    if proto.sparse_initializer:
        raise ConversionError(
            f"the graph '{proto.name}' holds sparse initializers; only dense ones can be read"
        )
    inputs = [item.name for item in proto.input if item.name not in constants]
    outer = {*known, *constants, *inputs}
    # The bodies of branches and loops see what any node of this graph makes.
    visible = outer.union(*(node.output for node in proto.node)) if proto.node else outer
    nodes = [_node(item, opsets, visible) for item in proto.node]
    outputs = [item.name for item in proto.output]
    if not outputs:
        raise UnreadableModelError(f"the graph '{proto.name}' gives nothing back: it has no outputs")
    unmade = [name for name in outputs if name not in visible]
    if unmade:
        raise UnreadableModelError(f"the graph gives back the value '{unmade[0]}', which nothing makes")
    return Graph(
        inputs, outputs, _in_order(nodes, outer), constants, types_of(proto, constants), dict(opsets)
    )


def types_of(proto: onnx.GraphProto, constants: Mapping[str, Tensor]) -> dict[str, TensorType]:
    """The types of a graph's values by name: what it says of them, and those of its constants."""
    said = {
        item.name: _type(item.type)
        for item in (*proto.value_info, *proto.output, *proto.input)
        if item.type.HasField("tensor_type")
    }
    return said | {name: TensorType(one.dtype, tuple(one.shape)) for name, one in constants.items()}


def _node(proto: onnx.NodeProto, opsets: Mapping[str, int], known: Iterable[str]) -> Node:
    attributes = [item.name for item in proto.attribute]
    _check_texts((*proto.input, *proto.output, *attributes, proto.op_type, proto.domain, proto.name))
    return Node(
        op=proto.op_type,
        inputs=list(proto.input),
        outputs=list(proto.output),
        attributes={item.name: _attribute(item, opsets, known) for item in proto.attribute},
        domain=_domain(proto.domain),
        name=proto.name,
    )


def _check_texts(names: Iterable[object]) -> None:
    """Refuses names that are no text: protobuf hands over damaged ones as bytes."""
    for name in names:
        if not isinstance(name, str):
            raise UnreadableModelError(f"the name {name!r} is no text: the file is damaged")


def _domain(name: str) -> str:
    return "" if name in STANDARD_DOMAINS else name


def _attribute(proto: onnx.AttributeProto, opsets: Mapping[str, int], known: Iterable[str]) -> Any:
    kind = onnx.AttributeProto
    if proto.type == kind.GRAPH:
        return _graph(proto.g, opsets, known)
    if proto.type == kind.TENSOR:
        return to_tensor(proto.t)
    if proto.type in (kind.STRING, kind.STRINGS):
        texts = [item.decode("utf-8", errors="replace") for item in proto.strings or [proto.s]]
        return texts if proto.type == kind.STRINGS else texts[0]
    if proto.type in (kind.INT, kind.INTS, kind.FLOAT, kind.FLOATS):
        value = onnx.helper.get_attribute_value(proto)
        return list(value) if proto.type in (kind.INTS, kind.FLOATS) else value
    raise ConversionError(f"the attribute '{proto.name}' is of a kind that cannot be read ({proto.type})")


def to_tensor(proto: onnx.TensorProto) -> Tensor:
    """An ONNX tensor as torch's.

    Raises:
        ConversionError: its data is missing or of another size than it declares, or torch lacks its type.
    """
    try:
        array = numpy_helper.to_array(proto)
    except Exception as error:  # on malformed tensors, onnx and numpy fail in many ways
        raise UnreadableModelError(f"the tensor '{proto.name}' cannot be read: {error}") from error
    if array.size != math.prod(proto.dims):
        raise UnreadableModelError(
            f"the tensor '{proto.name}' declares {list(proto.dims)} and holds {array.size} values"
        )
    dtype = dtype_of(proto.data_type)
    if dtype is None:
        kind = onnx.TensorProto.DataType.Name(proto.data_type)
        raise ConversionError(f"the tensor '{proto.name}' is of type {kind}, which torch does not have")
    if dtype == torch.bfloat16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array)).to(dtype)


_DTYPES: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.UINT16: torch.uint16,
    onnx.TensorProto.UINT32: torch.uint32,
    onnx.TensorProto.UINT64: torch.uint64,
    onnx.TensorProto.BOOL: torch.bool,
    onnx.TensorProto.COMPLEX64: torch.complex64,
    onnx.TensorProto.COMPLEX128: torch.complex128,
}


def dtype_of(code: int) -> torch.dtype | None:
    """torch's type for a code of ONNX; None where it has none."""
    return _DTYPES.get(code)


def code_of(dtype: torch.dtype) -> int:
    """ONNX's code for a type of torch; 0, which says nothing, where it has none."""
    return next((code for code, kind in _DTYPES.items() if kind == dtype), onnx.TensorProto.UNDEFINED)


def _type(proto: onnx.TypeProto) -> TensorType:
    kind = proto.tensor_type
    shape: Shape | None = None
    if kind.HasField("shape"):
        shape = tuple(_dimension(item) for item in kind.shape.dim)
    return TensorType(dtype_of(kind.elem_type), shape)


def _dimension(proto: onnx.TensorShapeProto.Dimension) -> Dimension:
    if proto.HasField("dim_value"):
        # Paddle writes -1 for a size that may differ.
        return proto.dim_value if proto.dim_value >= 0 else None
    return proto.dim_param or None


def _in_order(nodes: list[Node], known: Iterable[str]) -> list[Node]:
    """The nodes, each after those whose results it uses; the source's order is kept where it can be."""
    maker: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.outputs):
            if name in maker:
                raise UnreadableModelError(f"two nodes make the value '{name}': the graph is damaged")
            maker[name] = index
    available = set(known)
    needs = [
        {maker[name] for name in _used(node) if name in maker and name not in available} for node in nodes
    ]
    for node in nodes:
        missing = [name for name in node.inputs if name and name not in maker and name not in available]
        if missing:
            raise UnreadableModelError(f"{node.title} needs the value '{missing[0]}', which nothing makes")
    users: dict[int, list[int]] = {}
    for index, wanted in enumerate(needs):
        for source in wanted:
            users.setdefault(source, []).append(index)
    ready = [index for index, wanted in enumerate(needs) if not wanted]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for user in users.get(index, ()):
            needs[user].discard(index)
            if not needs[user]:
                heapq.heappush(ready, user)
    if len(order) < len(nodes):
        stuck = sorted({*range(len(nodes))} - {*order})[:NAMED_AT_MOST]
        names = ", ".join(nodes[index].title for index in stuck)
        raise UnreadableModelError(f"the graph runs in a circle through {names}")
    return [nodes[index] for index in order]


def _used(node: Node) -> set[str]:
    return {*node.inputs, *(name for body in bodies(node) for name in body.captured())} - {""}


def all_constants(graph: Graph) -> Iterable[tuple[str, Tensor]]:
    """Name and tensor of every initializer and Constant node, those in branches and loops included."""
    yield from graph.constants.items()
    for node in graph.nodes:
        value = node.attributes.get("value")
        if node.op == "Constant" and isinstance(value, Tensor):
            yield node.outputs[0], value
        for body in bodies(node):
            yield from all_constants(body)
