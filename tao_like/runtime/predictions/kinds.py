"""The kinds of prediction that a model may make. A new kind is a module here and a line below."""

from __future__ import annotations

from tao_like.errors import BundleError
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import PredictionReader
from tao_like.runtime.predictions.boxes import BoxesReader
from tao_like.runtime.predictions.boxes3d import Boxes3dReader
from tao_like.runtime.predictions.classes import ClassesReader
from tao_like.runtime.predictions.embedding import EmbeddingReader
from tao_like.runtime.predictions.image import ImageReader
from tao_like.runtime.predictions.instances import InstancesReader
from tao_like.runtime.predictions.mask import MaskReader

PREDICTION_KINDS: dict[str, PredictionReader] = {
    "boxes": BoxesReader(),
    "boxes3d": Boxes3dReader(),
    "classes": ClassesReader(),
    "embedding": EmbeddingReader(),
    "instances": InstancesReader(),
    "mask": MaskReader(),
    "picture": ImageReader(),
}


def prediction_reader(metadata: ModelMetadata) -> PredictionReader:
    """What reads the predictions of a model.

    Raises:
        BundleError: the kind is unknown, or the metadata does not fit it.
    """
    if metadata.prediction not in PREDICTION_KINDS:
        raise BundleError(
            f"its predictions are of the kind {metadata.prediction!r}, and this runtime knows "
            f"{', '.join(PREDICTION_KINDS)}; update tao_like."
        )
    reader = PREDICTION_KINDS[metadata.prediction]
    reader.check(metadata)
    return reader
