"""YOLOX's loss: which locations are responsible for an object, and what right and wrong predictions cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tao_like.tasks.detection.losses.simota import assign, yolox_losses
from tao_like.tasks.detection.model.yolox.predictions import Predictions

STRIDES = (8.0, 16.0, 32.0)
SIZES = ((8, 12), (4, 6), (2, 3))
CLASSES = 3
NO_BOXES, NO_LABELS = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)


def maps(images: int = 1, *, value: float = 0.0) -> list[Tensor]:
    """Maps of a head that says the same everywhere: a box of one stride around each place."""
    made = [torch.full((images, 5 + CLASSES, *size), value) for size in SIZES]
    for each in made:
        each[:, :4] = 0
    return made


def test_only_places_near_the_center_answer_for_an_object() -> None:
    predictions = Predictions.of(maps(), STRIDES)
    box = torch.tensor([[16.0, 16.0, 48.0, 48.0]])
    found = assign(predictions, predictions.corners()[0], 0, box, torch.tensor([1]))
    centers = ((predictions.cells + 0.5) * predictions.strides[:, None])[found.locations]
    distance = (centers - torch.tensor([32.0, 32.0])).abs().amax(dim=1)
    assert len(found.locations) >= 1
    assert (distance < 1.5 * predictions.strides[found.locations]).all()
    # A box of 32 pixels fits the coarsest map best.
    assert 32 in predictions.strides[found.locations].tolist()


def test_a_place_answers_for_one_object_alone() -> None:
    predictions = Predictions.of(maps(), STRIDES)
    boxes = torch.tensor([[16.0, 16.0, 48.0, 48.0], [36.0, 18.0, 68.0, 50.0], [60.0, 30.0, 70.0, 40.0]])
    found = assign(predictions, predictions.corners()[0], 0, boxes, torch.tensor([0, 1, 2]))
    assert len(set(found.locations.tolist())) == len(found.locations)
    assert set(found.objects.tolist()) == {0, 1, 2}


def test_of_two_equal_places_the_one_that_tells_the_class_is_taken() -> None:
    given = maps(value=-4.0)
    row, column = 3, 5
    given[0][0, 4:, row, column] = torch.tensor([4.0, -4.0, 4.0, -4.0])
    predictions = Predictions.of(given, STRIDES)
    box = predictions.corners()[0, row * 12 + column][None]
    found = assign(predictions, predictions.corners()[0], 0, box, torch.tensor([1]))
    assert found.locations.tolist() == [row * 12 + column]
    assert found.ious.tolist() == pytest.approx([1.0])


def outputs_for(box: Tensor, label: int) -> list[Tensor]:
    """Maps in which one place says the box and its class, and all others that there is nothing."""
    given = maps(value=-12.0)
    for each in given:
        each[:, 2:4] = -9.0
    predictions = Predictions.of(given, STRIDES)
    place = 3 * 12 + 5
    values = predictions.encode(box[None], torch.tensor([place]))[0]
    given[0][0, :4, 3, 5] = values
    given[0][0, 4, 3, 5] = 12.0
    given[0][0, 5 + label, 3, 5] = 12.0
    return given


def test_a_right_answer_costs_nearly_nothing_and_a_wrong_one_much() -> None:
    box = torch.tensor([38.0, 22.0, 52.0, 34.0])
    given = outputs_for(box, 2)
    right = yolox_losses(given, STRIDES, [box[None]], [torch.tensor([2])], refine=True)
    wrong_class = yolox_losses(given, STRIDES, [box[None]], [torch.tensor([0])], refine=True)
    moved = yolox_losses(given, STRIDES, [box[None] + 3], [torch.tensor([2])], refine=True)
    assert float(sum(right.values())) < 1e-2  # type: ignore[arg-type]
    assert float(wrong_class["loss_class"]) > 5
    assert float(moved["loss_box"]) > 0.5
    assert float(moved["loss_l1"]) > 0.5
    plain = yolox_losses(given, STRIDES, [box[None] + 3], [torch.tensor([2])], refine=False)
    assert float(plain["loss_l1"]) == 0


@pytest.mark.parametrize("empty", [(), (0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_images_without_objects_in_any_position_give_finite_gradients(empty: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    given = [each.requires_grad_() for each in (torch.randn(3, 5 + CLASSES, *size) for size in SIZES)]
    boxes = [NO_BOXES if place in empty else torch.tensor([[8.0, 8.0, 40.0, 30.0]]) for place in range(3)]
    labels = [NO_LABELS if place in empty else torch.tensor([1]) for place in range(3)]
    losses = yolox_losses(given, STRIDES, boxes, labels, refine=True)
    total = torch.stack(list(losses.values())).sum()
    assert torch.isfinite(total)
    gradients = torch.autograd.grad(total, given)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    if len(empty) == 3:
        assert losses["loss_box"].item() == losses["loss_class"].item() == 0


def test_an_object_whose_center_is_outside_is_no_error() -> None:
    box = torch.tensor([[-300.0, -300.0, 2.0, 2.0]])
    losses = yolox_losses(maps(), STRIDES, [box], [torch.tensor([0])], refine=True)
    assert all(torch.isfinite(value) for value in losses.values())
