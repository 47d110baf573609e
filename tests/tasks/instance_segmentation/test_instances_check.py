"""What `dataset_check` says of outlines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_instances import data_overrides, tiny_spec, write_coco

from tao_like.errors import DatasetError
from tao_like.tasks.instance_segmentation.data.data import InstanceData


@pytest.mark.parametrize("crowd", [0, 1])
def test_outlines_that_cannot_be_read_are_found_and_their_image_is_named(crowd: int, tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": 3, "val": 1, "test": 1})
    file = tmp_path / "train.json"
    content = json.loads(file.read_text())
    broken = content["annotations"][0]
    broken |= {"iscrowd": crowd, "segmentation": {"size": [64, 96], "counts": [7]}}
    file.write_text(json.dumps(content))
    data = InstanceData(tiny_spec(*data_overrides(tmp_path)), None)
    (error,) = data.check(full=True).errors
    assert error.code == "damaged_outline"
    assert error.files[0].startswith("001.png: ")
    assert "its runs have 7 pixels, its size 64 x 96 has others" in error.files[0]
    with pytest.raises(DatasetError, match=r"train\.json: 001\.png: the segmentation cannot be read"):
        data.dataset("train").sample(1)
