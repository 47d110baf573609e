"""From a spec to a bundle: check the data, build, train phase by phase, write."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from tao_like.config import to_dict, to_yaml
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.capabilities import Tiles
from tao_like.contract.model import parts_of
from tao_like.contract.phase import Phase
from tao_like.contract.task import AnyTask
from tao_like.errors import BundleError, TaoLikeError
from tao_like.networks.freezing import keep_frozen
from tao_like.networks.strided_pointwise import safe_gradients
from tao_like.stages.lib.findings import stop_on_errors
from tao_like.stages.lib.folders import CHECKPOINTS, RESUME_KEY, remove_partial_checkpoints
from tao_like.stages.lib.threads import take_threads_again
from tao_like.stages.results import TrainResult
from tao_like.stages.train.checkpoints.checkpoint_file import read_checkpoint
from tao_like.stages.train.checkpoints.resume import Resumed, check_weights, describe, open_resumed
from tao_like.stages.train.checkpoints.state import State
from tao_like.stages.train.finish import finish
from tao_like.stages.train.loop import BEST, PhaseTraining
from tao_like.stages.train.reporting.report import Reporter
from tao_like.stages.train.reporting.watch import Diverged
from tao_like.stages.train.reporting.writer import TensorBoardWriter
from tao_like.stages.train.setup.checks import check_devices, check_phase, train_key
from tao_like.stages.train.setup.data import TrainingData
from tao_like.stages.train.setup.devices import (
    choose_devices,
    end_processes,
    leave_processes,
    start_processes,
)
from tao_like.stages.train.setup.origin import Origin, open_origin, open_teacher
from tao_like.stages.train.setup.surroundings import set_up_process
from tao_like.stages.train.work import PhaseResult, Work
from tao_like.tracking import Run, StopRequest, atomic_path, is_main_process, is_out_of_memory, stop_requests


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> TrainResult:
    """Trains by the spec; leaves model.tltb, checkpoints and TensorBoard events in the run's folder."""
    if is_main_process():
        remove_partial_checkpoints(run.folder)
    origin = None
    if spec.train.pruned_model_path:
        path = Path(spec.train.pruned_model_path)
        origin = open_origin(task_type, spec, path, "train.pruned_model_path")
    task = origin.task if origin else task_type(spec)
    spec = task.spec
    for phase in task.phases():
        check_phase(task, phase)
    check_devices(spec.train)
    resumed = open_resumed(task, spec)
    stop_on_errors(task.data.check(full=False), run)
    with stop_requests() as stop:
        work = prepare(task, spec, run, stop, origin, resumed)
        try:
            for phase in task.phases()[len(work.done) :]:
                work.done.append(_train_phase(work, phase))
            result = finish(work)
        except BaseException:
            end_processes(work.fabric)
            raise
        leave_processes()
    return result


def prepare(
    task: AnyTask,
    spec: CommonSpec,
    run: Run,
    stop: StopRequest | None = None,
    origin: Origin | None = None,
    resumed: Resumed | None = None,
    network: nn.Module | None = None,
) -> Work:
    """Starts the processes and builds the model as the spec has them. Raises SpecError, DatasetError.

    Args:
        task: at work on the spec.
        spec: the resolved spec.
        run: the run that is told of it.
        stop: signals that ask the training to end; None: nobody listens.
        origin: the trained network to go on with; None: the task builds one.
        resumed: the checkpoint to go on from, or None.
        network: trained as it is; None: the origin's, or the task builds one.
    """
    stop = stop or StopRequest()
    devices = choose_devices(spec.train)
    for warning in devices.warnings:
        run.warning(warning)
    if resumed is not None:
        resumed.check_processes(devices.count * spec.train.num_nodes)
        if note := take_threads_again(resumed.record.get("threads")):
            run.info(note)
    set_up_process(spec.train)
    fabric = start_processes(spec.train, devices, stop)
    notes: list[str] = []
    if network is not None:
        model = network
    elif origin is not None:
        model, notes = origin.network, [f"the network is that of {spec.train.pruned_model_path}"]
    else:
        model, notes = task.model(pretrained=True)
    for note in [*notes, *(resumed.notes if resumed else [])]:
        run.info(note)
    done = [PhaseResult(**values) for values in resumed.done] if resumed else []
    learns = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    return Work(task, spec, run, fabric, model, stop, origin, resumed, learns, done)


