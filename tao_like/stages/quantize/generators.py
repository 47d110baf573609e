"""Int8 for models that run their graphs many times: the weights of linear layers, with no calibration.

What stands between the layers changes from step to step (noise becomes an image), so its ranges are taken as
they come (dynamic quantization, by onnxruntime), graph by graph. Convolutions stay in float: onnxruntime has
no fast form of them with ranges that are not known before.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from tao_like import __version__, runtime
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.inputs import dummy_sample, preprocess
from tao_like.contract.sample import Outputs
from tao_like.contract.task import AnyTask
from tao_like.errors import BundleError, ConversionError
from tao_like.runtime.pipeline_file import PIPELINE_FILE, read_pipeline, write_pipeline
from tao_like.stages.export import export_model
from tao_like.stages.lib.engines import OnnxEngine, default_format, open_bundle, open_model
from tao_like.stages.lib.latency import measure_in_turns
from tao_like.stages.lib.processor import this_processor
from tao_like.stages.lib.scoring import last_phase, score, scoring_batch_size
from tao_like.stages.quantize.report import report_both_forms
from tao_like.stages.quantize.search import Search, find_float_layers, relative_error
from tao_like.stages.quantize.source import KEY, find_source
from tao_like.stages.quantize.target import choose_target
from tao_like.stages.results import QuantizeResult
from tao_like.tracking import Run
from tao_like.tracking.files import atomic_folder

LINEAR = ("MatMul", "Gemm")
INT8_LINEAR = ("MatMulInteger", "DynamicQuantizeMatMul")
ROUNDS, SECONDS = 10, 20.0
_SAMPLES = 4
"""Noise that a graph's cost is measured on."""


def quantize_generator(task_type: type[AnyTask], spec: CommonSpec, run: Run, named: Path) -> QuantizeResult:
    """Quantizes a model that generates; its folder gets its name only once its metric holds.

    Args:
        task_type: of the model.
        spec: names the model, `max_drop` and the processors.
        run: for the report.
        named: the file that a model of one graph would be; the folder is this without its suffix.
    """
    with tempfile.TemporaryDirectory() as name:
        return _Generators(task_type, spec, run, named.with_suffix(""), Path(name)).run()


