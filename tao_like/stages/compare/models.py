"""The models that are compared, all of them as they run in onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import torch

from tao_like import runtime
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.capabilities import Generates
from tao_like.contract.inputs import dummy_sample, preprocess
from tao_like.contract.task import AnyTask
from tao_like.errors import BundleError, ConversionError, SpecError
from tao_like.runtime.pipeline_file import read_pipeline
from tao_like.runtime.processor import processors_of
from tao_like.stages.export import export_model, exported_file
from tao_like.stages.lib.cost import Cost, network_cost
from tao_like.stages.lib.engines import (
    BUNDLE_SUFFIX,
    Engine,
    LoadedModel,
    OnnxEngine,
    default_format,
    graph_inputs,
    open_bundle,
    open_model,
)
from tao_like.stages.lib.folders import is_model, require_file, stage_folder, trained_bundle
from tao_like.stages.lib.graphs.cost import graph_cost
from tao_like.stages.lib.graphs.folding import QUANTIZED_TYPES
from tao_like.stages.lib.graphs.merging import read_graph
from tao_like.stages.quantize.stage import quantized_file
from tao_like.tracking import Run

KEY = "compare.checkpoints"


@dataclass
class Candidate:
    """One model of the comparison.

    Attributes:
        name: short, and no other's.
        path: its file.
        form: what it is: ``bundle``, ``ONNX fp32`` or ``ONNX int8``.
        runs_in: what runs it here.
        task: at work on its classes and its data.
        engine: scores and is timed.
        cost: its parameters and MACs; None where they cannot be counted.
        processors: for which its int8 layers are right; None where it has none or does not say.
    """

    name: str
    path: Path
    form: str
    runs_in: str
    task: AnyTask
    engine: Engine
    cost: Cost | None
    processors: str | None = None


def find_paths(spec: CommonSpec) -> list[Path]:
    """The files to compare: those given, else what the stages left.

    Raises:
        SpecError: one is not there, or is given twice, or there is nothing at all.
    """
    given = [Path(path) for path in spec.compare.checkpoints]
    for number, path in enumerate(given):
        require_file(KEY, path)
        if path.resolve() in [other.resolve() for other in given[:number]]:
            raise SpecError(f"{KEY}: {path} is given twice")
    if given:
        return given
    positions = [
        trained_bundle(spec),
        stage_folder(spec, "prune") / trained_bundle(spec).name,
        exported_file(spec),
        quantized_file(spec),
    ]
    found = [path for path in positions if is_model(path)]
    if not found:
        raise SpecError(
            f"{KEY} is not given, and train, prune, export and quantize have left nothing: there is no "
            f"{' nor '.join(map(str, positions))}; train first, or name bundles and ONNX files"
        )
    return found


def short_names(paths: list[Path]) -> list[str]:
    """File names, with as many folders before them as tell them apart."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names) and (depth > 1 or len(names) == 1):
            return names
    return [str(path) for path in paths]


def open_candidates(
    task_type: type[AnyTask], spec: CommonSpec, paths: list[Path], threads: int, run: Run, folder: Path
) -> list[Candidate]:
    """Opens all models; a bundle is exported into ``folder``, so that one engine runs them all.

    Raises:
        BundleError: a file is no model, or of another task, or of other classes than the first.
    """
    candidates: list[Candidate] = []
    for path, name in zip(paths, short_names(paths), strict=True):
        if path.suffix == BUNDLE_SUFFIX:
            candidate = _open_bundle(task_type, spec, path, name, threads, run, folder)
        else:
            candidate = _open_onnx(task_type, spec, path, name, threads, run)
        candidates.append(candidate)
        reference = candidates[0]
        if sorted(candidate.task.data.labels.names) != sorted(reference.task.data.labels.names):
            raise BundleError(
                f"{KEY}: {path} knows the classes {_listed(candidate)}, and {reference.path} knows "
                f"{_listed(reference)}; only models of the same classes can be compared"
            )
    return candidates


def _listed(candidate: Candidate) -> str:
    classes = candidate.task.data.labels.names
    return ", ".join(classes[:6]) + (f", ... ({len(classes)})" if len(classes) > 6 else "")


def _open_onnx(
    task_type: type[AnyTask], spec: CommonSpec, path: Path, name: str, threads: int, run: Run
) -> Candidate:
    opened = open_model(task_type, spec, path, torch.device("cpu"))
    for note in opened.notes:
        run.info(note)
    graphs = _graphs(path, opened.task)
    quantized = any(node.op_type in QUANTIZED_TYPES for one in graphs for node in one.graph.node)
    model = runtime.load(path, threads=threads)
    engine = OnnxEngine(model)
    cost = _counted(graphs, opened.task, engine, name, run)
    form = "ONNX int8" if quantized else "ONNX fp32"
    processors = processors_of(model.metadata.extra) if quantized else None
    return Candidate(name, path, form, "onnxruntime", opened.task, engine, cost, processors)


def _open_bundle(
    task_type: type[AnyTask],
    spec: CommonSpec,
    path: Path,
    name: str,
    threads: int,
    run: Run,
    folder: Path,
) -> Candidate:
    opened = open_bundle(task_type, spec, path, torch.device("cpu"), spec.export.input_format)
    exported = folder / f"{len(list(folder.iterdir()))}.onnx"
    try:
        exported = Path(export_model(opened, spec.export, exported, run)["onnx_file"])
    except ConversionError as error:
        run.warning(f"{path} is scored and timed in torch, since it cannot be exported: {error}")
        return Candidate(name, path, "bundle", "torch", opened.task, opened.engine, _torch_cost(opened))
    engine = OnnxEngine(runtime.load(exported, threads=threads))
    cost = _counted(_graphs(exported, opened.task), opened.task, engine, name, run)
    return Candidate(name, path, "bundle", "onnxruntime", opened.task, engine, cost)


def _graphs(path: Path, task: AnyTask) -> list[onnx.ModelProto]:
    """The graphs of a model: joined to one, but for one that runs each of them many times."""
    if task.capability(Generates) is None:
        return [read_graph(path)]
    return [onnx.load(one) for one in read_pipeline(path).graphs.values()]


def _counted(
    graphs: list[onnx.ModelProto], task: AnyTask, engine: OnnxEngine, name: str, run: Run
) -> Cost | None:
    if task.capability(Generates) is not None:
        return None  # how often each graph runs is the generator's affair
    (graph,) = graphs
    preprocessed = preprocess(task.inputs, [dummy_sample(task.inputs)])
    # Of several inputs the first: the others are open in their batch alone.
    example = next(iter(engine.feed(preprocessed).values()))
    try:
        return graph_cost(graph, example.shape)
    except ConversionError as error:
        run.warning(f"{name}: {error}")
        return None


def _torch_cost(opened: LoadedModel) -> Cost:
    task = opened.task
    preprocessed = preprocess(task.inputs, [dummy_sample(task.inputs)])
    graphs = task.exports(opened.network, default_format(task))
    inputs = graph_inputs(graphs, preprocessed)
    costs = [network_cost(graph.module, inputs[name]) for name, graph in graphs.items()]
    return Cost(sum(cost.parameters for cost in costs), sum(cost.macs for cost in costs))
