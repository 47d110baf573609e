"""Time of a training step in the train stage against a bare PyTorch loop, in turns.

Both sides train the same network on the same digits with the same augmentation, loader, optimizer, schedule
and thread count; the stage adds its module, callbacks, progress and TensorBoard. Each side runs 60 steps,
of which the last 50 are timed, and the sides take turns. Prints and writes the ratio of each pair, their
median and its bootstrap interval.

    python benchmarks/training_overhead.py --pairs 9
"""

from __future__ import annotations

from pathlib import Path

from overhead import compare, parser

from tao_like.samples.catalog import write_sample
from tao_like.tasks.classification.task import ClassificationTask


def digits(folder: Path) -> list[str]:
    """Writes the data and names it, and the network."""
    write_sample("digits", folder / "digits")
    return [
        "model.backbone.pretrained_backbone_path=package:efficientnet_lite0",
        f"dataset.train_dataset.images_dir={folder}/digits/train",
    ]


if __name__ == "__main__":
    compare(parser(__doc__, __file__, img_size=96, batch_size=16).parse_args(), ClassificationTask, digits)
