"""text_to_image through every stage that it has."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
import torch
from base import TaskStagesTest, given
from base_quantize import QuantizeStageTests
from PIL import Image
from processes import train_in_processes
from published_networks import PRESETS
from stage_runs import assert_rows_agree
from tiny_text_to_image import SIDE, TINY, data_overrides, write_pairs

import tao_like
from tao_like import runtime
from tao_like.bundle import file_sha256, read_bundle
from tao_like.errors import DatasetError, SpecError, TaoLikeError
from tao_like.stages.results import ExportResult, InferenceResult, TrainResult

RUNTIME_SCRIPT = """\
import json, sys
from tao_like.runtime import load

model = load(sys.argv[1])
images = model.generate([sys.argv[2], sys.argv[2]], seed=3)
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([[one.pixels.tolist() for one in images], modules]))
"""
PROMPT = "a small red circle in the middle"


class TestGlide(TaskStagesTest):
    task: ClassVar[str] = "text_to_image"
    tiny: ClassVar[tuple[str, ...]] = ("model.arch=glide", *TINY)
    input_formats: ClassVar[tuple[str, ...]] = ("ids_int64",)
    fixed_batch: ClassVar[int] = -1
    # Attention in inference takes another way on the CPU, which rounds otherwise.
    device_tolerance: ClassVar[float] = 1e-5

    # It takes sentences, not files of samples: what tests of such files ask is asked below.
    test_inference_answers_a_file_a_folder_and_a_pattern_alike = None
    test_inference_skips_a_corrupt_file_or_stops = None
    test_the_runtime_answers_as_inference_does_and_loads_no_torch = None
    # Its file is a folder of graphs, whose batch is open, since guidance doubles it.
    test_an_exported_file_describes_itself_and_answers_as_the_bundle = None

    @classmethod
    def make_data(cls, folder: Path, *, missing: bool = False, corrupt: bool = False) -> list[str]:
        if not missing:
            write_pairs(folder)
        if corrupt:
            spoil(folder, "train")
        return data_overrides(folder)

    @classmethod
    def spoil_data(cls, folder: Path, fault: str) -> list[str]:
        write_pairs(folder)
        for split in ("train", "val", "test"):
            if fault == "corrupt sample":
                spoil(folder, split)
            elif fault in ("no samples", "a file for a folder"):
                shutil.rmtree(folder / split)
                if fault == "no samples":
                    (folder / split).mkdir()
                else:
                    (folder / split).write_text("a file")
        return data_overrides(folder)

    def test_inference_makes_what_is_asked_for_and_says_of_what(
        self, trained: TrainResult, exported: ExportResult, data: list[str], tmp_path: Path
    ) -> None:
        words = [*data, f"inference.prompts=['{PROMPT}','a blue cross']", "inference.num_images=2"]
        words += ["inference.seed=5"]
        bundle = self.run("inference", tmp_path / "bundle", [*words, *given("inference", trained)])
        onnx = self.run("inference", tmp_path / "onnx", [*words, *given("inference", exported)])
        assert isinstance(bundle, InferenceResult)
        assert isinstance(onnx, InferenceResult)
        assert_rows_agree(bundle.rows, onnx.rows)
        assert [(row["prompt"], row["seed"]) for row in bundle.rows] == [
            (PROMPT, 5), (PROMPT, 6), ("a blue cross", 5), ("a blue cross", 6)
        ]  # fmt: skip
        images = sorted((bundle.folder / "pictures").iterdir())
        with Image.open(images[1]) as image:
            assert image.size == (SIDE, SIDE)
            told = image.text  # type: ignore[attr-defined]
        assert (told["prompt"], told["seed"]) == (PROMPT, "6")
        assert told["model"] == file_sha256(trained.bundle)
        for one, other in zip(images, sorted((onnx.folder / "pictures").iterdir()), strict=True):
            difference = np.asarray(Image.open(one), int) - np.asarray(Image.open(other), int)
            assert abs(difference).max() <= 1
        assert (bundle.folder / "sheet.png").is_file()

    def test_prompts_come_from_a_file_too(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        (tmp_path / "prompts.txt").write_text(f"{PROMPT}\n\na blue cross\n", encoding="utf-8")
        result = self.infer(tmp_path / "prompts.txt", trained, data, tmp_path)
        assert [row["prompt"] for row in result.rows] == [PROMPT, "a blue cross"]
        (tmp_path / "prompts.txt").write_text("\n", encoding="utf-8")
        with pytest.raises(DatasetError, match=r"inference\.source.*has no prompt"):
            self.infer(tmp_path / "prompts.txt", trained, data, tmp_path)

    def test_the_folder_describes_itself(self, trained: TrainResult, exported: ExportResult) -> None:
        model = runtime.load(exported.onnx_file)
        assert set(model.graphs) == {"text_encoder", "denoiser"}
        for name in model.graphs:
            graph = onnx.load(exported.onnx_file / f"{name}.onnx")
            onnx.checker.check_model(graph, full_check=True)
            assert {item.domain for item in graph.opset_import} <= {"", "ai.onnx"}
        assert model.metadata.task == self.task
        assert model.metadata.bundle_sha256 == file_sha256(trained.bundle)
        told = model.metadata.extra["generation"]
        assert (told["kind"], told["prediction"], len(told["timesteps"])) == ("diffusion", "x0", 4)

    def test_the_runtime_makes_the_same_images_without_torch(
        self, trained: TrainResult, exported: ExportResult, data: list[str], tmp_path: Path
    ) -> None:
        words = [*data, *given("inference", trained), f"inference.prompts=['{PROMPT}']", "inference.seed=3"]
        made = self.run("inference", tmp_path, [*words, "inference.num_images=2"])
        expected = [
            np.asarray(Image.open(path), int) for path in sorted((made.folder / "pictures").iterdir())
        ]
        command = [sys.executable, "-c", RUNTIME_SCRIPT, str(exported.onnx_file), PROMPT]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        images, modules = json.loads(done.stdout)
        assert not {"torch", "timm", "torchvision", "lightning_fabric", "onnx", "yaml"} & set(modules)
        for one, other in zip(images, expected, strict=True):
            assert abs(np.array(one) - other).max() <= 1
        assert images[0] != images[1]

    def test_a_seed_gives_the_same_image_alone_and_among_others(self, exported: ExportResult) -> None:
        model = runtime.load(exported.onnx_file)
        alone = model.generate(PROMPT, seed=4)
        among = model.generate(["a blue cross", PROMPT], seed=3)[1]
        predicted = model.predict([{"text": "a blue cross", "seed": 9}, {"text": PROMPT, "seed": 4}])[1]
        assert np.array_equal(alone.pixels, among.pixels)
        assert abs(alone.pixels.astype(int) - predicted.pixels).max() <= 1
        with pytest.raises(SpecError, match="cannot be set"):
            model.generate(PROMPT, nonsense=3)

    def test_guidance_is_swept_and_without_it_the_prompt_is_not_heard(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        words = [*data, *given("evaluate", trained), "evaluate.guidance=[0,3]"]
        result = self.run("evaluate", tmp_path, words)
        assert set(result.report["variants"]) == {"guidance_0", "guidance_3"}
        assert (result.folder / "guidance_0.png").is_file()
        made = []
        for number, prompt in enumerate(("a red circle", "a large blue cross at the top left")):
            more = [*data, *given("inference", trained), f"inference.prompts=['{prompt}']"]
            asked = self.run("inference", tmp_path / str(number), [*more, "sampling.guidance_scale=0"])
            (path,) = (asked.folder / "pictures").iterdir()
            made.append(np.asarray(Image.open(path)))
        assert np.array_equal(*made)

    def test_an_image_is_painted_where_the_mask_is_white(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        image = np.full((SIDE, SIDE, 3), 90, np.uint8)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[4:12, 4:12] = 255
        Image.fromarray(image).save(tmp_path / "image.png")
        Image.fromarray(mask).save(tmp_path / "mask.png")
        words = [*data, *given("inference", trained), f"inference.prompts=['{PROMPT}']"]
        words += [f"inference.{name}={tmp_path / f'{name}.png'}" for name in ("image", "mask")]
        made = self.run("inference", tmp_path, words)
        (path,) = (made.folder / "pictures").iterdir()
        found = np.asarray(Image.open(path))
        assert (found[mask == 0] == 90).all()
        assert (found[mask > 0] != 90).any()

    def assert_same_prediction(self, prediction: Mapping[str, Any], row: Mapping[str, str]) -> None:
        raise NotImplementedError  # the tests that call it are replaced above


def leave_out(cls: type[Any], others: type[Any], but: tuple[str, ...] = ()) -> None:
    """Tests of stages that a task does not have."""
    for name in vars(others):
        if name.startswith("test_") and name not in but:
            setattr(cls, name, None)


# Int8 of a sampler needs a proof of its own.
leave_out(TestGlide, QuantizeStageTests)


def spoil(folder: Path, split: str) -> None:
    """Cuts off the second image of a split, and calls it corrupt."""
    image = folder / split / "001.png"
    bad = folder / split / "corrupt.png"
    bad.write_bytes(image.read_bytes()[:-200])
    image.with_suffix(".txt").rename(bad.with_suffix(".txt"))
    image.unlink()


class TestDalle:
    """Two phases, three graphs; what all tasks share is asked of glide."""

    @pytest.fixture(scope="class")
    @classmethod
    def words(cls, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
        """Data and results of all tests."""
        folder = tmp_path_factory.mktemp("dalle")
        data = data_overrides(write_pairs(folder / "data"))
        return ["model.arch=dalle", *TINY, *data, "train.num_epochs=2", f"results_dir={folder / 'results'}"]

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
        """Three graphs."""
        return cls.run("export", words)

    @pytest.mark.acceptance
    def test_two_processes_share_the_weights_of_both_parts(self, words: list[str], tmp_path: Path) -> None:
        more = ["train.num_epochs=1", "train.strategy=fsdp"]
        assert train_in_processes("text_to_image", tmp_path, [*words, *more]) == [0, 0]
        assert set(read_bundle(tmp_path / "train" / "model.tltb").parts) == {"dvae", "transformer"}

    def test_the_bundle_holds_both_parts_with_their_phases(self, trained: Any) -> None:
        parts = read_bundle(trained.bundle).parts
        assert {name: part.phase for name, part in parts.items()} == {
            "dvae": "dvae",
            "transformer": "transformer",
        }

    def test_the_second_phase_goes_on_to_the_same_weights_and_leaves_the_first(
        self, trained: Any, words: list[str], tmp_path: Path
    ) -> None:
        checkpoint = tmp_path / "last.ckpt"
        shutil.copy(trained.folder / "transformer" / "checkpoints" / "last.ckpt", checkpoint)
        again = self.run(
            "train",
            words,
            f"results_dir={tmp_path}",
            f"train.resume_training_checkpoint_path={checkpoint}",
        )
        for name, part in read_bundle(trained.bundle).parts.items():
            other = read_bundle(again.bundle).parts[name].weights
            assert all(tensor.equal(other[key]) for key, tensor in part.weights.items()), name

    def test_a_dvae_that_misses_the_gate_stops_the_training_and_says_what_to_do(
        self, words: list[str], tmp_path: Path
    ) -> None:
        with pytest.raises(TaoLikeError, match=r"psnr .*train\.gate\.psnr=60.*train\.dvae\.num_epochs"):
            self.run("train", words, f"results_dir={tmp_path}", "train.gate.psnr=60", "train.num_epochs=1")
        assert not (tmp_path / "train" / "model.tltb").exists()

    def test_the_graphs_score_as_the_bundle_does(
        self, trained: Any, exported: Any, words: list[str], tmp_path: Path
    ) -> None:
        assert exported.difference < 1e-4
        promised = self.run("evaluate", words, "evaluate.split=val", f"results_dir={tmp_path / 'val'}",
                            f"evaluate.checkpoint={trained.bundle}")  # fmt: skip
        assert promised.metrics == pytest.approx(trained.metrics, abs=1e-6)
        found = [
            self.run("evaluate", words, f"results_dir={tmp_path / str(number)}", f"evaluate.checkpoint={one}")
            for number, one in enumerate((trained.bundle, exported.onnx_file))
        ]
        assert found[0].metrics == pytest.approx(found[1].metrics, abs=1e-5)

    def test_sampling_has_the_settings_that_are_asked_for(self, exported: Any) -> None:
        model = runtime.load(exported.onnx_file)
        likeliest = [model.generate(PROMPT, seed=seed, temperature=0).pixels for seed in (1, 2)]
        assert np.array_equal(*likeliest)
        drawn = [model.generate(PROMPT, seed=seed).pixels for seed in (1, 2, 1)]
        assert not np.array_equal(drawn[0], drawn[1])
        assert np.array_equal(drawn[0], drawn[2])
        unheard = [model.generate(text, guidance_scale=0).pixels for text in (PROMPT, "a blue cross")]
        assert np.array_equal(*unheard)

    def test_another_vocabulary_is_refused_as_a_start(
        self, trained: Any, words: list[str], tmp_path: Path
    ) -> None:
        start = f"train.pretrained_model_path={trained.bundle}"
        with pytest.raises(SpecError, match="another vocabulary"):
            self.run("train", words, f"results_dir={tmp_path}", start, "model.vocabulary_size=5")


@pytest.mark.acceptance
def test_published_sizes_make_a_step(tmp_path: Path) -> None:
    """GLIDE's 385 million parameters take noise away once."""
    network = PRESETS["glide_64"].build().eval()
    with torch.no_grad():
        text = network.text(torch.ones(1, 128, dtype=torch.int64))  # type: ignore[operator]
        found = network(torch.randn(1, 3, 64, 64), torch.tensor([5.0]), *text)
    assert found.shape == (1, 6, 64, 64)
