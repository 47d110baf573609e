"""The losses of pairs against formulas written out, rest batches, other processes, the scale's limit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import in_processes
from tiny_clip import data_overrides, tiny_spec
from torch import Tensor
from torch.nn import functional

from tao_like.tasks.clip.losses import contrastive_loss, gathered, right_pairs, sigmoid_loss
from tao_like.tasks.clip.model.pair import LARGEST_LOGIT_SCALE, Embeddings

WIDTH = 6


def embeddings(count: int, seed: int = 0, *, grad: bool = False) -> Embeddings:
    """Random ones of length 1, with a scale of 14 and a bias of -3."""
    draw = torch.Generator().manual_seed(seed)
    parts = [torch.randn(count, WIDTH, generator=draw, dtype=torch.float64) for _ in range(2)]
    image, text = (functional.normalize(one, dim=1).requires_grad_(grad) for one in parts)
    return Embeddings(image, text, torch.tensor([14.0]).double(), torch.tensor([-3.0]).double())


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_contrastive_loss_is_open_clip_s(count: int) -> None:
    """Two cross entropies over a scaled table of cosines, whose diagonal is right; in plain Python."""
    found = embeddings(count)
    table = [
        [14 * sum(a * b for a, b in zip(image, text, strict=True)) for text in found.text.tolist()]
        for image in found.image.tolist()
    ]
    rows = [-line[n] + math.log(sum(map(math.exp, line))) for n, line in enumerate(table)]
    columns = list(zip(*table, strict=True))
    lines = [-line[n] + math.log(sum(map(math.exp, line))) for n, line in enumerate(columns)]
    expected = (sum(rows) / count + sum(lines) / count) / 2
    loss = contrastive_loss(found, found, torch.eye(count).double())
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_sigmoid_loss_is_open_clip_s(count: int) -> None:
    """The sum over all pairs of -log sigmoid of the signed logit, divided by the number of images."""
    found = embeddings(count)
    total = 0.0
    for i, image in enumerate(found.image.tolist()):
        for j, text in enumerate(found.text.tolist()):
            logit = 14 * sum(a * b for a, b in zip(image, text, strict=True)) - 3
            total += math.log(1 + math.exp(-logit if i == j else logit))
    loss = sigmoid_loss(found, found, torch.eye(count).double())
    assert float(loss) == pytest.approx(total / count, abs=1e-6)


def test_equal_captions_and_equal_images_are_right_for_each_other() -> None:
    # number of the image, then the ids
    rows = torch.tensor([[0, 5, 6], [1, 5, 6], [2, 7, 8], [0, 9, 9]])
    expected = [[1, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]]
    assert right_pairs(rows, rows).tolist() == expected


def test_two_samples_of_one_caption_share_the_target() -> None:
    """Three samples, the first two with one text: their targets are a half each, by hand."""
    found = embeddings(3)
    found = found._replace(text=torch.stack([found.text[0], found.text[0], found.text[2]]))
    right = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]).double()
    table = 14 * found.image @ found.text.T
    logs = table - table.exp().sum(dim=1, keepdim=True).log()
    of_images = -(logs[0, :2].mean() + logs[1, :2].mean() + logs[2, 2]) / 3
    logs = table.T - table.T.exp().sum(dim=1, keepdim=True).log()
    of_texts = -(logs[0, :2].mean() + logs[1, :2].mean() + logs[2, 2]) / 3
    assert torch.allclose(contrastive_loss(found, found, right), (of_images + of_texts) / 2)


def _gradients(rank: int, folder: Path) -> None:
    """What one of two processes has of the loss over both, as ddp takes its mean."""
    everyone = embeddings(8)
    own = slice(rank * 4, rank * 4 + 4)
    for name, loss_of in (("clip", contrastive_loss), ("siglip", sigmoid_loss)):
        image, text = (one[own].detach().requires_grad_() for one in (everyone.image, everyone.text))
        rows = Embeddings(image, text, everyone.scale, everyone.bias)
        columns = rows._replace(image=gathered(image), text=gathered(text))
        right = torch.eye(8).double()[own]
        loss = loss_of(rows, columns, right)
        loss.backward()
        assert image.grad is not None
        assert text.grad is not None
        torch.save([loss.detach(), image.grad, text.grad], folder / f"{name}_{rank}.pt")


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_two_processes_come_to_the_loss_and_gradients_of_one(name: str, tmp_path: Path) -> None:
    assert in_processes(_gradients, tmp_path) == [0, 0]
    found = [torch.load(tmp_path / f"{name}_{rank}.pt", weights_only=True) for rank in range(2)]
    whole = embeddings(8, grad=True)
    loss = {"clip": contrastive_loss, "siglip": sigmoid_loss}[name](whole, whole, torch.eye(8).double())
    loss.backward()
    assert torch.allclose((found[0][0] + found[1][0]) / 2, loss.detach(), atol=1e-9)
    for number, part in ((1, whole.image), (2, whole.text)):
        # ddp divides the sum of the processes' gradients by their number.
        joined = torch.cat([one[number] for one in found]) / 2
        assert part.grad is not None
        assert torch.allclose(joined, part.grad, atol=1e-5)


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gives the losses of so many samples with a first scale."""
    from sample_images import write_class_folders

    from tao_like.tasks.clip.task import ClipTask

    folder = write_class_folders(tmp_path_factory.mktemp("pictures"))

    def losses(count: int, *overrides: str) -> tuple[Tensor, Any]:
        task = ClipTask(tiny_spec(*data_overrides(folder), *overrides))
        torch.manual_seed(0)
        network, _ = task.model(pretrained=True)
        data = task.data.dataset("train", augment=True)
        batch = task.data.collate([data[number] for number in range(count)])
        return task.phases()[0].losses(network.train(), batch)["loss"], network

    return losses


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_a_rest_batch_of_one_has_a_loss(step: Any, loss: str) -> None:
    value, network = step(1, f"train.loss_type={loss}")
    value.backward()
    assert torch.isfinite(value)
    assert network.text.projection.weight.grad is not None


def test_the_scale_stays_at_100_at_most(step: Any) -> None:
    value, network = step(4, "model.init_logit_scale=4.6052")
    assert float(network.text.logit_scale) <= LARGEST_LOGIT_SCALE + 1e-6
    value.backward()
    # It can come back down from there.
    assert float(network.text.logit_scale.grad.abs()) > 0


def test_equal_captions_may_be_taken_for_wrong_ones(step: Any) -> None:
    """The first eight images have one class, so one caption: all are right, or each but one wrong."""
    with_equal, _ = step(8)
    without, _ = step(8, "train.multi_positive=false")
    # One text for all: every row is even, and down the columns the mean over all is that over the own ones.
    assert float(without) > 0
    assert float(with_equal) == pytest.approx(float(without), rel=1e-5)
