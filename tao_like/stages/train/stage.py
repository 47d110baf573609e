"""From a spec to a bundle: check the data, build, train phase by phase, write."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from tao_like import __version__
from tao_like.bundle import Bundle, Part, write_bundle
from tao_like.config import to_dict, to_yaml
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.capabilities import HoldsGraph, Tiles
from tao_like.contract.model import parts_of
from tao_like.contract.phase import Phase
from tao_like.contract.task import AnyTask
from tao_like.errors import BundleError, TaoLikeError
from tao_like.networks import structure
from tao_like.networks.freezing import keep_frozen
from tao_like.networks.strided_pointwise import safe_gradients
from tao_like.stages.lib.findings import stop_on_errors
from tao_like.stages.lib.folders import BUNDLE_NAME, CHECKPOINTS, RESUME_KEY, remove_partial_checkpoints
from tao_like.stages.results import TrainResult
from tao_like.stages.train.board import Board
from tao_like.stages.train.checkpoint_file import read_checkpoint
from tao_like.stages.train.checks import check_devices, check_phase, train_key
from tao_like.stages.train.data import TrainingData
from tao_like.stages.train.devices import choose_devices, leave_processes, start_processes
from tao_like.stages.train.loop import BEST, PhaseTraining
from tao_like.stages.train.origin import Origin, open_origin, open_teacher
from tao_like.stages.train.report import Reporter
from tao_like.stages.train.resume import Resumed, check_weights, describe, open_resumed
from tao_like.stages.train.state import State
from tao_like.stages.train.surroundings import own_settings, seed_everything
from tao_like.stages.train.watch import Diverged
from tao_like.tracking import Run, StopRequest, atomic_path, is_main_process, is_out_of_memory, stop_requests


@dataclass
class PhaseResult:
    """What a phase has come to.

    Attributes:
        phase: its name.
        epochs: passes over its data.
        seconds: since it began, or was resumed.
        metrics: of the kept weights on the validation data.
        thresholds: that suit them best.
        last_epoch: losses and metrics of the last epoch.
        batch_size: samples a step and process; workers: loading processes.
    """

    phase: str
    epochs: int
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, Any] = field(default_factory=dict)
    last_epoch: dict[str, float] = field(default_factory=dict)
    batch_size: int = 0
    workers: int = 0


@dataclass
class Work:
    """What all phases of a training share.

    Attributes:
        task: at work on the spec.
        spec: the resolved spec.
        run: takes messages.
        fabric: device, precision and processes.
        model: as it stands now.
        stop: signals that ask for an end.
        origin: the trained network that this training goes on with, or None.
        resumed: the checkpoint that it goes on from, or None.
        learns: whether each parameter learns where no phase says otherwise.
        done: what the phases before have come to.
    """

    task: AnyTask
    spec: CommonSpec
    run: Run
    fabric: Fabric
    model: nn.Module
    stop: StopRequest
    origin: Origin | None
    resumed: Resumed | None
    learns: dict[str, bool]
    done: list[PhaseResult]


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
    with stop_requests() as stop, own_settings(spec.train):
        work = prepare(task, spec, run, stop, origin, resumed)
        for phase in task.phases()[len(work.done) :]:
            work.done.append(_train_phase(work, phase))
        result = _finish(work)
        leave_processes()
    return result


def prepare(
    task: AnyTask,
    spec: CommonSpec,
    run: Run,
    stop: StopRequest | None = None,
    origin: Origin | None = None,
    resumed: Resumed | None = None,
) -> Work:
    """Starts the processes and builds the model as the spec has them. Raises SpecError, DatasetError.

    Args:
        task: at work on the spec.
        spec: the resolved spec.
        run: the run that is told of it.
        stop: signals that ask the training to end; None: nobody listens.
        origin: the trained network to go on with; None: the task builds one.
        resumed: the checkpoint to go on from, or None.
    """
    stop = stop or StopRequest()
    devices = choose_devices(spec.train)
    for warning in devices.warnings:
        run.warning(warning)
    if resumed is not None:
        resumed.check_processes(devices.count * spec.train.num_nodes)
    fabric = start_processes(spec.train, devices, stop)
    seed_everything(spec.train.seed)
    if origin is None:
        model, notes = task.model(pretrained=True)
    else:
        model, notes = origin.network, [f"the network is that of {spec.train.pruned_model_path}"]
    for note in [*notes, *(resumed.notes if resumed else [])]:
        run.info(note)
    done = [PhaseResult(**values) for values in resumed.done] if resumed else []
    learns = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    return Work(task, spec, run, fabric, model, stop, origin, resumed, learns, done)


def open_phase(work: Work, phase: Phase[Any], checkpoint: dict[str, Any] | None) -> PhaseTraining:
    """A phase of a training, before its first step, or where a checkpoint has left it."""
    task, run, model, fabric = work.task, work.run, work.model, work.fabric
    folder = run.folder / phase.name
    record = work.resumed.record if work.resumed and checkpoint else None
    state = State.of_record(record) if record else State()
    _freeze(work, phase)
    if work.origin and (warning := work.origin.warning()):
        run.warning(warning)
    tiles = task.capability(Tiles)
    batch_size = None if record is None or phase.data.loading.batch_size != "auto" else record["batch_size"]
    data = TrainingData(phase, model, fabric, run, tiles=tiles, batch_size=batch_size)
    if phase.spec.compile:
        run.info("train.compile: the first steps wait for the compiler, from a minute to several")
    teacher = open_teacher(task, work.spec, phase.spec.distill)
    telling = (f"val_{phase.goal.metric}", phase.spec.optim.monitor_name)
    reporter = Reporter(run, folder, state, phase.spec, title=phase.name, telling=telling)
    board = None
    if phase.spec.tensorboard.enabled:
        board = Board(folder, task, phase, state, to_yaml(work.spec))
    training = PhaseTraining(
        phase,
        model,
        fabric,
        data,
        run,
        losses=teacher.losses if teacher else phase.losses,
        state=state,
        reporter=reporter,
        folder=folder / CHECKPOINTS,
        description={
            **describe(task, phase, work.spec),
            "done": [asdict(result) for result in work.done],
        },
        stop=work.stop,
        set_modes=lambda model: _set_modes(model, phase),
        block=train_key(task, phase),
        tiles=tiles,
        board=board,
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
        with safe_gradients(training.model):
            training.fit()
        work.model = training.kept_model()
        seconds = time.monotonic() - began
        metrics: dict[str, float] = {}
        thresholds: dict[str, Any] = {}
        if training.data.val is not None:
            values, report, _ = training.validate(work.model, nullcontext(), lambda: None)
            training.watch.check_validation(values, training.monitor.metric, training.rate)
            metrics, thresholds = report.values, report.thresholds
        if training.board is not None:
            settings = _changed(to_dict(work.spec), to_dict(type(work.task).Spec()))
            training.board.events.hparams(settings, metrics)
    except Exception as error:
        if work.stop.number is not None:
            # The signal has ended a loading process too, before it could be told not to listen.
            raise work.stop.error() from error
        if isinstance(error, Diverged):
            # What there is to go on from would diverge again.
            work.run.advise("")
        raise
    finally:
        if training.board is not None:
            training.board.events.close()
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
        training.restore(checkpoint)
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


# --- the end ---


def _finish(work: Work) -> TrainResult:
    """Writes the bundle and says what has come out."""
    spec, run, last = work.spec, work.run, work.done[-1]
    with run.artefact(BUNDLE_NAME) as path:
        sha256 = write_bundle(path, _bundle(work))
    bundle = run.folder / BUNDLE_NAME
    seconds = sum(result.seconds for result in work.done)
    report: dict[str, Any] = {
        "bundle": BUNDLE_NAME,
        "sha256": sha256,
        "parameters": sum(parameter.numel() for parameter in work.model.parameters()),
        "seconds": round(seconds, 1),
        "batch_size": last.batch_size,
        "workers": last.workers,
        "kept": spec.train.keep,
        "metrics": last.metrics,
        "last_epoch": last.last_epoch,
        "thresholds": last.thresholds,
    }
    if len(work.done) > 1:
        report["phases"] = [asdict(result) for result in work.done]
    run.status("training done", kpi=last.metrics)
    headline = work.task.phases()[-1].goal.metric
    shown = f", val {headline} {last.metrics[headline]:.4f}" if headline in last.metrics else ""
    return TrainResult(
        stage="train",
        folder=run.folder,
        report=report,
        summary=[
            f"Trained in {seconds:.0f} s{shown}. Bundle: {bundle}",
            f"Curves and pictures: tensorboard --logdir {bundle.parent.parent}",
        ],
        bundle=bundle,
        metrics=last.metrics,
    )


def _bundle(work: Work) -> Bundle:
    """What the next stage needs, as the model stands now."""
    task, origin, last = work.task, work.origin, work.done[-1]
    entry: dict[str, Any] = {
        "stage": "train",
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        "epochs": sum(result.epochs for result in work.done),
        "seconds": round(sum(result.seconds for result in work.done), 1),
        "metrics": last.metrics,
    }
    if len(work.done) > 1:
        entry["phases"] = [
            {"phase": result.phase, "epochs": result.epochs, "metrics": result.metrics}
            for result in work.done
        ]
    if origin is not None:
        entry["parent"] = origin.sha256
    holder = task.capability(HoldsGraph)
    graph, extra = holder.imported_graph() if holder else (None, {})
    made_by = {part: phase.name for phase in task.phases() for part in phase.parts}
    parts = {
        name: Part(
            weights={key: tensor.cpu() for key, tensor in part.state_dict().items()},
            structure=structure.capture(part) if origin else None,
            graph=graph,
            phase=made_by.get(name, ""),
        )
        for name, part in parts_of(work.model).items()
    }
    preprocessing = {name: one.preprocessing for name, one in task.inputs.items()}
    labels = task.data.labels
    return Bundle(
        task=task.name,
        spec=to_dict(work.spec),
        classes=labels.names,
        preparation=preprocessing if len(preprocessing) > 1 else next(iter(preprocessing.values())),
        metrics=last.metrics,
        thresholds=last.thresholds,
        split=task.data.manifest(),
        history=[*(origin.history if origin else []), entry],
        parts=parts,
        extra=extra,
        prompts=labels.prompts,
        open_set=labels.open_set,
    )


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
