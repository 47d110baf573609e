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
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import nn

from tao_like import __version__
from tao_like.bundle import Bundle, write_bundle
from tao_like.errors import SpecError
from tao_like.spec import to_dict, to_yaml
from tao_like.spec.common import CommonSpec, TrainSpec
from tao_like.stages.findings import stop_on_errors
from tao_like.stages.folders import BUNDLE_NAME, CHECKPOINTS
from tao_like.stages.loading import resolve_batch_size, resolve_workers
from tao_like.stages.results import TrainResult
from tao_like.stages.train.callbacks import MovingAverage, Reporter, TensorBoardCallback
from tao_like.stages.train.memory import keep_freed_memory
from tao_like.stages.train.module import TrainingModule
from tao_like.tasks.base import Metrics, Task
from tao_like.tracking import Run, TensorBoard

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass
class PreparedTraining:
    """All that a training needs, before its first step."""

    task: Task[Any]
    module: TrainingModule
    trainer: pl.Trainer
    board: TensorBoard | None

    def close(self) -> None:
        """Writes what TensorBoard still holds."""
        if self.board is not None:
            self.board.close()


def run(task_type: type[Task[Any]], spec: CommonSpec, run: Run) -> TrainResult:
    """Trains by the spec; leaves model.tltb, checkpoints and TensorBoard events in the run's folder."""
    task = task_type(spec)
    _check_spec(task, spec.train)
    stop_on_errors(task.check(full=False), run)
    prepared = prepare_trainer(task, spec, run)
    try:
        began = time.monotonic()
        _fit(prepared.trainer, prepared.module, spec.train)
        result = _finish(prepared, spec, run, time.monotonic() - began)
        if prepared.board is not None:
            prepared.board.hparams(_changed(to_dict(spec), to_dict(task_type.Spec())), result.metrics)
    finally:
        prepared.close()
    return result


def prepare_trainer(task: Task[Any], spec: CommonSpec, run: Run) -> PreparedTraining:
    """Builds network, data and trainer as the spec has them. Raises SpecError, DatasetError."""
    keep_freed_memory()
    pl.seed_everything(spec.train.seed, verbose=False)
    network, notes = task.network(pretrained=True)
    for note in notes:
        run.info(note)
    task.freeze(network)
    module = _module(task, network, spec, run)
    board = TensorBoard(run.folder) if spec.train.tensorboard.enabled else None
    return PreparedTraining(task, module, _trainer(module, spec, run, board), board)


def _check_spec(task: Task[Any], spec: TrainSpec) -> None:
    """Rules that need torch, the task, or what the data has."""
    if not task.has_split("train"):
        raise SpecError(
            "there is no training data: dataset.train_dataset.images_dir is not given; "
            f"`tao-like {task.name} init FOLDER` writes a spec for a folder of yours"
        )
    known = ["val_loss", *(f"val_{name}" for name in task.reported())]
    needs_monitor = spec.keep == "best" or spec.early_stopping.enabled
    if needs_monitor and spec.optim.monitor_name not in known:
        raise SpecError(
            f"train.optim.monitor_name: {spec.optim.monitor_name} is no metric that this training reports; "
            f"it is one of {', '.join(known)}"
        )
    if needs_monitor and not task.has_split("val"):
        raise SpecError(
            "train.keep=best and early stopping need validation data; give dataset.val_dataset.images_dir "
            "or dataset.split.val, or set train.keep=last and train.early_stopping.enabled=false"
        )
    if spec.precision == "fp16" and not torch.cuda.is_available():
        raise SpecError("train.precision: fp16 needs a GPU; take bf16 or fp32")
    if spec.accelerator == "gpu" and not torch.cuda.is_available():
        raise SpecError("train.accelerator: there is no GPU on this machine; take auto or cpu")
    if spec.resume_training_checkpoint_path and not Path(spec.resume_training_checkpoint_path).is_file():
        raise SpecError(
            f"train.resume_training_checkpoint_path: there is no file "
            f"{spec.resume_training_checkpoint_path}; checkpoints lie in <results_dir>/train/checkpoints"
        )


def _module(task: Task[Any], network: nn.Module, spec: CommonSpec, run: Run) -> TrainingModule:
    train_data = task.dataset("train", augment=True)
    on_gpu = torch.cuda.is_available() and spec.train.accelerator in ("auto", "gpu")
    device = torch.device("cuda" if on_gpu else "cpu")
    batch_size = min(resolve_batch_size(task, network, train_data, device), max(len(train_data), 1))
    workers = resolve_workers(task, device.type)
    if task.batch_size() == "auto" or task.workers() == "auto":
        run.info(f"batch size {batch_size}, {workers} loading processes")
    if spec.train.compile:
        network.compile()
    return TrainingModule(
        task,
        network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        spec.train,
        train_data=train_data,
        val_data=task.dataset("val") if task.has_split("val") else None,
        batch_size=batch_size,
        workers=workers,
        shuffle=task.shuffles(),
    )


