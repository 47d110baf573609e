"""Images of 12 bits in text_to_image: they are as bright as the same images of 8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_text_to_image import TINY, data_overrides, write_pairs

import tao_like
from tao_like.bundle import read_bundle
from tao_like.config import load_spec
from tao_like.contract.trained import TrainedState
from tao_like.errors import SpecError
from tao_like.stages.results import TrainResult
from tao_like.tasks.text_to_image.data.data import CaptionData
from tao_like.tasks.text_to_image.spec import Spec
from tao_like.tasks.text_to_image.task import TASK

TWELVE_BITS = (0.0, 4095.0)


def write_twelve_bits(folder: Path) -> list[str]:
    """Pairs in gray, whose 8 bits became 12 (times 4095 / 255); a white pixel says how many they are."""
    write_pairs(folder)
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            gray = np.asarray(image.convert("L")).astype(np.float64)
        gray[0, 0] = 255
        Image.fromarray(gray.astype(np.uint8)).save(path.with_name(f"{path.stem}.gray"), "png")
        Image.fromarray(np.round(gray * 4095 / 255).astype(np.uint16)).save(path)
    return data_overrides(folder)


def gray_of(path: Path) -> np.ndarray:
    """The 8 bits that an image of 12 was made of."""
    with Image.open(path.with_name(f"{path.stem}.gray")) as image:
        return np.asarray(image)


def test_twelve_bits_are_as_bright_as_eight_and_a_bundle_keeps_the_range(tmp_path: Path) -> None:
    overrides = [*write_twelve_bits(tmp_path / "data"), "model.arch=glide", *TINY, "train.num_epochs=1"]
    spec = load_spec(Spec, None, overrides).spec
    data = CaptionData(spec, None)
    assert data.preprocessing.window == TWELVE_BITS
    for record, number in zip(data.source.records("train"), range(3), strict=False):
        want = gray_of(record.path)
        got = data.dataset("train").pixels(number)
        assert np.abs(got.astype(int) - want[..., None]).max() <= 1
    for setting, window in (("full", None), ("0-2047", (0.0, 2047.0))):
        spec.dataset.pixel_range = setting
        assert CaptionData(spec, None).preprocessing.window == window

    report = CaptionData(load_spec(Spec, None, overrides).spec, None).check(full=True)
    assert "pixel_range" in {finding.code for finding in report.findings}

    words = [*overrides, f"results_dir={tmp_path / 'results'}"]
    trained = tao_like.run("text_to_image", "train", {}, words, quiet=True)
    assert isinstance(trained, TrainResult)
    bundle = read_bundle(trained.bundle)
    # An inference has the bundle alone: no training data to look at, and a given image to read.
    alone = load_spec(Spec, None, ["model.arch=glide", *TINY, "train.keep=last"]).spec
    assert CaptionData(alone, TrainedState.of_bundle(bundle)).preprocessing.window == TWELVE_BITS
    given = data.source.records("test")[0].path
    task = TASK(alone, TrainedState.of_bundle(bundle))
    alone.inference.image, alone.inference.strength = str(given), 0.5
    made_from = vars(task.generator_for_prompts(None))["edit"].image
    shown = (made_from[0].transpose(1, 2, 0) + 1) * 127.5  # values from -1 to 1
    assert np.abs(shown - gray_of(given)[..., None]).max() <= 1

    # Bundles of before have no such key: they were trained on the full range.
    before = {name: ({} if name == "seed" else one) for name, one in bundle.preprocessing.items()}
    state = TrainedState(bundle.classes, before, bundle.thresholds, bundle.split)
    assert CaptionData(spec, state).preprocessing.window is None


def test_numbers_of_the_range_rise() -> None:
    with pytest.raises(SpecError, match=r"dataset\.pixel_range.*4095-0"):
        load_spec(Spec, None, ["dataset.pixel_range=4095-0"])


def test_a_cache_on_disk_is_kept(tmp_path: Path) -> None:
    overrides = [
        *write_twelve_bits(tmp_path / "data"),
        *TINY,
        f"results_dir={tmp_path}",
        "dataset.cache=disk",
    ]
    data = CaptionData(load_spec(Spec, None, overrides).spec, None)
    once = [data.dataset("test").pixels(number) for number in range(2)]
    assert any(path.is_file() for path in (tmp_path / "cache").rglob("*"))
    again = CaptionData(load_spec(Spec, None, overrides).spec, None).dataset("test")
    assert all(np.array_equal(one, again.pixels(number)) for number, one in enumerate(once))
