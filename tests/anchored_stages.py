"""One pass of a detector through the stages, on few small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_detection import data_overrides, run

from tao_like import runtime
from tao_like.stages.results import TrainResult


def through_the_stages(results: Path, data: Path, arch: Sequence[str], parts: Sequence[str]) -> None:
    """Trains, exports, quantizes, prunes and trains again, and holds the forms' answers against each other.

    Args:
        results: empty folder.
        data: as ``write_coco`` makes it.
        arch: overrides that give the architecture.
        parts: of the loss; each must be reported.
    """
    shown = "train.tensorboard={enabled: true, log_every_n_steps: 1, num_images: 1}"
    overrides = [*data_overrides(data), *arch, "train.num_epochs=1"]
    trained = run("train", results, *overrides, shown)
    assert set(parts) <= logged(trained)
    exported = run("export", results, *overrides)
    assert set(exported.report["difference_by_batch"]) == {1, 3}
    assert exported.difference < 1e-4
    graph = onnx.load(exported.onnx_file)
    onnx.checker.check_model(graph, full_check=True)
    assert {item.domain for item in graph.opset_import} <= {"", "ai.onnx"}
    assert [output.name for output in graph.graph.output] == ["boxes", "scores", "labels", "num_detections"]
    bundle = run("evaluate", results / "b", *overrides, f"evaluate.checkpoint={trained.bundle}")
    onnx_file = run("evaluate", results / "o", *overrides, f"evaluate.checkpoint={exported.onnx_file}")
    assert onnx_file.metrics == pytest.approx(bundle.metrics, abs=1e-4)
    raw = run(
        "export", results / "raw", *overrides, f"export.checkpoint={trained.bundle}", "export.nms=false"
    )
    pictures = sorted((data / "test").glob("*.png"))
    answers = [runtime.load(file).predict(pictures) for file in (exported.onnx_file, raw.onnx_file)]
    for one, other in zip(*answers, strict=True):
        assert [found.label for found in one.detections] == [found.label for found in other.detections]
    quantized = run("quantize", results, *overrides, "quantize.max_drop=1", "quantize.num_samples=2")
    assert len(quantized.report["int8_layers"]) > 10
    pruned = run("prune", results, *overrides, "prune.granularity=2", "prune.target_macs=0.6")
    assert pruned.macs_share == pytest.approx(0.6, abs=0.1)
    again = run("train", results / "again", *overrides, f"train.pruned_model_path={pruned.bundle}")
    assert run("export", results / "again", *overrides, f"export.checkpoint={again.bundle}").difference < 1e-4


def logged(trained: TrainResult) -> set[str]:
    """The parts of the loss in the run's TensorBoard files."""
    events = EventAccumulator(str(trained.folder)).Reload()
    return {tag.removeprefix("train/") for tag in events.Tags()["scalars"]}
