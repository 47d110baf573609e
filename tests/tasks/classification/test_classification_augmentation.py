"""What training changes in images at random: as much as the spec says, and the same again for a seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_classification import UNCHANGED, data_overrides, tiny_spec
from torch.utils.data import DataLoader

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision.transforms import v2

from tao_like.config.blocks.augmentation import RandomCropSpec
from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess
from tao_like.stages.lib.loading import EpochSampler, SampleKey, SeededDataset
from tao_like.tasks import task_class
from tao_like.tasks.classification.data.dataset import augmentation_of
from tao_like.tasks.common.augmentation.crops import area_fractions

SIZE = ImagePreprocessing(height=32, width=32, resize="squash", interpolation="bilinear")
ALL_KINDS = (
    "dataset.augmentation.random_rotate.enable=true",
    "dataset.augmentation.random_aug.enable=true",
    "dataset.augmentation.random_erase={enable: true, erase_probability: 0.5}",
)


def changes(*overrides: str) -> Callable[[Image.Image], np.ndarray]:
    """The augmentation of a spec in which nothing is on but what is given."""
    return augmentation_of(tiny_spec(*UNCHANGED, *overrides).dataset.augmentation, SIZE).pixels


def gradient(side: int = 64) -> Image.Image:
    """An image whose red value is its column and whose green value is its row, from 0 to 252."""
    line = np.linspace(0, 252, side).round().astype(np.uint8)
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = line[None, :], line[:, None]
    return Image.fromarray(pixels)


def test_with_everything_off_images_are_preprocessed_as_for_evaluation() -> None:
    np.testing.assert_array_equal(changes()(gradient()), preprocess(gradient(), SIZE))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((1.0, 1.2), (1 / 1.44, 1.0)),
        ((1.0, 1.0), (1.0, 1.0)),
        ((0.35, 1.0), (0.35, 1.0)),
        ((2.0, 4.0), (1 / 16, 1 / 4)),
    ],
)
def test_tao_s_factors_of_enlargement_become_fractions_of_the_area(
    given: tuple[float, float], expected: tuple[float, float]
) -> None:
    assert area_fractions(RandomCropSpec(scale_range=list(given))) == pytest.approx(expected)


def test_a_crop_shows_as_much_as_its_range_allows() -> None:
    """TAO's factors 1 to 1.2 at the image's own shape: each side of the crop is 1 / 1.2 to 1 of it."""
    crop = "{enable: true, scale_range: [1, 1.2], ratio_range: [1, 1]}"
    augment = changes(f"dataset.augmentation.with_scale_random_crop={crop}")
    torch.manual_seed(0)
    seen = []
    for _ in range(60):
        pixels = augment(gradient()).astype(float)
        # The values of a row rise evenly over the part that is shown; its ends are half a pixel further out.
        rise = (pixels[16, -2, 0] - pixels[16, 1, 0]) / 29 * 32
        seen.append(rise / 256)
    assert 1 / 1.2 - 0.03 < min(seen) < 0.87
    assert 0.95 < max(seen) < 1.03


def test_flips_come_as_often_as_the_spec_says() -> None:
    augment = changes(
        "dataset.augmentation.random_flip={enable: true, hflip_probability: 0.8, vflip_probability: 0.25}"
    )
    torch.manual_seed(0)
    images = [augment(gradient()).astype(int) for _ in range(400)]
    mirrored = np.mean([pixels[0, 0, 0] > pixels[0, -1, 0] for pixels in images])
    upside_down = np.mean([pixels[0, 0, 1] > pixels[-1, 0, 1] for pixels in images])
    assert mirrored == pytest.approx(0.8, abs=0.07)
    assert upside_down == pytest.approx(0.25, abs=0.07)


def test_rotation_takes_only_the_angles_of_the_list() -> None:
    augment = changes(
        "dataset.augmentation.random_rotate={enable: true, rotate_probability: 0.75, angle_list: [90, 270]}"
    )
    upright = preprocess(gradient(), SIZE)
    torch.manual_seed(0)
    counts = [0, 0, 0]
    for _ in range(200):
        pixels = augment(gradient())
        turns = [turn for turn in (0, 1, 3) if np.array_equal(pixels, np.rot90(upright, turn))]
        assert len(turns) == 1
        counts[(0, 1, 3).index(turns[0])] += 1
    assert counts[0] == pytest.approx(50, abs=20)
    assert counts[1] == pytest.approx(75, abs=25)


def test_erasing_blots_out_one_rectangle() -> None:
    augment = changes("dataset.augmentation.random_erase={enable: true, erase_probability: 1.0}")
    white = Image.new("RGB", (32, 32), "white")
    torch.manual_seed(0)
    for _ in range(10):
        erased = (augment(white) != 255).any(axis=2)
        assert erased.any()
        assert erased.sum() == erased.any(axis=0).sum() * erased.any(axis=1).sum()


def test_the_draws_are_torchvision_s_one_after_the_other() -> None:
    """What training sees is what a list of torchvision's own transforms gives from the same seed."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    crop = "{enable: true, scale_range: [0.3, 1], ratio_range: [0.5, 2]}"
    change = changes(
        f"dataset.augmentation.with_scale_random_crop={crop}",
        "dataset.augmentation.random_flip={enable: true, hflip_probability: 0.6, vflip_probability: 0.3}",
        "dataset.augmentation.random_rotate={enable: true, rotate_probability: 0.7, angle_list: [20, 90]}",
        "dataset.augmentation.random_color={enable: true, color_probability: 0.6, hue: 0.1}",
        "dataset.augmentation.random_erase={enable: true, erase_probability: 0.5}",
    )
    for seed in range(25):
        torch.manual_seed(seed)
        image = Image.fromarray(pixels)
        image = v2.RandomResizedCrop((32, 32), (0.3, 1.0), (0.5, 2.0))(image)
        image = v2.RandomVerticalFlip(0.3)(v2.RandomHorizontalFlip(0.6)(image))
        if torch.rand(()) < 0.7:
            image = image.rotate((20, 90)[int(torch.randint(2, ()))], Image.Resampling.BILINEAR)
        if torch.rand(1) < 0.6:
            image = v2.ColorJitter(0.2, 0.2, 0.2, 0.1)(image)
        expected = v2.RandomErasing(0.5)(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        torch.manual_seed(seed)
        found = change(Image.fromarray(pixels))
        np.testing.assert_array_equal(found, expected.permute(1, 2, 0).numpy())


def training_pixels(folder: Path, workers: int, epoch: int, seed: int = 3) -> dict[int, np.ndarray]:
    """Each training image of an epoch, as the loader gives it with so many processes."""
    task = task_class("classification")(tiny_spec(*ALL_KINDS, *data_overrides(folder)))
    dataset = SeededDataset(task.data.dataset("train", augment=True), seed)
    sampler = EpochSampler(len(dataset), seed, shuffle=True)
    sampler.set_epoch(epoch)
    loader = DataLoader(
        dataset, batch_size=5, sampler=sampler, num_workers=workers, collate_fn=task.data.collate
    )
    return {
        int(index): batch.input[place].numpy()
        for batch in loader
        for place, index in enumerate(batch.indices)
    }


def test_changes_depend_on_seed_epoch_and_sample_alone(class_folders: Path) -> None:
    torch.manual_seed(11)
    alone = training_pixels(class_folders, 0, epoch=1)
    torch.manual_seed(12)
    with_workers = training_pixels(class_folders, 2, epoch=1)
    assert list(alone) == list(with_workers)
    for index, pixels in alone.items():
        np.testing.assert_array_equal(pixels, with_workers[index])
    for other in (training_pixels(class_folders, 0, epoch=2), training_pixels(class_folders, 0, 1, seed=4)):
        assert list(other) != list(alone)
        same = sum(np.array_equal(other[index], alone[index]) for index in alone)
        assert same < len(alone) // 4


def test_drawing_a_sample_leaves_the_caller_s_random_state(class_folders: Path) -> None:
    task = task_class("classification")(tiny_spec(*ALL_KINDS, *data_overrides(class_folders)))
    dataset = SeededDataset(task.data.dataset("train", augment=True), 0)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    dataset[SampleKey(0, 2)]
    assert torch.rand(3).equal(expected)
