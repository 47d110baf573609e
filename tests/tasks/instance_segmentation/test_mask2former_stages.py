"""Mask2Former through every stage."""

from __future__ import annotations

from typing import ClassVar

import onnx
import pytest
from test_instances_stages import TestInstanceSegmentation as Instances
from tiny_instances import TINY
from tiny_mask2former import SMALL

from tao_like.stages.results import ExportResult, QuantizeResult

pytest.importorskip("transformers")
# The same stages run every time with Mask R-CNN; the network and what it gives are in test_mask2former.py.
pytestmark = pytest.mark.acceptance


class TestMask2Former(Instances):
    tiny: ClassVar[tuple[str, ...]] = (*TINY, *SMALL)
    # What becomes of the learned queries before they meet the image is computed beforehand in the graphs.
    counts_apart: ClassVar[float] = 0.01
    device_tolerance: ClassVar[float] = 1e-5

    def test_masks_come_out_beside_the_boxes_in_standard_operators(self, exported: ExportResult) -> None:
        model = onnx.load(exported.onnx_file)
        assert {node.domain for node in model.graph.node} == {""}
        assert {"GridSample", "TopK"} <= {node.op_type for node in model.graph.node}
        assert next(one.version for one in model.opset_import if one.domain == "") >= 16

    def test_int8_leaves_the_last_layers_and_the_decoding_in_float(self, quantized: QuantizeResult) -> None:
        names = quantized.float_layers
        for part in ("mask_embedder", "class_predictor", "sampling_offsets"):
            assert any(part in name for name in names), part
            # Of the masks' embedder, a row of layers, the last alone.
            if part != "mask_embedder":
                assert not any(part in name for name in quantized.report["int8_layers"]), part
        assert "GridSample" in quantized.report["float_operators"]
