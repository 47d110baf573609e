"""torchvision and timm must import wherever torch does, whichever wheels came together."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision.extension import _has_ops

USE_THEM = """
import torch
from PIL import Image
from tao_like.networks import _torchvision
import torchvision
import timm
from torchvision.transforms import v2
image = v2.Resize((4, 6))(Image.new("RGB", (20, 10), (255, 0, 0)))
assert image.size == (6, 4)
boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9]])
try:
    kept = torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9]), 0.5).tolist()
except RuntimeError as error:
    assert "custom C++ ops" in str(error), error
else:
    assert kept == [1]
"""

OPERATORS_ARE_THERE = """
import torch
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from tao_like.networks import _torchvision
assert _torchvision.declare_missing_operators() is None
"""


def run(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_torchvision_and_timm_work_after_it() -> None:
    run(USE_THEM)


@pytest.mark.skipif(_has_ops(), reason="torchvision has its compiled operators")
def test_declared_operators_are_left_alone() -> None:
    run(OPERATORS_ARE_THERE)
