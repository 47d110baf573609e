"""Where a classifier looked: Grad-CAM on the backbone's last features (Selvaraju et al. 2017)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tao_like.tasks.classification.model import ClassificationNetwork


def class_activation_maps(network: ClassificationNetwork, pixels: Tensor) -> list[np.ndarray] | None:
    """The map of the likeliest class for each image, (h, w) from 0 to 1 at the features' resolution.

    Args:
        network: in evaluation mode.
        pixels: (N, 3, H, W), 0 to 255.

    Returns:
        One map an image; None when the last features are no map (a network without a grid).
    """
    with torch.enable_grad():
        features, logits = _features_and_logits(network, network.normalise(pixels))
        if features is None or features.ndim not in (3, 4):
            return None
        (slope,) = torch.autograd.grad(logits.max(dim=1).values.sum(), features)
    grid, gradient = (_as_grid(network, tensor) for tensor in (features.detach(), slope))
    # Where no location has a say in the prediction, there is nothing to show.
    if grid is None or gradient is None or not gradient.any():
        return None
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heatmap = (weights * grid).sum(dim=1).clamp(min=0)
    heatmap = heatmap / heatmap.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return list(heatmap.cpu().numpy())


def _features_and_logits(network: ClassificationNetwork, inputs: Tensor) -> tuple[Tensor | None, Tensor]:
    """The last features that are a map (None: they are no tensor), and the logits that follow from them.

    In a transformer that predicts from its class token, the other tokens behind the last block lead nowhere:
    there it is the input of the last attention.
    """
    backbone = network.backbone
    blocks = getattr(backbone, "blocks", None)
    if getattr(backbone, "global_pool", "") == "token" and blocks and hasattr(blocks[-1], "norm1"):
        seen: list[Tensor] = []
        hook = blocks[-1].norm1.register_forward_hook(lambda module, given, output: seen.append(output))
        try:
            logits = backbone(inputs)
        finally:
            hook.remove()
        return seen[0], logits
    features = backbone.forward_features(inputs)  # type: ignore[operator]
    if not isinstance(features, Tensor):
        return None, inputs
    features = features.detach().requires_grad_()
    return features, backbone.forward_head(features)  # type: ignore[operator]


def _as_grid(network: ClassificationNetwork, features: Tensor) -> Tensor | None:
    """Features as (N, C, h, w), from maps of either layout or from a square of tokens."""
    if features.ndim == 4:
        channels_last = features.shape[-1] == network.backbone.num_features != features.shape[1]
        return features.permute(0, 3, 1, 2) if channels_last else features
    tokens = features[:, int(getattr(network.backbone, "num_prefix_tokens", 0)) :]
    side = round(tokens.shape[1] ** 0.5)
    if side * side != tokens.shape[1]:
        return None
    return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
