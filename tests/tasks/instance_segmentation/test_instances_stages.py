"""Instance segmentation through every stage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import onnx
from base import TaskStagesTest
from sample_images import damage
from tiny_instances import IDS, SIZES, TINY, data_overrides, scene, write_coco

from tao_like.stages.results import ExportResult, QuantizeResult


class TestInstanceSegmentation(TaskStagesTest):
    task: ClassVar[str] = "instance_segmentation"
    tiny: ClassVar[tuple[str, ...]] = TINY
    # Its trainings go the way of detection's, whose tests run every time.
    left_to_acceptance: ClassVar[tuple[str, ...]] = (
        "test_figures_of_two_processes_are_those_that_one_finds",
        "test_sharded_weights_learn_what_whole_ones_do",
        "test_a_training_whose_process_was_killed_goes_on_to_the_same_weights",
        "test_a_seed_gives_the_same_weights_twice_and_another_gives_others",
        "test_a_retrained_bundle_is_pruned_and_trained_once_more",
    )

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
                # Both faults come to one here: of two classes one is left.
                kept = {IDS["disk"]}
                content["annotations"] = [one for one in content["annotations"] if one["category_id"] in kept]
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

    def assert_same_prediction(self, prediction: Mapping[str, Any], row: Mapping[str, str]) -> None:
        detections = prediction["detections"]
        assert len(detections) == int(row["objects"])
        for name in IDS:
            assert sum(found["label"] == name for found in detections) == int(row[f"n_{name}"])
        for found in detections:
            assert (found["width"], found["height"]) == (96, 64)
            assert sum(found["runs"]) == 96 * 64

    def test_masks_come_out_beside_the_boxes_in_standard_operators(self, exported: ExportResult) -> None:
        graph = onnx.load(exported.onnx_file).graph
        names = ["boxes", "scores", "labels", "num_detections", "masks"]
        assert [output.name for output in graph.output] == names
        operators = {node.op_type for node in graph.node}
        assert {"RoiAlign", "NonMaxSuppression", "ConvTranspose"} <= operators

    def test_int8_leaves_the_last_layers_and_the_decoding_in_float(self, quantized: QuantizeResult) -> None:
        names = {name.rpartition("/head/")[2] for name in quantized.float_layers}
        assert any("mask_fcn_logits" in name for name in names)
        assert not any("mask_fcn_logits" in name for name in quantized.report["int8_layers"])
        assert any("mask_head" in name for name in quantized.report["int8_layers"])
        assert {"NonMaxSuppression", "RoiAlign"} <= set(quantized.report["float_operators"])
