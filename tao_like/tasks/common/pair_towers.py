"""The towers of a trained model of the task `clip`, for networks of other tasks that stand on them.

The tasks do not know each other: the towers are opened by their bundle, and built again from what is kept of
it, through what every task offers. What a network that stands on them may ask of the towers is said here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from torch import Tensor, nn

from tao_like.bundle import Bundle, file_sha256
from tao_like.config import spec_from_dict
from tao_like.contract.model import parts_of
from tao_like.contract.restored import restored
from tao_like.contract.trained import TrainedState
from tao_like.errors import BundleError, SpecError
from tao_like.networks import structure
from tao_like.networks.weights.checkpoints import BUNDLE_SUFFIX
from tao_like.runtime.inputs.text import TextPreprocessing
from tao_like.tasks import task_class
from tao_like.tasks.common.image_input import IMAGE
from tao_like.tasks.common.pair_judge import TASK, TEXT


class TextTower(Protocol):
    """What a text tower can be asked.

    Attributes:
        logit_scale: (1,): logarithm of the scale of cosines.
        projection: gives the embedding; takes what is as wide as a token.
    """

    logit_scale: nn.Parameter
    projection: nn.Linear

    def with_tokens(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ids (N, L) to embeddings (N, D), not normalized, and what each token has become (N, L, width)."""

    def padding(self, ids: Tensor) -> Tensor:
        """Which tokens (N, L) say nothing of a text, bool."""


class PairTowers(Protocol):
    """Both towers.

    Attributes:
        image: maps pixels (N, 3, side, side), 0 to 255, to embeddings (N, D), not normalized.
        text: see `TextTower`; a module.
    """

    image: nn.Module
    text: TextTower


@dataclass(frozen=True)
class KeptPair:
    """What must be kept of a bundle to build its towers without it, as JSON.

    Attributes:
        sha256: of the bundle.
        spec: what describes the towers, of its spec.
        image: how images are preprocessed.
        structure: what pruning has left of each tower; towers as their spec has them are missing.
    """

    sha256: str
    spec: dict[str, Any]
    image: dict[str, Any]
    structure: dict[str, Any]

    @property
    def side(self) -> int:
        """Of the images that the image tower looks at, in pixels."""
        return int(self.image["height"])

    def build(self, text: TextPreprocessing) -> PairTowers:
        """The towers with random weights, to be filled.

        Args:
            text: how texts become ids: the bundle's own.

        Raises:
            BundleError: what was kept describes no towers.
        """
        kind = task_class(TASK)
        try:
            spec = spec_from_dict(kind.Spec, self.spec, source="the kept model of clip").spec
            state = TrainedState([], {IMAGE: self.image, TEXT: text.to_dict()}, {}, None)
            network: nn.Module = kind(spec, state).model(pretrained=False)[0]
            for name, tower in parts_of(network).items():
                if name in self.structure:
                    structure.apply(tower, self.structure[name])
        except (SpecError, BundleError, KeyError) as error:
            raise BundleError(f"what is kept of the model of clip describes no towers: {error}") from error
        return cast("PairTowers", network)


@dataclass(frozen=True)
class TrainedPair:
    """Towers that were trained before.

    Attributes:
        path: of the file that holds them.
        kept: what builds them again.
        text: how texts become ids.
        embedding: length of an embedding.
        text_width: channels of what each token has become.
        towers: with their weights, in evaluation mode; None: these come with all others of that file.
    """

    path: Path
    kept: KeptPair
    text: TextPreprocessing
    embedding: int
    text_width: int
    towers: PairTowers | None = None


def open_pair(given: str, key: str) -> TrainedPair:
    """The towers of a bundle that a spec names.

    Args:
        given: the bundle.
        key: of the spec, for messages.

    Raises:
        SpecError: there is no such file, or it is an exported one.
        BundleError: it is of another task, or damaged.
    """
    path = Path(given)
    if path.is_dir() or path.suffix == ".onnx":
        raise SpecError(
            f"{key}={given} is an exported model or a folder, and a network cannot stand on it; name the "
            f"bundle that it was exported from ({BUNDLE_SUFFIX})"
        )
    if not path.exists():
        raise SpecError(f"{key}: there is no file {path}; give a bundle that `tao-like clip train` has left")
    try:
        found = restored(task_class(TASK), path)
        text = TextPreprocessing.from_dict(found.bundle.preprocessing[TEXT])
    except (BundleError, SpecError) as error:
        raise BundleError(f"{key}: {error}") from error
    towers = cast("PairTowers", found.network)
    projection = towers.text.projection
    sizes = projection.out_features, projection.in_features
    return TrainedPair(path, _kept(found.bundle, path), text, *sizes, towers)


def _kept(bundle: Bundle, path: Path) -> KeptPair:
    """What must be kept of a bundle: nothing of its data, and of its training what the towers depend on."""
    train = {"loss_type": bundle.spec["train"]["loss_type"], "keep": "last"}
    return KeptPair(
        file_sha256(path),
        {"model": bundle.spec["model"], "train": train},
        bundle.preprocessing[IMAGE],
        {name: part.structure for name, part in bundle.parts.items() if part.structure is not None},
    )
