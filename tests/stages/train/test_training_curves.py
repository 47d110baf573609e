"""What TensorBoard gets of a training, read back with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_classification import data_overrides, run

from tao_like.stages.results import TrainResult

SETTINGS = (
    "train.num_epochs=2",
    "train.optim.policy=linear",
    "train.optim.lr=0.01",
    "train.optim.lr_backbone=0.001",
)
SHOWN = (
    "train.tensorboard={enabled: true, log_every_n_steps: 1, num_images: 4, histograms: true, graph: true}"
)


def read(folder: Path) -> EventAccumulator:
    """The events of a run folder."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "histograms": 0})
    return events.Reload()


@pytest.fixture(scope="module")
def trained(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A training of two epochs of three steps that shows all that it can."""
    return run("train", tmp_path_factory.mktemp("curves"), *data_overrides(class_folders), *SETTINGS, SHOWN)


@pytest.fixture(scope="module")
def events(trained: TrainResult) -> EventAccumulator:
    """Its events."""
    return read(trained.folder)


def test_losses_and_rates_by_step(events: EventAccumulator) -> None:
    assert [point.step for point in events.Scalars("train/loss")] == list(range(6))
    falling = [1 - step / 6 for step in range(6)]
    for name, highest in (("new", 0.01), ("backbone", 0.001)):
        rates = [point.value for point in events.Scalars(f"learning_rate/{name}")]
        assert rates == pytest.approx([highest * fraction for fraction in falling], rel=1e-4)


def test_metrics_by_epoch_and_the_final_ones(events: EventAccumulator, trained: TrainResult) -> None:
    for name in ("loss", "accuracy", "f1"):
        assert [point.step for point in events.Scalars(f"val/{name}")] == [0, 1]
    for name, value in trained.metrics.items():
        assert events.Scalars(f"val_kept/{name}")[-1].value == pytest.approx(value)


def test_images_histograms_text_and_graph(events: EventAccumulator) -> None:
    tags = events.Tags()
    assert {"val/predictions_wrong_first", "val/confusion_matrix"} <= set(tags["images"])
    assert [image.step for image in events.Images("val/confusion_matrix")] == [0, 1]
    assert {"weights/backbone.fc.weight", "gradients/backbone.fc.weight"} <= set(tags["distributions"])
    assert "spec/text_summary" in tags["tensors"]
    assert tags["graph"]


def test_settings_that_are_not_the_defaults_are_hyper_parameters(trained: TrainResult) -> None:
    content = b"".join(path.read_bytes() for path in trained.folder.glob("events.out.tfevents.*"))
    assert b"train.optim.lr_backbone" in content
    assert b"train.optim.weight_decay" not in content


def test_nothing_is_written_where_nobody_wants_it(class_folders: Path, tmp_path: Path) -> None:
    result = run("train", tmp_path, *data_overrides(class_folders), "train.max_steps=1")
    assert not list(result.folder.glob("events.*"))
