"""From a typed ONNX graph to an ``fx.GraphModule`` of real modules and plain torch functions."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from tao_like.byom.building import host, sizes
from tao_like.byom.building.ahead import Ahead
from tao_like.byom.building.in_place import write_in_place
from tao_like.byom.building.naming import ModuleTree, attribute_path, identifier, module_path
from tao_like.byom.building.network import ImportedGraph, note_role
from tao_like.byom.building.operands import operand_role
from tao_like.byom.building.registry import find_converter
from tao_like.byom.building.roles import TRAINED_ROLES, Role, Use
from tao_like.byom.building.tables import shared_values
from tao_like.byom.building.views import FoldingView, NodeView, Value
from tao_like.byom.source.graph import Graph, Node, TensorType, bodies
from tao_like.byom.source.ranks import rank_after
from tao_like.errors import ConversionError, TaoLikeError

_COUNTING = ("Range", "CumSum")
"""Operations that number positions."""
MOST_FOLDED_VALUES = 2**27
"""Larger results of constants alone are computed when the network runs, not kept."""


@dataclass
class Built:
    """A network and what became of the source's constants.

    Attributes:
        module: takes the graph's inputs in order; gives one output, or a tuple.
        uses: every use of an initializer.
        value_nodes: name of a node's first output to the module or function that computes it.
        notes: what a user should know.
    """

    module: ImportedGraph
    uses: list[Use]
    value_nodes: dict[str, fx.Node]
    notes: list[str]


class Builder:
    """Builds one network.

    Args:
        graph: of which every operation has a converter.
        outer: of a body, the values of the enclosing graph that it uses, by name; these become inputs of its
            own. None: the graph is no body.
    """

    def __init__(self, graph: Graph, outer: Sequence[str] | None = None) -> None:
        self.graph = graph
        self.ahead = Ahead(graph, is_body=outer is not None)
        self.fx = fx.Graph()
        self.arithmetic = sizes.Arithmetic(self.fx)
        self.root = nn.Module()
        self.tree = ModuleTree(self.root)
        self.values: dict[str, Value] = {}
        self.uses: list[Use] = []
        self.notes: list[str] = []
        self._tied: dict[Any, str] = {}
        self._attributes: dict[str, fx.Node] = {}
        self._images: set[str] = set()
        self._counted: set[fx.Node] = set()
        self.float_before_quantising: dict[str, Value] = {}
        for name in (*graph.inputs, *(outer or ())):
            node = self.fx.placeholder(self._input_name(name))
            self.values[name] = Value(name, graph.type_of(name), node)
            self._images.add(name)
        for name, tensor in graph.constants.items():
            self.values[name] = Value(name, graph.type_of(name), constant=tensor, sources=(name,))

    def _input_name(self, name: str) -> str:
        taken = {node.target for node in self.fx.nodes}
        word = base = identifier(name, "input")
        while word in taken:
            word = f"{base}_{len(taken)}"
        return word

    def build(self) -> Built:
        """Converts every node.

        Raises:
            ConversionError: a node cannot be converted; the message names it.
        """
        for index, node in enumerate(self.graph.nodes):
            try:
                self._convert(node, index)
            except TaoLikeError as error:
                raise type(error)(f"{node.title} cannot be converted: {error}") from error
            except Exception as error:  # malformed nodes make torch and Python fail in every way there is
                text = f"{type(error).__name__}: {error}".splitlines()[0]
                raise ConversionError(f"{node.title} cannot be converted: {text}") from error
        outputs = [self.tensor(self.values[name]) for name in self.graph.outputs]
        value_nodes = {name: value.node for name, value in self.values.items() if value.node is not None}
        self.fx.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
        self.fx.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
        self.fx.lint()
        module = ImportedGraph(self.root, self.fx, class_name="ImportedNetwork")
        kept = set(module.graph.nodes)
        alive = {name: node for name, node in value_nodes.items() if node in kept}
        write_in_place(module, self._same_shape({node: name for name, node in alive.items()}))
        return Built(module, self.uses, alive, self.notes)

    def _same_shape(self, names: dict[fx.Node, str]) -> Callable[[fx.Node, fx.Node], bool]:
        """A comparison of what is known of the shapes of two values."""

        def compare(left: fx.Node, right: fx.Node) -> bool:
            shapes = [self.graph.type_of(names.get(node, "")).shape for node in (left, right)]
            return shapes[0] is not None and shapes[0] == shapes[1] and None not in shapes[0]

        return compare

    # --- one node ---

    def _convert(self, node: Node, index: int) -> None:
        inputs = [self.values[name] if name else None for name in node.inputs]
        if not self._on_sizes(node, inputs):
            known = all(value is None or value.constant is not None for value in inputs)
            known = known and not bodies(node) and not self._grows(node)
            kind = FoldingView if known else NodeView
            view = kind(self, node, inputs, index)
            version = self.graph.opsets.get(node.domain, 1)
            function = find_converter(node.domain, node.op, version)
            assert function is not None, "operations are looked up before building begins"
            self._store(node, function(view), view)
        self._follow_images(node)

    def _store(self, node: Node, results: Value | tuple[Value, ...], view: NodeView) -> None:
        values = results if isinstance(results, tuple) else (results,)
        for name, value in zip(node.outputs, values, strict=False):
            if name:
                kept = self._type_after(node, name, value)
                self.values[name] = Value(name, kept, value.node, value.constant, value.sizes, value.sources)
                if node.op in _COUNTING and value.node is not None:
                    self._counted.add(value.node)

    def _type_after(self, node: Node, name: str, value: Value) -> TensorType:
        """What is known of a result: what the source says, else what the operation says of its rank."""
        known = self.graph.type_of(name)
        if known.shape is not None:
            return known
        if value.type.shape is not None:
            return TensorType(known.dtype or value.type.dtype, value.type.shape)
        given = [self.values[one].type.rank if one else None for one in node.inputs]
        rank = rank_after(node, given)
        return TensorType(known.dtype or value.type.dtype, None if rank is None else (None,) * rank)

    def _grows(self, node: Node) -> bool:
        """Whether the results of constants may be too large to be kept."""
        shapes = (self.graph.type_of(name).shape or () for name in node.outputs)
        known = ([size for size in shape if isinstance(size, int)] for shape in shapes)
        return any(math.prod(sizes) > MOST_FOLDED_VALUES for sizes in known)

    def _follow_images(self, node: Node) -> None:
        """Keeps account of what is still the input as it came, so that image means and stds are known."""
        plain = {"Sub", "Div", "Mul", "Add", "Cast", "Transpose", "Identity", "Gather", "Concat", "Split"}
        if node.op in plain and any(name in self._images for name in node.inputs):
            self._images.update(node.outputs)

    def is_image(self, value: Value) -> bool:
        """Whether a value is the network's input, but for scaling."""
        return value.name in self._images

    def is_position(self, value: Value) -> bool:
        """Whether a value counts positions: sizes and plain numbers go into it, no image and no weight."""
        nodes = self._without_inputs(value)
        return nodes is not None and any(node in self._counted for node in nodes)

    def is_independent_of_input(self, value: Value) -> bool:
        """Whether a value is the same whatever the network is given: sizes and numbers alone go into it."""
        return self._without_inputs(value) is not None

    def _without_inputs(self, value: Value) -> list[fx.Node] | None:
        """The nodes that compute a value from sizes and plain numbers; None where more goes into it."""
        if value.node is None:
            return None
        waiting, found = [value.node], list[fx.Node]()
        while waiting:
            node = waiting.pop()
            if sizes.is_size(node):
                continue
            if node.op == "get_attr":
                if isinstance(operator.attrgetter(str(node.target))(self.root), nn.Parameter):
                    return None
            elif node.op != "call_function":
                return None
            found.append(node)
            waiting += node.all_input_nodes
        return found

    # --- numbers instead of tensors ---

    def _on_sizes(self, node: Node, inputs: list[Value | None]) -> bool:
        """Does shape arithmetic on single numbers, so that sizes stay open: eager, traced or captured."""
        if node.domain:
            return False
        noted = len(self.uses)
        if node.op in ("Shape", "Size"):
            found = self._measured(node, inputs[0])
        elif any(value is not None and value.sizes is not None for value in inputs):
            given = [None if value is None else self.items(value) for value in inputs]
            known = all(value is None or one is not None for value, one in zip(inputs, given, strict=True))
            found = sizes.on_sizes(self.arithmetic, node.op, given, node.attributes) if known else None
        else:
            return False
        if found is None:
            # What was looked at as numbers is none of them.
            del self.uses[noted:]
            return False
        for name, items in zip(node.outputs, found, strict=False):
            kind = TensorType(self.graph.type_of(name).dtype, items.shape)
            if sizes.is_known(items):
                constant = sizes.tensor_of(items, kind.dtype)
                self.values[name] = Value(name, kind, constant=constant, sources=(name,))
            else:
                self.values[name] = Value(name, kind, sizes=items)
        return True

    def _measured(self, node: Node, value: Value | None) -> list[sizes.Items] | None:
        """The sizes of a value, or how many numbers it holds; None where not even its rank is known."""
        if value is None or value.constant is not None:
            return None
        if value.sizes is not None:
            shape: list[Any] = list(value.sizes.shape)
        else:
            tensor, rank = self.tensor(value), value.type.rank
            if node.op == "Size":
                return [sizes.items_of([self.arithmetic(host.count_of, tensor)], ())]
            if rank is None:
                return None
            shape = [self.arithmetic.size(tensor, axis) for axis in range(rank)]
        if node.op == "Size":
            return [sizes.items_of([math.prod(shape)], ())]
        part = shape[slice(node.attributes.get("start", 0), node.attributes.get("end"))]
        return [sizes.items_of(part, (len(part),))]

    def items(self, value: Value) -> sizes.Items | None:
        """A value as numbers and nodes that compute numbers; None where it is a tensor."""
        if value.sizes is not None:
            return value.sizes
        tensor = value.constant
        if tensor is None or tensor.numel() > sizes.MOST_ITEMS:
            return None
        self.note_constant(value, "shape")
        return sizes.items_of(tensor.flatten().tolist(), tuple(tensor.shape))

    # --- tensors ---

    def tensor(self, value: Value, view: NodeView | None = None, position: int = 0) -> fx.Node:
        """A value as a node that gives a tensor; a constant becomes a parameter or a buffer."""
        if value.constant is None:
            if value.node is None:
                assert value.sizes is not None
                # The sizes stay known: what comes later may use them, or their tensor.
                listed = value.sizes.tolist()
                value.node = self.fx.call_function(host.to_tensor, (listed, value.type.dtype))
            return value.node
        key = value.name
        if key not in self._attributes:
            role: Role = operand_role(view, position, value) if view is not None else "constant"
            path = attribute_path(key, "constants")
            table = shared_values(value.constant) if role == "embedding weight" else None
            if table is None:
                path = self.tree.add_tensor(path, value.constant, trainable=role in TRAINED_ROLES)
                self._attributes[key] = self.fx.get_attr(path)
            else:
                path = self.tree.add_module(path, table)
                self._attributes[key] = self.fx.call_module(path)
            note_role(self._attributes[key], role, value.constant)
            self.note_constant(value, role, path)
        return self._attributes[key]

    def note_constant(self, value: Value, role: Role, path: str = "") -> None:
        """Notes what became of a constant."""
        self.uses += [Use(name, role, path) for name in value.sources]

    def add_module(self, view: NodeView, module: nn.Module, *, tied: bool) -> str:
        """Puts a module into the network and returns its path; a tied one that is there already is shared."""
        key = (
            (view.node.op, tuple(view.weights), repr(view.node.attributes)) if tied and view.weights else None
        )
        if key is not None and key in self._tied:
            return self._tied[key]
        weight = next(iter(view.weights), "")
        path = module_path(view.node.name, weight, f"{identifier(view.node.op).lower()}_{view.index}")
        path = self.tree.add_module(path, module)
        if key is not None:
            self._tied[key] = path
        return path
