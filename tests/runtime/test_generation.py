"""Schedules and samplers against the formulas of the papers, written out in torch or by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tao_like.errors import BundleError, SpecError
from tao_like.runtime.generation.autoregressive import AutoregressiveGenerator
from tao_like.runtime.generation.base import IMAGE, SEED, TEXT, Noise
from tao_like.runtime.generation.diffusion import DiffusionGenerator, Process
from tao_like.runtime.generation.kinds import generator_metadata, generator_of
from tao_like.runtime.generation.schedules import alphas_cumprod, betas, spaced


def test_the_linear_schedule_is_that_of_ddpm() -> None:
    """Ho et al. 2020: 1e-4 to 2e-2 over 1,000 steps; at the end 4e-5 of the variance is left."""
    found = betas("linear", 1000)
    assert found[[0, -1]] == pytest.approx([1e-4, 2e-2])
    assert alphas_cumprod("linear", 1000)[-1] == pytest.approx(4.036e-5, rel=1e-3)


def test_the_cosine_schedule_is_the_squared_cosine_until_its_cap() -> None:
    kept = alphas_cumprod("squaredcos_cap_v2", 1000)
    for step in (0, 10, 500, 900):
        angle = ((step + 1) / 1000 + 0.008) / 1.008 * math.pi / 2
        start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
        assert kept[step] == pytest.approx(math.cos(angle) ** 2 / start, rel=1e-9)
    assert betas("squaredcos_cap_v2", 1000)[-1] == 0.999


def test_spacing_is_that_of_the_code_of_glide() -> None:
    """Values that glide-text2im's `space_timesteps` gives; fast27 has 997 as its last step, not 999."""
    assert spaced(1000, 5) == [0, 250, 500, 749, 999]
    assert spaced(300, [10, 15, 20])[:3] == [0, 11, 22]
    fast = spaced(1000, "fast27")
    assert (len(fast), fast[-1], fast[0]) == (27, 997, 0)
    with pytest.raises(ValueError, match="cannot give"):
        spaced(10, 20)


class Known:
    """A network that knows the image: what it says is right, so that every sampler must end there."""

    def __init__(self, image: np.ndarray, generator: DiffusionGenerator) -> None:
        self.image, self.prediction = image, generator.prediction
        self.kept = alphas_cumprod(generator.schedule, generator.train_steps)
        self.channels = 6 if generator.variance == "learned_range" else 3

    def __call__(self, graph: str, given: dict[str, Any]) -> dict[str, Any]:
        if graph == "text_encoder":
            return {"tokens": np.zeros((len(given[TEXT]), 2, 4), np.float32)}
        kept = self.kept[given["timesteps"].astype(int)].reshape(-1, 1, 1, 1)
        noise = (given["x"] - np.sqrt(kept) * self.image) / np.sqrt(1 - kept)
        said = {
            "epsilon": noise,
            "v": np.sqrt(kept) * noise - np.sqrt(1 - kept) * self.image,
            "x0": np.broadcast_to(self.image, noise.shape),
        }[self.prediction]
        more = np.zeros((len(said), self.channels - 3, *said.shape[2:]), np.float32)
        return {"prediction": np.concatenate([said, more], axis=1).astype(np.float32)}


@pytest.mark.parametrize("schedule", ["squaredcos_cap_v2", "linear"])
@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
@pytest.mark.parametrize(
    ("sampler", "eta", "variance"),
    [("ddim", 0.0, "fixed_small"), ("ddim", 1.0, "fixed_small"), ("ddpm", 0.0, "learned_range")],
)
def test_every_sampler_ends_at_the_image_that_the_network_knows(
    schedule: str, prediction: str, sampler: str, eta: float, variance: str
) -> None:
    image = np.linspace(-0.9, 0.9, 3 * 4 * 4, dtype=np.float32).reshape(1, 3, 4, 4)
    generator = DiffusionGenerator(
        4,
        4,
        schedule=schedule,
        prediction=prediction,
        sampler=sampler,
        eta=eta,
        variance=variance,
        timesteps=spaced(1000, 10),
    )
    given = {TEXT: np.ones((2, 2), np.int64), SEED: np.array([1, 2])}
    found = generator.run(Known(image, generator), given)[IMAGE]
    expected = ((image + 1) / 2).transpose(0, 2, 3, 1).repeat(2, axis=0)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("said", [-40.0, 40.0])
