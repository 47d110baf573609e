"""The export stage: a bundle as an ONNX file that describes itself, proven against torch."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch

from tao_like import __version__, runtime
from tao_like.bundle import file_sha256
from tao_like.config.blocks.common import CommonSpec, ExportSpec
from tao_like.contract.capabilities import AsksFirst, Describes, Generates
from tao_like.contract.inputs import dummy_sample, preprocess
from tao_like.contract.model import Exportable
from tao_like.contract.sample import Sample
from tao_like.contract.task import AnyTask
from tao_like.errors import ConversionError, SpecError, TaoLikeError
from tao_like.runtime.metadata import METADATA_KEY, InputMetadata, ModelMetadata
from tao_like.runtime.pipeline_file import PIPELINE_FILE, write_pipeline
from tao_like.stages.lib.engines import (
    BUNDLE_SUFFIX,
    LoadedModel,
    OnnxEngine,
    TorchEngine,
    find_checkpoint,
    graph_inputs,
    open_bundle,
)
from tao_like.stages.lib.folders import model_at, model_bytes, stage_folder
from tao_like.stages.lib.graphs.merging import read_graph
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.stages.results import ExportResult
from tao_like.tracking import Run, atomic_path
from tao_like.tracking.files import atomic_folder

CHECKED_BATCHES = (1, 3)
MODEL_NAME = "model.onnx"


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> ExportResult:
    """Exports a bundle; the file gets its name only after its outputs have been compared with torch's."""
    settings = spec.export
    path = find_checkpoint(spec, settings.checkpoint, "export.checkpoint")
    if path.suffix != BUNDLE_SUFFIX:
        raise SpecError(f"export.checkpoint: {path} is not a bundle ({BUNDLE_SUFFIX})")
    model = open_bundle(task_type, spec, path, torch.device("cpu"), settings.input_format)
    report = export_model(model, settings, _wanted_file(spec), run)
    final = Path(report["onnx_file"])
    worst = report["largest_difference"]
    tested = " and ".join(map(str, report["difference_by_batch"]))
    generates = model.task.capability(Generates)
    call = "generate('PROMPT', seed=0)" if generates else "predict('FILE')"
    summary = [
        f"{final} ({report['bytes'] / 1e6:.1f} MB), largest difference to torch {worst:.1e} on "
        f"{report['checked_on']} at batch {tested}",
        f"Use it: from tao_like.runtime import load; load('{final}').{call}",
    ]
    return ExportResult("export", run.folder, report, summary, final, worst)


def _wanted_file(spec: CommonSpec) -> Path:
    """Where export writes a model of one graph."""
    given = spec.export.onnx_file
    return Path(given) if given else stage_folder(spec, "export") / MODEL_NAME


def exported_file(spec: CommonSpec) -> Path:
    """What export has left: a file, or for a model of several graphs a folder of the same name."""
    return model_at(_wanted_file(spec))


def export_model(model: LoadedModel, settings: ExportSpec, final: Path, run: Run) -> dict[str, Any]:
    """Writes an opened bundle as an ONNX file, compares its outputs with torch's, and reports.

    A model of several graphs becomes a folder, ``final`` without its suffix, unless one file is asked for.

    Args:
        model: opened with ``settings.input_format``.
        settings: opset, form of the input and tolerance; its paths are not looked at.
        final: written only once the outputs agree.
        run: for warnings.

    Raises:
        ConversionError: the outputs differ by more than ``export.tolerance``, or torch cannot export it.
    """
    assert model.network is not None
    graphs = model.task.exports(model.network, settings.input_format)
    samples, kind = _samples(model.task, run)
    as_folder = len(graphs) > 1 and not settings.one_file
    if settings.one_file and model.task.capability(Generates) is not None:
        raise SpecError(
            "export.one_file: the graphs of this model are called many times in turn, so they cannot be one; "
            "leave the key out"
        )
    if as_folder:
        final = final.with_suffix("")
    with atomic_folder(final, PIPELINE_FILE) if as_folder else atomic_path(final) as temporary:
        written = _graphs(model.task, graphs, samples, settings)
        asks = model.task.capability(AsksFirst)
        if asks is not None:
            asks.ask(model.engine.run, "export")
        assert isinstance(model.engine, TorchEngine)
        metadata = _metadata(model, model.engine.final, settings, file_sha256(model.path))
        protos = {name: proto for name, (proto, _) in written.items()}
        if as_folder or len(protos) == 1:
            _save(temporary, protos, metadata)
        else:
            with TemporaryDirectory() as apart:
                _save(Path(apart), protos, metadata)
                onnx.save(read_graph(Path(apart)), temporary)
        differences = _differences(model, temporary, samples, settings)
        worst = max(differences.values())
        # Not `worst > tolerance`: a difference that is not a number must fail too.
        if not worst <= settings.tolerance:
            raise ConversionError(
                f"the ONNX file's outputs differ from torch's by {worst:.2g}, more than export.tolerance="
                f"{settings.tolerance:g}; no file was written. Another export.opset_version may help"
            )
    return {
        "checkpoint": str(model.path),
        "onnx_file": str(final),
        "bytes": model_bytes(final),
        "opset_version": max(proto.opset_import[0].version for proto, _ in written.values()),
        "exporter": ", ".join(dict.fromkeys(exporter for _, exporter in written.values())),
        "input_format": settings.input_format,
        "checked_on": kind,
        "largest_difference": worst,
        "difference_by_batch": differences,
        "tolerance": settings.tolerance,
    }


