"""The augmentation of images whose objects have a transform: boxes, instances, or a class a pixel."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision.transforms import v2

from tao_like.config.blocks.augmentation import HsvColorSpec, RandomAffineSpec
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.tasks.common.augmentation.annotations import LabeledImage
from tao_like.tasks.common.augmentation.draws import happens, uniform
from tao_like.tasks.common.augmentation.mixing import MixUpImages, Mosaic
from tao_like.tasks.common.augmentation.placing import CropMosaic, Preprocess, RandomScaleShift, RandomTurn
from tao_like.tasks.common.augmentation.warps import ScaleShift

MIXUP_SCALE = (0.5, 1.5)


class SceneAugmentation:
    """Turns images into training inputs; boxes and masks follow.

    Args:
        preprocessing: size of the input, and how images become it where nothing is changed; ``letterbox``
            or ``squash``.
        affine: size, transform, rotation.
        color: changes of color.
        horizontal_flip_prob: chance of left for right.
        vertical_flip_prob: chance of upside down.
        mosaic_prob: chance that four images are put together.
        mixup_prob: chance that another image shines through a mosaic; not for a class a pixel.
    """

    def __init__(
        self,
        preprocessing: ImagePreprocessing,
        *,
        affine: RandomAffineSpec,
        color: HsvColorSpec,
        horizontal_flip_prob: float,
        vertical_flip_prob: float,
        mosaic_prob: float = 0.0,
        mixup_prob: float = 0.0,
    ) -> None:
        self.preprocessing = preprocessing
        self.mosaic_prob = mosaic_prob
        self.mixup_prob = mixup_prob
        self.preprocess = Preprocess(preprocessing)
        self.mosaic, self.crop_mosaic = Mosaic(preprocessing), CropMosaic(preprocessing, affine)
        self.mixup = MixUpImages()
        self.move: nn.Module = self.preprocess
        if affine.enable:
            low, high = affine.scale_range
            moves: list[nn.Module] = [RandomScaleShift(preprocessing, (low, high), affine.translate)]
            if affine.degrees or affine.shear:
                moves.append(RandomTurn(preprocessing.fill, affine.degrees, affine.shear))
            self.move = v2.Compose(moves)
        steps: list[nn.Module] = []
        if color.enable:
            steps.append(v2.ColorJitter(color.value, 0.0, color.saturation, color.hue))
        steps += [v2.RandomHorizontalFlip(horizontal_flip_prob), v2.RandomVerticalFlip(vertical_flip_prob)]
        self.steps = v2.Compose(steps)

    def __call__(
        self, sample: LabeledImage, another: Callable[[], LabeledImage], *, strong: bool = True
    ) -> LabeledImage:
        """The image at the size of the input, changed.

        Args:
            sample: as it is on disk.
            another: gives some other image of the data, for a mosaic.
            strong: whether mosaic, mixup and affine changes are allowed.
        """
        if strong and happens(self.mosaic_prob):
            changed = self.crop_mosaic(self.mosaic(sample, another(), another(), another()))
            if happens(self.mixup_prob):
                scale = uniform(*MIXUP_SCALE)
                mixed_in = another()
                transform = ScaleShift.of(mixed_in.image.size, self.preprocessing, scale)
                changed = self.mixup(changed, transform(mixed_in))
        elif strong:
            changed = self.move(sample)
        else:
            changed = self.preprocess(sample)
        recolored: LabeledImage = self.steps(changed)
        return recolored
