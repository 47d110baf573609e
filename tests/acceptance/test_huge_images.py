"""Images above Pillow's limit of 179 million pixels, through training's bundle and the exported file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from box_images import IDS, annotation, write_coco
from PIL import Image
from tiny_detection import data_overrides, run

from tao_like import runtime
from tao_like.errors import DatasetError

SIZE = (14_000, 13_000)
TILING = "dataset.tiling={enable: true, tile_width: 4096, tile_height: 4096, overlap: 0.05}"


@pytest.mark.acceptance
def test_an_image_of_182_million_pixels_is_scored_and_predicted_tile_by_tile(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", {"train": 4, "val": 2, "test": 2})
    words = data_overrides(data)
    bundle = run("train", tmp_path / "results", *words, "train.num_epochs=1").bundle
    image = Image.new("L", SIZE, 90)
    image.paste(200, (5000, 5000, 5400, 5300))
    (tmp_path / "big").mkdir()
    image.save(tmp_path / "big" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": SIZE[0], "height": SIZE[1]}],
        "annotations": [annotation(1, 1, "red", [5000, 5000, 400, 300])],
        "categories": [{"id": number, "name": name} for name, number in IDS.items()],
    }
    (tmp_path / "big.json").write_text(json.dumps(content))
    source = (
        f"dataset.val_data_sources={{image_dir: '{tmp_path / 'big'}', json_file: '{tmp_path / 'big.json'}'}}"
    )
    given = [*words, source, f"evaluate.checkpoint={bundle}", f"inference.checkpoint={bundle}"]
    with pytest.raises(DatasetError, match=r"a\.png: 14000 x 13000 pixels .*dataset\.tiling\.enable=true"):
        run("evaluate", tmp_path / "refused", *given, "evaluate.split=val")
    # The key may be given afterwards: the bundle was trained on whole images.
    scored = run("evaluate", tmp_path / "results", *given, "evaluate.split=val", TILING)
    assert scored.report["samples"] == 1
    rows = run("inference", tmp_path / "results", *given, f"inference.source={tmp_path / 'big'}", TILING).rows
    exported = run("export", tmp_path / "results", *words, TILING).onnx_file
    (found,) = runtime.load(exported).predict(tmp_path / "big")
    assert len(found.detections) == int(rows[0]["objects"])
