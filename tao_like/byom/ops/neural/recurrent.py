"""LSTM, GRU and RNN: torch's layers where they do the same, else step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.byom.building.registry import converter
from tao_like.byom.building.views import NodeView
from tao_like.errors import ConversionError

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_TORCH_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""ONNX has i o f c and z r h; torch i f c o and r z n."""
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Relu": functional.relu,
    "HardSigmoid": lambda values: torch.clamp(0.2 * values + 0.5, 0, 1),
    "Softsign": functional.softsign,
    "Softplus": functional.softplus,
}
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")


class Recurrent(nn.Module):
    """A recurrent layer step by step, with everything that the standard knows.

    Its weights are inputs, or the tensors that it is given here, as parameters.

    Args:
        kind: ``LSTM``, ``GRU`` or ``RNN``.
        hidden: width of the state.
        direction: ``forward``, ``reverse`` or ``bidirectional``.
        activations: names, for each direction one after the other.
        clip: bound of what goes into the activations; None: no bound.
        reset_after: a GRU resets after the product with the state.
        batch_first: the samples stand in front.
        forget_input: input and forget gate of an LSTM are coupled.
        weights: tensors by the name of the input that they replace.
    """

    def __init__(
        self,
        kind: str,
        hidden: int,
        direction: str,
        activations: list[str],
        clip: float | None,
        reset_after: bool,
        batch_first: bool,
        forget_input: bool,
        weights: dict[str, Tensor],
    ) -> None:
        super().__init__()
        self.kind, self.hidden, self.direction = kind, hidden, direction
        self.activations, self.clip, self.reset_after = activations, clip, reset_after
        self.batch_first, self.forget_input = batch_first, forget_input
        for name, tensor in weights.items():
            self.register_parameter(name, nn.Parameter(tensor.clone()))

    def forward(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """Outputs (T, D, N, H), the last state (D, N, H), and of an LSTM the last cell (D, N, H)."""
        given = dict(zip(_INPUTS, inputs, strict=False)) | dict(self.named_parameters())
        values = given["X"]
        assert values is not None
        values = values.transpose(0, 1) if self.batch_first else values
        lengths = given.get("sequence_lens")
        outputs, states, cells = [], [], []
        for index in range(2 if self.direction == "bidirectional" else 1):
            backwards = self.direction == "reverse" or index == 1
            one = {
                name: tensor[index] if tensor is not None else None
                for name, tensor in self._each(given, values).items()
            }
            steps, state, cell = self._run(values, one, index, lengths, backwards)
            outputs.append(steps)
            states.append(state)
            cells.append(cell)
        result = torch.stack(outputs, 1)
        last, memory = torch.stack(states), torch.stack(cells)
        if self.batch_first:
            result, last, memory = result.permute(2, 0, 1, 3), last.transpose(0, 1), memory.transpose(0, 1)
        return (result, last, memory) if self.kind == "LSTM" else (result, last)

    def _each(self, given: dict[str, Any], values: Tensor) -> dict[str, Tensor | None]:
        """The weights and first states, a direction in front; those left out are zero."""
        directions = 2 if self.direction == "bidirectional" else 1
        gates, hidden, batch = _GATES[self.kind], self.hidden, values.shape[1]
        bias = given.get("B")
        parts: dict[str, Tensor | None] = {
            "W": given["W"],
            "R": given["R"],
            "B": values.new_zeros(directions, 2 * gates * hidden) if bias is None else bias,
            "P": given.get("P"),
        }
        for name in ("initial_h", "initial_c"):
            state = given.get(name)
            if state is None:
                state = values.new_zeros(directions, batch, hidden)
            elif self.batch_first:
                state = state.transpose(0, 1)
            parts[name] = state
        return parts

    def _run(
        self,
        values: Tensor,
        weights: dict[str, Any],
        index: int,
        lengths: Tensor | None,
        backwards: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One direction: outputs (T, N, H), last state and last cell (N, H)."""
        steps = values.shape[0]
        state, cell = weights["initial_h"], weights["initial_c"]
        results: list[Tensor] = [torch.zeros_like(state)] * steps
        for step in range(steps - 1, -1, -1) if backwards else range(steps):
            new_state, new_cell = self._step(values[step], state, cell, weights, index)
            if lengths is None:
                state, cell, results[step] = new_state, new_cell, new_state
                continue
            running = (step < lengths).unsqueeze(1)
            state, cell = torch.where(running, new_state, state), torch.where(running, new_cell, cell)
            results[step] = torch.where(running, new_state, torch.zeros_like(new_state))
        return torch.stack(results), state, cell

    def _step(
        self, values: Tensor, state: Tensor, cell: Tensor, weights: dict[str, Any], index: int
    ) -> tuple[Tensor, Tensor]:
        gates = _GATES[self.kind]
        count = len(_DEFAULTS[self.kind])
        names = self.activations[index * count : (index + 1) * count]
        act = [self._clipped(_ACTIVATIONS[name]) for name in names]
        own_bias, state_bias = weights["B"].chunk(2)
        own = functional.linear(values, weights["W"], own_bias)
        if self.kind == "RNN":
            return act[0](own + functional.linear(state, weights["R"], state_bias)), cell
        if self.kind == "GRU":
            return self._gru(own, state, weights["R"], state_bias, act), cell
        i, o, f, c = (own + functional.linear(state, weights["R"], state_bias)).chunk(gates, 1)
        peek_i, peek_o, peek_f = weights["P"].chunk(3) if weights["P"] is not None else (0.0, 0.0, 0.0)
        i = act[0](i + peek_i * cell)
        f = 1 - i if self.forget_input else act[0](f + peek_f * cell)
        cell = f * cell + i * act[1](c)
        return act[0](o + peek_o * cell) * act[2](cell), cell

    def _gru(
        self,
        own: Tensor,
        state: Tensor,
        matrix: Tensor,
        bias: Tensor,
        act: list[Callable[[Tensor], Tensor]],
    ) -> Tensor:
        z, r, h = own.chunk(3, 1)
        matrix_z, matrix_r, matrix_h = matrix.chunk(3)
        bias_z, bias_r, bias_h = bias.chunk(3)
        z = act[0](z + functional.linear(state, matrix_z, bias_z))
        r = act[0](r + functional.linear(state, matrix_r, bias_r))
        if self.reset_after:
            h = act[1](h + r * functional.linear(state, matrix_h, bias_h))
        else:
            h = act[1](h + functional.linear(r * state, matrix_h, bias_h))
        return (1 - z) * h + z * state

    def _clipped(self, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        bound = self.clip
        return function if bound is None else lambda values: function(values.clamp(-bound, bound))


class TorchRecurrent(nn.Module):
    """torch's LSTM, GRU or RNN with ONNX's order of axes."""

    def __init__(self, layer: nn.LSTM | nn.GRU | nn.RNN) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, values: Tensor, state: Tensor | None = None, cell: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Outputs (T, D, N, H), the last state (D, N, H), and of an LSTM the last cell (D, N, H)."""
        layer: Any = self.layer
        if isinstance(layer, nn.LSTM):
            both = None
            if state is not None or cell is not None:
                known = state if state is not None else cell
                assert known is not None
                empty = torch.zeros_like(known)
                both = (empty if state is None else state, empty if cell is None else cell)
            outputs, (state, cell) = layer(values, both)
            assert cell is not None
            last: tuple[Tensor, ...] = (state, cell)
        else:
            outputs, state = layer(values, state)
            assert state is not None
            last = (state,)
        directions = 2 if layer.bidirectional else 1
        parts = outputs.reshape(outputs.shape[0], outputs.shape[1], directions, layer.hidden_size)
        return (parts.transpose(1, 2), *last)


@converter("LSTM", "GRU", "RNN", since=7)
def recurrent(node: NodeView) -> Any:
    """A recurrent layer."""
    kind, count = node.node.op, 3 if node.node.op == "LSTM" else 2
    direction = node.attribute("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    activations = node.attribute("activations", _DEFAULTS[kind] * directions)
    if not set(activations) <= set(_ACTIVATIONS):
        raise ConversionError(f"its activations {activations}; {', '.join(_ACTIVATIONS)} are possible")
    matrix = node.constant(2) if node.has(2) else None
    hidden = node.attribute("hidden_size") or (None if matrix is None else matrix.shape[-1])
    if hidden is None:
        raise ConversionError("the width of its state is not known")
    weights = {name: node.constant(index) for index, name in enumerate(_INPUTS) if index in (1, 2, 3, 7)}
    held = {name: tensor for name, tensor in weights.items() if tensor is not None}
    plain = activations == _DEFAULTS[kind] * directions and direction != "reverse"
    plain = plain and not any(node.attribute(name) for name in ("clip", "layout", "input_forget"))
    plain = plain and (kind != "GRU" or bool(node.attribute("linear_before_reset", 0)))
    plain = plain and {"W", "R"} <= held.keys() and not node.has(4) and not node.has(7)
    if plain and (not node.has(3) or "B" in held):
        return _as_torchs(node, kind, hidden, directions, count)
    module = Recurrent(
        kind,
        hidden,
        direction,
        list(activations),
        node.attribute("clip"),
        bool(node.attribute("linear_before_reset", 0)),
        bool(node.attribute("layout", 0)),
        bool(node.attribute("input_forget", 0)),
        {name: node.weight(_INPUTS.index(name), "bias" if name == "B" else "weight") for name in held},
    )
    inputs = [
        node.input(index) if node.has(index) and name not in held else None
        for index, name in enumerate(_INPUTS)
    ]
    return node.module(module, *inputs, count=count)


def _as_torchs(node: NodeView, kind: str, hidden: int, directions: int, count: int) -> Any:
    """The layer as torch's own, which is much faster."""
    matrix = node.weight(1)
    kinds: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
    layer = kinds[kind](
        matrix.shape[-1], hidden, bias=node.has(3), bidirectional=directions == 2, device="meta"
    )
    for index, suffix in enumerate(("", "_reverse")[:directions]):
        parts = {"weight_ih_l0": node.weight(1)[index], "weight_hh_l0": node.weight(2)[index]}
        if node.has(3):
            parts["bias_ih_l0"], parts["bias_hh_l0"] = node.weight(3, "bias")[index].chunk(2)
        for name, tensor in parts.items():
            gates = tensor.chunk(_GATES[kind])
            ordered = torch.cat([gates[gate] for gate in _TORCH_ORDER[kind]])
            setattr(layer, name + suffix, nn.Parameter(ordered.clone()))
    states = [node.input(index) if node.has(index) else None for index in (5, 6)[: count - 1]]
    return node.module(TorchRecurrent(layer), node.input(0), *states, count=count)
