"""Average precision by KITTI's rules, held against cases worked out by hand and a plain loop."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from tao_like.data.lidar.frame import Calibration, Object3d, frame_objects
from tao_like.data.lidar.kitti import boxes_to_lidar
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.pointpillars.data.dataset import FrameTarget
from tao_like.tasks.pointpillars.metrics.average_precision import (
    ABSENT,
    COUNTS,
    IGNORED,
    FramePair,
    average_precision,
    score_limits,
)
from tao_like.tasks.pointpillars.metrics.detection3d import PointPillarsMetrics
from tao_like.tasks.pointpillars.metrics.frames import ScoredFrame, scored_frame
from tao_like.tasks.pointpillars.metrics.scoring import kitti_precision, plain_precision

CLASSES = ["Car", "Pedestrian"]
AHEAD = np.array([[0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1.0]])
"""From the LiDAR's frame to a camera's that looks along x."""
CAMERA = Calibration(
    np.array([[700.0, 0, 600, 45], [0, 700, 180, 0.2], [0, 0, 1, 0.003]]), AHEAD, (1242, 375)
)


def pair(ious: list[list[float]], scores: list[float], targets: list[int], found: list[int]) -> FramePair:
    shape = (len(targets), len(found))
    return FramePair(
        np.array(ious, float).reshape(shape), np.array(targets), np.array(found), np.array(scores, float)
    )


def car(x: float, y: float, height: float = 60, occluded: int = 0, label: str = "Car") -> Object3d:
    box = (x, y, -1.0, 4.0, 1.6, 1.5, 0.1)
    return Object3d(label, box, 0.0, occluded, 0.0, (100 + 8 * y, 100.0, 180 + 8 * y, 100 + height))


def frame_target(*objects: Object3d, regions: tuple[tuple[float, ...], ...] = ()) -> FrameTarget:
    return FrameTarget(frame_objects(objects, CLASSES, {}), CAMERA, regions)


def as_found(one: FrameTarget, scores: list[float] | None = None) -> Detections:
    """The objects themselves as answers."""
    kept = one.objects.learnt
    count = int(kept.sum())
    given = scores or np.linspace(0.9, 0.5, count).tolist()
    return Detections(
        one.objects.boxes[kept].astype(np.float32), np.array(given, np.float32), one.objects.labels[kept]
    )


def scored(targets: list[FrameTarget], found: list[Detections]) -> list[ScoredFrame]:
    return [scored_frame(*pair, CLASSES) for pair in zip(targets, found, strict=True)]


# --- the rules ---


def test_scores_are_kept_where_recall_is_nearest_to_the_fortieths() -> None:
    # Each of few objects is a step of more than 1/40, so all are kept; of 80, every second and the last.
    assert score_limits([0.9, 0.5, 0.7], 3) == [0.9, 0.7, 0.5]
    limits = score_limits([1 - number / 100 for number in range(80)], 80)
    assert len(limits) == 41
    assert limits[0] == 1.0
    assert limits[-1] == pytest.approx(0.21)


@pytest.mark.parametrize("objects", [1, 7, 26, 40])
def test_perfect_answers_come_to_the_rules_own_ceiling(objects: int) -> None:
    """n objects give n thresholds; the first of 41 points is not counted, so (n - 1) of 40."""
    frames = [pair([[1.0]], [0.5 + number / 100], [COUNTS], [COUNTS]) for number in range(objects)]
    values = average_precision(frames, 0.7)
    assert values.objects == objects
    assert values.r40 == pytest.approx((objects - 1) / 40)
    assert values.r11 == pytest.approx(math.ceil(objects / 4) / 11)


def test_overlap_must_exceed_the_least() -> None:
    assert average_precision([pair([[0.7]], [0.9], [COUNTS], [COUNTS])], 0.7).precision[0] == 0
    assert average_precision([pair([[0.701]], [0.9], [COUNTS], [COUNTS])], 0.7).precision[0] == 1


def test_what_is_ignored_is_neither_right_nor_wrong() -> None:
    hit = pair([[0.9]], [0.9], [COUNTS], [COUNTS])
    on_ignored = pair([[0.9]], [0.8], [IGNORED], [COUNTS])
    small = pair([[0.9]], [0.8], [COUNTS], [IGNORED])
    wrong = pair([[0.1]], [0.95], [ABSENT], [COUNTS])
    assert average_precision([hit, on_ignored], 0.5).precision[0] == 1
    assert average_precision([hit, small], 0.5).objects == 2
    assert average_precision([hit, small], 0.5).precision[0] == 1
    assert average_precision([hit, wrong], 0.5).precision[0] == 0.5
    assert average_precision([wrong], 0.5).r40 == -1


def test_thresholds_follow_the_best_prediction_and_counts_the_nearest() -> None:
    """Two answers on one object: the first pass takes the surer one, the second the one that fits better."""
    both = pair([[0.6, 0.9]], [0.9, 0.4], [COUNTS], [COUNTS, COUNTS])
    # At the threshold 0.9 only the surer one stands, and it is right.
    assert average_precision([both], 0.5).precision[0] == 1
    other = pair([[0.9]], [0.3], [COUNTS], [COUNTS])
    # At 0.3 three answers stand: the better fit is right, the surer one spare: 2 of 3.
    assert average_precision([both, other], 0.5).precision[:2] == pytest.approx((1, 2 / 3))


def test_answers_in_regions_without_labels_are_excused_once() -> None:
    ious = np.array([[0.9, 0.0, 0.0]])
    states = np.array([COUNTS] * 3)
    regions = np.array([[0.0, 0.8, 0.2]])
    frame = FramePair(ious, np.array([COUNTS]), states, np.array([0.5, 0.9, 0.8]), region_fractions=regions)
    assert average_precision([frame], 0.5).precision[0] == 0.5


def by_plain_loops(frames: list[FramePair], least: float) -> float:
    """The rules once more, one threshold, frame, object and prediction after the other; AP over 40."""

    def match(frame: FramePair, limit: float | None) -> tuple[list[float], int, int]:
        taken, hits, right = set(), [], 0
        for row, state in enumerate(frame.target_states):
            if state == ABSENT:
                continue
            best, key = None, None
            for column, kind in enumerate(frame.detection_states):
                score, iou = frame.scores[column], frame.iou[row, column]
                if kind == ABSENT or column in taken or iou <= least or (limit and score < limit):
                    continue
                order = (score,) if limit is None else (kind == COUNTS, iou if kind == COUNTS else -column)
                if key is None or order > key:
                    best, key = column, order
            if best is None:
                continue
            taken.add(best)
            if state == COUNTS and frame.detection_states[best] == COUNTS:
                hits.append(float(frame.scores[best]))
                right += 1
        standing = [
            column
            for column, kind in enumerate(frame.detection_states)
            if kind == COUNTS and (not limit or frame.scores[column] >= limit)
        ]
        return hits, right, len([column for column in standing if column not in taken])

    objects = sum(int((frame.target_states == COUNTS).sum()) for frame in frames)
    limits = score_limits([score for frame in frames for score in match(frame, None)[0]], objects)
    curve = [0.0] * 41
    for place, limit in enumerate(limits):
        counts = [match(frame, limit)[1:] for frame in frames]
        right, wrong = (sum(column) for column in zip(*counts, strict=True))
        curve[place] = right / max(right + wrong, 1)
    return sum(max(curve[place:]) for place in range(1, 41)) / 40


def test_all_at_once_is_what_plain_loops_give() -> None:
    random = np.random.default_rng(3)
    frames = []
    for _ in range(60):
        objects, found = random.integers(0, 5), random.integers(0, 7)
        frames.append(
            FramePair(
                random.random((objects, found)),
                random.choice([COUNTS, COUNTS, IGNORED, ABSENT], objects),
                random.choice([COUNTS, COUNTS, IGNORED, ABSENT], found),
                random.random(found),
            )
        )
    for least in (0.3, 0.6):
        assert average_precision(frames, least).r40 == pytest.approx(by_plain_loops(frames, least), abs=1e-12)


# --- KITTI's frames ---


def test_difficulty_is_height_occlusion_and_truncation() -> None:
    frame = frame_target(car(10, 0, 60), car(20, 5, 30), car(30, -5, 30, occluded=2), car(40, 8, 20))
    values = kitti_precision(scored([frame], [as_found(frame)]), CLASSES)["Car"]
    assert [values[name]["3d"].objects for name in ("easy", "moderate", "hard")] == [1, 2, 3]
    # What is too hard is ignored, so that answers there are no faults.
    assert values["easy"]["3d"].precision[0] == 1
    assert values["hard"]["bev"].r40 == pytest.approx(2 / 40)


def test_an_answer_at_a_van_is_no_wrong_car() -> None:
    frame = frame_target(car(10, 0), car(20, 5, label="Van"), car(30, -5, label="Truck"))
    boxes = frame.objects.boxes.astype(np.float32)
    for kept, precision in (([0, 1], 1.0), ([0, 1, 2], 0.5)):
        found = Detections(boxes[kept], np.array([0.5, 0.9, 0.8], np.float32)[kept], np.zeros(len(kept), int))
        values = kitti_precision(scored([frame], [found]), CLASSES)["Car"]
        assert values["moderate"]["bev"].precision[0] == precision


def test_half_a_height_too_low_spoils_space_but_not_the_view_from_above() -> None:
    """The commonest fault of conversions: the underside's middle in the place of the center."""
    frames = [frame_target(car(10 + number, 3)) for number in range(5)]
    found = [as_found(frame, [0.5 + number / 10]) for number, frame in enumerate(frames)]
    for one in found:
        one.boxes[:, 2] -= 0.75
    values = kitti_precision(scored(frames, found), CLASSES)["Car"]["moderate"]
    assert values["bev"].r40 == pytest.approx(4 / 40)
    assert values["3d"].r40 == 0


