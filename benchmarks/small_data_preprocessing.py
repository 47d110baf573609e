"""How `init` prepares some hundred photos for a head on a frozen backbone: cross-validation inside train.

Data: a folder whose `train` holds class folders; its `val` is never read. The backbone is frozen, so its
features of a photo do not depend on the fold: for each preprocessing those of the plain photos and of one
augmented view of each photo for every epoch are computed once. Then the head is trained as `init`'s spec does
it, by five-fold cross-validation repeated with ten shuffles. Logistic regressions on the plain photos stand
beside, for what a linear probe gets from the same photos.

    python benchmarks/small_data_preprocessing.py HYMENOPTERA
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

from tao_like.config import load_spec
from tao_like.tasks.classification.task import ClassificationTask

PREPROCESSINGS: dict[str, tuple[str, ...]] = {
    "crop, 224": ("dataset.img_size=224",),
    "crop, 224, views of half the photo and more": (
        "dataset.img_size=224",
        "dataset.augmentation.with_scale_random_crop.scale_range=[0.5,1.0]",
    ),
    "crop, 256": ("dataset.img_size=256",),
    "whole, 224": ("dataset.img_size=224", "dataset.crop_pct=1.0"),
    "squash, 224": ("dataset.img_size=224", "dataset.resize=squash"),
    "whole, 256": ("dataset.img_size=256", "dataset.crop_pct=1.0"),
    "squash, 256": ("dataset.img_size=256", "dataset.resize=squash"),
}
RATES = (0.001, 0.003, 0.01, 0.03)
PROBE_STRENGTHS = (0.01, 0.1, 1.0, 10.0)
EPOCHS = 8
BATCH_SIZE = 16
FOLDS = 5
SHUFFLES = 10
COMMON = (
    "model.backbone.type=tf_efficientnet_lite0",
    "model.backbone.pretrained_backbone_path=package:efficientnet_lite0",
    "model.backbone.freeze_backbone=true",
    "dataset.split.val=0",
    "train.keep=last",
    "dataset.split.test=0",
    "dataset.augmentation.with_scale_random_crop.scale_range=[0.25,1.0]",
    "dataset.augmentation.random_color.enable=false",
)


@dataclass
class Features:
    """Pooled features of one preprocessing.

    Attributes:
        plain: (N, D) of the photos as evaluation preprocesses them.
        views: (E, N, D) of an augmented view of each photo for every epoch.
        targets: (N,) class numbers.
    """

    plain: Tensor
    views: Tensor
    targets: Tensor


@torch.inference_mode()
def features(train: Path, settings: tuple[str, ...]) -> Features:
    """Runs the frozen backbone over plain and augmented photos."""
    overrides = [*COMMON, *settings, f"dataset.train_dataset.images_dir={train}"]
    task = ClassificationTask(load_spec(ClassificationTask.Spec, None, overrides).spec)
    network, _ = task.model(pretrained=True)
    network.eval()
    torch.manual_seed(0)

    def pooled(augment: bool) -> Tensor:
        data = task.data.dataset("train", augment=augment)
        parts = []
        for start in range(0, len(data), 32):
            batch = task.data.collate([data[i] for i in range(start, min(start + 32, len(data)))])
            maps: Any = network.backbone.forward_features(network.normalise(batch.input))  # type: ignore[operator]
            parts.append(network.backbone.forward_head(maps, pre_logits=True))  # type: ignore[operator]
        return torch.cat(parts)

    targets: Any = task.data.dataset("train")
    return Features(
        pooled(False),
        torch.stack([pooled(True) for _ in range(EPOCHS)]),
        torch.tensor([int(t) for t in targets.targets]),
    )


def train_head(data: Features, rate: float, chosen: Tensor, seed: int) -> nn.Module:
    """The head of `init`'s spec: SGD, cosine with an epoch of warm-up, label smoothing and dropout."""
    torch.manual_seed(seed)
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(data.plain.shape[1], int(data.targets.max()) + 1))
    nn.init.normal_(head[1].weight, std=0.01)
    nn.init.zeros_(head[1].bias)
    optimizer = torch.optim.SGD(head.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    steps = math.ceil(len(chosen) / BATCH_SIZE)
    for epoch in range(EPOCHS):
        order = chosen[torch.randperm(len(chosen))]
        for step in range(steps):
            place = (epoch * steps + step) / (EPOCHS * steps)
            warm = min(1.0, place * EPOCHS)
            for group in optimizer.param_groups:
                group["lr"] = rate * warm * 0.5 * (1 + math.cos(math.pi * place))
            rows = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
            optimizer.zero_grad()
            loss(head(data.views[epoch][rows]), data.targets[rows]).backward()
            optimizer.step()
    return head.eval()


def probe(data: Features, strength: float, chosen: Tensor, _seed: int) -> nn.Module:
    """A logistic regression on the plain photos, as a layer; ``strength`` is the inverse of its penalty."""
    fitted = LogisticRegression(C=strength, max_iter=1000).fit(data.plain[chosen], data.targets[chosen])
    layer = nn.Linear(data.plain.shape[1], 2)
    with torch.no_grad():
        # Two classes: one row of coefficients, for the second.
        layer.weight.copy_(torch.tensor(np.concatenate([-fitted.coef_, fitted.coef_]) / 2))
        layer.bias.copy_(torch.tensor(np.concatenate([-fitted.intercept_, fitted.intercept_]) / 2))
    return layer


def cross_validate(data: Features, train: Callable[[Tensor, int], nn.Module]) -> tuple[float, float, float]:
    """Wrong answers, mean and standard deviation over shuffles, and the mean cross entropy.

    Args:
        data: the features.
        train: makes a layer from chosen photos and a seed.
    """
    wrong, entropy = [], []
    for shuffle in range(SHUFFLES):
        missed = 0
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=shuffle)
        for chosen, left_out in folds.split(data.plain, data.targets):
            head = train(torch.tensor(chosen), shuffle)
            with torch.inference_mode():
                logits = head(data.plain[left_out])
            missed += int((logits.argmax(1) != data.targets[left_out]).sum())
            entropy.append(nn.functional.cross_entropy(logits, data.targets[left_out]).item())
        wrong.append(missed)
    return statistics.mean(wrong), statistics.stdev(wrong), statistics.mean(entropy)


def main() -> None:
    """Runs all preparations and rates, and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    rows: list[tuple[str, str, float, float, float]] = []
    for name, settings in PREPROCESSINGS.items():
        data = features(options.photos / "train", settings)
        trainers: dict[str, Callable[[Tensor, int], nn.Module]] = {
            f"head, rate {rate}": partial(train_head, data, rate) for rate in RATES
        }
        trainers |= {f"probe, C {strength}": partial(probe, data, strength) for strength in PROBE_STRENGTHS}
        for what, train in trainers.items():
            rows.append((name, what, *cross_validate(data, train)))
            print(*rows[-1], flush=True)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["preparation", "what", "wrong", "wrong_sd", "cross_entropy"])
        for row in rows:
            writer.writerow([*row[:2], *(f"{value:.1f}" for value in row[2:4]), f"{row[4]:.4f}"])


if __name__ == "__main__":
    main()
