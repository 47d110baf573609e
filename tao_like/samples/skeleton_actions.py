"""Sample data for pose classification: stick figures that walk, wave, sit down and so on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tao_like.data.skeletons.arrays import write_labels
from tao_like.data.skeletons.layouts import LAYOUTS

FRAMES = 64
SHORTEST = 32
SEQUENCES = {"train": 60, "val": 15, "test": 25}
"""Of each class."""
SIZE_SPREAD, LIMB_SPREAD = 0.12, 0.06
NOISE = 0.012
"""Metres."""
UNSEEN = 0.02
"""Chance of a joint not to be seen in a frame."""
FLAT = ("openpose", "coco")
"""Layouts of networks that find joints in images: coordinates in the image, and a score."""
FOCAL_LENGTH = 1.5
"""Of a camera, in halves of its square image."""
CAMERA_DISTANCE, CAMERA_HEIGHT = 14.0, 1.0
"""Metres; people begin two to four metres nearer, and walk towards it."""
LEAST_SCORE = 0.6
"""Of a joint that is seen."""

Vector = npt.NDArray[np.float64]


@dataclass
class Pose:
    """Angles of a body in degrees, and how high it is above the ground in metres; sides are left, right.

    Attributes:
        hip: thighs forward; knee: shins back from the thighs; spread: thighs outward.
        shoulder: upper arms forward; lift: upper arms outward; elbow: forearms forward from the upper arms;
            swing: forearms outward from the upper arms.
        lean: trunk forward.
        height: of a jump.
        step: forward, in metres.
    """

    hip: list[float] = field(default_factory=lambda: [0.0, 0.0])
    knee: list[float] = field(default_factory=lambda: [0.0, 0.0])
    spread: list[float] = field(default_factory=lambda: [4.0, 4.0])
    shoulder: list[float] = field(default_factory=lambda: [0.0, 0.0])
    lift: list[float] = field(default_factory=lambda: [8.0, 8.0])
    elbow: list[float] = field(default_factory=lambda: [10.0, 10.0])
    swing: list[float] = field(default_factory=lambda: [0.0, 0.0])
    lean: float = 0.0
    height: float = 0.0
    step: float = 0.0


@dataclass(frozen=True)
class Style:
    """How one person does a thing, drawn anew for each sequence.

    Attributes:
        side: the hand or foot that is used: 0 left, 1 right.
        strength: factor on the angles.
        pace: factor on repeated motion.
        start: when the motion begins and ends, as fractions of the sequence.
        phase: of repeated motion, 0 to 1.
    """

    side: int
    strength: float
    pace: float
    start: tuple[float, float]
    phase: float

    def progress(self, time: float) -> float:
        """0 before the motion, 1 after it, smoothly between."""
        first, last = self.start
        fraction = min(max((time - first) / (last - first), 0.0), 1.0)
        return fraction * fraction * (3 - 2 * fraction)

    def cycle(self, seconds: float, rate: float) -> float:
        """Angle of repeated motion in radians."""
        return 2 * math.pi * (self.phase + seconds * rate * self.pace)


def _walk(time: float, seconds: float, style: Style) -> Pose:
    angle = style.cycle(seconds, 0.9)
    swing = 26 * style.strength * math.sin(angle)
    bend = [max(0.0, 45 * math.sin(angle + shift)) for shift in (math.pi / 2, -math.pi / 2)]
    return Pose(
        hip=[swing, -swing],
        knee=bend,
        shoulder=[-swing, swing],
        elbow=[20, 20],
        step=1.1 * seconds * style.pace,
    )


def _wave(time: float, seconds: float, style: Style) -> Pose:
    pose = Pose()
    pose.lift[style.side] = 100 * style.strength
    pose.swing[style.side] = 60 + 35 * math.sin(style.cycle(seconds, 1.6))
    return pose


def _seated(fraction: float, strength: float) -> Pose:
    bend = 88 * fraction * strength
    return Pose(
        hip=[bend, bend],
        knee=[bend, bend],
        lean=35 * math.sin(math.pi * fraction),
        shoulder=[25 * fraction] * 2,
    )


def _sit_down(time: float, seconds: float, style: Style) -> Pose:
    return _seated(style.progress(time), style.strength)


def _stand_up(time: float, seconds: float, style: Style) -> Pose:
    return _seated(1 - style.progress(time), style.strength)


def _squat(time: float, seconds: float, style: Style) -> Pose:
    fraction = math.sin(math.pi * style.progress(time))
    bend = 95 * fraction * style.strength
    return Pose(hip=[bend, bend], knee=[1.15 * bend] * 2, lean=30 * fraction, shoulder=[70 * fraction] * 2)


def _jump(time: float, seconds: float, style: Style) -> Pose:
    fraction = style.progress(time)
    crouch = math.sin(math.pi * min(fraction / 0.4, 1.0)) + 0.6 * math.sin(
        math.pi * max((fraction - 0.75) / 0.25, 0.0)
    )
    flight = math.sin(math.pi * min(max((fraction - 0.4) / 0.35, 0.0), 1.0))
    bend = 55 * crouch * style.strength
    return Pose(
        hip=[bend, bend],
        knee=[1.2 * bend] * 2,
        lean=20 * crouch,
        shoulder=[100 * flight - 40 * crouch] * 2,
        height=0.35 * flight * style.strength,
    )


def _kick(time: float, seconds: float, style: Style) -> Pose:
    fraction = style.progress(time)
    back, forward = (
        math.sin(math.pi * min(fraction / 0.4, 1.0)),
        math.sin(math.pi * max((fraction - 0.4) / 0.6, 0.0)),
    )
    pose = Pose(lean=-10 * forward)
    pose.hip[style.side] = (75 * forward - 25 * back) * style.strength
    pose.knee[style.side] = 60 * back
    pose.shoulder[1 - style.side] = 35 * forward
    return pose


def _clap(time: float, seconds: float, style: Style) -> Pose:
    apart = 22 + 20 * math.sin(style.cycle(seconds, 1.8))
    return Pose(shoulder=[55 * style.strength] * 2, lift=[apart] * 2, elbow=[35, 35], swing=[-apart - 12] * 2)


Action = Callable[[float, float, Style], Pose]
ACTIONS: dict[str, Action] = {
    "clap": _clap,
    "jump": _jump,
    "kick": _kick,
    "sit_down": _sit_down,
    "squat": _squat,
    "stand_up": _stand_up,
    "walk": _walk,
    "wave": _wave,
}
"""Pose at a time, as a fraction of the sequence and in seconds. Sitting down and standing up have the same
poses.
"""

_LENGTHS = {
    "back": 0.5, "neck": 0.1, "head": 0.16, "hips": 0.1, "shoulders": 0.19, "thigh": 0.43, "shin": 0.42,
    "upper arm": 0.29, "forearm": 0.26, "hand": 0.09, "finger": 0.08, "foot": 0.16, "heel": 0.06, "face":
    0.09,
}  # fmt: skip
"""Metres."""


def body(pose: Pose, lengths: dict[str, float]) -> dict[str, Vector]:
    """Where every named joint is, in metres: x to the person's left, y up from the ground, z forward."""
    lean = math.radians(pose.lean)
    up, ahead = np.array([0, math.cos(lean), math.sin(lean)]), np.array([0, -math.sin(lean), math.cos(lean)])
    joints = {"pelvis": np.zeros(3)}
    joints["spine"] = lengths["back"] / 2 * up
    joints["thorax"] = lengths["back"] * up
    joints["neck"] = joints["thorax"] + lengths["neck"] * up
    joints["head"] = joints["neck"] + lengths["head"] * up
    joints["nose"] = joints["head"] + lengths["face"] * ahead
    for side, (name, sign) in enumerate((("left", 1), ("right", -1))):
        out = np.array([float(sign), 0, 0])
        joints[f"{name} eye"] = joints["nose"] + 0.03 * out + 0.03 * up
        joints[f"{name} ear"] = joints["head"] + 0.07 * out
        _add_leg(joints, name, out, pose, side, lengths)
        _add_arm(joints, name, out, pose, side, lengths)
    ground = min(joints[f"{name} {part}"][1] for name in ("left", "right") for part in ("heel", "big toe"))
    position = np.array([0, pose.height - ground, pose.step])
    return {name: joint + position for name, joint in joints.items()}


