"""The metadata of an exported file: what is written is read back, anything else is refused."""

from __future__ import annotations

import json

import pytest

from tao_like.errors import BundleError
from tao_like.runtime.metadata import METADATA_KEY, SCHEMA_VERSION, ModelMetadata, read_metadata

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


def changed(**values: object) -> str:
    return json.dumps({**json.loads(METADATA.to_json()), **values})


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
        (changed(colour=1), "misses or adds the fields colour"),
        (changed(std=[1, 1, float("nan")]), "NaN is not a number"),
        (changed(std=[1, 1, float("inf")]), "Infinity is not a number"),
        (changed().replace("0.229", "1e999"), "std must be"),
        (changed(std=[1, 1, 0]), "std must be"),
        (changed(mean=[1, 1]), "mean must be"),
        (changed(mean="0.5"), "mean must be"),
        (changed(classes=["a", "a"]), "without repetitions"),
        (changed(classes=[1]), "classes must be"),
        (changed(classes=None), "classes must be"),
        (changed(task=None), "task must be"),
        (changed(outputs={"x": 1}), "outputs must be"),
        (changed(outputs=[]), "outputs must be"),
        (changed(input_format="float_nhwc"), "input_format must be one of"),
        (changed(input_format=[]), "input_format must be one of"),
        (changed(kind="smell"), "kind must be"),
        (changed(schema_version=True), "schema_version must be"),
        (changed(schema_version=0), "schema_version must be"),
        (changed(schema_version="1"), "schema_version must be"),
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
