"""A look at somebody's folder, and what follows from it for the spec."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.data.images.suggest import suggest
from tao_like.data.images.survey import Source, Survey, survey_images
from tao_like.errors import DatasetError

Paint = Callable[..., Path]
GIB = 2**30


def fill(paint: Paint, folder: Path, counts: dict[str, int], size: tuple[int, int] = (48, 32)) -> None:
    for label, count in counts.items():
        for i in range(count):
            paint(folder / label / f"{i}.png", seed=i, size=size)


def test_class_folders_also_below_wrappers(tmp_path: Path, paint: Paint) -> None:
    fill(paint, tmp_path / "download" / "images", {"cats": 3, "dogs": 2})
    for start in (tmp_path, tmp_path / "download", tmp_path / "download" / "images"):
        survey = survey_images(start)
        assert survey.layout == "class_folders"
        assert survey.counts == {"all": {"cats": 3, "dogs": 2}}
        assert survey.sources == {"all": Source(tmp_path / "download" / "images")}
        assert survey.classes == ("cats", "dogs")
        assert not survey.is_split


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "Validation", "Testing"), ("TRAIN", "valid")]
)
def test_split_folders(tmp_path: Path, paint: Paint, names: tuple[str, ...]) -> None:
    for count, name in enumerate(names, start=2):
        fill(paint, tmp_path / name, {"cats": count, "dogs": 1})
    survey = survey_images(tmp_path)
    assert survey.layout == "split_folders"
    assert survey.images == dict(zip(("train", "val", "test"), range(3, 3 + len(names)), strict=False))
    assert survey.sources["train"].images_dir == tmp_path / names[0]
    assert survey.training_images == 3


def test_what_is_not_used_is_said(tmp_path: Path, paint: Paint) -> None:
    fill(paint, tmp_path / "train", {"cats": 2, "dogs": 2})
    paint(tmp_path / "test" / "1.png")
    (tmp_path / "train" / "birds").mkdir()
    (tmp_path / "info.csv").write_text("id\n1\n")
    survey = survey_images(tmp_path)
    assert list(survey.sources) == ["train"]
    notes = " | ".join(survey.notes)
    assert "1 images in" in notes
    assert "without images" in notes
    assert "birds" in notes
    assert "info.csv is not used" in notes


def test_a_csv_beside_a_folder_of_images(tmp_path: Path, paint: Paint) -> None:
    for i in range(4):
        paint(tmp_path / "images" / f"{i}.png", seed=i)
    (tmp_path / "labels.csv").write_text(
        "file,label,group\n" + "".join(f"{i}.png,{'ab'[i % 2]},g{i}\n" for i in range(4))
    )
    for start in (tmp_path, tmp_path / "labels.csv"):
        survey = survey_images(start)
        assert survey.layout == "csv"
        assert survey.counts == {"all": {"a": 2, "b": 2}}
        assert survey.sources["all"] == Source(tmp_path / "images", tmp_path / "labels.csv")
        assert (survey.multi_label, survey.has_groups) == (False, True)


def test_several_labels_are_told_from_a_mistake(tmp_path: Path, paint: Paint) -> None:
    for i in range(40):
        paint(tmp_path / f"{i}.png", seed=i)
    rows = [f"{i}.png,{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "labels.csv").write_text(
        "\n".join(["path,label", *rows[:20], *(f"{row};c" for row in rows[20:])])
    )
    assert survey_images(tmp_path).multi_label
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows[:39], "39.png,"]))
    with pytest.raises(DatasetError, match="line 41: no label"):
        survey_images(tmp_path)


def test_splits_in_a_column_or_in_files(tmp_path: Path, paint: Paint) -> None:
    for i in range(6):
        paint(tmp_path / f"{i}.png", seed=i)
    (tmp_path / "all.csv").write_text(
        "path,label,split\n"
        + "".join(f"{i}.png,{'ab'[i % 2]},{'train' if i < 4 else 'val'}\n" for i in range(6))
    )
    by_column = survey_images(tmp_path)
    assert by_column.images == {"train": 4, "val": 2}
    (tmp_path / "all.csv").unlink()
    (tmp_path / "my_train.csv").write_text("path,label\n0.png,a\n1.png,b\n2.png,a\n")
    (tmp_path / "my_test.csv").write_text("path\n4.png\n")
    by_file = survey_images(tmp_path)
    assert by_file.images == {"train": 3}
    assert "my_test.csv is not used" in by_file.notes[0]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ([], "there are no images"),
        (["1.png", "2.png"], "2 images in one folder"),
        (["only/1.png", "only/2.png"], "all 2 images are of one class, only"),
    ],
)
def test_layouts_that_are_not_understood_show_those_that_are(
    tmp_path: Path, paint: Paint, files: list[str], complaint: str
) -> None:
    for file in files:
        paint(tmp_path / file)
    with pytest.raises(DatasetError, match=complaint) as caught:
        survey_images(tmp_path)
    assert "split folders" in str(caught.value)
    assert "cats/" in str(caught.value)


def test_which_csv_and_which_folder(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "1.png")
    (tmp_path / "one.csv").write_text("path,label\n1.png,a\n")
    (tmp_path / "two.csv").write_text("path,label\n1.png,b\n")
    with pytest.raises(DatasetError, match=r"several CSV files \(one\.csv, two\.csv\)"):
        survey_images(tmp_path)
    assert survey_images(tmp_path / "two.csv").classes == ("b",)
    with pytest.raises(DatasetError, match="does not exist"):
        survey_images(tmp_path / "gone")
    with pytest.raises(DatasetError, match="is a file"):
        survey_images(tmp_path / "1.png")


def test_sizes_and_colors(tmp_path: Path) -> None:
    for i, label in enumerate("ab" * 50):
        path = tmp_path / label / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L" if i < 25 else "RGB", (100 + i, 60)).save(path)
    survey = survey_images(tmp_path)
    # Widths are 100 to 199, each once.
    assert survey.width == pytest.approx(np.percentile(np.arange(100, 200), (5, 50, 95)), abs=1)
    assert survey.height == (60, 60, 60)
    assert survey.grey_fraction == 0.25
    assert survey.longest_ratio == pytest.approx(np.percentile(np.arange(100, 200) / 60, 95))
    (tmp_path / "a" / "broken.png").write_text("no")
    assert survey_images(tmp_path).images == {"all": 101}


def survey_of(**changes: object) -> Survey:
    values: dict[str, object] = {
        "layout": "class_folders",
        "sources": {"all": Source(Path("/data"))},
        "counts": {"all": {"a": 500, "b": 500}},
        "images": {"all": 1000},
        "classes": ("a", "b"),
        "multi_label": False,
        "has_groups": False,
        "width": (400, 500, 600),
        "height": (300, 375, 450),
        "longest_ratio": 1.5,
        "grey_fraction": 0.0,
    }
    return Survey(**{**values, **changes})  # type: ignore[arg-type]


def values(survey: Survey, *, memory: int = 16 * GIB, gpu: bool = False) -> dict[str, object]:
    made = suggest(survey, memory_bytes=memory, cpu_count=2, has_gpu=gpu)
    assert all(isinstance(each, AnnotatedValue) and each.why for each in made)
    assert len({each.key for each in made}) == len(made)
    return {each.key: each.value for each in made}


def test_every_key_is_one_of_the_spec_and_every_value_is_allowed() -> None:
    from tao_like.config import load_spec
    from tao_like.tasks.classification.spec import Spec

    surveys = [
        survey_of(),
        survey_of(images={"all": 60}, counts={"all": {"a": 50, "b": 5}}, has_groups=True),
        survey_of(width=(32, 32, 32), height=(32, 32, 32), grey_fraction=1.0, longest_ratio=3.0),
        survey_of(layout="csv", sources={"all": Source(Path("/data"), Path("/x.csv"))}, multi_label=True),
        survey_of(images={"all": 10**5}),
    ]
    for survey in surveys:
        made = values(survey, gpu=True)
        loaded = load_spec(Spec, None, [f"{key}={value}" for key, value in made.items()])
        assert set(made) <= loaded.given


def test_unsplit_data_is_split_and_split_data_is_not() -> None:
    assert values(survey_of())["dataset.split.val"] == 0.15
    assert values(survey_of(images={"all": 90}))["dataset.split.test"] == 0.2
    assert values(survey_of(has_groups=True))["dataset.split.group_by"] == "column"
    sources = {name: Source(Path("/data") / name) for name in ("train", "val", "test")}
    counts = {name: {"a": 400, "b": 400} for name in sources}
    images = dict.fromkeys(sources, 800)
    whole = values(survey_of(layout="split_folders", sources=sources, counts=counts, images=images))
    assert not any(key.startswith("dataset.split") for key in whole)
    assert whole["dataset.val_dataset.images_dir"] == "/data/val"
    del sources["val"]
    without_val = values(survey_of(layout="split_folders", sources=sources, counts=counts, images=images))
    assert (without_val["dataset.split.val"], without_val["dataset.split.test"]) == (0.15, 0.0)


def test_the_image_size_follows_the_images() -> None:
    def size(side: int, gpu: bool = False) -> object:
        return values(survey_of(width=(side,) * 3, height=(side,) * 3), gpu=gpu)["dataset.img_size"]

    assert [size(side) for side in (28, 100, 200, 1000)] == [64, 128, 224, 224]
    assert size(1000, gpu=True) == 288


def test_the_batch_follows_memory_and_data() -> None:
    def batch(images: int = 10_000, memory: int = 16 * GIB, gpu: bool = False) -> object:
        return values(survey_of(images={"all": images}), memory=memory, gpu=gpu)["dataset.batch_size"]

    assert batch() == 32
    assert batch(gpu=True, memory=24 * GIB) == 64
    assert batch(memory=GIB) < 8
    assert batch(images=100) * 8 <= 70
    assert batch(images=4) == 1


def test_little_data_trains_less_of_the_network() -> None:
    tiny = values(survey_of(images={"all": 60}))
    few = values(survey_of(images={"all": 1_500}))
    many = values(survey_of(images={"all": 10**6}))
    assert tiny["model.backbone.freeze_backbone"] is True
    assert few["model.backbone.freeze_norm"] is True
    assert few["train.optim.lr_backbone"] < few["train.optim.lr"]
    assert not any(key.startswith("model.backbone") for key in many)


def test_scans_strips_and_unequal_classes() -> None:
    scans = values(survey_of(width=(32, 32, 32), height=(32, 32, 32), grey_fraction=1.0))
    assert scans["dataset.augmentation.random_flip.enable"] is False
    assert "dataset.augmentation.random_flip.enable" not in values(survey_of())
    assert values(survey_of(longest_ratio=4.0))["dataset.resize"] == "letterbox"
    unequal = values(survey_of(counts={"all": {"a": 980, "b": 20}}))
    assert unequal["model.head.loss.class_weights"] == "balanced"
