"""A spec of TAO's mask2former: every key is taken, said to be left out, or refused with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tao_like.config import iter_fields, json_schema, load_spec
from tao_like.errors import SpecError
from tao_like.tasks import spec_module

TAO_SPEC = Path(__file__).parents[2] / "files" / "tao_mask2former.yaml"
SPEC = spec_module("instance_segmentation").Spec
ARCH = "model.arch=mask2former"


def loaded(*overrides: str) -> Any:
    return load_spec(SPEC, TAO_SPEC, [ARCH, *overrides])


def test_the_whole_tree_loads_and_its_values_arrive() -> None:
    spec = loaded().spec
    assert (spec.model.mode, spec.model.object_mask_threshold, spec.model.overlap_threshold) == (
        "panoptic",
        0.4,
        0.5,
    )
    assert spec.model.postprocess.max_detections == 100
    assert (spec.model.backbone.type, spec.model.backbone.swin.size.depths) == ("swin", [2, 2, 6, 2])
    data = spec.dataset
    assert (data.img_size, data.img_height, data.batch_size, data.workers) == (640, 640, 2, 1)
    (train,), (val,) = data.sources("train"), data.sources("val")
    assert (train.kind, train.annotations, train.image_dir, train.panoptic_dir) == (
        "coco_panoptic",
        "/data/annotations/panoptic_train.json",
        "/data/train",
        "/data/panoptic_train",
    )
    assert val.annotations == "/data/annotations/panoptic_val.json"
    assert data.test.img_dir == "/data/test"
    optim = spec.train.optim
    assert (optim.optim, optim.policy, optim.policy_params.milestones) == ("adamw", "multistep", [88, 96])
    assert (optim.lr, optim.backbone_multiplier, optim.backbone_rate) == (2e-4, 0.1, pytest.approx(2e-5))
    assert (optim.weight_decay, optim.monitor_name) == (0.05, "val_loss")
    assert (spec.train.clip_grad_norm, spec.train.num_epochs) == (0.1, 100)


def test_each_key_has_a_place_or_stands_in_the_one_note() -> None:
    """By the loader's note alone: a key that is neither in it nor a key of ours would be an error."""
    (note,) = loaded().notes
    names = {info.key for info in iter_fields(SPEC)}
    aliases = {
        f"{info.key.rpartition('.')[0]}.{alias}" for info in iter_fields(SPEC) for alias in info.aliases
    }
    taken = names | aliases | set(SPEC.moved) | {"train.optim.type", "train.optim.lr_scheduler"}
    for key in leaves(yaml.safe_load(TAO_SPEC.read_text("utf-8"))):
        assert key in taken or any(key == said or key.startswith(f"{said}.") for said in words(note)), key


def words(note: str) -> list[str]:
    """The keys that a note lists."""
    return note.partition("here: ")[2].partition(" (docs")[0].split(", ")


def leaves(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys of all values."""
    found: list[str] = []
    for name, value in values.items():
        inner = leaves(value, f"{prefix}{name}.") if isinstance(value, dict) and value else []
        found += inner or [prefix + name]
    return found


def test_the_schema_takes_the_tree_too() -> None:
    tree = yaml.safe_load(TAO_SPEC.read_text("utf-8"))
    tree["model"]["arch"] = "mask2former"
    jsonschema.validate(tree, json_schema(SPEC))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.freeze=[backbone]", r"train\.freeze: .*model\.backbone\.freeze_backbone=true"),
        ("train.is_dry_run=true", r"train\.is_dry_run: .*dry_run"),
        ("model.mask_former.pre_norm=true", r"pre_norm: .*norms follow attention"),
        ("model.backbone.type=efficientvit", r"efficientvit is not allowed; name the network"),
        (
            "dataset.augmentation.train_crop_size=[640]",
            r"give 2 values: dataset\.img_height, dataset\.img_size",
        ),
        ("dataset.train.type=ade", r"dataset\.train\.annot_file: is not given; format ade needs it"),
        ("train.optim.lr_backbone=1e-5", r"backbone_multiplier: 0\.1 is given together with lr_backbone"),
        ("model.backbone.swin.depths=[1,1,1,1]", r"swin\.type: tiny is embed_dim=96"),
        ("model.arch=mask_rcnn", r"model\.mode: panoptic is for model\.arch=mask2former"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_to_do(override: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        loaded(override)


@pytest.mark.parametrize("name", ["WarmupPoly", "Warmuppoly"])
def test_a_polynomial_schedule_is_the_linear_one(name: str) -> None:
    assert loaded(f"train.optim.lr_scheduler={name}").spec.train.optim.policy == "linear"


def test_a_crop_that_is_no_square_is_height_before_width() -> None:
    data = loaded("dataset.augmentation.train_crop_size=[512,1024]").spec.dataset
    assert (data.img_height, data.img_size) == (512, 1024)


def test_a_size_of_swin_says_its_numbers() -> None:
    """Those of Swin-L's published configuration."""
    size = loaded("model.backbone.swin.type=large").spec.model.backbone.swin.size
    assert size == (192, [2, 2, 18, 2], [6, 12, 24, 48])


def test_data_that_stands_in_two_places_is_refused() -> None:
    sources = "dataset.train_data_sources=[{image_dir: a, json_file: b}]"
    with pytest.raises(SpecError, match=r"dataset\.train: is given together with train_data_sources"):
        loaded(sources)


def test_the_other_two_types() -> None:
    """Instances of COCO, and lines of photos with masks."""
    data = {
        "train": {"type": "coco", "instance_json": "a.json", "img_dir": "photos", "panoptic_json": ""},
        "val": {"type": "ade", "annot_file": "val.jsonl", "root_dir": "", "img_dir": ""},
        "label_map": "colors.json",
    }
    spec = load_spec(SPEC, {"model": {"arch": "mask2former"}, "dataset": data}).spec
    (train,), (val,) = spec.dataset.sources("train"), spec.dataset.sources("val")
    assert (train.kind, train.annotations) == ("coco", "a.json")
    assert (val.kind, val.annotations) == ("ade", "val.jsonl")
