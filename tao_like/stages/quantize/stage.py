"""The quantize stage: an ONNX file that computes in int8, and what that costs and gains."""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from tao_like import __version__, runtime
from tao_like.config.blocks.common import CommonSpec
from tao_like.config.blocks.quantize import QuantizeSpec
from tao_like.contract.capabilities import AsksFirst, Describes, Generates, KeepsFloat
from tao_like.contract.inputs import dummy_sample, preprocess
from tao_like.contract.sample import Preprocessed
from tao_like.contract.task import AnyTask
from tao_like.errors import ConversionError, SpecError
from tao_like.runtime.metadata import METADATA_KEY, ModelMetadata
from tao_like.stages.lib.cost import Cost
from tao_like.stages.lib.engines import OnnxEngine
from tao_like.stages.lib.folders import model_at, stage_folder
from tao_like.stages.lib.graphs.cost import graph_cost
from tao_like.stages.lib.graphs.folding import fixed_batch, folded, load_float_graph
from tao_like.stages.lib.latency import Latency, measure_in_turns
from tao_like.stages.lib.loading import resolve_workers
from tao_like.stages.lib.processor import this_processor
from tao_like.stages.lib.scoring import last_phase, score, scoring_batch_size
from tao_like.stages.quantize.bias import Array, channel_means, correct_biases
from tao_like.stages.quantize.calibration import Feed, calibrate
from tao_like.stages.quantize.calibration_data import CalibrationData
from tao_like.stages.quantize.convert import to_int8, watched_tensors
from tao_like.stages.quantize.generators import quantize_generator
from tao_like.stages.quantize.plan import Plan, dynamic_layers, make_plan, named_layers, quantizable_layers
from tao_like.stages.quantize.report import report_both_forms, summary
from tao_like.stages.quantize.search import Search, find_float_layers, relative_error
from tao_like.stages.quantize.source import KEY, Source, open_source
from tao_like.stages.quantize.target import choose_target
from tao_like.stages.results import QuantizeResult, counted
from tao_like.tracking import Run, atomic_path

MODEL_NAME = "model_int8.onnx"
LATENCY_ROUNDS = 30
LATENCY_SECONDS = 20.0


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> QuantizeResult:
    """Quantizes an exported network; the file gets its name only once its metric holds."""
    if issubclass(task_type, Generates):
        return quantize_generator(task_type, spec, run, _named(spec))
    with tempfile.TemporaryDirectory() as name:
        source = open_source(task_type, spec, run, Path(name))
        return _Quantization(spec, run, source, Path(name)).run()


def quantized_file(spec: CommonSpec) -> Path:
    """What quantize writes: a file, or for a model that generates a folder of the same name."""
    return model_at(_named(spec))


def _named(spec: CommonSpec) -> Path:
    given = spec.quantize.onnx_file
    return Path(given) if given else stage_folder(spec, "quantize") / MODEL_NAME


