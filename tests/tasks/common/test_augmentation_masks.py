"""Masks go where their image goes, in every random change of training images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision import tv_tensors

from tao_like.config.blocks.augmentation import (
    HsvColorSpec,
    RandomAffineSpec,
    RandomColorSpec,
    RandomCropSpec,
    RandomFlipSpec,
    RandomRotateSpec,
)
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.tasks.common.augmentation.annotations import (
    IGNORE,
    Annotations,
    LabeledImage,
    box_of_mask,
)
from tao_like.tasks.common.augmentation.crops import CropAugmentation
from tao_like.tasks.common.augmentation.mixing import MixUpImages, Mosaic
from tao_like.tasks.common.augmentation.placing import Preprocess
from tao_like.tasks.common.augmentation.scenes import SceneAugmentation
from tao_like.tasks.common.augmentation.warps import Affine, ScaleShift, affine_matrix

FILL = 114
SIZE = ImagePreprocessing(
    height=96, width=128, resize="letterbox", crop_pct=1.0, interpolation="nearest", fill=FILL
)


def boxes_of_masks(masks: np.ndarray) -> np.ndarray:
    """(N, 4) the smallest boxes around masks (N, H, W)."""
    return np.array([box_of_mask(mask) for mask in masks], np.float32).reshape(-1, 4)


@pytest.fixture(autouse=True)
def repeatable() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


def scene(seed: int) -> tuple[Image.Image, np.ndarray]:
    """A black image with two grey rectangles, and which of them is at each pixel: 0, 1 or 2."""
    draw = np.random.default_rng(seed)
    width, height = int(draw.integers(90, 200)), int(draw.integers(80, 160))
    classes = np.zeros((height, width), np.uint8)
    for number in (1, 2):
        left, top = int(draw.integers(0, width - 40)), int(draw.integers(0, height - 40))
        classes[top : top + int(draw.integers(20, 40)), left : left + int(draw.integers(20, 40))] = number
    return Image.fromarray(np.array([0, 200, 255], np.uint8)[classes]).convert("RGB"), classes


def with_classes(seed: int) -> LabeledImage:
    image, classes = scene(seed)
    return LabeledImage(image, tv_tensors.Mask(torch.from_numpy(classes)))


def with_instances(seed: int) -> LabeledImage:
    image, classes = scene(seed)
    masks = np.stack([classes == 1, classes == 2]).astype(np.uint8)
    labels = np.array([4, 7])
    return LabeledImage(image, Annotations.of(boxes_of_masks(masks), labels, image.size, masks=masks))


def classes_of(sample: LabeledImage) -> np.ndarray:
    assert isinstance(sample.target, tv_tensors.Mask)
    return sample.target.numpy()


def expected_classes(image: Image.Image) -> np.ndarray:
    """The class of each pixel as its grey level says, at steps that keep grey levels."""
    levels = np.full(256, 77, np.uint8)
    levels[[0, 200, 255, FILL]] = 0, 1, 2, IGNORE
    return levels[np.asarray(image)[..., 0]]


def changes(mosaic: float = 0.0, mixup: float = 0.0, degrees: float = 0.0) -> SceneAugmentation:
    return SceneAugmentation(
        SIZE,
        affine=RandomAffineSpec(scale_range=[0.6, 1.5], translate=0.2, degrees=degrees, shear=degrees / 4),
        color=HsvColorSpec(enable=False),
        horizontal_flip_prob=0.5,
        vertical_flip_prob=0.5,
        mosaic_prob=mosaic,
        mixup_prob=mixup,
    )


def test_a_placed_mask_is_pillow_s_nearest_pixel() -> None:
    draw = np.random.default_rng(0)
    for _ in range(300):
        source = (int(draw.integers(3, 90)), int(draw.integers(3, 90)))
        mask = draw.integers(0, 250, source[::-1], dtype=np.uint8)
        place = ScaleShift.of(source, SIZE, float(draw.uniform(0.3, 1.8)))
        canvas = Image.new("L", (SIZE.width, SIZE.height), IGNORE)
        scaled = Image.fromarray(mask).resize((place.width, place.height), Image.Resampling.NEAREST)
        canvas.paste(scaled, (place.left, place.top))
        # A center that lies on the edge between two pixels is as near to the one as to the other.
        columns = (np.arange(SIZE.width) + 0.5 - place.left) * source[0] / place.width
        rows = (np.arange(SIZE.height) + 0.5 - place.top) * source[1] / place.height
        clear = np.ix_(np.abs(rows - rows.round()) > 1e-9, np.abs(columns - columns.round()) > 1e-9)
        np.testing.assert_array_equal(place.mask(mask, IGNORE)[clear], np.asarray(canvas)[clear])


def test_a_turned_mask_is_pillow_s_nearest_pixel() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        mask = draw.integers(0, 250, (60, 80), dtype=np.uint8)
        matrix = affine_matrix(
            (128, 96),
            degrees=float(draw.uniform(-180, 180)),
            shears=(float(draw.uniform(-9, 9)), 3.0),
            shift=(4.2, -7.1),
            scale=1.3,
            source=(80, 60),
        )
        expected = Image.fromarray(mask).transform(
            (128, 96),
            Image.Transform.AFFINE,
            tuple(np.linalg.inv(matrix)[:2].ravel()),
            resample=Image.Resampling.NEAREST,
            fillcolor=IGNORE,
        )
        moved = Affine((80, 60), (128, 96), FILL, matrix).mask(mask, IGNORE)
        # Pillow steps along a row in fixed-point numbers: a pixel on an edge may fall to either side.
        assert (moved != np.asarray(expected)).mean() < 0.002


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_every_pixel_s_class_follows_and_what_is_new_is_ignored(mosaic: float) -> None:
    """With nearest pixels in the image too, its grey level is its class; the canvas is to be ignored."""
    change = changes()
    seen = set()
    for seed in range(25):
        if mosaic:
            changed = Mosaic(SIZE)(*(with_classes(seed + number) for number in range(4)))
        else:
            changed = change(with_classes(seed), lambda: with_classes(0))
        # Pillow takes the other of two pixels that are equally near: on edges of rectangles it shows.
        assert (classes_of(changed) == expected_classes(changed.image)).mean() > 0.985
        seen |= set(np.unique(classes_of(changed)).tolist())
    assert seen == {0, 1, 2, IGNORE}


def test_classes_follow_a_rotation() -> None:
    """Bilinear pixels on edges are between two classes; all others must be right."""
    change = changes(mosaic=0.5, degrees=25)
    numbers = iter(range(1000))
    for seed in range(25):
        changed = change(with_classes(seed), lambda: with_classes(next(numbers)))
        expected = expected_classes(changed.image)
        pure = expected != 77
        assert pure.mean() > 0.8
        assert (classes_of(changed)[pure] == expected[pure]).mean() > 0.99


def eroded(mask: np.ndarray) -> np.ndarray:
    """Pixels whose four neighbours are in the mask too."""
    inside = np.pad(mask > 0, 1)
    return inside[1:-1, 1:-1] & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]


def instances_of(sample: LabeledImage) -> tuple[Annotations, np.ndarray]:
    target = sample.target
    assert isinstance(target, Annotations)
    assert target.masks is not None
    masks = target.masks.numpy()
    assert masks.shape == (len(target.boxes), SIZE.height, SIZE.width)
    assert masks.dtype == np.uint8
    assert len(target.labels) == len(target.crowd) == len(masks)
    return target, masks


@pytest.mark.parametrize(("mosaic", "degrees"), [(0.0, 0.0), (1.0, 0.0), (0.0, 20.0), (1.0, 20.0)])
def test_instances_keep_their_masks_and_get_the_boxes_around_them(mosaic: float, degrees: float) -> None:
    change = changes(mosaic=mosaic, degrees=degrees)
    numbers = iter(range(1000))
    kept = 0
    blurred = bool(mosaic or degrees)
    for seed in range(20):
        changed = change(with_instances(seed), lambda: with_instances(next(numbers)))
        target, masks = instances_of(changed)
        kept += len(masks)
        grey = np.asarray(changed.image)[..., 0]
        for mask, box, label in zip(masks, target.boxes.tolist(), target.labels.tolist(), strict=True):
            rows, columns = np.nonzero(mask)
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            wanted = {4: 200, 7: 255}[label]
            inner = eroded(mask) if blurred else mask > 0
            of_object = grey[inner].astype(int)
            assert (np.abs(of_object - wanted) < 60).mean() > 0.97 if len(of_object) else blurred
    assert kept > 20


def test_an_instance_that_is_nearly_out_of_sight_is_dropped_with_its_mask() -> None:
    image = Image.new("RGB", (128, 96))
    masks = np.zeros((3, 96, 128), np.uint8)
    masks[0, 10:40, 0:30] = 1
    masks[1, 10:40, 60:90] = 1
    masks[2, 50:90, 20:45] = 1
    target = Annotations.of(
        boxes_of_masks(masks),
        np.array([0, 1, 2]),
        image.size,
        masks=masks,
        crowd=np.array([False, True, False]),
    )
    # 26 pixels to the left: of the first 4 of 30 columns are left, of the third 19 of 25.
    moved = ScaleShift.of((128, 96), SIZE, 1.0, (-26 / 128, 0.0))(LabeledImage(image, target))
    kept, left = instances_of(moved)
    assert kept.labels.tolist() == [1, 2]
    assert kept.crowd.tolist() == [True, False]
    assert kept.boxes.tolist() == [[34, 10, 64, 40], [0, 50, 19, 90]]
    assert left.sum(axis=(1, 2)).tolist() == [900, 760]


def test_boxes_come_from_the_mask_where_there_is_one() -> None:
    """A triangle whose tip is cut off: the box is that of the rest of it, not of the box's rest."""
    image = Image.new("RGB", (128, 96))
    mask = np.triu(np.ones((60, 60), np.uint8))[None]
    masks = np.zeros((1, 96, 128), np.uint8)
    masks[:, 20:80, 0:60] = mask
    target = Annotations.of(boxes_of_masks(masks), np.array([0]), image.size, masks=masks)
    moved = ScaleShift.of((128, 96), SIZE, 1.0, (0.0, -40 / 96))(LabeledImage(image, target))
    kept, _ = instances_of(moved)
    # Rows 40 to 80 of the image hold columns from 20 on.
    assert kept.boxes.tolist() == [[20, 0, 60, 40]]


