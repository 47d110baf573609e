"""The export stage: a bundle as an ONNX file that describes itself, proven against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch

from tao_like import __version__, runtime
from tao_like.bundle import file_sha256
from tao_like.config.blocks.common import CommonSpec, ExportSpec
from tao_like.contract.capabilities import Describes
from tao_like.contract.inputs import dummy_sample, preprocess
from tao_like.contract.model import Exportable
from tao_like.contract.sample import Sample
from tao_like.contract.task import AnyTask
from tao_like.errors import ConversionError, SpecError, TaoLikeError
from tao_like.runtime.metadata import METADATA_KEY, ModelMetadata
from tao_like.stages.lib.engines import BUNDLE_SUFFIX, LoadedModel, OnnxEngine, find_checkpoint, open_bundle
from tao_like.stages.lib.folders import stage_folder
from tao_like.stages.lib.onnx_writer import to_onnx
from tao_like.stages.results import ExportResult
from tao_like.tracking import Run, atomic_path

CHECKED_BATCHES = (1, 3)
MODEL_NAME = "model.onnx"


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> ExportResult:
    """Exports a bundle; the file gets its name only after its outputs have been compared with torch's."""
    settings = spec.export
    path = find_checkpoint(spec, settings.checkpoint, "export.checkpoint")
    if path.suffix != BUNDLE_SUFFIX:
        raise SpecError(f"export.checkpoint: {path} is not a bundle ({BUNDLE_SUFFIX})")
    model = open_bundle(task_type, spec, path, torch.device("cpu"), settings.input_format)
    final = exported_file(spec)
    report = export_model(model, settings, final, run)
    worst = report["largest_difference"]
    tested = " and ".join(map(str, report["difference_by_batch"]))
    summary = [
        f"{final} ({report['bytes'] / 1e6:.1f} MB), largest difference to torch {worst:.1e} on "
        f"{report['checked_on']} at batch {tested}",
        f"Use it: from tao_like.runtime import load; load('{final}').predict('FILE')",
    ]
    return ExportResult("export", run.folder, report, summary, final, worst)


def exported_file(spec: CommonSpec) -> Path:
    """Where export writes."""
    return Path(spec.export.onnx_file) if spec.export.onnx_file else stage_folder(spec, "export") / MODEL_NAME


def export_model(model: LoadedModel, settings: ExportSpec, final: Path, run: Run) -> dict[str, Any]:
    """Writes an opened bundle as an ONNX file, compares its outputs with torch's, and reports.

    Args:
        model: opened with ``settings.input_format``.
        settings: opset, form of the input and tolerance; its paths are not looked at.
        final: written only once the outputs agree.
        run: for warnings.

    Raises:
        ConversionError: the outputs differ by more than ``export.tolerance``, or torch cannot export it.
    """
    assert model.network is not None
    (exportable,) = model.task.exports(model.network, settings.input_format).values()
    samples, kind = _samples(model.task, run)
    with atomic_path(final) as temporary:
        proto, exporter = _graph(model.task, exportable, samples, settings)
        metadata = _metadata(model, exportable, settings, file_sha256(model.path))
        proto.metadata_props.add(key=METADATA_KEY, value=metadata.to_json())
        onnx.checker.check_model(proto, full_check=True)
        onnx.save(proto, temporary)
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
        "bytes": final.stat().st_size,
        "opset_version": proto.opset_import[0].version,
        "exporter": exporter,
        "input_format": settings.input_format,
        "checked_on": kind,
        "largest_difference": worst,
        "difference_by_batch": differences,
        "tolerance": settings.tolerance,
    }


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


def _graph(
    task: AnyTask, exportable: Exportable, samples: list[Sample], settings: ExportSpec
) -> tuple[onnx.ModelProto, str]:
    """The graph, and the name of the exporter that wrote it."""
    count = settings.batch_size if settings.batch_size > 0 else 2
    if exportable.one_by_one:
        count = 1
    inputs = exportable.to_inputs(preprocess(task.inputs, (samples * count)[:count]))
    dynamic = settings.batch_size < 0 or exportable.one_by_one
    return to_onnx(exportable, inputs, dynamic=dynamic, opset=settings.opset_version)


def _metadata(model: LoadedModel, exportable: Exportable, settings: ExportSpec, sha256: str) -> ModelMetadata:
    assert model.bundle is not None
    assert model.network is not None
    task = model.task
    (only,) = task.inputs.values()
    describes = task.capability(Describes)
    scaling = only.scaling(model.network)
    return ModelMetadata(
        task=task.name,
        kind=only.kind,
        classes=model.bundle.classes,
        preparation=model.bundle.preparation,
        input_format=settings.input_format,
        outputs=exportable.meanings,
        thresholds=model.bundle.thresholds,
        bundle_sha256=sha256,
        tool_version=__version__,
        extra=describes.metadata_extra() if describes else {},
        mean=scaling["mean"],
        std=scaling["std"],
    )


def _differences(
    model: LoadedModel, path: Path, samples: list[Sample], settings: ExportSpec
) -> dict[int, float]:
    """Largest difference between torch and the file, by batch size."""
    engine = OnnxEngine(runtime.load(path))
    batches = CHECKED_BATCHES if settings.batch_size < 0 else (settings.batch_size,)
    differences = {}
    for count in batches:
        prepared = preprocess(model.task.inputs, (samples * count)[:count])
        differences[count] = model.task.predictions.difference(
            model.engine.run(prepared), engine.run(prepared)
        )
    return differences
