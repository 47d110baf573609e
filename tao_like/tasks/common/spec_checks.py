"""Rules that the specs of several tasks have in common. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from tao_like.config import Problem
from tao_like.errors import SpecError
from tao_like.networks.backbones.names import IMPORTED, resolve_name

BACKBONE_KEY = "model.backbone.type"


class ImageSize(Protocol):
    """A block with the size of the input."""

    img_size: int
    img_height: int | None


def backbone_problems(name: str) -> Iterator[Problem]:
    """A backbone is one of timm's."""
    try:
        resolve_name(name)
    except SpecError as error:
        yield Problem(BACKBONE_KEY, str(error).removeprefix(f"{BACKBONE_KEY}: "))


def imported_problems(source: str | None) -> Iterator[Problem]:
    """An imported backbone is a bundle."""
    if not (source or "").endswith(".tltb"):
        yield Problem(
            "model.backbone.pretrained_backbone_path",
            f"{source} is not allowed with model.backbone.type={IMPORTED}; give the bundle (.tltb) that "
            "`tao-like byom convert` wrote",
        )


def keep_problems(keep: str, has_val: object, keys: str) -> Iterator[Problem]:
    """The best epoch is told by validation data, which the keys give."""
    if keep == "best" and not has_val:
        yield Problem("train.keep", f"best needs validation data; give {keys}, or set train.keep=last")


def size_problems(block: ImageSize, multiple: int, prefix: str = "") -> Iterator[Problem]:
    """Sides are multiples of the coarsest map's stride."""
    for key, side in (("img_size", block.img_size), ("img_height", block.img_height)):
        if side is not None and side % multiple:
            near = max(multiple, round(side / multiple) * multiple)
            yield Problem(f"{prefix}{key}", f"{side} is not a multiple of {multiple}; the nearest is {near}")


def multi_scale_problems(steps: int, stride: int, block: ImageSize) -> Iterator[Problem]:
    """The smallest size of a training by several sizes must be one."""
    smallest = min(block.img_size, block.img_height or block.img_size)
    if steps * stride >= smallest:
        yield Problem(
            "dataset.augmentation.multi_scale_range",
            f"{steps} steps of {stride} pixels leave nothing of {smallest}; give fewer",
        )
