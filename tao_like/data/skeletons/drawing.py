"""Skeletons as images: poses of a sequence over one another, or one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tao_like.data.skeletons.layouts import Layout
from tao_like.plots.palette import ACCENT, NEUTRAL, WRONG, paler, rgb

LEFT, RIGHT, MIDDLE = rgb(ACCENT), rgb(WRONG), rgb(NEUTRAL)
SIDE = 224
POSES = 5
"""Poses that are drawn over one another."""
_MARGIN = 14

Sequence4 = npt.NDArray[np.float32]


class SkeletonView:
    """Where the joints of a sequence are in a square image, seen from the front.

    What is up and what is across is told by the back and the shoulders, where the layout names them; else y
    is up.

    Args:
        sequence: (C, T, V, M).
        layout: its joints.
        dimensions: channels that are coordinates: 2 or 3.
    """

    def __init__(self, sequence: Sequence4, layout: Layout, dimensions: int) -> None:
        self.layout = layout
        self.there: npt.NDArray[np.bool_] = np.asarray(sequence[:dimensions].any(axis=0))
        shown = np.flatnonzero(self.there.any(axis=(1, 2)))
        self.frames: list[int] = shown.tolist()
        across, up = _directions(sequence[:dimensions], self.there, layout)
        self.points = np.stack(
            [np.tensordot(across, sequence[:dimensions], 1), -np.tensordot(up, sequence[:dimensions], 1)]
        )
        seen = self.points[:, self.there]
        low, high = (seen.min(axis=1), seen.max(axis=1)) if seen.size else (np.zeros(2), np.ones(2))
        extent = float((high - low).max()) or 1.0
        scale = (SIDE - 2 * _MARGIN) / extent
        offset = (SIDE - scale * (high - low)) / 2
        self.points = (self.points - low[:, None, None, None]) * scale + offset[:, None, None, None]

    def image(self, poses: int = POSES) -> Image.Image:
        """Poses spread evenly over the sequence, the earlier ones paler."""
        image = Image.new("RGB", (SIDE, SIDE), "white")
        pen = ImageDraw.Draw(image)
        chosen = (
            [self.frames[round(position)] for position in np.linspace(0, len(self.frames) - 1, poses)]
            if self.frames
            else []
        )
        for number, frame in enumerate(dict.fromkeys(chosen)):
            self._draw(pen, frame, strength=0.2 + 0.8 * (number + 1) / poses)
        return image

    def animation(self, most: int = 40) -> list[Image.Image]:
        """An image for each of at most so many frames, spread evenly."""
        count = min(most, len(self.frames))
        images = []
        for position in np.linspace(0, len(self.frames) - 1, count):
            image = Image.new("RGB", (SIDE, SIDE), "white")
            self._draw(ImageDraw.Draw(image), self.frames[round(position)], strength=1.0)
            images.append(image)
        return images

    def _draw(self, pen: ImageDraw.ImageDraw, frame: int, strength: float) -> None:
        for person in range(self.there.shape[2]):
            where = self.points[:, frame, :, person].T
            seen = self.there[frame, :, person]
            for one, other in self.layout.edges:
                if seen[one] and seen[other]:
                    color = paler(_color(self.layout, one, other), strength)
                    pen.line((*where[one], *where[other]), fill=color, width=2)
            for joint in np.flatnonzero(seen):
                x, y = where[joint]
                pen.ellipse(
                    (x - 2, y - 2, x + 2, y + 2), fill=paler(_color(self.layout, int(joint)), strength)
                )


def _directions(
    coordinates: Sequence4, there: npt.NDArray[np.bool_], layout: Layout
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Unit vectors across and up."""
    dimensions = len(coordinates)
    up = np.eye(dimensions)[1]
    across = np.eye(dimensions)[0]
    if layout.spine and there.any():
        low, high = (_middle(coordinates, there, joints) for joints in layout.spine)
        axis = int(np.abs(high - low).argmax())
        up = np.eye(dimensions)[axis] * (np.sign((high - low)[axis]) or 1.0)
    if layout.shoulders and dimensions == 3 and there.any():
        left, right = (_middle(coordinates, there, (joint,)) for joint in layout.shoulders)
        side = np.where(up != 0, 0.0, left - right)
        if np.linalg.norm(side) > 1e-6:
            across = side / np.linalg.norm(side)
    elif up[0]:
        across = np.eye(dimensions)[1]
    return across, up


def _middle(
    coordinates: Sequence4, there: npt.NDArray[np.bool_], joints: Sequence[int]
) -> npt.NDArray[np.float64]:
    """(D,): the mean position of some joints where they are seen; zeros where they never are."""
    chosen = coordinates[:, :, list(joints)][:, there[:, list(joints)]]
    return chosen.mean(axis=1).astype(np.float64) if chosen.size else np.zeros(len(coordinates))


def _color(layout: Layout, *joints: int) -> tuple[int, int, int]:
    names = [layout.joints[joint] for joint in joints]
    if any(name.startswith("left ") for name in names):
        return LEFT
    return RIGHT if any(name.startswith("right ") for name in names) else MIDDLE
