"""RoIAlign: a case worked out by hand, ONNX's operator, and torchvision's own in Python."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from onnx_graphs import graph, node, run_graph
from torch import Tensor

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.tasks.detection.model.roi_align import levels_of, pooled_regions

# isort: split
from torchvision.extension import _has_ops
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

STRIDES = (4.0, 8.0, 16.0, 32.0)


@pytest.fixture
def maps() -> list[Tensor]:
    """A pyramid of two images of 1024 x 512 pixels, with few channels."""
    torch.manual_seed(0)
    return [torch.randn(2, 3, int(512 // stride), int(1024 // stride)) for stride in STRIDES]


@pytest.fixture
def boxes() -> Tensor:
    """Regions of all sizes, the first without an area, the next three at the borders."""
    torch.manual_seed(1)
    sides = torch.rand(60, 2) ** 2 * torch.tensor([1000.0, 500.0])
    corners = torch.rand(60, 2) * (torch.tensor([1024.0, 512.0]) - sides)
    found = torch.cat([corners, corners + sides], dim=1)
    found[0] = 0
    found[1] = torch.tensor([1023.5, 511.5, 1024, 512])
    found[2] = torch.tensor([0, 0, 1024, 512])
    found[3] = torch.tensor([1000, 0, 1024, 9.0])
    return found


def test_bins_of_a_slope_have_the_values_of_their_centers() -> None:
    """Column number plus 100 times the row number is exact between the places; a bin averages its points."""
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(64.0), indexing="ij")
    slope = (columns + 100 * rows).expand(1, 1, 32, 64)
    flat = torch.zeros(1, 1, 1, 1)
    # 28 pixels wide and 56 high from (40, 20), at stride 4: columns 10 to 17 and rows 5 to 19.
    box = torch.tensor([[40.0, 20, 68, 76]])
    pooled = pooled_regions([slope, flat], (4.0, 8.0), box, torch.tensor([0]))
    bins = torch.arange(7.0)
    assert pooled[0, 0].allclose((10.5 + bins)[None, :] + 100 * (6 + 2 * bins)[:, None], atol=1e-3)


def test_a_region_is_read_from_the_map_that_torchvision_takes(boxes: Tensor) -> None:
    edges = torch.tensor([[0.0, 0, side, side] for side in (111.9, 112, 224, 447.9, 448, 2000)])
    for some in (boxes, edges):
        assert levels_of(some, 4).tolist() == LevelMapper(2, 5)([some]).tolist()


def test_every_level_is_as_onnxs_operator_has_it(maps: list[Tensor], boxes: Tensor) -> None:
    images = torch.arange(len(boxes)) % 2
    pooled = pooled_regions(maps, STRIDES, boxes, images)
    levels = levels_of(boxes, 4)
    assert (levels.bincount(minlength=4) > 2).all()
    for level, (features, stride) in enumerate(zip(maps, STRIDES, strict=True)):
        of_level = levels == level
        model = graph(
            [
                node(
                    "RoiAlign",
                    "map boxes images",
                    "pooled",
                    coordinate_transformation_mode="output_half_pixel",
                    output_height=7,
                    output_width=7,
                    sampling_ratio=2,
                    spatial_scale=1 / stride,
                )
            ],
            {"map": features.shape, "boxes": ["count", 4]},
            ["pooled"],
            {"images": images[of_level].numpy()},
        )
        expected = run_graph(model, map=features.numpy(), boxes=boxes[of_level].numpy())
        np.testing.assert_allclose(pooled[of_level].numpy(), expected, atol=1e-5)


def test_its_gradient_is_that_of_torchvisions_own_in_python(maps: list[Tensor], boxes: Tensor) -> None:
    reference = importlib.import_module("torchvision.ops.roi_align")._roi_align.__wrapped__
    features = maps[2].requires_grad_()
    levels = levels_of(boxes, 4)
    # Theirs lets points beyond the border count, against the compiled one; those regions are left out.
    chosen = boxes[4:][levels[4:] == 2]
    images = torch.arange(len(chosen)) % 2
    rois = torch.cat([images[:, None].float(), chosen], dim=1)
    expected = reference(features, rois, 1 / 16, 7, 7, 2, False)
    pooled = pooled_regions(maps, STRIDES, chosen, images)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-5)
    weights = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, features, weights)
    (found,) = torch.autograd.grad(pooled, features, weights)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.skipif(not _has_ops(), reason="torchvision's compiled operators do not fit this torch")
def test_it_is_what_torchvisions_compiled_operator_gives(maps: list[Tensor], boxes: Tensor) -> None:
    images = torch.arange(len(boxes)) % 2
    pooled = pooled_regions(maps, STRIDES, boxes, images)
    rois = torch.cat([images[:, None].float(), boxes], dim=1)
    levels = levels_of(boxes, 4)
    for level, (features, stride) in enumerate(zip(maps, STRIDES, strict=True)):
        expected = roi_align(features, rois, (7, 7), 1 / stride, sampling_ratio=2)
        torch.testing.assert_close(pooled[levels == level], expected[levels == level], rtol=0, atol=1e-5)


def test_no_region_is_an_answer_too(maps: list[Tensor]) -> None:
    pooled = pooled_regions(maps, STRIDES, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert pooled.shape == (0, 3, 7, 7)
