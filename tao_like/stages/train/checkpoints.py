"""When checkpoints are written, what stands in them, and how a signal ends a training that can be resumed."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from typing_extensions import override

from tao_like.stages.lib.folders import CHECKPOINTS, LAST_CHECKPOINT, resume_override
from tao_like.stages.train.callbacks import MovingAverage, Reporter
from tao_like.stages.train.checkpoint_file import FORMAT, FORMAT_VERSION, KEY, read_best
from tao_like.stages.train.module import TrainingModule
from tao_like.stages.train.resume import Position, Resumed
from tao_like.tracking import Run, StopRequest, TensorBoard, atomic_path

BEST = "best.ckpt"


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt``, to go on from, and ``best.ckpt``, the weights of the best validation.

    Checkpoints are written after optimiser steps alone, so that no gradient is in flight. Where a signal asks
    the training to end, it ends after the step that it is in, with a checkpoint of that step.

    Lightning's own callback would not do: it saves before the epoch's validation or skips that when it
    resumes, and its loops resume rightly only from some of the places where it saves. Here the loops'
    counters are written as they stand between two batches (`_set_counters`).

    Args:
        run: its folder holds the checkpoints.
        description: what a checkpoint says of its training, as `resume.describe` gives it.
        stop: the signals.
        reporter: tells of an epoch once its checkpoint is on the disk.
        average: the moving average, if there is one.
        board: TensorBoard, if it is wanted.
        higher_is_better: of the monitored metric.
        resumed: the checkpoint that this training goes on from.
    """

    def __init__(
        self,
        run: Run,
        description: dict[str, Any],
        stop: StopRequest,
        *,
        reporter: Reporter,
        average: MovingAverage | None,
        board: TensorBoard | None,
        higher_is_better: bool,
        resumed: Resumed | None,
    ) -> None:
        self.run = run
        self.folder = run.folder / CHECKPOINTS
        self.description = description
        self.stop = stop
        self.reporter = reporter
        self.average = average
        self.board = board
        self.higher_is_better = higher_is_better
        self.resumed = resumed
        self.began = False
        self._best: float | None = None
        self._due = False
        self._position = Position(0, 0, 0)

    # --- beginning ---

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # The processes of a parallel training have found one another.
        self.stop.take_back()

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.began = True
        if self.resumed is not None:
            self._advise(self.resumed.path)
            self._adopt_best(self.resumed, pl_module)
        self.stop.arm()

    def _adopt_best(self, resumed: Resumed, module: pl.LightningModule) -> None:
        """Take over the best weights so far, which lie beside the checkpoint."""
        assert isinstance(module, TrainingModule)
        if module.spec.keep != "best" or not resumed.record["has_best"]:
            return
        source = resumed.path.parent / BEST
        if not source.is_file():
            self.run.warning(
                f"there is no {BEST} beside {resumed.path}, so the best epoch is chosen from here on alone"
            )
            return
        self._best = read_best(source)[1]
        target = self.folder / BEST
        if module.trainer.is_global_zero and source.resolve() != target.resolve():
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)

    # --- in the course ---

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        done, spec = batch_idx + 1, pl_module.spec
        if done == trainer.num_training_batches:
            # The validation comes first, and then the end of the epoch.
            self._due |= _step_is_due(trainer, pl_module)
            return
        if done % spec.accumulate_grad_batches:
            return
        asked = self._asked(trainer)
        if asked or _step_is_due(trainer, pl_module):
            self._save(trainer, Position(trainer.current_epoch, done, trainer.global_step))
        if asked:
            raise self.stop.error()

    @override
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._asked(trainer):
            self._leave_before_validation(trainer)

    @override
    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        # Several processes may have unequal numbers of batches here, so they cannot agree.
        if trainer.world_size == 1 and self.stop.number is not None:
            if self.average is not None:
                self.average.put_back(pl_module)
            self._leave_before_validation(trainer)

    def _leave_before_validation(self, trainer: pl.Trainer) -> None:
        batches = int(trainer.num_training_batches)
        self._save(trainer, Position(trainer.current_epoch, batches, trainer.global_step, validated=False))
        raise self.stop.error()

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        if pl_module.spec.keep != "best":
            return
        score = float(trainer.callback_metrics[pl_module.spec.optim.monitor_name])
        if self._is_better(score):
            self._best = score
            trainer.save_checkpoint(self.folder / BEST, storage_options={"score": score})

    def _is_better(self, score: float) -> bool:
        if self._best is None or math.isnan(self._best):
            return True
        return score > self._best if self.higher_is_better else score < self._best

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        epoch, batch, spec = trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx + 1, pl_module.spec
        whole = batch == trainer.num_training_batches
        by_epoch = spec.checkpoint_interval_unit == "epoch" and (epoch + 1) % spec.checkpoint_interval == 0
        asked, due = self._asked(trainer), self._due or by_epoch
        self._due = False
        if asked or due:
            # `train.max_steps` may have ended the epoch in its midst.
            position = Position(epoch + 1, 0, trainer.global_step)
            self._save(trainer, position if whole else Position(epoch, batch, trainer.global_step))
        self.reporter.tell_epoch(trainer)
        if asked:
            raise self.stop.error()

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stop.disarm()

    @override
    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self.stop.disarm()

    # --- content ---

    def _save(self, trainer: pl.Trainer, position: Position) -> None:
        self._position = position
        if self.board is not None:
            # What the checkpoint has seen must not be lost when the process is killed after it.
            self.board.flush()
        trainer.save_checkpoint(self.folder / LAST_CHECKPOINT)
        self._advise(self.folder / LAST_CHECKPOINT)

    def _advise(self, path: Path) -> None:
        self.run.advise(f"to go on from the last checkpoint, add {resume_override(path)}")

    @override
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        position = self._position
        _set_counters(checkpoint["loops"]["fit_loop"], position)
        checkpoint[KEY] = {
            **self.description,
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "batch_size": pl_module.batch_size,
            "batches": int(trainer.num_training_batches),
            "processes": trainer.world_size,
            "epoch": position.epoch,
            "batch": position.batch,
            "step": position.step,
            "validated": position.validated,
            "ended": bool(trainer.should_stop),
            "has_best": self._best is not None,
            "epoch_loss": pl_module.epoch_loss_so_far(),
            "epoch_figures": dict(self.reporter.figures),
        }

    @override
    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        record = checkpoint[KEY]
        # Lightning forgets that early stopping has ended the training.
        trainer.should_stop = record["ended"]
        pl_module.take_epoch_loss(*record["epoch_loss"])
        self.reporter.figures = dict(record["epoch_figures"])

    def _asked(self, trainer: pl.Trainer) -> bool:
        """Whether a signal asks the training to end; all processes come to the same answer."""
        if trainer.world_size > 1:
            number = torch.tensor(self.stop.number or 0, device=trainer.strategy.root_device)
            torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
            self.stop.number = int(number) or None
        return self.stop.number is not None


