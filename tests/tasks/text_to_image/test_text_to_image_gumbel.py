"""The dVAE of the paper: a relaxed choice that becomes a hard one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_text_to_image_stages import PROMPT
from tiny_text_to_image import TINY, data_overrides, write_pairs

import tao_like
from tao_like import runtime
from tao_like.bundle import read_bundle
from tao_like.config import load_spec
from tao_like.errors import SpecError
from tao_like.tasks.text_to_image.model.dvae import DVAE, logit_laplace_loss
from tao_like.tasks.text_to_image.phases import along_cosine
from tao_like.tasks.text_to_image.spec import Spec


def test_a_dvae_by_gumbel_trains_with_a_falling_temperature_and_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 images in batches of 8 and two epochs are ten steps; the temperature falls over half of them."""
    given: list[tuple[bool, float]] = []
    plain = DVAE.forward

    def watched(self: DVAE, pixels: torch.Tensor, temperature: float = 1.0) -> Any:
        given.append((self.training, temperature))
        return plain(self, pixels, temperature)

    monkeypatch.setattr(DVAE, "forward", watched)
    words = ["model.arch=dalle", *TINY, "model.dalle.quantizer=gumbel", "model.dalle.codes=16"]
    words += [*data_overrides(write_pairs(tmp_path / "data")), "train.num_epochs=2"]
    words += [f"results_dir={tmp_path / 'results'}", "train.tensorboard.enabled=false"]
    trained: Any = tao_like.run("text_to_image", "train", None, words, quiet=True)
    temperatures = [one for training, one in given if training]
    expected = [along_cosine(1, 1 / 16, step / 5) for step in range(10)]
    assert temperatures == pytest.approx(expected)
    weights = read_bundle(trained.bundle).parts["dvae"].weights
    assert weights["decoder.layers.0.weight"].shape[1] == 16
    exported: Any = tao_like.run("text_to_image", "export", None, words, quiet=True)
    assert exported.difference < 1e-4
    model = runtime.load(exported.onnx_file)
    assert model.generator.codes == 16
    drawn = [model.generate(PROMPT, seed=seed).pixels for seed in (1, 2, 1)]
    assert np.array_equal(drawn[0], drawn[2])


def test_half_a_wave_leads_from_one_value_to_another() -> None:
    assert [along_cosine(1, 0.5, way) for way in (0, 0.5, 1, 3)] == pytest.approx([1, 0.75, 0.5, 0.5])
    assert along_cosine(0, 6.6, 1 / 3) == pytest.approx(6.6 / 4)


def test_scoring_takes_the_likeliest_code_and_no_chance() -> None:
    torch.manual_seed(0)
    model = DVAE(codes=6, width=8, groups=2, blocks=1)
    pixels = torch.rand(2, 3, 8, 8)
    assert not torch.equal(model(pixels)[0], model(pixels)[0])
    model.eval().requires_grad_(False)
    statistics, divergence = model(pixels)
    assert torch.equal(statistics, model(pixels)[0])
    decoded = (torch.sigmoid(statistics[:, :3]) - 0.1) / 0.8
    assert torch.allclose(model.decode(model.encode(pixels)), decoded.clamp(0, 1), atol=1e-6)
    # Codes that are all equally likely are at no distance from being so.
    torch.nn.init.zeros_(model.encoder.layers[-1].weight)
    torch.nn.init.zeros_(model.encoder.layers[-1].bias)
    assert float(model(pixels)[1]) == pytest.approx(0, abs=1e-5)
    assert 0 < float(divergence) < 16 * math.log(6)


def test_a_pixel_at_its_location_has_the_density_of_the_scale() -> None:
    """At the location the density is 1 / (2 b x (1 - x)), x the mapped pixel; gray is mapped to a half."""
    pixels = torch.full((1, 3, 1, 1), 0.5)
    statistics = torch.cat([torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), math.log(0.2))], dim=1)
    assert float(logit_laplace_loss(statistics, pixels)) == pytest.approx(-3 * math.log(1 / (2 * 0.2 * 0.25)))


def test_a_way_of_temperatures_has_two_ends() -> None:
    with pytest.raises(SpecError, match=r"train\.gumbel\.temperature: \[1\.0\] are not two"):
        load_spec(Spec, None, ["model.arch=dalle", "train.gumbel.temperature=[1.0]"])
