"""What TensorBoard gets of a training beside its curves: images, histograms, the graph."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from tao_like.config.blocks.common import TrainSpec
from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import DrawsModel
from tao_like.contract.metrics import Metrics, Report
from tao_like.contract.phase import Phase
from tao_like.contract.task import AnyTask
from tao_like.plots.grids import image_grid
from tao_like.stages.lib.scoring import whole_sample
from tao_like.stages.train.checkpoints.sharding import whole
from tao_like.stages.train.checkpoints.state import State
from tao_like.stages.train.setup.data import TrainingData
from tao_like.tracking import TensorBoard, is_main_process

IMAGE_SETS = 20
"""In a training, where the spec gives no interval: a set of photos is several megabytes."""
GRID_SIDE = 1600
"""Pixels of a grid of validation images at most; `evaluate` writes it at full size."""


class TensorBoardWriter:
    """Writes a phase's events; its curves are drawn by ``events``, a listener of the run.

    Args:
        folder: gets the events.
        task: draws the network; phase: of it, whose predictions are drawn.
        state: of the phase.
        spec_text: the whole spec.
    """

    def __init__(self, folder: Path, task: AnyTask, phase: Phase[Any], state: State, spec_text: str) -> None:
        self.events = TensorBoard(folder)
        self.task = task
        self.phase = phase
        self.state = state
        self.spec: TrainSpec = phase.spec
        self.settings = phase.spec.tensorboard
        self._spec_text = spec_text
        self._validated_window = -1

    def begin(self, network: nn.Module, data: TrainingData, *, resumed: bool) -> None:
        """The spec and the graph; of a resumed training, points that it writes again are dropped."""
        if resumed:
            state = self.state
            self.events.drop(lambda tag, step: is_stale(state, tag, step))
        if self.state.step:
            return
        self.events.text("spec", self._spec_text, verbatim=True)
        if self.settings.graph:
            batch = self.phase.data.collate([data.train[0], data.train[0]])
            if len(batch.inputs) == 1:  # TensorBoard traces networks of one input
                self.events.graph(network, batch.to(data.fabric.device).input)

    def batch(self, batch: Batch[Any]) -> None:
        """The first batch of an epoch as the network sees it."""
        if self.state.batch or not self._images_are_due or not is_main_process():
            return
        if cards := self.phase.predictions.draw_batch(batch)[: self.settings.num_images]:
            self.events.image("train/inputs", image_grid(cards), self.state.epoch)

    def step(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Gradients, before the step of the optimizer. All processes must call it."""
        settings, state = self.settings, self.state
        opens_epoch = state.batch <= self.spec.accumulate_grad_batches
        if settings.histograms and opens_epoch and self._images_are_due:
            for name, parameter in parameters:
                if parameter.grad is not None:
                    self.events.histogram(f"gradients/{name}", whole(parameter.grad), state.epoch)

    def validation(self, report: Report, metrics: Metrics, network: nn.Module, data: Any) -> None:
        """Images of predictions and of the network, and its weights."""
        epoch = self.state.epoch
        if not self._validation_is_due or not is_main_process():
            return
        self._validated_window = epoch // self._interval
        for name, figure in report.draw().items():
            self.events.image(f"val/{name}", figure, epoch)
        draws = self.task.capability(DrawsModel)
        for name, figure in (draws.draw_model(network) if draws else {}).items():
            self.events.image(f"network/{name}", figure, epoch)
        cards = [
            self.phase.predictions.draw(whole_sample(self.task, data, index), prediction)
            for index, prediction in metrics.worst(self.settings.num_images)
        ]
        if cards:
            grid = image_grid(cards)
            grid.thumbnail((GRID_SIDE, GRID_SIDE))
            self.events.image("val/predictions_wrong_first", grid, epoch)
        if self.settings.histograms:
            for name, parameter in network.named_parameters():
                self.events.histogram(f"weights/{name}", parameter, epoch)

    @property
    def _interval(self) -> int:
        """Epochs between two sets of images; 0: none."""
        given = self.settings.infrequent_logging_frequency
        return -(-self.spec.num_epochs // IMAGE_SETS) if given is None else given

    @property
    def _is_last_epoch(self) -> bool:
        return self.state.epoch + 1 == self.spec.num_epochs

    @property
    def _images_are_due(self) -> bool:
        return self._interval > 0 and (self.state.epoch % self._interval == 0 or self._is_last_epoch)

    @property
    def _validation_is_due(self) -> bool:
        """The first validation of each interval, in whichever epoch it falls."""
        return self._interval > 0 and (
            self.state.epoch // self._interval != self._validated_window or self._is_last_epoch
        )


def is_stale(state: State, tag: str, step: int) -> bool:
    """Whether a point in TensorBoard's file is one that a training, resumed at a state, writes again."""
    section = tag.partition("/")[0]
    if section == "spec":
        return False
    if section == "gradients" or tag == "train/inputs":
        # Written at the start of an epoch.
        return step >= state.epoch + (state.batch > 0)
    if section in ("train", "learning_rate"):
        return step >= state.step
    # By epoch, or written at the very end.
    return step >= state.epoch or section in ("val_kept", "_hparams_")
