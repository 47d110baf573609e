"""A noised CLIP guides glide: through the stages, and its shift by hand."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_text_to_image_stages import PROMPT
from tiny_text_to_image import SIDE, TINY, data_overrides, write_pairs

import tao_like
from tao_like import runtime
from tao_like.bundle import read_bundle
from tao_like.errors import BundleError, SpecError
from tao_like.runtime.generation.base import Noise
from tao_like.runtime.generation.diffusion import DiffusionGenerator, Process
from tao_like.runtime.generation.kinds import generator_metadata, generator_of
from tao_like.tasks.text_to_image.model.towers import TextTower
from tao_like.tasks.text_to_image.noised_clip.model import GuideForExport, NoisedImageTower, NoisedTowers

GUIDED = (
    "model.arch=glide",
    *TINY,
    "model.glide.noised_clip={enable: true, channels: [8, 8], embedding: 8, text_width: 16, text_layers: 1}",
    "train.num_epochs=1",
)
GRAPHS = {"text_encoder", "denoiser", "noised_clip_text", "noised_clip"}
SCRIPT = """\
import json, sys
from tao_like.runtime import load

model = load(sys.argv[1])
print(json.dumps(model.generate(sys.argv[2], seed=3, clip_guidance_scale=5.0).pixels.tolist()))
assert "torch" not in sys.modules
"""


class TestGuided:
    """Two phases of one bundle, four graphs."""

    @pytest.fixture(scope="class")
    @classmethod
    def words(cls, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
        """Data and results of all tests."""
        folder = tmp_path_factory.mktemp("guided")
        data = data_overrides(write_pairs(folder / "data"))
        return [*GUIDED, *data, f"results_dir={folder / 'results'}"]

    @staticmethod
    def run(stage: str, words: list[str], *more: str) -> Any:
        """Runs a stage; what is given last wins."""
        return tao_like.run("text_to_image", stage, None, [*words, *more], quiet=True)

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, words: list[str]) -> Any:
        """Both phases."""
        return cls.run("train", words)

    @pytest.fixture(scope="class")
    @classmethod
    def exported(cls, trained: Any, words: list[str]) -> Any:
        """Four graphs, compared with torch at a guidance by CLIP."""
        return cls.run("export", words, "sampling.clip_guidance_scale=5")

    def test_the_bundle_holds_the_clip_that_its_phase_has_trained(self, trained: Any) -> None:
        parts = read_bundle(trained.bundle).parts
        assert {name: part.phase for name, part in parts.items()} == {
            "base": "base",
            "noised_clip": "noised_clip",
        }
        found = {phase["phase"]: phase["metrics"] for phase in trained.report["phases"]}
        assert set(found["noised_clip"]) == {"recall_at_1", "cosine"}

    def test_bundle_and_graphs_make_the_same_guided_images(
        self, trained: Any, exported: Any, words: list[str], tmp_path: Path
    ) -> None:
        assert exported.difference < 1e-4
        asked = [f"inference.prompts=['{PROMPT}']", "inference.seed=3", f"results_dir={tmp_path}"]
        asked.append(f"inference.checkpoint={trained.bundle}")
        made = [
            image_of(self.run("inference", words, *asked, f"sampling.clip_guidance_scale={scale}"))
            for scale in (0, 5)
        ]
        assert not np.array_equal(*made)
        command = [sys.executable, "-c", SCRIPT, str(exported.onnx_file), PROMPT]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert abs(np.array(json.loads(done.stdout)) - made[1]).max() <= 1

    @pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
    def test_an_image_is_the_same_alone_and_in_a_batch_and_unguided_at_scale_0(
        self, sampler: str, exported: Any
    ) -> None:
        model = runtime.load(exported.onnx_file)
        assert set(model.graphs) == GRAPHS
        settings = {"sampler": sampler, "clip_guidance_scale": 5.0}
        alone = model.generate(PROMPT, seed=4, **settings).pixels
        assert np.array_equal(alone, model.generate(["a blue cross", PROMPT], seed=3, **settings)[1].pixels)
        batched = model.with_generator(model.generator.changed(**settings)).predict(
            [{"text": "a blue cross", "seed": 9}, {"text": PROMPT, "seed": 4}]
        )
        assert abs(batched[1].pixels.astype(int) - alone).max() <= 1
        without = [
            model.with_generator(generator).generate(PROMPT, sampler=sampler, clip_guidance_scale=0.0).pixels
            for generator in (model.generator, DiffusionGenerator.from_dict(before_noised_clip(model)))
        ]
        assert np.array_equal(*without)
        assert not np.array_equal(without[0], model.generate(PROMPT, **settings).pixels)

    def test_scales_are_swept_beside_the_other_guidance(self, words: list[str], trained: Any) -> None:
        del trained
        found = self.run("evaluate", words, "sampling.guidance_scale=0", "evaluate.clip_guidance=[0,5]")
        assert set(found.report["variants"]) == {"clip_guidance_0", "clip_guidance_5"}
        assert found.report["variants"]["clip_guidance_0"] == pytest.approx(found.metrics)
        assert (found.folder / "clip_guidance_5.png").is_file()

    def test_a_model_without_one_says_so(self, words: list[str], trained: Any, tmp_path: Path) -> None:
        plain = [word for word in words if "noised_clip" not in word]
        for key in ("sampling.clip_guidance_scale=2", "evaluate.clip_guidance=[2]"):
            with pytest.raises(SpecError, match=r"needs the CLIP that model\.glide\.noised_clip\.enable"):
                self.run("evaluate", plain, key)
        unguided = self.run("train", plain, f"results_dir={tmp_path}")
        assert set(read_bundle(unguided.bundle).parts) == {"base"}
        with pytest.raises(SpecError, match="this model has no noised CLIP"):
            self.run(
                "evaluate",
                words,
                f"evaluate.checkpoint={unguided.bundle}",
                "sampling.clip_guidance_scale=2",
                f"results_dir={tmp_path / 'evaluated'}",
            )
        with pytest.raises(SpecError, match=r"glide\.noised_clip\.enable: is for arch=glide, not unclip"):
            self.run("train", words, "model.arch=unclip")


def image_of(result: Any) -> np.ndarray:
    """The only image that an inference has made."""
    (path,) = (result.folder / "pictures").iterdir()
    return np.asarray(Image.open(path), int)


def before_noised_clip(model: Any) -> dict[str, Any]:
    """The settings of a file from before there was a noised CLIP."""
    later = ("noised_clip", "clip_guidance_scale")
    return {name: value for name, value in model.generator.to_dict().items() if name not in later}


@pytest.mark.parametrize("side", [SIDE, 11])
def test_the_written_gradient_is_that_of_autograd(side: int) -> None:
    torch.manual_seed(0)
    text = TextTower(vocabulary=9, end=2, length=4, width=8, layers=1, heads=2, embedding=5)
    towers = NoisedTowers(NoisedImageTower([8, 16], side, 5), text)
    x = torch.randn(3, 3, side, side, requires_grad=True)
    timesteps = torch.tensor([0.0, 400.0, 999.0])
    captions = torch.nn.functional.normalize(torch.randn(3, 5), dim=1)
    cosines = (towers.image(x, timesteps) * captions).sum(dim=1)
    (expected,) = torch.autograd.grad(math.exp(float(towers.scale.detach())) * cosines.sum(), x)
    found = GuideForExport(towers)(x.detach(), timesteps, captions)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_ddpm_moves_the_mean_by_the_variance_and_ddim_the_noise() -> None:
    """Half of the variance is left at the step, three quarters before it: worked out by hand."""
    process = Process(np.array([0.75, 0.5]), np.array([100, 500]))
    x, found = np.full((1, 3, 1, 1), 0.2, np.float32), np.full((1, 3, 1, 1), 0.1, np.float32)
    gradient = np.full((1, 3, 1, 1), 0.4, np.float32)
    generator = DiffusionGenerator(1, 1, timesteps=[100, 500], prediction="x0", sampler="ddpm")
    plain, drawn = (
        generator.step(process, 1, x, found, Noise(np.array([7])), given) for given in (None, gradient)
    )
    # beta = 1 - 0.5 / 0.75 = 1/3, its variance 1/3 * 0.25 / 0.5 = 1/6.
    np.testing.assert_allclose(drawn - plain, 0.4 / 6, rtol=1e-5)
    ddim = generator.changed(sampler="ddim")
    stepped = ddim.step(process, 1, x, found, Noise(np.array([7])), gradient)
    root = math.sqrt(0.5)
    noise = (0.2 - root * 0.1) / root - root * 0.4
    image = (0.2 - root * noise) / root
    np.testing.assert_allclose(stepped, math.sqrt(0.75) * image + 0.5 * noise, rtol=1e-5)
    # Far beyond its range an image stays at its end.
    far = ddim.step(process, 1, x, found, Noise(np.array([7])), 100 * gradient)
    np.testing.assert_allclose(far, math.sqrt(0.75) + 0.5 * (0.2 - root) / root, rtol=1e-5)


def test_settings_of_before_are_read_and_a_scale_without_a_clip_is_refused() -> None:
    generator = DiffusionGenerator(4, 4, noised_clip=True, clip_guidance_scale=2.0)
    assert generator_of(json.loads(json.dumps(generator_metadata(generator)))) == generator
    plain = DiffusionGenerator(4, 4)
    with pytest.raises(SpecError, match="no noised CLIP"):
        plain.changed(clip_guidance_scale=1.0)
    with pytest.raises(BundleError, match="no noised CLIP"):
        DiffusionGenerator(4, 4, clip_guidance_scale=1.0)