def _step_is_due(trainer: pl.Trainer, module: TrainingModule) -> bool:
    spec = module.spec
    return spec.checkpoint_interval_unit == "step" and trainer.global_step % spec.checkpoint_interval == 0


def _set_counters(loop: dict[str, Any], position: Position) -> None:
    """Write the counters of Lightning's loops as they stand between two batches.

    Lightning resumes by comparing how often things were ready, started, processed and completed. Saved inside
    a callback, the counters are those of the middle of something.
    """
    begun = position.epoch + (position.batch > 0)
    epochs = {"ready": begun, "started": begun, "processed": position.epoch, "completed": position.epoch}
    loop["epoch_progress"] = {"total": epochs, "current": dict(epochs)}
    batches = loop["epoch_loop.batch_progress"]["total"]["ready"]
    loop["epoch_loop.batch_progress"] = {
        "total": _all(batches),
        "current": _all(position.batch),
        "is_last_batch": not position.validated,
    }
    validated = loop["epoch_loop.val_loop.batch_progress"]["total"]["completed"]
    total = _all(validated)
    if not position.validated:
        # One batch that was begun and not completed: Lightning then runs the validation when it resumes.
        total |= {"ready": validated + 1, "started": validated + 1}
    loop["epoch_loop.val_loop.batch_progress"] = {"total": total, "current": _all(0), "is_last_batch": False}


def _all(count: int) -> dict[str, int]:
    return {"ready": count, "started": count, "processed": count, "completed": count}
