"""Where a CLIP that was trained before comes from: a bundle of the task `clip`, or one of unclip itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from tao_like.bundle import file_sha256, read_manifest
from tao_like.contract.trained import TrainedState
from tao_like.errors import SpecError
from tao_like.runtime.choices import CODES
from tao_like.runtime.generation.base import TEXT
from tao_like.runtime.inputs.text import TextPreprocessing
from tao_like.tasks.common.pair_towers import KeptPair, PairTowers, TrainedPair, open_pair
from tao_like.tasks.text_to_image.spec import UNCLIP, ModelSpec, Spec
from tao_like.tasks.text_to_image.spec_blocks.stages import PhaseSpec
from tao_like.tasks.text_to_image.spec_blocks.unclip import StoredClipSpec, UnclipSpec
from tao_like.tasks.text_to_image.unclip.given_clip import GivenTowers

KEY = "model.unclip.pretrained_clip_path"
EMBEDDING = "clip_embedding"
"""In what an exported file says of itself: the length of a given CLIP's embeddings."""
FEWEST, NARROWEST = 4, 8
"""Numbers of an embedding and channels of a token; the spec's own limits."""
_OWN_CLIP = ("embedding", "clip_channels", "text_width", "text_layers", "text_heads")
"""Keys of a CLIP that is trained here."""


def resolved(pair: TrainedPair, spec: Spec) -> Spec:
    """The spec with what a given CLIP decides. Raises SpecError where the rest does not go with it."""
    own = spec.model.unclip
    if pair.embedding < FEWEST or pair.text_width < NARROWEST:
        raise SpecError(
            f"{KEY}={pair.path}: its embeddings have {pair.embedding} numbers and its tokens "
            f"{pair.text_width} channels; at least {FEWEST} and {NARROWEST} are needed"
        )
    if own.prior == CODES and own.prior_codes > pair.embedding:
        raise SpecError(
            f"model.unclip.prior_codes={own.prior_codes} is more than the embeddings of "
            f"{pair.path} have numbers, {pair.embedding}; give at most that many"
        )
    unclip = replace(
        own,
        embedding=pair.embedding,
        text_width=pair.text_width,
        prior_codes=min(own.prior_codes, pair.embedding),
        clip=StoredClipSpec(**asdict(pair.kept)),
    )
    length = pair.text.context_length
    return replace(spec, model=replace(spec.model, context_length=length, unclip=unclip))


def notes_of(pair: TrainedPair, spec: Spec) -> list[str]:
    """What to tell the user of a given CLIP.

    Args:
        pair: that CLIP.
        spec: as it was given.
    """
    lines = [
        f"CLIP is that of {pair.path}: embeddings of {pair.embedding} numbers, captions of "
        f"{pair.text.context_length} tokens"
    ]
    if idle := list(_idle(pair, spec)):
        lines.append(
            f"{', '.join(idle)}: of no effect, for {KEY} names a CLIP that is trained already; what it has "
            "holds"
        )
    return lines


def _idle(pair: TrainedPair, spec: Spec) -> Iterator[str]:
    """Keys that were given and that this CLIP decides otherwise."""
    default, own = UnclipSpec(), spec.model.unclip
    decided = {"embedding": pair.embedding, "text_width": pair.text_width}
    for name in _OWN_CLIP:
        value = getattr(own, name)
        if value not in (getattr(default, name), decided.get(name)):
            yield f"model.unclip.{name}={value}"
    length = spec.model.context_length
    if length not in (ModelSpec().context_length, pair.text.context_length):
        yield f"model.context_length={length}"
    for field in fields(PhaseSpec):
        if (value := getattr(spec.train.clip, field.name)) is not None:
            yield f"train.clip.{field.name}={value}"


def given_clip(spec: Spec, trained: TrainedState | None) -> TrainedPair | None:
    """The CLIP that a training stands on; None: it has one of its own, or there is nothing to train.

    Raises:
        SpecError: there is no such file.
        BundleError: it is no bundle of the task `clip`.
    """
    own = spec.model.unclip
    if trained is not None or spec.model.arch != UNCLIP or not own.pretrained_clip_path or own.clip.sha256:
        return None
    if spec.train.pretrained_model_path:
        # All weights come from there, CLIP's too.
        found = _of_own_bundle(spec.train.pretrained_model_path, Path(own.pretrained_clip_path))
        if found is not None:
            return found
    return open_pair(own.pretrained_clip_path, KEY)


def kept_clip(path: Path, stored: Mapping[str, Any], text: Mapping[str, Any] | None) -> TrainedPair | None:
    """The CLIP that a bundle of unclip holds; None: it is one of its own, or there is none.

    Args:
        path: that bundle.
        stored: the spec in it, as JSON.
        text: how captions become tokens.

    Raises:
        BundleError: the latter is damaged.
    """
    unclip = stored.get("model", {}).get("unclip", {})
    clip = unclip.get("clip", {})
    names = [one.name for one in fields(KeptPair)]
    if text is None or not clip.get("sha256") or not clip.keys() >= set(names):
        return None
    kept = KeptPair(**{name: clip[name] for name in names})
    preprocessing = TextPreprocessing.from_dict(text)
    return TrainedPair(path, kept, preprocessing, unclip["embedding"], unclip["text_width"])


def of_file(spec: Spec, extra: dict[str, Any]) -> Spec:
    """The spec with what an exported file says of its CLIP; a bundle holds a spec of its own."""
    if EMBEDDING not in extra:
        return spec
    unclip = replace(spec.model.unclip, embedding=int(extra[EMBEDDING]))
    return replace(spec, model=replace(spec.model, unclip=unclip))


def build_towers(spec: ModelSpec, text: TextPreprocessing) -> GivenTowers | None:
    """The towers that the resolved spec keeps, with random weights; None: it has a CLIP of its own.

    Raises:
        BundleError: what was kept describes no towers.
    """
    stored = spec.unclip.clip
    if not stored.sha256:
        return None
    kept = KeptPair(**asdict(stored))
    return GivenTowers(kept.build(text), spec.image_size, kept.side)


def fill(towers: GivenTowers, pair: PairTowers) -> None:
    """Gives towers the weights of a trained pair of the same kind."""
    for own, given in ((towers.image.tower, pair.image), (towers.text.tower, pair.text)):
        assert isinstance(own, nn.Module)
        assert isinstance(given, nn.Module)
        own.load_state_dict(given.state_dict())


def _of_own_bundle(given: str, path: Path) -> TrainedPair | None:
    """The CLIP that a bundle of unclip holds; None: it is one of its own.

    Args:
        given: the bundle.
        path: of the CLIP that the spec names beside it; it need not be there any more.

    Raises:
        SpecError: that is another one.
    """
    if not Path(given).is_file():
        return None
    manifest = read_manifest(given)
    found = kept_clip(Path(given), manifest["spec"], manifest["preparation"].get(TEXT))
    if found is not None and path.is_file() and file_sha256(path) != found.kept.sha256:
        raise SpecError(
            f"{KEY}={path} is another CLIP than the one that train.pretrained_model_path={given} stands on, "
            "and all weights come from there; name that CLIP, or leave train.pretrained_model_path out"
        )
    return found
