"""Random changes of training photos with their masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from tao_like.data.masks.values import ClassMap
from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision import tv_tensors

from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.tasks.common.augmentation.annotations import LabeledImage
from tao_like.tasks.common.augmentation.crops import CropAugmentation
from tao_like.tasks.segmentation.spec_blocks.augmentation import AugmentationSpec


class MaskAugmentation:
    """Crop, flip, rotation and color; masks take the nearest pixels, and new ones belong to no class.

    Args:
        spec: what is changed.
        preprocessing: how photos become inputs; a crop of another size is an input in training alone.
    """

    def __init__(self, spec: AugmentationSpec, preprocessing: ImagePreprocessing) -> None:
        crop = spec.with_scale_random_crop
        if spec.train_crop_size:
            height, width = spec.train_crop_size
            preprocessing = replace(preprocessing, height=height, width=width)
        shape = preprocessing.width / preprocessing.height
        self._change = CropAugmentation(
            preprocessing,
            crop=replace(crop, ratio_range=[ratio * shape for ratio in crop.ratio_range]),
            flip=spec.random_flip,
            rotate=spec.random_rotate,
            color=spec.random_color,
            blur=spec.with_random_blur,
        )

    def __call__(self, photo: Image.Image, classes: ClassMap) -> tuple[npt.NDArray[np.uint8], ClassMap]:
        """A photo and its mask (H, W), changed, at the size of a training's inputs."""
        mask = tv_tensors.Mask(torch.from_numpy(np.array(classes)))
        changed = self._change(LabeledImage(photo, mask))
        return np.asarray(changed.image), np.asarray(changed.target)
