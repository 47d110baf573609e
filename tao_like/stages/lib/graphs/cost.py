"""What an ONNX graph costs, counted as `stages.lib.cost` counts a torch network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx
from onnx import shape_inference

from tao_like.errors import ConversionError
from tao_like.stages.lib.cost import Cost
from tao_like.stages.lib.graphs.folding import fixed_batch, folded, tensor_shapes

CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv")
TRANSPOSED = ("ConvTranspose",)
PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul", "Gemm")
# Where an operator finds its second operand: the quantized forms have scale and zero point in between.
_WEIGHT_INPUT = {"QLinearConv": 3, "QLinearMatMul": 3}
_PASSING = (
    "DequantizeLinear",
    "QuantizeLinear",
    "Transpose",
    "Reshape",
    "Identity",
    "Cast",
    "Squeeze",
    "Unsqueeze",
)

Shapes = Mapping[str, list[int | None]]


def graph_cost(model: onnx.ModelProto, example: Sequence[int] = ()) -> Cost:
    """Counts the parameters and, for one sample, the multiply-accumulates of a graph.

    Parameters are the values of the kernels that inputs are multiplied with, in float or int8; MACs are
    those of convolutions (transposed ones too) and of matrix products, with fixed operands or computed ones.
    So a bundle, its ONNX file and the int8 file come to the same numbers, but for products that depend on no
    input, such as the first ones of learned queries: a graph has them computed beforehand. A convolution
    that runs once for each object that is found, of which nobody knows the number beforehand, counts for one
    object.

    Args:
        model: its batch, and perhaps more, may be open.
        example: shape of an input, for axes that are open beside the batch.

    Raises:
        ConversionError: the size of a tensor is not known, even with a batch of one.
    """
    batch = fixed_batch(model)
    single = _single(model, example)
    counted = [node for node in single.graph.node if node.op_type in (*CONVOLUTIONS, *TRANSPOSED, *PRODUCTS)]
    shapes = tensor_shapes(single)
    if not all(_known(node, shapes) for node in counted):
        single = _single(folded(single), example)
        counted = [
            node for node in single.graph.node if node.op_type in (*CONVOLUTIONS, *TRANSPOSED, *PRODUCTS)
        ]
        shapes = tensor_shapes(single)
    for node in counted:
        if not _known(node, shapes, of_objects=True):
            raise ConversionError(
                f"the sizes at the {node.op_type} {node.name} are not known, so its MACs cannot be counted"
            )
    return Cost(_kernel_values(single, counted), sum(_macs(node, shapes) for node in counted) // batch)


def _single(model: onnx.ModelProto, example: Sequence[int]) -> onnx.ModelProto:
    """The graph for a batch of one, unless it has a fixed one, with the shapes of its tensors."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    for value in single.graph.input:
        axes = value.type.tensor_type.shape.dim
        # A fixed batch stands in the graph's constants too, such as the sizes of a Resize.
        if axes and not axes[0].dim_value:
            axes[0].Clear()
            axes[0].dim_value = 1
        for axis, size in zip(axes[1:], example[1:], strict=False):
            if not axis.dim_value:
                axis.Clear()
                axis.dim_value = size
    # Old shapes speak of the open batch axis.
    del single.graph.value_info[:]
    for value in single.graph.output:
        value.type.tensor_type.ClearField("shape")
    return shape_inference.infer_shapes(single, data_prop=True)


def _operands(node: onnx.NodeProto) -> tuple[str, str]:
    return node.input[0], node.input[_WEIGHT_INPUT.get(node.op_type, 1)]


def _known(node: onnx.NodeProto, shapes: Shapes, *, of_objects: bool = False) -> bool:
    """Whether all sizes are known; with ``of_objects`` the images of a convolution may be any number."""
    first = 1 if of_objects and node.op_type in (*CONVOLUTIONS, *TRANSPOSED) else 0
    inner, weight = _operands(node)
    moving = [shapes.get(name) for name in (inner, node.output[0])]
    return None not in shapes.get(weight, [None]) and all(
        shape is not None and None not in shape[first:] for shape in moving
    )


def _macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Multiply-accumulates of one operator whose sizes are known."""
    first, second = (_size(shapes, name) for name in _operands(node))
    output = math.prod(_size(shapes, node.output[0]))
    if node.op_type in CONVOLUTIONS:  # weight (out, in / groups, *kernel)
        return output * math.prod(second[1:])
    if node.op_type in TRANSPOSED:  # weight (in, out / groups, *kernel)
        return math.prod(first) * math.prod(second[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return output * (first[0] if transposed else first[-1])


def _size(shapes: Shapes, name: str) -> list[int]:
    return [1 if axis is None else axis for axis in shapes[name]]


def _kernel_values(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> int:
    """Values of the constants that the operators multiply with; shared ones count once."""
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    kernels: dict[str, int] = {}
    for node in nodes:
        for name in _operands(node):
            origin = _origin(name, producers)
            if origin in sizes:
                kernels[origin] = sizes[origin]
            elif origin in producers and producers[origin].op_type == "Constant":
                kernels[origin] = math.prod(producers[origin].attribute[0].t.dims)
    return sum(kernels.values())


def _origin(name: str, producers: Mapping[str, onnx.NodeProto]) -> str:
    """The tensor before the operators that only change a constant's form."""
    while name in producers and producers[name].op_type in _PASSING:
        name = producers[name].input[0]
    return name
