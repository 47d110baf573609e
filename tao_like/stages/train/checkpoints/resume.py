"""Whether a checkpoint and a spec belong together, and where a resumed training takes up its work."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tao_like.config import to_dict
from tao_like.config.blocks.common import CommonSpec
from tao_like.config.fields import METADATA_KEY
from tao_like.contract.model import later_buffers
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Split
from tao_like.contract.task import AnyTask
from tao_like.errors import BundleError, SpecError
from tao_like.stages.lib.folders import RESUME_KEY
from tao_like.stages.runner import STAGES
from tao_like.stages.train.checkpoints.checkpoint_file import KEY, WEIGHTS, read_checkpoint

LONGER = ("train.num_epochs", "train.max_steps")
"""A training may go on for longer, or end sooner; its schedule changes with it."""
FREE = (
    *LONGER,
    "train.stop_epoch",
    "train.changes_on_resume",
    "train.checkpoint_interval",
    "train.checkpoint_interval_unit",
    "train.tensorboard",
    "train.cudnn",
    "train.compile",
    "train.accelerator",
    "train.strategy",
    "train.num_gpus",
    "train.num_nodes",
    "train.gpu_ids",
    "dataset.workers",
    "dataset.cache",
    "automl",
    "execution",
)
"""Keys that change nothing of what is learnt, or only its last digits; paths are free too."""
KEPT_PATHS = ("train.pretrained_model_path", "train.pruned_model_path")
"""Paths that tell a resumed training from one that starts anew."""


@dataclass(frozen=True)
class Resumed:
    """What a training takes over from the checkpoint that it goes on from.

    Attributes:
        path: the checkpoint.
        phase: name of the phase that it was in.
        done: what the phases before it have come to.
        record: what the checkpoint says of its training.
        notes: what to tell the user.
    """

    path: Path
    phase: str
    done: list[dict[str, Any]]
    record: dict[str, Any]
    notes: list[str]

    def check_processes(self, count: int) -> None:
        """Every process has its own fraction of an epoch's samples. Raises SpecError for another number."""
        if count != self.record["processes"]:
            raise SpecError(
                f"{RESUME_KEY}: {self.path} is of a training in {self.record['processes']} processes, and "
                f"this one has {count}; give the same train.num_gpus and train.num_nodes"
            )


def open_resumed(task: AnyTask, spec: CommonSpec) -> Resumed | None:
    """Read the checkpoint that the spec names, if any, and hold it against the spec and the data.

    A seed of -1 and a batch size `auto` become what they were.

    Raises:
        SpecError: there is no such file, or it is of a training with other settings.
        BundleError: the file is damaged, or no checkpoint.
    """
    given = spec.train.resume_training_checkpoint_path
    if not given:
        return None
    path = Path(given)
    if not path.is_file():
        raise SpecError(
            f"{RESUME_KEY}: there is no file {path}; checkpoints lie in <results_dir>/train/checkpoints"
        )
    record = read_checkpoint(path)[KEY]
    if record["task"] != task.name:
        raise BundleError(f"{path} is a checkpoint of the task {record['task']}, not of {task.name}")
    stored = record["spec"]
    if spec.train.seed < 0:
        spec.train.seed = stored["train"]["seed"]
    phases = {phase.name: phase for phase in task.phases()}
    if record["phase"] not in phases:
        raise BundleError(f"{path} is of a phase {record['phase']}, which this training does not have")
    allowed = spec.train.changes_on_resume
    changed = [
        (key, before, now)
        for key, before, now in _changes(spec, stored, to_dict(spec), [name for name in phases if name])
        if not (key in allowed and _is_number(now))
    ]
    if changed:
        told = "; ".join(f"{key} was {before} and is {now}" for key, before, now in changed[:10])
        raise SpecError(
            f"{RESUME_KEY}: {path} is of a training with other settings: {told}. A resumed training goes on "
            "to the end that the broken one would have reached, so give what was given then; to train anew "
            "from learnt weights, give a bundle as train.pretrained_model_path and no checkpoint"
        )
    _check_data(task, phases[record["phase"]], record, path)
    notes = [
        f"{key} is {now} and was {before}: the learning rate follows the new length from here on"
        for key, before, now in _changes(
            spec, stored, to_dict(spec), [name for name in phases if name], LONGER
        )
    ]
    return Resumed(path, record["phase"], record["done"], record, notes)


def describe(task: AnyTask, phase: Phase[Any], spec: CommonSpec) -> dict[str, Any]:
    """What a checkpoint says of its training, for `open_resumed` to compare."""
    return {
        "task": task.name,
        "phase": phase.name,
        "spec": to_dict(spec),
        "classes": list(task.data.labels.names),
        "data": _fingerprints(phase),
        "threads": torch.get_num_threads(),
    }


def check_weights(network: nn.Module, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Hold the checkpoint's weights against the network that is to take them. Raises BundleError."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in checkpoint[WEIGHTS].items()}
    for name in later_buffers(network) - found.keys():
        del expected[name]
    odd = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if odd:
        raise BundleError(
            f"{path} holds the weights of another network: {len(odd)} parts differ, such as {odd[0]}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fingerprints(phase: Phase[Any]) -> dict[str, str]:
    splits: tuple[Split, ...] = ("train", "val")
    return {split: phase.data.fingerprint(split) for split in splits if phase.data.has(split)}


def _check_data(task: AnyTask, phase: Phase[Any], record: Mapping[str, Any], path: Path) -> None:
    """Order and targets of the samples come from the data, so it must be what it was."""
    classes = list(task.data.labels.names)
    if classes != record["classes"]:
        raise SpecError(
            f"{RESUME_KEY}: {path} is of a training on the classes {', '.join(record['classes'][:10])}; "
            f"the data has {', '.join(classes[:10])}. Restore the data, or train anew"
        )
    now = _fingerprints(phase)
    for name in sorted(now.keys() | record["data"].keys()):
        if now.get(name) != record["data"].get(name):
            raise SpecError(
                f"{RESUME_KEY}: the samples of the {name} data are not those that the training of {path} "
                "had; restore them, or train anew"
            )


def _former(field: dataclasses.Field[Any], before: Mapping[str, Any]) -> Any:
    """What a stored block has for a key; its default where the version that wrote it had no such key."""
    if field.name in before:
        return before[field.name]
    factory = field.default_factory
    value = field.default if factory is dataclasses.MISSING else factory()
    return to_dict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _changes(
    block: Any,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    phases: Sequence[str],
    only: Collection[str] = (),
    prefix: str = "",
) -> Iterator[tuple[str, Any, Any]]:
    """Key, former and present value of every setting that matters and differs, or of some keys alone."""
    for field in dataclasses.fields(block):
        key = f"{prefix}{field.name}"
        # A phase's own train block has the same keys.
        rule_key = next(
            (
                f"train.{key.removeprefix(f'train.{name}.')}"
                for name in phases
                if key.startswith(f"train.{name}.")
            ),
            key,
        )
        rule = field.metadata.get(METADATA_KEY)
        is_other_stage = not prefix and field.name in STAGES and field.name != "train"
        is_path = getattr(rule, "path", False) and rule_key not in KEPT_PATHS
        old, new = _former(field, before), now[field.name]
        value = getattr(block, field.name)
        if is_other_stage or is_path or (not only and rule_key in FREE):
            continue
        if dataclasses.is_dataclass(value) and isinstance(old, Mapping):
            yield from _changes(value, old, new, phases, only, f"{key}.")
        elif old != new and (not only or rule_key in only):
            yield key, old, new