def _save(path: Path, protos: dict[str, onnx.ModelProto], metadata: ModelMetadata) -> None:
    """One graph as the file ``path``, which describes itself; several as files of the folder ``path``."""
    for proto in protos.values():
        if len(protos) == 1:
            proto.metadata_props.add(key=METADATA_KEY, value=metadata.to_json())
        onnx.checker.check_model(proto, full_check=True)
    if len(protos) == 1:
        onnx.save(next(iter(protos.values())), path)
        return
    for name, proto in protos.items():
        onnx.save(proto, path / f"{name}.onnx")
    write_pipeline(path, metadata=metadata, graphs={name: f"{name}.onnx" for name in protos})


def _samples(task: AnyTask, run: Run) -> tuple[list[Sample], str]:
    """Real samples for the comparison, enough for the largest batch, and what they are."""
    data = task.data
    for split in ("val", "test", "train"):
        if not data.has(split):
            continue
        try:
            dataset = data.dataset(split)
            count = max(CHECKED_BATCHES)
            return [dataset.sample(i * len(dataset) // count) for i in range(count)], f"{split} samples"
        except TaoLikeError:
            continue  # Export needs no data; another split, or noise, serves the comparison as well.
    run.warning("no data is at hand, so torch and ONNX are compared on noise alone")
    return [dummy_sample(task.inputs, seed) for seed in range(max(CHECKED_BATCHES))], "noise"


def _graphs(
    task: AnyTask, graphs: dict[str, Exportable], samples: list[Sample], settings: ExportSpec
) -> dict[str, tuple[onnx.ModelProto, str]]:
    """Each graph, and the name of the exporter that wrote it."""
    one_by_one = any(graph.one_by_one for graph in graphs.values())
    count = 1 if one_by_one else settings.batch_size if settings.batch_size > 0 else 2
    generates = task.capability(Generates)
    generator = generates.generator() if generates else None
    inputs = graph_inputs(graphs, preprocess(task.inputs, (samples * count)[:count]), generator)
    dynamic = settings.batch_size < 0 or one_by_one
    return {
        name: to_onnx(graph, inputs[name], dynamic=dynamic, opset=settings.opset_version)
        for name, graph in graphs.items()
    }


def _metadata(
    model: LoadedModel, outputs: dict[str, str], settings: ExportSpec, sha256: str
) -> ModelMetadata:
    assert model.bundle is not None
    assert model.network is not None
    task = model.task
    describes = task.capability(Describes)
    # The user chooses the form of the first input; what others there are come in their own.
    formats = [settings.input_format, *(one.format for one in list(task.inputs.values())[1:])]
    inputs = {
        name: InputMetadata(one.kind, one.preprocessing, form, **one.scaling(model.network))
        for (name, one), form in zip(task.inputs.items(), formats, strict=True)
    }
    return ModelMetadata(
        task=task.name,
        inputs=inputs,
        prediction=task.predictions.kind,
        outputs=outputs,
        classes=model.bundle.classes,
        prompts=model.bundle.prompts,
        open_set=model.bundle.open_set,
        thresholds=model.bundle.thresholds,
        bundle_sha256=sha256,
        tool_version=__version__,
        extra=describes.metadata_extra() if describes else {},
    )


def _differences(
    model: LoadedModel, path: Path, samples: list[Sample], settings: ExportSpec
) -> dict[int, float]:
    """Largest difference between torch and the file, by batch size."""
    engine = OnnxEngine(runtime.load(path))
    batches = CHECKED_BATCHES if settings.batch_size < 0 else (settings.batch_size,)
    differences = {}
    for count in batches:
        preprocessed = preprocess(model.task.inputs, (samples * count)[:count])
        differences[count] = model.task.predictions.difference(
            model.engine.run(preprocessed), engine.run(preprocessed)
        )
    return differences
