"""Detection through every stage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import onnx
import pytest
from base import TaskStagesTest
from box_images import IDS, SIZES, scene, write_coco
from sample_images import damage
from stage_runs import csv_rows
from tiny_detection import TINY, data_overrides

from tao_like.data.video import VideoReader, VideoWriter
from tao_like.stages.results import ExportResult, QuantizeResult, TrainResult


class TestDetection(TaskStagesTest):
    task: ClassVar[str] = "detection"
    tiny: ClassVar[tuple[str, ...]] = TINY

    @classmethod
    def make_data(cls, folder: Path, *, missing: bool = False, corrupt: bool = False) -> list[str]:
        if not missing:
            write_coco(folder)
        if corrupt:
            bad = folder / "train" / "corrupt.png"
            bad.write_bytes(b"no picture")
            text = (folder / "train.json").read_text()
            (folder / "train.json").write_text(text.replace("001.png", bad.name))
        return data_overrides(folder)

    @classmethod
    def spoil_data(cls, folder: Path, fault: str) -> list[str]:
        write_coco(folder)
        for split in SIZES:
            labels = folder / f"{split}.json"
            content = json.loads(labels.read_text())
            if fault == "corrupt sample":
                image = content["images"][1]
                damage((folder / split / image["file_name"]).rename(folder / split / "corrupt.png"))
                image["file_name"] = "corrupt.png"
            elif fault == "no samples":
                content |= {"images": [], "annotations": []}
            elif fault == "a file for a folder":
                shutil.rmtree(folder / split)
                (folder / split).write_text("a file")
            else:
                kept = set(IDS.values()) - {IDS["red"]} if fault == "empty class" else {IDS["red"]}
                boxes = [box for box in content["annotations"] if box["category_id"] in kept]
                content["annotations"] = boxes
            labels.write_text(json.dumps(content))
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

    def test_suppression_is_in_the_graph_at_the_newest_opset_too(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        given = [f"export.checkpoint={trained.bundle}", "export.opset_version=23"]
        result = self.run("export", tmp_path, [*data, *given])
        assert isinstance(result, ExportResult)
        graph = onnx.load(result.onnx_file)
        assert graph.opset_import[0].version == 23
        assert "NonMaxSuppression" in {node.op_type for node in graph.graph.node}

    def test_a_video_gives_a_row_a_frame_and_a_video_with_boxes(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        pytest.importorskip("cv2")
        with VideoWriter(tmp_path / "clip.mp4", 10.0) as video:
            for number in range(5):
                video.write(scene(500 + number)[0])
        source = [f"inference.source={tmp_path / 'clip.mp4'}", f"inference.checkpoint={trained.bundle}"]
        result = self.run("inference", tmp_path / "results", [*data, *source, "inference.batch_size=2"])
        rows = csv_rows(result.folder / "predictions.csv")
        assert [(row["frame"], row["seconds"]) for row in rows[:2]] == [("0", "0.000"), ("1", "0.100")]
        drawn = list(VideoReader(result.folder / "clip.mp4"))
        assert len(drawn) == len(rows) == 5
        assert not (result.folder / "pictures").exists()
        images = json.loads((result.folder / "detections.json").read_text())["images"]
        assert [image["file_name"].rpartition("#")[2] for image in images] == [f"{n:06d}" for n in range(5)]

    def assert_same_prediction(self, prediction: Mapping[str, Any], row: Mapping[str, str]) -> None:
        detections = prediction["detections"]
        assert len(detections) == int(row["objects"])
        for name in ("blue", "green", "red"):
            assert sum(found["label"] == name for found in detections) == int(row[f"n_{name}"])

    def test_int8_leaves_the_last_layers_and_the_decoding_in_float(self, quantized: QuantizeResult) -> None:
        # A box, an object and a class layer for each of three maps.
        names = [name.rpartition("/head/")[2] for name in quantized.float_layers]
        kinds = {name.partition(".")[0] for name in names}
        assert (len(names), kinds) == (9, {"box_outputs", "object_outputs", "class_outputs"})
        assert {"NonMaxSuppression", "Exp", "TopK"} <= set(quantized.report["float_operators"])
