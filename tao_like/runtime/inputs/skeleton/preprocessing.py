"""Preprocessing skeletons over time for a network.

This is the only preprocessing for evaluation that there is: the datasets, the evaluation and the exported
model's runtime all call it. A sequence is an array (C, T, V, M): channels x, y and perhaps z or a score;
frames; joints; persons. A joint at 0, 0, 0 was not seen, and stays at zero whatever is done to the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError

Sequence4 = npt.NDArray[np.float32]
"""(C, T, V, M)."""
SAMPLINGS = ("uniform", "pad")
_CENTER_KEY = "centre"
"""The name of `SkeletonPreprocessing.center` in bundles and exported files."""


@dataclass(frozen=True)
class SkeletonPreprocessing:
    """How a sequence becomes the network's input.

    Attributes:
        channels: 2 or 3.
        frames: of the result.
        joints: V.
        persons: M; further persons are left out, those seen least first.
        confidence: the last channel is a score, not a coordinate.
        sampling: ``uniform``: as many frames as the network takes, spread evenly over those in which somebody
            is seen; ``pad``: the frames as they are, the middle cut out or filled up with zeros.
        center: joint that is put into the origin, as it is in the pose that decides (`normalize_skeleton`);
            None: coordinates stay.
        spine: joints whose middle is the lower end of the back, and those of its upper end.
        scale: divide lengths by the mean length of the back.
        shoulders: left and right shoulder; with ``spine``, that pose is turned so that the back points along
            z and the shoulders along x (3D only); None: directions stay.
    """

    channels: int
    frames: int
    joints: int
    persons: int = 1
    confidence: bool = False
    sampling: str = "uniform"
    center: int | None = None
    spine: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    scale: bool = False
    shoulders: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning, with a BundleError."""
        for name in ("channels", "frames", "joints", "persons"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BundleError(f"preprocessing.{name} is {value!r}; it must be a number of 1 or more.")
        if self.channels not in (2, 3):
            raise BundleError(f"preprocessing.channels is {self.channels}; it must be 2 or 3.")
        if self.sampling not in SAMPLINGS:
            raise BundleError(f"preprocessing.sampling is {self.sampling!r}; it must be one of uniform, pad.")
        named = [] if self.center is None else [self.center]
        named += [joint for end in self.spine or () for joint in end] + list(self.shoulders or ())
        if not all(isinstance(joint, int) and 0 <= joint < self.joints for joint in named):
            raise BundleError(f"preprocessing names joints {named}; there are 0 to {self.joints - 1}.")
        if (self.scale or self.shoulders) and not self.spine:
            raise BundleError("preprocessing.spine is missing; scale and shoulders need it.")
        if self.shoulders and self.dimensions != 3:
            raise BundleError("preprocessing.shoulders is for coordinates in three dimensions.")

    @property
    def dimensions(self) -> int:
        """Channels that are coordinates."""
        return self.channels - self.confidence

    places = dimensions
    """The name of `dimensions` in version 0.1."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Channels, frames, joints and persons of the result."""
        return self.channels, self.frames, self.joints, self.persons

    @property
    def turning(self) -> list[int]:
        """Joints that say how the body is turned; empty: directions stay."""
        if not self.shoulders:
            return []
        return [*self.shoulders, *(joint for end in self.spine or () for joint in end)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads back."""
        values = asdict(self)
        values[_CENTER_KEY] = values.pop("center")
        if self.spine:
            values["spine"] = [list(end) for end in self.spine]
        if self.shoulders:
            values["shoulders"] = list(self.shoulders)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SkeletonPreprocessing:
        """Read what `to_dict` wrote.

        Raises:
            BundleError: a key is missing or unknown, or a value has no meaning.
        """
        if _CENTER_KEY in values:
            values = {**values, "center": values[_CENTER_KEY]}
            del values[_CENTER_KEY]
        known = {field.name for field in fields(cls)}
        if different := sorted(set(values) - known | {"channels", "frames", "joints"} - set(values)):
            raise BundleError(f"preprocessing misses or adds {', '.join(different)}.")
        pairs: dict[str, Any] = {}
        for name in ("spine", "shoulders"):
            pair = values.get(name)
            if pair is not None and (not isinstance(pair, list) or len(pair) != 2):
                raise BundleError(f"preprocessing.{name} is {pair!r}; it must be a list of two.")
            pairs[name] = None if pair is None else tuple(pair)
        ends = pairs["spine"]
        if ends is not None:
            if not all(isinstance(end, list) and end for end in ends):
                raise BundleError(f"preprocessing.spine is {list(ends)!r}; it must be two lists of joints.")
            pairs["spine"] = tuple(tuple(end) for end in ends)
        return cls(**{**values, **pairs})


def preprocess_skeleton(sequence: Sequence4, preprocessing: SkeletonPreprocessing) -> Sequence4:
    """Normalize a sequence and bring it to the network's number of frames and persons.

    Args:
        sequence: (C, T, V, M), of any number of frames and persons.
        preprocessing: the sizes and the way to get there.

    Returns:
        float32 (C, frames, V, persons).
    """
    normalized = normalize_skeleton(sequence, preprocessing)
    if preprocessing.sampling == "uniform":
        return normalized[:, uniform_frames(normalized.shape[1], preprocessing.frames)]
    return window(normalized, preprocessing.frames)


def shown_part(sequence: Sequence4, preprocessing: SkeletonPreprocessing) -> Sequence4:
    """As many persons as the network takes; with ``uniform`` sampling, without the frames before one of them
    is seen and after that.
    """
    sequence = _chosen_persons(sequence, preprocessing.persons)
    shown = np.flatnonzero(sequence.any(axis=(0, 2, 3)))
    if preprocessing.sampling == "uniform" and len(shown):
        return sequence[:, shown[0] : shown[-1] + 1]
    return sequence


def normalize_skeleton(sequence: Sequence4, preprocessing: SkeletonPreprocessing) -> Sequence4:
    """The part that is shown (see `shown_part`), with coordinates relative to the body.

    One pose decides where the body is and how it is turned, so that motion stays: of the first person that is
    seen, the first pose in which most joints are, among those that show the center, the back and the
    shoulders, or at least the center. Where no pose shows the center, the middle of the joints is put into
    the origin; where the pose lacks back or shoulders, directions stay.
    """
    sequence = shown_part(sequence, preprocessing)
    there = present(sequence, preprocessing.dimensions)
    coordinates = sequence[: preprocessing.dimensions].astype(np.float64)
    if there.any():
        coordinates = _relative(coordinates, there, preprocessing)
    result = np.concatenate([coordinates * there, sequence[preprocessing.dimensions :]])
    return result.astype(np.float32)


def present(sequence: npt.NDArray[Any], dimensions: int) -> npt.NDArray[np.bool_]:
    """(1, T, V, M): the joints that were seen: not all of their coordinates are zero."""
    return np.asarray(sequence[:dimensions].any(axis=0, keepdims=True))


def uniform_frames(available: int, wanted: int, offsets: npt.NDArray[Any] | float = 0.5) -> npt.NDArray[Any]:
    """Numbers of ``wanted`` frames: one out of each of so many equal parts of those ``available``.

    Args:
        available: 1 or more; where there are fewer than wanted, frames are repeated.
        wanted: 1 or more.
        offsets: position in each part, from 0 to below 1; the middle for evaluation, drawn at random in
            training (Duan et al. 2022, section 3.3).
    """
    return ((np.arange(wanted) + offsets) * available / wanted).astype(np.int64).clip(0, available - 1)


def window(sequence: Sequence4, frames: int, start: int | None = None) -> Sequence4:
    """A part of the frames (the middle, or from ``start`` on), filled up with zeros behind."""
    available = sequence.shape[1]
    if available >= frames:
        start = (available - frames) // 2 if start is None else start
        return sequence[:, start : start + frames]
    padding = np.zeros((sequence.shape[0], frames - available, *sequence.shape[2:]), sequence.dtype)
    return np.concatenate([sequence, padding], axis=1)


def _chosen_persons(sequence: Sequence4, wanted: int) -> Sequence4:
    """So many persons, in their order: those seen in most frames; zeros where there are fewer."""
    count = sequence.shape[3]
    if count < wanted:
        return np.pad(sequence, ((0, 0), (0, 0), (0, 0), (0, wanted - count)))
    if count > wanted:
        frames = sequence.any(axis=(0, 2)).sum(axis=0)
        chosen = np.sort(np.argsort(-frames, kind="stable")[:wanted])
        return sequence[..., chosen]
    return sequence


def _deciding_pose(there: npt.NDArray[np.bool_], preprocessing: SkeletonPreprocessing) -> tuple[int, int]:
    """Frame and person of the pose that decides, see `normalize_skeleton`; somebody must be seen."""
    counts = there[0].sum(axis=1)
    person = int(counts.any(axis=0).argmax())
    center = [] if preprocessing.center is None else [preprocessing.center]
    for needed in (center + preprocessing.turning, center):
        shown = counts[:, person] * there[0][:, needed, person].all(axis=1)
        if shown.any():
            return int(shown.argmax()), person
    return int(counts[:, person].argmax()), person


def _relative(
    coordinates: npt.NDArray[np.float64], there: npt.NDArray[np.bool_], preprocessing: SkeletonPreprocessing
) -> npt.NDArray[np.float64]:
    """Moved, turned and scaled by the body."""
    frame, person = _deciding_pose(there, preprocessing)
    pose, seen = coordinates[:, frame, :, person], there[0, frame, :, person]
    if preprocessing.center is not None:
        known = [preprocessing.center] if seen[preprocessing.center] else np.flatnonzero(seen)
        coordinates = coordinates - pose[:, known].mean(axis=1)[:, None, None, None]
    if preprocessing.shoulders and preprocessing.spine and seen[preprocessing.turning].all():
        turn = _upright(pose, preprocessing.spine, preprocessing.shoulders)
        coordinates = np.einsum("ij,jtvm->itvm", turn, coordinates)
    if preprocessing.scale and preprocessing.spine:
        low, high = (list(end) for end in preprocessing.spine)
        both = there[0][:, low + high].all(axis=1)
        back = coordinates[:, :, high].mean(axis=2) - coordinates[:, :, low].mean(axis=2)
        lengths = np.linalg.norm(back, axis=0)[both]
        mean = float(lengths.mean()) if lengths.size else 0.0
        coordinates = coordinates / mean if mean > 1e-6 else coordinates
    return coordinates


def _upright(
    pose: npt.NDArray[np.float64], spine: Sequence[Sequence[int]], shoulders: Sequence[int]
) -> npt.NDArray[np.float64]:
    """The rotation that turns the back to z and the shoulders, as far as they stand across it, to x."""
    up = pose[:, list(spine[1])].mean(axis=1) - pose[:, list(spine[0])].mean(axis=1)
    across = pose[:, shoulders[1]] - pose[:, shoulders[0]]
    if np.linalg.norm(up) < 1e-6:
        return np.eye(3)
    up = up / np.linalg.norm(up)
    across = across - up * (across @ up)
    if np.linalg.norm(across) < 1e-6:
        return np.eye(3)
    across = across / np.linalg.norm(across)
    return np.stack([across, np.cross(up, across), up])
