"""From a trained bundle to a narrower one: choose, take away, train in between, prove, write."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tao_like import __version__
from tao_like.bundle import Bundle, file_sha256, read_bundle, write_bundle
from tao_like.config import to_dict
from tao_like.config.blocks.common import CommonSpec
from tao_like.config.blocks.prune import DEFAULT_TARGET_MACS
from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Generates, Prunes
from tao_like.contract.model import Prunable, parts_of
from tao_like.contract.phase import Phase
from tao_like.contract.restored import bundle_network
from tao_like.contract.sample import Split
from tao_like.contract.task import AnyTask
from tao_like.errors import ConversionError, SpecError
from tao_like.networks import structure
from tao_like.networks.strided_pointwise import safe_gradients
from tao_like.stages.lib.cost import Cost, network_cost
from tao_like.stages.lib.engines import (
    BUNDLE_SUFFIX,
    LoadedModel,
    TorchEngine,
    default_format,
    find_checkpoint,
    open_bundle,
)
from tao_like.stages.lib.folders import BUNDLE_NAME
from tao_like.stages.lib.loading import resolve_workers
from tao_like.stages.lib.scoring import last_phase, score
from tao_like.stages.prune import criteria
from tao_like.stages.prune.inner import inner_units
from tao_like.stages.prune.proof import remove_proven, tensors
from tao_like.stages.prune.report import compare_widths, draw_widths, layer_widths, measure_latency
from tao_like.stages.prune.selection import Choice, MacsEstimate, Rules, choose, find_ratio
from tao_like.stages.prune.units import Unit, find_units
from tao_like.stages.results import PruneResult
from tao_like.tracking import Run, TensorBoard, atomic_path

CHART = "channels.png"
_SCORING_BATCH = 16


@dataclass
class Part:
    """A part of the network that shrinks.

    Attributes:
        module: the part, or what runs it.
        prunable: what the task says of it.
        cost: before.
        initial: elements that each unit once had, by its name.
    """

    module: nn.Module
    prunable: Prunable
    cost: Cost
    initial: dict[str, int] = field(default_factory=dict)

    def macs(self) -> int:
        """The multiply-accumulates that it takes now."""
        return network_cost(self.module, self.prunable.inputs).macs


@dataclass
class Pruning:
    """A pruning at work.

    Attributes:
        task: at work on the bundle's architecture and the user's training.
        network: on the CPU, every parameter free; it shrinks.
        parts: those of its parts that shrink, by name.
        spec: the resolved spec, of the task.
        run: is told of it.
    """

    task: AnyTask
    network: nn.Module
    parts: dict[str, Part]
    spec: CommonSpec
    run: Run

    @property
    def macs_before(self) -> int:
        """Of all parts that shrink, before anything was taken away."""
        return sum(part.cost.macs for part in self.parts.values())

    def macs(self) -> int:
        """Of the same now."""
        return sum(part.macs() for part in self.parts.values())


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> PruneResult:
    """Prunes a bundle; the new one gets its name only after it has been read back and gives equal outputs."""
    began = time.monotonic()
    settings = spec.prune
    path = find_checkpoint(spec, settings.checkpoint, "prune.checkpoint")
    if path.suffix != BUNDLE_SUFFIX:
        raise SpecError(
            f"prune.checkpoint: {path} is not a bundle ({BUNDLE_SUFFIX}); an ONNX file stays as it is"
        )
    model = open_bundle(task_type, spec, path, torch.device("cpu"))
    pruning = _prepare(task_type, spec, path, model, run)
    assert model.network is not None
    metrics = {"before": _metrics(model.task, model.network, run, "scoring before")}
    widths = layer_widths(pruning.network)
    differences = [_step(pruning, step) for step in range(1, settings.steps + 1)]
    for part in pruning.parts.values():
        part.prunable.refresh()
    macs = pruning.macs()
    metrics["after"] = _metrics(pruning.task, pruning.network, run, "scoring after")
    report: dict[str, Any] = {
        "checkpoint": str(path),
        "criterion": settings.criterion,
        "steps": settings.steps,
        "parameters": {"before": _parameters(model.network), "after": _parameters(pruning.network)},
        "macs": {"before": pruning.macs_before, "after": macs},
        "macs_share": round(macs / pruning.macs_before, 4),
        "latency": measure_latency(model.task, model.network, pruning.network, run),
        "metrics": metrics,
        "layers": [asdict(width) for width in compare_widths(widths, layer_widths(pruning.network))],
        "largest_difference": max(differences),
        "seconds": round(time.monotonic() - began, 1),
    }
    return _write(pruning, model, path, report)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _prepare(task_type: type[AnyTask], spec: CommonSpec, path: Path, model: LoadedModel, run: Run) -> Pruning:
    """A second copy of the bundle's network, to be pruned, for a task that may train it."""
    assert model.bundle is not None
    stored = model.task.spec
    continued = task_type.continued_spec(spec, stored)
    task = task_type(continued, model.task.trained)
    network = bundle_network(task, model.bundle, path).eval()
    prunes = task.capability(Prunes)
    if prunes is None:
        raise SpecError(
            f"prune: networks of the task {task.name} cannot be pruned, since it does not say which of their "
            "channels may go; quantize makes their files smaller, and a smaller model block their networks"
        )
    needs_data = spec.prune.criterion == "taylor" or spec.prune.steps > 1
    if needs_data and not task.data.has("train"):
        raise SpecError(
            f"prune.criterion={spec.prune.criterion} with prune.steps={spec.prune.steps} needs training "
            f"data; name it ({task.data.key('train')}), or take prune.criterion=magnitude_l2 and "
            "prune.steps=1"
        )
    modules = parts_of(network)
    parts = {}
    for name, prunable in prunes.prunable(network).items():
        module = prunable.runs or modules[name]
        parts[name] = Part(module, prunable, network_cost(module, prunable.inputs))
    return Pruning(task, network, parts, continued, run)


