"""unCLIP on a trained bundle of the task clip: the same embeddings, and no need of that bundle afterwards."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_clip
import torch
from PIL import Image
from tiny_sentence_model import write_sentence_model
from tiny_text_to_image import SIDE, TINY, data_overrides, write_pairs
from torch.nn import functional

import tao_like
from tao_like import runtime
from tao_like.bundle import read_bundle, write_bundle
from tao_like.contract.model import Exportable
from tao_like.contract.restored import restored
from tao_like.errors import BundleError, SpecError
from tao_like.runtime.generation.unclip import IMAGE_GRAPH, TEXT_GRAPH
from tao_like.stages.dry_run import dry_run
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.tasks import task_class
from tao_like.tasks.clip.model.sentence_tower import SentenceShape, SentenceTower
from tao_like.tasks.common.pair_judge import BundleJudge
from tao_like.tasks.text_to_image.unclip.given_clip import GivenImageTower, GivenTextTower

PROMPT = "a small red circle in the middle"
TEXTS = [PROMPT, "a large blue cross", "a word that no caption has"]
SIZES = {"train": 16, "val": 4, "test": 4}
KEY = "model.unclip.pretrained_clip_path"
EMBEDDING, TEXT_WIDTH, LENGTH = 16, 32, 12
"""Of the tiny pair; the tiny unclip asks for a text width of 16."""


@dataclass
class Case:
    """What a training of unclip over a pair has left; the pair's own files are gone.

    Attributes:
        folder: of the results.
        data: overrides that name the data.
        words: overrides of all stages.
        trained: what the training gave.
        pair: the pair's bundle, as it was read.
        text: its embeddings of `TEXTS`, by its exported folder.
        pixels: the test images, (N, SIDE, SIDE, 3).
        image: its embeddings of these, likewise.
        missing: where its bundle lay.
        parked: where a copy of it is.
    """

    folder: Path
    data: list[str]
    words: list[str]
    trained: Any
    pair: Any
    text: np.ndarray
    pixels: np.ndarray
    image: np.ndarray
    missing: Path
    parked: Path

    def run(self, stage: str, *more: str) -> Any:
        """Runs a stage; what is given last wins."""
        return tao_like.run("text_to_image", stage, None, [*self.words, *more], quiet=True)


def trained_case(folder: Path, *of_pair: str) -> Case:
    """Trains a pair and unclip over it, and takes the pair away."""
    data = data_overrides(write_pairs(folder / "data", SIZES))
    pair = tiny_clip.run("train", folder / "clip", *data, "train.num_epochs=1", *of_pair)
    shipped = tiny_clip.run("export", folder / "clip", *data)
    model = runtime.load(shipped.onnx_file)
    paths = sorted((folder / "data" / "test").glob("*.png"))
    text = np.stack([model.predict({"text": one}).embedding for one in TEXTS])
    image = np.stack([model.predict(path).embedding for path in paths])
    words = ["model.arch=unclip", *TINY, *data, "train.num_epochs=1", f"results_dir={folder / 'results'}"]
    words.append(f"{KEY}={pair.bundle}")
    trained = tao_like.run("text_to_image", "train", None, words, quiet=True)
    bundle = read_bundle(pair.bundle)
    parked = folder / "parked.tltb"
    shutil.copy(pair.bundle, parked)
    shutil.rmtree(folder / "clip")
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    return Case(folder, data, words, trained, bundle, text, pixels, image, pair.bundle, parked)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Over a pair whose captions are byte pairs, and that looks at larger images than unclip makes."""
    more = ["model.tokenizer={type: bpe, vocabulary_size: 560, context_length: 12}", "model.image_size=24"]
    return trained_case(tmp_path_factory.mktemp("given"), *more)


@pytest.fixture(scope="module")
def exported(case: Case) -> Any:
    """Its graphs."""
    return case.run("export")


def graphs_of(bundle: Path) -> dict[str, Exportable]:
    """The graphs of a bundle of unclip in torch."""
    found = restored(task_class("text_to_image"), bundle)
    return found.task.exports(found.network, "")


