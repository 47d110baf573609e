"""Run a model that tao_like exported, with numpy, Pillow and onnxruntime alone.

from tao_like.runtime import load

prediction = load("model.onnx").predict("photo.jpg")
print(prediction.label, prediction.score)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess, read_image
    from tao_like.runtime.inputs.skeleton import SkeletonPreprocessing, preprocess_skeleton, read_skeleton
    from tao_like.runtime.metadata import InputMetadata, ModelMetadata
    from tao_like.runtime.model import Model, load, stacked
    from tao_like.runtime.pipeline import Pipeline, load_pipeline, write_pipeline
    from tao_like.runtime.predictions.base import Answer, Prediction
    from tao_like.runtime.predictions.boxes import BoxesPrediction, Detection, DetectionAnswer
    from tao_like.runtime.predictions.boxes3d import Boxes3dPrediction, Detection3d, Detection3dAnswer
    from tao_like.runtime.predictions.classes import ClassificationAnswer, ClassPrediction
    from tao_like.runtime.predictions.embedding import EmbeddingPrediction
    from tao_like.runtime.predictions.image import ImagePrediction
    from tao_like.runtime.predictions.instances import Instance, InstancesPrediction
    from tao_like.runtime.predictions.mask import MaskPrediction

__all__ = [
    "Answer",
    "Boxes3dPrediction",
    "BoxesPrediction",
    "ClassPrediction",
    "ClassificationAnswer",
    "Detection",
    "Detection3d",
    "Detection3dAnswer",
    "DetectionAnswer",
    "EmbeddingPrediction",
    "ImagePrediction",
    "ImagePreprocessing",
    "InputMetadata",
    "Instance",
    "InstancesPrediction",
    "MaskPrediction",
    "Model",
    "ModelMetadata",
    "Pipeline",
    "Prediction",
    "SkeletonPreprocessing",
    "load",
    "load_pipeline",
    "preprocess",
    "preprocess_skeleton",
    "read_image",
    "read_skeleton",
    "stacked",
    "write_pipeline",
]

_MODULES = {
    "inputs.image": ("ImagePreprocessing", "preprocess", "read_image"),
    "inputs.skeleton": ("SkeletonPreprocessing", "preprocess_skeleton", "read_skeleton"),
    "metadata": ("InputMetadata", "ModelMetadata"),
    "model": ("Model", "load", "stacked"),
    "pipeline": ("Pipeline", "load_pipeline", "write_pipeline"),
    "predictions.base": ("Answer", "Prediction"),
    "predictions.boxes": ("BoxesPrediction", "Detection", "DetectionAnswer"),
    "predictions.boxes3d": ("Boxes3dPrediction", "Detection3d", "Detection3dAnswer"),
    "predictions.classes": ("ClassificationAnswer", "ClassPrediction"),
    "predictions.embedding": ("EmbeddingPrediction",),
    "predictions.image": ("ImagePrediction",),
    "predictions.instances": ("Instance", "InstancesPrediction"),
    "predictions.mask": ("MaskPrediction",),
}
"""Where the public names stand. Imported when asked for: help does not wait for numpy."""
_HOMES = {name: module for module, names in _MODULES.items() for name in names}
_FORMER_NAMES = {
    "ImagePreparation": "ImagePreprocessing",
    "PicturePrediction": "ImagePrediction",
    "SkeletonPreparation": "SkeletonPreprocessing",
    "prepare": "preprocess",
    "prepare_skeleton": "preprocess_skeleton",
}


def __getattr__(name: str) -> Any:
    """A public name, or the one that it had in version 0.1, imported when it is first asked for."""
    current = _FORMER_NAMES.get(name, name)
    if current not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[current]}"), current)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted({*globals(), *__all__})
