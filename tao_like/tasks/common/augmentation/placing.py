"""Transforms that put an image on a canvas of the input's size, as the runtime does it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from PIL import Image
from typing_extensions import override

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision.transforms import v2

from tao_like.config.blocks.augmentation import RandomAffineSpec
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.tasks.common.augmentation.annotations import LabeledImage
from tao_like.tasks.common.augmentation.draws import uniform
from tao_like.tasks.common.augmentation.warps import Affine, ScaleShift, Warp, affine_matrix


class GeometricTransform(v2.Transform):
    """A transform of image, boxes and masks at once.

    A sample goes through whole, as in torchvision's ``SanitizeBoundingBoxes``: which objects are left is
    known from boxes and masks together.
    """

    @abstractmethod
    def warp(self, size: tuple[int, int]) -> Warp:
        """Draws where an image of this width and height comes to lie."""

    @override
    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        image = next(value for value in flat_inputs if isinstance(value, Image.Image))
        return {"warp": self.warp(image.size)}

    @override
    def forward(self, *inputs: Any) -> LabeledImage:
        (sample,) = inputs
        moved: LabeledImage = self.make_params([sample.image])["warp"](sample)
        return moved


class Preprocess(GeometricTransform):
    """The image as ``prepare`` of the runtime gives it to a network; with boxes and masks.

    Args:
        preprocessing: ``letterbox`` or ``squash``.
    """

    def __init__(self, preprocessing: ImagePreprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing

    @override
    def warp(self, size: tuple[int, int]) -> ScaleShift:
        return ScaleShift.of(size, self.preprocessing)


class RandomScaleShift(GeometricTransform):
    """The image in another size at another position.

    Args:
        preprocessing: ``letterbox`` or ``squash``.
        scale_range: smallest and largest factor on the size that it has in an evaluation.
        translate: largest shift as a fraction of the canvas's sides; None: the image stays in the middle.
    """

    def __init__(
        self,
        preprocessing: ImagePreprocessing,
        scale_range: tuple[float, float],
        translate: float | None = None,
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.scale_range = scale_range
        self.translate = translate

    @override
    def warp(self, size: tuple[int, int]) -> ScaleShift:
        scale = uniform(*self.scale_range)
        shift = (0.0, 0.0)
        if self.translate is not None:
            shift = (uniform(-self.translate, self.translate), uniform(-self.translate, self.translate))
        return ScaleShift.of(size, self.preprocessing, scale, shift)


class RandomTurn(GeometricTransform):
    """An image of the input's size, rotated and sheared about its middle.

    Args:
        fill: grey level of the corners that become free.
        degrees: largest rotation.
        shear: largest shear, in degrees.
    """

    def __init__(self, fill: int, degrees: float, shear: float) -> None:
        super().__init__()
        self.fill = fill
        self.degrees = degrees
        self.shear = shear

    @override
    def warp(self, size: tuple[int, int]) -> Affine:
        degrees = uniform(-self.degrees, self.degrees)
        shears = (uniform(-self.shear, self.shear), uniform(-self.shear, self.shear))
        matrix = affine_matrix(size, degrees=degrees, shears=shears, shift=(0.0, 0.0))
        return Affine(size, size, self.fill, matrix)


class CropMosaic(GeometricTransform):
    """A mosaic cut to the input's size around its middle: scaled, shifted, rotated and sheared at random.

    Args:
        preprocessing: size and border of the input.
        affine: how much; where it is off, the mosaic's middle is cut out.
    """

    def __init__(self, preprocessing: ImagePreprocessing, affine: RandomAffineSpec) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.affine = affine

    @override
    def warp(self, size: tuple[int, int]) -> Affine:
        affine, canvas = self.affine, (self.preprocessing.width, self.preprocessing.height)
        low, high = affine.scale_range if affine.enable else (1.0, 1.0)
        translate, most = (affine.translate, affine.degrees) if affine.enable else (0.0, 0.0)
        shift = (uniform(-translate, translate) * canvas[0], uniform(-translate, translate) * canvas[1])
        degrees = uniform(-most, most)
        shears = (0.0, 0.0)
        if affine.enable:
            shears = (uniform(-affine.shear, affine.shear), uniform(-affine.shear, affine.shear))
        matrix = affine_matrix(
            canvas, degrees=degrees, shears=shears, shift=shift, scale=uniform(low, high), source=size
        )
        return Affine(size, canvas, self.preprocessing.fill, matrix)
