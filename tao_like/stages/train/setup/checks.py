"""Rules for a training that the spec alone cannot check."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

import torch

from tao_like.config.blocks.common import TrainSpec
from tao_like.contract.metrics import Goal
from tao_like.contract.phase import Phase
from tao_like.contract.task import AnyTask
from tao_like.errors import SpecError
from tao_like.stages.train.setup.devices import choose_devices


def check_phase(task: AnyTask, phase: Phase[Any]) -> None:
    """Raises SpecError where a phase's rule is broken that needs the task, or what the data has."""
    data, spec = phase.data, phase.spec
    block = train_key(task, phase)
    if not data.has("train"):
        raise SpecError(
            f"there is no training data: {data.key('train')} is not given; "
            f"`tao-like {task.name} init FOLDER` writes a spec for a folder of yours"
        )
    known = ["val_loss", *(f"val_{name}" for name in phase.reported())]
    needs_monitor = spec.keep == "best" or spec.early_stopping.enabled
    if needs_monitor and spec.optim.monitor_name not in known:
        raise SpecError(
            f"{block}.optim.monitor_name: {spec.optim.monitor_name} is no metric that this training reports; "
            f"it is one of {', '.join(known)}"
        )
    if needs_monitor and not data.has("val"):
        # Not every task can keep a part of its training data back.
        divides = " or dataset.split.val" if hasattr(getattr(task.spec, "dataset", None), "split") else ""
        raise SpecError(
            f"{block}.keep=best and early stopping need validation data; give {data.key('val')}"
            f"{divides}, or set {block}.keep=last and {block}.early_stopping.enabled=false"
        )


def train_key(task: AnyTask, phase: Phase[Any]) -> str:
    """The key of a phase's train block in the spec; phases may share one."""
    return "train" if phase.spec == task.spec.train else f"train.{phase.name}"


def monitored(phase: Phase[Any]) -> Goal:
    """The metric of `train.optim.monitor_name`, with ``val_`` in front."""
    name = phase.spec.optim.monitor_name
    return Goal(name, phase.reported().get(name.removeprefix("val_"), False))


def check_devices(spec: TrainSpec) -> None:
    """Raises SpecError where the machine cannot do what the train block wants."""
    if spec.precision == "fp16" and not torch.cuda.is_available():
        raise SpecError("train.precision: fp16 needs a GPU; take bf16 or fp32")
    if spec.accelerator == "gpu" and not torch.cuda.is_available():
        raise SpecError("train.accelerator: there is no GPU on this machine; take auto or cpu")
    devices = choose_devices(spec)  # before the data is looked at and the network is built
    if spec.compile:
        check_compiler(on_gpu=devices.accelerator != "cpu")


def check_compiler(on_gpu: bool) -> None:
    """Raises SpecError where torch.compile would find no compiler, which it says only at the first step.

    For a CPU it takes ``CXX`` or the platform's usual C++ compiler; for a GPU, Triton needs one of C.
    """
    if on_gpu:
        variable, usual = "CC", ["gcc", "clang"]
    else:
        variable, usual = "CXX", ["clang++" if sys.platform == "darwin" else "g++"]
    chosen = os.environ.get(variable)
    names = [chosen] if chosen else usual
    if not any(shutil.which(name) for name in names):
        raise SpecError(
            f"train.compile: it needs a compiler, and there is no {' or '.join(names)} on the path; install "
            "one (Debian and Ubuntu: apt install g++), or set train.compile=false"
        )
