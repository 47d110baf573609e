"""Images sought by gradient: on each canvas, by a guide that is easy to foresee."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import tao_like
from tao_like.errors import SpecError
from tao_like.runtime.generation.base import IMAGE, SEED, TEXT
from tao_like.runtime.inputs.text import TextPreprocessing, Tokenizer
from tao_like.tasks.text_to_image.model.dvae import DVAE
from tao_like.tasks.text_to_image.optimise.canvases import CodeCanvas, PixelCanvas, StrokeCanvas, bernstein
from tao_like.tasks.text_to_image.optimise.search import Optimised, cut_outs, great_circle
from tao_like.tasks.text_to_image.spec_blocks.optimise import OptimiseSpec

TEXTS = TextPreprocessing("words", 6, words=["red", "blue"])
SIDE = 16


class ColorGuide:
    """Knows the mean color alone: ``red`` and ``blue`` are directions of it."""

    image_size = (8, 8)

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        return torch.nn.functional.normalize(pixels.mean(dim=(2, 3)) / 255 - 0.5, dim=1)

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        red, blue = np.eye(3, dtype=np.float32)[[0, 2]]
        directions = {"red": 2 * red - 1, "blue": 2 * blue - 1}
        return np.stack([directions[text] / np.linalg.norm(directions[text]) for text in texts])


def optimised(canvas: type, steps: int = 60) -> Optimised:
    settings = OptimiseSpec(steps=steps, cutouts=3, strokes=12)

    def made(random: torch.Generator) -> PixelCanvas | StrokeCanvas:
        return canvas(SIDE, random) if canvas is PixelCanvas else canvas(SIDE, settings.strokes, random)

    return Optimised(None, ColorGuide, lambda: TEXTS, made, settings)  # type: ignore[arg-type]


def run(one: Optimised, texts: list[str], seeds: list[int]) -> np.ndarray:
    tokenizer = Tokenizer(TEXTS)
    given = {TEXT: np.stack([tokenizer.ids(text) for text in texts]), SEED: np.array(seeds)}
    return one.run(lambda name, values: values, given)[IMAGE]


@pytest.mark.parametrize("canvas", [PixelCanvas, StrokeCanvas])
def test_an_image_becomes_what_the_guide_is_asked_for(canvas: type) -> None:
    images = run(optimised(canvas), ["red", "blue"], [3, 3])
    assert images.shape == (2, SIDE, SIDE, 3)
    assert images.min() >= 0
    assert images.max() <= 1
    means = images.mean(axis=(1, 2))
    assert means[0].argmax() == 0
    assert means[1].argmax() == 2
    assert means[0][0] - means[0][2] > 0.1
    assert means[1][2] - means[1][0] > 0.1


def test_a_seed_gives_the_same_image_alone_and_among_others() -> None:
    one = optimised(PixelCanvas, steps=3)
    among = run(one, ["red", "blue"], [1, 2])
    assert np.array_equal(run(one, ["blue"], [2])[0], among[1])
    assert not np.array_equal(run(one, ["blue"], [1])[0], among[1])


def test_codes_are_sought_and_the_dvae_stays() -> None:
    torch.manual_seed(0)
    dvae = DVAE(levels=(4, 4), width=8, groups=2, blocks=1).eval().requires_grad_(False)
    before = {name: one.clone() for name, one in dvae.state_dict().items()}
    canvas = CodeCanvas(dvae, SIDE, torch.Generator().manual_seed(0))
    first = canvas()
    assert dvae.fsq is not None
    # The image is one of those that the codes can say.
    codes = dvae.fsq.indices(dvae.fsq.quantize(canvas.values))
    assert torch.allclose(first, dvae.decode(codes), atol=1e-6)
    (first - 1).square().mean().backward()
    assert canvas.values.grad is not None
    assert float(canvas.values.grad.abs().max()) > 0
    assert [name for name, _ in canvas.named_parameters()] == ["values"]
    assert all(torch.equal(one, dvae.state_dict()[name]) for name, one in before.items())


def test_the_loss_is_half_of_the_squared_angle() -> None:
    angles = torch.tensor([0.0, 0.3, math.pi / 2, 2.0])
    one = torch.stack([angles.cos(), angles.sin()], dim=1)
    found = great_circle(one, torch.tensor([[1.0, 0.0]]))
    assert torch.allclose(found, angles**2 / 2, atol=1e-5)


def test_the_first_part_is_the_whole_and_others_lie_inside() -> None:
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    parts = cut_outs(image, (8, 8), 5, torch.Generator().manual_seed(0))
    assert torch.allclose(parts[0], image[0], atol=1e-5)
    assert not torch.allclose(parts[1], image[0], atol=0.05)


def test_a_curve_begins_and_ends_at_its_outer_points() -> None:
    points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    curve = bernstein(3) @ points
    # At the middle (p0 + 3 p1 + 3 p2 + p3) / 8.
    assert torch.allclose(curve, torch.tensor([[0.0, 0.0], [0.5, 0.75], [1.0, 0.0]]))


def test_what_it_needs_is_asked_for() -> None:
    for words, wrong in (
        (["inference.mode=optimise"], r"optimise needs clip_checkpoint"),
        (
            ["inference.mode=optimise", "clip_checkpoint=a.tltb", "inference.optimise.canvas=codes",
             "model.arch=glide", "model.glide.patch=2"],
            "codes are of model.arch=dalle",
        ),
    ):  # fmt: skip
        with pytest.raises(SpecError, match=wrong):
            tao_like.run("text_to_image", "inference", None, words, quiet=True)
