"""Run a model that tao_like exported, with numpy, Pillow and onnxruntime alone.

from tao_like.runtime import load

prediction = load("model.onnx").predict("photo.jpg")
print(prediction.label, prediction.score)
"""

from __future__ import annotations

from typing import Any

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

_FORMER_NAMES = {
    "ImagePreparation": "ImagePreprocessing",
    "PicturePrediction": "ImagePrediction",
    "SkeletonPreparation": "SkeletonPreprocessing",
    "prepare": "preprocess",
    "prepare_skeleton": "preprocess_skeleton",
}


def __getattr__(name: str) -> Any:
    """What a program asks for by its name of version 0.1."""
    if name in _FORMER_NAMES:
        return globals()[_FORMER_NAMES[name]]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
