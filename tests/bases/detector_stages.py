"""One pass of a detector through the stages, on few small images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest
from stage_runs import assert_rows_agree, assert_same_weights, break_in_second_epoch, csv_rows
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_detection import data_overrides, run

from tao_like import runtime
from tao_like.stages.results import ExportResult, PruneResult, TrainResult


class Passed(NamedTuple):
    """What a pass has left: the overrides of every stage, and the results."""

    overrides: list[str]
    trained: TrainResult
    exported: ExportResult


def through_the_stages(results: Path, data: Path, arch: Sequence[str], parts: Sequence[str]) -> Passed:
    """Trains, breaks off and resumes, exports and quantizes; all forms predict alike.

    Args:
        results: empty folder.
        data: as ``write_coco`` makes it.
        arch: overrides that give the architecture.
        parts: of the loss; each must be reported.
    """
    shown = "train.tensorboard={enabled: true, log_every_n_steps: 1, num_images: 1}"
    overrides = [*data_overrides(data), *arch]
    trained = run("train", results, *overrides, "train.num_epochs=2", shown)
    assert set(parts) <= logged(trained)
    resumed_to_the_same(results / "broken", trained, overrides)
    exported = run("export", results, *overrides)
    assert set(exported.report["difference_by_batch"]) == {1, 3}
    assert exported.difference < 1e-4
    graph = onnx.load(exported.onnx_file)
    onnx.checker.check_model(graph, full_check=True)
    assert {item.domain for item in graph.opset_import} <= {"", "ai.onnx"}
    assert [output.name for output in graph.graph.output] == ["boxes", "scores", "labels", "num_detections"]
    bundle = run("evaluate", results / "b", *overrides, f"evaluate.checkpoint={trained.bundle}")
    onnx_file = run("evaluate", results / "o", *overrides, f"evaluate.checkpoint={exported.onnx_file}")
    assert_rows_agree(csv_rows(bundle.predictions), csv_rows(onnx_file.predictions))
    assert onnx_file.metrics == pytest.approx(bundle.metrics, abs=1e-4)
    quantized = run("quantize", results, *overrides, "quantize.max_drop=1", "quantize.num_samples=4")
    assert len(quantized.report["int8_layers"]) > 10
    found = scored_on_val(results / "q", quantized.onnx_file, overrides)
    assert found == pytest.approx(quantized.metrics, abs=1e-6)
    return Passed(overrides, trained, exported)


def pruned_as_promised(results: Path, passed: Passed) -> PruneResult:
    """The pruned network answers as the one with silenced channels, and scores what the stage says."""
    overrides = passed.overrides
    pruned = run("prune", results, *overrides, "prune.granularity=2", "prune.target_macs=0.6")
    assert pruned.macs_share == pytest.approx(0.6, abs=0.1)
    assert pruned.report["largest_difference"] < 1e-3
    assert scored_on_val(results / "p", pruned.bundle, overrides) == pytest.approx(pruned.metrics, abs=1e-6)
    return pruned


def on_from_there(results: Path, data: Path, passed: Passed, pruned: PruneResult) -> None:
    """The form without suppression finds the same, and the pruned network trains and exports."""
    once = [*passed.overrides, "train.num_epochs=1"]
    given = (f"export.checkpoint={passed.trained.bundle}", "export.nms=false")
    raw = run("export", results / "raw", *once, *given)
    images = sorted((data / "test").glob("*.png"))
    predictions = [runtime.load(file).predict(images) for file in (passed.exported.onnx_file, raw.onnx_file)]
    for one, other in zip(*predictions, strict=True):
        assert [found.label for found in one.detections] == [found.label for found in other.detections]
    again = run("train", results / "again", *once, f"train.pruned_model_path={pruned.bundle}")
    assert run("export", results / "again", *once, f"export.checkpoint={again.bundle}").difference < 1e-4


def scored_on_val(results: Path, model: Path, overrides: Sequence[str]) -> dict[str, float]:
    """What evaluate finds on the validation data."""
    words = [*overrides, f"evaluate.checkpoint={model}", "evaluate.split=val"]
    return dict(run("evaluate", results, *words).metrics)


def resumed_to_the_same(results: Path, unbroken: TrainResult, overrides: Sequence[str]) -> None:
    """A training that ends in its second epoch goes on to the weights of one that did not."""
    words = [*overrides, "train.num_epochs=2"]
    with pytest.MonkeyPatch.context() as patch:
        break_in_second_epoch(patch, OSError("power cut"))
        with pytest.raises(OSError, match="power cut"):
            run("train", results, *words)
    checkpoint = results / "train" / "checkpoints" / "last.ckpt"
    resumed = run("train", results, *words, f"train.resume_training_checkpoint_path={checkpoint}")
    assert_same_weights(resumed.bundle, unbroken.bundle)


def logged(trained: TrainResult) -> set[str]:
    """The parts of the loss in the run's TensorBoard files."""
    events = EventAccumulator(str(trained.folder)).Reload()
    return {tag.removeprefix("train/") for tag in events.Tags()["scalars"]}
