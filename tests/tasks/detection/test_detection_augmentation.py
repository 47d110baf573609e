"""A known square is found where its box says, after every change of a training image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tao_like.config import load_spec
from tao_like.contract.batch import Batch
from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess
from tao_like.tasks.common.augmentation.annotations import Annotations, LabeledImage
from tao_like.tasks.common.augmentation.mixing import MixUpImages, Mosaic
from tao_like.tasks.common.augmentation.placing import CropMosaic, Preprocess, RandomScaleShift
from tao_like.tasks.common.augmentation.scenes import SceneAugmentation
from tao_like.tasks.common.augmentation.warps import Affine, ScaleShift, affine_matrix
from tao_like.tasks.detection.data.data import augmentation_of
from tao_like.tasks.detection.data.dataset import DetectionTargets
from tao_like.tasks.detection.data.scales import resized_batch
from tao_like.tasks.detection.spec import Spec

SIZE = ImagePreprocessing(
    height=192, width=256, resize="letterbox", crop_pct=1.0, interpolation="bilinear", fill=114
)
CANVAS = (256, 192)
TOLERANCE = 1.5
"""Pixels: an edge between two of them is blurred by interpolation."""


def square(seed: int, color: tuple[int, int, int] = (255, 255, 255)) -> LabeledImage:
    """A dark image with one bright square, whose box is known."""
    draw = np.random.default_rng(seed)
    width, height = int(draw.integers(200, 400)), int(draw.integers(150, 300))
    side = int(draw.integers(40, 80))
    left, top = int(draw.integers(30, width - side - 30)), int(draw.integers(30, height - side - 30))
    image = Image.new("RGB", (width, height), "black")
    image.paste(color, (left, top, left + side, top + side))
    box = np.array([[left, top, left + side, top + side]], np.float32)
    return LabeledImage(image, Annotations.of(box, np.array([seed % 3]), image.size))


def dark_image() -> LabeledImage:
    """An image without an object."""
    none = Annotations.of(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), (300, 200))
    return LabeledImage(Image.new("RGB", (300, 200)), none)


def boxes_of(sample: LabeledImage) -> np.ndarray:
    """The boxes of a sample, which has a label for each."""
    assert isinstance(sample.target, Annotations)
    assert len(sample.target.boxes) == len(sample.target.labels) == len(sample.target.crowd)
    assert sample.target.size == sample.image.size
    return sample.target.boxes.numpy()


def placed(sample: LabeledImage, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> LabeledImage:
    return ScaleShift.of(sample.image.size, SIZE, scale, shift)(sample)


def bright(pixels: np.ndarray, limit: float) -> tuple[int, int, int, int] | None:
    """The box around all pixels brighter than a limit; None where there is none."""
    rows, columns = np.nonzero(pixels.astype(float).mean(axis=2) > limit)
    if not len(rows):
        return None
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def assert_found(changed: LabeledImage, limit: float = 185, tolerance: float = TOLERANCE) -> None:
    """The one square lies where the one box says; no box: it is out of sight, or nearly."""
    seen = bright(np.asarray(changed.image), limit)
    boxes = boxes_of(changed)
    if len(boxes) == 0:
        assert seen is None or (seen[2] - seen[0]) * (seen[3] - seen[1]) < 80 * 80 * 4 * 0.3
        return
    assert seen is not None
    assert boxes[0] == pytest.approx(seen, abs=tolerance)


@pytest.fixture(autouse=True)
def repeatable() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


def spec(*overrides: str) -> Spec:
    """The augmentation block of a spec."""
    loaded: Spec = load_spec(Spec, None, [f"dataset.augmentation.{override}" for override in overrides]).spec
    return loaded


def test_placed_without_changes_is_what_evaluation_preprocesses() -> None:
    for seed in range(10):
        sample = square(seed)
        changed = Preprocess(SIZE)(sample)
        assert (np.asarray(changed.image) == preprocess(sample.image, SIZE)).all()
        assert_found(changed)


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.9])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.2), (-0.45, 0.4)])
def test_scaled_and_shifted(scale: float, shift: tuple[float, float]) -> None:
    for seed in range(6):
        assert_found(placed(square(seed), scale, shift))


def test_rescaled_at_random() -> None:
    move = RandomScaleShift(SIZE, (0.5, 1.6), 0.3)
    for seed in range(30):
        assert_found(move(square(seed)))


def test_the_draws_come_in_one_order() -> None:
    """Whether a mosaic, scale, shift right, shift down, two flips; the same image by Pillow alone."""
    change = augmentation_of(
        spec(
            "random_affine.scale_range=[0.5,1.6]",
            "random_affine.translate=0.3",
            "random_color.enable=false",
            "vertical_flip_prob=0.4",
        ).dataset.augmentation,
        SIZE,
    )
    for seed in range(20):
        sample = square(seed)
        torch.manual_seed(seed)
        torch.rand(())
        scale, right, down, mirror, over = (float(torch.rand(())) for _ in range(5))
        scale, right, down = 0.5 + 1.1 * scale, -0.3 + 0.6 * right, -0.3 + 0.6 * down
        ratio = min(SIZE.width / sample.image.width, SIZE.height / sample.image.height)
        width, height = (round(round(side * ratio) * scale) for side in sample.image.size)
        left = math.floor((SIZE.width - width) / 2 + right * SIZE.width)
        top = math.floor((SIZE.height - height) / 2 + down * SIZE.height)
        expected = Image.new("RGB", CANVAS, (SIZE.fill,) * 3)
        expected.paste(sample.image.resize((width, height), Image.Resampling.BILINEAR), (left, top))
        if mirror < 0.5:
            expected = ImageOps.mirror(expected)
        if over < 0.4:
            expected = ImageOps.flip(expected)
        torch.manual_seed(seed)
        found = change(sample, dark_image)
        difference = np.asarray(found.image).astype(int) - np.asarray(expected)
        # A part of an image, resized, may be one level from the part of the resized image.
        assert np.abs(difference).max() <= 1
        box = boxes_of(sample)[0] * np.tile([width / sample.image.width, height / sample.image.height], 2)
        box = np.clip(box + np.tile([left, top], 2), 0, np.tile(CANVAS, 2))
        if mirror < 0.5:
            box[[0, 2]] = CANVAS[0] - box[[2, 0]]
        if over < 0.4:
            box[[1, 3]] = CANVAS[1] - box[[3, 1]]
        for seen in boxes_of(found):
            assert seen == pytest.approx(box, abs=1e-3)


def turned_square(sample: LabeledImage, matrix: np.ndarray) -> LabeledImage:
    return Affine(CANVAS, CANVAS, SIZE.fill, matrix)(placed(sample))


@pytest.mark.parametrize(
    ("degrees", "shears", "scale"),
    [(0, (0, 0), 1.0), (90, (0, 0), 0.7), (30, (0, 0), 0.8), (0, (15, 0), 1.0), (-20, (5, -8), 1.2)],
)
def test_rotated_and_sheared(degrees: float, shears: tuple[float, float], scale: float) -> None:
    matrix = affine_matrix(CANVAS, degrees=degrees, shears=shears, shift=(5.0, -3.0), scale=scale)
    for seed in range(8):
        # The tip of a corner that points up is darker than the rest.
        assert_found(turned_square(square(seed), matrix), tolerance=2.5)


def test_mosaic_and_its_cut() -> None:
    settings = spec("random_affine.scale_range=[0.6,1.4]", "random_affine.degrees=8")
    cut = CropMosaic(SIZE, settings.dataset.augmentation.random_affine)
    dark = dark_image()
    for seed in range(12):
        for place in range(4):
            four = [square(seed) if place == at else dark for at in range(4)]
            whole = Mosaic(SIZE)(*four)
            assert whole.image.size == (512, 384)
            assert_found(whole)
            assert_found(cut(whole), tolerance=2.5)


def test_mixup_keeps_both() -> None:
    first, second = placed(square(1)), placed(square(2))
    both = MixUpImages()(first, second)
    assert boxes_of(both).tolist() == [*boxes_of(first).tolist(), *boxes_of(second).tolist()]
    for box in boxes_of(both).astype(int):
        inside = np.asarray(both.image)[box[1] + 3 : box[3] - 3, box[0] + 3 : box[2] - 3]
        assert inside.mean() > 120


@pytest.mark.parametrize(("horizontal", "vertical"), [(1, 0), (0, 1), (1, 1)])
def test_flips(horizontal: int, vertical: int) -> None:
    settings = spec(
        f"horizontal_flip_prob={horizontal}",
        f"vertical_flip_prob={vertical}",
        "random_color.enable=false",
        "random_affine.enable=false",
    )
    change = augmentation_of(settings.dataset.augmentation, SIZE)
    for seed in range(6):
        sample = square(seed)
        changed = change(sample, dict, strong=True)  # type: ignore[arg-type]  # no other is asked for
        assert_found(changed)
        expected = preprocess(sample.image, SIZE)
        expected = expected[:, ::-1] if horizontal else expected
        expected = expected[::-1] if vertical else expected
        assert (np.asarray(changed.image) == expected).all()


def test_color_moves_nothing() -> None:
    settings = spec("random_affine.enable=false", "horizontal_flip_prob=0", "random_color.value=0.1")
    change = augmentation_of(settings.dataset.augmentation, SIZE)
    grey = square(4, (220, 200, 190))
    images = [change(grey, lambda: grey, strong=True) for _ in range(5)]
    for changed in images:
        assert_found(changed, limit=145)
    assert len({np.asarray(changed.image).tobytes() for changed in images}) > 1


def everything() -> SceneAugmentation:
    settings = spec(
        "mosaic_prob=0.5",
        "mixup_prob=0.5",
        "random_affine.degrees=10",
        "random_affine.shear=2",
        "vertical_flip_prob=0.5",
    )
    return augmentation_of(settings.dataset.augmentation, SIZE)


def test_all_together_give_boxes_inside_the_image_and_are_repeatable() -> None:
    change = everything()
    numbers = iter(range(10_000))
    another: Callable[[], LabeledImage] = lambda: square(next(numbers) % 7)  # noqa: E731
    for seed in range(30):
        torch.manual_seed(seed)
        changed = change(square(seed), another, strong=True)
        assert changed.image.size == (SIZE.width, SIZE.height)
        boxes = boxes_of(changed)
        assert (boxes >= 0).all()
        assert (boxes[:, 2] <= SIZE.width).all()
        assert (boxes[:, 3] <= SIZE.height).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
    twice = []
    for _ in range(2):
        torch.manual_seed(5)
        twice.append(change(square(1), lambda: square(2), strong=True))
    assert boxes_of(twice[0]).tolist() == boxes_of(twice[1]).tolist()
    assert twice[0].image.tobytes() == twice[1].image.tobytes()


def test_what_is_strong_is_off_for_the_last_epochs() -> None:
    change = everything()
    for seed in range(10):
        torch.manual_seed(seed)
        changed = change(square(seed), lambda: square(2), strong=False)
        assert len(boxes_of(changed)) == 1
        assert_found(changed, limit=150)


def test_an_image_without_objects_stays_one() -> None:
    empty = dark_image()
    change = everything()
    for seed in range(8):
        torch.manual_seed(seed)
        changed = change(empty, lambda: empty, strong=True)
        assert boxes_of(changed).shape == (0, 4)


def test_another_input_size_at_every_step_depends_on_the_batch_alone() -> None:
    image = placed(square(3))
    pixels = torch.from_numpy(np.array(image.image)).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    boxes = [torch.from_numpy(boxes_of(image)), torch.zeros(0, 4)]
    sizes = set()
    for epoch in range(12):
        targets = DetectionTargets(boxes, [], [], plain=False, epoch=epoch)
        batch = Batch({"image": pixels}, targets, torch.tensor([4, 9]))
        resized, again = resized_batch(batch, 2), resized_batch(batch, 2)
        assert resized.input.shape == again.input.shape
        height, width = resized.input.shape[-2:]
        assert height % 32 == width % 32 == 0
        sizes.add((height, width))
        seen = bright(resized.input[0].permute(1, 2, 0).float().numpy(), 185)
        assert resized.targets.boxes[0][0].numpy() == pytest.approx(seen, abs=TOLERANCE)
        assert resized.targets.boxes[1].shape == (0, 4)
        # A GPU is not asked for what is read here as numbers.
        assert batch.to(torch.device("meta")).indices.tolist() == [4, 9]
    assert len(sizes) > 2
    assert resized_batch(batch, 0) is batch
