"""A foreign file as a bundle: read, converted, compared with onnxruntime, accounted for."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from tao_like.bundle import GRAPH_ROLES, ONLY_PART, Bundle, file_sha256
from tao_like.byom.accounting import account
from tao_like.byom.conversion import Imported, convert, operation_counts
from tao_like.byom.cuts import Cut, find_cuts, find_head, refuse_missing, value_shapes
from tao_like.byom.measured import with_measured_types
from tao_like.byom.ops.neural.coarse import COARSE
from tao_like.byom.proof.comparison import batch_sizes, compare, dummy_inputs, joined_samples, session
from tao_like.byom.proof.exact import doubled
from tao_like.byom.proof.images import image_inputs
from tao_like.byom.proof.inputs import WholeShape, input_shapes
from tao_like.byom.proof.judging import Comparison, proof_report
from tao_like.byom.source.batches import free_batch
from tao_like.byom.source.graph import all_constants
from tao_like.byom.source.integers import spelled_out
from tao_like.byom.source.reading import parse_model, read_model
from tao_like.byom.source.rounding import rounding_notes, without_rounding
from tao_like.byom.source.shapes import real_inputs
from tao_like.byom.source.unreadable import UnreadableModelError
from tao_like.byom.teaching import TAUGHT, refuse_untaught, taught_operations, teaching_notes
from tao_like.errors import BundleError, ConversionError

TASK = "byom"
"""What a bundle says that it is of, as long as no task has trained it."""
TOLERANCE = 1e-4
"""Difference to onnxruntime that is allowed in any case, as a fraction of a channel's largest magnitude."""
_SAME_SAMPLE = 1e-3
"""Largest difference of a sample's output beside others and alone, as a fraction of the largest output."""
BATCH = "batch"
"""In a report and a bundle: the only number of samples that the network takes; None: any."""
HEADS = "heads"
GATES = "gates"
"""In what a bundle says of its graph: attention layers are modules in it."""
_ROLES_NOW = 2
_NORMS = (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)
_MANY = 5
"""Convolutions from which on one expects norm layers between them."""
_WEIGHTS_MISSED = "its weights do not fit its graph"


@dataclass
class ImportResult:
    """A converted and proven network.

    Attributes:
        imported: the network.
        model: the file, as it was converted.
        cuts: values to cut at.
        shapes: of the inputs in the comparison, without the batch.
        comparisons: with onnxruntime.
        report: everything that was found, ready for JSON.
    """

    imported: Imported
    model: onnx.ModelProto
    cuts: list[Cut]
    shapes: dict[str, tuple[int, ...]]
    comparisons: list[Comparison]
    report: dict[str, Any]

    @property
    def largest_difference(self) -> float:
        """The worst of the comparisons."""
        return max(item.difference for item in self.comparisons)


def import_file(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    given_shapes: Mapping[str, tuple[int, ...]] | None = None,
    tolerance: float = TOLERANCE,
    images: Sequence[Path] = (),
) -> ImportResult:
    """Converts a file and proves it against onnxruntime.

    Args:
        path: an ONNX file.
        size: height and width of images, where the file leaves them open.
        given_shapes: whole shapes of inputs by name, where the file leaves them open.
        tolerance: the difference that is allowed in any case, as a fraction of a channel's largest magnitude;
            more is where rounding alone does as much to this network.
        images: files of images on which they are compared as well as on noise.

    Raises:
        ConversionError: the file cannot be read or converted, or gives other outputs than in onnxruntime.
        DatasetError: an image cannot be read.
    """
    rounded = spelled_out(read_model(path))
    source = without_rounding(rounded)
    try:
        imported, model, freed = _converted(source)
        imported.notes[:] = dict.fromkeys([*rounding_notes(rounded), *imported.notes])
        shapes = input_shapes(imported.graph, size, given_shapes)
        imported, model = _with_measured_types(imported, model, shapes)
        _refuse_broken_weights(imported)
        comparisons = _prove(imported, source, shapes, freed=freed, images=images, tolerance=tolerance)
    except ConversionError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error
    worst = _worst(path, comparisons, tolerance)
    own = batch_sizes(imported.graph, freed=freed)
    bound = own[0] if len(own) == 1 else None
    taught = taught_operations(imported.graph)
    imported.notes += [
        *([] if bound is None else [bound_to(bound)]),
        *teaching_notes(taught),
        *_rounded(worst, tolerance),
        *_without_norms(imported.module),
    ]
    inner = value_shapes(imported, _examples(imported, shapes))
    cuts = find_cuts(imported, inner)
    head = find_head(imported, inner)
    report = {
        **_report_of_file(path, source, imported),
        **proof_report(shapes, comparisons, tolerance),
        TAUGHT: taught,
        BATCH: bound,
        "cuts": [asdict(item) for item in cuts],
        "head": None if head is None else asdict(head),
        "notes": imported.notes,
        **account(imported),
    }
    return ImportResult(imported, model, cuts, shapes, comparisons, report)


