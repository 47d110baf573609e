"""The end of a training: its bundle, and what has come out."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from tao_like import __version__
from tao_like.bundle import Bundle, Part, write_bundle
from tao_like.config import to_dict
from tao_like.contract.capabilities import HoldsGraph
from tao_like.contract.model import parts_of
from tao_like.contract.task import AnyTask
from tao_like.networks import structure
from tao_like.stages.lib.folders import BUNDLE_NAME
from tao_like.stages.results import TrainResult
from tao_like.stages.train.work import Work


def finish(work: Work) -> TrainResult:
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
    primary_metric = work.task.phases()[-1].goal.metric
    shown = (
        f", val {primary_metric} {last.metrics[primary_metric]:.4f}" if primary_metric in last.metrics else ""
    )
    return TrainResult(
        stage="train",
        folder=run.folder,
        report=report,
        summary=[
            f"Trained in {seconds:.0f} s{shown}. Bundle: {bundle}",
            f"Curves and images: tensorboard --logdir {bundle.parent.parent}",
        ],
        bundle=bundle,
        metrics=last.metrics,
    )


def _bundle(work: Work) -> Bundle:
    """What the next stage needs, as the model stands now."""
    task, origin, last = work.task, work.origin, work.done[-1]
    record: dict[str, Any] = {
        "stage": "train",
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        "epochs": sum(result.epochs for result in work.done),
        "seconds": round(sum(result.seconds for result in work.done), 1),
        "metrics": last.metrics,
    }
    if len(work.done) > 1:
        record["phases"] = [
            {"phase": result.phase, "epochs": result.epochs, "metrics": result.metrics}
            for result in work.done
        ]
    if origin is not None:
        record["parent"] = origin.sha256
    graph, extra = _graph_of(task)
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
        preprocessing=preprocessing if len(preprocessing) > 1 else next(iter(preprocessing.values())),
        metrics=last.metrics,
        thresholds=last.thresholds,
        split=task.data.manifest(),
        history=[*(origin.history if origin else []), record],
        parts=parts,
        extra=extra,
        prompts=labels.prompts,
        open_set=labels.open_set,
    )


def _graph_of(task: AnyTask) -> tuple[bytes | None, dict[str, Any]]:
    """An imported network's graph and what is said of it: those of the bundle before, or the spec's."""
    holder = task.capability(HoldsGraph)
    if holder is None:
        return None, {}
    return holder.imported_graph() if task.trained is None else (task.trained.graph, task.trained.extra)
