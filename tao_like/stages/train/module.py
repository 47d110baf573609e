"""The one LightningModule: training and validation of any task."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader
from typing_extensions import override

from tao_like.config.blocks.common import TrainSpec
from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Tiles
from tao_like.contract.data import Dataset
from tao_like.contract.metrics import Metrics, Report
from tao_like.contract.task import AnyTask
from tao_like.networks.freezing import keep_frozen
from tao_like.stages.lib.loading import (
    EpochSampler,
    SeededDataset,
    ready_to_fork,
    scoring_loader,
    seed_step,
    start_training_worker,
)
from tao_like.stages.lib.scoring import last_phase
from tao_like.stages.train.optim import build_optimiser, build_schedule, scaled_rates
from tao_like.stages.train.origin import Teacher
from tao_like.stages.train.sharding import MESH, ShardedNetwork


def drops_last(samples: int, batch_size: int) -> bool:
    """Whether an epoch leaves out its last batch: where that is less than half of one.

    A small batch steps as far as a whole one, in a direction that few samples give; one of a single sample
    has no spread for batch normalisation to measure. The order is new every epoch, so no sample is lost.
    """
    return samples > batch_size and 0 < samples % batch_size < batch_size / 2


class TrainingModule(pl.LightningModule):
    """Trains a network by the losses of its task.

    Args:
        task: gives losses, metrics and batches.
        network: the network, frozen where it is to be.
        spec: the train block.
        train_data: with random changes; val_data: as evaluation prepares it, or None.
        batch_size: samples a step and process.
        workers: loading processes.
        shuffle: a new order every epoch.
        teacher: gives the losses instead of the task, or None.
    """

    def __init__(
        self,
        task: AnyTask,
        network: nn.Module,
        spec: TrainSpec,
        *,
        train_data: Dataset,
        val_data: Dataset | None,
        batch_size: int,
        workers: int,
        shuffle: bool,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.task = task
        self.network = network
        self.spec = spec
        self.train_data = train_data
        self.val_data = val_data
        self.batch_size = batch_size
        self.workers = workers
        self.shuffle = shuffle
        self.phase = last_phase(task)
        self._losses = teacher.losses if teacher else self.phase.losses
        self.scores: Metrics | None = None
        self.report: Report | None = None
        self.last_losses: dict[str, float] = {}
        self._epoch_loss: Tensor | float = 0.0
        self._epoch_batches = 0
        self._loss_sums: dict[str, float] = {}
        self._loss_count = 0
        self._resumed_at = (0, 0)
        self._sharded: ShardedNetwork | None = None

    def resume_at(self, epoch: int, batch: int) -> None:
        """Begin at a batch of an epoch, both from 0; to be called before the training starts."""
        self._resumed_at = (epoch, batch)

    # --- the network over several processes ---

    @override
    def configure_model(self) -> None:
        # Lightning may call it again; without a mesh every process has the whole network.
        if self.device_mesh is not None and self._sharded is None:
            self._sharded = ShardedNetwork(self.network, self.device_mesh[MESH])

    def whole_network(self) -> nn.Module:
        """The network with all its weights, which may be a copy; all processes must ask for it at once."""
        return self._sharded.gather() if self._sharded else self.network

    # --- data ---

    @override
    def train_dataloader(self) -> DataLoader[Any]:
        sampler = EpochSampler(
            len(self.train_data),
            self.spec.seed,
            shuffle=self.shuffle,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
        # Loading processes begin before Lightning tells the sampler its epoch.
        epoch, batch = self._resumed_at
        sampler.start_at(epoch, batch * self.batch_size)
        return DataLoader(
            SeededDataset(self.train_data, self.spec.seed),
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=ready_to_fork(self.workers),
            collate_fn=self.phase.data.collate,
            persistent_workers=self.workers > 0,
            worker_init_fn=start_training_worker,
            pin_memory=self.device.type == "cuda",
            drop_last=drops_last(len(sampler), self.batch_size),
        )

    @override
    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        if self.val_data is None:
            return []
        return scoring_loader(
            self.phase.data,
            self.val_data,
            self.batch_size * 2,
            self.workers,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
            on_worker_start=start_training_worker,
        )

    @override
    def transfer_batch_to_device(
        self, batch: Batch[Any], device: torch.device, dataloader_idx: int
    ) -> Batch[Any]:
        return batch.to(device)

    # --- training ---

    @override
    def on_train_start(self) -> None:
        # A resumed training may begin in the midst of an epoch.
        keep_frozen(self.network)

    @override
    def on_train_batch_start(self, batch: Batch[Any], batch_idx: int) -> None:
        trainer = self.trainer
        seed_step(self.spec.seed, trainer.current_epoch, batch_idx, trainer.global_rank, self.device)

    @override
    def on_train_epoch_start(self) -> None:
        keep_frozen(self.network)
        self._epoch_loss, self._epoch_batches = 0.0, 0

    @override
    def training_step(self, batch: Batch[Any], batch_idx: int) -> Tensor:
        losses = self._losses(self.network, batch)
        total = torch.stack(list(losses.values())).sum()
        if self.trainer.global_step % self.spec.tensorboard.log_every_n_steps == 0:
            self.last_losses = {name: float(value.detach()) for name, value in losses.items()}
        # Summed up where it lies: to fetch every value would make the device wait.
        self._epoch_loss = self._epoch_loss + total.detach()
        self._epoch_batches += 1
        return total

    @property
    def epoch_loss(self) -> float:
        """The mean loss of the epoch's batches so far."""
        return float(self._epoch_loss) / max(1, self._epoch_batches)

    def epoch_loss_so_far(self) -> tuple[Tensor | float, int]:
        """The sum of the epoch's losses and the number of its batches, for a checkpoint."""
        return self._epoch_loss, self._epoch_batches

    def take_epoch_loss(self, loss: Tensor | float, batches: int) -> None:
        """Goes on with the sum of a checkpoint."""
        self._epoch_loss = loss.to(self.device) if isinstance(loss, Tensor) else loss
        self._epoch_batches = batches

    @override
    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        samples = self.batch_size * self.trainer.world_size * self.spec.accumulate_grad_batches
        optim = scaled_rates(self.spec.optim, samples)
        optimiser = build_optimiser(self.phase, self.network, optim)
        total = int(self.trainer.estimated_stepping_batches)
        per_epoch = max(1, -(-int(self.trainer.num_training_batches) // self.spec.accumulate_grad_batches))
        schedule = build_schedule(optimiser, optim, self.spec.num_epochs, per_epoch, total)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- validation ---

    @override
    def on_validation_epoch_start(self) -> None:
        if self._sharded:
            self._sharded.share_buffers()
        self.scores = self.phase.metrics()
        self._scored: list[tuple[int, Any, Any]] = []
        self._loss_sums, self._loss_count = {}, 0

    @override
    def validation_step(self, batch: Batch[Any], batch_idx: int) -> None:
        assert self.scores is not None
        losses, outputs = self.phase.validate(self.network, batch)
        for name, value in losses.items():
            self._loss_sums[name] = self._loss_sums.get(name, 0.0) + float(value) * len(batch)
        self._loss_count += len(batch)
        predictions = self.phase.predictions.from_outputs(outputs)
        targets = self.phase.predictions.targets(batch)
        if self.task.capability(Tiles) is None:
            self.scores.update(batch.indices.tolist(), predictions, targets)
        else:
            self._scored += zip(batch.indices.tolist(), predictions, targets, strict=True)

    @override
    def on_validation_epoch_end(self) -> None:
        assert self.scores is not None
        if (tiles := self.task.capability(Tiles)) is not None:
            for number, prediction, target in tiles.merged(iter(self._scored)):
                self.scores.update([number], [prediction], [target])
        self.scores = self.scores.synchronized()
        self.report = self.scores.compute()
        sums = torch.tensor([sum(self._loss_sums.values()), float(self._loss_count)], device=self.device)
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(sums)
        figures = {"loss": float(sums[0] / sums[1].clamp(min=1)), **self.report.values}
        # Every process has the same figures: they are joined above.
        self.log_dict({f"val_{name}": value for name, value in figures.items()}, rank_zero_only=False)
