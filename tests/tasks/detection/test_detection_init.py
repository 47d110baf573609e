"""``init`` for boxes and for masks of objects: what it finds in a folder, and the spec that it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tao_like.config import load_spec
from tao_like.errors import DatasetError, SpecError
from tao_like.tasks.detection import init as detection
from tao_like.tasks.detection.spec import Spec
from tao_like.tasks.instance_segmentation import init as instances
from tao_like.tasks.instance_segmentation.spec import Spec as InstancesSpec

COUNTS = {"train": 24, "val": 3}


@pytest.fixture
def coco(tmp_path: Path) -> Callable[..., Path]:
    def make(box: int = 30, size: tuple[int, int] = (96, 64)) -> Path:
        for split, count in COUNTS.items():
            folder = tmp_path / "data" / "images" / split
            folder.mkdir(parents=True)
            images, found = [], []
            for number in range(1, count + 1):
                Image.new("RGB", size).save(folder / f"{number}.png")
                images.append(
                    {"id": number, "file_name": f"{number}.png", "width": size[0], "height": size[1]}
                )
                ring = [1, 1, 1 + box, 1, 1 + box, 1 + box, 1, 1 + box]
                found.append(
                    {
                        **{"id": number, "image_id": number, "category_id": 1 + number % 2},
                        **{"bbox": [1, 1, box, box], "area": box * box, "segmentation": [ring]},
                    }
                )
            names = [{"id": 1, "name": "cup"}, {"id": 2, "name": "plate"}]
            content = {"images": images, "annotations": found, "categories": names}
            (tmp_path / "data" / "annotations").mkdir(exist_ok=True)
            (tmp_path / "data" / "annotations" / f"{split}.json").write_text(json.dumps(content))
        return tmp_path / "data"

    return make


def written(folder: Path, *, gpu: bool, monkeypatch: pytest.MonkeyPatch, kind: Any = detection) -> Any:
    monkeypatch.setattr(detection.shutil, "which", lambda name: "/bin/nvidia-smi" if gpu else None)
    target = folder.parent / "spec.yaml"
    told = kind.write_spec(folder, target, force=True)
    assert told[0] == "coco: 27 images (train 24, val 3)"
    assert told[1] == "24 training boxes of 2 classes: plate 12, cup 12"
    return load_spec(Spec if kind is detection else InstancesSpec, target).spec, target.read_text()


def test_what_suits_a_cpu_and_few_images(coco: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    spec, text = written(coco(), gpu=False, monkeypatch=monkeypatch)
    # 96 x 64 photos: a side of 320 has a height of 213, of which the next multiple of 32 is taken.
    assert (spec.dataset.img_size, spec.dataset.img_height) == (320, 224)
    assert (spec.dataset.batch_size, spec.dataset.cache) == (8, "ram")
    assert spec.model.backbone.freeze_norm
    # 24 photos in batches of 8: a thousand steps would be 333 epochs, and a hundred is the most.
    assert (spec.train.num_epochs, spec.dataset.augmentation.plain_epochs) == (100, 10)
    assert "# 3 steps each" in text
    assert len(spec.dataset.train_data_sources) == len(spec.dataset.val_data_sources) == 1


def test_a_gpu_sees_larger_images_in_larger_batches(
    coco: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, text = written(coco(), gpu=True, monkeypatch=monkeypatch)
    assert (spec.dataset.img_size, spec.dataset.batch_size) == (640, 16)
    assert "# 1 steps each" in text


def test_small_boxes_ask_for_larger_inputs(
    coco: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 2 of 96 and of 64 pixels: at a side of 320 a box would have seven pixels, and 12 are wanted.
    spec, text = written(coco(box=2), gpu=False, monkeypatch=monkeypatch)
    assert spec.dataset.img_size > 320
    assert "half of the boxes are smaller than" in text


def test_square_photos_need_no_height(coco: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    spec, text = written(coco(size=(64, 64)), gpu=False, monkeypatch=monkeypatch)
    assert "img_height" not in text
    assert spec.dataset.img_size == 320


def test_masks_of_objects_count_steps_in_their_own_batch(
    coco: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, text = written(coco(), gpu=False, monkeypatch=monkeypatch, kind=instances)
    assert spec.dataset.batch_size == 4
    assert "# 6 steps each" in text
    assert text.count("batch_size:") == 1
    assert spec.train.optim.monitor_name == "val_mask_mAP50"
    assert spec.model.mask_head.dice_weight == 1


def test_names_of_yolo_come_by_an_override_and_a_spec_is_not_overwritten(tmp_path: Path) -> None:
    folder, names, target = tmp_path / "data", tmp_path / "names.txt", tmp_path / "spec.yaml"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (64, 64)).save(folder / "images" / f"{number}.jpg")
        (folder / "labels" / f"{number}.txt").write_text(f"{number % 2} 0.5 0.5 0.25 0.25\n")
    names.write_text("cup\nplate\n")
    detection.write_spec(folder, target, [f"dataset.classes_file={names}", "train.num_epochs=3"], force=False)
    spec = load_spec(Spec, target).spec
    assert spec.train.num_epochs == 3
    with pytest.raises(SpecError, match=r"spec\.yaml"):
        detection.write_spec(folder, target, force=False)
    with pytest.raises(DatasetError, match="nothing"):
        detection.write_spec(tmp_path / "nothing", target, force=True)


@pytest.mark.parametrize(
    ("kind", "words", "epochs"),
    [
        # 24 photos: a thousand steps are 42 epochs of 24, 83 of 12, and a hundred is the most.
        (detection, ["dataset.batch_size=1"], 42),
        (instances, ["dataset.batch_size=2"], 83),
        (instances, ["dataset.batch_size=8"], 100),
    ],
)
def test_steps_are_counted_by_the_batch_that_is_asked_for(
    kind: Any, words: list[str], epochs: int, coco: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection.shutil, "which", lambda name: None)
    folder = coco()
    target = folder.parent / "spec.yaml"
    kind.write_spec(folder, target, words, force=True)
    spec = load_spec(Spec if kind is detection else InstancesSpec, target).spec
    assert (spec.train.num_epochs, f"dataset.batch_size={spec.dataset.batch_size}") == (epochs, words[0])
