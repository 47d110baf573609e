"""From a spec to a bundle: check the data, build, fit, choose the weights, write."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, EarlyStopping
from torch import nn

from tao_like import __version__
from tao_like.bundle import Bundle, write_bundle
from tao_like.config import to_dict, to_yaml
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.capabilities import HoldsGraph
from tao_like.contract.metrics import Report
from tao_like.contract.task import AnyTask
from tao_like.errors import BundleError, TaoLikeError
from tao_like.networks import structure
from tao_like.networks.strided_pointwise import safe_gradients
from tao_like.stages.lib.findings import stop_on_errors
from tao_like.stages.lib.folders import BUNDLE_NAME, CHECKPOINTS, RESUME_KEY
from tao_like.stages.lib.loading import resolve_batch_size, resolve_workers
from tao_like.stages.lib.scoring import last_phase
from tao_like.stages.results import TrainResult
from tao_like.stages.train.callbacks import MovingAverage, Reporter, TensorBoardCallback, is_stale
from tao_like.stages.train.checkpoint_file import AtomicCheckpoints, read_best, read_checkpoint
from tao_like.stages.train.checkpoints import BEST, Checkpoints
from tao_like.stages.train.checks import check_spec
from tao_like.stages.train.devices import choose_devices, process_environment
from tao_like.stages.train.memory import keep_freed_memory
from tao_like.stages.train.module import TrainingModule
from tao_like.stages.train.origin import Origin, open_origin, open_teacher
from tao_like.stages.train.resume import Resumed, check_weights, describe, open_resumed
from tao_like.stages.train.sharding import ShardedStrategy
from tao_like.tracking import Run, StopRequest, TensorBoard, is_out_of_memory, stop_requests

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass
class PreparedTraining:
    """All that a training needs, before its first step."""

    task: AnyTask
    module: TrainingModule
    trainer: pl.Trainer
    checkpoints: Checkpoints
    board: TensorBoard | None
    origin: Origin | None = None
    resumed: Resumed | None = None

    def close(self) -> None:
        """Writes what TensorBoard still holds."""
        if self.board is not None:
            self.board.close()


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> TrainResult:
    """Trains by the spec; leaves model.tltb, checkpoints and TensorBoard events in the run's folder."""
    origin = None
    if spec.train.pruned_model_path:
        path = Path(spec.train.pruned_model_path)
        origin = open_origin(task_type, spec, path, "train.pruned_model_path")
    task = origin.task if origin else task_type(spec)
    spec = task.spec
    check_spec(task, spec.train)
    resumed = open_resumed(task, spec)
    stop_on_errors(task.data.check(full=False), run)
    with stop_requests() as stop:
        prepared = prepare_trainer(task, spec, run, stop, origin, resumed)
        try:
            began = time.monotonic()
            _fit(prepared, stop)
            result = _finish(prepared, spec, run, time.monotonic() - began)
            if prepared.board is not None:
                prepared.board.hparams(_changed(to_dict(spec), to_dict(task_type.Spec())), result.metrics)
        finally:
            prepared.close()
    return result


def prepare_trainer(
    task: AnyTask,
    spec: CommonSpec,
    run: Run,
    stop: StopRequest | None = None,
    origin: Origin | None = None,
    resumed: Resumed | None = None,
) -> PreparedTraining:
    """Builds network, data and trainer as the spec has them. Raises SpecError, DatasetError.

    Args:
        task: at work on the spec.
        spec: the resolved spec.
        run: the run that is told of it.
        stop: signals that ask the training to end; None: nobody listens.
        origin: the trained network to go on with; None: the task builds one.
        resumed: the checkpoint to go on from, or None.
    """
    keep_freed_memory()
    pl.seed_everything(spec.train.seed, verbose=False)
    if origin is None:
        network, notes = task.model(pretrained=True)
    else:
        network, notes = origin.network, [f"the network is that of {spec.train.pruned_model_path}"]
    for note in notes:
        run.info(note)
    # Lightning trains modules in the mode that they come in, and imported ones come as they were proven.
    network.train()
    last_phase(task).freeze(network)
    if origin and (warning := origin.warning()):
        run.warning(warning)
    module = build_module(task, network, spec, run, resumed)
    board = TensorBoard(run.folder) if spec.train.tensorboard.enabled else None
    if resumed is not None:
        for note in resumed.notes:
            run.info(note)
        check_weights(module, read_checkpoint(resumed.path), resumed.path)
        position = resumed.position
        module.resume_at(position.epoch, position.batch)
        if board is not None:
            board.drop(lambda tag, step: is_stale(position, tag, step))
    callbacks, checkpoints = _callbacks(module, spec, run, board, stop or StopRequest(), resumed)
    trainer = build_trainer(spec, run, callbacks, module.val_data is not None)
    if resumed is not None:
        resumed.check_processes(trainer.world_size)
    return PreparedTraining(task, module, trainer, checkpoints, board, origin, resumed)


