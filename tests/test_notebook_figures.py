"""What notebooks show of a training: its inputs, and its curves as TensorBoard has them."""

from __future__ import annotations

import base64
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_classification import data_overrides
from torch.utils.tensorboard import SummaryWriter

from tao_like.errors import TaoLikeError
from tao_like.notebook import (
    COLORS,
    Animations,
    read_curves,
    training_curves,
    training_image,
    training_inputs,
)

FALLING = [4.0, 2.0, 1.0]


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    """A run folder with two curves, as a training writes them."""
    with SummaryWriter(str(tmp_path)) as writer:
        for step, value in enumerate(FALLING):
            writer.add_scalar("train/loss", value, 10 * step)
            writer.add_scalar("val/accuracy", 1 / value, step)
    return tmp_path


def drawn(figure: Image.Image, color: str) -> np.ndarray:
    """Row and column of each pixel of a color, (N, 2)."""
    wanted = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    return np.argwhere((np.asarray(figure) == wanted).all(axis=2))


def test_curves_come_back_with_every_point(curves: Path) -> None:
    found = read_curves(curves)
    assert found["train/loss"] == [(0, 4.0), (10, 2.0), (20, 1.0)]
    assert found["val/accuracy"] == [(0, 0.25), (1, 0.5), (2, 1.0)]


def test_a_falling_curve_is_drawn_falling_and_a_rising_one_rising(curves: Path) -> None:
    for name, rises in (("train/loss", False), ("val/accuracy", True)):
        pixels = drawn(training_curves({"only": curves}, [name]), COLORS[0])
        first, last = pixels[pixels[:, 1].argmin()], pixels[pixels[:, 1].argmax()]
        assert bool(last[0] < first[0]) is rises
        assert last[1] - first[1] > 250


def test_several_runs_share_a_panel_in_colors_of_their_own(curves: Path) -> None:
    figure = training_curves({"first": curves, "second": curves}, ["train/loss", "val/accuracy"])
    assert len(drawn(figure, COLORS[1]))
    assert not len(drawn(training_curves({"first": curves}, ["train/loss"]), COLORS[1]))


def test_a_folder_without_curves_and_a_name_that_is_not_there_are_errors(
    curves: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaoLikeError, match="empty holds no curves"):
        training_curves({"run": tmp_path / "empty"}, ["train/loss"])
    with pytest.raises(TaoLikeError, match=r"no curve val/mAP; it holds train/loss, val/accuracy"):
        training_curves({"run": curves}, ["val/mAP"])


def test_the_last_image_of_a_name_comes_back_out_of_tensorboard(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(20):
            writer.add_image("network/graph", np.full((3, 4, 5), step, np.uint8), step)
    figure = training_image(tmp_path, "network/graph")
    assert figure.size == (5, 4)
    assert figure.convert("L").getpixel((0, 0)) == 19
    with pytest.raises(TaoLikeError, match="holds no image graph; it holds network/graph"):
        training_image(tmp_path, "graph")


def test_moving_images_are_within_the_page_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / 'a "walk".gif'
    frames = [Image.new("L", (6, 4), color) for color in (0, 99, 255)]
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=80, loop=0)
    page = ElementTree.fromstring(f"<p>{Animations([file, file])._repr_html_()}</p>".replace('">', '"/>'))
    first, second = page
    assert first.attrib == second.attrib
    assert first.get("alt") == 'a "walk"'
    kind, content = str(first.get("src")).split(",")
    assert kind == "data:image/gif;base64"
    assert base64.b64decode(content) == file.read_bytes()


def test_training_inputs_show_a_row_a_sample_changed_in_every_column(
    class_folders: Path, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("dataset: {img_size: 32}\n", encoding="utf-8")
    before = torch.get_rng_state()
    still = ["random_flip", "random_color", "with_scale_random_crop"]
    plain = [f"dataset.augmentation.{name}.enable=false" for name in still]
    data = data_overrides(class_folders)
    moved = np.asarray(training_inputs("classification", spec, data, images=2, times=3))
    same = np.asarray(training_inputs("classification", spec, [*data, *plain], images=2, times=3))
    assert torch.equal(torch.get_rng_state(), before)
    for figure, is_still in ((same, True), (moved, False)):
        # Six cells of one size behind a margin.
        width, height = (figure.shape[1] - 6) // 3, (figure.shape[0] - 6) // 2
        cells = [
            figure[6 + y * height :, 6 + x * width :][: height - 6, : width - 6]
            for y in (0, 1)
            for x in (0, 1, 2)
        ]
        assert np.array_equal(cells[0], cells[1]) is is_still
        assert not np.array_equal(cells[0], cells[3])
