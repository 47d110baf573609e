"""Upsamplers and trained painting into holes: through the stages, and by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_text_to_image import TINY, data_overrides, write_pairs

import tao_like
from tao_like import runtime
from tao_like.bundle import read_bundle
from tao_like.config import spec_from_dict
from tao_like.errors import BundleError, SpecError
from tao_like.runtime.generation.cascade import CascadeGenerator
from tao_like.runtime.generation.diffusion import DiffusionGenerator
from tao_like.runtime.generation.edit import Edit
from tao_like.runtime.generation.kinds import generator_metadata, generator_of
from tao_like.tasks.text_to_image.data.data import Target
from tao_like.tasks.text_to_image.model.build import build_glide
from tao_like.tasks.text_to_image.model.diffusion_networks import GlideNetwork
from tao_like.tasks.text_to_image.model.scaling import enlarged, reduced
from tao_like.tasks.text_to_image.model.unet import TextEncoder, UNetSize
from tao_like.tasks.text_to_image.phases import holes_like
from tao_like.tasks.text_to_image.spec import Spec
from tao_like.tasks.text_to_image.upsampling.damage import blurred
from tao_like.tasks.text_to_image.upsampling.metrics import EnlargedMetrics

CASCADE = (
    "model.arch=glide",
    *TINY,
    "model.image_size=8",
    "model.glide.patch=2",
    "model.glide.inpaint=true",
    "model.upsampler={sides: [16], channels: 8, multipliers: [1, 2]}",
    "sampling.upsampler_steps=2",
    "train.num_epochs=1",
)
PROMPT = "a small red circle in the middle"


class TestCascade:
    """Three phases of one bundle."""

    @pytest.fixture(scope="class")
    @classmethod
    def words(cls, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
        """Data and results of all tests."""
        folder = tmp_path_factory.mktemp("cascade")
        data = data_overrides(write_pairs(folder / "data"))
        return [*CASCADE, *data, f"results_dir={folder / 'results'}"]

    @staticmethod
    def run(stage: str, words: list[str], *more: str) -> Any:
        """Runs a stage; what is given last wins."""
        return tao_like.run("text_to_image", stage, None, [*words, *more], quiet=True)

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, words: list[str]) -> Any:
        """All phases."""
        return cls.run("train", words)

    def test_each_part_says_which_phase_made_it(self, trained: Any) -> None:
        parts = read_bundle(trained.bundle).parts
        assert {name: part.phase for name, part in parts.items()} == {
            "base": "inpaint",
            "upsampler_1": "upsampler_1",
        }
        metrics = trained.report["phases"][0]["metrics"]
        assert metrics["psnr_gain"] == pytest.approx(metrics["psnr"] - metrics["psnr_bilinear"])

    def test_evaluation_scores_enlarging_and_painting_by_themselves(
        self, trained: Any, words: list[str]
    ) -> None:
        del trained
        found = self.run("evaluate", words, "evaluate.inpaint=true").report["variants"]
        assert found["inpainted"]["outside"] == 0
        assert 0 <= found["inpainted"]["accuracy"] <= 1
        # Of bilinear enlargement by Pillow, whose pixels are rounded.
        folder = Path(next(one for one in words if "test_dataset" in one).partition("=")[2])
        values = []
        for path in sorted(folder.glob("*.png")):
            real = Image.open(path)
            again = real.resize((8, 8), Image.Resampling.BOX).resize((16, 16), Image.Resampling.BILINEAR)
            error = np.mean((np.asarray(real, float) - np.asarray(again, float)) ** 2) / 255**2
            values.append(-10 * math.log10(error))
        assert found["enlarged"]["psnr_bilinear"] == pytest.approx(np.mean(values), abs=0.05)

    def test_the_folder_makes_and_keeps_the_same_pixels(self, trained: Any, words: list[str]) -> None:
        del trained
        exported = self.run("export", words)
        assert exported.difference < 1e-4
        model = runtime.load(exported.onnx_file)
        assert set(model.graphs) == {"text_encoder", "denoiser", "upsampler_1"}
        image = np.random.default_rng(3).integers(0, 256, (16, 16, 3), np.uint8)
        mask = np.zeros((16, 16), np.uint8)
        mask[3:10, 5:12] = 255
        made = model.generate([PROMPT, "a blue cross"], seed=4, image=image, mask=mask)
        for one in made:
            assert np.array_equal(one.pixels[mask == 0], image[mask == 0])
            assert (one.pixels[mask > 0] != image[mask > 0]).any()
        alone = model.generate("a blue cross", seed=5, image=image, mask=mask)
        assert np.array_equal(alone.pixels, made[1].pixels)

    @pytest.mark.acceptance
    def test_linear_layers_compute_in_int8_and_the_loss_is_measured(
        self, trained: Any, words: list[str]
    ) -> None:
        del trained
        # Of its own, for it may run without the tests above; quantize takes what export left.
        self.run("export", words)
        found = self.run("quantize", words, "quantize.max_drop=1")
        source = runtime.load_pipeline(Path(found.report["checkpoint"]))
        larger = any("larger than the fp32 file" in one for one in found.report["drawbacks"])
        assert larger == (found.report["bytes"] > found.report["bytes_fp32"])
        assert found.report["drop"] == pytest.approx(
            found.float_metrics["accuracy"] - found.metrics["accuracy"]
        )
        # Of the text transformer: queries, keys and values, the projection, two of the MLP, and the vector.
        assert found.report["layers_in_int8"]["text_encoder"] == 5
        ids = np.arange(24).reshape(2, 12) % 9
        folder = runtime.load_pipeline(found.onnx_file)
        wanted, given = (one.run("text_encoder", {"text": ids})["tokens"] for one in (source, folder))
        assert 0 < np.abs(wanted - given).max() < 0.1 * np.abs(wanted).max()
        with pytest.raises(BundleError, match="quantized already"):
            self.run("quantize", words, f"quantize.checkpoint={found.onnx_file}")
        rows = self.run("compare", words, "compare.rounds=2", "compare.max_drop=1").rows
        assert [row["form"] for row in rows] == ["bundle", "ONNX fp32", "ONNX int8"]
        assert rows[2]["bytes"] == found.report["bytes"]

    @pytest.mark.acceptance
    def test_upsamplers_are_pruned_too(self, trained: Any, words: list[str], tmp_path: Path) -> None:
        asked = [f"prune.checkpoint={trained.bundle}", f"results_dir={tmp_path}", "prune.granularity=1"]
        pruned = self.run("prune", words, *asked, "prune.ratio=0.3")
        before, after = (read_bundle(one).parts for one in (trained.bundle, pruned.bundle))
        for name in ("base", "upsampler_1"):
            counts = [sum(one.numel() for one in parts[name].weights.values()) for parts in (before, after)]
            assert counts[1] < counts[0], name
        assert pruned.report["largest_difference"] < 1e-3


def test_sides_must_be_multiples_and_of_an_architecture_that_diffuses() -> None:
    for words, wrong in (
        (["model.arch=dalle", "model.upsampler.sides=[32]"], "is for arch=glide or unclip"),
        (
            ["model.arch=glide", "model.glide.patch=2", "model.upsampler.sides=[40]"],
            "40 is no multiple of 16",
        ),
        (["model.arch=unclip", "model.glide.inpaint=true"], "is for arch=glide, not unclip"),
    ):
        with pytest.raises(SpecError, match=wrong):
            tao_like.run("text_to_image", "train", None, words, quiet=True)


def test_what_is_known_has_no_say_before_it_is_learnt() -> None:
    torch.manual_seed(0)
    text = TextEncoder(vocabulary=5, length=3, width=8, layers=1, heads=2, outputs=32, caption_sum=True)
    size = UNetSize(8, (1, 2), 1, (2,), head_channels=8, dropout=0.0)
    network = GlideNetwork(size, text, inputs=7, patch=2, coordinates=True).eval()
    torch.nn.init.normal_(network.unet.last[2].weight)
    x, captions = torch.randn(1, 3, 8, 8), text(torch.tensor([[1, 2, 0]]))
    found = [network(torch.cat([x, known], dim=1), torch.tensor([5.0]), *captions)
             for known in (torch.zeros(1, 4, 8, 8), torch.randn(1, 4, 8, 8))]  # fmt: skip
    assert torch.equal(*found)
    assert not torch.equal(
        found[0], network(torch.cat([x + 1, x, x[:, :1]], 1), torch.tensor([5.0]), *captions)
    )


def test_the_sum_of_words_does_not_know_their_order() -> None:
    torch.manual_seed(0)
    text = TextEncoder(vocabulary=5, length=3, width=8, layers=1, heads=2, outputs=4, caption_sum=True)
    assert text.words is not None
    with_sum = text(torch.tensor([[1, 2, 0], [2, 1, 0]]))[1]
    words, text.words = text.words, None
    summed = with_sum - text(torch.tensor([[1, 2, 0], [2, 1, 0]]))[1]
    expected = words.weight[1] + words.weight[2]
    assert torch.allclose(summed, expected.expand(2, -1), atol=1e-6)


def test_a_network_is_told_what_is_left_of_the_image() -> None:
    image = np.full((2, 2, 3), 255, np.uint8)
    mask = np.array([[255, 0], [0, 0]], np.uint8)
    known = Edit.of({"image": image, "mask": mask}, 2, 2).known()
    assert known[0, :, 0, 0].tolist() == [0, 0, 0, 0]
    assert known[0, :, 0, 1].tolist() == [1, 1, 1, 1]
    given: list[np.ndarray] = []

    def call(name: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given.append(values["x"])
        return {"prediction": values["x"][:, :3]}

    generator = DiffusionGenerator(2, 2, timesteps=[500], guidance_scale=1, inpaints=True)
    x = np.zeros((2, 3, 2, 2), np.float32)
    generator.guided(call, x, 500, {})
    generator.changed(image=image, mask=mask).guided(call, x, 500, {})
    assert not given[0][:, 3:].any()
    assert np.array_equal(given[1][:, 3:], np.repeat(known, 2, axis=0))


def test_holes_are_of_all_places_and_some_are_all_of_the_image() -> None:
    torch.manual_seed(0)
    holes = holes_like(torch.zeros(400, 3, 16, 16))
    parts = holes.mean(dim=(1, 2, 3))
    assert float((parts == 1).float().mean()) == pytest.approx(0.2, abs=0.07)
    assert float(parts.min()) >= 1 / 16
    assert float(holes.mean(dim=0).min()) > 0.2


def test_scaling_agrees_with_means_and_leaves_a_ramp() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    assert reduced(ramp, 4)[0, 0, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert torch.allclose(enlarged(reduced(ramp, 4), 2)[..., 1:-1], ramp[..., 1:-1])


def test_blur_keeps_the_mean_of_a_flat_image_and_changes_half_of_them() -> None:
    torch.manual_seed(0)
    assert torch.allclose(blurred(torch.full((4, 3, 5, 5), 0.3)), torch.tensor(0.3))
    images = torch.randn(200, 1, 6, 6)
    changed = (blurred(images) - images).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert float(changed.float().mean()) == pytest.approx(0.45, abs=0.12)


def test_a_perfect_enlargement_gains_what_bilinear_misses() -> None:
    real = np.zeros((4, 4, 3), np.uint8)
    real[:, 2:] = 255
    metrics = EnlargedMetrics(2, 4)
    metrics.update([0], [real], [Target("", 0, real)])
    found = metrics.compute().values
    # Rows 0, 1/4, 3/4, 1: of four pixels two are wrong by a quarter.
    assert found["psnr_bilinear"] == pytest.approx(-10 * math.log10(0.5 / 16))
    assert found["psnr"] == pytest.approx(100)


def test_a_cascade_is_written_down_and_read_back() -> None:
    cascade = CascadeGenerator(DiffusionGenerator(8, 8), [DiffusionGenerator(16, 16, guidance_scale=1.0)])
    assert generator_of(generator_metadata(cascade)) == cascade
    assert len(cascade.changed(upsampler_steps=5).upsamplers[0].timesteps) == 5
    with pytest.raises(SpecError, match="upsampler_steps"):
        cascade.changed(upsampler_steps=0)
    with pytest.raises(BundleError, match="no multiple"):
        CascadeGenerator(DiffusionGenerator(8, 8), [DiffusionGenerator(12, 12)])


def test_a_glide_bundle_from_before_the_sum_of_words_has_none() -> None:
    stored = {"model": {"arch": "glide", "image_size": 16, "context_length": 8}}
    spec = spec_from_dict(Spec, stored, source="a bundle").spec
    assert not any("words" in name for name in build_glide(spec.model, 9).state_dict())
