"""An exported model: answers by hand, bad input named, and nothing but its few dependencies imported."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from tao_like.errors import BundleError, DatasetError, SpecError
from tao_like.runtime import ClassPrediction, Model, load, preprocess

RED, GREEN, BLUE = (200, 50, 0), (0, 255, 0), (0, 40, 160)


def solid(color: tuple[int, int, int], size: tuple[int, int] = (30, 20)) -> Image.Image:
    return Image.new("RGB", size, color)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images in colors that repeat, whose names sort in the order of writing."""
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    for index, color in enumerate([RED, GREEN, BLUE, GREEN, RED]):
        solid(color).save(tmp_path / "pictures" / f"{index} ö.png")
    for index, color in enumerate([BLUE, RED]):
        solid(color).save(tmp_path / "pictures" / "more" / f"{index}.png")
    return tmp_path / "pictures"


LABELS_OF_FOLDER = ["red", "green", "blue", "green", "red", "blue", "red"]


def test_one_image_by_hand(write_model: Any, folder: Path) -> None:
    model = load(write_model())
    assert model.classes == ["red", "green", "blue"]
    prediction = model.predict(folder / "0 ö.png")
    assert isinstance(prediction, ClassPrediction)
    assert (prediction.label, prediction.rejected, prediction.error) == ("red", False, None)
    assert prediction.probabilities == pytest.approx({"red": 0.8, "green": 0.2, "blue": 0.0}, abs=1e-6)
    assert prediction.source == str(folder / "0 ö.png")
    assert model.predict(str(folder / "0 ö.png")) == prediction


def test_all_kinds_of_input_give_the_same(write_model: Any, folder: Path) -> None:
    model = load(write_model())
    image = solid(BLUE)
    expected = {"red": 0.0, "green": 0.2, "blue": 0.8}
    several: list[Any] = [image, np.asarray(image), folder / "2 ö.png", str(folder / "2 ö.png")]
    for one in several:
        assert model.predict(one).probabilities == pytest.approx(expected, abs=1e-6)
    for prediction in model.predict(several):
        assert prediction.probabilities == pytest.approx(expected, abs=1e-6)
    assert [prediction.label for prediction in model.predict(iter(several))] == ["blue"] * 4
    assert model.predict([]) == []


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_a_folder_in_order_at_any_batch_size(
    write_model: Any, folder: Path, batch: int | str, batch_size: int
) -> None:
    model = load(write_model(batch=batch))
    predictions = model.predict(folder, batch_size=batch_size, workers=3)
    sources = sorted(folder.rglob("*.png"))
    assert [prediction.source for prediction in predictions] == [str(path) for path in sources]
    expected = LABELS_OF_FOLDER
    assert [prediction.label for prediction in predictions] == expected


def test_images_are_read_only_a_few_batches_ahead(write_model: Any) -> None:
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield solid(RED)

    predictions = load(write_model()).predict_iter(endless(), batch_size=2)
    assert [next(predictions).label for _ in range(3)] == ["red"] * 3
    assert taken <= 8
    predictions.close()


def test_raw_outputs(write_model: Any) -> None:
    images = np.zeros((5, 4, 6, 3), np.uint8)
    images[..., 0] = np.array([0, 51, 102, 204, 255])[:, None, None]
    images[..., 2] = 51
    expected = [[0, 0, 1], [0.5, 0, 0.5], [2 / 3, 0, 1 / 3], [0.8, 0, 0.2], [5 / 6, 0, 1 / 6]]
    for batch in ("batch", 1, 2, 5):
        outputs = load(write_model(batch=batch)).run_preprocessed(images)
        assert list(outputs) == ["probabilities"]
        assert outputs["probabilities"] == pytest.approx(np.array(expected), abs=1e-6)


def test_float_input_is_normalized_by_the_runtime(write_model: Any) -> None:
    # mean 0.5 0.25 0 and std 0.5 0.25 1: (102/255 - 0.5)/0.5 = -0.2; (51/255 - 0.25)/0.25 = -0.2; 255/255 = 1
    images = np.empty((2, 4, 6, 3), np.uint8)
    images[:] = [102, 51, 255]
    for batch in ("batch", 4):
        model = load(write_model(batch=batch, multi_label=True, input_format="float_nchw"))
        values = model.run_preprocessed(images)["probabilities"]
        assert values == pytest.approx(np.array([[-0.2, -0.2, 1.0]] * 2), abs=1e-6)


def test_an_unknown_task_with_a_known_kind_of_prediction_needs_nothing_new(write_model: Any) -> None:
    model = load(write_model(task="juggling", prediction="classes"))
    assert model.metadata.task == "juggling"
    assert model.predict(solid(GREEN)).label == "green"


