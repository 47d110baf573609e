"""What it costs a detector to predict otherwise than its teacher."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tao_like.errors import SpecError
from tao_like.tasks.detection.losses.distillation import teacher_losses

SURE, UNSURE = 0.8, 0.05
BOXES = torch.tensor([[[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 4.0, 4.0]]])
"""Two locations; the teacher is sure of the first one's prediction."""


def prediction(*scores: float, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Boxes (1, 2, 4), moved to the right, and scores (1, 2, 1)."""
    return BOXES + torch.tensor([shift, 0, shift, 0]), torch.tensor(scores).reshape(1, 2, 1)


def divergence(own: float, wanted: float) -> float:
    """Of two Bernoulli distributions, by the definition."""
    return wanted * math.log(wanted / own) + (1 - wanted) * math.log((1 - wanted) / (1 - own))


def test_equal_answers_cost_nothing() -> None:
    losses = teacher_losses(prediction(SURE, UNSURE), prediction(SURE, UNSURE), 2.0)
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(
        {"distillation_scores": 0.0, "distillation_boxes": 0.0}, abs=1e-5
    )


def test_scores_cost_their_divergence_everywhere_and_boxes_their_distance_where_the_teacher_is_sure() -> None:
    losses = teacher_losses(prediction(0.5, 0.2, shift=5.0), prediction(SURE, UNSURE), 1.0)
    # The best scores of the teacher add up to less than 1, so the sums stand as they are.
    assert float(losses["distillation_scores"]) == pytest.approx(
        divergence(0.5, SURE) + divergence(0.2, UNSURE), rel=1e-4
    )
    # Half of a box of 10 x 10 overlaps: 50 of 150; the box around both has no more than these 150.
    assert float(losses["distillation_boxes"]) == pytest.approx(2.0 * SURE * (1 - 50 / 150), rel=1e-4)


def test_a_temperature_divides_the_logits_and_its_square_keeps_the_size() -> None:
    def softened(score: float) -> float:
        return 1 / (1 + ((1 - score) / score) ** 0.5)

    losses = teacher_losses(prediction(0.5, UNSURE), prediction(SURE, UNSURE), 2.0)
    expected = 4 * divergence(softened(0.5), softened(SURE))
    assert float(losses["distillation_scores"]) == pytest.approx(expected, rel=1e-4)


def test_gradients_reach_scores_and_boxes_and_are_finite_at_zero_and_one() -> None:
    boxes, scores = prediction(1.0, 0.5, shift=3.0)
    boxes, scores = boxes.requires_grad_(), scores.requires_grad_()
    losses = teacher_losses((boxes, scores), prediction(SURE, 0.0), 2.0)
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), [boxes, scores])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    # The first box lies too far right, the second score is too high.
    assert gradients[0][0, 0, 0] > 0
    assert gradients[1][0, 1, 0] > 0


def test_a_teacher_with_other_places_is_refused() -> None:
    boxes, scores = prediction(SURE, UNSURE)
    with pytest.raises(SpecError, match="1 locations and this network at 2; take a teacher of the same"):
        teacher_losses((boxes, scores), (boxes[:, :1], scores[:, :1]), 1.0)
