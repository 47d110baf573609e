"""What an exported ONNX file says about itself, so that the runtime needs the file alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NoReturn

from tao_like.errors import BundleError

METADATA_KEY = "tao_like"
"""Key of the ONNX file's ``metadata_props`` whose value is the JSON text of a `ModelMetadata`."""

SCHEMA_VERSION = 1
KINDS = ("image", "skeleton", "points")
INPUT_FORMATS = ("uint8_nhwc", "float_nchw", "float_nctvm", "points")


@dataclass(frozen=True)
class ModelMetadata:
    """Everything that is needed to run an exported model and to read its answers.

    Attributes:
        task: name of the task, such as ``classification``.
        classes: class names in the order of the network's outputs.
        preparation: how an input is prepared; for pictures what `ImagePreparation.to_dict` returns,
            for skeletons what `SkeletonPreparation.to_dict` returns, for points `PointsPreparation`'s.
        input_format: ``uint8_nhwc``: pixels of shape (N, height, width, 3), 0 to 255, normalised inside
            the graph; ``float_nchw``: shape (N, 3, height, width), (pixel / 255 - mean) / std;
            ``float_nctvm``: joints of shape (N, channels, frames, joints, persons);
            ``points``: one frame a call, float32 (points, 4).
        mean: mean of each channel on the scale 0 to 1.
        std: standard deviation of each channel on the scale 0 to 1.
        outputs: name of each output of the graph and what it means; the meanings are the task's.
        thresholds: the task's rule that turns scores into answers; empty for its default rule.
        kind: kind of input.
        bundle_sha256: hash of the bundle that the file was exported from, as hexadecimal digits.
        tool_version: version of tao_like that wrote the file.
        extra: further values of the task.
        schema_version: version of this list of fields.
    """

    task: str
    classes: list[str]
    preparation: dict[str, Any]
    input_format: str
    mean: list[float]
    std: list[float]
    outputs: dict[str, str]
    thresholds: dict[str, Any] = field(default_factory=dict)
    kind: str = "image"
    bundle_sha256: str = ""
    tool_version: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse values of the wrong type or without meaning, with a BundleError."""
        for name in ("task", "bundle_sha256", "tool_version"):
            _require(isinstance(getattr(self, name), str), name, "a text")
        for name in ("preparation", "outputs", "thresholds", "extra"):
            _require(isinstance(getattr(self, name), dict), name, "an object")
        _require(_are_texts(self.classes), "classes", "a list of texts")
        _require(len(set(self.classes)) == len(self.classes), "classes", "a list without repetitions")
        _require(_are_texts(list(self.outputs.values())), "outputs", "an object of texts")
        _require(self.kind in KINDS, "kind", f"one of {', '.join(KINDS)}")
        _require(self.input_format in INPUT_FORMATS, "input_format", f"one of {', '.join(INPUT_FORMATS)}")
        _require(_are_three_numbers(self.mean), "mean", "a list of 3 numbers")
        _require(
            _are_three_numbers(self.std) and min(self.std) > 0, "std", "a list of 3 numbers greater than 0"
        )
        version_fits = type(self.schema_version) is int and self.schema_version == SCHEMA_VERSION
        _require(version_fits, "schema_version", f"{SCHEMA_VERSION}")

    def to_json(self) -> str:
        """Return the text that stands under `METADATA_KEY` in the ONNX file.

        Raises:
            BundleError: a value inside one of the dictionaries has no place in JSON, such as NaN.
        """
        try:
            return json.dumps(asdict(self), allow_nan=False, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise BundleError(f"the model's metadata cannot be written as JSON: {error}.") from error

    @classmethod
    def from_json(cls, text: str) -> ModelMetadata:
        """Read what `to_json` wrote.

        Raises:
            BundleError: the text is no such JSON, is of a newer schema, or misses or adds a field.
        """
        try:
            values = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"the model's metadata is not valid JSON: {error}.") from error
        if not isinstance(values, dict):
            raise BundleError("the model's metadata is not a JSON object.")
        version = values.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise BundleError(
                f"the model's metadata is of schema {version}, and this tao_like reads up to "
                f"{SCHEMA_VERSION}; update tao_like."
            )
        known = {field.name for field in fields(cls)}
        different = sorted(known.symmetric_difference(values))
        if different:
            raise BundleError(f"the model's metadata misses or adds the fields {', '.join(different)}.")
        return cls(**values)


def read_metadata(properties: Mapping[str, str]) -> ModelMetadata:
    """Read the metadata out of an ONNX file's ``metadata_props``.

    Raises:
        BundleError: the file was not exported by tao_like, or `ModelMetadata.from_json` refuses it.
    """
    if METADATA_KEY not in properties:
        raise BundleError(
            f"it was not exported by tao_like (its metadata has no entry {METADATA_KEY!r}); "
            "make one with `tao-like <task> export`."
        )
    return ModelMetadata.from_json(properties[METADATA_KEY])


def _require(holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise BundleError(f"the model's metadata is wrong: {name} must be {rule}.")


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _are_three_numbers(values: object) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 3
        and all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)
    )


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
