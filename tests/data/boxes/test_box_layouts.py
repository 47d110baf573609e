"""`init` of detection takes what tools write: each layout is recognised, with the right boxes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from box_images import scene
from click.testing import CliRunner

from tao_like.cli.main import cli
from tao_like.data.boxes.survey import survey_boxes
from tao_like.errors import DatasetError

NAMES = ["blue", "green", "red"]
COUNTS = {"train": 5, "valid": 2, "test": 2}
WIDTH, HEIGHT = 96, 64


def put_scene(path: Path, seed: int) -> list[tuple[str, list[int]]]:
    """An image of 96 x 64 pixels, and its objects: class and left, top, width, height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image, objects = scene(seed)
    image.save(path)
    return objects


def yolo_text(objects: list[tuple[str, list[int]]]) -> str:
    return "".join(
        f"{NAMES.index(name)} {(x + w / 2) / WIDTH} {(y + h / 2) / HEIGHT} {w / WIDTH} {h / HEIGHT}\n"
        for name, (x, y, w, h) in objects
    )


def voc_text(objects: list[tuple[str, list[int]]]) -> str:
    boxes = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
        f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
        for name, (x, y, w, h) in objects
    )
    return f"<annotation>{boxes}</annotation>"


def labelme_text(objects: list[tuple[str, list[int]]]) -> str:
    shapes = [
        {"label": name, "shape_type": "rectangle", "points": [[x, y], [x + w, y + h]]}
        for name, (x, y, w, h) in objects
    ]
    return json.dumps({"shapes": shapes, "imageWidth": WIDTH, "imageHeight": HEIGHT})


def assert_found(
    folder: Path, kind: str, images: Mapping[str, int], classes_file: Path | None = None
) -> None:
    """The layout is recognised, and the boxes of the training data are those of its scenes."""
    found = survey_boxes(folder, classes_file)
    assert found.format == kind
    assert dict(found.images) == dict(images)
    main = next(iter(images))
    expected = [name for seed in range(images[main]) for name, _ in scene(seed)[1]]
    assert found.boxes == {name: expected.count(name) for name in set(expected)}
    assert (found.width, found.height) == (WIDTH, HEIGHT)
    sides = sorted(max(box[2:]) / WIDTH for seed in range(images[main]) for _, box in scene(seed)[1])
    half = len(sides) // 2
    assert found.side == pytest.approx((sides[half] + sides[~half]) / 2, rel=1e-4)


def roboflow(folder: Path) -> None:
    """train, valid, test with images and labels; data.yaml names them as if it lay in one of them."""
    for split, count in COUNTS.items():
        for number in range(count):
            objects = put_scene(folder / split / "images" / f"{number}_jpg.rf.0a.jpg", number)
            (folder / split / "labels").mkdir(exist_ok=True)
            (folder / split / "labels" / f"{number}_jpg.rf.0a.txt").write_text(yolo_text(objects))
    content = {"train": "../train/images", "val": "../valid/images", "test": "../test/images"}
    (folder / "data.yaml").write_text(yaml.safe_dump(content | {"nc": 3, "names": NAMES}))
    (folder / "README.roboflow.txt").write_text("exported with 5 words\n")


def ultralytics(folder: Path, *, lists: bool = False) -> None:
    """images/train, labels/train, ...; or lists of images. ``path`` is another machine's."""
    content: dict[str, object] = {"path": "../datasets/mine", "names": dict(enumerate(NAMES))}
    for split, count in (("train", 5), ("val", 2)):
        names = []
        for number in range(count):
            path = folder / "images" / split / f"{number}.png"
            objects = put_scene(path, number)
            (folder / "labels" / split).mkdir(parents=True, exist_ok=True)
            (folder / "labels" / split / f"{number}.txt").write_text(yolo_text(objects))
            names.append(f"./images/{split}/{number}.png\n")
        (folder / f"{split}.txt").write_text("".join(names))
        content[split] = f"{split}.txt" if lists else f"images/{split}"
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))


def test_data_yaml_of_roboflow(tmp_path: Path) -> None:
    roboflow(tmp_path)
    assert_found(tmp_path, "yolo", {"train": 5, "val": 2, "test": 2})


