"""Whole-number products of quantised files come in as float layers that train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from foreign import classifier, model, random_tensor, saved, tensor
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static
from test_transformers import VIT, exported

from tao_like.byom import convert
from tao_like.byom.importing import ImportResult, import_file
from tao_like.byom.patterns.heads import ImportedAttention

# isort: split
import timm


class Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """A few images for calibration."""

    def __init__(self) -> None:
        draw = np.random.default_rng(1)
        self.left = iter([{"x": draw.random((4, 3, 32, 32), dtype=np.float32)} for _ in range(2)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def assert_near_float(result: ImportResult, path: Path) -> None:
    """The imported network gives about what the float model gives, and its layers train."""
    values = np.random.default_rng(2).random((3, 3, 32, 32), dtype=np.float32)
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"x": values})[0]
    with torch.inference_mode():
        given = result.imported.module(torch.from_numpy(values)).numpy()
    assert np.abs(given - expected).max() < 0.05
    module = result.imported.module.train()
    module(torch.from_numpy(values)).square().sum().backward()
    assert all(value.grad is not None for value in module.parameters())


def ops_of(path: Path) -> set[str]:
    """The operations of a file."""
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_file_of_linear_products(per_channel: bool, tmp_path: Path) -> None:
    path = saved(classifier(opset=13), tmp_path / "float.onnx")
    quantize_static(
        path,
        tmp_path / "int8.onnx",
        Images(),
        quant_format=QuantFormat.QOperator,
        per_channel=per_channel,
        op_types_to_quantize=["Conv", "MatMul"],
    )
    assert {"QLinearConv", "QLinearMatMul"} <= ops_of(tmp_path / "int8.onnx")
    assert_near_float(import_file(tmp_path / "int8.onnx"), path)


def test_a_file_that_is_quantised_while_it_runs(tmp_path: Path) -> None:
    path = saved(classifier(opset=13), tmp_path / "float.onnx")
    quantize_dynamic(path, tmp_path / "int8.onnx")
    assert {"ConvInteger", "MatMulInteger"} <= ops_of(tmp_path / "int8.onnx")
    assert_near_float(import_file(tmp_path / "int8.onnx"), path)


def test_cells_of_boxes_worked_out_by_hand() -> None:
    nodes = [helper.make_node("MaxRoiPool", ["x", "boxes"], ["y"], pooled_shape=[1, 2], spatial_scale=0.5)]
    boxes = tensor("boxes", [[0, 0, 0, 6, 2], [0, 4, 4, 4, 4]])
    imported = convert(model(nodes, {"x": [1, 1, 3, 4]}, ["y"], [boxes]))
    given = imported.module(torch.arange(12.0).reshape(1, 1, 3, 4))
    # The first box covers columns 0 to 3 and rows 0 to 1; the second is the single position (2, 2).
    assert given.flatten(1).tolist() == [[5.0, 7.0], [10.0, 10.0]]


def gated() -> onnx.ModelProto:
    """A classifier with what stands between products: sums, gates, pools, joined maps, a soft choice."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "stem.weight"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Sigmoid", ["c"], ["gate"]),
        node("Mul", ["c", "gate"], ["m"]),
        node("LeakyRelu", ["m"], ["l"], alpha=0.1),
        node("Conv", ["l", "deep.weight"], ["d"], pads=[1, 1, 1, 1]),
        node("Add", ["d", "l"], ["sum"]),
        node("Concat", ["sum", "l"], ["both"], axis=1),
        node("AveragePool", ["both"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["a"], ["pool"]),
        node("Flatten", ["pool"], ["flat"]),
        node("Gemm", ["flat", "head.weight", "head.bias"], ["logits"], transB=1),
        node("Softmax", ["logits"], ["y"], axis=-1),
    ]
    constants = [
        *(random_tensor("stem.weight", 8, 3, 3, 3), random_tensor("deep.weight", 8, 8, 3, 3, seed=1)),
        *(random_tensor("head.weight", 4, 16, seed=2), random_tensor("head.bias", 4, seed=3)),
    ]
    return model(nodes, {"x": ["n", 3, 32, 32]}, ["y"], constants, opset=13)


@pytest.mark.parametrize("per_channel", [True, False])
def test_what_onnxruntimes_tool_writes_between_products(per_channel: bool, tmp_path: Path) -> None:
    path = saved(gated(), tmp_path / "float.onnx")
    quantize_static(
        path,
        tmp_path / "int8.onnx",
        Images(),
        quant_format=QuantFormat.QOperator,
        per_channel=per_channel,
    )
    between = {"QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearConcat", "QGemm"}
    pooled = {"QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSoftmax"}
    assert between | pooled <= ops_of(tmp_path / "int8.onnx")
    assert_near_float(import_file(tmp_path / "int8.onnx"), path)


def test_an_attention_that_was_quantised_is_one_again(tmp_path: Path) -> None:
    sizes: dict[str, Any] = VIT
    network = timm.create_model("vit_tiny_patch16_224", num_classes=5, **sizes)
    path = saved(onnx.load_from_string(exported(network, batch=None)), tmp_path / "float.onnx")
    for form in (QuantFormat.QOperator, QuantFormat.QDQ):
        quantize_static(path, tmp_path / "int8.onnx", Images(), quant_format=form, per_channel=True)
        result = import_file(tmp_path / "int8.onnx")
        module = result.imported.module
        assert [one.num_heads for one in module.modules() if isinstance(one, ImportedAttention)] == [2, 2]
        own = sum(parameter.numel() for parameter in network.parameters())
        assert sum(parameter.numel() for parameter in module.parameters()) == own
        assert sum("was quantised with a scale" in note for note in result.report["notes"]) > 20


@pytest.mark.parametrize("opset", [12, 13])
def test_whole_numbers_that_come_in_are_added_as_floats(opset: int, tmp_path: Path) -> None:
    """Before opset 13, DequantizeLinear has no axis."""
    constants = [tensor("scale", 0.02), tensor("zero", 128, np.uint8)]
    half = ["scale", "zero"]
    nodes = [
        helper.make_node("Cast", ["x"], ["q"], to=onnx.TensorProto.UINT8),
        helper.make_node("QLinearAdd", ["q", *half, "q", *half, *half], ["sum"], domain="com.microsoft"),
        helper.make_node("DequantizeLinear", ["sum", *half], ["y"]),
    ]
    made = model(nodes, {"x": ["n", 3, 4, 4]}, ["y"], constants, opset=opset)
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    result = import_file(saved(made, tmp_path / "sum.onnx"))
    values = torch.randint(64, 192, (2, 3, 4, 4)).float()
    with torch.inference_mode():
        assert torch.allclose(result.imported.module(values), 2 * 0.02 * (values - 128))
