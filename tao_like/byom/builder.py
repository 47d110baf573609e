"""From a typed ONNX graph to an ``fx.GraphModule`` of real modules and plain torch functions."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from tao_like.byom import host
from tao_like.byom.graph import Graph, Node, TensorType, bodies
from tao_like.byom.naming import ModuleTree, attribute_path, identifier, module_path
from tao_like.byom.registry import find_converter, find_host_function
from tao_like.byom.roles import TRAINED_ROLES, Role, Use, operand_role
from tao_like.errors import ConversionError, TaoLikeError

MOST_HOST_VALUES = 64
"""A constant with more values than this is no shape."""
MOST_FOLDED_VALUES = 2**27
"""Larger results of constants alone are computed when the network runs, not kept."""


@dataclass
class Value:
    """What a name of the source stands for while the network is built.

    Attributes:
        name: the source's.
        type: what is known of it.
        node: what computes it; None for a constant.
        constant: its tensor, where the file itself says it.
        host: ``node`` gives Python numbers (one, or a list), not a tensor.
        sources: initializers that a constant was made from.
    """

    name: str
    type: TensorType = field(default_factory=TensorType)
    node: fx.Node | None = None
    constant: Tensor | None = None
    host: bool = False
    sources: tuple[str, ...] = ()


@dataclass
class Built:
    """A network and what became of the source's constants.

    Attributes:
        module: takes the graph's inputs in order; gives one output, or a tuple.
        uses: every use of an initializer.
        places: name of a node's first output to the module or function that computes it.
        notes: what a user should know.
    """

    module: fx.GraphModule
    uses: list[Use]
    places: dict[str, fx.Node]
    notes: list[str]


class Builder:
    """Builds one network.

    Args:
        graph: of which every operation has a converter.
        outer: values of the enclosing graph that a body may use, by name; these become inputs of its own.
    """

    def __init__(self, graph: Graph, outer: Sequence[str] = ()) -> None:
        self.graph = graph
        self.fx = fx.Graph()
        self.root = nn.Module()
        self.tree = ModuleTree(self.root)
        self.values: dict[str, Value] = {}
        self.uses: list[Use] = []
        self.notes: list[str] = []
        self._tied: dict[Any, str] = {}
        self._attributes: dict[str, fx.Node] = {}
        self._images: set[str] = set()
        self.float_before_quantising: dict[str, Value] = {}
        for name in (*graph.inputs, *outer):
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
        places = {name: value.node for name, value in self.values.items() if value.node is not None}
        self.fx.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
        self.fx.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
        self.fx.lint()
        module = fx.GraphModule(self.root, self.fx, class_name="ImportedNetwork")
        kept = set(module.graph.nodes)
        alive = {name: node for name, node in places.items() if node in kept}
        return Built(module, self.uses, alive, self.notes)

    # --- one node ---

    def _convert(self, node: Node, index: int) -> None:
        inputs = [self.values[name] if name else None for name in node.inputs]
        if not self._on_host(node, inputs):
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
                known = self.graph.type_of(name)
                kept = known if known.dtype or known.shape is not None else value.type
                self.values[name] = Value(name, kept, value.node, value.constant, value.host, value.sources)

    def _grows(self, node: Node) -> bool:
        """Whether the results of constants may be too large to be kept."""
        for name in node.outputs:
            shape = self.graph.type_of(name).shape
            sizes = [size for size in shape or () if isinstance(size, int)]
            if functools.reduce(operator.mul, sizes, 1) > MOST_FOLDED_VALUES:
                return True
        return False

    def _follow_images(self, node: Node) -> None:
        """Keeps account of what is still the input as it came, so that image means and stds are known."""
        plain = {"Sub", "Div", "Mul", "Add", "Cast", "Transpose", "Identity", "Gather", "Concat", "Split"}
        if node.op in plain and any(name in self._images for name in node.inputs):
            self._images.update(node.outputs)

    def is_image(self, value: Value) -> bool:
        """Whether a value is the network's input, but for scaling."""
        return value.name in self._images

    # --- numbers instead of tensors ---

    def _on_host(self, node: Node, inputs: list[Value | None]) -> bool:
        """Does shape arithmetic in Python, so that sizes stay numbers: eager, traced or captured."""
        function = find_host_function(node.domain, node.op)
        if function is None or not any(value is not None and value.host for value in inputs):
            return False
        arguments = [None if value is None else self.host(value) for value in inputs]
        if any(value is not None and found is None for value, found in zip(inputs, arguments, strict=True)):
            return False
        rank = self.graph.type_of(node.outputs[0]).rank
        if rank is None and node.op in ("Unsqueeze", "Reshape", "Expand"):
            return False
        if rank is not None and rank > 1:
            return False
        # An attribute's name becomes a keyword in code, so only names that the function itself has may pass.
        known = inspect.signature(function).parameters
        settings = {
            name: value for name, value in node.attributes.items() if name in known and _is_plain(value)
        }
        result = self.fx.call_function(function, tuple(arguments), settings)
        outputs = [result] if len(node.outputs) == 1 else [result[i] for i in range(len(node.outputs))]
        for name, output in zip(node.outputs, outputs, strict=True):
            self.values[name] = Value(name, self.graph.type_of(name), output, host=True)
        return True

    def host(self, value: Value) -> Any:
        """A value as Python numbers: a node that gives them, or the numbers; None where it is a tensor."""
        if value.host:
            return value.node
        tensor = value.constant
        if tensor is None or tensor.ndim > 1 or tensor.numel() > MOST_HOST_VALUES:
            return None
        self._note_constant(value, "shape")
        return tensor.tolist()

    # --- tensors ---

    def tensor(self, value: Value, view: NodeView | None = None, position: int = 0) -> fx.Node:
        """A value as a node that gives a tensor; a constant becomes a parameter or a buffer."""
        if value.constant is None:
            assert value.node is not None
            if not value.host:
                return value.node
            made = self.fx.call_function(host.to_tensor, (value.node, value.type.dtype))
            value.node, value.host = made, False
            return made
        key = value.name
        if key not in self._attributes:
            role: Role = operand_role(view, position, value) if view is not None else "constant"
            path = attribute_path(key, "constants")
            path = self.tree.add_tensor(path, value.constant, trainable=role in TRAINED_ROLES)
            self._note_constant(value, role, path)
            self._attributes[key] = self.fx.get_attr(path)
        return self._attributes[key]

    def _note_constant(self, value: Value, role: Role, path: str = "") -> None:
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


