"""A task that nothing knows goes through every stage: two phases, two parts, two graphs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_images import write_class_folders
from stage_runs import csv_rows

import tao_like
from tao_like import runtime, tasks
from tao_like.bundle import read_bundle

OTHER_TASKS = str(Path(__file__).parent / "other_tasks")
SETTINGS = ("train.num_epochs=6", "train.optim.lr=0.02", "train.accelerator=cpu")


@pytest.fixture(scope="module", autouse=True)
def _found() -> Iterator[None]:
    """The task is where a program has told the toolkit to look."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "__path__", [*tasks.__path__, OTHER_TASKS])
        yield


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that name the data and the results of all stages."""
    folder = tmp_path_factory.mktemp("two_phase")
    images = write_class_folders(folder / "images")
    data = [f"dataset.{split}_dir={images / split}" for split in ("train", "val", "test")]
    return [*data, *SETTINGS, f"results_dir={folder / 'results'}"]


def run(stage: str, words: list[str], *more: str) -> Any:
    """Runs a stage; what is given last wins."""
    return tao_like.run("two_phase", stage, None, [*words, *more], quiet=True)


@pytest.fixture(scope="module")
def trained(words: list[str]) -> Any:
    """The training, both phases."""
    return run("train", words)


@pytest.fixture(scope="module")
def exported(trained: Any, words: list[str]) -> Any:
    """Both graphs."""
    return run("export", words)


def test_it_is_among_the_tasks() -> None:
    assert "two_phase" in tasks.task_names()
    assert "two_phase" not in {path.name for path in Path(tao_like.__file__).parent.rglob("*")}


def test_both_phases_train_and_the_bundle_holds_both_parts(trained: Any) -> None:
    assert trained.metrics["accuracy"] >= 0.9
    bundle = read_bundle(trained.bundle)
    assert {name: part.phase for name, part in bundle.parts.items()} == {
        "encoder": "colors",
        "head": "classes",
    }
    for phase in ("colors", "classes"):
        assert (trained.folder / phase / "checkpoints" / "last.ckpt").is_file()


def test_the_second_phase_leaves_the_first_part_as_it_is(trained: Any, words: list[str]) -> None:
    first = torch.load(trained.folder / "colors" / "checkpoints" / "last.ckpt", weights_only=True)
    weights = read_bundle(trained.bundle).parts["encoder"].weights
    found = [tensor for name, tensor in flat(first) if name.endswith("encoder.layers.0.weight")]
    assert found
    assert found[0].equal(weights["layers.0.weight"])


def flat(content: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of nested dictionaries, with its path."""
    if isinstance(content, torch.Tensor):
        yield name, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from flat(value, f"{name}.{key}" if name else str(key))


def test_evaluate_gives_what_train_promised(trained: Any, words: list[str]) -> None:
    assert run("evaluate", words, "evaluate.split=val").metrics == pytest.approx(trained.metrics, abs=1e-6)


def test_the_exported_folder_predicts_as_the_bundle_does(
    trained: Any, exported: Any, words: list[str], tmp_path: Path
) -> None:
    folder = exported.onnx_file
    pipeline = json.loads((folder / "pipeline.json").read_text("utf-8"))
    assert set(pipeline["graphs"]) == {"encoder", "head"} or len(pipeline["graphs"]) == 2
    bundle = run("evaluate", words, f"results_dir={tmp_path}", f"evaluate.checkpoint={trained.bundle}")
    onnx = run("evaluate", words, f"results_dir={tmp_path}/onnx", f"evaluate.checkpoint={folder}")
    assert onnx.metrics == pytest.approx(bundle.metrics, abs=1e-5)
    model = runtime.load(folder)
    rows = csv_rows(bundle.predictions)
    images = next(word.partition("=")[2] for word in words if word.startswith("dataset.test_dir"))
    predicted = model.predict(str(Path(images) / rows[0]["path"]))
    assert predicted.label == rows[0]["label"]
    assert predicted.score == pytest.approx(float(rows[0]["score"]), abs=1e-5)


def test_inference_writes_rows_and_images(trained: Any, words: list[str]) -> None:
    images = next(word.partition("=")[2] for word in words if word.startswith("dataset.test_dir"))
    result = run("inference", words, f"inference.source={images}")
    assert len(result.rows) == len(list(Path(images).rglob("*.png")))
    assert any((result.folder / "pictures").iterdir())


def test_both_parts_are_pruned_and_train_again(trained: Any, words: list[str], tmp_path: Path) -> None:
    pruned = run("prune", words, "prune.granularity=2", "prune.target_macs=0.7")
    assert pruned.macs_share < 0.85
    before, after = (read_bundle(path).parts for path in (trained.bundle, pruned.bundle))
    for name in ("encoder", "head"):
        sizes = [sum(tensor.numel() for tensor in parts[name].weights.values()) for parts in (before, after)]
        assert sizes[1] < sizes[0], name
    again = run(
        "train",
        words,
        f"train.pruned_model_path={pruned.bundle}",
        f"results_dir={tmp_path}",
        "train.num_epochs=2",
    )
    assert again.metrics["accuracy"] >= 0.5


def test_the_graphs_are_quantized_and_compared(trained: Any, exported: Any, words: list[str]) -> None:
    quantized = run("quantize", words)
    assert quantized.metrics["accuracy"] >= trained.metrics["accuracy"] - 0.1
    compared = run("compare", words)
    assert len(compared.rows) >= 3
    assert {row["form"] for row in compared.rows} >= {"bundle", "ONNX fp32", "ONNX int8"}


def test_a_phase_that_is_done_is_skipped(trained: Any, words: list[str], tmp_path: Path) -> None:
    """A training that breaks in its second phase goes on there, to the same weights."""
    checkpoint = trained.folder / "classes" / "checkpoints" / "last.ckpt"
    colors = (trained.folder / "colors" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    again = run("train", words, f"train.resume_training_checkpoint_path={checkpoint}")
    assert (trained.folder / "colors" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == colors
    assert again.metrics == pytest.approx(trained.metrics, abs=1e-9)