class _Quantization:
    """One run of the stage: the fp32 graph, the ranges of its values, and trials of what to quantize."""

    def __init__(self, spec: CommonSpec, run: Run, source: Source, folder: Path) -> None:
        self.spec: QuantizeSpec = spec.quantize
        self.final = quantized_file(spec)
        self.log = run
        self.source = source
        self.folder = folder
        self.task = source.task
        self.engine = OnnxEngine(source.model)
        self.processor = this_processor()
        self.target = choose_target(self.spec, self.processor)
        self.graph = folded(load_float_graph(source.onnx_file, KEY))
        if not quantizable_layers(self.graph):
            raise ConversionError(
                f"{KEY}: {source.origin} has no convolution or linear layer with fixed weights; there is "
                "nothing to quantize"
            )
        self.all_layers = quantizable_layers(self.graph)
        keeps = self.task.capability(KeepsFloat)
        self.skipped = keeps.float_nodes(self.graph.graph, self.all_layers) if keeps else {}
        self.skipped |= {
            name: f"quantize.skip_names: {pattern}"
            for name, pattern in named_layers(self.graph, self.spec.skip_names).items()
        }
        self.dynamic = dynamic_layers(self.graph, self.spec.dynamic_names)
        self.layers = [name for name in self.all_layers if name not in self.skipped]
        if not self.layers:
            raise SpecError("quantize.skip_names leaves every layer in float; there is nothing to quantize")
        self.data = CalibrationData(self.task, self.engine, fixed_batch(self.graph), self.spec.num_samples)
        self.ranges: dict[str, tuple[float, float]] = {}
        self.means: dict[str, Array] = {}

    def run(self) -> QuantizeResult:
        """Calibrates, searches, writes and measures."""
        self.log.info(f"Processor: {self.processor.text()}. {self.target.text()}")
        # The file as it is: what fails later is a graph of ours.
        self.engine.run(next(self.data.batches()))
        self.ranges = self._calibrate()
        self.means = channel_means(self.graph, self.layers, self.data.feeds)
        scores: dict[tuple[str, ...], dict[str, float]] = {}
        float_metrics = self._metrics(self.source.model, "fp32") if self.task.data.has("val") else {}
        search = Search([], 0.0)
        if float_metrics:
            search = self._search(float_metrics, scores)
        else:
            self.log.warning("there is no validation data, so quantize.max_drop is not held")
        plan = self._plan(search.kept, _search_reasons(search))
        self._write(plan)
        metrics = scores.get(tuple(search.kept), {})
        report = self._report(plan, search, float_metrics, metrics)
        return QuantizeResult(
            "quantize",
            self.log.folder,
            report,
            summary(self.final, report, self._kept(plan), last_phase(self.task).goal.metric),
            self.final,
            metrics,
            float_metrics,
            {name: plan.floats[name] for name in self._kept(plan)},
        )

    def _calibrate(self) -> dict[str, tuple[float, float]]:
        plan = self._plan([], {})
        passes = 1 if self.spec.algorithm == "minmax" else 2
        with self.log.progress("calibrating on training data", passes * len(self.data)) as bar:

            def counted_feeds() -> Iterator[Feed]:
                for feed in self.data.feeds():
                    yield feed
                    bar.advance(self.data.batch)

            return calibrate(
                self.graph,
                watched_tensors(self.graph, plan),
                counted_feeds,
                self.spec.algorithm,
                self.spec.percentile,
            )

    # --- trials ---

    def _plan(self, kept: Sequence[str], reasons: dict[str, str]) -> Plan:
        return make_plan(
            self.graph,
            {*kept, *self.skipped},
            {**dict.fromkeys(kept, ""), **reasons, **self.skipped},
            self.dynamic,
        )

    def _trial(self, kept: Sequence[str]) -> runtime.Model:
        """The network with these layers in float and the others in int8, open."""
        path = self.folder / "trial.onnx"
        onnx.save(self._int8_graph(self._plan(kept, {})), path)
        return _open(path)

    def _int8_graph(self, plan: Plan) -> onnx.ModelProto:
        """The graph of a plan, which says of itself for which processors it is."""
        graph = to_int8(self.graph, plan, self.ranges, reduce_range=self.target.reduce_range)
        graph = correct_biases(graph, self.graph, self.means)
        _set_metadata(graph, self._metadata(plan))
        return graph

    def _metrics(self, model: runtime.Model, name: str) -> dict[str, float]:
        """The task's metrics on the validation data."""
        dataset = self.task.data.dataset("val")
        with self.log.progress(f"scoring {name}", len(dataset)) as bar:
            return (
                score(
                    self.task,
                    OnnxEngine(model),
                    dataset,
                    scoring_batch_size(self.task, self.spec.batch_size),
                    resolve_workers(self.task.data, "cpu"),
                    bar.advance,
                )
                .compute()
                .values
            )

    def _search(
        self,
        float_metrics: dict[str, float],
        scores: dict[tuple[str, ...], dict[str, float]],
    ) -> Search:
        goal = last_phase(self.task).goal
        metric = goal.metric

        def drop_with(kept: Sequence[str]) -> float:
            words = f"int8 with {counted(len(kept), 'layer')} in float" if kept else "int8"
            metrics = scores[tuple(kept)] = self._metrics(self._trial(kept), words)
            drop = -goal.gain(float_metrics[metric], metrics[metric])
            self.log.status(f"{words}: {metric} {metrics[metric]:.4f}", kpi=metrics)
            if kept or drop > self.spec.max_drop:
                self.log.info(f"{words}: {metric} {metrics[metric]:.4f}, {drop:+.4f} lost")
            return drop

        return find_float_layers(self.layers, drop_with, self._costs, self.spec.max_drop)

    def _costs(self) -> dict[str, float]:
        """For each layer the relative squared error of the outputs when it alone computes in int8."""
        preprocessed = self.data.singles(self.spec.search_samples)
        wanted = [self.engine.run(one) for one in preprocessed]
        costs: dict[str, float] = {}
        with self.log.progress("measuring what each layer costs", len(self.layers)) as bar:
            for name in self.layers:
                model = self._trial([other for other in self.layers if other != name])
                given = [OnnxEngine(model).run(one) for one in preprocessed]
                costs[name] = relative_error(wanted, given)
                bar.advance()
        return costs

    # --- results ---

    def _write(self, plan: Plan) -> None:
        """Writes the file; it gets its name only once the runtime can open it."""
        graph = self._int8_graph(plan)
        self._ask_anew(graph)
        onnx.checker.check_model(graph, full_check=True)
        with atomic_path(self.final) as temporary:
            onnx.save(graph, temporary)
            _open(temporary)

    def _ask_anew(self, graph: onnx.ModelProto) -> None:
        """Replaces what the file holds of the fp32 network's own outputs by those of the int8 one."""
        asks, describes = self.task.capability(AsksFirst), self.task.capability(Describes)
        if asks is None or describes is None:
            return
        path = self.folder / "asked.onnx"
        onnx.save(graph, path)
        model = _open(path)
        asks.ask(OnnxEngine(model).run, "export")
        extra = {**model.metadata.extra, **describes.metadata_extra()}
        _set_metadata(graph, dataclasses.replace(model.metadata, extra=extra))

    def _metadata(self, plan: Plan) -> ModelMetadata:
        metadata = self.source.model.metadata
        quantization = {
            **self.target.to_dict(),
            "values": "uint8",
            "algorithm": self.spec.algorithm,
            "int8_layers": len(plan.layers),
            "float_layers": sorted(self._kept(plan)),
        }
        extra = {**metadata.extra, "quantization": quantization}
        return dataclasses.replace(metadata, extra=extra, tool_version=__version__)

    def _report(
        self,
        plan: Plan,
        search: Search,
        float_metrics: dict[str, float],
        metrics: dict[str, float],
    ) -> dict[str, Any]:
        model = _open(self.final)
        types = {node.name: node.op_type for node in self.graph.graph.node}
        calibration = {"split": "train", "samples": len(self.data), "algorithm": self.spec.algorithm}
        own: dict[str, Any] = {
            "calibration": calibration,
            "reduce_range": self.target.reduce_range,
            "int8_operators": dict(Counter(types[name] for name in (*plan.layers, *plan.carriers))),
            "float_operators": dict(Counter(types[name] for name in plan.floats)),
            "int8_layers": plan.layers,
            "dynamic_layers": sorted(plan.dynamic),
            "float_reasons": plan.floats,
            "largest_difference": self._difference(model),
            "cost": dataclasses.asdict(self._cost()),
        }
        return report_both_forms(
            self.log,
            self.source.origin,
            {"fp32": self.source.onnx_file, "int8": self.final},
            {"fp32": float_metrics, "int8": metrics},
            self._latencies(model),
            search,
            self.spec.max_drop,
            self.processor,
            self.target,
            own,
        )

    def _kept(self, plan: Plan) -> list[str]:
        """Names of the layers left in float; operators without weights do not count."""
        return [name for name in plan.floats if name in self.all_layers]

    def _cost(self) -> Cost:
        # Of several inputs the first: the others are open in their batch alone.
        example = next(iter(self.engine.feed(self._dummy()).values()))
        return graph_cost(self.graph, example.shape)

    def _latencies(self, model: runtime.Model) -> dict[str, Latency]:
        inputs = self._dummy()
        engines = {"fp32": self.engine, "int8": OnnxEngine(model)}
        return measure_in_turns(
            {name: partial(engine.run, inputs) for name, engine in engines.items()},
            rounds=LATENCY_ROUNDS,
            seconds=LATENCY_SECONDS,
        )

    def _dummy(self) -> Preprocessed:
        return preprocess(self.task.inputs, [dummy_sample(self.task.inputs)])

    def _difference(self, model: runtime.Model) -> float:
        """How far the outputs are from those of fp32, on a training sample."""
        (preprocessed,) = self.data.singles(1)
        return self.task.predictions.difference(
            self.engine.run(preprocessed), OnnxEngine(model).run(preprocessed)
        )


def _search_reasons(search: Search) -> dict[str, str]:
    return {
        name: f"alone it changes the outputs by {search.costs[name]:.2g} of their square sum"
        for name in search.kept
    }


def _set_metadata(graph: onnx.ModelProto, metadata: ModelMetadata) -> None:
    for entry in list(graph.metadata_props):
        if entry.key == METADATA_KEY:
            graph.metadata_props.remove(entry)
    graph.metadata_props.add(key=METADATA_KEY, value=metadata.to_json())


def _open(path: Path) -> runtime.Model:
    """Opens an int8 file; that it is computed in a slower form here is said once, by the stage.

    Where it has no such form, so that the metrics may be wrong, the runtime's warning stays.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*in a slower form that does not", RuntimeWarning)
        return runtime.load(path)