def _step(pruning: Pruning, step: int) -> float:
    """Takes a step's fraction away, and trains unless it is the last. Returns the proof's difference."""
    settings, run = pruning.spec.prune, pruning.run
    excluded = _matching(pruning.network, settings.excluded_layers)
    difference, gone = 0.0, 0
    for name, part in pruning.parts.items():
        if part.prunable.inner:
            units = inner_units(part.module, granularity=settings.granularity, excluded=excluded)
        else:
            units = find_units(
                part.module, part.prunable, granularity=settings.granularity, excluded=excluded
            )
        if not units:
            raise SpecError(
                "nothing of this network can be pruned: every layer is excluded (prune.excluded_layers), or "
                "reaches what must keep its size"
            )
        for unit in units:
            part.initial.setdefault(unit.name, unit.size)
        scores = _scores(pruning, name, units)
        if step == 1 and not any(_choice(pruning, part, units, scores, settings.steps)):
            # Known before there is any training.
            raise SpecError(
                f"nothing would be pruned: with prune.granularity={settings.granularity} no layer can lose "
                "the channels asked for; prune more, or lower it"
            )
        choice = _choice(pruning, part, units, scores, step)
        difference = max(difference, remove_proven(part.module, units, choice, part.prunable.inputs))
        gone += sum(len(elements) > 0 for elements in choice)
    fraction = pruning.macs() / pruning.macs_before
    run.info(
        f"step {step} of {settings.steps}: {fraction:.3f} of the MACs stay, {gone} groups of layers narrower"
    )
    run.status(f"step {step} pruned", kpi={"macs_share": fraction}, step=step, max_step=settings.steps)
    if step < settings.steps:
        from tao_like.stages.train.setup.tune import tune  # the only way in which pruning meets Lightning

        seed = pruning.spec.train.seed + step
        phases = [
            phase for phase in pruning.task.phases() if not pruning.parts.keys().isdisjoint(phase.parts)
        ]
        tune(
            pruning.task,
            pruning.network,
            pruning.spec,
            run,
            phases=phases or [last_phase(pruning.task)],
            epochs=settings.epochs_per_step,
            seed=seed,
        )
    return difference


