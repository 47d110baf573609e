"""How many axes a result has, where onnx's own inference has given up."""

from __future__ import annotations

from collections.abc import Sequence

from tao_like.byom.source.graph import Node

_AS_FIRST = frozenset(
    [
        *("Abs", "AveragePool", "BatchNormalization", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Conv"),
        *("ConvTranspose", "CumSum", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "GlobalAveragePool"),
        *("GlobalMaxPool", "GroupNormalization", "HardSigmoid", "HardSwish", "Identity"),
        *("InstanceNormalization", "IsInf", "IsNaN", "LRN", "LayerNormalization", "LeakyRelu", "Log"),
        *("LogSoftmax", "LpNormalization", "MaxPool", "Mish", "Neg", "Not", "PRelu", "Pad"),
        *("RMSNormalization", "Reciprocal", "Relu", "Resize", "Round", "Selu", "Sigmoid", "Sign", "Slice"),
        *("Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Swish", "Tanh", "ThresholdedRelu", "Tile"),
        *("Transpose", "Trilu", "Upsample", "ScatterND", "ScatterElements", "GatherElements", "Concat"),
    ]
)
_WIDEST = frozenset(
    [
        *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean"),
        *("Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor", "MatMul"),
    ]
)


def rank_after(node: Node, ranks: Sequence[int | None]) -> int | None:
    """The rank of a node's results, from those of its inputs; None where that does not say it."""
    if node.domain or not ranks:
        return None
    if node.op in _AS_FIRST:
        return ranks[0]
    if node.op in _WIDEST:
        return None if None in ranks else max(rank for rank in ranks if rank is not None)
    if node.op in ("Gemm", "Flatten"):
        return 2
    if node.op == "Gather" and ranks[0] is not None and ranks[1] is not None:
        return ranks[0] - 1 + ranks[1]
    if node.op.startswith("Reduce") and node.attributes.get("keepdims", 1):
        return ranks[0]
    axes = node.attributes.get("axes")
    if node.op == "Unsqueeze" and axes is not None and ranks[0] is not None:
        return ranks[0] + len(axes)
    return None