def as_pixels(images: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 to (N, 3, H, W), 0 to 1."""
    return np.ascontiguousarray((images.astype(np.float32) / 255).transpose(0, 3, 1, 2))


def test_the_bundle_holds_the_pair_as_it_was_and_has_no_phase_of_it(case: Case) -> None:
    assert not case.missing.exists()
    assert [phase["phase"] for phase in case.trained.report["phases"]] == ["prior", "decoder"]
    bundle = read_bundle(case.trained.bundle)
    assert {name: part.phase for name, part in bundle.parts.items()} == {
        "clip": "",
        "prior": "prior",
        "decoder": "decoder",
    }
    held = bundle.parts["clip"].weights
    given = {
        f"{name}.tower.{key}": tensor
        for name, part in case.pair.parts.items()
        for key, tensor in part.weights.items()
    }
    assert held.keys() == given.keys()
    assert all(torch.equal(held[name], tensor) for name, tensor in given.items())
    model = bundle.spec["model"]
    assert (model["context_length"], model["unclip"]["embedding"]) == (LENGTH, EMBEDDING)
    assert model["unclip"]["text_width"] == TEXT_WIDTH
    assert bundle.preprocessing["text"] == case.pair.preprocessing["text"]
    # Nothing of the pair's data or paths.
    assert set(model["unclip"]["clip"]["spec"]) == {"model", "train"}


def test_keys_of_a_clip_of_its_own_are_told_to_have_no_effect(case: Case) -> None:
    lines = (case.trained.folder / "log.txt").read_text("utf-8").splitlines()
    told = next(line for line in lines if "of no effect" in line)
    assert "model.unclip.text_width=16" in told
    assert "model.unclip.embedding" not in told  # it is what the pair has
    assert any("CLIP is that of" in line and str(case.missing) in line for line in lines)


def test_embeddings_are_those_of_the_exported_pair(case: Case, exported: Any) -> None:
    model = runtime.load(exported.onnx_file)
    ids = np.stack([model.prepare({"text": text, "seed": 0})["text"] for text in TEXTS])
    found = model.run(TEXT_GRAPH, {"text": ids})
    np.testing.assert_allclose(found["text_embedding"], case.text, atol=1e-5)
    # Its runtime rounds resized pixels to whole numbers; torch's filter does not, and is the same otherwise.
    image = model.run(IMAGE_GRAPH, {"pixels": as_pixels(case.pixels)})["image_embedding"]
    np.testing.assert_allclose(image, case.image, atol=0.02)
    pixels = torch.from_numpy(case.pixels).permute(0, 3, 1, 2).float()
    np.testing.assert_allclose(image, BundleJudge(case.parked).embed_pixels(pixels).numpy(), atol=1e-5)


def test_an_empty_caption_has_no_embedding_and_nothing_to_see(case: Case, exported: Any) -> None:
    model = runtime.load(exported.onnx_file)
    ids = np.stack([model.prepare({"text": text, "seed": 0})["text"] for text in TEXTS])
    ids[1] = 0
    found = model.run(TEXT_GRAPH, {"text": ids})
    in_torch = graphs_of(case.trained.bundle)[TEXT_GRAPH].module(torch.from_numpy(ids))
    for name, value in zip(found, in_torch, strict=True):
        np.testing.assert_allclose(found[name], value.numpy(), atol=1e-5)
        assert not found[name][1].any(), name
        assert found[name][[0, 2]].any(axis=1).all(), name
    end = model.inputs["text"].tokenizer.end
    assert found["seen"][0].sum() == 1 + ids[0].tolist().index(end)


def test_it_scores_and_makes_images_without_the_pair(case: Case, exported: Any, tmp_path: Path) -> None:
    assert exported.difference < 1e-3
    found = [
        case.run(
            "evaluate",
            f"evaluate.checkpoint={one}",
            f"results_dir={tmp_path / str(number)}",
            "evaluate.conditions=[text,caption]",
        )
        for number, one in enumerate((case.trained.bundle, exported.onnx_file))
    ]
    assert found[0].metrics == pytest.approx(found[1].metrics, abs=1e-5)
    assert set(found[0].report["variants"]) == {"from_text", "from_caption"}
    image = min((case.folder / "data" / "test").glob("*.png"))
    ways = {
        "generate": [f"inference.prompts=['{PROMPT}']"],
        "text_difference": [
            f"inference.image={image}",
            "inference.caption=a red circle",
            "inference.prompts=[a blue circle]",
        ],
        "pca": [f"inference.image={image}"],
    }
    made = {}
    for mode, words in ways.items():
        for number, one in enumerate((case.trained.bundle, exported.onnx_file)):
            more = [f"inference.checkpoint={one}", f"results_dir={tmp_path / mode / str(number)}"]
            result = case.run("inference", f"inference.mode={mode}", "inference.seed=3", *words, *more)
            pictures = sorted((result.folder / "pictures").iterdir())
            made[mode, number] = np.stack([np.asarray(Image.open(path), int) for path in pictures])
        assert abs(made[mode, 0] - made[mode, 1]).max() <= 1, mode
    # Itself, then 1, 2, 4, 8 and all 16 components.
    assert len(made["pca", 0]) == 6
    picture = runtime.load(exported.onnx_file).generate(PROMPT, seed=3).pixels
    assert abs(picture.astype(int) - made["generate", 0][0]).max() <= 1


def test_a_broken_training_goes_on_over_the_pair(case: Case, tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    shutil.copy(case.trained.folder / "prior" / "checkpoints" / "last.ckpt", checkpoint)
    resume = f"train.resume_training_checkpoint_path={checkpoint}"
    with pytest.raises(SpecError, match=rf"{KEY}: there is no file"):
        case.run("train", f"results_dir={tmp_path}", resume)
    again = case.run("train", f"results_dir={tmp_path}", resume, f"{KEY}={case.parked}")
    for name, part in read_bundle(case.trained.bundle).parts.items():
        other = read_bundle(again.bundle).parts[name].weights
        assert all(tensor.equal(other[key]) for key, tensor in part.weights.items()), name


def test_a_broken_training_does_not_go_on_over_another_pair(case: Case, tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    shutil.copy(case.trained.folder / "prior" / "checkpoints" / "last.ckpt", checkpoint)
    other = tmp_path / "other.tltb"
    write_bundle(other, dataclasses.replace(case.pair, metrics={"other": 1.0}))
    resume = f"train.resume_training_checkpoint_path={checkpoint}"
    with pytest.raises(SpecError, match=r"model\.unclip\.clip\.sha256 was \w+ and is"):
        case.run("train", f"results_dir={tmp_path}", resume, f"{KEY}={other}")


def test_a_new_training_starts_from_the_bundle_alone(case: Case, tmp_path: Path) -> None:
    start = f"train.pretrained_model_path={case.trained.bundle}"
    again = case.run("train", f"results_dir={tmp_path}", start)
    held, other = (read_bundle(one).parts["clip"].weights for one in (case.trained.bundle, again.bundle))
    assert all(tensor.equal(other[key]) for key, tensor in held.items())
    pair = tmp_path / "other.tltb"
    write_bundle(pair, dataclasses.replace(case.pair, metrics={"other": 1.0}))
    with pytest.raises(SpecError, match=rf"{KEY}=.* is another CLIP than the one .*pretrained_model_path"):
        case.run("train", f"results_dir={tmp_path}", start, f"{KEY}={pair}")


@pytest.mark.acceptance
def test_it_is_pruned_without_the_pair(case: Case, tmp_path: Path) -> None:
    given = f"prune.checkpoint={case.trained.bundle}"
    pruned = case.run("prune", given, f"results_dir={tmp_path}", "prune.ratio=0.4", "prune.granularity=2")
    before, after = (read_bundle(one).parts for one in (case.trained.bundle, pruned.bundle))
    for name in before:
        sizes = [sum(one.numel() for one in parts[name].weights.values()) for parts in (before, after)]
        assert (sizes[0] > sizes[1]) == (name != "clip")
    again = case.run("train", f"results_dir={tmp_path}", f"train.pruned_model_path={pruned.bundle}")
    held, other = before["clip"].weights, read_bundle(again.bundle).parts["clip"].weights
    assert all(tensor.equal(other[key]) for key, tensor in held.items())


def test_a_dry_run_counts_the_pair(case: Case) -> None:
    found = dry_run("text_to_image", None, [*case.words, f"{KEY}={case.parked}"])
    held = read_bundle(case.trained.bundle).parts
    # Normalization is two buffers of three numbers.
    expected = sum(tensor.numel() for tensor in held["clip"].weights.values()) - 6
    assert found.parameters["clip"] == expected
    assert sum(found.parameters.values()) == case.trained.report["parameters"]


@pytest.mark.acceptance
def test_a_pruned_pair_keeps_its_sizes(case: Case, tmp_path: Path) -> None:
    pruned = tiny_clip.run(
        "prune", tmp_path / "clip", *case.data, f"prune.checkpoint={case.parked}", "prune.ratio=0.3"
    )
    expected = BundleJudge(pruned.bundle).embed_texts(TEXTS)
    words = [f"{KEY}={pruned.bundle}", f"results_dir={tmp_path}", "model.unclip.caption_sum=true"]
    trained = case.run("train", *words, "model.unclip.prior=autoregressive")
    shutil.rmtree(tmp_path / "clip")
    held = read_bundle(trained.bundle).parts["clip"].weights
    whole = read_bundle(case.trained.bundle).parts["clip"].weights
    assert sum(one.numel() for one in held.values()) < sum(one.numel() for one in whole.values())
    found = restored(task_class("text_to_image"), trained.bundle)
    ids = torch.from_numpy(found.task.inputs["text"].preprocess(TEXTS))
    with torch.no_grad():
        np.testing.assert_allclose(found.network.clip.text(ids)[0].numpy(), expected, atol=1e-6)  # type: ignore[operator, union-attr]
    assert case.run("export", f"results_dir={tmp_path}").difference < 1e-3


def test_a_sentence_model_is_a_text_tower_of_unclip_too(tmp_path: Path) -> None:
    write_sentence_model(tmp_path / "model", "xlm-roberta")
    words = [f"model.text_encoder.path={tmp_path / 'model'}", "model.embed_dim=null", "model.text={}"]
    words += ["model.freeze_text_encoder=true", "model.tokenizer={context_length: 20}"]
    made = trained_case(tmp_path, *words)
    shutil.rmtree(tmp_path / "model")
    exported = made.run("export")
    assert exported.difference < 1e-3
    model = runtime.load(exported.onnx_file)
    ids = np.stack([model.prepare({"text": text, "seed": 0})["text"] for text in TEXTS])
    assert (ids == 1).any()  # its padding
    found = model.run(TEXT_GRAPH, {"text": ids})
    np.testing.assert_allclose(found["text_embedding"], made.text, atol=1e-5)
    np.testing.assert_array_equal(found["seen"], ids != 1)
    image = model.run(IMAGE_GRAPH, {"pixels": as_pixels(made.pixels)})["image_embedding"]
    np.testing.assert_allclose(image, made.image, atol=1e-5)


@pytest.mark.parametrize(("side", "wanted"), [(32, 16), (16, 40), (16, 16)])
def test_images_are_resized_as_torch_does_it(side: int, wanted: int) -> None:
    class Flat(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.flatten(1)

    pixels = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    resized = functional.interpolate(pixels, (wanted, wanted), mode="bicubic", antialias=True).clamp(0, 1)
    found = GivenImageTower(Flat(), side, wanted)(pixels)
    assert torch.allclose(found, functional.normalize(resized.flatten(1), dim=1), atol=1e-6)


@pytest.mark.parametrize("pad", [0, 1])
def test_no_caption_is_no_number_of_a_mean_over_no_tokens(pad: int, tmp_path: Path) -> None:
    """A mean over no tokens is not a number, and must not come out; in ONNX neither."""
    shape = SentenceShape(20, pad, 8, 1, 2, 12, "gelu", 1e-12, "mean")
    tower = SentenceTower(shape, 6, 8, logit_scale=2.0, logit_bias=None)
    given = GivenTextTower(tower).eval()
    ids = torch.tensor([[4, 5, 6, pad, pad, pad], [0] * 6, [7, 3, pad, pad, pad, pad]])
    with torch.no_grad():
        embedding, tokens = given(ids)
    assert embedding.isfinite().all()
    assert not embedding[1].any()
    assert embedding.norm(dim=1)[[0, 2]].tolist() == pytest.approx([1, 1], abs=1e-6)
    assert given.padding(ids).tolist() == [[False] * 3 + [True] * 3, [True] * 6, [False] * 2 + [True] * 4]
    outputs = {name: {0: "batch"} for name in ("embedding", "tokens")}
    exportable = Exportable(given, {"text": {0: "batch"}}, outputs, dict.fromkeys(outputs, ""), lambda _: ())
    graph, _ = to_onnx(exportable, (ids,), dynamic=True, opset=18)
    onnx.save(graph, tmp_path / "text.onnx")
    found = onnxruntime.InferenceSession(str(tmp_path / "text.onnx")).run(None, {"text": ids.numpy()})
    np.testing.assert_allclose(found[0], embedding.numpy(), atol=1e-6)
    np.testing.assert_allclose(found[1], tokens.numpy(), atol=1e-5)


def test_what_is_no_pair_is_refused(case: Case, exported: Any, tmp_path: Path) -> None:
    words = [word for word in case.words if not word.startswith(KEY)]

    def refused(path: Path | str, kind: type[Exception], match: str, *more: str) -> None:
        given = [*words, f"{KEY}={path}", f"results_dir={tmp_path}", *more]
        with pytest.raises(kind, match=match) as caught:
            tao_like.run("text_to_image", "train", None, given, quiet=True)
        assert len(str(caught.value).splitlines()) == 1

    codes = "model.unclip.prior_codes=99"
    key = KEY.replace(".", r"\.")
    refused(case.missing, SpecError, rf"{key}: there is no file .*model\.tltb")
    refused(case.trained.bundle, BundleError, rf"{key}: .*'text_to_image'; one of 'clip' is needed")
    refused(exported.onnx_file, SpecError, rf"{key}=.* is an exported model or a folder.*name the bundle")
    text = tmp_path / "words.tltb"
    text.write_text("no bundle", encoding="utf-8")
    refused(text, BundleError, rf"{key}: .*words\.tltb")
    damaged = tmp_path / "damaged.tltb"
    content = bytearray(case.parked.read_bytes())
    content[len(content) // 2] ^= 255
    damaged.write_bytes(bytes(content))
    refused(damaged, BundleError, rf"{key}: .*damaged\.tltb")
    refused(case.parked, SpecError, r"prior_codes=99 .*16", "model.unclip.prior=autoregressive", codes)
    copied = "model.unclip.clip.sha256=ab"
    refused(case.parked, SpecError, r"model\.unclip\.clip is what a training keeps of", copied)
    glide = [*words, "model.arch=glide", f"{KEY}={case.parked}"]
    with pytest.raises(SpecError, match=rf"{key}: is for arch=unclip, not glide"):
        tao_like.run("text_to_image", "train", None, glide, quiet=True)


def test_what_is_kept_is_json(case: Case) -> None:
    kept = read_bundle(case.trained.bundle).spec["model"]["unclip"]["clip"]
    assert json.loads(json.dumps(kept)) == kept
    assert kept["sha256"] == BundleJudge(case.parked).sha256
    assert kept["image"]["height"] == 24 != SIDE
