"""Several images in one: mosaic, images that shine through each other, and blended batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import override

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision import tv_tensors
from torchvision.transforms import v2

from tao_like.runtime.inputs.image import ImagePreprocessing, letterbox_region
from tao_like.tasks.common.augmentation.annotations import IGNORE, Annotations, LabeledImage
from tao_like.tasks.common.augmentation.draws import uniform
from tao_like.tasks.common.augmentation.warps import ScaleShift, resampling_of

MOSAIC_CENTER = (0.25, 0.75)
"""Where the four images of a mosaic meet, as a fraction of its sides."""
MIXUP_FRACTION = 0.5


class Mosaic(v2.Transform):
    """Four images that meet at a random point of a canvas of twice the input's sides (YOLOv4, YOLOX).

    Args:
        preprocessing: size and border of the input.
    """

    def __init__(self, preprocessing: ImagePreprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing

    @override
    def forward(self, *inputs: Any) -> LabeledImage:
        """The mosaic of four samples: top left, top right, bottom left, bottom right."""
        preprocessing = self.preprocessing
        canvas = (2 * preprocessing.width, 2 * preprocessing.height)
        center = (round(uniform(*MOSAIC_CENTER) * canvas[0]), round(uniform(*MOSAIC_CENTER) * canvas[1]))
        resampling = resampling_of(preprocessing)
        image = Image.new("RGB", canvas, (preprocessing.fill,) * 3)
        targets = []
        for number, sample in enumerate(inputs):
            _, _, width, height = letterbox_region(sample.image.width, sample.image.height, preprocessing)
            left = center[0] - width if number % 2 == 0 else center[0]
            top = center[1] - height if number < 2 else center[1]
            image.paste(sample.image.resize((width, height), resampling), (left, top))
            transform = ScaleShift(
                sample.image.size, canvas, preprocessing.fill, left, top, width, height, resampling
            )
            targets.append(transform.target(sample.target))
        return LabeledImage(image, joined(targets))


class MixUpImages(v2.Transform):
    """Two images at half strength each, with the objects of both (Zhang et al. 2018, as YOLOX has it)."""

    @override
    def forward(self, *inputs: Any) -> LabeledImage:
        """One sample of two, which have one size."""
        first, second = inputs
        if isinstance(first.target, tv_tensors.Mask):
            raise TypeError("a pixel of two images has no single class; mix objects, not masks of classes")
        return LabeledImage(
            Image.blend(first.image, second.image, MIXUP_FRACTION), joined([first.target, second.target])
        )


def joined(
    targets: Sequence[Annotations | tv_tensors.Mask | None],
) -> Annotations | tv_tensors.Mask | None:
    """One target of several on the same canvas: all objects; the classes of pixels from where they are known.

    Args:
        targets: all of one kind; masks of classes do not overlap but where they are to be ignored.
    """
    first = targets[0]
    if isinstance(first, Annotations):
        parts = [target for target in targets if isinstance(target, Annotations)]
        masks = [part.masks for part in parts if part.masks is not None]
        return Annotations(
            tv_tensors.wrap(torch.cat([part.boxes for part in parts]), like=first.boxes),
            torch.cat([part.labels for part in parts]),
            torch.cat([part.crowd for part in parts]),
            tv_tensors.Mask(torch.cat(masks)) if masks else None,
        )
    if first is None:
        return None
    known = [target.numpy() for target in targets if isinstance(target, tv_tensors.Mask)]
    whole = known[0].copy()
    for other in known[1:]:
        np.copyto(whole, other, where=other != IGNORE)
    return tv_tensors.Mask(torch.from_numpy(whole))


class MixUpOrCutMix(v2.Transform):
    """Blends each image of a batch with another, by torchvision's MixUp or CutMix with equal chance.

    Args:
        alpha: both parameters of the beta distribution of the weight.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.blend = v2.RandomChoice([v2.MixUp(alpha=alpha), v2.CutMix(alpha=alpha)])

    @override
    def forward(self, *inputs: Any) -> tuple[Tensor, Tensor]:
        """The blended batch.

        Args:
            inputs: pixels (N, 3, H, W), 0 to 255, any dtype; targets (N, classes), probabilities.

        Returns:
            Pixels as float, and the targets blended likewise.
        """
        pixels, targets = inputs
        # torchvision blends neighbours; data that is not shuffled has those of one class side by side.
        order = torch.randperm(len(pixels), device=pixels.device)
        mixed, mixed_targets = self.blend(pixels[order].float(), targets[order])
        back = order.argsort()
        return mixed[back], mixed_targets[back]