def _direction(out: Vector, forward: float, outward: float) -> Vector:
    """A limb that hangs down, swung forward and then outward; angles in degrees."""
    a, b = math.radians(forward), math.radians(outward)
    return np.array([0, -math.cos(a) * math.cos(b), math.sin(a) * math.cos(b)]) + math.sin(b) * out


def _add_leg(
    joints: dict[str, Vector], name: str, out: Vector, pose: Pose, side: int, lengths: dict[str, float]
) -> None:
    hip, knee, spread = pose.hip[side], pose.knee[side], pose.spread[side]
    joints[f"{name} hip"] = joints["pelvis"] + lengths["hips"] * out
    joints[f"{name} knee"] = joints[f"{name} hip"] + lengths["thigh"] * _direction(out, hip, spread)
    ankle = joints[f"{name} knee"] + lengths["shin"] * _direction(out, hip - knee, spread)
    # The foot is level unless the leg hangs back.
    foot = _direction(out, 90 + min(0.0, hip - knee) * 0.6, 0)
    joints[f"{name} ankle"] = ankle
    joints[f"{name} foot"] = ankle + lengths["foot"] * foot + np.array([0, -0.05, 0])
    joints[f"{name} heel"] = ankle - lengths["heel"] * foot + np.array([0, -0.06, 0])
    joints[f"{name} big toe"] = joints[f"{name} foot"] - 0.03 * out
    joints[f"{name} small toe"] = joints[f"{name} foot"] + 0.04 * out