def test_thresholds_of_the_file_decide(write_model: Any) -> None:
    strict = load(write_model(thresholds={"kind": "reject", "value": 0.9}))
    assert strict.predict(solid(RED)).rejected
    assert strict.predict(solid(GREEN)).label == "green"
    thresholds = {"kind": "per_class", "values": [0.9, 0.1, 0.5]}
    several = load(write_model(multi_label=True, thresholds=thresholds))
    assert several.predict(solid(RED)).labels == ("green",)
    assert several.predict(solid(BLUE)).labels == ("blue", "green")


def test_preprocess_is_the_shared_preprocessing(write_model: Any, folder: Path) -> None:
    model = load(write_model())
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 17, 3), dtype=np.uint8))
    image.save(folder / "noise.png")
    expected = preprocess(image, model.preprocessing)
    for one in (image, np.asarray(image), folder / "noise.png"):
        assert (model.preprocess(one) == expected).all()


def test_a_pillow_image_is_turned_as_its_file_is(write_model: Any, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 3
    Image.fromarray(np.arange(72, dtype=np.uint8).reshape(4, 6, 3)).save(tmp_path / "a.png", exif=exif)
    model = load(write_model())
    upside_down = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)[::-1, ::-1]
    assert (model.preprocess(tmp_path / "a.png") == upside_down).all()
    with Image.open(tmp_path / "a.png") as image:
        assert (model.preprocess(image) == upside_down).all()


def test_a_bad_image_stops_a_folder_and_is_named(write_model: Any, folder: Path) -> None:
    (folder / "3 broken.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"3 broken\.jpg"):
        load(write_model()).predict(folder, batch_size=2)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_bad_images_can_be_skipped(write_model: Any, folder: Path, batch_size: int) -> None:
    (folder / "3 broken.jpg").write_bytes(b"no picture")
    (folder / "0.png").write_bytes(b"")
    predictions = load(write_model()).predict(folder, batch_size=batch_size, on_error="skip")
    by_name = {
        Path(prediction.source).relative_to(folder).as_posix(): prediction for prediction in predictions
    }
    assert [prediction.source for prediction in predictions] == sorted(
        prediction.source for prediction in predictions
    )
    assert len(predictions) == 9
    for name in ("3 broken.jpg", "0.png"):
        bad = by_name[name]
        assert name in bad.error
        assert (bad.label, bad.labels, bad.probabilities) == (None, (), {})
    assert [
        prediction.label for name, prediction in by_name.items() if prediction.error is None
    ] == LABELS_OF_FOLDER


def test_arrays_and_images_that_are_none(write_model: Any, tmp_path: Path) -> None:
    model = load(write_model())
    for array in (
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.zeros((4, 6, 3), np.float32),
        np.zeros((0, 6, 3), np.uint8),
    ):
        with pytest.raises(DatasetError, match=r"uint8 of shape \(height, width, 3\)"):
            model.predict(array)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:2000])
    with Image.open(tmp_path / "cut.jpg") as cut, pytest.raises(DatasetError, match="cannot be decoded"):
        model.predict(cut)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no image"):
        model.predict(tmp_path / "empty")


def test_paths_of_any_kind_and_what_is_no_input(write_model: Any, folder: Path) -> None:
    model = load(write_model())
    path = PurePosixPath(folder / "2 ö.png")
    assert model.predict(path) == model.predict(str(path)) == model.predict([path])[0]
    assert len(model.predict(PurePosixPath(folder))) == len(model.predict(folder))
    closed = Image.open(folder / "2 ö.png")
    closed.close()
    for given, words in (
        (None, "this is a NoneType; give a file, an image or an array"),
        (7, "this is a int; give a file, an image or an array"),
        ([None], "this is a NoneType; give an image"),
        ("x" * 5000, "is not a file"),
        (closed, "cannot be decoded"),
    ):
        with pytest.raises(DatasetError, match=words):
            model.predict(given)


@pytest.mark.parametrize("shape", [(4, 6, 3), (0, 4, 6, 3), (1, 6, 4, 3), (1, 3, 4, 6)])
def test_preprocessed_images_of_another_shape_are_refused(write_model: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(DatasetError, match=r"uint8 of shape \(1 or more, 4, 6, 3\)"):
        load(write_model()).run_preprocessed(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"workers": 0}, {"on_error": "ignore"}])
def test_arguments_without_meaning(write_model: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(arguments))):
        load(write_model()).predict(solid(RED), **arguments)


