"""The data of segmentation: what the spec names, what values mean, random changes, windows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stage_runs import assert_rows_agree, csv_rows
from tiny_segmentation import CLASSES, data_overrides, run, scene, tiny_spec, write_masks

from tao_like import runtime
from tao_like.config import load_spec
from tao_like.contract.trained import TrainedState
from tao_like.data.masks.values import IGNORE
from tao_like.errors import DatasetError, SpecError
from tao_like.tasks import spec_module
from tao_like.tasks.segmentation.data.data import SegmentationData
from tao_like.tasks.segmentation.init import write_spec


def data_of(*words: str, trained: TrainedState | None = None) -> SegmentationData:
    return SegmentationData(tiny_spec(*words), trained)


def recode(folder: Path, table: dict[int, int]) -> None:
    """Replaces values of all masks below a folder."""
    for path in (folder / "masks").rglob("*.png"):
        values = np.asarray(Image.open(path)).copy()
        lookup = np.arange(256, dtype=np.uint8)
        for before, after in table.items():
            lookup[before] = after
        Image.fromarray(lookup[values]).save(path)


def test_root_dir_has_tao_s_layout_and_classes_come_from_values_or_a_file(tmp_path: Path) -> None:
    write_masks(tmp_path)
    data = data_of(f"dataset.root_dir={tmp_path}")
    assert [data.count(split) for split in ("train", "val", "test")] == [12, 6, 6]
    assert data.labels.names == ["class_0", "class_1", "class_2"]
    (tmp_path / "classes.txt").write_text("ground\ndisk\nbar\n")
    assert data_of(f"dataset.root_dir={tmp_path}").labels.names == list(CLASSES)
    with pytest.raises(DatasetError, match=r"dataset\.num_classes is 5, and the data has 3"):
        _ = data_of(f"dataset.root_dir={tmp_path}", "dataset.num_classes=5").labels


def test_0_and_255_are_two_classes_only_where_nothing_else_is_there(tmp_path: Path) -> None:
    write_masks(tmp_path, names=("ground", "disk"))
    recode(tmp_path, {1: 255})
    data = data_of(f"dataset.root_dir={tmp_path}")
    assert data.labels.names == ["background", "foreground"]
    expected = scene(0, ("ground", "disk"))[1]
    assert (data.dataset("train").sample(0).target.classes == expected).all()
    assert [finding.code for finding in data.source.findings()] == ["binary_masks"]
    # The same values with a third one: now 255 belongs to no class.
    write_masks(tmp_path / "three")
    recode(tmp_path / "three", {2: 255})
    three = data_of(f"dataset.root_dir={tmp_path / 'three'}", "dataset.num_classes=2")
    found = three.dataset("train").sample(0).target.classes
    target = scene(0)[1]
    assert (found == np.where(target == 2, IGNORE, target)).all()
    assert three.source.findings() == []


def test_merged_classes_and_a_model_s_own_order(tmp_path: Path) -> None:
    write_masks(tmp_path)
    palette = (
        "dataset.palette=[{label_id: 0, seg_class: ground}, {label_id: 1, seg_class: disk, mapping_class: "
        "thing},"
        " {label_id: 2, seg_class: bar, mapping_class: thing}]"
    )
    data = data_of(f"dataset.root_dir={tmp_path}", palette)
    assert data.labels.names == ["ground", "thing"]
    classes = data.dataset("val").sample(0).target.classes
    assert (classes == (scene(12)[1] > 0)).all()
    trained = TrainedState(["thing", "other", "ground"], data.preprocessing.to_dict(), {}, None)
    turned = data_of(f"dataset.root_dir={tmp_path}", palette, trained=trained)
    assert (turned.dataset("val").sample(0).target.classes == np.where(classes == 1, 0, 2)).all()


def test_a_training_sample_is_changed_with_its_mask(tmp_path: Path) -> None:
    write_masks(tmp_path)
    data = data_of(
        f"dataset.root_dir={tmp_path}",
        "dataset.augmentation.random_color.enable=false",
        "dataset.augmentation.random_rotate={enable: true, max_angle: 30, rotate_probability: 1}",
    )
    torch.manual_seed(0)
    dataset = data.dataset("train", augment=True)
    items = [dataset[number % len(dataset)] for number in range(24)]
    assert {item.pixels.shape for item in items} == {(64, 64, 3)}
    assert all(item.target.classes is None for item in items)
    seen = set(np.unique(np.stack([item.mask for item in items])).tolist())
    assert seen == {0, 1, 2, IGNORE}
    # Bars are red and disks are blue, whatever was done to both.
    for number, channel in ((1, 2), (2, 0)):
        pixels = np.concatenate([item.pixels[item.mask == number] for item in items]).astype(float)
        assert (pixels.argmax(axis=1) == channel).mean() > 0.9


def test_a_training_crop_is_smaller_than_the_input_and_shows_the_photo_s_own_pixels(tmp_path: Path) -> None:
    write_masks(tmp_path)
    data = data_of(
        f"dataset.root_dir={tmp_path}",
        "dataset.augmentation.train_crop_size=[32, 64]",
        "dataset.augmentation.random_color.enable=false",
        "dataset.augmentation.random_flip.enable=false",
        "dataset.augmentation.with_scale_random_crop={scale_range: [0.6667, 0.6667], ratio_range: [1, 1]}",
    )
    assert data.dataset("train")[1].pixels.shape == (64, 64, 3)
    photo, item = data.dataset("train").sample(1), data.dataset("train", augment=True)[1]
    # Two thirds of 64 x 48 pixels are 64 x 32, which nothing enlarges: some rows of the photo as they are.
    pixels, classes = np.asarray(photo.data), photo.target.classes
    rows = [top for top in range(17) if (classes[top : top + 32] == item.mask).all()]
    assert any((pixels[top : top + 32] == item.pixels).all() for top in rows)


def test_windows_give_masks_of_whole_photos_in_the_exported_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Beyond the limit, as all photos here, are seen window by window alone.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 2 - 1)
    folder = write_masks(tmp_path / "data", sizes={"train": 4, "val": 2, "test": 2})
    words = [
        *data_overrides(folder),
        "dataset.tiling={enable: true, tile_width: 40, tile_height: 32}",
        "dataset.img_size=32",
        "dataset.img_height=32",
    ]
    with pytest.raises(DatasetError, match=r"64 x 48 pixels .*dataset\.tiling\.enable=true"):
        run("train", tmp_path / "refused", *words, "dataset.tiling.enable=false", "train.num_epochs=1")
    trained = run("train", tmp_path / "results", *words, "train.num_epochs=1")
    exported = run("export", tmp_path / "results", *words)
    scored = [
        run("evaluate", tmp_path / name, *words, f"evaluate.checkpoint={model}")
        for name, model in (("bundle", trained.bundle), ("onnx", exported.onnx_file))
    ]
    rows = [csv_rows(result.predictions) for result in scored]
    assert_rows_agree(*rows)
    assert [(row["width"], row["height"]) for row in rows[0]] == [("64", "48")] * 2
    model = runtime.load(exported.onnx_file)
    files = sorted((folder / "images" / "test").iterdir())
    for file, row in zip(files, rows[0], strict=True):
        shares = model.predict(file).shares
        assert shares == pytest.approx({name: float(row[f"share_{name}"]) for name in CLASSES}, abs=1e-4)
    assert list(model.metadata.outputs.values()) == ["pixel_probabilities"]


def test_init_writes_a_spec_that_reads_colors(tmp_path: Path) -> None:
    write_masks(tmp_path / "data")
    table = np.array([[0, 0, 0], [0, 0, 142], [220, 20, 60]], np.uint8)
    for path in (tmp_path / "data" / "masks").rglob("*.png"):
        Image.fromarray(table[np.asarray(Image.open(path))]).save(path)
    (tmp_path / "data" / "label_colors.txt").write_text("0 0 0 ground\n0 0 142 disk\n220 20 60 bar\n")
    lines = write_spec(tmp_path / "data", tmp_path / "spec.yaml", force=False)
    assert "24 photos" in lines[0]
    assert "color masks" in lines[0]
    spec = load_spec(spec_module("segmentation").Spec, tmp_path / "spec.yaml").spec
    data = SegmentationData(spec, None)
    assert data.labels.names == list(CLASSES)
    assert (data.dataset("train").sample(3).target.classes == scene(3)[1]).all()
    with pytest.raises(SpecError, match="is there already"):
        write_spec(tmp_path / "data", tmp_path / "spec.yaml", force=False)


def test_coco_regions_are_classes_beside_a_background(tmp_path: Path) -> None:
    write_masks(tmp_path, sizes={"train": 1})
    square = [10, 10, 20, 10, 20, 20, 10, 20]
    content = {
        "images": [{"id": 1, "file_name": "000.png", "width": 64, "height": 48}],
        "categories": [{"id": 7, "name": "lid"}, {"id": 3, "name": "jar"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 7,
                "bbox": [10, 10, 10, 10],
                "area": 100,
                "segmentation": [square],
            }
        ],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    data = data_of(
        f"dataset.train_dataset={{images_dir: '{tmp_path / 'images' / 'train'}', json_file: "
        f"'{tmp_path / 'train.json'}'}}",
        "dataset.split={val: 0, test: 0}",
        "train.keep=last",
    )
    assert data.labels.names == ["background", "lid"]
    classes = data.dataset("train").sample(0).target.classes
    assert (classes[10:20, 10:20] == 1).all()
    assert classes.sum() == 100


def test_what_cannot_be_together_is_named() -> None:
    for words, told in (
        (["dataset.img_size=100"], r"dataset\.img_size.*100 is not a multiple of 32; the nearest is 96"),
        (["model.arch=segformer"], r"decode_head\.channels.*embed_dim"),
        (["model.arch=fpn"], r"decode_head\.channels.*give 1"),
        (["model.arch=pan", "model.decode_head.channels=[32]"], "too small for pan"),
        (["model.backbone.type=resnet_nothing"], "there is no backbone"),
        (["dataset.augmentation.train_crop_size=[32, 40]"], r"train_crop_size.*multiple of 32"),
        (
            ["dataset.augmentation={train_crop_size: [32, 32], with_scale_random_crop: {enable: false}}"],
            "leave one of the two out",
        ),
        (["model.loss={weights: [1, 2], class_weights: log_frequency}"], "keep one"),
        (["dataset.label_transform=norm", "dataset.num_classes=3"], "label_transform"),
    ):
        with pytest.raises(SpecError, match=told):
            tiny_spec(*words)


def test_tao_s_specs_of_segformer_and_unet_load() -> None:
    given = Path(__file__).parents[2] / "files" / "tao_segformer.yaml"
    loaded = load_spec(spec_module("segmentation").Spec, given)
    spec = loaded.spec
    assert (spec.dataset.root_dir, spec.dataset.img_size, spec.dataset.num_classes) == ("/data/isbi", 256, 2)
    assert [entry.class_name for entry in spec.dataset.palette] == ["foreground", "background"]
    assert spec.dataset.label_transform == "norm"
    assert spec.dataset.augmentation.with_scale_random_crop.scale_range == [1, 1.2]
    assert (spec.model.loss.type, spec.model.loss.weights) == ("ce", [0.5, 0.5])
    assert spec.model.decode_head.decoder_params.embed_dim == 768
    assert spec.train.optim.lr == 6e-5
    for key in ("encryption_key", "wandb", "model.decode_head.in_channels", "dataset.segment.dataset"):
        assert key in loaded.notes[0]


def test_a_spec_of_tao_s_unet_written_as_yaml_loads(tmp_path: Path) -> None:
    """TAO's own is a protobuf text; its names are understood."""
    (tmp_path / "unet.yaml").write_text(
        """
model_config: {arch: resnet, num_layers: 18, model_input_width: 320, model_input_height: 320}
training_config: {batch_size: 3, epochs: 30, learning_rate: 0.0001, loss: cross_dice_sum, use_amp: false}
dataset_config:
  dataset: custom
  augment: true
  train_images_path: /data/images/train
  train_masks_path: /data/masks/train
  data_class_config:
    target_classes:
      - {name: foreground, mapping_class: foreground, label_id: 0}
      - {name: background, mapping_class: background, label_id: 1}
  augmentation_config:
    spatial_augmentation: {hflip_probability: 0.5, vflip_probability: 0.25}
    brightness_augmentation: {delta: 0.2}
"""
    )
    spec = load_spec(spec_module("segmentation").Spec, tmp_path / "unet.yaml").spec
    assert (spec.dataset.img_size, spec.dataset.batch_size, spec.train.num_epochs) == (320, 3, 30)
    assert spec.model.loss.type == "ce_dice"
    assert spec.dataset.train_dataset.masks_dir == "/data/masks/train"
    assert [entry.seg_class for entry in spec.dataset.palette] == ["foreground", "background"]
    assert spec.dataset.augmentation.random_flip.vflip_probability == 0.25
    assert spec.dataset.augmentation.random_color.brightness == 0.2