def _add_arm(
    joints: dict[str, Vector], name: str, out: Vector, pose: Pose, side: int, lengths: dict[str, float]
) -> None:
    upper = _direction(out, pose.shoulder[side], pose.lift[side])
    lower = _direction(out, pose.shoulder[side] + pose.elbow[side], pose.lift[side] + pose.swing[side])
    joints[f"{name} shoulder"] = joints["thorax"] + lengths["shoulders"] * out
    joints[f"{name} elbow"] = joints[f"{name} shoulder"] + lengths["upper arm"] * upper
    wrist = joints[f"{name} elbow"] + lengths["forearm"] * lower
    hand = wrist + lengths["hand"] * lower
    joints[f"{name} wrist"], joints[f"{name} hand"] = wrist, hand
    joints[f"{name} thumb"] = wrist + lengths["finger"] * lower - 0.03 * out
    for number, finger in enumerate(("index", "middle tip", "pinky")):
        joints[f"{name} {finger}"] = hand + lengths["finger"] * lower + (number - 1) * 0.02 * out
    joints[f"{name} hand tip"] = joints[f"{name} middle tip"]


def action_sequence(action: str, layout: str, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """One sequence (3, T, V, 1) in metres, of 32 to 64 frames at 20 a second.

    Size, proportions, direction, pace, strength and the moment of the action differ from one to the next.

    Args:
        action: of ``ACTIONS``.
        layout: of `skeleton_layouts.LAYOUTS`.
        generator: draws all that.
    """
    frames = int(generator.integers(SHORTEST, FRAMES + 1))
    first = generator.uniform(0.02, 0.3)
    style = Style(
        side=int(generator.integers(2)),
        strength=generator.uniform(0.8, 1.15),
        pace=generator.uniform(0.75, 1.3),
        start=(first, generator.uniform(first + 0.45, 0.98)),
        phase=generator.random(),
    )
    size = 1 + generator.uniform(-SIZE_SPREAD, SIZE_SPREAD)
    lengths = {
        name: length * size * (1 + generator.uniform(-LIMB_SPREAD, LIMB_SPREAD))
        for name, length in _LENGTHS.items()
    }
    names = LAYOUTS[layout].joints
    joints = np.zeros((frames, len(names), 3))
    for frame in range(frames):
        pose = ACTIONS[action](frame / (frames - 1), frame / 20, style)
        positions = body(pose, lengths)
        joints[frame] = [positions[name] for name in names]
    yaw = math.radians(generator.uniform(-50, 50))
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    joints = joints @ turn.T + generator.uniform([-1, -0.1, 2], [1, 0.1, 4])
    joints += generator.normal(0, NOISE, joints.shape)
    joints[generator.random(joints.shape[:2]) < UNSEEN] = 0
    return np.asarray(joints.transpose(2, 0, 1)[..., None], np.float32)


def seen_in_images(
    sequence: npt.NDArray[np.float32], generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """What a network that finds joints in images would make of a sequence.

    The camera stands in front of the person, at half the height, and looks along -z.

    Args:
        sequence: (3, T, V, 1) in metres, as `action_sequence` makes it.
        generator: draws the scores.

    Returns:
        (3, T, V, 1): x and y from -1 to 1 across the image, y down, and a score from 0 to 1, as
        `skeleton_annotations` gives them too; zeros where a joint was not seen.
    """
    there = sequence.any(axis=0)
    x, y, z = sequence.astype(np.float64)
    enlarged = FOCAL_LENGTH / (CAMERA_DISTANCE - z)
    scores = generator.uniform(LEAST_SCORE, 1, there.shape)
    seen = np.stack([x * enlarged, (CAMERA_HEIGHT - y) * enlarged, scores])
    return np.asarray(seen * there, np.float32)


def write_skeleton_actions(folder: Path, seed: int = 0, layout: str = "nvidia") -> Path:
    """Writes ``train``, ``val`` and ``test``: an array ``_data.npy`` and labels ``_labels.json`` for each.

    Args:
        folder: it exists.
        seed: of all that is drawn.
        layout: of `skeleton_layouts.LAYOUTS`; those in ``FLAT`` are written as x, y and a score.

    Returns:
        The folder.
    """
    classes = sorted(ACTIONS)
    for number, (split, count) in enumerate(SEQUENCES.items()):
        generator = np.random.default_rng([seed, number])
        labels = [label for _ in range(count) for label in range(len(classes))]
        data = np.zeros((len(labels), 3, FRAMES, len(LAYOUTS[layout].joints), 1), np.float32)
        for index, label in enumerate(labels):
            sequence = action_sequence(classes[label], layout, generator)
            if layout in FLAT:
                sequence = seen_in_images(sequence, generator)
            data[index, :, : sequence.shape[1]] = sequence
        np.save(folder / f"{split}_data.npy", data)
        names = [f"{split}_{index:04d}_{classes[label]}" for index, label in enumerate(labels)]
        write_labels(folder / f"{split}_labels.json", names, labels, classes)
    (folder / "README.txt").write_text(_readme(seed, layout), encoding="utf-8")
    return folder


def _readme(seed: int, layout: str) -> str:
    """What was written, and the keys of a spec that go with it."""
    keys = [f"model.graph_layout={layout}"]
    channels = "x, y and z in metres: x to the person's left, y up, z forward before the body is turned"
    if layout in FLAT:
        keys += ["model.confidence=true", "dataset.align_axes=false"]
        channels = "x and y from -1 to 1 across an image, y down, and a score"
    return f"""Stick figures that do one of {len(ACTIONS)} things: {", ".join(sorted(ACTIONS))}.

Made by tao_like with seed {seed}. For each of train, val and test there are an array (samples,
channels, frames, joints, persons) and its labels. Joints: {layout}.
Channels: {channels}.
A joint that was not seen is zero; shorter sequences end in zeros.

The keys of a spec that go with it:

  {" ".join(keys)}

`tao-like pose_classification init FOLDER` finds them by itself. With the shipped spec:

  tao-like pose_classification train -e skeleton_actions.yaml {" ".join(keys)}
"""
