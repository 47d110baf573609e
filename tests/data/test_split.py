"""Dividing images into training, validation and test data."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_like.data.images.class_folders import read_class_folders
from tao_like.data.images.sample import ImageRecord
from tao_like.data.splits.division import check_group_by, split_records
from tao_like.errors import SpecError

FRACTIONS = st.sampled_from([(0.15, 0.15), (0.2, 0.0), (0.0, 0.3), (0.1, 0.4)])


def record(key: str, *labels: str, group: str = "") -> ImageRecord:
    return ImageRecord(Path("/nowhere") / key, labels, group, key)


def of_classes(counts: list[int]) -> list[ImageRecord]:
    return [record(f"c{c}/{i}.jpg", f"c{c}") for c, count in enumerate(counts) for i in range(count)]


def labels_in(records: list[ImageRecord]) -> Counter[str]:
    return Counter(label for each in records for label in each.labels)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(4, 60), min_size=2, max_size=8), FRACTIONS, st.integers(0, 99))
def test_every_class_gets_its_shares(counts: list[int], fractions: tuple[float, float], seed: int) -> None:
    val, test = fractions
    divided = split_records(of_classes(counts), val=val, test=test, seed=seed)
    for name, fraction in (("train", 1 - val - test), ("val", val), ("test", test)):
        found = labels_in(divided[name])
        for c, count in enumerate(counts):
            assert abs(found[f"c{c}"] - fraction * count) < 2, name
        assert fraction or not divided[name]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=40, max_size=150),
    FRACTIONS,
    st.randoms(use_true_random=False),
)
def test_groups_stay_together_and_every_class_is_trained_on(
    drawn: list[tuple[int, int]], fractions: tuple[float, float], shuffler: random.Random
) -> None:
    val, test = fractions
    records = [record(f"{i}.jpg", f"c{c}", group=f"g{g}") for i, (c, g) in enumerate(drawn)]
    if len({each.group for each in records}) < 12:
        return
    divided = split_records(records, val=val, test=test, seed=1, group_by="column")
    assert sorted(each.key for part in divided.values() for each in part) == sorted(
        each.key for each in records
    )
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for name, part in divided.items():
        for each in part:
            homes[each.group].add(name)
    assert all(len(home) == 1 for home in homes.values())
    assert set(labels_in(divided["train"])) == set(labels_in(records))
    assert all(divided[name] for name, fraction in (("val", val), ("test", test)) if fraction)

    shuffled = list(records)
    shuffler.shuffle(shuffled)
    assert split_records(shuffled, val=val, test=test, seed=1, group_by="column") == divided


def test_many_groups_come_out_near_the_shares() -> None:
    draw = random.Random(3)
    records = []
    for group in range(200):
        favourite = draw.randrange(4)
        for i in range(draw.randrange(1, 20)):
            label = f"c{favourite if draw.random() < 0.8 else draw.randrange(4)}"
            records.append(record(f"{group}-{i}.jpg", label, group=f"g{group}"))
    divided = split_records(records, val=0.15, test=0.15, seed=0, group_by="column")
    totals = labels_in(records)
    for name, fraction in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        for label, count in labels_in(divided[name]).items():
            assert count / totals[label] == pytest.approx(fraction, abs=0.03), (name, label)


def test_rare_labels_of_multi_label_data_are_spread_too() -> None:
    draw = random.Random(5)
    chances = {"common": 0.8, "usual": 0.4, "rare": 0.06, "rarer": 0.04}
    records = [
        record(f"{i}.jpg", *(label for label, chance in chances.items() if draw.random() < chance))
        for i in range(500)
    ]
    divided = split_records(records, val=0.2, test=0.2, seed=0)
    totals = labels_in(records)
    unlabelled = sum(not each.labels for each in records)
    for name, fraction in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        found = labels_in(divided[name])
        for label, total in totals.items():
            assert abs(found[label] - fraction * total) <= 2, (name, label)
        assert abs(sum(not each.labels for each in divided[name]) - fraction * unlabelled) <= 2


def test_another_seed_gives_another_division() -> None:
    records = of_classes([50, 50])
    first = {each.key for each in split_records(records, val=0.2, test=0.2, seed=0)["test"]}
    assert {each.key for each in split_records(records, val=0.2, test=0.2, seed=1)["test"]} != first


def test_the_place_of_the_folder_does_not_count(tmp_path: Path) -> None:
    divisions = []
    for place in ("here", "there/deeper"):
        for label in "ab":
            folder = tmp_path / place / label
            folder.mkdir(parents=True)
            for i in range(12):
                (folder / f"{i}.jpg").write_text(f"{label}{i}")
        divided = split_records(read_class_folders(tmp_path / place), val=0.25, test=0.25, seed=0)
        divisions.append({name: [each.key for each in part] for name, part in divided.items()})
    assert divisions[0] == divisions[1]


def test_files_with_the_same_bytes_stay_together_also_through_groups(tmp_path: Path) -> None:
    records = []
    for number in range(60):
        path = tmp_path / f"{number}.jpg"
        # 0 and 1 are copies; 1 and 2 share a group; 2 and 3 are copies: all four belong together.
        content = {0: "same", 1: "same", 2: "other", 3: "other"}.get(number, f"{number:05d}")
        path.write_text(content)
        group = "g" if number in (1, 2) else ""
        records.append(ImageRecord(path, ("ab"[number % 2],), group, path.name))
    for seed in range(20):
        divided = split_records(records, val=0.3, test=0.3, seed=seed, group_by="column")
        homes = {
            name
            for name, part in divided.items()
            for each in part
            if each.key in {f"{n}.jpg" for n in range(4)}
        }
        assert len(homes) == 1


def test_folders_below_the_class_are_groups_across_classes() -> None:
    records = [
        record(f"{label}/patient{patient}/{i}.jpg", label)
        for label in ("sick", "well")
        for patient in range(10)
        for i in range(3)
    ]
    divided = split_records(records, val=0.2, test=0.2, seed=0, group_by="folder")
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for name, part in divided.items():
        for each in part:
            homes[each.key.split("/")[1]].add(name)
    assert len(homes) == 10
    assert all(len(home) == 1 for home in homes.values())


def test_a_regular_expression_tells_the_group() -> None:
    records = [record(f"{label}/P{p}_{i}.jpg", label) for label in "ab" for p in range(10) for i in range(4)]
    divided = split_records(records, val=0.2, test=0.2, seed=0, group_by=r"P(\d+)_")
    patients = [{each.key.split("_")[0].split("P")[1] for each in part} for part in divided.values()]
    assert [len(found) for found in patients] == [6, 2, 2]
    assert set.union(*patients) == {str(p) for p in range(10)}


@pytest.mark.parametrize(
    ("group_by", "complaint"),
    [
        ("(", "no regular expression"),
        (r"P\d+", "has 0 groups"),
        (r"(a)(b)", "has 2 groups"),
        (r"(patient\d+)", r"finds no groups; the expression matches no path .*c0/0\.jpg"),
        ("folder", "there are no folders below the class folders"),
        ("column", "no image has one"),
    ],
)
def test_groups_that_cannot_be_told(group_by: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint) as caught:
        split_records(of_classes([20, 20]), val=0.2, test=0.2, group_by=group_by)
    assert "dataset.split.group_by" in str(caught.value)


def test_words_are_no_expressions() -> None:
    assert check_group_by("folder") is None
    assert check_group_by(r"(\d+)") is not None


@pytest.mark.parametrize(
    ("val", "test", "complaint"),
    [(1.0, 0.1, "split.val: 1.0"), (0.1, -0.1, "split.test: -0.1"), (0.5, 0.5, "nothing to train on")],
)
def test_shares_that_make_no_sense(val: float, test: float, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        split_records(of_classes([20, 20]), val=val, test=test)


def test_few_images() -> None:
    divided = split_records(of_classes([2, 3]), val=0.15, test=0.15)
    assert {name: len(part) for name, part in divided.items()} == {"train": 3, "val": 1, "test": 1}
    assert set(labels_in(divided["train"])) == {"c0", "c1"}
    with pytest.raises(SpecError, match=r"dataset\.split\.test: 3 images \(3 different\) are too few"):
        split_records(of_classes([1, 2]), val=0.15, test=0.15)
    grouped = [record(f"{i}.jpg", "ab"[i % 2], group=f"g{i % 2}") for i in range(40)]
    with pytest.raises(SpecError, match="joins 40 images into 2 groups, and none is left for val"):
        split_records(grouped, val=0.2, test=0.0, group_by="column")