def test_turned_about_answers_lose_the_similarity_of_orientation() -> None:
    frames = []
    for number in range(5):
        values = [1.5, 1.6, 4.0, 1.0, 1.6, 12.0 + number, 0.3]
        (box,) = boxes_to_lidar([values], CAMERA)
        alpha = 0.3 - math.atan2(1.0, 12.0 + number)
        one = Object3d("Car", tuple(box), 0.0, 0, alpha, (500.0, 150.0, 700.0, 280.0))
        frames.append(FrameTarget(frame_objects([one], CLASSES, {}), CAMERA))
    for turn, similarity in ((0.0, 4 / 40), (math.pi, 0.0), (math.pi / 2, 2 / 40)):
        found = [as_found(frame, [0.5 + number / 10]) for number, frame in enumerate(frames)]
        for one in found:
            one.boxes[:, 6] += turn
        pairs = kitti_precision(scored(frames, found), CLASSES)["Car"]["moderate"]
        if turn != math.pi / 2:
            assert pairs["3d"].r40 == pytest.approx(4 / 40)
        if pairs["bbox"].r40 > 0:
            iou = pairs["bbox"].aos40 / pairs["bbox"].r40
            assert iou == pytest.approx(similarity / (4 / 40), abs=1e-3)


# --- plainly ---


