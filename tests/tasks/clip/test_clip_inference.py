"""What is done with words given at call time: embeddings, search, the attack; and init, LiT, WiSE-FT."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_classification
import torch
from PIL import Image
from sample_images import shape, write_class_folders
from stage_runs import assert_same_weights, break_in_second_epoch, status_lines, weights_of
from tiny_clip import data_overrides, run, tiny_spec

from tao_like import runtime
from tao_like.bundle import read_bundle, write_bundle
from tao_like.config import load_spec
from tao_like.errors import BundleError, DatasetError, SpecError
from tao_like.networks.weights.loading import source_normalization
from tao_like.stages.export import exported_file
from tao_like.tasks import spec_module
from tao_like.tasks.clip.init import write_spec
from tao_like.tasks.common.pair_judge import open_guide, open_judge


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that name class folders."""
    return data_overrides(write_class_folders(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def trained(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A training that tells red from blue."""
    words = [*data, "dataset.batch_size=12", "train.num_epochs=15", "train.validation_interval=15"]
    return run("train", tmp_path_factory.mktemp("trained"), *words, "train.keep=last")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of each color."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        for name in ("red", "blue"):
            shape([name], 900 + number).save(folder / f"{name}{number}.png")
    return folder


def infer(trained: Any, photos: Path, results: Path, *words: str) -> Any:
    """Runs inference on the photos."""
    given = [f"inference.checkpoint={trained.bundle}", f"inference.source={photos}", *words]
    return run("inference", results, *given)


CLASSES = "inference.classes=[a photo of a red,a photo of a blue]"


def test_classes_are_named_at_call_time(trained: Any, photos: Path, tmp_path: Path) -> None:
    result = infer(trained, photos, tmp_path, CLASSES)
    right = [Path(row["path"]).stem[:-1] == row["label"].split()[-1] for row in result.rows]
    assert sum(right) >= 5
    assert Image.open(result.folder / "similarity.png").size[0] > 200


def test_a_labelled_image_is_judged_where_its_own_class_is_asked_about(
    trained: Any, data: list[str], tmp_path: Path
) -> None:
    words = [*data, f"inference.checkpoint={trained.bundle}", "inference.classes=[blue,a thing]"]
    rows = run("inference", tmp_path, *words).rows
    assert {row["truth"] for row in rows} == {"", "blue"}
    assert all((row["correct"] == "") == (row["truth"] == "") for row in rows)


def test_embeddings_come_as_arrays_without_pickles(trained: Any, photos: Path, tmp_path: Path) -> None:
    result = infer(trained, photos, tmp_path, CLASSES, "inference.output=embeddings")
    with np.load(result.folder / "embeddings.npz", allow_pickle=False) as found:
        assert found["image_embeddings"].shape == (6, 16)
        assert np.allclose(np.linalg.norm(found["image_embeddings"], axis=1), 1, atol=1e-5)
        assert found["classes"].tolist() == ["a photo of a red", "a photo of a blue"]
        best = (found["image_embeddings"] @ found["class_embeddings"].T).argmax(axis=1)
    labels = [["a photo of a red", "a photo of a blue"][number] for number in best]
    assert labels == [row["label"] for row in result.rows]


def test_a_search_puts_the_nearest_first(trained: Any, photos: Path, tmp_path: Path) -> None:
    words = ["inference.output=search", "inference.query=a photo of a red"]
    result = infer(trained, photos, tmp_path, *words)
    rows = list(csv.DictReader((result.folder / "search.csv").open(encoding="utf-8")))
    assert [int(row["rank"]) for row in rows] == list(range(1, 7))
    similarities = [float(row["similarity"]) for row in rows]
    assert similarities == sorted(similarities, reverse=True)
    assert "red" in Path(rows[0]["path"]).name
    assert Image.open(result.folder / "search.png").size[0] > 400
    with pytest.raises(SpecError, match=r"inference\.query.*words to search for"):
        infer(trained, photos, tmp_path, "inference.output=search")


def test_no_name_of_a_file_steers_the_terminal_that_shows_a_search(
    trained: Any, photos: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "odd"
    odd.mkdir()
    shutil.copy(next(photos.glob("*.png")), odd / "a\x1b[31m.png")
    result = infer(trained, odd, tmp_path, "inference.output=search", "inference.query=red")
    rows = list(csv.DictReader((result.folder / "search.csv").open(encoding="utf-8")))
    assert [Path(row["path"]).name for row in rows] == ["a?[31m.png"]


def test_words_are_written_on_images_and_both_scores_are_shown(
    trained: Any, photos: Path, tmp_path: Path
) -> None:
    result = infer(trained, photos, tmp_path, CLASSES, "inference.output=attack")
    assert Image.open(result.folder / "attack.png").size[0] > 400
    assert any("taken for the word written on them" in line for line in result.summary)


def test_other_names_and_a_linear_probe_are_scored(trained: Any, data: list[str], tmp_path: Path) -> None:
    words = [*data, f"evaluate.checkpoint={trained.bundle}"]
    names = "evaluate.classnames=[red,green,blue,pink,white,black]"
    result = run("evaluate", tmp_path, *words, names, "evaluate.linear_probe=true")
    assert result.report["details"]["classes"] == ["blue", "green", "red", "pink", "white", "black"]
    assert {"zero_shot_top1", "zero_shot_top5"} <= result.metrics.keys()
    assert result.metrics["linear_probe"] >= 0.6
    with pytest.raises(DatasetError, match=r"evaluate\.classnames lacks blue"):
        run("evaluate", tmp_path, *words, "evaluate.classnames=[red,green]")


def test_the_first_line_of_the_metrics_is_the_model_before_any_step(trained: Any) -> None:
    rows = list(csv.DictReader((trained.folder / "metrics.csv").open(encoding="utf-8")))
    assert [int(row["epoch"]) for row in rows] == list(range(16))
    assert rows[0]["train_loss"] == ""
    assert float(rows[0]["val_recall_at_1"]) < float(rows[-1]["val_recall_at_1"])
    kpi = next(line["kpi"] for line in status_lines(trained.folder) if "before the first" in line["message"])
    assert kpi["val_recall_at_1"] == pytest.approx(float(rows[0]["val_recall_at_1"]))


def test_the_runtime_searches_too_and_refuses_classes_that_are_none(
    trained: Any, data: list[str], photos: Path, tmp_path: Path
) -> None:
    folder = run("export", tmp_path, *data, f"export.checkpoint={trained.bundle}").onnx_file
    model = runtime.load(folder)
    query = model.predict({"text": "a photo of a red"}).embedding
    found = model.predict(str(photos))
    best = max(found, key=lambda one: float(one.embedding @ query))
    assert "red" in Path(best.source).name
    pair = model.predict({"image": best.source, "text": "a photo of a red"})
    assert pair.similarity == pytest.approx(float(best.embedding @ query), abs=1e-5)
    described = model.predict(
        best.source, classes={"warm": ["a photo of a red"], "cold": ["a blue", "a green"]}
    )
    assert described.label == "warm"
    for classes in ([], ["red", "red"], "red", {"red": []}):
        with pytest.raises(SpecError, match="classes"):
            model.predict(best.source, classes=classes)
    with pytest.raises(DatasetError, match="a text is wanted"):
        model.predict({"text": 5})


def test_both_towers_may_be_one_file(trained: Any, photos: Path, tmp_path: Path) -> None:
    given = [f"export.checkpoint={trained.bundle}"]
    folder = run("export", tmp_path, *given).onnx_file
    one = run("export", tmp_path, *given, "export.one_file=true").onnx_file
    assert (folder.is_dir(), one.suffix) == (True, ".onnx")
    assert [node.name for node in onnx.load(one).graph.input] == ["image", "text"]
    expected, found = runtime.load(folder), runtime.load(one)
    words = ["something red", "something blue"]
    for path in sorted(photos.iterdir())[:2]:
        for classes in (None, words):
            left, right = (model.predict(path, classes=classes) for model in (expected, found))
            assert right.label == left.label
            assert dict(right.probabilities) == pytest.approx(dict(left.probabilities), abs=1e-5)
    # What comes after takes the file that was written last.
    assert exported_file(tiny_spec(f"results_dir={tmp_path}")) == one
    run("export", tmp_path, *given)
    assert exported_file(tiny_spec(f"results_dir={tmp_path}")) == folder


def test_a_pair_judges_images_for_other_tasks(
    trained: Any, data: list[str], photos: Path, tmp_path: Path
) -> None:
    folder = run("export", tmp_path, *data, f"export.checkpoint={trained.bundle}").onnx_file
    guide, exported = open_guide(str(trained.bundle), "a.key"), open_judge(str(folder), "a.key")
    assert guide.sha256 == exported.sha256
    assert guide.image_size == exported.image_size == (16, 16)
    files = sorted(photos.glob("*.png"))
    images = [Image.open(file).convert("RGB") for file in files]
    texts = [f"a photo of a {file.stem[:-1]}" for file in files]
    cosines = guide.cosines(images, texts)
    assert np.allclose(cosines, exported.cosines(images, texts), atol=1e-5)
    # Another way to the same numbers: the runtime's own prediction for an image with a text.
    pair = runtime.load(folder).predict({"image": str(files[0]), "text": texts[0]})
    assert cosines[0] == pytest.approx(pair.similarity, abs=1e-5)
    assert guide.clip_scores(images, texts) == pytest.approx(2.5 * cosines.clip(0), abs=1e-5)
    red_first = np.argsort(-(guide.embed_images(images) @ guide.embed_texts(["a photo of a red"])[0]))
    assert ["red" in files[number].name for number in red_first] == [True] * 3 + [False] * 3

    wanted = torch.from_numpy(guide.embed_texts(texts))
    arrays = np.stack([np.array(image.resize((16, 16))) for image in images])
    pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2).float().requires_grad_()
    found = (guide.embed_pixels(pixels) * wanted).sum(dim=1)
    assert np.allclose(found.detach(), guide.cosines(arrays, texts), atol=1e-5)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert pixels.grad is not None
    with torch.no_grad():
        step = pixels.grad / pixels.grad.abs().amax() * 5
        better = (guide.embed_pixels(pixels + step) * wanted).sum(dim=1)
    assert better.sum() > found.sum()
    # Larger images are scaled as Pillow does, but for its rounding.
    larger = torch.from_numpy(np.stack(list(map(np.array, images)))).permute(0, 3, 1, 2).float()
    assert np.allclose((guide.embed_pixels(larger) * wanted).sum(dim=1), cosines, atol=0.01)
    with pytest.raises(SpecError, match=r"a\.key.*exported model.*gradients"):
        open_guide(str(folder), "a.key")
    with pytest.raises(SpecError, match=r"a\.key: there is no file"):
        open_judge(str(tmp_path / "none.tltb"), "a.key")
    (tmp_path / "damaged.tltb").write_bytes(b"no zip")
    with pytest.raises(BundleError, match=r"a\.key"):
        open_judge(str(tmp_path / "damaged.tltb"), "a.key")


def test_a_frozen_tower_stays_wise_ft_mixes_and_an_average_lags(
    trained: Any, data: list[str], tmp_path: Path
) -> None:
    words = [*data, f"train.pretrained_model_path={trained.bundle}", "train.num_epochs=1", "train.keep=last"]
    before = weights_of(trained.bundle)
    frozen = run("train", tmp_path / "frozen", *words, "model.freeze_vision_encoder=true")
    after = weights_of(frozen.bundle)
    assert all(after[name].equal(before[name]) for name in before if name.startswith("image."))
    assert not after["text.projection.weight"].equal(before["text.projection.weight"])
    whole = weights_of(run("train", tmp_path / "whole", *words).bundle)
    mixed = weights_of(run("train", tmp_path / "mixed", *words, "train.wise_ft=0.25").bundle)
    name = "text.projection.weight"
    assert torch.allclose(mixed[name], before[name] + 0.25 * (whole[name] - before[name]), atol=1e-6)
    averaged = weights_of(run("train", tmp_path / "ema", *words, "train.enable_ema=true").bundle)
    assert 0 < float((averaged[name] - before[name]).norm()) < float((whole[name] - before[name]).norm())


def test_low_rank_additions_alone_learn_are_merged_and_go_on_where_they_were_broken_off(
    trained: Any, data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*data, f"train.pretrained_model_path={trained.bundle}", "train.num_epochs=2"]
    words += ["train.peft={enabled: true, vision: {mode: lora}, text: {mode: lora}, rank: 2}"]
    before = weights_of(trained.bundle)
    result = run("train", tmp_path / "whole", *words)
    after = weights_of(result.bundle)
    assert after.keys() == before.keys()
    changed = {name for name in before if not after[name].equal(before[name])}
    adapted = {name for name in changed if before[name].ndim > 1}
    assert changed - adapted <= {"text.logit_scale"}
    assert {"text.blocks.0.attn.qkv.weight", "image.backbone.head.weight"} <= adapted
    assert not {"text.token_embedding.weight", "text.positional_embedding"} & adapted
    for name in adapted:
        change = (after[name] - before[name]).flatten(1).double()
        assert torch.linalg.matrix_rank(change, rtol=1e-3) <= 2, name
    with monkeypatch.context() as patch:
        break_in_second_epoch(patch, OSError("power cut"))
        with pytest.raises(OSError, match="power cut"):
            run("train", tmp_path / "broken", *words)
    last = tmp_path / "broken" / "train" / "checkpoints" / "last.ckpt"
    again = run("train", tmp_path / "again", *words, f"train.resume_training_checkpoint_path={last}")
    assert_same_weights(result.bundle, again.bundle)


def test_an_image_tower_is_a_classifier_s_backbone(data: list[str], tmp_path: Path) -> None:
    words = [*data, "model.type=test_resnet", "model.image_size=32", "train.num_epochs=1"]
    pair = run("train", tmp_path / "pair", *words, "model.mean=[0.1,0.2,0.3]", "model.std=[0.5,0.6,0.7]")
    start = f"model.backbone.pretrained_backbone_path={pair.bundle}"
    frozen = "model.backbone.freeze_backbone=true"
    given = [*data, start, frozen, "train.num_epochs=1"]
    trained = tiny_classification.run("train", tmp_path / "classes", *given)
    tower, network = weights_of(pair.bundle), weights_of(trained.bundle)
    same = [name for name in network if tower[f"image.{name}"].equal(network[name])]
    assert {"normalise.mean", "backbone.layer1.0.conv1.weight"} <= set(same)
    assert {name for name in network if name not in same} == {"backbone.fc.weight", "backbone.fc.bias"}
    bundle = read_bundle(pair.bundle)
    bundle.spec["model"]["activation"] = "quick_gelu"
    write_bundle(tmp_path / "quick.tltb", bundle)
    with pytest.raises(SpecError, match=r"trained with quick_gelu.*give vit_base_patch32_clip_quickgelu_224"):
        source_normalization(str(tmp_path / "quick.tltb"), "vit_base_patch32_clip_224")


def test_low_rank_additions_need_a_trained_tower(data: list[str], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"train\.peft\.vision\.mode.*random weights"):
        run("train", tmp_path, *data, "train.peft.enabled=true")
    both = "train.peft={enabled: true, vision: {mode: frozen}, text: {mode: frozen}}"
    with pytest.raises(SpecError, match="nothing to train"):
        run("train", tmp_path, *data, both)
    spec = ["train.peft={enabled: true, vision: {mode: full}}", "model.freeze_vision_encoder=true"]
    with pytest.raises(SpecError, match=r"does not go with train\.peft\.vision\.mode=full"):
        run("train", tmp_path, *data, *spec)


@pytest.mark.parametrize("kind", ["text files", "list", "class folders"])
def test_init_writes_a_spec_that_loads(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    if kind == "class folders":
        write_class_folders(folder)
    else:
        folder.mkdir()
        lines = []
        for number in range(12):
            shape(["red"], number).save(folder / f"{number}.png")
            if kind == "list":
                lines.append(json.dumps({"image": f"{number}.png", "caption": f"image {number}"}))
            else:
                (folder / f"{number}.txt").write_text(f"image {number}", encoding="utf-8")
        if lines:
            (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    target = tmp_path / "spec.yaml"
    told = write_spec(folder, target, force=False)
    spec = load_spec(spec_module("clip").Spec, target).spec
    assert spec.model.image_size == 32
    block = spec.dataset.train_dataset
    assert (block.captions_file if kind == "list" else block.images_dir) is not None
    assert any("training images" in line for line in told)
    with pytest.raises(SpecError, match="there already"):
        write_spec(folder, target, force=False)