def test_a_variance_stays_in_its_range_whatever_the_network_says(said: float) -> None:
    """Without limits images of a trained network overflowed."""
    generator = DiffusionGenerator(
        4, 4, sampler="ddpm", variance="learned_range", clip_denoised=False, timesteps=spaced(1000, 20)
    )
    process = Process.of(generator.schedule, 1000, generator.timesteps)
    x, number = np.zeros((1, 3, 4, 4), np.float32), 7
    found = np.concatenate([x, np.full_like(x, said)], axis=1)
    stepped = generator.step(process, number, x, found, Noise(np.array([5])))
    kept, before = process.kept[number], process.kept[number - 1]
    largest = 1 - kept / before
    expected = largest if said > 0 else largest * (1 - before) / (1 - kept)
    drawn = np.random.Generator(np.random.Philox(5)).standard_normal((3, 4, 4), np.float32)
    np.testing.assert_allclose(stepped[0], np.sqrt(expected) * drawn, rtol=1e-4)


def torch_ddpm(x: torch.Tensor, epsilon: torch.Tensor, kept: torch.Tensor, number: int) -> torch.Tensor:
    """The mean of q(x_{t-1} | x_t, x_0) of Ho et al. 2020, equation 7, for a respaced chain."""
    before = kept[number - 1] if number else torch.tensor(1.0, dtype=torch.float64)
    alpha = kept[number] / before
    image = (x - (1 - kept[number]).sqrt() * epsilon) / kept[number].sqrt()
    first = before.sqrt() * (1 - alpha) / (1 - kept[number]) * image
    return first + alpha.sqrt() * (1 - before) / (1 - kept[number]) * x


def test_the_mean_of_a_ddpm_step_is_that_of_torch() -> None:
    generator = DiffusionGenerator(4, 4, sampler="ddpm", clip_denoised=False, timesteps=spaced(1000, 20))
    process = Process.of(generator.schedule, 1000, generator.timesteps)
    random = np.random.default_rng(0)
    x, epsilon = (random.standard_normal((2, 3, 4, 4)).astype(np.float32) for _ in range(2))
    streams = [np.random.Generator(np.random.Philox(seed)) for seed in (5, 6)]
    for number in (1, 7, 19):
        found = generator.step(process, number, x, epsilon, Noise(np.array([5, 6])))
        streams = [np.random.Generator(np.random.Philox(seed)) for seed in (5, 6)]
        noise = np.stack([one.standard_normal((3, 4, 4), dtype=np.float32) for one in streams])
        kept = torch.from_numpy(process.kept)
        mean = torch_ddpm(torch.from_numpy(x).double(), torch.from_numpy(epsilon).double(), kept, number)
        before = process.kept[number - 1]
        variance = (1 - before) / (1 - process.kept[number]) * (1 - process.kept[number] / before)
        np.testing.assert_allclose(found, mean.numpy() + math.sqrt(variance) * noise, rtol=2e-4, atol=2e-4)