def open_phase(
    work: Work, phase: Phase[Any], checkpoint: dict[str, Any] | None, *, tunes: bool = False
) -> PhaseTraining:
    """A phase of a training, before its first step, or where a checkpoint has left it.

    Args:
        work: the training.
        phase: of its task.
        checkpoint: what it goes on from, or None.
        tunes: the model stays in the mode that it is in, is not validated, and nothing is written.
    """
    task, run, model, fabric = work.task, work.run, work.model, work.fabric
    folder = None if tunes else run.folder / phase.name
    record = work.resumed.record if work.resumed and checkpoint else None
    state = State.of_record(record) if record else State()
    if tunes:
        phase.freeze(model)
    else:
        phase.check(model)
        _freeze(work, phase)
    if work.origin and (warning := work.origin.warning()):
        run.warning(warning)
    tiles = task.capability(Tiles)
    batch_size = None if record is None or phase.data.loading.batch_size != "auto" else record["batch_size"]
    data = TrainingData(phase, model, fabric, run, tiles=tiles, batch_size=batch_size, validates=not tunes)
    if phase.spec.compile:
        run.info("train.compile: the first steps wait for the compiler, from a minute to several")
    teacher = open_teacher(task, work.spec, phase.spec.distill)
    telling = (f"val_{phase.goal.metric}", phase.spec.optim.monitor_name)
    reporter = Reporter(run, folder, state, phase.spec, title=phase.name, telling=telling)
    writer = None
    if folder is not None and phase.spec.tensorboard.enabled:
        writer = TensorBoardWriter(folder, task, phase, state, to_yaml(work.spec))
    training = PhaseTraining(
        phase,
        model,
        fabric,
        data,
        run,
        losses=teacher.losses if teacher else phase.losses,
        state=state,
        reporter=reporter,
        folder=None if folder is None else folder / CHECKPOINTS,
        description={
            **describe(task, phase, work.spec),
            "done": [asdict(result) for result in work.done],
        },
        stop=work.stop,
        set_modes=(lambda _: None) if tunes else (lambda model: _set_modes(model, phase)),
        block=train_key(task, phase),
        writer=writer,
        sharded=work.spec.train.strategy == "fsdp" and fabric.world_size > 1,
    )
    if checkpoint is not None:
        assert work.resumed is not None
        _restore(training, checkpoint, work.resumed, run)
    return training


def _train_phase(work: Work, phase: Phase[Any]) -> PhaseResult:
    """Trains a phase to its end, leaves the kept weights in the model, and scores them."""
    began = time.monotonic()
    resumed = work.resumed
    checkpoint = read_checkpoint(resumed.path) if resumed and resumed.phase == phase.name else None
    training = open_phase(work, phase, checkpoint)
    try:
        with ExitStack() as scope:
            scope.enter_context(safe_gradients(training.model))
            if training.writer is not None:
                scope.enter_context(work.run.listening(training.writer.events))
            training.fit()
        work.model = training.kept_model()
        phase.finish(work.model)
        seconds = time.monotonic() - began
        metrics: dict[str, float] = {}
        thresholds: dict[str, Any] = {}
        if training.data.val is not None:
            values, report, _ = training.validate(work.model, nullcontext())
            training.watch.check_validation(values, training.monitor.metric, training.learner.rate)
            metrics, thresholds = report.values, report.thresholds
        if training.writer is not None:
            settings = _changed(to_dict(work.spec), to_dict(type(work.task).Spec()))
            training.writer.events.hparams(settings, metrics)
    except Exception as error:
        if work.stop.number is not None:
            # The signal has ended a loading process too, before it could be told not to listen.
            raise work.stop.error() from error
        if isinstance(error, Diverged):
            # What there is to go on from would diverge again.
            work.run.advise("")
        raise
    finally:
        if training.writer is not None:
            training.writer.events.close()
    return PhaseResult(
        phase.name,
        training.state.epoch,
        round(seconds, 1),
        metrics,
        thresholds,
        training.state.last_epoch,
        training.data.batch_size,
        training.data.workers,
    )


def _restore(training: PhaseTraining, checkpoint: dict[str, Any], resumed: Resumed, run: Run) -> None:
    """Gives a phase what its checkpoint holds. Raises BundleError."""
    check_weights(training.model, checkpoint, resumed.path)
    try:
        training.learner.restore(checkpoint)
    except TaoLikeError:
        raise
    except Exception as error:  # torch raises whatever odd content leads it to
        if is_out_of_memory(error):
            raise
        raise BundleError(f"{RESUME_KEY}: a training cannot go on from {resumed.path}: {error}") from error
    training.advise(resumed.path)
    _adopt_best(training, resumed.path.parent / BEST, run)


def _adopt_best(training: PhaseTraining, source: Path, run: Run) -> None:
    """Takes over the best weights so far, which lie beside the checkpoint."""
    if training.state.best is None or training.folder is None:
        return
    if not source.is_file():
        run.warning(f"there is no {source}, so the best epoch is chosen from here on alone")
        training.state.best = None
        return
    target = training.folder / BEST
    if is_main_process() and source.resolve() != target.resolve():
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def _freeze(work: Work, phase: Phase[Any]) -> None:
    """Lets the parts of a phase learn, as far as the network and the spec let them, and nothing else."""
    for name, parameter in work.model.named_parameters():
        parameter.requires_grad_(work.learns[name])
    for name, part in parts_of(work.model).items():
        if name not in phase.parts:
            part.requires_grad_(False)
    work.model.train()
    phase.freeze(work.model)


def _set_modes(model: nn.Module, phase: Phase[Any]) -> None:
    """Training mode for the parts that learn, evaluation mode for what is frozen."""
    model.train()
    for name, part in parts_of(model).items():
        if name not in phase.parts:
            part.eval()
    keep_frozen(model)


def _changed(values: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings that are not the defaults, as dotted keys: the columns in which runs differ."""
    changed: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and isinstance(defaults.get(name), dict):
            changed |= _changed(value, defaults[name], f"{key}.")
        elif value != defaults.get(name) and key != "results_dir":
            changed[key] = value
    return changed
