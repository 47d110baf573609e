"""Time of a training step of YOLOX in the train stage against a bare PyTorch loop, in turns.

As training_overhead.py, with YOLOX-nano on the photos that `tao-like samples digit_scenes` writes: the same
network, data, augmentation, loss and batch on both sides.

    python benchmarks/detection_overhead.py --pairs 9
"""

from __future__ import annotations

from pathlib import Path

from overhead import compare, parser

from tao_like.samples.catalog import write_sample
from tao_like.tasks.detection.task import DetectionTask


def scenes(folder: Path) -> list[str]:
    """Writes the data and names it, and the network."""
    data = write_sample("digit_scenes", folder / "scenes")
    source = f"{{image_dir: '{data / 'train'}', json_file: '{data / 'train.json'}'}}"
    return ["model.backbone.type=yolox_nano", f"dataset.train_data_sources=[{source}]"]


if __name__ == "__main__":
    compare(parser(__doc__, __file__, img_size=128, batch_size=8).parse_args(), DetectionTask, scenes)