def _matching(network: nn.Module, patterns: list[str]) -> list[nn.Module]:
    """The modules that the patterns of ``prune.excluded_layers`` name."""
    modules = {name: module for name, module in network.named_modules() if name}
    found: list[nn.Module] = []
    for pattern in patterns:
        names = fnmatch.filter(modules, pattern)
        if not names:
            some = ", ".join(list(modules)[:4])
            raise SpecError(
                f"prune.excluded_layers: {pattern} names no layer of this network; its layers are {some}, "
                "... (report.json of an earlier pruning lists them)"
            )
        found += [modules[name] for name in names]
    return found


def _scores(pruning: Pruning, part: str, units: list[Unit]) -> criteria.Scores:
    settings = pruning.spec.prune
    if settings.criterion in criteria.NORMS:
        return criteria.relative(criteria.magnitude(units, criteria.NORMS[settings.criterion]))
    if settings.criterion == "bn_scale":
        return criteria.relative(criteria.batch_norm_scale(units))
    if settings.criterion == "random":
        return criteria.random_scores(units, pruning.spec.train.seed)
    pruning.network.eval()
    torch.manual_seed(pruning.spec.train.seed)  # Some losses blend the samples of a batch by chance.
    phase = _phase_of(pruning.task, part)
    losses = (
        torch.stack(list(phase.losses(pruning.network, batch).values())).sum() for batch in _batches(pruning)
    )
    with safe_gradients(pruning.network):
        return criteria.taylor(units, losses)


def _phase_of(task: AnyTask, part: str) -> Phase[Any]:
    """The last phase in which a part learns: its loss is what the part matters for."""
    return next((phase for phase in reversed(task.phases()) if part in phase.parts), last_phase(task))