def test_providers_by_name(write_model: Any) -> None:
    path = write_model()
    for providers in ("cpu", ["cpu"], ["CPUExecutionProvider"], "CPU", None):
        assert load(path, providers=providers, threads=1).predict(solid(GREEN)).label == "green"
    assert "TensorrtExecutionProvider" not in onnxruntime.get_available_providers()
    for providers in ("tensorrt", ["TensorrtExecutionProvider", "cpu"]):
        with pytest.raises(SpecError, match=r"(?i)tensorrt.*not in this onnxruntime.*offers .*cpu"):
            load(path, providers=providers)
    with pytest.raises(SpecError, match="providers is empty"):
        load(path, providers=[])
    with pytest.raises(SpecError, match="threads is 0"):
        load(path, threads=0)


def test_a_provider_that_is_built_in_but_does_not_start(
    write_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    with (
        pytest.warns(UserWarning, match="not in available provider"),
        pytest.raises(SpecError, match=r"CUDAExecutionProvider .*did not start.*take cpu"),
    ):
        load(write_model(), providers="cuda")


def test_a_model_serves_several_threads(write_model: Any, folder: Path) -> None:
    model: Model = load(write_model())
    found: list[list[str]] = []

    def work() -> None:
        found.append([prediction.label for prediction in model.predict(folder, batch_size=2)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [LABELS_OF_FOLDER] * 4


@pytest.mark.parametrize(
    ("content", "rule"),
    [(b"", "cannot be opened"), (b"\x08\x07nonsense", "cannot be opened"), (None, "is not a file")],
)
def test_files_that_are_no_onnx(tmp_path: Path, content: bytes | None, rule: str) -> None:
    if content is not None:
        (tmp_path / "odd.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=rf"odd\.onnx {rule}"):
        load(tmp_path / "odd.onnx")


def test_an_onnx_file_of_another_tool(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [other])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(BundleError, match=r"foreign\.onnx: it was not exported by tao_like"):
        load(tmp_path / "foreign.onnx")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"prediction": "smells"}, "'smells'.*this runtime knows .*classes.*update tao_like"),
        ({"prediction": "boxes"}, "a detector's are boxes_xyxy"),
        (
            {"prediction": "boxes3d", "outputs": {"probabilities": "class_probabilities"}},
            "LiDAR detector's are",
        ),
        ({"prediction": "embedding"}, "an encoder has exactly one"),
        (
            {"kind": "smell"},
            "this runtime knows image, points, seed, skeleton, text; update tao_like",
        ),
        ({"input_format": "float_nhwc", "graph_format": "float_nchw"}, "uint8_nhwc or float_nchw"),
        ({"mean": [], "std": []}, "mean and std must be lists of 3"),
        ({"preparation": {"height": 8, "width": 8}}, "the metadata promises"),
        ({"preparation": {"height": 8}}, "width is missing"),
        ({"preparation": {"height": 6, "width": 4}}, "the metadata promises"),
        ({"graph_format": "float_nchw"}, r"tensor\(float\).*promises uint8_nhwc"),
        ({"outputs": {"scores": "class_probabilities"}}, "lacks the outputs scores"),
        ({"outputs": {"probabilities": "boxes"}}, "0 of the model's outputs are probabilities"),
        ({"classes": []}, "lists no classes"),
        ({"thresholds": {"kind": "per_class", "values": [0.1]}}, "do not fit"),
        ({"metadata_text": "{}"}, "misses"),
        ({"metadata_text": '{"schema_version": 99}'}, "update tao_like"),
    ],
)
def test_files_that_contradict_themselves(write_model: Any, changes: dict[str, Any], rule: str) -> None:
    path = write_model("odd.onnx", **changes)
    with pytest.raises(BundleError, match=rf"odd\.onnx: .*{rule}"):
        load(path)


def test_nothing_but_numpy_pillow_and_onnxruntime_is_imported(write_model: Any, folder: Path) -> None:
    """In a fresh interpreter: no third-party package beyond these and what they bring along."""
    script = (
        "import sys; before = set(sys.modules)\n"
        "from tao_like.runtime import load\n"
        "assert 'onnxruntime' not in sys.modules, 'the datasets would wait for it'\n"
        "answers = load(sys.argv[1]).predict(sys.argv[2])\n"
        "assert answers[1].label == 'green', answers\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('tao_like')))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(write_model()), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    packages, ours = result.stdout.splitlines()
    third_party = {"torch", "torchvision", "timm", "omegaconf", "hydra", "onnx", "safetensors", "yaml", "cv2"}
    assert {"numpy", "PIL", "onnxruntime"} <= set(packages.split())
    assert not third_party & set(packages.split())
    allowed = ("tao_like.runtime", "tao_like.errors", "tao_like.strict_json")
    assert [name for name in ours.split() if name != "tao_like" and not name.startswith(allowed)] == []
