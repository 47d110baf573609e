"""Pairs of images and texts through every stage."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import onnx
import pytest
from base import TaskStagesTest, given
from sample_images import CLASSES, damage, shape, write_class_folders
from stage_runs import PROBABILITY_TOLERANCE, assert_rows_agree, csv_rows
from tiny_clip import SPLITS, TINY, data_overrides

from tao_like import runtime
from tao_like.bundle import file_sha256, read_bundle
from tao_like.stages.results import CompareResult, EvaluateResult, ExportResult, QuantizeResult, TrainResult

RUNTIME_SCRIPT = """\
import json, sys
from tao_like.runtime import load

model = load(sys.argv[1])
own = model.predict(sys.argv[2:])
named = model.predict(sys.argv[2], classes=["a red thing", "a blue thing"])
modules = sorted({name.partition(".")[0] for name in sys.modules})
answers = [[one.source, one.label, one.score, dict(one.probabilities)] for one in [*own, named]]
print(json.dumps([answers, modules]))
"""


class TestClip(TaskStagesTest):
    task: ClassVar[str] = "clip"
    tiny: ClassVar[tuple[str, ...]] = TINY
    device_tolerance: ClassVar[float] = 1e-4

    @classmethod
    def make_data(cls, folder: Path, *, missing: bool = False, corrupt: bool = False) -> list[str]:
        if not missing:
            write_class_folders(folder)
        if corrupt:
            (folder / "train" / CLASSES[0] / "corrupt.png").write_bytes(b"no picture")
        return data_overrides(folder)

    @classmethod
    def spoil_data(cls, folder: Path, fault: str) -> list[str]:
        if fault == "a file for a folder":
            folder.mkdir()
            for split in SPLITS:
                (folder / split).write_text("a file")
            return data_overrides(folder)
        write_class_folders(folder)
        for split in SPLITS:
            if fault == "one class":
                for name in CLASSES[1:]:
                    shutil.rmtree(folder / split / name)
                continue
            files = sorted((folder / split).rglob("*.png"))
            spoilt = {"corrupt sample": 1, "empty class": len(files) // 3, "no samples": len(files)}
            for file in files[: spoilt[fault]]:
                if fault == "corrupt sample":
                    file.rename(file.with_name("corrupt.png"))
                    damage(file.with_name("corrupt.png"))
                else:
                    file.unlink()
        return data_overrides(folder)

    @classmethod
    def make_source(cls, folder: Path, *, corrupt: bool = False) -> list[Path]:
        folder.mkdir(parents=True)
        files = [folder / f"{number} {name}.png" for number, name in enumerate(CLASSES)]
        for number, (file, name) in enumerate(zip(files, CLASSES, strict=True)):
            shape([name], 500 + number).save(file)
        if corrupt:
            damage(files[1])
        return files

    def assert_same_prediction(self, prediction: Mapping[str, Any], row: Mapping[str, str]) -> None:
        assert prediction["label"] == row["label"]
        assert prediction["score"] == pytest.approx(float(row["score"]), abs=PROBABILITY_TOLERANCE)
        for name, value in prediction["probabilities"].items():
            assert value == pytest.approx(float(row[f"p_{name}"]), abs=PROBABILITY_TOLERANCE)

    # Where the base looks into one file, here is a folder of two graphs.

    @pytest.mark.parametrize("batch_size", [-1, 2])
    @pytest.mark.parametrize("number", range(2))
    def test_an_exported_file_describes_itself_and_answers_as_the_bundle(
        self, number: int, batch_size: int, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        form = self.input_formats[number]
        file = tmp_path / "new folder" / "other name.onnx"
        settings = [f"export.input_format={form}", f"export.batch_size={batch_size}"]
        words = [*data, *given("export", trained), *settings, f"export.onnx_file={file}"]
        result = self.run("export", tmp_path, words)
        assert isinstance(result, ExportResult)
        assert result.onnx_file == file.with_suffix("")
        inputs = {}
        for name in ("image", "text"):
            graph = onnx.load(result.onnx_file / f"{name}.onnx")
            assert {item.domain for item in graph.opset_import} <= {"", "ai.onnx"}
            inputs[name] = [one.name for one in graph.graph.input]
        assert inputs == {"image": ["image"], "text": ["text"]}
        metadata = runtime.load(result.onnx_file).metadata
        assert metadata.task == self.task
        assert metadata.inputs["image"].input_format == form
        assert metadata.inputs["text"].preprocessing["words"]
        assert metadata.open_set
        assert metadata.bundle_sha256 == file_sha256(trained.bundle)
        assert metadata.classes == read_bundle(trained.bundle).classes
        expected = self.run("evaluate", tmp_path / "bundle", [*data, *given("evaluate", trained)])
        actual = self.run("evaluate", tmp_path / "onnx", [*data, *given("evaluate", result)])
        assert isinstance(expected, EvaluateResult)
        assert isinstance(actual, EvaluateResult)
        assert_rows_agree(csv_rows(expected.predictions), csv_rows(actual.predictions))

    def test_the_runtime_answers_as_inference_does_and_loads_no_torch(
        self, trained: TrainResult, exported: ExportResult, data: list[str], tmp_path: Path
    ) -> None:
        files = self.make_source(tmp_path / "input")
        expected = self.infer(files[0].parent, trained, data, tmp_path / "results")
        classes = "inference.classes=[a red thing,a blue thing]"
        named = self.infer(files[0], trained, [*data, classes], tmp_path / "named")
        command = [sys.executable, "-c", RUNTIME_SCRIPT, str(exported.onnx_file), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        predictions, modules = json.loads(done.stdout)
        unwanted = {
            "torch",
            "timm",
            "torchvision",
            "lightning_fabric",
            "onnx",
            "yaml",
            "tokenizers",
            "transformers",
        }
        assert not unwanted & set(modules)
        rows = [*csv_rows(expected.predictions), *csv_rows(named.predictions)]
        for (source, label, score, probabilities), row in zip(predictions, rows, strict=True):
            assert source == row["path"]
            prediction = {"label": label, "score": score, "probabilities": probabilities}
            self.assert_same_prediction(prediction, row)
        assert set(predictions[-1][3]) == {"a red thing", "a blue thing"}

    def test_the_text_tower_is_quantized_anew_in_every_call(self, quantized: QuantizeResult) -> None:
        nodes = onnx.load(quantized.onnx_file).graph.node
        products = [node.name for node in nodes if node.op_type == "MatMulInteger"]
        assert len(products) == len(quantized.report["dynamic_layers"]) >= 4  # one block
        assert all(name.startswith("text/") for name in products)
        static = set(quantized.report["int8_layers"]) - set(quantized.report["dynamic_layers"])
        assert any(name.startswith("image/") for name in static)
        assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in nodes}

    def assert_compared(self, result: CompareResult, metric: str) -> None:
        super().assert_compared(result, metric)
        first, *others = (row["likeness"] for row in result.rows)
        assert first == {}
        for row, likeness in zip(result.rows[1:], others, strict=True):
            assert set(likeness) == {
                f"{tower}_cosine{end}" for tower in ("image", "text") for end in ("", "_min")
            }
            least = {"export": 0.99999, "quantize": 0.9}.get(Path(row["path"]).parent.name, -1)
            assert least < likeness["image_cosine_min"] <= likeness["image_cosine"] < 1.00001
            assert least < likeness["text_cosine_min"] <= likeness["text_cosine"] < 1.00001
        assert "zero_shot_top1" in result.rows[0]["metrics"]