def test_ddim_with_eta_one_is_ddpm() -> None:
    """Song et al. 2021, section 4.1: where the image is not clipped, the two steps are one."""
    settings: dict[str, Any] = {"clip_denoised": False, "timesteps": spaced(1000, 20)}
    ddim = DiffusionGenerator(4, 4, sampler="ddim", eta=1.0, **settings)
    ddpm = DiffusionGenerator(4, 4, sampler="ddpm", **settings)
    process = Process.of(ddim.schedule, 1000, ddim.timesteps)
    random = np.random.default_rng(0)
    x, epsilon = (random.standard_normal((1, 3, 4, 4)).astype(np.float32) for _ in range(2))
    steps = [one.step(process, 9, x, epsilon, Noise(np.array([3]))) for one in (ddim, ddpm)]
    np.testing.assert_allclose(*steps, rtol=1e-4, atol=1e-4)


def test_painting_keeps_every_pixel_outside_of_the_mask() -> None:
    """Inside is what the network knows, outside the image as it was given."""
    known = np.linspace(-0.9, 0.9, 3 * 4 * 4, dtype=np.float32).reshape(1, 3, 4, 4)
    generator = DiffusionGenerator(4, 4, timesteps=spaced(1000, 10))
    image = np.full((4, 4, 3), 51, np.uint8)
    mask = np.zeros((4, 4), np.uint8)
    mask[:, 2:] = 255
    edited = generator.changed(image=image, mask=mask)
    given = {TEXT: np.ones((2, 2), np.int64), SEED: np.array([1, 2])}
    found = edited.run(Known(known, generator), given)[IMAGE]
    np.testing.assert_allclose(found[:, :, :2], 0.2, atol=1e-6)
    expected = ((known[0] + 1) / 2).transpose(1, 2, 0)
    np.testing.assert_allclose(found[:, :, 2:], expected[None, :, 2:].repeat(2, axis=0), atol=2e-3)
    assert "edit" not in edited.to_dict()


def test_little_strength_takes_few_steps_and_begins_from_the_image() -> None:
    generator = DiffusionGenerator(2, 2, timesteps=spaced(1000, 10), guidance_scale=1.0)
    network = Counting()
    given = {TEXT: np.ones((1, 3), np.int64), SEED: np.array([0])}
    image = np.full((2, 2, 3), 200, np.uint8)
    generator.changed(image=image, strength=0.3).run(network, given)
    assert len(network.calls) == 3
    with pytest.raises(SpecError, match="without a mask"):
        generator.changed(image=image)
    with pytest.raises(SpecError, match="without an image"):
        generator.changed(strength=0.5)
    with pytest.raises(SpecError, match=r"shape \(2, 2, 3\); it must be uint8 of shape \(4, 4, 3\)"):
        DiffusionGenerator(4, 4).changed(image=image, strength=0.5)


