"""`dataset.infer_data_sources`: what inference runs on without `inference.source`."""

from __future__ import annotations

from pathlib import Path

import pytest
from box_images import scene, write_coco
from tiny_detection import data_overrides, tiny_spec

from tao_like.errors import DatasetError
from tao_like.tasks import task_class


def test_all_folders_are_taken_and_the_class_map_must_be_the_models(tmp_path: Path) -> None:
    write_coco(tmp_path / "data")
    for number, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        scene(number)[0].save(tmp_path / name / f"{number}.png")
    (tmp_path / "right.txt").write_text("blue\ngreen\nred\n")
    (tmp_path / "wrong.txt").write_text("red\ngreen\nblue\n")

    def files(classmap: str) -> list[Path]:
        given = (
            f"{{image_dir: ['{tmp_path / 'one'}', '{tmp_path / 'two'}'], classmap: '{tmp_path / classmap}'}}"
        )
        spec = tiny_spec(*data_overrides(tmp_path / "data"), f"dataset.infer_data_sources={given}")
        found: list[Path] = task_class("detection")(spec).data.inference_files()
        return found

    assert files("right.txt") == [tmp_path / "one" / "0.png", tmp_path / "two" / "1.png"]
    with pytest.raises(DatasetError, match=r"infer_data_sources\.classmap.*red, green.*blue, green"):
        files("wrong.txt")
    (tmp_path / "two" / "1.png").unlink()
    with pytest.raises(DatasetError, match=r"infer_data_sources\.image_dir.*two"):
        files("right.txt")


def test_one_source_stands_for_a_list_of_one(tmp_path: Path) -> None:
    given = f"{{image_dir: '{tmp_path}', json_file: '{tmp_path / 'a.json'}'}}"
    (source,) = tiny_spec(f"dataset.val_data_sources={given}").dataset.val_data_sources
    assert source.json_file == str(tmp_path / "a.json")
