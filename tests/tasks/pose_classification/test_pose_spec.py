"""The spec of pose classification in TAO's words."""

from __future__ import annotations

from pathlib import Path

from tao_like.config import load_spec
from tao_like.tasks.pose_classification.spec import Spec

TAO_SPEC = Path(__file__).parents[2] / "files" / "tao_pose_classification.yaml"


def test_a_spec_of_tao_loads_and_says_in_one_note_what_it_leaves_out() -> None:
    loaded = load_spec(Spec, TAO_SPEC)
    assert len(loaded.notes) == 1
    spec = loaded.spec
    optim = spec.train.optim
    assert (optim.optim, optim.policy, optim.lr, optim.momentum) == ("sgd", "multistep", 0.1, 0.9)
    assert (optim.policy_params.milestones, optim.policy_params.gamma) == ([10, 60], 0.1)
    # Evaluation and inference name the same file: that is one key here.
    assert spec.dataset.test_dataset.data_path == "test_data.npy"
    assert (spec.model.model_type, spec.model.graph_layout, spec.dataset.batch_size) == (
        "ST-GCN",
        "nvidia",
        16,
    )
