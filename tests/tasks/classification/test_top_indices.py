"""The best of many scores: equal ones keep their order, in torch and in the file alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from tao_like.runtime.predictions.boxes3d import Selection3d
from tao_like.tasks.common.boxes.top_indices import top_indices
from tao_like.tasks.pointpillars.model.for_export import selected


class Best(nn.Module):
    """The seven best."""

    def forward(self, scores: Tensor) -> Tensor:
        return top_indices(scores, 7)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_equal_scores_keep_their_order(tmp_path: Path) -> None:
    scores = torch.randint(0, 4, (3, 500), generator=torch.Generator().manual_seed(0)).float()
    expected = np.argsort(-scores.numpy(), axis=1, kind="stable")[:, :7]
    assert np.array_equal(top_indices(scores, 7).numpy(), expected)
    torch.onnx.export(Best(), (scores,), tmp_path / "best.onnx", dynamo=False, input_names=["scores"])
    session = onnxruntime.InferenceSession(tmp_path / "best.onnx", providers=["CPUExecutionProvider"])
    assert np.array_equal(session.run(None, {"scores": scores.numpy()})[0], expected)


def test_boxes_in_space_with_equal_scores_are_taken_from_the_first_on() -> None:
    boxes = torch.tensor([[10.0 * number, 0, 0, 4, 2, 2, 0] for number in range(600)])
    selection = Selection3d(score_threshold=0.1, iou_threshold=0.5, limit=5, candidates=50, by_class=False)
    kept, scores, _, count = selected(boxes, torch.full((600, 1), 0.5), selection)
    assert kept[:, 0].tolist() == [0, 10, 20, 30, 40]
    assert scores.tolist() == [0.5] * 5
    assert int(count) == 5