def _trainer(module: TrainingModule, spec: CommonSpec, run: Run, board: TensorBoard | None) -> pl.Trainer:
    train = spec.train
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    devices: Any = train.gpu_ids or max(train.num_gpus, 1)
    # Not Lightning's `deterministic`: it also fills all new memory, which slows every step on a CPU.
    torch.backends.cudnn.deterministic = train.cudnn.deterministic
    use_cpu = train.accelerator == "cpu" or (train.accelerator == "auto" and not torch.cuda.is_available())
    return pl.Trainer(
        accelerator="cpu" if use_cpu else train.accelerator,
        devices=max(train.num_gpus, 1) if use_cpu else devices,
        num_nodes=train.num_nodes,
        precision=PRECISIONS[train.precision],  # type: ignore[arg-type]
        max_epochs=train.num_epochs,
        max_steps=train.max_steps,
        accumulate_grad_batches=train.accumulate_grad_batches,
        gradient_clip_val=train.clip_grad_norm or None,
        check_val_every_n_epoch=train.validation_interval,
        limit_val_batches=1.0 if module.val_data is not None else 0,
        benchmark=train.cudnn.benchmark,
        callbacks=_callbacks(module, spec, run, board),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run.folder,
    )


def _callbacks(
    module: TrainingModule, spec: CommonSpec, run: Run, board: TensorBoard | None
) -> list[Callback]:
    train = spec.train
    callbacks: list[Callback] = [MovingAverage(train.ema_decay)] if train.enable_ema else []
    callbacks.append(Reporter(run))
    if board is not None:
        callbacks.append(TensorBoardCallback(board, to_yaml(spec)))
    monitor = train.optim.monitor_name
    mode = "max" if module.task.reported().get(monitor.removeprefix("val_"), False) else "min"
    folder = run.folder / CHECKPOINTS
    unit = "epochs" if train.checkpoint_interval_unit == "epoch" else "train_steps"
    interval = {f"every_n_{unit}": train.checkpoint_interval}
    callbacks.append(
        # Without the order to save there, Lightning would wait for the next validation.
        ModelCheckpoint(
            folder,
            filename="last",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
            **interval,  # type: ignore[arg-type]
        )
    )
    if train.keep == "best":
        callbacks.append(
            ModelCheckpoint(
                folder,
                filename="best",
                monitor=monitor,
                mode=mode,
                # The moving average is not asked for its weights where weights alone are saved.
                save_weights_only=not train.enable_ema,
                enable_version_counter=False,
            )
        )
    if train.early_stopping.enabled:
        stopping = train.early_stopping
        callbacks.append(
            EarlyStopping(monitor, mode=mode, patience=stopping.patience, min_delta=stopping.min_delta)
        )
    return callbacks


def _fit(trainer: pl.Trainer, module: TrainingModule, spec: TrainSpec) -> None:
    try:
        trainer.fit(module, ckpt_path=spec.resume_training_checkpoint_path, weights_only=True)
    except SystemExit as error:
        # Lightning turns Ctrl-C into exit code 1.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


def _finish(prepared: PreparedTraining, spec: CommonSpec, run: Run, seconds: float) -> TrainResult:
    """Chooses the weights, scores them once more, and writes the bundle."""
    task, module, trainer = prepared.task, prepared.module, prepared.trainer
    network = module.network
    last = {name: float(value) for name, value in trainer.callback_metrics.items()}
    best = run.folder / CHECKPOINTS / "best.ckpt"
    if spec.train.keep == "best" and best.exists():
        state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in state.items()})
    thresholds: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    if module.val_data is not None:
        scores = _score(task, module)
        metrics, thresholds = scores.compute(), scores.thresholds()
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
    task = prepared.task
    entry = {
        "stage": "train",
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        "epochs": prepared.trainer.current_epoch,
        "seconds": round(seconds, 1),
        "metrics": metrics,
    }
    graph, extra = task.imported_graph()
    return Bundle(
        task=task.name,
        spec=to_dict(spec),
        classes=task.classes,
        preparation=task.preparation(),
        metrics=metrics,
        thresholds=thresholds,
        split=task.split_record(),
        history=[entry],
        weights={name: tensor.cpu() for name, tensor in prepared.module.network.state_dict().items()},
        graph=graph,
        extra=extra,
    )


def _score(task: Task[Any], module: TrainingModule) -> Metrics:
    """The kept weights on the validation data, by one process."""
    from tao_like.stages.engines import TorchEngine, score

    engine = TorchEngine(task.exportable(module.network.eval(), task.input_format), module.device)
    assert module.val_data is not None
    return score(task, engine, module.val_data, module.batch_size * 2, module.workers)


def _summary(task: Task[Any], bundle: Path, metrics: dict[str, float], seconds: float) -> list[str]:
    headline = f", val {task.headline} {metrics[task.headline]:.4f}" if task.headline in metrics else ""
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