@pytest.mark.parametrize("lists", [False, True])
def test_data_yaml_of_ultralytics(lists: bool, tmp_path: Path) -> None:
    ultralytics(tmp_path, lists=lists)
    assert_found(tmp_path, "yolo", {"train": 5, "val": 2})


def test_data_yaml_in_an_archive_s_folder_and_without_its_test_split(tmp_path: Path) -> None:
    roboflow(tmp_path / "mine.v1" / "mine")
    (tmp_path / "mine.v1" / "mine" / "test").rename(tmp_path / "elsewhere")
    assert_found(tmp_path / "mine.v1", "yolo", {"train": 5, "val": 2})
    assert "test names ../test/images" in "".join(survey_boxes(tmp_path / "mine.v1").notes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nc": 4}, "nc is 4, and names has 3 names"),
        ({"names": {0: "a", 2: "b"}, "nc": 2}, "numbers are not 0 to 1"),
        ({"names": ["a", "a", "b"]}, "a name of its own"),
        ({"names": []}, "names is missing"),
    ],
)
def test_what_is_wrong_in_data_yaml_is_named(changes: dict[str, object], words: str, tmp_path: Path) -> None:
    roboflow(tmp_path)
    content = yaml.safe_load((tmp_path / "data.yaml").read_text())
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(content | changes))
    with pytest.raises(DatasetError, match=rf"data\.yaml.*{words}"):
        survey_boxes(tmp_path)


@pytest.mark.parametrize("below", ["", "images/"])
@pytest.mark.parametrize(
    ("kind", "suffix", "text_of"),
    [("voc", ".xml", voc_text), ("labelme", ".json", labelme_text), ("yolo", ".txt", yolo_text)],
)
@pytest.mark.parametrize("splits", [True, False])
def test_labels_beside_their_images(
    kind: str, suffix: str, text_of: object, splits: bool, below: str, tmp_path: Path
) -> None:
    assert callable(text_of)
    counts = COUNTS if splits else {"": 5}
    for split, count in counts.items():
        for number in range(count):
            path = tmp_path / below / split / f"{number}.jpg"
            path.with_suffix(suffix).parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(suffix).write_text(text_of(put_scene(path, number)))
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    assert_found(tmp_path, kind, {"train": 5, "val": 2, "test": 2} if splits else {"all": 5})


@pytest.mark.parametrize("place", ["beside", "above", "inside"])
def test_csv_of_boxes(place: str, tmp_path: Path) -> None:
    for split, count in (("train", 5), ("test", 2)):
        lines = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
        folder = tmp_path / "images" / split if place == "above" else tmp_path / split
        for number in range(count):
            for name, (x, y, w, h) in put_scene(folder / f"{number}.png", number):
                lines.append(f"{number}.png,{WIDTH},{HEIGHT},{name},{x},{y},{x + w},{y + h}")
        csv_file = {
            "beside": tmp_path / f"{split}_labels.csv",
            "above": tmp_path / "annotations" / f"{split}.csv",
            "inside": folder / "_annotations.csv",
        }[place]
        csv_file.parent.mkdir(exist_ok=True)
        csv_file.write_text("\n".join(lines))
    assert_found(tmp_path, "csv", {"train": 5, "test": 2})


def test_cvat(tmp_path: Path) -> None:
    images = []
    for number in range(5):
        boxes = "".join(
            f'<box label="{name}" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"/>'
            for name, (x, y, w, h) in put_scene(tmp_path / "images" / f"{number}.png", number)
        )
        images.append(f'<image name="{number}.png" width="{WIDTH}" height="{HEIGHT}">{boxes}</image>')
    (tmp_path / "annotations.xml").write_text(f"<annotations>{''.join(images)}</annotations>")
    assert_found(tmp_path, "cvat", {"all": 5})


def test_coco_written_on_windows_with_ids_as_texts_and_one_annotation_without_a_box(tmp_path: Path) -> None:
    images, annotations = [], []
    for number in range(5):
        objects = put_scene(tmp_path / "pictures" / "sub" / f"{number}.png", number)
        images.append({"id": f"p{number}", "file_name": f"sub\\{number}.png"})
        annotations += [{"image_id": f"p{number}", "category_id": name, "bbox": box} for name, box in objects]
    annotations.insert(0, {"image_id": "p0", "category_id": "red"})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": name, "name": name} for name in NAMES],
    }
    (tmp_path / "labels.json").write_text(json.dumps(content))
    assert_found(tmp_path, "coco", {"all": 5})
    assert "1 annotations without a box" in "".join(survey_boxes(tmp_path).notes)