def test_mixup_joins_instances_and_refuses_classes() -> None:
    first, second = (Preprocess(SIZE)(with_instances(seed)) for seed in (1, 2))
    target, masks = instances_of(MixUpImages()(first, second))
    one, other = instances_of(first), instances_of(second)
    np.testing.assert_array_equal(masks, np.concatenate([one[1], other[1]]))
    assert target.labels.tolist() == [*one[0].labels.tolist(), *other[0].labels.tolist()]
    with pytest.raises(TypeError, match="no single class"):
        MixUpImages()(with_classes(1), with_classes(1))


def crop_changes(crop: bool, rotate: RandomRotateSpec | None = None) -> CropAugmentation:
    return CropAugmentation(
        SIZE,
        crop=RandomCropSpec(enable=crop, scale_range=[0.2, 1.0]),
        flip=RandomFlipSpec(vflip_probability=0.5),
        rotate=rotate or RandomRotateSpec(),
        color=RandomColorSpec(enable=False),
        blur=False,
    )


@pytest.mark.parametrize("crop", [True, False])
def test_classes_follow_crops_and_flips_to_the_pixel(crop: bool) -> None:
    change = crop_changes(crop)
    for seed in range(25):
        changed = change(with_classes(seed))
        assert changed.image.size == (SIZE.width, SIZE.height)
        np.testing.assert_array_equal(classes_of(changed), expected_classes(changed.image))


