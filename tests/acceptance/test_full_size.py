"""Networks that are too large for the other tests, at their published size. A minute or more on two cores."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_pointpillars import write_kitti

import tao_like
from tao_like import runtime
from tao_like.bundle import read_bundle
from tao_like.config import load_spec
from tao_like.config.shipped import shipped_specs
from tao_like.tasks.pointpillars.model.build import make_network
from tao_like.tasks.pointpillars.spec import Spec

pytestmark = pytest.mark.acceptance
KITTI = shipped_specs() / "pointpillars" / "kitti.yaml"


def test_the_full_kitti_spec_trains_a_step_and_exports(tmp_path: Path) -> None:
    spec = load_spec(Spec, KITTI).spec
    assert spec.dataset.grid == (432, 496)
    assert make_network(spec).anchors.reshape(-1, 7).shape[0] == 321_408
    words = write_kitti(tmp_path / "data", {"train": spec.dataset.batch_size, "val": 1})
    words += [f"results_dir={tmp_path}", "train.max_steps=1", "train.accelerator=cpu", "dataset.workers=0"]
    trained = tao_like.run("pointpillars", "train", KITTI, words, quiet=True)
    weights = read_bundle(trained.bundle).weights
    learnt = [tensor for name, tensor in weights.items() if not name.endswith(("_mean", "_var", "_tracked"))]
    assert sum(tensor.numel() for tensor in learnt) == 4_834_888
    # The stage itself holds the file's answers against torch's.
    exported = tao_like.run("pointpillars", "export", KITTI, words, quiet=True)
    model = runtime.load(exported.onnx_file)
    assert model.metadata.preprocessing["point_cloud_range"] == spec.dataset.point_cloud_range
    frame = next((tmp_path / "data" / "training" / "velodyne").iterdir())
    assert len(model.predict(frame).detections) <= spec.model.post_processing.nms_config.nms_post_max_size
