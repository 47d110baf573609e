"""Losses of classification against torch's own, and what mixup and cutmix keep."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tao_like.tasks.classification.losses import (
    balanced_weights,
    classification_loss,
    multi_label_loss,
    targets_to_probabilities,
)
from tao_like.tasks.common.augmentation.mixing import MixUpOrCutMix

WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 4.0])


def logits_and_targets(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (9, 4) and class numbers (9,)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(9, 4, generator=generator), torch.randint(0, 4, (9,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_with_smoothing_is_torch_s(smoothing: float) -> None:
    logits, targets = logits_and_targets()
    expected = functional.cross_entropy(logits, targets, label_smoothing=smoothing)
    actual = classification_loss(logits, targets_to_probabilities(targets, 4, smoothing), None)
    torch.testing.assert_close(actual, expected)


def test_weighted_cross_entropy_is_torch_s() -> None:
    logits, targets = logits_and_targets()
    expected = functional.cross_entropy(logits, targets, weight=WEIGHTS)
    actual = classification_loss(logits, targets_to_probabilities(targets, 4, 0.0), WEIGHTS)
    torch.testing.assert_close(actual, expected)


def test_equal_weights_change_nothing() -> None:
    logits, targets = logits_and_targets()
    probabilities = targets_to_probabilities(targets, 4, 0.1)
    weighted = classification_loss(logits, probabilities, torch.full((4,), 3.0))
    torch.testing.assert_close(weighted, classification_loss(logits, probabilities, None))


def test_the_loss_stays_finite_in_half_precision() -> None:
    logits = torch.tensor([[60000.0, -60000.0]], dtype=torch.float16)
    assert classification_loss(logits, torch.tensor([[0.0, 1.0]]), None).isfinite()


def test_multi_label_loss_is_torch_s() -> None:
    logits, _ = logits_and_targets()
    targets = (torch.rand(9, 4, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    expected = torch.nn.BCEWithLogitsLoss(pos_weight=WEIGHTS)(logits, targets)
    torch.testing.assert_close(multi_label_loss(logits, targets, WEIGHTS), expected)


def test_balanced_weights_give_every_class_the_same_say() -> None:
    """scikit-learn's `balanced`: n / (classes * count)."""
    counts = torch.tensor([10, 30, 60])
    weights = balanced_weights(counts, multi_label=False, total=100)
    torch.testing.assert_close(weights, torch.tensor([100 / 30, 100 / 90, 100 / 180]))
    torch.testing.assert_close(weights * counts, torch.full((3,), 100 / 3))


def test_balanced_weights_of_labels_make_yes_weigh_as_much_as_no() -> None:
    """A label that a quarter of the images have: 3; one that most have is not made lighter."""
    weights = balanced_weights(torch.tensor([25, 80, 0]), multi_label=True, total=100)
    assert weights.tolist() == [3.0, 1.0, 99.0]


def blended(alpha: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images whose every pixel is the image's number, blended; with their blended targets.

    With five one-colored images in five classes a pixel says whom it came from.
    """
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 12, 16) * 10
    targets = torch.eye(5)
    torch.manual_seed(seed)
    mixed, mixed_targets = MixUpOrCutMix(alpha)(images, targets)
    return images.float(), mixed, mixed_targets


@pytest.mark.parametrize("seed", range(12))
def test_targets_say_how_much_of_each_image_there_is(seed: int) -> None:
    """The mean pixel is the mean of the sources, weighted by the targets: for mixup and for cutmix."""
    images, mixed, targets = blended(1.0, seed)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(5))
    assert (targets >= 0).all()
    expected = targets @ images.mean(dim=(1, 2, 3))
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), expected, atol=1e-4, rtol=1e-5)


def test_both_kinds_of_blending_come_by_turns() -> None:
    """Cutmix leaves every pixel one of the sources'; mixup makes new values."""
    kinds = []
    for seed in range(40):
        _, mixed, targets = blended(1.0, seed)
        if (targets.max(dim=1).values < 0.999).any():
            kinds.append(bool((mixed % 10 == 0).all()))
    assert 8 < sum(kinds) < len(kinds) - 8


def test_every_image_is_blended_with_one_other_and_is_the_other_of_one() -> None:
    """An image keeps the mean of the beta distribution, 1/2; more in cutmix, cut off at borders."""
    own: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(300):
        _, mixed, targets = blended(1.0, seed)
        torch.testing.assert_close(targets.sum(dim=0), torch.ones(5))
        assert ((targets > 0).sum(dim=1) <= 2).all()
        own[bool((mixed % 10 == 0).all())].append(float(targets.diagonal().mean()))
    assert sum(own[False]) / len(own[False]) == pytest.approx(0.5, abs=0.07)
    assert 0.5 < sum(own[True]) / len(own[True]) < 0.75


def test_cutmix_pastes_one_rectangle() -> None:
    for seed in range(40):
        images, mixed, _ = blended(1.0, seed)
        changed = (mixed != images)[:, 0]
        if not (mixed % 10 == 0).all() or not changed.any():
            continue
        for rows in changed[changed.any(dim=(1, 2))]:
            height, width = rows.any(dim=1).sum(), rows.any(dim=0).sum()
            assert rows.sum() == height * width


def test_the_caller_s_images_and_targets_are_left_alone() -> None:
    pixels, targets = torch.full((4, 3, 8, 8), 7, dtype=torch.uint8), torch.eye(4)
    for seed in range(6):
        torch.manual_seed(seed)
        MixUpOrCutMix(0.4)(pixels, targets)
    assert (pixels == 7).all()
    assert targets.equal(torch.eye(4))