def _batches(pruning: Pruning) -> Iterator[Batch[Any]]:
    """Evenly drawn training samples, as evaluation preprocesses them."""
    task = pruning.task
    data = task.data.dataset("train")
    count = min(pruning.spec.prune.criterion_samples, len(data))
    indices = [number * len(data) // count for number in range(count)]
    with pruning.run.progress("gradients of the loss", count) as bar:
        for start in range(0, count, _SCORING_BATCH):
            chosen = indices[start : start + _SCORING_BATCH]
            yield task.data.collate([data[index] for index in chosen])
            bar.advance(len(chosen))


def _choice(pruning: Pruning, part: Part, units: list[Unit], scores: criteria.Scores, step: int) -> Choice:
    """What goes in this step: an equal fraction of the whole way in each."""
    settings = pruning.spec.prune
    rules = Rules(settings.scope, settings.max_ratio, part.initial)
    fraction = step / settings.steps
    if settings.ratio is not None:
        return choose(units, scores, settings.ratio * fraction, rules)
    target = settings.target_macs or DEFAULT_TARGET_MACS
    target = 1 - (1 - target) * fraction
    prunable = part.prunable
    estimate = MacsEstimate(part.module, units, prunable.inputs, prunable.products)
    if settings.criterion == "taylor":
        # What counts is the harm for each multiply-accumulate that is spared.
        scores = [score / max(spared, 1e-12) for score, spared in zip(scores, estimate.each(), strict=True)]
    return find_ratio(target, part.cost.macs, estimate, lambda ratio: choose(units, scores, ratio, rules))


def _metrics(task: AnyTask, network: nn.Module, run: Run, title: str) -> dict[str, float]:
    """The network's metrics on validation data (else test data); empty where there is neither."""
    held_out: tuple[Split, ...] = ("val", "test")
    split = next((name for name in held_out if task.data.has(name)), None)
    if split is None:
        return {}
    data = task.data.dataset(split)
    generates = task.capability(Generates)
    generator = generates.generator() if generates else None
    graphs = task.exports(network.eval(), default_format(task))
    engine = TorchEngine(graphs, torch.device("cpu"), generator)
    with run.progress(title, len(data)) as bar:
        workers = resolve_workers(task.data, "cpu")
        return score(task, engine, data, _SCORING_BATCH, workers, bar.advance).compute().values


def _write(pruning: Pruning, model: LoadedModel, path: Path, report: dict[str, Any]) -> PruneResult:
    """Writes the bundle, reads it back, and compares its outputs with those of the network at hand."""
    run, settings = pruning.run, pruning.spec.prune
    assert model.bundle is not None
    bundle = _bundle(pruning, model.bundle, file_sha256(path), report)
    final = Path(settings.pruned_file) if settings.pruned_file else run.folder / BUNDLE_NAME
    with atomic_path(final) as temporary:
        sha256 = write_bundle(temporary, bundle)
        _check_reloaded(pruning, read_bundle(temporary), temporary)
    widths = compare_widths(
        {layer["name"]: (layer["kind"], layer["before"]) for layer in report["layers"]},
        layer_widths(pruning.network),
    )
    chart = draw_widths(widths)
    with run.artefact(CHART) as file:
        chart.save(file, format="PNG")
    if pruning.spec.train.tensorboard.enabled:
        writer = TensorBoard(run.folder)
        try:
            writer.image("prune/channels", chart, 0)
        finally:
            writer.close()
    report |= {"bundle": str(final), "sha256": sha256}
    metric = last_phase(pruning.task).goal.metric
    before, after = (report["metrics"][name].get(metric) for name in ("before", "after"))
    told = "" if before is None else f" {metric} {before:.4f} -> {after:.4f} (before training again)."
    latency = report["latency"]
    run.status("pruning done", kpi=report["metrics"]["after"])
    summary = [
        f"{final}: {report['macs_share']:.3f} of the MACs, "
        f"{report['parameters']['after'] / report['parameters']['before']:.3f} of the parameters, "
        f"{latency['share']:.3f} of the latency ({latency['engine']}).{told}",
        f"Next: tao-like {pruning.task.name} train -e SPEC train.pruned_model_path={final}",
    ]
    return PruneResult(
        "prune", run.folder, report, summary, final, report["macs_share"], report["metrics"]["after"]
    )


def _bundle(pruning: Pruning, parent: Bundle, sha256: str, report: dict[str, Any]) -> Bundle:
    settings = pruning.spec.prune
    record = {
        "stage": "prune",
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        "parent": sha256,
        "settings": to_dict(settings),
        "macs_share": report["macs_share"],
        "parameters": report["parameters"],
        "metrics": report["metrics"],
    }
    modules = parts_of(pruning.network)
    parts = {
        name: replace(
            part,
            weights=dict(modules[name].state_dict()),
            structure=structure.capture(modules[name]) if name in pruning.parts else part.structure,
        )
        for name, part in parent.parts.items()
    }
    return replace(parent, parts=parts, metrics=report["metrics"]["after"], history=[*parent.history, record])


def _check_reloaded(pruning: Pruning, bundle: Bundle, path: Path) -> None:
    """The bundle that was written gives the very outputs of the network at hand."""
    again = bundle_network(pruning.task, bundle, path).eval()
    pruning.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    restored = parts_of(again)
    if any(structure.capture(restored[name]) != bundle.parts[name].structure for name in pruning.parts):
        raise ConversionError("the pruned bundle does not give back its own structure; please report this")
    prunes = pruning.task.capability(Prunes)
    assert prunes is not None
    runs = {name: prunable.runs or restored[name] for name, prunable in prunes.prunable(again).items()}
    for name, part in pruning.parts.items():
        with torch.inference_mode():
            expected = part.module.eval()(*part.prunable.inputs)
            actual = runs[name].eval()(*part.prunable.inputs)
        if not all(
            torch.equal(one, other) for one, other in zip(tensors(expected), tensors(actual), strict=True)
        ):
            raise ConversionError(
                "the pruned bundle predicts otherwise than the network that it was made from"
            )