class _Generators:
    """One run: the float graphs, their int8 forms, and trials of which to take."""

    def __init__(
        self, task_type: type[AnyTask], spec: CommonSpec, run: Run, final: Path, temporary: Path
    ) -> None:
        self.spec = spec
        self.log = run
        self.final = final
        self.folder = temporary
        self.origin = find_source(spec, run)
        self.source = self._exported(task_type)
        opened = open_model(task_type, spec, self.source, torch.device("cpu"))
        self.task = opened.task
        self.description = read_pipeline(self.source)
        self.processor = this_processor()
        self.target = choose_target(spec.quantize, self.processor)
        self.graphs = self._int8_graphs()
        self.scores: dict[tuple[str, ...], dict[str, float]] = {}

    def _exported(self, task_type: type[AnyTask]) -> Path:
        """The folder of float graphs: the one that is named, or of a bundle a new one."""
        if self.origin.is_dir():
            return self.origin
        opened = open_bundle(task_type, self.spec, self.origin, torch.device("cpu"))
        settings = dataclasses.replace(self.spec.export, input_format=default_format(opened.task))
        report = export_model(opened, settings, self.folder / "fp32.onnx", self.log)
        return Path(report["onnx_file"])

    def _int8_graphs(self) -> dict[str, Path]:
        """Each graph that has linear layers, in int8. Raises BundleError, ConversionError."""
        found = {}
        for name, path in self.description.graphs.items():
            types = [node.op_type for node in onnx.load(path).graph.node]
            if set(types).intersection(INT8_LINEAR):
                raise BundleError(f"{KEY}: {path} is quantized already; give the bundle or the fp32 folder")
            if not set(types).intersection(LINEAR):
                continue
            target = self.folder / f"{name}_int8.onnx"
            quantize_dynamic(
                path,
                target,
                op_types_to_quantize=["MatMul"],  # a Gemm becomes one
                per_channel=True,
                reduce_range=self.target.reduce_range,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=self._skipped(path),
            )
            if set(_types(target)).intersection(INT8_LINEAR):
                found[name] = target
        if not found:
            raise ConversionError(f"{KEY}: {self.origin} has no linear layer that has an int8 form")
        return found

    def _skipped(self, path: Path) -> list[str]:
        return [
            node.name
            for node in onnx.load(path, load_external_data=False).graph.node
            if any(part in f"{path.stem}/{node.name}" for part in self.spec.quantize.skip_names)
        ]

    def run(self) -> QuantizeResult:
        """Scores, searches, writes and measures."""
        self.log.info(self.target.text())
        has_val = self.task.data.has("val")
        before = self._metrics(self.source, "fp32") if has_val else {}
        search = Search([], 0.0)
        if has_val:
            search = find_float_layers(
                list(self.graphs),
                lambda kept: self._drop(kept, before),
                self._costs,
                self.spec.quantize.max_drop,
            )
        else:
            self.log.warning("there is no validation data, so quantize.max_drop is not held")
        with atomic_folder(self.final, PIPELINE_FILE) as folder:
            self._write(folder, search.kept)
            runtime.load(folder)
        after = self.scores.get(tuple(search.kept), {})
        report = self._report(search, before, after)
        return QuantizeResult(
            "quantize",
            self.log.folder,
            report,
            self._summary(report),
            self.final,
            after,
            before,
            dict.fromkeys(search.kept, "quantize.max_drop"),
        )

    # --- trials ---

    def _write(self, folder: Path, kept: Sequence[str]) -> None:
        """A folder like the source's, with all graphs in int8 but those that are kept."""
        files = {}
        for name, path in self.description.graphs.items():
            chosen = path if name in kept else self.graphs.get(name, path)
            files[name] = f"{name}.onnx"
            shutil.copyfile(chosen, folder / files[name])
        for path in self.description.files.values():
            shutil.copyfile(path, folder / path.name)
        metadata = self.description.metadata
        quantization = {
            **self.target.to_dict(),
            "values": "uint8, ranges as they come",
            "float_layers": sorted(kept),
        }
        extra = {**metadata.extra, "quantization": quantization}
        write_pipeline(
            folder,
            metadata=dataclasses.replace(metadata, extra=extra, tool_version=__version__),
            graphs=files,
            order=self.description.order,
            constants=self.description.constants,
            files={name: path.name for name, path in self.description.files.items()},
        )

    def _trial(self, kept: Sequence[str]) -> Path:
        folder = self.folder / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self._write(folder, kept)
        return folder

    def _drop(self, kept: Sequence[str], before: dict[str, float]) -> float:
        goal = last_phase(self.task).goal
        words = f"int8 with {', '.join(kept)} in float" if kept else "int8"
        found = self.scores[tuple(kept)] = self._metrics(self._trial(kept), words)
        drop = -goal.gain(before[goal.metric], found[goal.metric])
        self.log.info(f"{words}: {goal.metric} {found[goal.metric]:.4f}, {drop:+.4f} lost")
        return drop

    def _metrics(self, folder: Path, name: str) -> dict[str, float]:
        dataset = self.task.data.dataset("val")
        size = scoring_batch_size(self.task, self.spec.quantize.batch_size)
        with self.log.progress(f"scoring {name}", len(dataset)) as bar:
            engine = OnnxEngine(runtime.load(folder))
            return score(self.task, engine, dataset, size, 0, bar.advance).compute().values

    def _costs(self) -> dict[str, float]:
        """For each graph the relative squared error of the images when it alone computes in int8."""
        wanted = self._outputs(self.source)
        costs = {}
        for name in self.graphs:
            given = self._outputs(self._trial([other for other in self.graphs if other != name]))
            costs[name] = relative_error([wanted], [given])
        return costs

    def _outputs(self, folder: Path, count: int = _SAMPLES) -> Outputs:
        inputs = self.task.inputs
        samples = [dummy_sample(inputs, seed) for seed in range(count)]
        return OnnxEngine(runtime.load(folder)).run(preprocess(inputs, samples))

    # --- results ---

    def _report(self, search: Search, before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
        inputs = preprocess(self.task.inputs, [dummy_sample(self.task.inputs)])
        engines = {
            "fp32": OnnxEngine(runtime.load(self.source)),
            "int8": OnnxEngine(runtime.load(self.final)),
        }
        latencies = measure_in_turns(
            {name: partial(engine.run, inputs) for name, engine in engines.items()},
            rounds=ROUNDS,
            seconds=SECONDS,
        )
        wanted, given = (self._outputs(one) for one in (self.source, self.final))
        own: dict[str, Any] = {
            "int8_layers": sorted(set(self.graphs).difference(search.kept)),
            "layers_in_int8": {
                name: sum(one in INT8_LINEAR for one in _types(self.final / f"{name}.onnx"))
                for name in self.description.graphs
            },
            "largest_difference": self.task.predictions.difference(wanted, given),
        }
        return report_both_forms(
            self.log,
            self.origin,
            {"fp32": self.source, "int8": self.final},
            {"fp32": before, "int8": after},
            latencies,
            search,
            self.spec.quantize.max_drop,
            self.processor,
            self.target,
            own,
        )

    def _summary(self, report: dict[str, Any]) -> list[str]:
        metric = last_phase(self.task).goal.metric
        layers = ", ".join(f"{name} {count}" for name, count in report["layers_in_int8"].items())
        lines = [
            f"{self.final} ({report['bytes'] / 1e6:.1f} MB, fp32 {report['bytes_fp32'] / 1e6:.1f} MB)",
            f"Linear layers in int8: {layers}",
        ]
        if report["metrics"]:
            values = report["metrics"][metric], report["metrics_fp32"][metric]
            lines.append(f"{metric} on val: {values[0]:.4f}, fp32 {values[1]:.4f}")
        lines.append(f"{report['speed']:.2f} times as fast as fp32, one sample at a time")
        return [*lines, *report["drawbacks"]]


def _types(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]
