"""Running a trained model, from a bundle in torch or from an ONNX file in onnxruntime: the same outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tao_like import runtime
from tao_like.bundle import Bundle, file_sha256, read_bundle, read_manifest
from tao_like.config import spec_from_dict
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.capabilities import Generates
from tao_like.contract.inputs import single
from tao_like.contract.model import Exportable
from tao_like.contract.restored import bundle_network
from tao_like.contract.sample import Outputs, Preprocessed
from tao_like.contract.task import AnyTask
from tao_like.contract.trained import TrainedState
from tao_like.errors import BundleError, SpecError
from tao_like.runtime.generation.base import IMAGE, IMAGE_MEANING, Generator
from tao_like.stages.lib.folders import is_model, require_file, trained_bundle, where_earlier_trainings_are

BUNDLE_SUFFIX = ".tltb"
ONNX_SUFFIX = ".onnx"


def with_generator(engine: Engine, generator: Generator) -> Engine:
    """The same engine with another way of generating."""
    if isinstance(engine, OnnxEngine):
        return OnnxEngine(engine.model, generator)
    assert isinstance(engine, TorchEngine)
    return TorchEngine(engine.graphs, engine.device, generator)


class Engine(Protocol):
    """Preprocessed samples in, outputs out."""

    def run(self, preprocessed: Preprocessed) -> Outputs:
        """The outputs for a batch of preprocessed samples, by name."""


class TorchEngine:
    """The exportable graphs of a network in torch.

    Args:
        graphs: in evaluation mode, in the order in which they run: each may take what those before it give.
        device: where they run.
        generator: makes the outputs by running graphs many times; None: each runs once.
    """

    def __init__(
        self, graphs: Mapping[str, Exportable], device: torch.device, generator: Generator | None = None
    ) -> None:
        self.graphs = dict(graphs)
        self.generator = generator
        self.final = {IMAGE: IMAGE_MEANING} if generator else final_outputs(self.graphs)
        self.device = device
        for graph in self.graphs.values():
            graph.module.to(device)

    @torch.inference_mode()
    def run(self, preprocessed: Preprocessed) -> Outputs:
        """The outputs of all graphs, but for those that only other graphs take, for a preprocessed batch.

        Graphs that take an input which the batch lacks are left out.
        """
        if self.generator is not None:
            return self.generator.run(self.run_graph, preprocessed)
        outputs: Outputs = {}
        for graph in self.graphs.values():
            if graph.takes is None or all(name in preprocessed or name in outputs for name in graph.takes):
                outputs |= self._run(graph, preprocessed | outputs)
        return {name: outputs[name] for name in self.final if name in outputs}

    @torch.inference_mode()
    def run_graph(self, name: str, preprocessed: Preprocessed) -> Outputs:
        """The outputs of one graph alone."""
        return self._run(self.graphs[name], preprocessed)

    def _run(self, graph: Exportable, preprocessed: Preprocessed) -> Outputs:
        if graph.one_by_one:
            return runtime.stacked([self._call(graph, one) for one in _one_by_one(preprocessed)])
        return self._call(graph, preprocessed)

    def _call(self, graph: Exportable, preprocessed: Preprocessed) -> Outputs:
        inputs = [tensor.to(self.device) for tensor in graph.to_inputs(preprocessed)]
        outputs = graph.module(*inputs)
        named = outputs if isinstance(outputs, tuple) else (outputs,)
        return {name: value.cpu().numpy() for name, value in zip(graph.outputs, named, strict=True)}


def final_outputs(graphs: Mapping[str, Exportable]) -> dict[str, str]:
    """Names and meanings of the outputs that no other graph takes: those that predictions are read from."""
    taken = {name for graph in graphs.values() for name in graph.inputs}
    return {
        name: meaning
        for graph in graphs.values()
        for name, meaning in graph.meanings.items()
        if name not in taken
    }


def graph_inputs(
    graphs: Mapping[str, Exportable], preprocessed: Preprocessed, generator: Generator | None = None
) -> dict[str, tuple[Tensor, ...]]:
    """The input tensors of each graph, on the CPU, for a batch of preprocessed samples.

    A graph that a generator runs many times has those of its last run.
    """
    if generator is not None:
        return _generating_inputs(graphs, preprocessed, generator)
    given: dict[str, tuple[Tensor, ...]] = {}
    available = dict(preprocessed)
    for name, graph in graphs.items():
        given[name] = graph.to_inputs(available)
        if len(graphs) > 1:
            available |= TorchEngine({name: graph}, torch.device("cpu")).run(available)
    return given


def _generating_inputs(
    graphs: Mapping[str, Exportable], preprocessed: Preprocessed, generator: Generator
) -> dict[str, tuple[Tensor, ...]]:
    engine = TorchEngine(graphs, torch.device("cpu"), generator)
    given: dict[str, tuple[Tensor, ...]] = {}

    def call(name: str, values: Preprocessed) -> Outputs:
        given[name] = graphs[name].to_inputs(values)
        return engine.run_graph(name, values)

    for one in generator.rehearsals():
        one.run(call, preprocessed)
    return {name: given[name] for name in graphs}


def _one_by_one(preprocessed: Preprocessed) -> list[Preprocessed]:
    """Each sample of a batch as a batch of one."""
    count = len(next(iter(preprocessed.values())))
    return [{name: values[i : i + 1] for name, values in preprocessed.items()} for i in range(count)]


class OnnxEngine:
    """An exported file in onnxruntime."""

    def __init__(self, model: runtime.Model, generator: Generator | None = None) -> None:
        if generator is not None and isinstance(model, runtime.Pipeline):
            model = model.with_generator(generator)
        self.model = model

    def feed(self, preprocessed: Preprocessed) -> dict[str, Any]:
        """What the graph's inputs are given for a batch."""
        return self.model.feed(self._given(preprocessed))

    def run(self, preprocessed: Preprocessed) -> Outputs:
        """The outputs for a batch of preprocessed samples, by name."""
        return self.model.run_preprocessed(self._given(preprocessed))

    def _given(self, preprocessed: Preprocessed) -> Any:
        """As the runtime takes it: of a model with one input without that input's name."""
        return preprocessed if len(self.model.inputs) > 1 else single(preprocessed)


