"""The spec of the task in this folder. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from tao_like.config import spec_block, spec_field
from tao_like.config.blocks.common import CommonSpec
from tao_like.config.blocks.split_data import batch_size_field, shuffle_field, workers_field

STAGES = ("dataset_check", "train", "evaluate", "inference", "prune", "export", "quantize", "compare")
ARCHITECTURES = ("colors",)


@dataclass
class ModelSpec:
    """The network."""

    channels: int = spec_field(16, "Channels of the encoder", ge=4)


@dataclass
class DatasetSpec:
    """The data: class folders of each split."""

    train_dir: str | None = spec_field(None, "Training images", path=True)
    val_dir: str | None = spec_field(None, "Validation images", path=True)
    test_dir: str | None = spec_field(None, "Test images", path=True)
    img_size: int = spec_field(16, "Side of the input", unit="pixels", ge=8)
    batch_size: int | str = batch_size_field(default=8)
    workers: int | str = workers_field(default=0)
    shuffle: bool = shuffle_field()


@dataclass
class Spec(CommonSpec):
    """Everything that a spec file of this task may hold."""

    model: ModelSpec = spec_block(ModelSpec, "The network")
    dataset: DatasetSpec = spec_block(DatasetSpec, "The data")
