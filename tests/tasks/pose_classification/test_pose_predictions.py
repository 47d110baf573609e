"""Predictions of pose classification: metrics, animations, TensorBoard, streams, specs by init."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_pose import data_overrides, run, sequence, write_actions, write_table

import tao_like
from tao_like import runtime
from tao_like.cli.main import cli
from tao_like.data.skeletons.drawing import LEFT, RIGHT, SkeletonView
from tao_like.data.skeletons.layouts import LAYOUTS
from tao_like.errors import DatasetError, SpecError
from tao_like.samples.skeleton_actions import action_sequence
from tao_like.tasks.pose_classification.init import write_spec
from tao_like.tasks.pose_classification.metrics import PoseMetrics


def test_the_mean_over_classes_leaves_out_those_without_samples() -> None:
    metrics = PoseMetrics(["a", "b", "c"], {})
    predictions = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1]])
    metrics.update(range(4), predictions, [0, 0, 1, 1])
    values = metrics.compute().values
    assert values["accuracy"] == pytest.approx(0.75)
    assert values["mean_class_accuracy"] == pytest.approx((1 + 0.5) / 2)
    metrics.update([4], predictions[:1], [2])
    report = metrics.compute()
    assert report.values["mean_class_accuracy"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert set(report.draw()) == {"confusion_matrix", "accuracy_by_class"}


def test_a_skeleton_is_drawn_upright_from_the_front() -> None:
    """Whatever axis of the data is up: the person's left is on the right."""
    values = sequence(0, "walk", "kinect_v1")
    for axes in ([0, 1, 2], [0, 2, 1]):
        view = SkeletonView(values[axes], LAYOUTS["kinect_v1"], 3)
        pixels = np.asarray(view.image(poses=1)).astype(int)
        columns = {}
        for name, color in (("left", LEFT), ("right", RIGHT)):
            places = np.argwhere(np.abs(pixels - color).sum(axis=2) == 0)
            columns[name] = places[:, 1]
        assert columns["left"].mean() > columns["right"].mean()
        head = view.points[1, :, LAYOUTS["kinect_v1"].joints.index("head")]
        feet = view.points[1, :, LAYOUTS["kinect_v1"].joints.index("left foot")]
        assert np.median(head) < np.median(feet)
    nobody = SkeletonView(np.zeros((3, 4, 20, 1), np.float32), LAYOUTS["kinect_v1"], 3)
    assert nobody.image().size == (224, 224)
    assert nobody.animation() == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A training of two streams with TensorBoard, and its overrides."""
    folder = tmp_path_factory.mktemp("streams")
    words = [
        *data_overrides(write_actions(folder / "data")),
        "model.model_type=ST-GCN++",
        "model.base_channels=8",
        "model.streams=[joint,bone_motion]",
        "model.stream_weights=[2,1]",
        "train.tensorboard.enabled=true",
        "train.num_epochs=1",
    ]
    run("train", folder, *words)
    return folder, words


def test_tensorboard_shows_skeletons_joints_and_classes(trained: tuple[Path, list[str]]) -> None:
    events = EventAccumulator(str(trained[0] / "train"), size_guidance={"images": 0})
    events.Reload()
    assert set(events.Tags()["images"]) == {
        "train/inputs",
        "val/confusion_matrix",
        "val/accuracy_by_class",
        "val/predictions_wrong_first",
        "network/joint_importance_joint",
        "network/joint_importance_bone_motion",
    }
    assert {"train/loss_joint", "train/loss_bone_motion"} <= set(events.Tags()["scalars"])


def test_the_fused_streams_ship_and_inference_moves(trained: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, words = trained
    exported = run("export", folder, *words)
    write_table(tmp_path / "in" / "a.csv", sequence(3, "jump"))
    result = run("inference", folder, *words, f"inference.source={tmp_path / 'in'}")
    (row,) = json.loads((result.folder / "predictions.json").read_text())
    (moving,) = (result.folder / "pictures").iterdir()
    with Image.open(moving) as image:
        assert (image.format, image.n_frames) == ("GIF", 24)
    model = runtime.load(exported.onnx_file)
    prediction = model.predict(tmp_path / "in" / "a.csv")
    assert prediction.probabilities == pytest.approx(row["probabilities"], abs=1e-5)
    # The file says which joints it takes; another layout of the spec is refused before anything is read.
    file, source = f"inference.checkpoint={exported.onnx_file}", f"inference.source={tmp_path / 'in'}"
    with pytest.raises(SpecError, match=r"ntu-rgb\+d has 25 joints, .* 18 joints of openpose"):
        run("inference", tmp_path / "onnx", file, source, "model.graph_layout=ntu-rgb+d")
    turned = LAYOUTS["openpose"].joints[::-1]
    own = f"model.layout={{joints: {list(turned)}, edges: {[[n, n + 1] for n in range(17)]}, center: 0}}"
    with pytest.raises(SpecError, match=r"custom has 18 joints, .*set model\.graph_layout=openpose"):
        run("inference", tmp_path / "onnx", file, source, "model.graph_layout=custom", own)
    # Files that are older do not say it, and work as before.
    old = onnx.load(exported.onnx_file)
    (entry,) = [each for each in old.metadata_props if each.key == "tao_like"]
    content = json.loads(entry.value)
    content["extra"] = {}
    entry.value = json.dumps(content)
    onnx.save(old, tmp_path / "old.onnx")
    file = f"inference.checkpoint={tmp_path / 'old.onnx'}"
    assert run("inference", tmp_path / "old", file, source).predictions.is_file()
    # A file of any length, persons added, as arrays too.
    longer = np.concatenate([sequence(3, "jump")] * 2, axis=1)
    again = model.predict([longer, longer[None]])
    assert again[0].probabilities == again[1].probabilities
    with pytest.raises(DatasetError, match="18 joints"):
        model.predict(np.zeros((3, 5, 20, 1), np.float32))
    with pytest.raises(DatasetError, match=r"float32 of shape \(1 or more, 3, frames, 18, 1\)"):
        model.run_preprocessed(np.zeros((1, 3, 5, 20, 1), np.float32))
    free = model.run_preprocessed(np.zeros((2, 3, 31, 18, 1), np.float32))
    assert free["probabilities"].shape == (2, 3)


def test_sitting_down_and_standing_up_are_told_apart_by_their_motion_alone(tmp_path: Path) -> None:
    """They have the same poses; the middle frame alone says little."""
    actions = ("sit_down", "stand_up")
    for number, (split, count) in enumerate((("train", 48), ("val", 24))):
        labels = [index % 2 for index in range(count)]
        sequences = [
            action_sequence(actions[label], "openpose", np.random.default_rng([number, index]))[:, :32]
            for index, label in enumerate(labels)
        ]
        np.save(tmp_path / f"{split}_data.npy", np.stack(sequences))
        content = {"labels": labels, "classes": list(actions)}
        (tmp_path / f"{split}_label.json").write_text(json.dumps(content))
    words = [word for word in data_overrides(tmp_path) if word.startswith(("dataset.train", "dataset.val"))]
    # Seen from the first frame, a single later one tells of motion too.
    words += ["train.num_epochs=10", "model.base_channels=24", "model.num_blocks=1", "dataset.center=false"]
    found = {
        frames: run("train", tmp_path / str(frames), *words, f"dataset.window_size={frames}").metrics
        for frames in (12, 1)
    }
    assert found[12]["accuracy"] >= 0.85
    assert found[1]["accuracy"] <= 0.8


def test_init_writes_a_spec_that_trains(tmp_path: Path) -> None:
    data = write_actions(tmp_path / "actions")
    target = tmp_path / "actions.yaml"
    done = CliRunner().invoke(cli, ["pose_classification", "init", str(data), "-o", str(target)])
    assert done.exit_code == 0, done.output
    assert "24 training sequences of 3 classes" in done.output
    text = target.read_text()
    assert "graph_layout: openpose" in text
    assert "align_axes: true" in text
    small = ["model.base_channels=8", "model.num_blocks=1", "train.max_steps=1", "train.accelerator=cpu"]
    words = [*small, f"results_dir={tmp_path}", "train.tensorboard.enabled=false"]
    result = tao_like.run("pose_classification", "train", target, words, quiet=True)
    assert result.bundle.is_file()
    with pytest.raises(SpecError, match="--force"):
        write_spec(data, target, force=False)
    (data / "train_data.npy").unlink()
    with pytest.raises(DatasetError, match="dataset_convert"):
        write_spec(data, target, force=True)