def init(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["detection", "init", *words])
    return done.exit_code, done.output + str(done.exception or "")


@pytest.mark.parametrize("key", ["classes_file", "dataset.classes_file"])
def test_names_of_numbers_can_be_given_to_init(key: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number in range(5):
        objects = put_scene(data / "images" / f"{number}.png", number)
        (data / "labels").mkdir(exist_ok=True)
        (data / "labels" / f"{number}.txt").write_text(yolo_text(objects))
    spec = tmp_path / "spec.yaml"
    code, output = init(str(data), "-o", str(spec))
    assert code != 0
    assert "dataset.classes_file=FILE" in output
    names = tmp_path / "names of mine.txt"
    names.write_text("\n".join(NAMES))
    code, output = init(str(data), "-o", str(spec), f"{key}={names}", "train.num_epochs=3")
    assert code == 0, output
    (source,) = yaml.safe_load(spec.read_text())["dataset"]["train_data_sources"]
    assert source["classes_file"] == str(names)
    assert yaml.safe_load(spec.read_text())["train"]["num_epochs"] == 3


def test_a_folder_of_heic_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"0 images\)\n1 file \.heic passed over: save them as JPEG"):
        survey_boxes(tmp_path)


def test_a_split_of_several_folders_becomes_several_sources(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number, part in enumerate(("night", "day", "held out")):
        for place in range(4):
            objects = put_scene(data / part / "images" / f"{place}.png", 10 * number + place)
            (data / part / "labels").mkdir(exist_ok=True)
            (data / part / "labels" / f"{place}.txt").write_text(yolo_text(objects))
    content = {"train": ["night/images", "day/images", "dusk/images"], "val": ["held out/images"]}
    (data / "data.yaml").write_text(yaml.safe_dump({**content, "nc": 3, "names": NAMES}))
    found = survey_boxes(data)
    assert found.images == {"train": 8, "val": 4}
    assert [source.image_dir.parent.name for source in found.sources["train"]] == ["night", "day"]
    assert any("dusk/images, which is not there" in note for note in found.notes)
    code, output = init(str(data), "-o", str(tmp_path / "spec.yaml"))
    assert code == 0, output
    sources = yaml.safe_load((tmp_path / "spec.yaml").read_text())["dataset"]["train_data_sources"]
    assert [Path(source["label_dir"]).parent.name for source in sources] == ["night", "day"]


def test_images_that_cannot_be_read_are_named_by_init_and_left_out_by_a_key(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number in range(8):
        objects = put_scene(data / "images" / f"{number}.png", number)
        (data / "labels").mkdir(exist_ok=True)
        (data / "labels" / f"{number}.txt").write_text(yolo_text(objects))
    (data / "labels" / "classes.txt").write_text("\n".join(NAMES))
    whole = (data / "images" / "2.png").read_bytes()
    (data / "images" / "2.png").write_bytes(whole[: len(whole) // 2])
    (data / "images" / "5.png").write_bytes(b"")
    spec = tmp_path / "spec.yaml"
    code, output = init(str(data), "-o", str(spec))
    assert code == 0, output
    assert "dataset.on_error=skip" in output
    checked = [*("dataset_check", "-e", str(spec), f"results_dir={tmp_path / 'results'}")]
    done = CliRunner().invoke(cli, ["detection", *checked])
    assert done.exit_code != 0
    done = CliRunner().invoke(cli, ["detection", *checked, "dataset.on_error=skip"])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "results" / "dataset_check" / "report.json").read_text())
    (finding,) = [each for each in report["findings"] if each["code"] == "left_out"]
    assert finding["message"].startswith("2 images of 8 cannot be read and are left out")
    assert [Path(text.split()[0]).name for text in finding["files"]] == ["2.png", "5.png"]
    for number in range(5):
        (data / "images" / f"{number}.png").write_bytes(b"")
    done = CliRunner().invoke(cli, ["detection", *checked, "dataset.on_error=skip"])
    assert done.exit_code != 0
    assert "6 of 8 images cannot be read, too many to leave out" in done.output + str(done.exception)
