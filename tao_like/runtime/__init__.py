"""Run a model that tao_like exported, with numpy, Pillow and onnxruntime alone.

from tao_like.runtime import load

answer = load("model.onnx").predict("photo.jpg")
print(answer.label, answer.score)
"""

from __future__ import annotations

from tao_like.runtime.inputs.image import ImagePreparation, prepare, read_image
from tao_like.runtime.inputs.skeleton import SkeletonPreparation, prepare_skeleton, read_skeleton
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.model import Model, load, stacked
from tao_like.runtime.predictions.base import Answer
from tao_like.runtime.predictions.boxes import Detection, DetectionAnswer
from tao_like.runtime.predictions.boxes3d import Detection3d, Detection3dAnswer
from tao_like.runtime.predictions.classes import ClassificationAnswer

__all__ = [
    "Answer",
    "ClassificationAnswer",
    "Detection",
    "Detection3d",
    "Detection3dAnswer",
    "DetectionAnswer",
    "ImagePreparation",
    "Model",
    "ModelMetadata",
    "SkeletonPreparation",
    "load",
    "prepare",
    "prepare_skeleton",
    "read_image",
    "read_skeleton",
    "stacked",
]
