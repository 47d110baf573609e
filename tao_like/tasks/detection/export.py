"""How a detector ships: the graph, what stays in float in it, and what its file says."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tao_like.contract.capabilities import Describes, KeepsFloat
from tao_like.contract.model import Exportable
from tao_like.runtime.predictions.boxes import MEANINGS
from tao_like.tasks.common.float_tail import float_tail
from tao_like.tasks.common.image_input import IMAGE, image_tensors
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.model.for_export import DetectorForExport
from tao_like.tasks.detection.predictions import BoxPredictions

if TYPE_CHECKING:
    import onnx

LAST_LAYER = "a last layer: its values make boxes and scores, and 256 steps are too few for that"
"""A side of a box is the exponential of a layer's value, and the values of different meanings are put side by
side before they are decoded, so in int8 they would share one range."""
BEHIND = "decodes boxes or selects them"


class DetectorExport(KeepsFloat, Describes):
    """The exported form of detectors.

    Args:
        predictions: which boxes are kept, and of what data.
        nms: whether suppression is in the graph.
    """

    def __init__(self, predictions: BoxPredictions, *, nms: bool) -> None:
        self.predictions = predictions
        self.nms = nms

    def graph(self, model: Detector, input_format: str) -> Exportable:
        """The only graph of a detector."""
        selection = self.predictions.selection if self.nms else None
        meanings = MEANINGS.final if self.nms else MEANINGS.raw
        return Exportable(
            module=DetectorForExport(model, input_format, selection).eval(),
            inputs={IMAGE: {0: "batch"}},
            outputs={name: {0: "batch"} for name in meanings},
            meanings=meanings,
            to_inputs=partial(image_tensors, model, input_format),
        )

    @override
    def float_nodes(self, graph: onnx.GraphProto, layers: Collection[str]) -> dict[str, str]:
        return float_tail(graph, layers, last_layer=LAST_LAYER, behind=BEHIND)

    @override
    def metadata_extra(self) -> dict[str, Any]:
        tiling = self.predictions.data.tiling
        extra: dict[str, Any] = {"selection": vars(self.predictions.selection)}
        return extra | ({"tiling": tiling.to_dict()} if tiling else {})