@pytest.mark.parametrize(
    "rotate",
    [
        RandomRotateSpec(enable=True, rotate_probability=1.0, angle_list=[30.0]),
        RandomRotateSpec(enable=True, rotate_probability=1.0, max_angle=40.0),
    ],
)
def test_corners_of_a_rotation_are_ignored(rotate: RandomRotateSpec) -> None:
    change = crop_changes(True, rotate)
    white = LabeledImage(Image.new("RGB", (128, 96), "white"), tv_tensors.Mask(torch.ones(96, 128).byte()))
    seen = 0.0
    for _ in range(5):
        changed = change(white)
        ignored = classes_of(changed) == IGNORE
        black = np.asarray(changed.image)[..., 0] < 128
        assert ignored.mean() < 0.6
        seen += ignored.mean()
        assert (ignored == black).mean() > 0.97
    assert seen > 0.2


@pytest.mark.parametrize("make", [with_classes, with_instances])
def test_the_same_seed_gives_the_same_masks(make: Callable[[int], LabeledImage]) -> None:
    change = changes(mosaic=0.5, degrees=10)
    found = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        changed = change(make(1), lambda: make(2))
        mask = changed.target.masks if isinstance(changed.target, Annotations) else changed.target
        assert mask is not None
        found.append(mask.numpy().tobytes())
    assert found[0] == found[1] != found[2]
