"""Segmentation through every stage."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest
from base import TaskStagesTest
from PIL import Image
from sample_images import damage
from stage_runs import assert_rows_agree, csv_rows
from tiny_segmentation import CLASSES, HEIGHT, SIZES, TINY, WIDTH, data_overrides, scene, write_masks

from tao_like.data.video import VideoReader, VideoWriter
from tao_like.stages.results import ExportResult, TrainResult


class TestSegmentation(TaskStagesTest):
    task: ClassVar[str] = "segmentation"
    tiny: ClassVar[tuple[str, ...]] = TINY

    @classmethod
    def make_data(cls, folder: Path, *, missing: bool = False, corrupt: bool = False) -> list[str]:
        if not missing:
            write_masks(folder)
        if corrupt:
            (folder / "images" / "train" / "000.png").rename(folder / "images" / "train" / "corrupt.png")
            (folder / "masks" / "train" / "000.png").rename(folder / "masks" / "train" / "corrupt.png")
            (folder / "images" / "train" / "corrupt.png").write_bytes(b"no picture")
        return data_overrides(folder)

    @classmethod
    def spoil_data(cls, folder: Path, fault: str) -> list[str]:
        write_masks(folder, names=CLASSES[:1] if fault == "one class" else CLASSES)
        for split in SIZES:
            images, masks = folder / "images" / split, folder / "masks" / split
            if fault == "corrupt sample":
                for part in (images, masks):
                    (part / "001.png").rename(part / "corrupt.png")
                damage(images / "corrupt.png")
            elif fault == "no samples":
                for part in (images, masks):
                    shutil.rmtree(part)
                    part.mkdir()
            elif fault == "a file for a folder":
                shutil.rmtree(images)
                images.write_text("a file")
            elif fault == "empty class":
                shutil.rmtree(images)
                shutil.rmtree(masks)
        if fault == "empty class":
            write_masks(folder, names=CLASSES[:2])
        return data_overrides(folder)

    @classmethod
    def make_source(cls, folder: Path, *, corrupt: bool = False) -> list[Path]:
        folder.mkdir(parents=True)
        files = [folder / f"{number} scene.png" for number in range(3)]
        for number, file in enumerate(files):
            scene(500 + number)[0].save(file)
        if corrupt:
            damage(files[1])
        return files

    def test_probabilities_at_any_size_are_exported_and_scored_as_the_bundle_s(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        words = [*data, "export.output=probabilities", "export.dynamic_size=true"]
        result = self.run("export", tmp_path, [*words, f"export.checkpoint={trained.bundle}"])
        assert isinstance(result, ExportResult)
        scored = [
            self.run("evaluate", tmp_path / name, [*words, f"evaluate.checkpoint={path}"])
            for name, path in (("bundle", trained.bundle), ("onnx", result.onnx_file))
        ]
        rows = [csv_rows(one.folder / "predictions.csv") for one in scored]
        assert_rows_agree(*rows)
        session = onnxruntime.InferenceSession(result.onnx_file, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"image": np.zeros((1, 96, 160, 3), np.uint8)})
        assert found.shape == (1, len(CLASSES), 96, 160)
        assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)

    def test_a_video_gives_a_row_a_frame_and_frames_of_one_size(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        pytest.importorskip("cv2")
        with VideoWriter(tmp_path / "clip.mp4", 10.0) as video:
            for number in range(3):
                video.write(scene(500 + number, CLASSES[: number + 1])[0])
        source = [f"inference.source={tmp_path / 'clip.mp4'}", f"inference.checkpoint={trained.bundle}"]
        result = self.run("inference", tmp_path / "results", [*data, *source])
        assert len(csv_rows(result.folder / "predictions.csv")) == 3
        assert len(list(VideoReader(result.folder / "clip.mp4"))) == 3
        masks = sorted((result.folder / "masks").iterdir())
        assert len(masks) == 3
        with Image.open(masks[0]) as mask:
            assert (mask.mode, mask.size) == ("P", (WIDTH, HEIGHT))

    def assert_same_prediction(self, prediction: Mapping[str, Any], row: Mapping[str, str]) -> None:
        pixels = prediction["width"] * prediction["height"]
        assert (str(prediction["width"]), str(prediction["height"])) == (row["width"], row["height"])
        assert sum(prediction["runs"][1::2]) == pixels
        for name in CLASSES:
            assert prediction["areas"][name] / pixels == pytest.approx(float(row[f"share_{name}"]), abs=1e-4)
