"""Tiles of a big image; what several of them see appears once: known squares and what each tile shows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from tao_like.errors import BundleError
from tao_like.runtime.predictions.tiles import Group, Tile, Tiles, Tiling, join

TILING = Tiling(100, 80, 0.2, 0.5)
SIZE = (260, 200)


def test_tiles_cover_every_pixel_are_of_one_size_and_overlap_enough() -> None:
    for size in ((260, 200), (101, 80), (1000, 81), (100, 80), (181, 145)):
        seen = np.zeros(size[::-1], int)
        tiles = TILING.tiles(*size)
        for tile in tiles:
            assert (tile.right - tile.left, tile.bottom - tile.top) == (100, 80)
            seen[tile.top : tile.bottom, tile.left : tile.right] += 1
        assert seen.min() >= 1
        columns = sorted({tile.left for tile in tiles})
        rows = sorted({tile.top for tile in tiles})
        assert all(after - before <= 80 for before, after in itertools.pairwise(columns))
        assert all(after - before <= 64 for before, after in itertools.pairwise(rows))
    assert TILING.tiles(90, 300)[0] == Tile(0, 0, 90, 80)
    assert len(TILING.tiles(100, 80)) == 1


def test_a_cut_image_is_its_tiles_and_a_small_one_is_itself() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 260, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    for part, tile in zip(Tiles(image, TILING), TILING.tiles(*SIZE), strict=True):
        assert (np.asarray(part) == pixels[tile.top : tile.bottom, tile.left : tile.right]).all()
    assert list(Tiles(image, None)) == [image]
    assert Tiles(image.crop((0, 0, 50, 50)), TILING)[0].size == (50, 50)


def seen_by(tiles: list[Tile], objects: list[tuple[list[float], int]], noise: float = 0.0) -> list[Group]:
    """What a perfect detector says of each tile: every object of which a fifth can be seen, cut off."""
    draw = np.random.default_rng(1)
    groups = []
    for number, tile in enumerate(tiles):
        boxes, labels = [], []
        for box, label in objects:
            clipped = np.clip(box, np.tile(tile[:2], 2), np.tile(tile[2:], 2))
            area = (clipped[2] - clipped[0]) * (clipped[3] - clipped[1])
            if area >= 0.2 * (box[2] - box[0]) * (box[3] - box[1]):
                boxes.append(clipped + draw.uniform(-noise, noise, 4))
                labels.append(label)
        scores = np.full(len(boxes), 0.9 - 0.01 * number, np.float32)
        groups.append(Group(np.array(boxes, np.float32).reshape(-1, 4), scores, np.array(labels, np.int64)))
    return groups


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_squares_on_seams_inside_and_at_corners_appear_once_where_they_are(noise: float) -> None:
    tiles = TILING.tiles(*SIZE)
    objects = [
        ([10.0, 10, 30, 30], 0),  # in one tile
        ([85, 20, 97, 32], 0),  # on common ground of two
        ([92, 60, 112, 80], 1),  # across a seam and a corner
        ([150, 100, 180, 130], 1),
        ([165, 110, 190, 140], 1),  # overlaps the one before
        ([240, 180, 260, 200], 0),  # in the corner of the image
        ([60, 120, 200, 150], 2),  # wider than a tile
        ([64, 124, 90, 146], 0),  # of another class, on top of it
    ]
    merged = join(seen_by(tiles, objects, noise), tiles, TILING, SIZE)
    order = np.lexsort((merged.boxes[:, 0], merged.labels))
    wanted = sorted(objects, key=lambda each: (each[1], each[0][0]))
    assert merged.labels[order].tolist() == [label for _, label in wanted]
    assert merged.boxes[order] == pytest.approx(np.array([box for box, _ in wanted]), abs=2 * noise + 1e-4)
    assert (np.diff(merged.scores) <= 0).all()


def test_neighbours_of_one_class_stay_two_and_pieces_of_little_score_do_not_stretch_a_box() -> None:
    tiles = [Tile(0, 0, 100, 100), Tile(80, 0, 180, 100)]
    tiling = Tiling(100, 100, 0.2, 0.5)
    left = Group(np.array([[60, 10, 90, 40]], np.float32), np.array([0.9], np.float32), np.array([0]))
    right = Group(np.array([[88, 10, 120, 40]], np.float32), np.array([0.8], np.float32), np.array([0]))
    assert len(join([left, right], tiles, tiling, (180, 100)).scores) == 2
    piece = Group(np.array([[60, 10, 100, 40]], np.float32), np.array([0.9], np.float32), np.array([0]))
    stray = Group(np.array([[80, 10, 170, 45]], np.float32), np.array([0.1], np.float32), np.array([0]))
    merged = join([piece, stray], tiles, tiling, (180, 100))
    assert merged.boxes.tolist() == [[60, 10, 100, 40]]
    short = Group(np.array([[80, 12, 90, 38]], np.float32), np.array([0.6], np.float32), np.array([0]))
    merged = join([left, short], tiles, tiling, (180, 100))
    assert merged.boxes.tolist() == [[60, 10, 90, 40]]
    nothing = Group(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert len(join([nothing, nothing], tiles, tiling, (180, 100)).scores) == 0


def test_what_a_tile_says_twice_and_another_once_appears_once() -> None:
    tiles = [Tile(0, 0, 100, 100), Tile(50, 0, 150, 100)]
    once = Group(np.array([[60, 10, 90, 40]], np.float32), np.array([0.9], np.float32), np.array([0]))
    twice = Group(
        np.array([[60, 10, 90, 40], [60, 10, 90, 27]], np.float32),
        np.array([0.8, 0.7], np.float32),
        np.array([0, 0]),
    )
    merged = join([once, twice], tiles, Tiling(100, 100, 0.5, 0.5), (150, 100))
    assert merged.boxes.tolist() == [[60, 10, 90, 40]]
    # Where both tiles see two, two they are.
    assert len(join([twice, twice], tiles, Tiling(100, 100, 0.5, 0.5), (150, 100)).scores) == 2


@pytest.mark.parametrize(
    "values",
    [
        5,
        {"width": 100},
        {"width": 1, "height": 1, "overlap": 0.2, "agreement": 0.5},
        {**TILING.to_dict(), "agreement": "a"},
    ],
)
def test_odd_metadata_is_named(values: object) -> None:
    with pytest.raises(BundleError, match="odd tiling"):
        Tiling.of({"tiling": values})
    assert Tiling.of({}) is None
    assert Tiling.of({"tiling": TILING.to_dict()}) == TILING