def test_without_a_camera_every_object_counts() -> None:
    """KITTI's rule of height would ignore all objects whose 2D box is not known."""
    objects = [Object3d("Car", (10.0 + number, 5.0 * number, -1, 4, 1.6, 1.5, 0.0)) for number in range(9)]
    frame = FrameTarget(frame_objects(objects, CLASSES, {}))
    metrics = PointPillarsMetrics(CLASSES, {}, "auto")
    metrics.update([0], [as_found(frame)], [frame])
    report = metrics.compute()
    assert report.values["mAP_3d"] == pytest.approx(8 / 40)
    assert report.values["mAP_bev_R11"] == pytest.approx(3 / 11)
    assert report.values["kitti_3d_moderate"] == -1
    assert report.details["rules"] == "plain"
    assert 0 < report.thresholds["values"][0] <= 0.5


def test_figures_by_distance_leave_other_distances_out() -> None:
    near, far = car(10, 0), car(50, 0)
    frame = frame_target(near, far)
    found = Detections(
        np.array([near.box, (52, 5, -1, 4, 1.6, 1.5, 0)], np.float32),
        np.array([0.6, 0.9], np.float32),
        np.zeros(2, int),
    )
    frames = scored([frame], [found])
    assert plain_precision(frames, 0)["bev"].precision[0] == 0.5
    assert plain_precision(frames, 0, (0, 20))["bev"].precision[0] == 1
    assert plain_precision(frames, 0, (40, 60))["bev"].precision[0] == 0


def test_the_worst_frames_come_first() -> None:
    good, bad = frame_target(car(10, 0)), frame_target(car(10, 0), car(20, 5), car(30, -5))
    metrics = PointPillarsMetrics(CLASSES, {}, "plain")
    nothing = Detections(np.empty((0, 7), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
    metrics.update([3, 8], [as_found(good), nothing], [good, bad])
    assert [index for index, _ in metrics.worst(2)] == [8, 3]
    assert metrics.compute().values["kitti_bev_moderate"] == -1


def test_metrics_of_two_processes_come_to_those_of_one_and_hold_no_boxes() -> None:
    """Each process has a part of the frames; the state that it sends is small."""
    random = np.random.default_rng(5)
    targets, found = [], []
    for number in range(12):
        target = frame_target(*(car(8 + 6 * place, place - 2.0) for place in range(number % 5)))
        boxes = np.concatenate([target.boxes, random.uniform((5, -9, -1, 3, 1, 1, 0), 40, (60, 7))])
        boxes[:, :2] += random.normal(0, 0.1, (len(boxes), 2))
        scores = np.sort(random.random(len(boxes)))[::-1]
        targets.append(target)
        found.append(
            Detections(boxes.astype(np.float32), scores.astype(np.float32), np.zeros(len(boxes), int))
        )
    whole, first, second = (PointPillarsMetrics(CLASSES, {}, "auto") for _ in range(3))
    whole.update(range(12), found, targets)
    first.update(range(0, 12, 2), found[::2], targets[::2])
    second.update(range(1, 12, 2), found[1::2], targets[1::2])
    first.join(pickle.loads(pickle.dumps(second)))
    expected, actual = whole.compute(), first.compute()
    assert actual.values == expected.values
    assert actual.details == expected.details
    assert expected.details["rules"] == "kitti"
    assert actual.thresholds == expected.thresholds
    assert [index for index, _ in first.worst(12)] == [index for index, _ in whole.worst(12)]
    # A frame's scores, class numbers and the like; the matrices of all overlaps would be some 10,000 bytes.
    assert len(pickle.dumps(whole.frames)) / 12 < 4000
