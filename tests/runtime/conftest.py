"""Tiny ONNX files whose answers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.metadata import METADATA_KEY, ModelMetadata
from tao_like.runtime.predictions.classes import MULTI_LABEL, SINGLE_LABEL

HEIGHT, WIDTH = 4, 6

WriteModel = Callable[..., Path]


def color_metadata(**changes: Any) -> ModelMetadata:
    """What a classifier of images by their color says about itself."""
    metadata = ModelMetadata(
        task="classification",
        classes=["red", "green", "blue"],
        preprocessing=ImagePreprocessing(HEIGHT, WIDTH, "squash").to_dict(),
        input_format="uint8_nhwc",
        mean=[0.5, 0.25, 0.0],
        std=[0.5, 0.25, 1.0],
        outputs={"probabilities": SINGLE_LABEL},
    )
    return replace(metadata, **changes)


def color_graph(input_format: str, batch: int | str, multi_label: bool) -> onnx.ModelProto:
    """Mean of each channel; single-label: as fractions of their sum; uint8 input is divided by 255 first."""
    uint8 = input_format == "uint8_nhwc"
    shape = [batch, HEIGHT, WIDTH, 3] if uint8 else [batch, 3, HEIGHT, WIDTH]
    cast = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["scaled"]),
    ]
    mean = helper.make_node(
        "ReduceMean", ["scaled" if uint8 else "image"], ["mean"], axes=[1, 2] if uint8 else [2, 3], keepdims=0
    )
    fraction = [
        helper.make_node("ReduceSum", ["mean", "last"], ["sum"], keepdims=1),
        helper.make_node("Div", ["mean", "sum"], ["probabilities"]),
    ]
    same = [helper.make_node("Identity", ["mean"], ["probabilities"])]
    graph = helper.make_graph(
        [*(cast if uint8 else []), mean, *(same if multi_label else fraction)],
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.UINT8 if uint8 else TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, 3])],
        [
            helper.make_tensor("scale", TensorProto.FLOAT, [], [255.0]),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    """Write a color classifier; keyword arguments that it does not know change its metadata."""

    def write(
        name: str = "model.onnx",
        *,
        batch: int | str = "batch",
        multi_label: bool = False,
        graph_format: str | None = None,
        metadata_text: str | None = None,
        **changes: Any,
    ) -> Path:
        if multi_label:
            changes.setdefault("outputs", {"probabilities": MULTI_LABEL})
        metadata = color_metadata(**changes)
        model = color_graph(graph_format or metadata.input_format, batch, multi_label)
        text = metadata.to_json() if metadata_text is None else metadata_text
        helper.set_model_props(model, {METADATA_KEY: text})
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write
