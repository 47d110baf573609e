"""Detectors with anchors under mixed precision: places and shapes of anchors are not rounded."""

from __future__ import annotations

import pytest
import torch
from tiny_detection import tiny_spec

from tao_like.tasks.detection.model.build import build_network

ANCHORS_AT = {"retinanet": 2, "ssd": 2, "faster_rcnn": -1}
"""Where the anchors stand among the values of a network."""


@pytest.mark.parametrize("arch", ANCHORS_AT)
def test_anchors_are_the_same_in_bfloat16_and_afterwards(arch: str) -> None:
    """From 512 on bfloat16 has every fourth pixel alone."""
    size = (32, 1024)
    overrides = (f"model.arch={arch}", "model.neck.width=16", "model.faster_rcnn.representation_size=32")
    network, _ = build_network(tiny_spec(*overrides), ["a"], size, pretrained=False)
    network.eval()
    pixels = torch.zeros(1, 3, *size, dtype=torch.uint8)
    with torch.no_grad():
        before = network(pixels)[ANCHORS_AT[arch]]
        with torch.autocast("cpu", torch.bfloat16):
            mixed = network(pixels)
        after = network(pixels)[ANCHORS_AT[arch]]
    assert mixed[0].dtype == torch.bfloat16
    torch.testing.assert_close(mixed[ANCHORS_AT[arch]], before, rtol=0, atol=0)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