def _with_measured_types(
    imported: Imported, model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]
) -> tuple[Imported, onnx.ModelProto]:
    """The network built again where a run tells types that onnx cannot infer, and its graph with them."""
    typed = with_measured_types(model, imported, _examples(imported, shapes))
    if typed is None:
        return imported, model
    again = convert(typed)
    again.notes[:] = imported.notes
    return again, typed


def _worst(path: str | Path, comparisons: Sequence[Comparison], tolerance: float) -> Comparison:
    """The comparison that is nearest to what is allowed. Raises ConversionError where it is beyond."""
    worst = max(comparisons, key=lambda item: item.of_allowed)
    # Not `of_allowed > 1`: a difference that is not a number must fail too.
    if not worst.of_allowed <= 1:
        raise ConversionError(f"{path}: {_too_far(worst, tolerance)}")
    return worst


def _report_of_file(path: str | Path, source: onnx.ModelProto, imported: Imported) -> dict[str, Any]:
    """What the report says of the file itself."""
    return {
        "source": str(path),
        "sha256": file_sha256(path),
        "producer": f"{source.producer_name} {source.producer_version}".strip(),
        "opsets": dict(imported.graph.opsets),
        "operations": dict(sorted(operation_counts(imported.graph).items())),
        "inputs": {name: _described(kind) for name, kind in imported.inputs.items()},
        "outputs": {name: _described(kind) for name, kind in imported.outputs.items()},
    }


def _too_far(worst: Comparison, tolerance: float) -> str:
    """What to say where a converted network gives other outputs."""
    channel = "" if worst.channel is None else f", channel {worst.channel} of axis {worst.axis}"
    rounding = "" if worst.rounding is None else f", and rounding does {worst.rounding:.1g} to this network"
    return (
        f"after conversion the output '{worst.output}' differs from onnxruntime's by "
        f"{worst.difference:.2g} of its largest value (on {worst.what}, batch {worst.batch}{channel}); "
        f"{tolerance:g} is allowed{rounding}. The conversion is wrong; nothing was written. With --tolerance "
        "more is allowed, which the bundle records"
    )


def _rounded(worst: Comparison, tolerance: float) -> list[str]:
    """What to say of a difference that is large for its output, and still rounding."""
    if worst.difference <= tolerance or worst.rounding is None:
        return []
    largest = worst.absolute / worst.difference
    return [
        f"the output '{worst.output}' differs by {worst.difference:.1g} of its largest value on "
        f"{worst.what}, {largest:.1g}, and rounding alone does {worst.rounding:.1g} to it; on images of "
        "yours (--pictures) it may say more"
    ]


def _refuse_broken_weights(imported: Imported) -> None:
    """Refuses a file with weights that are no numbers."""
    held = dict(all_constants(imported.graph))
    for use in imported.uses:
        tensor = held.get(use.name)
        checked = use.trains or use.role == "statistic"
        if checked and tensor is not None and not bool(torch.isfinite(tensor).all()):
            count = int((~torch.isfinite(tensor)).sum())
            raise UnreadableModelError(
                f"the tensor '{use.name}' ({use.role}) holds {count} values that are NaN or infinite; "
                "nothing can be computed or trained with it"
            )


def bound_to(batch: int) -> str:
    """What to say of a network whose graph was written for a number of samples and cannot be freed of it."""
    return (
        f"the network takes {batch} sample{'s' * (batch > 1)} at a time, as its file was written, and cannot "
        "be trained by a task. Have it exported with an open batch: torch.onnx.export(..., "
        'dynamic_axes={"input": {0: "batch"}}), or dynamic_shapes=({0: torch.export.Dim.DYNAMIC},) with '
        "dynamo=True"
    )


def _without_norms(module: nn.Module) -> list[str]:
    """What to say of a network whose batch norms an exporter has folded away: they cannot be had back."""
    parts = list(module.modules())
    convolutions = [part for part in parts if isinstance(part, nn.Conv2d)]
    has_norms = any(isinstance(part, _NORMS) for part in parts)
    if has_norms or len(convolutions) < _MANY or any(part.bias is None for part in convolutions):
        return []
    return [
        f"{len(convolutions)} convolutions have biases, and no norm layer is left: batch norms were folded "
        "into them on export, and their statistics are not in the file. Train with a low rate and "
        "train.clip_grad_norm, or have the model exported with its norm layers"
    ]


def _described(kind: Any) -> dict[str, Any]:
    shape = None if kind.shape is None else [size if size is not None else "?" for size in kind.shape]
    return {"type": str(kind.dtype).removeprefix("torch."), "shape": shape}


def _converted(source: onnx.ModelProto) -> tuple[Imported, onnx.ModelProto, bool]:
    """The network, for any batch where that can be had. Raises ConversionError."""
    if not real_inputs(source):
        raise ConversionError("the graph takes no input: it gives the same whatever comes, and cannot train")
    model = free_batch(source)
    if model is None:
        return convert(source), source, False
    imported = convert(model)
    batch = batch_sizes(imported.graph, freed=True)[-1]
    shapes = input_shapes(imported.graph, None)
    if any(isinstance(shape, WholeShape) for shape in shapes.values()):
        return convert(source), source, False
    inputs = list(dummy_inputs(imported.graph, shapes, batch).values())
    try:
        # What torch prints of an error in a network of its own making is of no use to anybody.
        with torch.inference_mode(), contextlib.redirect_stderr(io.StringIO()):
            free = _is_sample_by_sample(imported.module, [torch.from_numpy(value) for value in inputs])
    except Exception:  # where the graph is bound to one sample, any of its functions may fail
        free = False
    if not free:
        return convert(source), source, False
    imported.notes.append("the file was written for a batch of one; the network takes any")
    return imported, model, True


