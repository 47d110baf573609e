"""Both towers as ONNX graphs, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from tao_like.contract.model import Exportable
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.tasks.clip.model.pair import ImageTowerForExport, PairNetwork, TextTowerForExport


def run_towers(network: PairNetwork, pixels: Tensor, ids: Tensor, folder: Path) -> list[np.ndarray]:
    """Image embeddings, text embeddings and scalings of pixels (N, 3, H, W) and ids (N, L)."""
    image = pixels.permute(0, 2, 3, 1).contiguous().to(torch.uint8)
    towers: list[tuple[Any, Tensor, list[str]]] = [
        (ImageTowerForExport(network.image, "uint8_nhwc"), image, ["image_embedding"]),
        (TextTowerForExport(network.text), ids, ["text_embedding", "text_scaling"]),
    ]
    found: list[np.ndarray] = []
    for number, (module, given, outputs) in enumerate(towers):
        exportable = Exportable(
            module.eval(),
            inputs={"given": {0: "batch"}},
            outputs={name: {0: "batch"} for name in outputs},
            meanings=dict.fromkeys(outputs, ""),
            to_inputs=lambda preprocessed: (preprocessed["given"],),
        )
        graph, _ = to_onnx(exportable, (given,), dynamic=True, opset=18)
        onnx.save(graph, folder / f"{number}.onnx")
        session = onnxruntime.InferenceSession(str(folder / f"{number}.onnx"))
        found += session.run(outputs, {"given": given.numpy()})
    return found
