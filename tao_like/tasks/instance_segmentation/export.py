"""How the networks of this task ship: the graph, what stays in float in it, and what its file says."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tao_like.contract.capabilities import Describes, KeepsFloat
from tao_like.contract.model import Exportable
from tao_like.tasks.common.float_tail import float_tail
from tao_like.tasks.common.image_input import IMAGE, image_tensors
from tao_like.tasks.instance_segmentation.model.network import InstanceNetwork, InstancesForExport
from tao_like.tasks.instance_segmentation.predictions import InstancePredictions

if TYPE_CHECKING:
    import onnx

LAST_LAYER = "a last layer: its values make boxes, scores and masks, and 256 steps are too few for that"
DEFORMABLE = ("sampling_offsets", "attention_weights")
OFFSETS = "says where deformable attention looks: 256 steps are too few for a position in an image"
BEHIND = "decodes boxes and masks or selects them"


class InstanceExport(KeepsFloat, Describes):
    """The exported form of the networks of instance segmentation.

    Args:
        predictions: which objects are kept.
    """

    def __init__(self, predictions: InstancePredictions) -> None:
        self.predictions = predictions

    def graph(self, model: InstanceNetwork, input_format: str) -> Exportable:
        """The only graph."""
        return Exportable(
            module=InstancesForExport(model, input_format, self.predictions.selection).eval(),
            inputs={IMAGE: {0: "batch"}},
            outputs={name: {0: "batch"} for name in self.predictions.names},
            meanings=self.predictions.names,
            to_inputs=partial(image_tensors, model, input_format),
        )

    @override
    def float_nodes(self, graph: onnx.GraphProto, layers: Collection[str]) -> dict[str, str]:
        offsets = {name: OFFSETS for name in layers if any(part in name for part in DEFORMABLE)}
        return offsets | float_tail(graph, layers, last_layer=LAST_LAYER, behind=BEHIND)

    @override
    def metadata_extra(self) -> dict[str, Any]:
        predictions = self.predictions
        extra = {"selection": vars(predictions.selection), "mask_threshold": predictions.mask_threshold}
        return extra | ({"segments": predictions.rule.to_dict()} if predictions.rule else {})
