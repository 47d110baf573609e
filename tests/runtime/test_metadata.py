"""The metadata of an exported file: what is written is read back, anything else is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tao_like.errors import BundleError
from tao_like.runtime.metadata import (
    METADATA_KEY,
    SCHEMA_VERSION,
    InputMetadata,
    ModelMetadata,
    read_metadata,
)

METADATA = ModelMetadata(
    task="classification",
    classes=["ants", "bees ✿"],
    preparation={"height": 8, "width": 8},
    input_format="float_nchw",
    mean=[0.485, 0.456, 0.406],
    std=[0.229, 0.224, 0.225],
    outputs={"probabilities": "class_probabilities"},
    thresholds={"kind": "reject", "value": 0.4},
    bundle_sha256="ab" * 32,
    tool_version="1.2.3",
    extra={"note": None},
)
SCHEMA_1 = {
    "task": "classification",
    "classes": ["ants", "bees ✿"],
    "preparation": {"height": 8, "width": 8},
    "input_format": "float_nchw",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "outputs": {"probabilities": "class_probabilities"},
    "thresholds": {"kind": "reject", "value": 0.4},
    "kind": "image",
    "bundle_sha256": "ab" * 32,
    "tool_version": "1.2.3",
    "extra": {"note": None},
    "schema_version": 1,
}
IMAGE = {
    "kind": "image",
    "preprocessing": {"height": 8, "width": 8},
    "input_format": "float_nchw",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def old(**values: object) -> str:
    """The text of schema 1, changed."""
    return json.dumps({**SCHEMA_1, **values})


def changed(**values: object) -> str:
    """The text of schema 2, changed."""
    return json.dumps({**json.loads(METADATA.to_json()), **values})


def changed_input(**values: object) -> str:
    """The text of schema 2 with its input changed."""
    return changed(inputs={"image": {**IMAGE, **values}})


def test_schema_1_is_read_as_one_input_and_the_prediction_of_its_task() -> None:
    assert ModelMetadata.from_json(json.dumps(SCHEMA_1)) == METADATA
    assert METADATA.prediction == "classes"
    assert METADATA.inputs == {"image": InputMetadata(**IMAGE)}  # type: ignore[arg-type]
    assert json.loads(METADATA.to_json()) == {
        "task": "classification",
        "inputs": {"image": IMAGE},
        "prediction": "classes",
        "outputs": {"probabilities": "class_probabilities"},
        "classes": ["ants", "bees ✿"],
        "prompts": {},
        "open_set": False,
        "thresholds": {"kind": "reject", "value": 0.4},
        "bundle_sha256": "ab" * 32,
        "tool_version": "1.2.3",
        "extra": {"note": None},
        "schema_version": 2,
    }


@pytest.mark.parametrize(
    ("task", "prediction"),
    [("detection", "boxes"), ("pose_classification", "classes"), ("pointpillars", "boxes3d")],
)
def test_the_predictions_of_the_tasks_of_schema_1(task: str, prediction: str) -> None:
    assert ModelMetadata.from_json(old(task=task)).prediction == prediction


def test_a_task_of_schema_1_that_nobody_knows() -> None:
    with pytest.raises(BundleError, match=r"'juggling' without a kind of prediction.*knows classification"):
        ModelMetadata.from_json(old(task="juggling"))


def test_the_only_input_can_be_read_and_changed_without_its_name() -> None:
    assert METADATA.preparation == METADATA.preprocessing == {"height": 8, "width": 8}
    assert (METADATA.kind, METADATA.input_format) == ("image", "float_nchw")
    assert (METADATA.mean, METADATA.std) == (IMAGE["mean"], IMAGE["std"])
    other = dataclasses.replace(METADATA, preparation={"height": 4, "width": 4}, task="juggling")
    assert other.inputs["image"] == InputMetadata(**{**IMAGE, "preprocessing": {"height": 4, "width": 4}})  # type: ignore[arg-type]
    assert (other.task, other.prediction) == ("juggling", "classes")


def test_several_inputs_survive_and_are_no_single_one() -> None:
    inputs = {"image": InputMetadata(**IMAGE), "text": InputMetadata("text", {"length": 77}, "tokens")}  # type: ignore[arg-type]
    metadata = ModelMetadata(
        task="search",
        inputs=inputs,
        prediction="classes",
        outputs={},
        classes=["ant"],
        prompts={"ant": ["a photo of an ant"]},
        open_set=True,
    )
    again = ModelMetadata.from_json(metadata.to_json())
    assert again == metadata
    assert again.input_of("text").preprocessing == {"length": 77}
    with pytest.raises(BundleError, match=r"2 inputs \(image, text\)"):
        _ = again.preparation
    with pytest.raises(BundleError, match="no input of the kind points"):
        again.input_of("points")
    with pytest.raises(BundleError, match="inputs must be one, where mean"):
        dataclasses.replace(metadata, mean=[1.0])


def test_it_survives_the_file() -> None:
    assert read_metadata({"other": "x", METADATA_KEY: METADATA.to_json()}) == METADATA


def test_equal_metadata_is_equal_text() -> None:
    again = ModelMetadata.from_json(changed(thresholds={"value": 0.4, "kind": "reject"}))
    assert again.to_json() == METADATA.to_json()


def test_a_file_of_another_tool_is_refused_with_the_remedy() -> None:
    with pytest.raises(BundleError, match=r"not exported by tao_like.*tao-like <task> export"):
        read_metadata({"author": "somebody"})


def test_a_newer_schema_says_so_although_its_fields_differ() -> None:
    with pytest.raises(BundleError, match=f"schema {SCHEMA_VERSION + 1}.*update tao_like"):
        ModelMetadata.from_json(json.dumps({"schema_version": SCHEMA_VERSION + 1, "news": []}))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"schema_version": 1}', "misses or adds .*classes"),
        ('{"schema_version": 2}', "misses or adds .*prediction"),
        (old(color=1), "misses or adds the fields color"),
        (old(prediction="classes"), "misses or adds the fields prediction"),
        (changed(color=1), "misses or adds the fields color"),
        (changed(mean=[1, 1, 1]), "misses or adds the fields mean"),
        (changed(std=[1, 1, float("nan")]), "NaN is not a number"),
        (changed(std=[1, 1, float("inf")]), "Infinity is not a number"),
        (old().replace("0.229", "1e999"), "std must be"),
        (changed().replace("0.229", "1e999"), "std must be"),
        *(
            (change(**values), rule)
            for change in (old, changed_input)
            for values, rule in (
                ({"std": [1, 1, 0]}, "std must be"),
                ({"mean": [1, 1]}, "mean must be"),
                ({"mean": "0.5"}, "mean must be"),
                ({"mean": None}, "mean must be|misses"),
                ({"input_format": []}, "input_format must be"),
                ({"kind": 7}, "kind must be"),
            )
        ),
        *(
            (change(**values), rule)
            for change in (old, changed)
            for values, rule in (
                ({"classes": ["a", "a"]}, "without repetitions"),
                ({"classes": [1]}, "classes must be"),
                ({"classes": None}, "classes must be"),
                ({"thresholds": None}, "thresholds must be"),
                ({"task": None}, "task must be"),
                ({"outputs": {"x": 1}}, "outputs must be"),
                ({"outputs": []}, "outputs must be"),
                ({"schema_version": True}, "schema_version must be"),
                ({"schema_version": 0}, "schema_version must be"),
                ({"schema_version": "1"}, "schema_version must be"),
            )
        ),
        (changed_input(color=1), "inputs.image of the model's metadata misses or adds the fields color"),
        (changed(inputs={}), "one input or more"),
        (changed(inputs=[]), "inputs must be an object"),
        (changed(inputs={"image": []}), "inputs.image must be an object"),
        (changed(prediction=7), "prediction must be"),
        (changed(prediction=None), "prediction must be"),
        (changed(open_set=1), "open_set must be"),
        (changed(prompts={"ants": "an ant"}), "prompts must be lists"),
        (changed(prompts={"wasps": []}), "prompts must be of names"),
    ],
)
def test_anything_else_is_refused(text: str, rule: str) -> None:
    with pytest.raises(BundleError, match=rule):
        ModelMetadata.from_json(text)


def test_what_json_cannot_hold_is_refused_before_it_is_written() -> None:
    metadata = ModelMetadata.from_json(changed())
    metadata.extra["score"] = float("nan")
    with pytest.raises(BundleError, match="JSON"):
        metadata.to_json()