class Counting:
    """A network that tells captions apart: with one it says 1, without one 0."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, graph: str, given: dict[str, Any]) -> dict[str, Any]:
        if graph == "text_encoder":
            return {"mean": given[TEXT].sum(axis=1).clip(0, 1).astype(np.float32)}
        self.calls.append(len(given["x"]))
        return {"prediction": np.ones_like(given["x"]) * given["mean"].reshape(-1, 1, 1, 1)}


@pytest.mark.parametrize(("scale", "rows", "said"), [(0.0, 2, 0.0), (1.0, 2, 1.0), (3.0, 4, 3.0)])
def test_guidance_is_as_the_formula_says(scale: float, rows: int, said: float) -> None:
    """e0 + s (e1 - e0): with e0 = 0 and e1 = 1 that is s; 0 and 1 need but half of the work."""
    generator = DiffusionGenerator(2, 2, guidance_scale=scale)
    network = Counting()
    text = np.ones((2, 3), np.int64)
    condition = network("text_encoder", {TEXT: text})
    given = {TEXT: text, SEED: np.array([0, 1])}
    generator.run(network, given)
    assert set(network.calls) == {rows}
    if scale == 3.0:
        condition = {"mean": np.array([1, 1, 0, 0], np.float32)}
    if scale == 0.0:
        condition = {"mean": np.zeros(2, np.float32)}
    found = generator.guided(network, np.zeros((2, 3, 2, 2), np.float32), 1, condition)
    np.testing.assert_allclose(found, said)


def test_a_sample_is_the_same_alone_and_in_a_batch() -> None:
    generator = DiffusionGenerator(4, 4, sampler="ddpm", timesteps=spaced(1000, 5))
    text = np.array([[1, 0], [1, 1], [2, 1]])
    together = generator.run(Counting(), {TEXT: text, SEED: np.array([7, 8, 9])})[IMAGE]
    alone = generator.run(Counting(), {TEXT: text[1:2], SEED: np.array([8])})[IMAGE]
    assert np.array_equal(together[1:2], alone)
    assert not np.array_equal(together[0], together[1])


class Codes:
    """A transformer whose logits depend on the last code alone."""

    def __call__(self, graph: str, given: dict[str, Any]) -> dict[str, Any]:
        if graph == "decoder":
            codes = given["codes"].astype(np.float32)
            return {"pixels": np.repeat(codes[:, None], 3, axis=1)}
        count = len(given[TEXT])
        last = given.get("code", np.zeros(count, np.int64))
        past = given.get("past", np.zeros((count, 0)))
        logits = np.full((count, 4), -30.0, np.float32)
        logits[np.arange(count), (last + 1) % 4] = 5.0
        name = "past_next" if graph == "next" else "past"
        return {"logits": logits, name: np.concatenate([past, np.zeros((count, 1))], axis=1)}


def test_codes_are_drawn_in_order() -> None:
    generator = AutoregressiveGenerator(grid=2, codes=4)
    given = {TEXT: np.ones((2, 3), np.int64), SEED: np.array([0, 1])}
    found = generator.run(Codes(), given)[IMAGE]
    assert found.shape == (2, 2, 2, 3)
    assert found[0, :, :, 0].tolist() == [[1, 2], [3, 0]]


def test_draws_have_the_probabilities_of_the_logits() -> None:
    generator = AutoregressiveGenerator(grid=2, codes=3)
    logits = np.log(np.array([[0.2, 0.5, 0.3]]))
    chances = np.linspace(0, 1, 1000, endpoint=False)
    drawn = generator.draw(logits.repeat(1000, axis=0), chances)
    assert np.bincount(drawn) / 1000 == pytest.approx([0.2, 0.5, 0.3], abs=2e-3)
    by_k = generator.changed(top_k=2).draw(logits.repeat(1000, axis=0), chances)
    assert np.bincount(by_k, minlength=3) / 1000 == pytest.approx([0, 0.625, 0.375], abs=2e-3)
    by_p = generator.changed(top_p=0.5).draw(logits.repeat(1000, axis=0), chances)
    assert set(by_p) == {1}
    assert set(generator.changed(temperature=0).draw(logits.repeat(9, axis=0), chances[:9])) == {1}
    cold = generator.changed(temperature=0.5).draw(logits.repeat(1000, axis=0), chances)
    assert np.bincount(cold) / 1000 == pytest.approx(np.array([0.04, 0.25, 0.09]) / 0.38, abs=2e-3)


def test_settings_travel_in_the_metadata_and_wrong_ones_are_named() -> None:
    for generator in (DiffusionGenerator(8, 8), AutoregressiveGenerator(grid=4, codes=9)):
        assert generator_of(generator_metadata(generator)) == generator
    assert generator_of({}) is None
    with pytest.raises(BundleError, match="update"):
        generator_of({"generation": {"kind": "dreaming"}})
    with pytest.raises(BundleError, match="misses or adds"):
        generator_of({"generation": {"kind": "diffusion", "height": 4}})
    with pytest.raises(SpecError, match="guidance_scale is -1"):
        DiffusionGenerator(8, 8).changed(guidance_scale=-1)
    with pytest.raises(SpecError, match="top_k cannot be set"):
        DiffusionGenerator(8, 8).changed(top_k=3)
    assert len(DiffusionGenerator(8, 8).changed(steps=7).timesteps) == 7