def _is_sample_by_sample(module: nn.Module, inputs: list[torch.Tensor]) -> bool:
    """Whether a network gives the same for many samples as for each of them."""
    many = module(*inputs)
    each = [module(*(value[i : i + 1] for value in inputs)) for i in range(len(inputs[0]))]
    if not isinstance(many, tuple):
        many, each = (many,), [(one,) for one in each]
    for index, whole in enumerate(many):
        parts = [one[index] for one in each]
        joined = joined_samples([part.numpy() for part in parts], tuple(whole.shape))
        scale = float(abs(joined).max(initial=0.0)) if joined.size else 0.0
        if joined.shape != tuple(whole.shape) or not np.allclose(
            joined, whole.numpy(), rtol=0, atol=_SAME_SAMPLE * scale, equal_nan=True
        ):
            return False
    return True


def _examples(imported: Imported, shapes: dict[str, tuple[int, ...]]) -> list[torch.Tensor]:
    batch = batch_sizes(imported.graph, freed=False)[0]
    return [torch.from_numpy(value) for value in dummy_inputs(imported.graph, shapes, batch).values()]


def _prove(
    imported: Imported,
    source: onnx.ModelProto,
    shapes: dict[str, tuple[int, ...]],
    *,
    freed: bool,
    images: Sequence[Path],
    tolerance: float,
) -> list[Comparison]:
    reference = session(source)
    comparisons = []
    settings: dict[str, Any] = {"one_by_one": freed, "tolerance": tolerance, "coarse_functions": COARSE}
    settings["wide"] = doubled(imported.module)
    for batch in batch_sizes(imported.graph, freed=freed):
        inputs = dummy_inputs(imported.graph, shapes, batch)
        comparisons += compare(imported.module, reference, inputs, "noise", batch=batch, **settings)
    if images:
        inputs = image_inputs(imported.graph, shapes, images, freed=freed)
        batch = len(next(iter(inputs.values())))
        comparisons += compare(imported.module, reference, inputs, "pictures", batch=batch, **settings)
    return comparisons


def to_bundle(result: ImportResult, *, classes: list[str], cuts: Sequence[str] = ()) -> Bundle:
    """The bundle of a converted network.

    Args:
        result: the network.
        classes: names of the classes that it tells apart; empty where they are not known.
        cuts: the values behind which a task puts its own head; none: as the task finds best.

    Raises:
        ConversionError: there is no such value, or the names are not as many as the outputs.
    """
    head = result.report["head"]
    if classes and (head is None or head["classes"] != len(classes)):
        found = "no classifier" if head is None else f"{head['classes']} classes"
        raise ConversionError(f"{len(classes)} class names were given, and the network has {found}")
    for cut in cuts:
        refuse_missing(cut, result.imported.value_nodes)
    return Bundle(
        task=TASK,
        spec={},
        classes=classes,
        preprocessing={},
        metrics={},
        thresholds={},
        split=None,
        history=[
            {
                "stage": "byom",
                "source_sha256": result.report["sha256"],
                **{name: result.report[name] for name in ("compared_at", "largest_difference", "tolerance")},
            }
        ],
        weights=dict(result.imported.module.state_dict()),
        graph=result.model.SerializeToString(deterministic=True),
        extra={
            HEADS: True,
            GATES: True,
            GRAPH_ROLES: _ROLES_NOW,
            BATCH: result.report[BATCH],
            TAUGHT: result.report[TAUGHT],
            "cut": list(cuts),
            "head": head,
            "cuts": result.report["cuts"],
            "inputs": result.report["inputs"],
        },
    )


def from_bundle(bundle: Bundle, *, strict: bool = True) -> Imported:
    """The network of a bundle that :func:`to_bundle` made, with the bundle's weights.

    Args:
        bundle: holds the graph.
        strict: the bundle's weights are those of this very network; else the graph's own are kept.

    Raises:
        BundleError: it holds no graph, or weights of another network.
        ConversionError: its graph cannot be converted, or operations are not taught that it needs.
    """
    if bundle.graph is None:
        raise BundleError("the bundle holds no imported network: it has no graph.onnx")
    refuse_untaught(bundle.extra)
    imported = convert(
        parse_model(bundle.graph), heads=bool(bundle.extra.get(HEADS)), gates=bool(bundle.extra.get(GATES))
    )
    if not strict:
        return imported
    try:
        imported.module.load_state_dict(bundle.weights_for(ONLY_PART, imported.module.state_dict()))
    except RuntimeError as error:
        raise BundleError(f"{_WEIGHTS_MISSED}: {str(error).splitlines()[0]}") from error
    return imported
