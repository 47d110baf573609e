"""The spec of pointpillars: TAO's words, and rules that join keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_pointpillars import TINY

from tao_like.config import load_spec
from tao_like.config.validation import validate_spec_class
from tao_like.errors import SpecError
from tao_like.tasks.pointpillars.spec import Spec

TAO_SPEC = Path(__file__).parents[2] / "files" / "tao_pointpillars.yaml"


def test_the_declaration_holds_its_own_rules() -> None:
    validate_spec_class(Spec)


def test_a_spec_of_tao_loads_and_says_in_one_note_what_it_leaves_out() -> None:
    loaded = load_spec(Spec, TAO_SPEC)
    assert len(loaded.notes) == 1
    spec = loaded.spec
    assert spec.dataset.grid == (464, 464)
    assert (spec.dataset.batch_size, spec.train.optim.lr, spec.train.clip_grad_norm) == (4, 0.003, 10.0)
    assert spec.train.seed == 1
    optim = spec.train.optim
    assert (optim.optim, optim.policy, optim.weight_decay) == ("adamw", "one_cycle", 0.01)
    assert vars(optim.policy_params) == {
        **vars(Spec().train.optim.policy_params), "moms": [0.95, 0.85], "pct_start": 0.3, "div_factor": 10.0
    }  # fmt: skip
    assert spec.dataset.balanced_resampling
    assert [anchor.class_name for anchor in spec.model.dense_head.anchor_generator_config] == (
        spec.dataset.class_names
    )
    assert [step.name for step in spec.dataset.data_augmentor.steps][:2] == [
        "gt_sampling",
        "random_world_flip",
    ]
    assert spec.dataset.data_split.test == "val"


def test_tao_s_word_for_the_optimizer_stands_in_commands_too() -> None:
    optim = load_spec(Spec, None, [*TINY, "train.optimizer=adam_onecycle", "train.lr=0.5"]).spec.train.optim
    assert (optim.optim, optim.policy, optim.lr) == ("adamw", "one_cycle", 0.5)
    with pytest.raises(SpecError, match=r"train\.optimizer"):
        load_spec(Spec, None, [*TINY, "train.optimizer=adam_twocycle"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("dataset.class_names=[Car]", r"anchor_generator_config.*has anchors of Car, Pedestrian.*is Car"),
        ("dataset.point_cloud_range=[0, -20, -3, 40, 20, 1]", r"point_cloud_range.*62\.500 pillars"),
        ("dataset.point_cloud_range=[0, -20.48, -3, 41.6, 20.48, 1]", r"65 pillars, no multiple of 2"),
        ("dataset.point_cloud_range=[0, 1, -3, 40, -1, 1]", r"smallest x, y, z"),
        ("dataset.data_processor=[]", r"data_processor.*transform_points_to_voxels"),
        ("model.backbone_2d.upsample_strides=[1, 4]", r"upsample_strides.*one size"),
        ("model.backbone_2d.num_filters=[8]", r"num_filters.*has not 2 numbers"),
        ("dataset.point_feature_encoding.src_feature_list=[x, y, z]", r"intensity is not in"),
        (
            "dataset.data_augmentor.aug_config_list=[{name: gt_sampling, sample_groups: [Car]}]",
            "CLASS:NUMBER",
        ),
        ("export.batch_size=4", r"export\.batch_size"),
        ("export.opset_version=17", r"export\.opset_version"),
        ("dataset.data_split.val=null", r"train\.keep.*dataset\.data_split\.val"),
    ],
)
def test_what_does_not_go_together_is_named(override: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        load_spec(Spec, None, [*TINY, override])
