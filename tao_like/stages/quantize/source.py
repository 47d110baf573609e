"""What quantize works on: an fp32 ONNX file, found or exported from a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import torch

from tao_like import runtime
from tao_like.bundle import file_sha256
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.task import AnyTask
from tao_like.errors import BundleError, SpecError
from tao_like.stages.export import export_model, exported_file
from tao_like.stages.lib.engines import BUNDLE_SUFFIX, ONNX_SUFFIX, open_bundle, open_model
from tao_like.stages.lib.folders import is_model, require_file, trained_bundle, where_earlier_trainings_are
from tao_like.stages.lib.graphs.merging import read_graph
from tao_like.tracking import Run

KEY = "quantize.checkpoint"


@dataclass(frozen=True)
class Source:
    """The model that is quantized.

    Attributes:
        task: at work on the model's classes, preprocessing and split.
        model: the fp32 file, open.
        onnx_file: that file; in a temporary folder where the origin is a bundle.
        origin: what the user knows: the bundle or the ONNX file.
    """

    task: AnyTask
    model: runtime.Model
    onnx_file: Path
    origin: Path


def open_source(task_type: type[AnyTask], spec: CommonSpec, run: Run, folder: Path) -> Source:
    """Opens what `quantize.checkpoint` names; a bundle is exported into ``folder`` first.

    Raises:
        SpecError: there is no such file.
        BundleError: it is neither a bundle nor an ONNX file of this task.
    """
    path = find_source(spec, run)
    device = torch.device("cpu")
    if path.suffix == ONNX_SUFFIX or path.is_dir():
        opened = open_model(task_type, spec, path, device)
        for note in opened.notes:
            run.info(note)
        single = _one_file(path, folder)
        return Source(opened.task, runtime.load(single), single, path)
    if path.suffix != BUNDLE_SUFFIX:
        raise BundleError(
            f"{KEY}: {path} is neither a bundle ({BUNDLE_SUFFIX}) nor an ONNX file ({ONNX_SUFFIX})"
        )
    opened = open_bundle(task_type, spec, path, device, spec.export.input_format)
    report = export_model(opened, spec.export, folder / "fp32.onnx", run)
    exported = _one_file(Path(report["onnx_file"]), folder)
    run.info(
        f"{path.name} is exported for this, checked against torch on {report['checked_on']}: largest "
        f"difference {report['largest_difference']:.1e}."
    )
    return Source(opened.task, runtime.load(exported), exported, path)


def _one_file(path: Path, folder: Path) -> Path:
    """The model as one graph in one file: several graphs are joined, for int8 is chosen over all of them."""
    if path.is_file():
        return path
    joined = folder / "joined.onnx"
    onnx.save(read_graph(path), joined)
    return joined


def find_source(spec: CommonSpec, run: Run) -> Path:
    """The file that the key names, else what export left of the trained bundle, else that bundle."""
    if spec.quantize.checkpoint:
        path = Path(spec.quantize.checkpoint)
        require_file(KEY, path)
        return path
    bundle, exported = trained_bundle(spec), exported_file(spec)
    if is_model(exported) and not bundle.is_file():
        return exported
    if not bundle.is_file():
        raise SpecError(
            f"{KEY} is not given, and there is neither {exported} nor {bundle}; train first, or name a "
            f"bundle or an ONNX file{where_earlier_trainings_are(spec)}"
        )
    if is_model(exported):
        if runtime.load(exported).metadata.bundle_sha256 == file_sha256(bundle):
            return exported
        run.info(f"{exported} is not of the bundle {bundle}; the bundle is taken.")
    return bundle
