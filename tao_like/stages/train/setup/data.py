"""The batches of a training and of its validation, for one of its processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Tiles
from tao_like.contract.phase import Phase
from tao_like.stages.lib.loading import (
    EpochSampler,
    SeededDataset,
    ready_to_fork,
    resolve_batch_size,
    resolve_workers,
    scoring_loader,
    start_training_worker,
)
from tao_like.tracking import Run


def drops_last(samples: int, batch_size: int) -> bool:
    """Whether an epoch leaves out its last batch: where that is less than half of one.

    A small batch steps as far as a whole one, in a direction that few samples give; one of a single sample
    has no spread for batch normalization to measure. The order is new every epoch, so no sample is lost.
    """
    return samples > batch_size and 0 < samples % batch_size < batch_size / 2


class TrainingData:
    """The data of a phase in batches. Loading processes are kept from epoch to epoch.

    Args:
        phase: whose data it is.
        model: takes part where memory decides on the batch size.
        fabric: the device, and which of the processes this is.
        run: is told of what `auto` has come to.
        tiles: how the tiles of an image are found, where there are any.
        batch_size: that of the training that is resumed; None: as the spec has it.
        validates: there is a validation, if there is data for it.
    """

    def __init__(
        self,
        phase: Phase[Any],
        model: nn.Module,
        fabric: Fabric,
        run: Run,
        *,
        tiles: Tiles | None,
        batch_size: int | None = None,
        validates: bool = True,
    ) -> None:
        self.phase = phase
        self.fabric = fabric
        self.tiles = tiles
        data = phase.data
        self.train = data.dataset("train", augment=True)
        self.val = data.dataset("val") if validates and data.has("val") else None
        # What `auto` finds depends on the memory that is free just now, so a resumed training takes it over.
        found = batch_size or resolve_batch_size(phase, model, self.train, fabric.device)
        self.batch_size = min(found, max(len(self.train), 1))
        self.workers = resolve_workers(data, fabric.device.type)
        if "auto" in (data.loading.batch_size, data.loading.workers):
            run.info(f"batch size {self.batch_size}, loading processes: {self.workers}")
        self._sampler = EpochSampler(
            len(self.train),
            phase.spec.seed,
            shuffle=data.loading.shuffle,
            rank=fabric.global_rank,
            world=fabric.world_size,
        )
        processes = ready_to_fork(self.workers, len(self._sampler), self.batch_size)
        self._loader = DataLoader(
            SeededDataset(self.train, phase.spec.seed),
            batch_size=self.batch_size,
            sampler=self._sampler,
            num_workers=processes,
            collate_fn=data.collate,
            persistent_workers=processes > 0,
            worker_init_fn=start_training_worker,
            pin_memory=fabric.device.type == "cuda",
            drop_last=drops_last(len(self._sampler), self.batch_size),
        )
        self._val_loader = None if self.val is None else self._validation_loader()

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, number: int, begin: int) -> Iterator[Batch[Any]]:
        """The batches of an epoch from one of them on, on the device."""
        self._sampler.start_at(number, begin * self.batch_size)
        for batch in self._loader if begin < len(self) else ():
            yield batch.to(self.fabric.device)

    def validation(self) -> Iterator[Batch[Any]]:
        """This process's fraction of the validation data, on the device; tiles of an image stay together."""
        assert self._val_loader is not None
        for batch in self._val_loader:
            yield batch.to(self.fabric.device)

    def _validation_loader(self) -> DataLoader[Any]:
        assert self.val is not None
        return scoring_loader(
            self.phase.data,
            self.val,
            self.batch_size * 2,
            self.workers,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
            groups=self.tiles.image_numbers(self.val) if self.tiles and self.fabric.world_size > 1 else None,
            on_worker_start=start_training_worker,
        )
