"""Anchors of torchvision's generators, in float32 whatever the arithmetic of the training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList


def anchor_boxes(
    generator: AnchorGenerator | DefaultBoxGenerator, inputs: Tensor, maps: Sequence[Tensor]
) -> Tensor:
    """Anchors (A, 4) for the locations of maps: left, top, right, bottom in pixels of the input.

    torchvision's generators count in the type of the maps they are given. bfloat16, as maps are under mixed
    precision, has no odd numbers above 256 and steps of 4 pixels above 512; and ``AnchorGenerator`` keeps the
    shapes that it has rounded.

    Args:
        generator: torchvision's.
        inputs: (N, 3, H, W).
        maps: (N, C, h, w) each; their sizes alone play a part.
    """
    size = (int(inputs.shape[2]), int(inputs.shape[3]))
    # Sizes as plain numbers, so that the anchors are constants of an exported graph.
    positions = [
        inputs.new_empty(int(each.shape[2]), int(each.shape[3]), dtype=torch.float32) for each in maps
    ]
    anchors: Tensor = generator(ImageList(inputs[:1], [size]), positions)[0]
    return anchors
