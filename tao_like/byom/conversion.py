"""From a file to a network that trains."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import onnx
from torch import Tensor, fx

from tao_like.byom import ops  # noqa: F401
from tao_like.byom.building.builder import Builder
from tao_like.byom.building.registry import find_converter
from tao_like.byom.building.roles import Use
from tao_like.byom.patterns.gates import part_gates
from tao_like.byom.patterns.heads import with_heads
from tao_like.byom.patterns.kept_widths import keep_widths_of_heads
from tao_like.byom.patterns.recognition import recognise
from tao_like.byom.source.graph import NAMED_AT_MOST, Graph, TensorType, all_nodes, graph_of, types_of
from tao_like.byom.source.reading import LARGEST_TENSOR
from tao_like.byom.source.shapes import infer
from tao_like.errors import ConversionError


@dataclass
class Imported:
    """A foreign network in torch.

    Attributes:
        module: takes the source's inputs in order; gives one output, or a tuple.
        graph: the source, as it was converted.
        uses: what became of each initializer.
        value_nodes: name of a value of the source to what computes it in ``module``.
        notes: what a user should know.
    """

    module: fx.GraphModule
    graph: Graph
    uses: list[Use]
    value_nodes: dict[str, fx.Node]
    notes: list[str]

    @property
    def inputs(self) -> dict[str, TensorType]:
        """Name and type of each input."""
        return {name: self.graph.type_of(name) for name in self.graph.inputs}

    @property
    def outputs(self) -> dict[str, TensorType]:
        """Name and type of each output."""
        return {name: self.graph.type_of(name) for name in self.graph.outputs}

    @property
    def parameters(self) -> dict[str, Tensor]:
        """What trains, by name."""
        return dict(self.module.named_parameters())


def convert(model: onnx.ModelProto, *, heads: bool = True, gates: bool = True) -> Imported:
    """The network of a model, in evaluation mode.

    Args:
        model: as :func:`tao_like.byom.source.reading.read_model` gives it.
        heads: attention layers become modules that know their heads; bundles of before have none.
        gates: layers whose halves are multiplied become two; likewise.

    Raises:
        ConversionError: operations are not known (all of them are listed), or the graph is damaged.
    """
    graph = graph_of(model)
    refuse_unknown(graph)
    known = infer(model)
    if known is not None:
        graph.types = types_of(known.graph, graph.constants)
    _refuse_large(graph)
    built = Builder(recognise(graph)).build()
    built.module.eval()
    uses = with_heads(built.module, built.uses, built.value_nodes) if heads else built.uses
    keep_widths_of_heads(built.module)
    uses = part_gates(built.module, uses, built.value_nodes, graph) if gates else uses
    return Imported(built.module, graph, uses, built.value_nodes, built.notes)


def _refuse_large(graph: Graph) -> None:
    """Refuses a graph that says itself that it would fill the memory."""
    for name, kind in graph.types.items():
        count = math.prod(size for size in kind.shape or () if isinstance(size, int))
        if count > LARGEST_TENSOR:
            raise ConversionError(
                f"the value '{name}' would have {count} elements, which is too large; at most "
                f"{LARGEST_TENSOR} are allowed"
            )


def unknown_operations(graph: Graph) -> dict[str, list[str]]:
    """Operations that cannot be converted, with the names of their nodes."""
    found: dict[str, list[str]] = {}
    for node in all_nodes(graph):
        if find_converter(node.domain, node.op, graph.opsets.get(node.domain, 1)) is None:
            name = node.name or next(filter(None, node.outputs), "?")
            found.setdefault(node.qualified, []).append(name)
    return found


def refuse_unknown(graph: Graph) -> None:
    """Raises a ConversionError that lists every operation that cannot be converted."""
    unknown = unknown_operations(graph)
    if not unknown:
        return
    lines = []
    for op, names in sorted(unknown.items()):
        more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
        lines.append(f"  {op} ({len(names)}): {', '.join(names[:NAMED_AT_MOST])}{more}")
    raise ConversionError(
        f"{len(unknown)} kinds of operation are not known:\n"
        + "\n".join(lines)
        + "\nA function in Python can teach the converter one: see @converter in tao_like.byom; "
        "--module my_ops.py on the command line runs it"
    )


def operation_counts(graph: Graph) -> Counter[str]:
    """How often each operation occurs."""
    return Counter(node.qualified for node in all_nodes(graph))
