"""Architectures of detection once through the stages.

YOLOX has the base tests, in ``test_detection_stages``, and YOLOv4-tiny its own, in ``test_detection_yolo``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from base_devices import assert_same_there
from box_images import write_coco
from detector_stages import on_from_there, pruned_as_promised, through_the_stages
from tiny_detection import TINY, data_overrides

from tao_like.tasks import spec_module


class Architecture(NamedTuple):
    """A small form of it: overrides beside its name, and the parts of its loss.

    Attributes:
        goes_on: its graph is put together otherwise, so the pruned form is trained and exported too.
    """

    overrides: tuple[str, ...]
    parts: tuple[str, ...]
    goes_on: bool = False


OF_ANCHORS = ("loss_box", "loss_object", "loss_class")
ARCHITECTURES = {
    "yolo_v3": Architecture(("model.neck.width=32",), OF_ANCHORS),
    "yolo_v4": Architecture(("model.neck.width=32",), OF_ANCHORS),
    "retinanet": Architecture(("model.neck.width=32",), ("loss_class", "loss_box")),
    "ssd": Architecture(
        ("model.neck.width=16", "model.ssd.scales=[0.2,0.3,0.5,0.7,0.9]"),
        ("loss_class", "loss_box"),
        goes_on=True,
    ),
    "faster_rcnn": Architecture(
        (
            "model.neck.width=16",
            "model.faster_rcnn.representation_size=32",
            "model.faster_rcnn.rpn_post_nms_top_n_test=40",
            "model.faster_rcnn.anchor_sizes=[12,20,30,45,64]",
        ),
        ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"),
        goes_on=True,
    ),
}


def test_none_is_forgotten() -> None:
    arch = spec_module("detection").ModelSpec.__dataclass_fields__["arch"]
    (rule,) = arch.metadata.values()
    assert {"yolox", "yolo_v4_tiny", *ARCHITECTURES} == set(rule.choices)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(tmp_path_factory.mktemp("data"), {"train": 8, "val": 4, "test": 4})


# `make test` takes YOLOX and YOLOv4-tiny through the stages, and a training step of each architecture, below.
@pytest.mark.acceptance
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_goes_through_the_stages(arch: str, data: Path, tmp_path: Path) -> None:
    chosen = ARCHITECTURES[arch]
    passed = through_the_stages(tmp_path, data, (f"model.arch={arch}", *chosen.overrides), chosen.parts)
    pruned = pruned_as_promised(tmp_path, passed)
    if chosen.goes_on:
        on_from_there(tmp_path, data, passed, pruned)


@pytest.mark.parametrize("arch", ["yolo_v4_tiny", *ARCHITECTURES])
def test_a_step_leaves_nothing_on_the_cpu(arch: str, data: Path) -> None:
    overrides = ARCHITECTURES[arch].overrides if arch in ARCHITECTURES else ()
    assert_same_there("detection", [*TINY, *data_overrides(data), f"model.arch={arch}", *overrides])
