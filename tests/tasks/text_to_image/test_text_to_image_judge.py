"""The judge, what it is made into, and the data that it is made of."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from tiny_text_to_image import TINY, data_overrides, write_pairs

from tao_like.config import load_spec
from tao_like.contract.capabilities import Generates
from tao_like.errors import DatasetError, SpecError
from tao_like.runtime.generation.base import TEXT
from tao_like.samples.shapes_captions import COLORS, SHAPES, all_shapes, draw_shape
from tao_like.tasks import task_class
from tao_like.tasks.text_to_image.data.data import CaptionData, Target
from tao_like.tasks.text_to_image.judge import Judge, words_of
from tao_like.tasks.text_to_image.metrics import (
    GenerationMetrics,
    ReconstructionMetrics,
    frechet_distance,
    swapped_accuracy,
)
from tao_like.tasks.text_to_image.spec import Spec

ATTRIBUTES = {
    "shape": list(SHAPES),
    "color": list(COLORS),
    "size": ["small", "large"],
    "place": ["top left", "top right", "middle", "bottom left", "bottom right"],
}


def drawn(seed: int, copies: int) -> tuple[np.ndarray, list[str]]:
    """Every caption some times."""
    generator = np.random.default_rng(seed)
    shapes = [one for one in all_shapes() for _ in range(copies)]
    return np.stack([draw_shape(one, generator) for one in shapes]), [one.captions()[0] for one in shapes]


@pytest.fixture(scope="module")
def judge() -> Judge:
    """Made of 1,920 images, as many as the sample trains on."""
    return Judge(*drawn(0, 8), ATTRIBUTES)


def test_real_images_are_judged_right(judge: Judge) -> None:
    """The bar of a judge: 0.99 of each attribute, on images that it was not made of."""
    images, captions = drawn(1, 1)
    found = judge(images)
    wanted = [words_of(caption, ATTRIBUTES) for caption in captions]
    for name in ATTRIBUTES:
        right = np.mean([one[name] == other[name] for one, other in zip(found, wanted, strict=True)])
        assert right >= 0.99, name
        assert judge.accuracy[name] >= 0.98
    assert judge.looks_at == dict.fromkeys(ATTRIBUTES, "silhouette") | {"color": "color"}


def test_noise_is_judged_by_chance_and_another_color_is_another(judge: Judge) -> None:
    images, captions = drawn(2, 1)
    noise = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
    found = judge(noise)
    wanted = [words_of(caption, ATTRIBUTES) for caption in captions]
    shapes = np.mean([one["shape"] == other["shape"] for one, other in zip(found, wanted, strict=True)])
    assert shapes < 0.45
    swapped = judge(np.roll(images, 1, axis=-1))
    colors = np.mean([one["color"] == other["color"] for one, other in zip(swapped, wanted, strict=True)])
    assert colors < 0.2


def test_words_of_captions() -> None:
    attributes = {"place": ["top", "top left"], "color": ["red", "blue"]}
    assert words_of("Red above blue, top left", attributes) == {"place": "top left", "color": "red"}
    assert words_of("a redder one", attributes) == {}
    assert words_of("A Cat", {}) == {"caption": "a cat"}


def test_an_attribute_that_no_caption_names_is_an_error() -> None:
    images, captions = drawn(0, 1)
    with pytest.raises(DatasetError, match=r"dataset\.attributes\.mood.*needs two words"):
        Judge(images, captions, {"mood": ["happy", "sad"]})


def test_without_attributes_an_image_is_judged_by_the_caption_of_its_nearest() -> None:
    images, captions = drawn(0, 1)
    found = Judge(images, captions, {})(images[:40])
    assert np.mean([one["caption"] == caption for one, caption in zip(found, captions, strict=False)]) == 1


def test_metrics_of_real_images_and_of_swapped_ones(judge: Judge) -> None:
    images, captions = drawn(3, 1)
    halves = [GenerationMetrics(ATTRIBUTES, lambda: judge) for _ in range(2)]
    order = np.random.default_rng(0).permutation(len(images))
    for place, number in enumerate(order):
        group = "first" if place % 3 else "second"
        target = Target(captions[number], 0, images[number], group)
        halves[place % 2].update([place], [images[number]], [target])
    halves[0].join(pickle.loads(pickle.dumps(halves[1])))
    report = halves[0].compute()
    assert report.values.keys() == halves[0].reported().keys()
    assert report.values["accuracy"] >= 0.99
    # Chance: a quarter of the shapes, a sixth of the colors, half of the sizes, a fifth of the places.
    assert report.values["caption_swap"] == pytest.approx((1 / 4 + 1 / 6 + 1 / 2 + 1 / 5) / 4, abs=0.06)
    assert report.values["diversity"] == pytest.approx(1)
    assert report.values["ffd"] == pytest.approx(0, abs=1e-6)
    assert set(report.details["groups"]) == {"first", "second"}


def test_swapped_captions_share_what_can_be_counted_by_hand() -> None:
    """Ten pairs of an image and a caption that differs from its own; four share the shape, four the color."""
    captions = [("circle", "red"), ("circle", "blue"), ("square", "red"), ("circle", "red")]
    assert swapped_accuracy(captions, captions) == pytest.approx(0.4)
    # Always a red circle: of the ten captions seven say circle, and seven say red.
    always = [("circle", "red")] * 4
    assert swapped_accuracy(always, captions) == pytest.approx((7 / 10 + 7 / 10) / 2)
    # A caption that leaves the color out has none to be judged by.
    short = [("circle", "red"), ("square", ""), ("square", "blue")]
    assert swapped_accuracy(short, short) == pytest.approx((2 / 6 + 0 / 4) / 2)
    assert swapped_accuracy([], []) == 0
    assert swapped_accuracy(captions[:1], captions[:1]) == 0


def test_the_order_of_captions_has_no_say_in_their_swap(judge: Judge) -> None:
    """Listed by size, halves differ in it alone, so captions of the other half share 3 of 4 attributes."""
    images, captions = drawn(3, 1)
    metrics = GenerationMetrics(ATTRIBUTES, lambda: judge)
    for number, caption in enumerate(captions):
        metrics.update([number], [images[number]], [Target(caption, 0, images[number])])
    values = metrics.compute().values
    # Of 239 other captions 59 have the same shape, 39 the color, 119 the size and 47 the place.
    assert values["caption_chance"] == pytest.approx((59 + 39 + 119 + 47) / 239 / 4)
    assert values["caption_swap"] == pytest.approx(values["caption_chance"], abs=0.005)


def test_reconstructions_are_scored_by_error_and_codes(judge: Judge) -> None:
    images, captions = drawn(3, 1)
    metrics = ReconstructionMetrics(8, ATTRIBUTES, lambda: judge)
    for number in range(10):
        changed = np.where(images[number] > 127, images[number] - 10, images[number] + 10)
        codes = np.array([[number % 2, 5]])
        metrics.update(
            [number], [(changed.astype(np.uint8), codes)], [Target(captions[number], 0, images[number])]
        )
    values = metrics.compute().values
    assert values["psnr"] == pytest.approx(10 * np.log10(255**2 / 100), abs=1e-6)
    assert values["codes_used"] == 3 / 8
    assert values["entropy"] == pytest.approx(1.5)


def test_the_frechet_distance_is_that_of_scipy() -> None:
    random = np.random.default_rng(0)
    one = random.normal(size=(200, 5)) @ random.normal(size=(5, 5))
    other = random.normal(size=(300, 5)) @ random.normal(size=(5, 5)) + 0.3
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    gap = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
    expected = gap + np.trace(first + second - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)


def test_data_gives_tokens_images_and_seeds(tmp_path: Path) -> None:
    words = data_overrides(write_pairs(tmp_path))
    spec = load_spec(Spec, None, [*TINY, *words]).spec
    data = CaptionData(spec, None)
    batch = data.collate([data.dataset("val")[number] for number in range(3)])
    assert batch.inputs["text"].shape == (3, 12)
    assert batch.inputs["seed"].tolist() == [0, 1, 2]
    assert batch.targets.pixels.shape == (3, 3, 16, 16)
    drawn_captions = {data.dataset("train", augment=True)[0][3] for _ in range(200)}
    assert drawn_captions == set(data.source.records("train")[0].captions)
    assert {data.dataset("train")[0][3] for _ in range(9)} == {data.source.records("train")[0].captions[0]}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model.arch=dalle", "model.image_size=17"], "image_size: 17 is no multiple of 2"),
        (["model.arch=glide", "model.image_size=18"], "image_size: 18 is no multiple of 4"),
        (["model.glide.attention=[3]"], r"attention: \[3\] is on no level"),
        (["model.arch=glide", "model.glide.patch=4"], "diffusion.prediction: v has the network tell noise"),
        (["model.dalle.heads=3"], "heads: 3 does not divide width=64"),
        (["inference.mask=m.png"], "inference.mask: is given without image"),
        (["inference.image=m.png", "inference.strength=0.5"], "inference.image: is for model.arch=glide"),
        (["dataset.attributes={color: [red]}"], "attributes: color has"),
        (["inference.prompts=['']"], "prompts: has an empty text"),
    ],
)
def test_a_spec_that_cannot_be_is_named_by_its_key(words: list[str], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        load_spec(Spec, None, words)


def test_prompts_of_a_file_have_no_mark_at_their_start(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\ufeffa red circle\r\n\r\na cross\r\n", encoding="utf-8")
    words = [f"inference.source={tmp_path / 'prompts.txt'}", "inference.num_images=1"]
    task = task_class("text_to_image")(load_spec(Spec, None, words).spec)
    generates = task.capability(Generates)
    assert [one.data[TEXT] for one in generates.prompts()] == ["a red circle", "a cross"]


def test_init_writes_a_spec_that_loads(tmp_path: Path) -> None:
    from tao_like.tasks.text_to_image.init import write_spec

    write_pairs(tmp_path / "pairs")
    lines = write_spec(tmp_path / "pairs", tmp_path / "spec.yaml", force=False)
    assert any("train 40, val 8, test 8 images" in line for line in lines)
    spec = load_spec(Spec, tmp_path / "spec.yaml").spec
    assert (spec.model.image_size, spec.model.glide.patch) == (16, 2)
    assert spec.dataset.val_dataset.images_dir == str(tmp_path / "pairs" / "val")
    # "at the top left there is a small red circle": ten words, start and end.
    assert spec.model.context_length == 10 + 2
    with pytest.raises(SpecError, match="is there already"):
        write_spec(tmp_path / "pairs", tmp_path / "spec.yaml", force=False)
    with pytest.raises(DatasetError, match="there is no folder"):
        write_spec(tmp_path / "nothing", tmp_path / "other.yaml", force=False)


@pytest.mark.parametrize(
    ("words", "batch", "epochs"),
    [
        ([], 10, 750),
        (["dataset.batch_size=20"], 20, 1500),
        (["dataset.batch_size=5", "train.num_epochs=7"], 5, 7),
    ],
)
def test_init_counts_steps_by_the_batch_that_is_asked_for(
    words: list[str], batch: int, epochs: int, tmp_path: Path
) -> None:
    """About 3,000 steps of 40 pairs."""
    from tao_like.tasks.text_to_image.init import write_spec

    write_spec(write_pairs(tmp_path / "pairs"), tmp_path / "spec.yaml", words, force=False)
    spec = load_spec(Spec, tmp_path / "spec.yaml").spec
    assert (spec.dataset.batch_size, spec.train.num_epochs) == (batch, epochs)
    assert spec.train.validation_interval == max(1, epochs // 4)
    text = (tmp_path / "spec.yaml").read_text()
    assert text.count("# as it was given to `init`") == len(words)
