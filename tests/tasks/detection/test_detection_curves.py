"""What TensorBoard gets of a training of detection."""

from __future__ import annotations

from pathlib import Path

from box_images import write_coco
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_detection import data_overrides, run


def test_loss_parts_figures_and_images(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data", {"train": 8, "val": 3, "test": 1})
    shown = "train.tensorboard={enabled: true, log_every_n_steps: 1, num_images: 3}"
    result = run("train", tmp_path, *data_overrides(folder), "train.num_epochs=2", shown)
    events = EventAccumulator(str(result.folder), size_guidance={"scalars": 0, "images": 0}).Reload()
    for part in ("box", "object", "class", "l1"):
        assert [point.step for point in events.Scalars(f"train/loss_{part}")] == list(range(4))
    # The L1 distance counts in the last epoch alone.
    refined = [point.value > 0 for point in events.Scalars("train/loss_l1")]
    assert refined == [False, False, True, True]
    assert [point.step for point in events.Scalars("val/mAP50")] == [0, 1]
    expected = {
        "train/inputs",
        "val/predictions_wrong_first",
        "val/confusion_matrix",
        "val/precision_recall",
    }
    assert expected <= set(events.Tags()["images"])


def test_images_are_about_twenty_sets_of_a_training_in_whichever_epochs_it_validates(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data", {"train": 2, "val": 1, "test": 1})
    few = ("train.num_epochs=41", "train.max_steps=8", "dataset.batch_size=2", "train.validation_interval=2")
    shown = "train.tensorboard={enabled: true, num_images: 1}"
    result = run("train", tmp_path, *data_overrides(folder), *few, shown)
    events = EventAccumulator(str(result.folder), size_guidance={"images": 0}).Reload()
    # 41 epochs: a set every third; eight were trained, and every second of these was validated.
    assert [image.step for image in events.Images("train/inputs")] == [0, 3, 6]
    assert [image.step for image in events.Images("val/predictions_wrong_first")] == [1, 3, 7]