def build_module(
    task: AnyTask, network: nn.Module, spec: CommonSpec, run: Run, resumed: Resumed | None = None
) -> TrainingModule:
    """The training of a network as the spec has it: data, batch size, teacher."""
    train_data = task.data.dataset("train", augment=True)
    on_gpu = torch.cuda.is_available() and spec.train.accelerator in ("auto", "gpu")
    device = torch.device("cuda" if on_gpu else "cpu")
    if resumed is not None and task.data.loading.batch_size == "auto":
        # What `auto` finds depends on the memory that is free just now.
        batch_size = int(resumed.record["batch_size"])
    else:
        batch_size = min(
            resolve_batch_size(last_phase(task), network, train_data, device), max(len(train_data), 1)
        )
    workers = resolve_workers(task, device.type)
    if "auto" in (task.data.loading.batch_size, task.data.loading.workers):
        run.info(f"batch size {batch_size}, loading processes: {workers}")
    if spec.train.compile:
        run.info("train.compile: the first steps wait for the compiler, from a minute to several")
        network.compile()
    return TrainingModule(
        task,
        network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        spec.train,
        train_data=train_data,
        val_data=task.data.dataset("val") if task.data.has("val") else None,
        batch_size=batch_size,
        workers=workers,
        shuffle=task.data.loading.shuffle,
        teacher=open_teacher(task, spec),
    )


def build_trainer(
    spec: CommonSpec, run: Run, callbacks: list[Callback], validates: bool = False
) -> pl.Trainer:
    """Lightning's trainer as the spec has it."""
    train = spec.train
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    devices = choose_devices(train)
    for warning in devices.warnings:
        run.warning(warning)
    # Not Lightning's `deterministic`: it also fills all new memory, which slows every step on a CPU.
    torch.backends.cudnn.deterministic = train.cudnn.deterministic
    processes = devices.count * train.num_nodes
    sharded = train.strategy == "fsdp" and processes > 1
    return pl.Trainer(
        accelerator=devices.accelerator,
        strategy=ShardedStrategy(processes) if sharded else "auto",
        inference_mode=not sharded,  # what is gathered for a validation serves the next step too
        devices=devices.devices,
        num_nodes=train.num_nodes,
        precision=PRECISIONS[train.precision],  # type: ignore[arg-type]
        max_epochs=train.num_epochs,
        max_steps=train.max_steps,
        accumulate_grad_batches=train.accumulate_grad_batches,
        gradient_clip_val=train.clip_grad_norm or None,
        check_val_every_n_epoch=train.validation_interval,
        limit_val_batches=1.0 if validates else 0,
        benchmark=train.cudnn.benchmark,
        callbacks=callbacks,
        plugins=[AtomicCheckpoints(), process_environment()],
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run.folder,
    )


def _callbacks(
    module: TrainingModule,
    spec: CommonSpec,
    run: Run,
    board: TensorBoard | None,
    stop: StopRequest,
    resumed: Resumed | None,
) -> tuple[list[Callback], Checkpoints]:
    """All callbacks in the order of their work, and the one among them that writes checkpoints."""
    train = spec.train
    average = MovingAverage(train.ema_decay) if train.enable_ema else None
    callbacks: list[Callback] = [average] if average else []
    reporter = Reporter(run)
    callbacks.append(reporter)
    if board is not None:
        callbacks.append(TensorBoardCallback(board, to_yaml(spec)))
    monitor = train.optim.monitor_name
    higher_is_better = module.phase.reported().get(monitor.removeprefix("val_"), False)
    if train.early_stopping.enabled:
        stopping = train.early_stopping
        mode = "max" if higher_is_better else "min"
        callbacks.append(
            EarlyStopping(monitor, mode=mode, patience=stopping.patience, min_delta=stopping.min_delta)
        )
    checkpoints = Checkpoints(
        run,
        describe(module.task, spec),
        stop,
        reporter=reporter,
        average=average,
        board=board,
        higher_is_better=higher_is_better,
        resumed=resumed,
    )
    return [*callbacks, checkpoints], checkpoints


