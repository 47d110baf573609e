"""Spec files: those that are shipped load, hold to the schema and train; one in TAO's own words does too."""

from __future__ import annotations

import functools
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from box_images import write_coco
from sample_images import write_multi_label_csv
from tiny_classification import data_overrides
from tiny_detection import data_overrides as box_overrides
from tiny_instances import data_overrides as instance_overrides
from tiny_instances import write_coco as write_instances
from tiny_instances import write_panoptic
from tiny_pointpillars import write_frames, write_kitti
from tiny_pose import data_overrides as skeleton_overrides
from tiny_pose import write_actions
from tiny_segmentation import write_masks
from tiny_text_to_image import SMALLEST, write_pairs

import tao_like
from tao_like.bundle import read_bundle
from tao_like.config import default_yaml, iter_fields, json_schema, load_spec, to_dict
from tao_like.config.shipped import shipped_specs
from tao_like.tasks import spec_module, task_names

SHIPPED = sorted(shipped_specs().glob("*/*.yaml"))
NAMES = [path.relative_to(shipped_specs()).as_posix() for path in SHIPPED]
TAO_SPEC = Path(__file__).parent / "files" / "tao_classification.yaml"
# The same steps with less of everything: one step of four small images in one process, without the hub.
CAPS = (
    "dataset.batch_size=4",
    "dataset.workers=0",
    "train.accelerator=cpu",
    "train.num_gpus=1",
    "train.precision=fp32",
    "train.max_steps=1",
    "train.accumulate_grad_batches=1",
    "train.tensorboard.num_images=2",
)
SMALL = {
    # The towers' weights are the user's to bring, and so is their vocabulary.
    "clip": (
        "dataset.cache=none",
        "model.type=conv_tiny",
        "model.image_size=32",
        "model.tokenizer={type: words, path: null}",
        "train.pretrained_model_path=null",
    ),
    "classification": ("dataset.img_size=32", "dataset.cache=none"),
    "detection": (
        "dataset.cache=none",
        "dataset.img_size=64",
        "dataset.img_height=64",
        "dataset.augmentation.multi_scale_range=0",
    ),
    "instance_segmentation": (
        "dataset.cache=none",
        "dataset.img_size=64",
        "dataset.img_height=64",
        "dataset.augmentation.plain_epochs=0",
    ),
    "pose_classification": ("dataset.window_size=16", "model.base_channels=8"),
    "segmentation": ("dataset.cache=none", "dataset.img_size=64", "dataset.img_height=64"),
    "text_to_image": (*SMALLEST, "dataset.attributes={color: [red, blue]}"),
    "pointpillars": ("dataset.point_cloud_range=[0, -10.24, -3, 20.48, 10.24, 1]", "dataset.batch_size=1"),
}
"""What makes the samples and networks of a task small."""
FEW_REGIONS = (
    "model.faster_rcnn.rpn_post_nms_top_n_train=20",
    "model.faster_rcnn.rpn_post_nms_top_n_test=20",
    "model.faster_rcnn.box_batch_size_per_image=8",
)
FEW_QUERIES = (
    "model.mask_former.num_object_queries=10",
    "model.mask_former.dec_layers=2",
    "model.mask_former.train_num_points=256",
    "model.sem_seg_head.transformer_enc_layers=1",
)
CLASSES = {
    "instance_segmentation": ["bar", "disk"],
    "pose_classification": ["clap", "jump", "walk"],
    "pointpillars": ["Car", "Pedestrian", "Cyclist"],
    "text_to_image": [],
}
"""Of the generated data; of images they are colors."""


def spec_class(path: Path) -> Any:
    """The spec class of the task whose folder a shipped spec lies in."""
    return spec_module(path.parent.name).Spec


def test_every_task_has_shipped_specs() -> None:
    assert {path.parent.name for path in SHIPPED} == set(task_names())


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_a_shipped_spec_loads_and_holds_to_the_schema(path: Path) -> None:
    loaded = load_spec(spec_class(path), path)
    assert to_dict(loaded.spec)["results_dir"]
    if path.stem != "tao_names":
        assert loaded.notes == []
        _validator(path.parent.name).validate(yaml.safe_load(path.read_text("utf-8")))


