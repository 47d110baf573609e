"""What a trained model says of itself beside its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tao_like.bundle import Bundle
from tao_like.runtime.metadata import ModelMetadata


@dataclass(frozen=True)
class TrainedState:
    """From a bundle or from an ONNX file.

    Attributes:
        classes: class names in the order of the outputs.
        preprocessing: how the input is preprocessed, as the runtime reads it; of several, by their names.
        thresholds: by which predictions are decided, as the runtime reads them.
        split: the files of each split that it was trained on; None where that is not known.
        graph: the ONNX graph of an imported network; None for the toolkit's own.
        extra: what its file holds beside these.
    """

    classes: list[str]
    preprocessing: dict[str, Any]
    thresholds: dict[str, Any]
    split: dict[str, Any] | None
    graph: bytes | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> TrainedState:
        """What a bundle says."""
        graph = bundle.graph if len(bundle.parts) == 1 else None
        return cls(bundle.classes, bundle.preprocessing, bundle.thresholds, bundle.split, graph, bundle.extra)

    @classmethod
    def of_metadata(cls, metadata: ModelMetadata, split: dict[str, Any] | None) -> TrainedState:
        """What an exported file says, which does not hold the split itself."""
        of_inputs = {name: one.preprocessing for name, one in metadata.inputs.items()}
        preprocessing = of_inputs if len(of_inputs) > 1 else metadata.preprocessing
        return cls(metadata.classes, preprocessing, metadata.thresholds, split, extra=metadata.extra)
