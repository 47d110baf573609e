"""Training a bundle's own network again, and learning from a teacher."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tao_like.bundle import file_sha256, read_bundle
from tao_like.config import spec_from_dict
from tao_like.config.blocks.common import CommonSpec
from tao_like.config.blocks.prune import DistillSpec
from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Distils
from tao_like.contract.inputs import dummy_sample, preprocess
from tao_like.contract.labels import class_difference
from tao_like.contract.restored import bundle_network
from tao_like.contract.task import AnyTask
from tao_like.contract.trained import TrainedState
from tao_like.errors import SpecError
from tao_like.stages.lib.engines import open_bundle
from tao_like.stages.lib.folders import require_file

_FROZEN_FRACTION = 0.5
"""From here on a network that must recover is told to be frozen."""


@dataclass
class Origin:
    """A trained network that a training goes on with, as it is.

    Attributes:
        task: at work on the bundle's architecture and the user's training.
        network: with the bundle's structure and weights.
        history: of the bundle.
        sha256: of the bundle's file.
    """

    task: AnyTask
    network: nn.Module
    history: list[dict[str, Any]]
    sha256: str

    def frozen_fraction(self) -> float:
        """The fraction of the network's parameters that this training leaves as they are."""
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in self.network.parameters()]
        return sum(size for size, learns in sizes if not learns) / max(1, sum(size for size, _ in sizes))

    def warning(self) -> str | None:
        """What to tell the user before the training, once the network is frozen as the spec has it."""
        if (fraction := self.frozen_fraction()) < _FROZEN_FRACTION:
            return None
        return (
            f"{fraction:.0%} of the parameters are frozen, so what pruning took away cannot be made up for; "
            "unfreeze them in the spec's model block, or start from the shipped spec prune.yaml"
        )


def open_origin(task_type: type[AnyTask], spec: CommonSpec, path: Path, key: str) -> Origin:
    """Opens the bundle whose network a training goes on with.

    Args:
        task_type: of the bundle.
        spec: the user's: data and training.
        path: the bundle.
        key: the spec key that named it, for messages.

    Raises:
        BundleError: it cannot be used.
        SpecError: there is no such file, or its classes are others than the data's.
    """
    require_file(key, path)
    bundle = read_bundle(path, expect_task=task_type.name)
    stored = spec_from_dict(task_type.Spec, bundle.spec, source=f"{path}: bundle.json").spec
    continued = task_type.continued_spec(spec, stored)
    _check_classes(task_type(continued), bundle.classes, f"{key}={path}")
    task = task_type(continued, replace(TrainedState.of_bundle(bundle), thresholds={}))
    return Origin(task, bundle_network(task, bundle, path), bundle.history, file_sha256(path))


class Teacher:
    """Gives the losses of a model that learns from a larger one. It is shared, never copied or stored."""

    def __init__(self, distils: Distils[Any], model: nn.Module, spec: DistillSpec) -> None:
        self.distils = distils
        self.model = model.eval().requires_grad_(False)
        self.spec = spec

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        return self

    def losses(self, model: nn.Module, batch: Batch[Any]) -> dict[str, Tensor]:
        """The terms of the loss of a batch."""
        self.model.to(batch.device)
        return self.distils.distillation_losses(
            model,
            self.model,
            batch,
            loss_lambda=self.spec.loss_lambda,
            temperature=self.spec.temperature,
        )


def open_teacher(task: AnyTask, spec: CommonSpec, distill: DistillSpec) -> Teacher | None:
    """The teacher that a train block names; None where it names none.

    Raises:
        BundleError: the teacher's bundle cannot be used.
        SpecError: there is no such file, or the teacher has other classes or another input size, or networks
            of this task do not learn from teachers.
    """
    given = distill.teacher_model_path
    if not given:
        return None
    key, path = f"train.distill.teacher_model_path={given}", Path(given)
    require_file("train.distill.teacher_model_path", path)
    distils = task.capability(Distils)
    if distils is None:
        raise SpecError(
            f"{key}: networks of the task {task.name} cannot learn from a teacher; leave the key out"
        )
    model = open_bundle(type(task), spec, path, torch.device("cpu"))
    assert model.network is not None
    _check_classes(task, model.task.data.labels.names, key)
    own, other = (
        {
            name: np.shape(value)[1:]
            for name, value in preprocess(one.inputs, [dummy_sample(one.inputs)]).items()
        }
        for one in (task, model.task)
    )
    if own != other:
        raise SpecError(f"{key} takes inputs of the shape {other}, and this network takes {own}")
    return Teacher(distils, model.network, distill)


def _check_classes(task: AnyTask, theirs: list[str], what: str) -> None:
    difference = class_difference(task.data.labels.names, theirs)
    if difference:
        raise SpecError(
            f"{what} knows other classes than the training data, which {difference}; give the data of its "
            "own classes, or start anew with train.pretrained_model_path"
        )
