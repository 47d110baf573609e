"""unCLIP through train, evaluate, inference, export and the runtime; the parts of its way of generating."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from processes import train_in_processes
from test_text_to_image_stages import PROMPT, RUNTIME_SCRIPT
from tiny_text_to_image import SIDE, TINY, data_overrides, write_pairs

import tao_like
from tao_like import runtime
from tao_like.bundle import read_bundle, write_bundle
from tao_like.errors import SpecError
from tao_like.notebook import _read_events
from tao_like.runtime.generation.journey import Journey, slerp
from tao_like.runtime.generation.kinds import generator_metadata, generator_of
from tao_like.runtime.generation.priors import Asked, by_codes
from tao_like.tasks.text_to_image.model.code_prior import CodePrior
from tao_like.tasks.text_to_image.model.towers import contrastive_loss
from tao_like.tasks.text_to_image.unclip.model import Standardized

PARTS = ("clip", "prior", "decoder")


class TestUnclip:
    """Three phases, five graphs."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Of data and results."""
        return tmp_path_factory.mktemp("unclip")

    @pytest.fixture(scope="class")
    @classmethod
    def words(cls, folder: Path) -> list[str]:
        """Data and results of all tests."""
        data = data_overrides(write_pairs(folder / "data"))
        return [
            "model.arch=unclip",
            *TINY,
            *data,
            "train.num_epochs=2",
            "train.tensorboard.enabled=true",
            f"results_dir={folder / 'results'}",
        ]

    @staticmethod
    def run(stage: str, words: list[str], *more: str) -> Any:
        """Runs a stage; what is given last wins."""
        return tao_like.run("text_to_image", stage, None, [*words, *more], quiet=True)

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, words: list[str]) -> Any:
        """All three phases."""
        return cls.run("train", words)

    @pytest.fixture(scope="class")
    @classmethod
    def exported(cls, trained: Any, words: list[str]) -> Any:
        """Five graphs."""
        return cls.run("export", words)

    def test_the_bundle_holds_three_parts_and_what_embeddings_are_like(
        self, trained: Any, words: list[str]
    ) -> None:
        parts = read_bundle(trained.bundle).parts
        assert {name: part.phase for name, part in parts.items()} == dict(zip(PARTS, PARTS, strict=True))
        mean = parts["prior"].weights["mean"]
        assert torch.equal(mean, parts["decoder"].weights["mean"])
        # The mean of vectors of length 1, which are not all the same.
        assert 0 < float(mean.norm()) < 1
        found = {phase["phase"]: phase["metrics"] for phase in trained.report["phases"]}
        assert set(found["clip"]) == {"recall_at_1", "cosine"}
        assert -1 <= found["prior"]["cosine"] <= 1

    def test_tensorboard_shows_what_each_phase_predicts(self, trained: Any) -> None:
        for part in PARTS:
            tags = _read_events(trained.folder / part).Tags()
            assert "val/predictions_wrong_first" in tags["images"], part

    def test_the_last_phase_goes_on_to_the_same_weights(
        self, trained: Any, words: list[str], tmp_path: Path
    ) -> None:
        checkpoint = tmp_path / "last.ckpt"
        shutil.copy(trained.folder / "prior" / "checkpoints" / "last.ckpt", checkpoint)
        resume = f"train.resume_training_checkpoint_path={checkpoint}"
        again = self.run("train", words, f"results_dir={tmp_path}", resume)
        for name, part in read_bundle(trained.bundle).parts.items():
            other = read_bundle(again.bundle).parts[name].weights
            assert all(tensor.equal(other[key]) for key, tensor in part.weights.items()), name

    @pytest.mark.acceptance  # half a minute; the other ways of making images do it in `make test`
    def test_two_processes_share_the_weights_of_all_parts(self, words: list[str], tmp_path: Path) -> None:
        more = ["train.num_epochs=1", "train.strategy=fsdp"]
        assert train_in_processes("text_to_image", tmp_path, [*words, *more]) == [0, 0]
        assert set(read_bundle(tmp_path / "train" / "model.tltb").parts) == set(PARTS)

    def test_the_graphs_score_as_the_bundle_does_wherever_the_embedding_comes_from(
        self, trained: Any, exported: Any, words: list[str], tmp_path: Path
    ) -> None:
        assert exported.difference < 1e-4
        for path in sorted(exported.onnx_file.glob("*.onnx")):
            graph = onnx.load(path)
            assert {item.domain for item in graph.opset_import} <= {"", "ai.onnx"}
        found = [
            self.run(
                "evaluate",
                words,
                f"results_dir={tmp_path / str(number)}",
                f"evaluate.checkpoint={one}",
                "evaluate.conditions=[text,caption]",
            )
            for number, one in enumerate((trained.bundle, exported.onnx_file))
        ]
        assert found[0].metrics == pytest.approx(found[1].metrics, abs=1e-5)
        variants = found[0].report["variants"]
        assert set(variants) == {"from_text", "from_caption"}
        for name, values in variants.items():
            assert values == pytest.approx(found[1].report["variants"][name], abs=1e-5)

    def test_the_runtime_makes_the_same_images_without_torch(
        self, trained: Any, exported: Any, words: list[str], tmp_path: Path
    ) -> None:
        asked = ["inference.num_images=2", "inference.seed=3", f"inference.prompts=['{PROMPT}']"]
        made = self.run(
            "inference", words, *asked, f"inference.checkpoint={trained.bundle}", f"results_dir={tmp_path}"
        )
        expected = images(made)
        command = [sys.executable, "-c", RUNTIME_SCRIPT, str(exported.onnx_file), PROMPT]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found, modules = json.loads(done.stdout)
        assert not {"torch", "timm", "torchvision", "lightning_fabric", "onnx", "yaml"} & set(modules)
        assert abs(np.array(found) - expected).max() <= 1
        assert found[0] != found[1]

    @pytest.mark.parametrize(
        "mode",
        [
            ["inference.mode=variations", "sampling.eta=1"],
            ["inference.mode=interpolate", "inference.image_to={other}"],
            [
                "inference.mode=text_difference",
                "inference.caption=a red circle",
                "inference.prompts=[a blue circle]",
            ],
        ],
        ids=lambda mode: mode[0].partition("=")[2],
    )
    def test_images_that_begin_with_an_image_are_the_same_from_bundle_and_graphs(
        self, mode: list[str], trained: Any, exported: Any, folder: Path, words: list[str], tmp_path: Path
    ) -> None:
        image, *_, other = sorted((folder / "data" / "test").glob("*.png"))
        asked = [*(word.format(other=other) for word in mode), f"inference.image={image}"]
        asked.append("inference.num_images=3")
        found = [
            images(
                self.run(
                    "inference",
                    words,
                    *asked,
                    f"inference.checkpoint={one}",
                    f"results_dir={tmp_path / str(number)}",
                )
            )
            for number, one in enumerate((trained.bundle, exported.onnx_file))
        ]
        assert found[0].shape == (3, SIDE, SIDE, 3)
        assert abs(found[0] - found[1]).max() <= 1
        assert not np.array_equal(found[0][0], found[0][-1])

    def test_rows_keep_more_and_more_components_of_each_image(
        self, trained: Any, exported: Any, folder: Path, words: list[str], tmp_path: Path
    ) -> None:
        chosen = sorted((folder / "data" / "test").glob("*.png"))[:2]
        (tmp_path / "chosen").mkdir()
        for path in chosen:
            shutil.copy(path, tmp_path / "chosen")
        asked = ["inference.mode=pca", f"inference.image={tmp_path / 'chosen'}", "inference.seed=3"]
        made = []
        for number, one in enumerate((trained.bundle, exported.onnx_file)):
            more = [f"inference.checkpoint={one}", f"results_dir={tmp_path / str(number)}"]
            made.append(self.run("inference", words, *asked, "inference.components=[0,2,16]", *more))
        found, other = (images(one) for one in made)
        assert found.shape == (8, SIDE, SIDE, 3)
        assert abs(found - other).max() <= 1
        for row, path in enumerate(chosen):
            np.testing.assert_array_equal(found[4 * row], np.asarray(Image.open(path)))
        # Without a component nothing tells the images apart.
        np.testing.assert_array_equal(found[1], found[5])
        assert not np.array_equal(found[3], found[7])
        assert [row["path"] for row in made[0].rows][:2] == [
            chosen[0].stem,
            f"{chosen[0].stem}, 0 components",
        ]
        with Image.open(made[0].folder / "sheet.png") as sheet:
            assert sheet.width > 1.5 * sheet.height  # four cards by two
        model = runtime.load(exported.onnx_file)
        way = model.generate([""] * 4, seed=3, image=Image.open(chosen[0]), components=[0, 2, 16])
        assert abs(np.stack([one.pixels for one in way]).astype(int) - found[:4]).max() <= 1

    def test_an_image_and_the_same_with_a_word_are_judged_beside_their_variations(
        self, trained: Any, exported: Any, folder: Path, words: list[str], tmp_path: Path
    ) -> None:
        image = min((folder / "data" / "test").glob("*.png"))
        labels = ["a red circle", "a blue circle", "a green cross"]
        asked = ["inference.mode=typographic_attack", f"inference.image={image}", "inference.word=a"]
        asked += [f"inference.prompts=[{','.join(labels)}]", "inference.num_images=2", "sampling.eta=1"]
        made = []
        for number, one in enumerate((trained.bundle, exported.onnx_file)):
            more = [f"inference.checkpoint={one}", f"results_dir={tmp_path / str(number)}"]
            made.append(self.run("inference", words, *asked, *more))
        found = images(made[0])
        assert found.shape == (6, SIDE, SIDE, 3)
        assert abs(found - images(made[1])).max() <= 1
        plain = np.asarray(Image.open(image), int)
        np.testing.assert_array_equal(found[0], plain)
        changed = (found[3] != plain).any(axis=2)
        assert changed[SIDE // 2 :].any()
        assert not changed[: SIDE // 2].any()
        for one, other in zip(made[0].rows, made[1].rows, strict=True):
            chances = {name: one[f"p({name})"] for name in labels}
            assert sum(chances.values()) == pytest.approx(1, abs=1e-3)
            assert one["label"] == max(chances, key=chances.__getitem__)
            assert chances == pytest.approx({name: other[f"p({name})"] for name in labels}, abs=1e-3)

    def test_a_bundle_from_before_components_makes_images_and_says_what_it_does_not_know(
        self, trained: Any, folder: Path, words: list[str], tmp_path: Path
    ) -> None:
        bundle = read_bundle(trained.bundle)
        part = bundle.parts["decoder"]
        weights = {name: tensor for name, tensor in part.weights.items() if name != "axes"}
        assert len(weights) == len(part.weights) - 1
        old = tmp_path / "old.tltb"
        parts = {**bundle.parts, "decoder": dataclasses.replace(part, weights=weights)}
        write_bundle(old, dataclasses.replace(bundle, parts=parts))
        given = [f"inference.checkpoint={old}", f"results_dir={tmp_path}"]
        made = [
            images(self.run("inference", words, f"inference.prompts=['{PROMPT}']", *one))
            for one in (given, [f"inference.checkpoint={trained.bundle}", f"results_dir={tmp_path / 'new'}"])
        ]
        np.testing.assert_array_equal(*made)
        image = min((folder / "data" / "test").glob("*.png"))
        with pytest.raises(SpecError, match="earlier version, which did not keep the principal components"):
            self.run("inference", words, "inference.mode=pca", f"inference.image={image}", *given)
        exported = self.run("export", words, f"export.checkpoint={old}", f"results_dir={tmp_path}")
        assert exported.difference < 1e-4
        start = f"train.pretrained_model_path={old}"
        more = ["train.num_epochs=1", f"results_dir={tmp_path / 'again'}", start]
        again = read_bundle(self.run("train", words, *more).bundle)
        assert again.parts["decoder"].weights["axes"].abs().sum() > 0

    def test_ends_of_a_way_are_the_images_themselves(self, exported: Any, folder: Path) -> None:
        model = runtime.load(exported.onnx_file)
        ends = [Image.open(path) for path in sorted((folder / "data" / "test").glob("*.png"))[:2]]
        way = model.generate(["", ""], image=ends[0], image_to=ends[1], guidance_scale=1.0)
        alone = [model.generate("", image=one, guidance_scale=1.0) for one in ends]
        for one, other in zip(way, alone, strict=True):
            assert abs(one.pixels.astype(int) - other.pixels).max() <= 2
        same = [model.generate("", image=ends[0], seed=seed).pixels for seed in (1, 2)]
        assert np.array_equal(*same)  # without eta there is no chance in it

    def test_a_seed_gives_the_same_image_alone_and_among_others(self, exported: Any) -> None:
        model = runtime.load(exported.onnx_file)
        alone = model.generate(PROMPT, seed=4)
        predicted = model.predict([{"text": "a blue cross", "seed": 9}, {"text": PROMPT, "seed": 4}])[1]
        assert abs(alone.pixels.astype(int) - predicted.pixels).max() <= 1
        with pytest.raises(SpecError, match="condition is 'x'"):
            model.generate(PROMPT, condition="x")
        with pytest.raises(SpecError, match="without an image"):
            model.generate(PROMPT, frames=3)

    def test_a_mode_without_its_image_is_refused(self, words: list[str]) -> None:
        with pytest.raises(SpecError, match=r"inference\.image: is missing; mode=variations"):
            self.run("inference", words, "inference.mode=variations")
        with pytest.raises(SpecError, match=r"inference\.mode: variations .* not glide"):
            self.run("inference", words, "model.arch=glide", "inference.mode=variations")
        attack = ["inference.mode=typographic_attack", "inference.image=a.png"]
        with pytest.raises(SpecError, match=r"(?s)inference\.word: is missing.*judges by two or more"):
            self.run("inference", words, *attack)
        with pytest.raises(SpecError, match=r"inference\.components: is for mode=pca, not variations"):
            self.run("inference", words, "inference.mode=variations", "inference.components=[3]")


def images(result: Any) -> np.ndarray:
    """What an inference has made, in order."""
    return np.stack(
        [np.asarray(Image.open(path), int) for path in sorted((result.folder / "pictures").iterdir())]
    )


def test_a_way_of_generating_comes_back_from_a_file() -> None:
    from tao_like.config import spec_from_dict
    from tao_like.tasks.text_to_image.sampling import generator_for
    from tao_like.tasks.text_to_image.spec import Spec

    spec = spec_from_dict(
        Spec, {"model": {"arch": "unclip"}, "train": {"keep": "last"}}, source="a test"
    ).spec
    generator = generator_for(spec)
    assert generator_of(json.loads(json.dumps(generator_metadata(generator)))) == generator


def test_points_on_a_great_circle_are_at_equal_angles() -> None:
    start, end = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    third = slerp(start, end, np.array([1 / 3], np.float32))
    np.testing.assert_allclose(third, [[math.cos(math.pi / 6), math.sin(math.pi / 6)]], atol=1e-6)
    np.testing.assert_allclose(slerp(start, start, np.array([0.5], np.float32)), start, atol=1e-6)


def test_samples_stand_on_their_way_by_their_seeds() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    journey = Journey.of({"image": image, "frames": 5, "first": 7}, 4, 4)
    np.testing.assert_allclose(journey.places(np.arange(7, 12)), [0, 0.25, 0.5, 0.75, 1])


def test_the_contrastive_loss_is_that_of_its_formula() -> None:
    """Two pairs with cosines 1 and 0, scale e^0: minus the logarithm of e / (e + 1)."""
    image = torch.eye(2)
    loss = contrastive_loss(image, image, torch.zeros(1), torch.eye(2, dtype=torch.bool))
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)
    # Two equal captions: each is right for both, so with equal cosines the loss is the logarithm of two.
    same = torch.ones(2, 2, dtype=torch.bool)
    alike = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert float(contrastive_loss(alike, alike, torch.zeros(1), same)) == pytest.approx(math.log(2), abs=1e-6)


def test_standardized_embeddings_come_back() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(50, 6, generator=generator), dim=1)
    part = Standardized(torch.nn.Identity(), 6)
    part.measure(embeddings)
    standardized = part.standardized(embeddings)
    assert torch.allclose(standardized.mean(dim=0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(standardized.std(dim=0, correction=0), torch.ones(6), atol=1e-4)
    assert torch.allclose(part.embeddings(standardized), embeddings, atol=1e-5)


@pytest.mark.acceptance
def test_the_autoregressive_prior_trains_and_ships(tmp_path: Path) -> None:
    data = data_overrides(write_pairs(tmp_path / "data"))
    words = ["model.arch=unclip", "model.unclip.prior=autoregressive", *TINY, *data, "train.num_epochs=1"]
    words += ["model.unclip.caption_sum=true", f"results_dir={tmp_path / 'results'}"]
    trained = TestUnclip.run("train", words)
    exported = TestUnclip.run("export", words)
    assert exported.difference < 1e-4
    assert set(read_bundle(trained.bundle).parts["prior"].weights) > {"coder.axes", "coder.low"}
    model = runtime.load(exported.onnx_file)
    first, second = model.generate([PROMPT] * 2, candidates=3)
    assert not np.array_equal(first.pixels, second.pixels)


def test_no_code_sees_itself_or_those_after_it() -> None:
    torch.manual_seed(0)
    prior = CodePrior(
        embedding=8, text_width=6, length=5, codes=4, buckets=10, width=16, layers=2, heads=2
    ).eval()
    text, tokens = torch.randn(1, 8), torch.randn(1, 5, 6)
    padding = torch.tensor([[False, False, False, True, True]])
    codes = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        first = prior(codes, text, tokens, padding)
        other = prior(torch.tensor([[1, 9, 0, 7]]), text, tokens, padding)
    assert torch.allclose(first[:, :2], other[:, :2], atol=1e-6)
    assert not torch.allclose(first[:, 2], other[:, 2], atol=1e-6)


def test_codes_are_drawn_by_their_shares() -> None:
    """A prior that says 0 with 1/4 and 1 with 3/4 at every place."""
    logits = np.log(np.array([0.25, 0.75], np.float32))

    def call(name: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": np.broadcast_to(logits, (len(given["codes"]), 2, 2))}

    normal = np.random.default_rng(0).standard_normal((2, 4000)).astype(np.float32)
    words = {"text_embedding": np.zeros((4000, 1), np.float32)}
    drawn = by_codes(Asked(call, words, words, 1.0), normal)
    assert drawn.mean() == pytest.approx(0.75, abs=0.02)
