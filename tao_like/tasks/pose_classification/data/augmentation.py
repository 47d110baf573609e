"""What is changed at random in training sequences. Joints that were not seen stay at zero throughout."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from tao_like.data.skeletons.layouts import Layout
from tao_like.runtime.inputs.skeleton import (
    SkeletonPreprocessing,
    normalize_skeleton,
    present,
    shown_part,
    uniform_frames,
    window,
)
from tao_like.tasks.pose_classification.spec import DatasetSpec

Sequence4 = npt.NDArray[np.float32]
ANGLES = (-10.0, -5.0, 0.0, 5.0, 10.0)
FACTORS = (0.9, 1.0, 1.1)
SHIFTS = (-0.2, -0.1, 0.0, 0.1, 0.2)
"""Between which random_move goes to and fro, as in ST-GCN: degrees, factors, units of the data."""


class Augmentation:
    """A training sequence from one as it is on disk.

    Draws from a numpy generator that is seeded from torch's global one.

    Args:
        spec: the dataset block.
        preprocessing: how sequences become inputs.
        layout: for the mirror image.
    """

    def __init__(self, spec: DatasetSpec, preprocessing: SkeletonPreprocessing, layout: Layout) -> None:
        self.spec = spec
        self.preprocessing = preprocessing
        self.mirrored = np.arange(len(layout.joints))
        for left, right in layout.pairs:
            self.mirrored[[left, right]] = right, left

    def __call__(self, sequence: Sequence4) -> Sequence4:
        """(C, T, V, M) of any length to (C, frames, V, persons)."""
        generator = np.random.default_rng(int(torch.randint(2**62, ())))
        part = shown_part(sequence, self.preprocessing)
        # What was seen is told before the center is put into the origin, where its coordinates are zeros too.
        there = present(part, self.preprocessing.dimensions)
        marked = np.concatenate([normalize_skeleton(part, self.preprocessing), there])
        marked = self._chosen_frames(marked, generator)
        sequence, there = marked[:-1], marked[-1:] > 0
        settings = self.spec.augmentation
        if generator.random() < settings.mirror_prob:
            sequence, there = self._mirror(sequence), there[:, :, self.mirrored]
        if settings.rotation or settings.scale:
            sequence = self._turned(sequence, generator)
        if self.spec.random_move:
            sequence = random_move(sequence, generator)
        if settings.noise:
            noise = generator.normal(0, settings.noise, (self.preprocessing.dimensions, *sequence.shape[1:]))
            sequence = self._with_coordinates(sequence, sequence[: self.preprocessing.dimensions] + noise)
        if settings.joint_dropout:
            seen = generator.random((1, 1, sequence.shape[2], 1)) >= settings.joint_dropout
            return (sequence * there * seen).astype(np.float32)
        return (sequence * there).astype(np.float32)

    def _chosen_frames(self, sequence: Sequence4, generator: np.random.Generator) -> Sequence4:
        frames, available = self.preprocessing.frames, sequence.shape[1]
        if self.preprocessing.sampling == "uniform":
            return sequence[:, uniform_frames(available, frames, generator.random(frames))]
        if not self.spec.random_choose:
            return window(sequence, frames)
        if available > frames:
            return window(sequence, frames, int(generator.integers(available - frames + 1)))
        before = int(generator.integers(frames - available + 1))
        return np.pad(sequence, ((0, 0), (before, frames - available - before), (0, 0), (0, 0)))

    def _mirror(self, sequence: Sequence4) -> Sequence4:
        """Left for right: along x, the axis of the shoulders once they are aligned."""
        flipped = sequence[:, :, self.mirrored].copy()
        flipped[0] *= -1
        return flipped

    def _turned(self, sequence: Sequence4, generator: np.random.Generator) -> Sequence4:
        settings, dimensions = self.spec.augmentation, self.preprocessing.dimensions
        limit = math.radians(settings.rotation)
        if dimensions == 3:
            matrix = rotation(*generator.uniform(-limit, limit, 3))
        else:
            matrix = rotation(0.0, 0.0, generator.uniform(-limit, limit))[:2, :2]
        matrix = matrix * (1 + generator.uniform(-settings.scale, settings.scale, (dimensions, 1)))
        return self._with_coordinates(sequence, np.einsum("ij,jtvm->itvm", matrix, sequence[:dimensions]))

    def _with_coordinates(self, sequence: Sequence4, coordinates: npt.NDArray[np.floating]) -> Sequence4:
        return np.concatenate([coordinates, sequence[self.preprocessing.dimensions :]])


def rotation(about_x: float, about_y: float, about_z: float) -> npt.NDArray[np.float64]:
    """The matrix that turns about x, then y, then z; angles in radians."""
    matrix = np.eye(3)
    for axis, angle in enumerate((about_x, about_y, about_z)):
        one, other = [number for number in range(3) if number != axis]
        turn = np.eye(3)
        turn[one, one] = turn[other, other] = math.cos(angle)
        turn[one, other], turn[other, one] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    return matrix


def random_move(sequence: Sequence4, generator: np.random.Generator) -> Sequence4:
    """Turns, resizes and shifts a sequence in the plane of x and y, slowly changing (Yan et al. 2018, section
    4.2).

    Angle, factor and shift are drawn for the first and the last frame, with straight lines in between.
    """
    frames = sequence.shape[1]

    def line(choices: tuple[float, ...]) -> npt.NDArray[np.float64]:
        first, last = generator.choice(choices, 2)
        return np.linspace(first, last, frames)

    angle, factor = np.radians(line(ANGLES)), line(FACTORS)
    cosine, sine = np.cos(angle) * factor, np.sin(angle) * factor
    shift_x, shift_y = line(SHIFTS), line(SHIFTS)
    x, y = sequence[0], sequence[1]
    moved = sequence.astype(np.float64)
    moved[0] = cosine[:, None, None] * x - sine[:, None, None] * y + shift_x[:, None, None]
    moved[1] = sine[:, None, None] * x + cosine[:, None, None] * y + shift_y[:, None, None]
    return moved.astype(np.float32)
