"""Losses of segmentation against the library's, hand-computed cases, and masks of nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from segmentation_models_pytorch.losses import DiceLoss, LovaszLoss, TverskyLoss

from tao_like.config import load_spec
from tao_like.data.masks.values import IGNORE
from tao_like.errors import DatasetError
from tao_like.tasks import spec_module
from tao_like.tasks.segmentation.losses.losses import TERMS, SegmentationLoss
from tao_like.tasks.segmentation.losses.weights import class_weights

CLASSES = 4


def loss_of(*words: str, weights: list[float] | None = None) -> SegmentationLoss:
    given = [f"model.loss.{word}" for word in words]
    return SegmentationLoss(load_spec(spec_module("segmentation").Spec, None, given).spec.model.loss, weights)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(2, CLASSES, 6, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.fixture
def target() -> Tensor:
    found = torch.randint(0, CLASSES, (2, 6, 5), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    found[0, 0] = IGNORE
    return found


@pytest.mark.parametrize("kind", TERMS)
def test_a_batch_without_any_class_has_a_loss_and_gradients_of_zero(kind: str, logits: Tensor) -> None:
    terms = loss_of(f"type={kind}", weights=[1.0, 2.0, 3.0, 4.0])(
        logits, torch.full((2, 6, 5), IGNORE, dtype=torch.uint8)
    )
    assert tuple(terms) == TERMS[kind]
    total = sum(terms.values())
    assert isinstance(total, Tensor)
    assert float(total) == 0
    total.backward()
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("kind", TERMS)
def test_ignored_pixels_change_nothing(kind: str, logits: Tensor, target: Tensor) -> None:
    loss = loss_of(f"type={kind}")
    before = sum(loss(logits, target).values())
    changed = logits.detach().clone()
    changed[0, :, 0] += torch.tensor([50.0, -20.0, 3.0, 0.0])[:, None]
    torch.testing.assert_close(sum(loss(changed, target).values()), before)


def test_terms_are_those_of_torch_and_the_library(logits: Tensor, target: Tensor) -> None:
    weights = [1.0, 2.0, 0.5, 3.0]
    expected = functional.cross_entropy(
        logits, target.long(), torch.tensor(weights), ignore_index=IGNORE, label_smoothing=0.0
    )
    torch.testing.assert_close(loss_of("type=ce", weights=weights)(logits, target)["ce"], expected)
    smooth = functional.cross_entropy(logits, target.long(), ignore_index=IGNORE, label_smoothing=0.1)
    torch.testing.assert_close(loss_of("type=ce", "label_smoothing=0.1")(logits, target)["ce"], smooth)
    for kind, reference in (
        ("dice", DiceLoss("multiclass", ignore_index=IGNORE)),
        ("lovasz", LovaszLoss("multiclass", ignore_index=IGNORE)),
        ("tversky", TverskyLoss("multiclass", ignore_index=IGNORE, alpha=0.3, beta=0.7)),
    ):
        found = loss_of(f"type={kind}")(logits, target)[kind]
        torch.testing.assert_close(found, reference(logits, target.long()))
    both = loss_of("type=ce_dice", "dice_weight=0.5")(logits, target)
    torch.testing.assert_close(both["dice"], 0.5 * loss_of("type=dice")(logits, target)["dice"])


def test_focal_and_ohem_by_hand() -> None:
    # Two classes, three pixels with p = 0.9, 0.6, 0.2 of their class.
    p = torch.tensor([0.9, 0.6, 0.2])
    logits = torch.stack([torch.log(p), torch.log(1 - p)])[None, :, None]
    target = torch.zeros(1, 1, 3, dtype=torch.uint8)
    wanted = np.mean([0.1**2 * -np.log(0.9), 0.4**2 * -np.log(0.6), 0.8**2 * -np.log(0.2)])
    assert float(loss_of("type=focal")(logits, target)["focal"]) == pytest.approx(wanted, abs=1e-5)
    # Below 0.7 lie the last two; with a threshold of 0.1 none, and the hardest of three counts.
    wanted = np.mean([-np.log(0.6), -np.log(0.2)])
    assert float(loss_of("type=ohem")(logits, target)["ohem"]) == pytest.approx(wanted, abs=1e-5)
    few = loss_of("type=ohem", "ohem_threshold=0.1", "ohem_min_share=0.4")(logits, target)["ohem"]
    assert float(few) == pytest.approx(-np.log(0.2), abs=1e-5)


def test_weights_by_frequency() -> None:
    pixels, present = np.array([600, 300, 100, 0]), np.array([1000, 500, 500, 0])
    found = class_weights("log_frequency", pixels, present)
    assert found == pytest.approx([1 / np.log(1.02 + f) for f in (0.6, 0.3, 0.1, 0.0)])
    # Frequencies 0.6, 0.6, 0.2: the median is 0.6; a class that is not there weighs as the rarest.
    assert class_weights("median_frequency", pixels, present) == pytest.approx([1, 1, 3, 3])
    with pytest.raises(DatasetError, match="no pixel"):
        class_weights("log_frequency", np.zeros(3, np.int64), np.zeros(3, np.int64))
