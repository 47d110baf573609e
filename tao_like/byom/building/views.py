"""One node of the source as the function that converts it sees it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, overload

import torch
from torch import Tensor, fx, nn

from tao_like.byom.building import host
from tao_like.byom.building.ahead import Ahead
from tao_like.byom.building.roles import Role, Use
from tao_like.byom.building.sizes import Arithmetic, Items
from tao_like.byom.source.graph import Graph, Node, TensorType
from tao_like.errors import ConversionError


@dataclass
class Value:
    """What a name of the source stands for while the network is built.

    Attributes:
        name: the source's.
        type: what is known of it.
        node: what computes it; None for a constant.
        constant: its tensor, where the file itself says it.
        sizes: its numbers one by one, where it is shape arithmetic; ``node`` then is their tensor, if any.
        sources: initializers that a constant was made from.
    """

    name: str
    type: TensorType = field(default_factory=TensorType)
    node: fx.Node | None = None
    constant: Tensor | None = None
    sizes: Items | None = None
    sources: tuple[str, ...] = ()


class Building(Protocol):
    """The network that is being built, as the view of a node sees it.

    Attributes:
        graph: the source.
        fx: the graph that is built.
        root: the module that holds what the graph calls.
        uses: what became of each initializer so far.
        notes: what to tell the user so far.
        values: what each name of the source stands for.
        arithmetic: for numbers that follow from sizes.
        ahead: what comes of a value further on.
        float_before_quantising: the same before a quantization that the source makes.
    """

    graph: Graph
    fx: torch.fx.Graph
    root: nn.Module
    uses: list[Use]
    notes: list[str]
    values: dict[str, Value]
    arithmetic: Arithmetic
    ahead: Ahead
    float_before_quantising: dict[str, Value]

    def items(self, value: Value) -> Items | None:
        """A value as numbers and nodes that compute numbers; None where it is a tensor."""

    def tensor(self, value: Value, view: NodeView | None = None, position: int = 0) -> torch.fx.Node:
        """A value as a node that gives a tensor."""

    def is_image(self, value: Value) -> bool:
        """Whether a value is an image that the network was given."""

    def is_position(self, value: Value) -> bool:
        """Whether a value tells positions of a map."""

    def is_independent_of_input(self, value: Value) -> bool:
        """Whether a value is the same whatever the network is given."""

    def add_module(self, view: NodeView, module: nn.Module, *, tied: bool) -> str:
        """Puts a module into the network and returns its path."""

    def note_constant(self, value: Value, role: Role, path: str = "") -> None:
        """Notes what became of a constant."""


class NodeView:
    """One node of the source, as the function that converts it sees it.

    Attributes:
        builder: of the network.
        node: operation, names and attributes.
        index: its index in the graph.
        weights: name of an initializer that went into a module, to its role.
    """

    def __init__(self, builder: Building, node: Node, inputs: list[Value | None], index: int) -> None:
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

    def sizes(self, index: int, attribute: str = "") -> Any:
        """Numbers from an attribute or an input; None: not given.

        Returns:
            A number or a node that computes it, a list of these, or where it is a tensor a node that gives
            one of these.
        """
        if attribute and attribute in self.node.attributes:
            return self.node.attributes[attribute]
        if not self.has(index):
            return None
        value = self.input(index)
        found = self.builder.items(value)
        if found is not None:
            return found.tolist()
        if value.constant is not None:
            self.builder.note_constant(value, "shape")
            return value.constant.tolist()
        return self._emit(host.to_numbers, (self.builder.tensor(value),))

    def size(self, index: int, axis: int) -> Any:
        """The size of an axis of an input: a number, or a node that computes it."""
        value = self.input(index)
        if value.constant is not None:
            return value.constant.shape[axis]
        return self.builder.arithmetic.size(self.builder.tensor(value), axis)

    def scalar(self, index: int) -> Any:
        """An input that is one number: the number, or the input itself where it is computed."""
        value = self.input(index)
        if value.constant is not None and value.constant.numel() == 1:
            self.builder.note_constant(value, "scalar")
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

    @overload
    def module(self, module: nn.Module, *arguments: Any, tied: bool = False) -> Value: ...

    @overload
    def module(self, module: nn.Module, *arguments: Any, tied: bool = False, count: int) -> Any: ...

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
