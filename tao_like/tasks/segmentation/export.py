"""How a segmentation network ships: the graph, what stays in float in it, and what its file says."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tao_like.contract.capabilities import Describes, KeepsFloat
from tao_like.contract.model import Exportable
from tao_like.tasks.common.float_tail import float_tail
from tao_like.tasks.common.image_input import IMAGE, image_tensors
from tao_like.tasks.segmentation.draw import class_colors
from tao_like.tasks.segmentation.model.segmenter import Segmenter, SegmenterForExport
from tao_like.tasks.segmentation.predictions import NAMES, MaskPredictions

if TYPE_CHECKING:
    import onnx

LAST_LAYER = "the last layer: its values tell classes apart that are nearly alike"
BEHIND = "enlarges scores or takes the largest"


class SegmenterExport(KeepsFloat, Describes):
    """The exported form of segmentation networks.

    Args:
        predictions: which output there is, and of what data.
        dynamic_size: the graph takes any size that is a multiple of 32.
    """

    def __init__(self, predictions: MaskPredictions, *, dynamic_size: bool) -> None:
        self.predictions = predictions
        self.dynamic_size = dynamic_size

    def graph(self, model: Segmenter, input_format: str) -> Exportable:
        """The only graph of a segmentation network."""
        name = self.predictions.output
        first = 1 if input_format == "uint8_nhwc" else 2
        inputs, outputs = {0: "batch"}, {0: "batch"}
        if self.dynamic_size:
            inputs |= {first: "height", first + 1: "width"}
            at = 1 if name == "class_map" else 2
            outputs |= {at: "height", at + 1: "width"}
        return Exportable(
            module=SegmenterForExport(model, input_format, probabilities=name == "probabilities").eval(),
            inputs={IMAGE: inputs},
            outputs={name: outputs},
            meanings={name: NAMES[name]},
            to_inputs=partial(image_tensors, model, input_format),
        )

    @override
    def float_nodes(self, graph: onnx.GraphProto, layers: Collection[str]) -> dict[str, str]:
        return float_tail(graph, layers, last_layer=LAST_LAYER, behind=BEHIND)

    @override
    def metadata_extra(self) -> dict[str, Any]:
        data = self.predictions.data
        extra: dict[str, Any] = {"colors": [list(color) for color in class_colors(len(data.labels))]}
        return extra | ({"tiling": data.tiling.to_dict()} if data.tiling else {})