def _fit(prepared: PreparedTraining, stop: StopRequest) -> None:
    """Trains to the end, or until a signal asks for an end. Raises BundleError where it cannot resume."""
    path = prepared.resumed.path if prepared.resumed else None
    if prepared.trainer.world_size > 1:
        stop.let_die()
    try:
        with safe_gradients(prepared.module.network):
            prepared.trainer.fit(prepared.module, ckpt_path=path, weights_only=True)
    except SystemExit as error:
        # Lightning turns Ctrl-C into exit code 1.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    except Exception as error:
        if stop.number is not None:
            # The signal has ended a loading process too, before it could be told not to listen.
            raise stop.error() from error
        if path is None or prepared.checkpoints.began or isinstance(error, TaoLikeError):
            raise
        if is_out_of_memory(error):
            raise
        # Lightning and torch raise whatever odd content leads them to.
        raise BundleError(f"{RESUME_KEY}: a training cannot go on from {path}: {error}") from error
    if stop.number is not None:
        raise stop.error()


def _finish(prepared: PreparedTraining, spec: CommonSpec, run: Run, seconds: float) -> TrainResult:
    """Chooses the weights, scores them once more, and writes the bundle."""
    task, module = prepared.task, prepared.module
    network = module.network = module.whole_network()
    last = {name: value for name, value in prepared.checkpoints.reporter.figures.items() if name != "epoch"}
    best = run.folder / CHECKPOINTS / BEST
    if spec.train.keep == "best" and best.exists():
        state, _ = read_best(best)
        network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in state.items()})
    elif prepared.checkpoints.average is not None:
        # Lightning does so at the end of a training, but not where the resumed one had ended already.
        prepared.checkpoints.average.ship(module)
    thresholds: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    if module.val_data is not None:
        scores = _score(task, module)
        metrics, thresholds = scores.values, scores.thresholds
    with run.artefact(BUNDLE_NAME) as path:
        sha256 = write_bundle(path, _bundle(prepared, spec, metrics, thresholds, seconds))
    bundle = run.folder / BUNDLE_NAME
    parameters = sum(parameter.numel() for parameter in network.parameters())
    report = {
        "bundle": BUNDLE_NAME,
        "sha256": sha256,
        "parameters": parameters,
        "seconds": round(seconds, 1),
        "batch_size": module.batch_size,
        "workers": module.workers,
        "kept": spec.train.keep,
        "metrics": metrics,
        "last_epoch": last,
        "thresholds": thresholds,
    }
    run.status("training done", kpi=metrics)
    return TrainResult(
        stage="train",
        folder=run.folder,
        report=report,
        summary=_summary(task, bundle, metrics, seconds),
        bundle=bundle,
        metrics=metrics,
    )


def _bundle(
    prepared: PreparedTraining,
    spec: CommonSpec,
    metrics: dict[str, float],
    thresholds: dict[str, Any],
    seconds: float,
) -> Bundle:
    """What the next stage needs, as the network stands now."""
    task, origin = prepared.task, prepared.origin
    entry = {
        "stage": "train",
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        "epochs": prepared.trainer.current_epoch,
        "seconds": round(seconds, 1),
        "metrics": metrics,
    }
    if origin is not None:
        entry["parent"] = origin.sha256
    holds = task.capability(HoldsGraph)
    graph, extra = holds.imported_graph() if holds else (None, {})
    (only,) = task.inputs.values()
    return Bundle(
        task=task.name,
        spec=to_dict(spec),
        classes=task.data.labels.names,
        preparation=only.preprocessing,
        metrics=metrics,
        thresholds=thresholds,
        split=task.data.manifest(),
        history=[*(origin.history if origin else []), entry],
        structure=structure.capture(prepared.module.network) if origin else None,
        weights={name: tensor.cpu() for name, tensor in prepared.module.network.state_dict().items()},
        graph=graph,
        extra=extra,
    )


def _score(task: AnyTask, module: TrainingModule) -> Report:
    """The kept weights on the validation data, by one process."""
    from tao_like.stages.lib.engines import TorchEngine, default_format
    from tao_like.stages.lib.scoring import score

    engine = TorchEngine(task.exports(module.network.eval(), default_format(task)), module.device)
    assert module.val_data is not None
    return score(task, engine, module.val_data, module.batch_size * 2, module.workers).compute()


def _summary(task: AnyTask, bundle: Path, metrics: dict[str, float], seconds: float) -> list[str]:
    metric = last_phase(task).goal.metric
    headline = f", val {metric} {metrics[metric]:.4f}" if metric in metrics else ""
    return [
        f"Trained in {seconds:.0f} s{headline}. Bundle: {bundle}",
        f"Curves and pictures: tensorboard --logdir {bundle.parent.parent}",
    ]


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