@functools.cache
def _validator(task: str) -> jsonschema.Draft202012Validator:
    """Of a task's specs; a schema is large, and most of the time goes into making it."""
    schema = json_schema(spec_module(task).Spec)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_a_shipped_spec_says_how_to_launch_it_and_the_words_are_right(path: Path) -> None:
    header = [line.lstrip("# ") for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
    assert any(line.startswith("Launch") for line in header)
    commands = re.findall(
        r"^(?:torchrun .*|tao-like .*)$", "\n".join(header).replace("\\\n", ""), re.MULTILINE
    )
    assert any(f"train -e {path.name}" in command for command in commands)
    for command in commands:
        words = shlex.split(command)
        if "-e" not in words:
            continue
        assert words[words.index("-e") + 1] == path.name
        stage = words[words.index("-e") - 1]
        assert stage in spec_module(path.parent.name).STAGES
        load_spec(spec_class(path), path, words[words.index("-e") + 2 :])


def data_of(path: Path, class_folders: Path, folder: Path) -> list[str]:
    """Overrides that put generated data into the places where the spec names its own."""
    dataset = yaml.safe_load(path.read_text("utf-8"))["dataset"]
    if path.parent.name == "detection":
        words = box_overrides(write_coco(folder / "data"))
        return [word for word in words if word.partition("=")[0].removeprefix("dataset.") in dataset]
    if path.parent.name == "instance_segmentation" and "panoptic_json" in path.read_text("utf-8"):
        photos = write_panoptic(folder / "data")
        keys = {"img_dir": "{}", "panoptic_json": "panoptic_{}.json", "panoptic_dir": "panoptic_{}"}
        sources = {
            split: ", ".join(f"{key}: '{photos / form.format(split)}'" for key, form in keys.items())
            for split in ("train", "val")
        }
        several = "train_data_sources" in dataset
        return [
            f"dataset.{split}_data_sources=[{{{source}}}]" if several else f"dataset.{split}={{{source}}}"
            for split, source in sources.items()
        ]
    if path.parent.name == "instance_segmentation":
        words = instance_overrides(write_instances(folder / "data"))
        return [word for word in words if word.partition("=")[0].removeprefix("dataset.") in dataset]
    if path.parent.name == "segmentation":
        photos = write_masks(folder / "photos", sizes={"train": 8, "val": 4, "test": 4})
        (folder / "photos" / "classes.txt").write_text("blue\ngreen\nred\n")
        if "train_dataset" in dataset:
            parts = [("images", "images/train"), ("masks", "masks/train")]
            words = [f"dataset.train_dataset.{key}_dir={photos / part}" for key, part in parts]
            return [*words, f"dataset.classes_file={photos / 'classes.txt'}"]
        return [f"dataset.root_dir={photos}"]
    if path.parent.name == "clip":
        named = (split for split in ("train", "val", "test") if f"{split}_dataset" in dataset)
        blocks = ((split, class_folders / split) for split in named)
        return [f"dataset.{s}_dataset={{images_dir: '{place}', captions_file: null}}" for s, place in blocks]
    if path.parent.name == "pose_classification":
        layout = yaml.safe_load(path.read_text("utf-8"))["model"]["graph_layout"]
        words = skeleton_overrides(write_actions(folder / "data", layout))
        return [word for word in words if word.split(".")[1] in dataset]
    if path.parent.name == "text_to_image":
        pairs = write_pairs(folder / "data")
        splits = [split for split in ("train", "val", "test") if f"{split}_dataset" in dataset]
        places = [f"dataset.{split}_dataset.images_dir={pairs / split}" for split in splits]
        return [*places, *(f"dataset.{split}_dataset.captions_file=null" for split in splits)]
    if path.parent.name == "pointpillars":
        write = write_kitti if dataset["type"] == "KittiDataset" else write_frames
        return write(folder / "data")
    if "csv_file" in dataset["train_dataset"]:
        return [f"dataset.train_dataset.csv_file={write_multi_label_csv(folder / 'data')}"]
    named = [split for split in ("train", "val", "test") if f"{split}_dataset" in dataset]
    return [
        word for word in data_overrides(class_folders) if word.split(".")[1].removesuffix("_dataset") in named
    ]


def arch_of(path: Path) -> str | None:
    """The architecture that a shipped spec names."""
    arch: str | None = yaml.safe_load(path.read_text("utf-8"))["model"].get("arch")
    return arch


LESS_OF_A_NETWORK = {"mask2former": FEW_QUERIES, "mask_rcnn": FEW_REGIONS, "faster_rcnn": FEW_REGIONS}


def is_large(path: Path) -> bool:
    """Whether a step of its network takes longer than the others' together."""
    return arch_of(path) == "mask2former"


TRAINED = [
    pytest.param(path, id=name, marks=[pytest.mark.acceptance] if is_large(path) else [])
    for path, name in zip(SHIPPED, NAMES, strict=True)
]


@pytest.mark.parametrize("path", TRAINED)
def test_a_shipped_spec_trains(path: Path, class_folders: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(path.read_text("utf-8"))
    caps = [*CAPS, *SMALL[path.parent.name], *LESS_OF_A_NETWORK.get(arch_of(path) or "", ())]
    overrides = [*caps, f"results_dir={tmp_path}", *data_of(path, class_folders, tmp_path)]
    backbone = values["model"].get("backbone", {})
    if backbone.get("pretrained_backbone_path") == "timm":
        overrides.append("model.backbone.pretrained_backbone_path=null")
    if "num_classes" in values["dataset"]:
        overrides.append("dataset.num_classes=3")
    if "classes_file" in values["dataset"] and path.parent.name != "segmentation":
        overrides.append("dataset.classes_file=null")
    result = tao_like.run(path.parent.name, "train", path, overrides, quiet=True)
    bundle = read_bundle(result.bundle)
    assert bundle.classes == CLASSES.get(path.parent.name, ["blue", "green", "red"])
    if backbone:
        assert bundle.spec["model"]["backbone"]["type"] == backbone["type"]


# --- TAO's own names ---


def test_a_spec_of_tao_loads_and_says_in_one_note_what_it_leaves_out() -> None:
    loaded = load_spec(spec_module("classification").Spec, TAO_SPEC)
    assert len(loaded.notes) == 1
    for key in ("encryption_key", "wandb", "gen_trt_engine", "model.head.in_channels"):
        assert key in loaded.notes[0]
    spec = loaded.spec
    assert spec.model.backbone.type == "resnet_50"
    assert spec.train.optim.lr == 6e-5
    assert spec.train.optim.policy == "linear"
    assert spec.train.clip_grad_norm == 2.0
    assert spec.dataset.augmentation.with_scale_random_crop.scale_range == [1, 1.2]
    assert spec.dataset.augmentation.random_rotate.enable
    assert spec.evaluate.checkpoint is None
    assert not spec.dataset.classes_file


def test_what_of_tao_is_kept_has_a_place_in_the_default_specs() -> None:
    """So that nobody's key is taken and then forgotten: it comes back when the spec is written out."""
    spec = spec_module("classification").Spec
    given = yaml.safe_load(TAO_SPEC.read_text("utf-8"))
    ours = yaml.safe_load(default_yaml(spec))
    renamed = {
        f"{info.key.rpartition('.')[0]}.{alias}": info.key
        for info in iter_fields(spec)
        for alias in info.aliases
    }
    for dotted, value in flat(given):
        if any(dotted == key or dotted.startswith(f"{key}.") for key in spec.ignored):
            continue
        place: Any = ours
        for part in renamed.get(dotted, dotted).split("."):
            assert part in place, dotted
            place = place[part]
        assert value is None or not isinstance(place, dict), dotted


def flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted keys and their values."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        found += (
            flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else [(prefix + name, value)]
        )
    return found


def test_a_spec_of_tao_trains_and_exports(class_folders: Path, tmp_path: Path) -> None:
    small = ["dataset.img_size=32", "dataset.batch_size=4", "dataset.workers=0", "train.max_steps=1"]
    overrides = [f"results_dir={tmp_path}", *data_overrides(class_folders), *small]
    trained = tao_like.run("classification", "train", TAO_SPEC, overrides, quiet=True)
    bundle = read_bundle(trained.bundle)
    assert bundle.weights["normalise.mean"].tolist() == pytest.approx([0.485, 0.456, 0.406])
    exported = tao_like.run("classification", "export", TAO_SPEC, overrides, quiet=True)
    assert exported.onnx_file == tmp_path / "export" / "model.onnx"
    assert exported.report["opset_version"] == 17
