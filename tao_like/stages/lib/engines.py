"""Running a trained model, from a bundle in torch or from an ONNX file in onnxruntime: the same answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from tao_like import runtime
from tao_like.bundle import Bundle, file_sha256, read_bundle, read_manifest
from tao_like.config import spec_from_dict
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.task import Dataset, Exportable, Metrics, ModelRecord, Outputs, Task
from tao_like.errors import BundleError, SpecError
from tao_like.networks import structure
from tao_like.stages.lib.folders import require_file, trained_bundle, where_earlier_trainings_are
from tao_like.stages.lib.loading import scoring_loader

BUNDLE_SUFFIX = ".tltb"
ONNX_SUFFIX = ".onnx"


class Engine(Protocol):
    """Prepared samples in, outputs out."""

    def run(self, prepared: Any) -> Outputs:
        """The outputs for a batch of prepared samples."""


class TorchEngine:
    """The exportable network in torch.

    Args:
        exportable: in evaluation mode.
        device: where it runs.
    """

    def __init__(self, exportable: Exportable, device: torch.device) -> None:
        self.exportable = exportable
        self.device = device
        exportable.module.to(device)

    @torch.inference_mode()
    def run(self, prepared: Any) -> Outputs:
        """The outputs for a batch of prepared samples."""
        if self.exportable.one_by_one:
            return runtime.stacked([self._run([sample]) for sample in prepared])
        return self._run(prepared)

    def _run(self, prepared: Any) -> Outputs:
        inputs = [tensor.to(self.device) for tensor in self.exportable.to_inputs(prepared)]
        outputs = self.exportable.module(*inputs)
        named = outputs if isinstance(outputs, tuple) else (outputs,)
        return {name: value.cpu().numpy() for name, value in zip(self.exportable.outputs, named, strict=True)}


class OnnxEngine:
    """An exported file in onnxruntime."""

    def __init__(self, model: runtime.Model) -> None:
        self.model = model

    def run(self, prepared: Any) -> Outputs:
        """The outputs for a batch of prepared samples."""
        return self.model.run_prepared(prepared)


@dataclass
class LoadedModel:
    """A trained model, ready to run.

    Attributes:
        task: at work on the model's classes and preparation.
        engine: runs it.
        path: its file.
        bundle: None for an ONNX file.
        network: None for an ONNX file.
        notes: what to tell the user.
    """

    task: Task[Any]
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
    if path.is_file():
        return path
    raise SpecError(
        f"{key} is not given, and there is no {path}; train first, or name a bundle or an ONNX file"
        f"{where_earlier_trainings_are(spec)}"
    )


def open_model(task_type: type[Task[Any]], spec: CommonSpec, path: Path, device: torch.device) -> LoadedModel:
    """Opens a bundle or an ONNX file for a task.

    Raises:
        BundleError: it is neither, or of another task, or damaged.
    """
    if path.suffix == ONNX_SUFFIX:
        return _open_onnx(task_type, spec, path, device)
    if path.suffix == BUNDLE_SUFFIX:
        return open_bundle(task_type, spec, path, device)
    raise BundleError(f"{path} is neither a bundle ({BUNDLE_SUFFIX}) nor an ONNX file ({ONNX_SUFFIX})")


def open_bundle(
    task_type: type[Task[Any]],
    spec: CommonSpec,
    path: Path,
    device: torch.device,
    input_format: str | None = None,
) -> LoadedModel:
    """Opens a bundle: builds the network from its own spec, and loads the weights strictly."""
    bundle = read_bundle(path, expect_task=task_type.name)
    stored = spec_from_dict(task_type.Spec, bundle.spec, source=f"{path}: bundle.json").spec
    task = task_type(task_type.restored_spec(spec, stored), ModelRecord.of_bundle(bundle))
    network = bundle_network(task, bundle, path).eval()
    engine = TorchEngine(task.exportable(network, input_format or task.input_format), device)
    return LoadedModel(task, engine, path, bundle, network, [])


def bundle_network(task: Task[Any], bundle: Bundle, path: Path) -> nn.Module:
    """The network of a bundle: built from its spec, cut to its structure, filled with its weights.

    Args:
        task: at work on the bundle's spec and record.
        bundle: read from ``path``.
        path: for messages.

    Raises:
        BundleError: structure or weights do not fit the network that the spec describes.
    """
    network, _ = task.network(pretrained=False)
    try:
        if bundle.structure is not None:
            structure.apply(network, bundle.structure)
        network.load_state_dict(bundle.weights)
    except BundleError as error:
        raise BundleError(f"{path} cannot be used: {error}") from error
    except RuntimeError as error:
        raise BundleError(
            f"{path}: its weights do not fit the network that its spec describes: {error}"
        ) from error
    return network


def _open_onnx(task_type: type[Task[Any]], spec: CommonSpec, path: Path, device: torch.device) -> LoadedModel:
    model = runtime.load(path, providers=["cuda", "cpu"] if device.type == "cuda" else None)
    if model.metadata.task != task_type.name:
        raise BundleError(f"{path} is a model of the task {model.metadata.task}, not of {task_type.name}")
    bundle = trained_bundle(spec)
    split, notes = None, []
    if bundle.is_file() and file_sha256(bundle) == model.metadata.bundle_sha256:
        split = read_manifest(bundle)["split"]
    task = task_type(spec, ModelRecord.of_metadata(model.metadata, split))
    if split is None and task.divides_data():
        notes.append(
            f"The bundle of {path.name} is not at {bundle}, so the training data is divided anew; with other "
            "files than at the training, some of the test pictures may have been trained on"
        )
    return LoadedModel(task, OnnxEngine(model), path, None, None, notes)


def score(
    task: Task[Any],
    engine: Engine,
    dataset: Dataset,
    batch_size: int,
    workers: int,
    on_batch: Callable[[int], None] = lambda count: None,
) -> Metrics:
    """Runs a dataset through an engine and collects the answers.

    Args:
        on_batch: called with the number of samples of each batch.
    """
    metrics = task.metrics()
    for batch in scoring_loader(task, dataset, batch_size, workers):
        answers = task.answers(engine.run(task.prepared(batch)))
        metrics.update(batch.indices.tolist(), answers, task.targets(batch))
        on_batch(len(batch))
    return metrics
