"""``init``: looks at somebody's photos and outlines and writes a spec that runs. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.tasks.detection import init as detection
from tao_like.tasks.instance_segmentation.spec import Spec

SUGGESTED = (
    AnnotatedValue("model.neck.width", 64, "quick on a CPU; 256 in the paper"),
    AnnotatedValue("model.faster_rcnn.rpn_post_nms_top_n_test", 200, "fewer regions are faster"),
    AnnotatedValue("model.faster_rcnn.rpn_post_nms_top_n_train", 300, "2000 in the paper"),
    AnnotatedValue(
        "model.faster_rcnn.box_batch_size_per_image", 64, "a step takes a third; 512 in the paper"
    ),
    AnnotatedValue("model.faster_rcnn.representation_size", 256, "quick on a CPU; 1024 in the paper"),
    AnnotatedValue("model.mask_head.width", 64, "quick on a CPU; 256 in the paper"),
    AnnotatedValue("model.mask_head.dice_weight", 1, "thin objects are lost by cross entropy alone"),
    AnnotatedValue("dataset.batch_size", 4, "two stages and masks take memory"),
    AnnotatedValue("train.optim.monitor_name", "val_mask_mAP50", "average precision of masks at overlap 0.5"),
)


def write_spec(folder: Path, target: Path, overrides: Sequence[str] = (), *, force: bool) -> list[str]:
    """As detection's of this name, for masks. Raises DatasetError, SpecError."""
    return detection.write_spec(
        folder,
        target,
        overrides,
        force=force,
        task="instance_segmentation",
        spec=Spec,
        instead=SUGGESTED,
    )