def _is_plain(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(isinstance(item, int | float) for item in items)


class NodeView:
    """One node of the source, as the function that converts it sees it.

    Attributes:
        node: operation, names and attributes.
        index: its place in the graph.
        weights: name of an initializer that went into a module, to its role.
    """

    def __init__(self, builder: Builder, node: Node, inputs: list[Value | None], index: int) -> None:
        self.builder = builder
        self.node = node
        self.index = index
        self.weights: dict[str, Role] = {}
        self._inputs = inputs

    # --- what the source says ---

    @property
    def opset(self) -> int:
        """Version of the operators of this node's domain."""
        return self.builder.graph.opsets.get(self.node.domain, 1)

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default where the source leaves it out."""
        return self.node.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether the source gives this input."""
        return index < len(self._inputs) and self._inputs[index] is not None

    def input(self, index: int) -> Value:
        """An input.

        Raises:
            ConversionError: the source does not give it.
        """
        value = self._inputs[index] if index < len(self._inputs) else None
        if value is None:
            raise ConversionError(f"its input {index} is missing")
        return value

    def inputs(self) -> list[Value]:
        """All inputs that are given, in order."""
        return [value for value in self._inputs if value is not None]

    def constant(self, index: int) -> Tensor | None:
        """The tensor of an input that the file itself holds; None where it is computed or not given."""
        return self.input(index).constant if self.has(index) else None

    def rank(self, index: int) -> int | None:
        """The number of axes of an input, where it is known."""
        return self.input(index).type.rank

    def output_shape(self, index: int = 0) -> tuple[Any, ...] | None:
        """What is known of the shape of an output."""
        return self.builder.graph.type_of(self.node.outputs[index]).shape

    def sizes(self, index: int, attribute: str = "") -> Any:
        """Whole numbers from an attribute or an input: a list, or a node that gives one; None: not given."""
        if attribute and attribute in self.node.attributes:
            return self.node.attributes[attribute]
        if not self.has(index):
            return None
        value = self.input(index)
        found = self.builder.host(value)
        if found is None and value.constant is not None:
            self.builder._note_constant(value, "shape")
            return value.constant.tolist()
        return self._emit(host.to_numbers, (self.builder.tensor(value),)) if found is None else found

    def scalar(self, index: int) -> Any:
        """An input that is one number: the number, or the input itself where it is computed."""
        value = self.input(index)
        if value.constant is not None and value.constant.numel() == 1:
            self.builder._note_constant(value, "scalar")
            return value.constant.item()
        return value

    def weight(self, index: int, role: Role = "weight") -> Tensor:
        """A constant input that goes into a module as its weight, bias, scale or statistic."""
        value = self.input(index)
        assert value.constant is not None
        self.weights |= dict.fromkeys(value.sources or (value.name,), role)
        return value.constant

    # --- what it becomes ---

    def call(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Value:
        """A call of a torch function; its arguments are inputs, results of other calls, or plain numbers."""
        result = self._emit(function, self._arguments(arguments), self._settings(settings))
        return Value(self.node.outputs[0], node=result)

    def calls(
        self, count: int, function: Callable[..., Any], *arguments: Any, **settings: Any
    ) -> tuple[Value, ...]:
        """A call of a function that gives a tuple."""
        result = self._emit(function, self._arguments(arguments), self._settings(settings))
        return self._parts(result, count)

    def numbers(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Value:
        """A call of a function that gives Python numbers, such as the sizes of a tensor."""
        value = self.call(function, *arguments, **settings)
        return Value(value.name, value.type, value.node, host=True)

    def module(self, module: nn.Module, *arguments: Any, tied: bool = False, count: int = 1) -> Any:
        """A call of a module.

        Args:
            module: holds the tensors that ``weight`` gave.
            arguments: its inputs.
            tied: one module serves where the source uses the same weights again.
            count: outputs; with more than one, the module gives a tuple, and so does this.
        """
        module.train(self.builder.root.training)
        path = self.builder.add_module(self, module, tied=tied)
        self.builder.uses += [Use(name, role, path) for name, role in self.weights.items()]
        result = self.builder.fx.call_module(path, self._arguments(arguments))
        return Value(self.node.outputs[0], node=result) if count == 1 else self._parts(result, count)

    def note(self, text: str) -> None:
        """Adds a line to the report."""
        if text not in self.builder.notes:
            self.builder.notes.append(text)

    def alias(self, value: Value) -> Value:
        """The input itself as output."""
        return value

    def _emit(self, function: Callable[..., Any], arguments: Any = (), settings: Any = None) -> Any:
        return self.builder.fx.call_function(function, tuple(arguments), settings or {})

    def _parts(self, result: Any, count: int) -> tuple[Value, ...]:
        nodes = [self.builder.fx.call_function(operator.getitem, (result, i)) for i in range(count)]
        return tuple(Value("", node=node) for node in nodes)

    def _arguments(self, arguments: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(self._argument(item) for item in arguments)

    def _settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {name: self._argument(item) for name, item in settings.items()}

    def _argument(self, item: Any) -> Any:
        if isinstance(item, Value):
            position = next((i for i, value in enumerate(self._inputs) if value is item), 0)
            return self.builder.tensor(item, self, position)
        if isinstance(item, list | tuple):
            return type(item)(self._argument(one) for one in item)
        if isinstance(item, str):
            raise ConversionError("a text of the file cannot be part of the network's code")
        return item


class FoldingView(NodeView):
    """A node of which all inputs are constants: it is computed at once, and becomes a constant."""

    def sizes(self, index: int, attribute: str = "") -> Any:
        """Whole numbers from an attribute or an input."""
        if attribute and attribute in self.node.attributes:
            return self.node.attributes[attribute]
        constant = self.constant(index)
        return None if constant is None else constant.tolist()

    def scalar(self, index: int) -> Any:
        """An input that is one number."""
        constant = self.constant(index)
        assert constant is not None
        return constant.item() if constant.numel() == 1 else self.input(index)

    def call(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Value:
        """Computes the result."""
        with torch.no_grad():
            return self._folded(function(*self._arguments(arguments), **self._settings(settings)))

    def calls(
        self, count: int, function: Callable[..., Any], *arguments: Any, **settings: Any
    ) -> tuple[Value, ...]:
        """Computes the results."""
        with torch.no_grad():
            results = function(*self._arguments(arguments), **self._settings(settings))
        return tuple(self._folded(item) for item in results[:count])

    def numbers(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Value:
        """Computes the numbers, as a tensor."""
        return self.call(
            lambda *given, **named: host.to_tensor(function(*given, **named)), *arguments, **settings
        )

    def module(self, module: nn.Module, *arguments: Any, tied: bool = False, count: int = 1) -> Any:
        """Computes the module's results."""
        del tied
        if count == 1:
            return self.call(module.eval(), *arguments)
        return self.calls(count, module.eval(), *arguments)

    def _folded(self, result: Any) -> Value:
        if not isinstance(result, Tensor):
            result = host.to_tensor(result)
        sources = dict.fromkeys(name for value in self.inputs() for name in value.sources)
        name = self.node.outputs[0]
        return Value(
            name, TensorType(result.dtype, tuple(result.shape)), constant=result, sources=tuple(sources)
        )

    def _argument(self, item: Any) -> Any:
        if isinstance(item, Value):
            return item.constant
        if isinstance(item, list | tuple):
            return type(item)(self._argument(one) for one in item)
        return item
