"""A variance that is learnt: its bound by hand, and what a trained model does with it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm
from tiny_text_to_image import TINY, data_overrides, write_pairs
from torch.distributions import Normal, kl_divergence

import tao_like
from tao_like.bundle import read_bundle
from tao_like.config import load_spec
from tao_like.config.shipped import shipped_spec_files
from tao_like.runtime import load
from tao_like.runtime.generation.schedules import betas
from tao_like.tasks.text_to_image.forward import Forward
from tao_like.tasks.text_to_image.model.build import build_glide
from tao_like.tasks.text_to_image.spec import DiffusionSpec, Spec

STEPS = 50


def process(prediction: str = "x0") -> Forward:
    return Forward(DiffusionSpec(steps=STEPS, prediction=prediction, variance="learned_range"))


def test_the_bound_is_the_divergence_of_two_normal_distributions() -> None:
    """By Ho et al. 2020, equations 6 and 7, and by Nichol and Dhariwal 2021, equation 15, at one step."""
    step, position = 20, 0.3
    generator = torch.Generator().manual_seed(0)
    clean, noisy, word = (torch.randn(1, 3, 4, 4, generator=generator) for _ in range(3))
    beta = betas("squaredcos_cap_v2", STEPS)
    kept = np.cumprod(1 - beta)
    rest, before = kept[step], kept[step - 1]
    image_weight = math.sqrt(before) * beta[step] / (1 - rest)
    noisy_weight = math.sqrt(1 - beta[step]) * (1 - before) / (1 - rest)
    small = beta[step] * (1 - before) / (1 - rest)
    part = (position + 1) / 2
    own = math.exp(part * math.log(beta[step]) + (1 - part) * math.log(small))
    true = Normal(image_weight * clean + noisy_weight * noisy, math.sqrt(small))
    made = Normal(image_weight * word + noisy_weight * noisy, math.sqrt(own))
    expected = kl_divergence(true, made).mean() / math.log(2)
    found = process().bound(word, torch.full_like(word, position), noisy, torch.tensor([step]), clean)
    torch.testing.assert_close(found, expected.view(1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
def test_a_perfect_word_leaves_the_smallest_variance_and_nothing_to_lose(prediction: str) -> None:
    forward = process(prediction)
    clean = torch.rand(6, 3, 4, 4) * 2 - 1
    noisy, steps, wanted = forward.noisy(clean, training=False)
    assert steps.min() > 0
    least = forward.bound(wanted, torch.full_like(wanted, -1.0), noisy, steps, clean)
    torch.testing.assert_close(least, torch.zeros(6), rtol=0, atol=1e-4)
    assert (forward.bound(wanted, torch.zeros_like(wanted), noisy, steps, clean) > least).all()


def test_the_first_step_counts_how_likely_the_pixels_are() -> None:
    forward = process()
    values = torch.tensor([-1.0, -1 + 2 / 255, 0.0 + 1 / 255, 1.0]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    word = torch.full((1, 3, 2, 2), 0.01)
    found = forward.bound(word, torch.full_like(word, 1.0), torch.zeros_like(word), torch.tensor([0]), values)
    # Before the first step all is left, so the mean is the foreseen image; 1 is the largest variance.
    deviation = math.sqrt(betas("squaredcos_cap_v2", STEPS)[0])
    own = norm(0.01, deviation)
    likely = [
        own.cdf(-1 + 1 / 255),
        own.cdf(-1 + 3 / 255) - own.cdf(-1 + 1 / 255),
        own.cdf(2 / 255) - own.cdf(0),
        1 - own.cdf(1 - 1 / 255),
    ]
    expected = -np.log2(np.maximum(likely, 1e-12)).mean()
    assert found.item() == pytest.approx(expected, rel=1e-3)


def test_the_bound_teaches_the_variance_alone() -> None:
    forward = process("epsilon")
    clean = torch.rand(4, 3, 4, 4) * 2 - 1
    noisy, steps, wanted = forward.noisy(clean, training=False)
    said = torch.randn(4, 6, 4, 4, requires_grad=True)
    losses = forward.losses(said, wanted, noisy, steps, clean)
    assert set(losses) == {"image", "variance"}
    (of_bound,) = torch.autograd.grad(losses["variance"], said, retain_graph=True)
    assert of_bound[:, :3].abs().max() == 0
    assert of_bound[:, 3:].abs().min() > 0
    (of_image,) = torch.autograd.grad(losses["image"], said)
    assert of_image[:, 3:].abs().max() == 0


@pytest.mark.parametrize("arch", ["glide", pytest.param("unclip", marks=pytest.mark.acceptance)])
def test_a_model_learns_it_and_its_file_samples_by_it(arch: str, tmp_path: Path) -> None:
    data = data_overrides(write_pairs(tmp_path / "pairs"))
    words = [
        *TINY,
        *data,
        f"model.arch={arch}",
        "model.diffusion.variance=learned_range",
        "train.num_epochs=1",
    ]
    words += ["sampling.sampler=ddpm", f"results_dir={tmp_path}"]
    trained = tao_like.run("text_to_image", "train", None, words, quiet=True)
    name = "base" if arch == "glide" else "decoder"
    (last,) = (
        value
        for key, value in read_bundle(trained.bundle).parts[name].weights.items()
        if key.endswith("unet.last.2.weight")
    )
    assert len(last) == 6 * 4**2  # patches of four pixels
    assert last[3 * 4**2 :].abs().max() > 0
    exported = tao_like.run("text_to_image", "export", None, words, quiet=True)
    assert exported.difference < 1e-4
    model = load(exported.onnx_file)
    decoder = model.generator if arch == "glide" else model.generator.decoder
    assert (decoder.variance, decoder.sampler) == ("learned_range", "ddpm")
    assert model.generate("a red circle", seed=1).pixels.shape == (16, 16, 3)


def test_the_spec_of_glides_size_has_its_channels() -> None:
    spec = load_spec(Spec, shipped_spec_files()["text_to_image/glide_64"]).spec
    with torch.device("meta"):
        network = build_glide(spec.model, 50257)
    assert sum(one.numel() for one in network.base.parameters()) == 385_030_726