@dataclass
class LoadedModel:
    """A trained model, ready to run.

    Attributes:
        task: at work on the model's classes and preprocessing.
        engine: runs it.
        path: its file.
        bundle: None for an ONNX file.
        network: None for an ONNX file.
        notes: what to tell the user.
    """

    task: AnyTask
    engine: Engine
    path: Path
    bundle: Bundle | None
    network: nn.Module | None
    notes: list[str]


def find_checkpoint(spec: CommonSpec, given: str | None, key: str) -> Path:
    """The file that a stage works on: the one given, else what train left.

    Raises:
        SpecError: there is no such file.
    """
    path = Path(given) if given else trained_bundle(spec)
    if given:
        require_file(key, path)
    if is_model(path):
        return path
    raise SpecError(
        f"{key} is not given, and there is no {path}; train first, or name a bundle or an ONNX file"
        f"{where_earlier_trainings_are(spec)}"
    )


def open_model(task_type: type[AnyTask], spec: CommonSpec, path: Path, device: torch.device) -> LoadedModel:
    """Opens a bundle or an ONNX file for a task.

    Raises:
        BundleError: it is neither, or of another task, or damaged.
    """
    if path.suffix == ONNX_SUFFIX or path.is_dir():
        return _open_onnx(task_type, spec, path, device)
    if path.suffix == BUNDLE_SUFFIX:
        return open_bundle(task_type, spec, path, device)
    raise BundleError(f"{path} is neither a bundle ({BUNDLE_SUFFIX}) nor an ONNX file ({ONNX_SUFFIX})")


def open_bundle(
    task_type: type[AnyTask],
    spec: CommonSpec,
    path: Path,
    device: torch.device,
    input_format: str | None = None,
) -> LoadedModel:
    """Opens a bundle: builds the network from its own spec, and loads the weights strictly."""
    bundle = read_bundle(path, expect_task=task_type.name)
    stored = spec_from_dict(task_type.Spec, bundle.spec, source=f"{path}: bundle.json").spec
    task = task_type(task_type.restored_spec(spec, stored), TrainedState.of_bundle(bundle))
    network = bundle_network(task, bundle, path).eval()
    generates = task.capability(Generates)
    generator = generates.generator() if generates else None
    engine = TorchEngine(task.exports(network, input_format or default_format(task)), device, generator)
    return LoadedModel(task, engine, path, bundle, network, [])


def default_format(task: AnyTask) -> str:
    """The form of input in which a task's bundles are scored: that of its first input."""
    return next(iter(task.inputs.values())).format


def _open_onnx(task_type: type[AnyTask], spec: CommonSpec, path: Path, device: torch.device) -> LoadedModel:
    model = runtime.load(path, providers=["cuda", "cpu"] if device.type == "cuda" else None)
    if model.metadata.task != task_type.name:
        raise BundleError(f"{path} is a model of the task {model.metadata.task}, not of {task_type.name}")
    bundle = trained_bundle(spec)
    split, notes = None, []
    if bundle.is_file() and file_sha256(bundle) == model.metadata.bundle_sha256:
        split = read_manifest(bundle)["split"]
    task = task_type(spec, TrainedState.of_metadata(model.metadata, split))
    if split is None and task.data.divided:
        notes.append(
            f"The bundle of {path.name} is not at {bundle}, so the training data is divided anew; with other "
            "files than at the training, some of the test images may have been trained on"
        )
    generates = task.capability(Generates)
    engine = OnnxEngine(model, generates.generator() if generates else None)
    return LoadedModel(task, engine, path, None, None, notes)
