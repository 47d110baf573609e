"""What an exported ONNX file says about itself, so that the runtime needs the file alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NoReturn

from tao_like.errors import BundleError

METADATA_KEY = "tao_like"
"""Key of the ONNX file's ``metadata_props`` whose value is the JSON text of a `ModelMetadata`."""

SCHEMA_VERSION = 2
PREDICTION_OF_TASK = {
    "classification": "classes",
    "detection": "boxes",
    "pose_classification": "classes",
    "pointpillars": "boxes3d",
}
"""What the tasks predict whose files of schema 1 do not say it."""

_SINGLE_INPUT = ("preparation", "preprocessing", "input_format", "mean", "std", "kind")
_SCHEMA_1 = (
    "task",
    "classes",
    "preparation",
    "input_format",
    "mean",
    "std",
    "outputs",
    "thresholds",
    "kind",
    "bundle_sha256",
    "tool_version",
    "extra",
    "schema_version",
)


@dataclass(frozen=True)
class InputMetadata:
    """How one input of a graph is made from what a user gives.

    Attributes:
        kind: kind of input, such as ``image``, ``skeleton`` or ``points``: see `runtime.inputs.kinds`.
        preprocessing: its settings; for images what `ImagePreprocessing.to_dict` returns, for skeletons what
            `SkeletonPreprocessing.to_dict` returns, for points `PointsPreprocessing`'s.
        input_format: form of the graph's input. ``uint8_nhwc``: pixels of shape (N, height, width, 3), 0 to
            255, normalized inside the graph; ``float_nchw``: (N, 3, height, width), (pixel/255 - mean) / std;
            ``float_nctvm``: joints of shape (N, channels, frames, joints, persons);
            ``points``: one frame a call, float32 (points, 4).
        mean: mean of each channel on the scale 0 to 1; empty for a kind without channels.
        std: standard deviation of each channel on the scale 0 to 1; likewise.
    """

    kind: str
    preprocessing: dict[str, Any]
    input_format: str
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse values of the wrong type or without meaning, with a BundleError."""
        _require(isinstance(self.kind, str), "kind", "a text")
        _require(isinstance(self.preprocessing, dict), "preprocessing", "an object")
        _require(isinstance(self.input_format, str), "input_format", "a text")
        _require(_are_numbers(self.mean), "mean", "a list of numbers")
        _require(
            _are_numbers(self.std) and all(value > 0 for value in self.std),
            "std",
            "a list of numbers greater than 0",
        )
        _require(
            len(self.mean) == len(self.std), "mean", f"as long as std, which has {len(self.std)} numbers"
        )

    @classmethod
    def from_dict(cls, name: str, values: object) -> InputMetadata:
        """Read what `dataclasses.asdict` made of the input ``name``. Raises BundleError."""
        if not isinstance(values, dict):
            raise BundleError(f"the model's metadata is wrong: inputs.{name} must be an object.")
        _check_fields(values, {one.name for one in fields(cls)}, f"inputs.{name} of the model's metadata")
        return cls(**values)


@dataclass(frozen=True, init=False)
class ModelMetadata:
    """Everything that is needed to run an exported model and to read its predictions.

    A model with one input may be described without ``inputs``: by ``kind``, ``preprocessing`` (or
    ``preparation``), ``input_format``, ``mean`` and ``std``, which are those of `InputMetadata`. They can be
    read as attributes too. `dataclasses.replace` takes them as well.

    Attributes:
        task: name of the task, such as ``classification``.
        inputs: the graph's inputs by name. Where there is one, its name in the graph may be another.
        prediction: kind of prediction, such as ``classes`` or ``boxes``: see `runtime.predictions.kinds`. If
            it is not given, the kind that this task has always had.
        outputs: name of each output of the graph and what it means; the meanings are the prediction's.
        classes: class names in the order of the network's outputs.
        prompts: texts for a class name, where classes are found by their description.
        open_set: the classes may be replaced when the model is used.
        thresholds: the rule that turns scores into predictions; empty for the default rule.
        bundle_sha256: hash of the bundle that the file was exported from, as hexadecimal digits.
        tool_version: version of tao_like that wrote the file.
        extra: further values of the task.
        schema_version: version of this list of fields.
    """

    task: str
    inputs: dict[str, InputMetadata]
    prediction: str
    outputs: dict[str, str]
    classes: list[str]
    prompts: dict[str, list[str]]
    open_set: bool
    thresholds: dict[str, Any]
    bundle_sha256: str
    tool_version: str
    extra: dict[str, Any]
    schema_version: int

    def __init__(
        self,
        *,
        task: str,
        outputs: dict[str, str],
        inputs: dict[str, InputMetadata] | None = None,
        prediction: str | None = None,
        classes: list[str] | None = None,
        prompts: dict[str, list[str]] | None = None,
        open_set: bool = False,
        thresholds: dict[str, Any] | None = None,
        bundle_sha256: str = "",
        tool_version: str = "",
        extra: dict[str, Any] | None = None,
        schema_version: int = SCHEMA_VERSION,
        **single_input: Any,
    ) -> None:
        """Refuse values of the wrong type or without meaning, with a BundleError."""
        values = {
            "task": task,
            "inputs": _with_single_input(inputs, single_input),
            "prediction": prediction if prediction is not None else _prediction_of(task),
            "outputs": outputs,
            "classes": [] if classes is None else classes,
            "prompts": {} if prompts is None else prompts,
            "open_set": open_set,
            "thresholds": {} if thresholds is None else thresholds,
            "bundle_sha256": bundle_sha256,
            "tool_version": tool_version,
            "extra": {} if extra is None else extra,
            "schema_version": schema_version,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        for name in ("task", "prediction", "bundle_sha256", "tool_version"):
            _require(isinstance(getattr(self, name), str), name, "a text")
        for name in ("inputs", "outputs", "prompts", "thresholds", "extra"):
            _require(isinstance(getattr(self, name), dict), name, "an object")
        _require(bool(self.inputs), "inputs", "an object with one input or more")
        _require(
            all(isinstance(value, InputMetadata) for value in self.inputs.values()), "inputs", "InputMetadata"
        )
        _require(_are_texts(self.classes), "classes", "a list of texts")
        _require(len(set(self.classes)) == len(self.classes), "classes", "a list without repetitions")
        _require(all(_are_texts(texts) for texts in self.prompts.values()), "prompts", "lists of texts")
        _require(set(self.prompts) <= set(self.classes), "prompts", "of names that stand in classes")
        _require(isinstance(self.open_set, bool), "open_set", "true or false")
        _require(_are_texts(list(self.outputs.values())), "outputs", "an object of texts")
        version_fits = type(self.schema_version) is int and self.schema_version == SCHEMA_VERSION
        _require(version_fits, "schema_version", f"{SCHEMA_VERSION}")

    @property
    def only_input(self) -> InputMetadata:
        """The input of a model that has one.

        Raises:
            BundleError: it has several.
        """
        if len(self.inputs) != 1:
            raise BundleError(f"the model has {len(self.inputs)} inputs ({', '.join(self.inputs)}), not one.")
        return next(iter(self.inputs.values()))

    def input_of(self, kind: str) -> InputMetadata:
        """The first input of a kind.

        Raises:
            BundleError: there is none.
        """
        for one in self.inputs.values():
            if one.kind == kind:
                return one
        raise BundleError(f"the model's metadata has no input of the kind {kind}.")

    @property
    def kind(self) -> str:
        """Kind of the only input."""
        return self.only_input.kind

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Preprocessing of the only input."""
        return self.only_input.preprocessing

    @property
    def preparation(self) -> dict[str, Any]:
        """Another name for `preprocessing`."""
        return self.only_input.preprocessing

    @property
    def input_format(self) -> str:
        """Form of the only input."""
        return self.only_input.input_format

    @property
    def mean(self) -> list[float]:
        """Mean of each channel of the only input."""
        return self.only_input.mean

    @property
    def std(self) -> list[float]:
        """Standard deviation of each channel of the only input."""
        return self.only_input.std

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the text that stands under `METADATA_KEY` in the ONNX file.

        Raises:
            BundleError: a value inside one of the dictionaries has no place in JSON, such as NaN.
        """
        try:
            return json.dumps(self.to_dict(), allow_nan=False, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise BundleError(f"the model's metadata cannot be written as JSON: {error}.") from error

    @classmethod
    def from_json(cls, text: str) -> ModelMetadata:
        """Read what `to_json` wrote, also that of schema 1.

        Raises:
            BundleError: the text is no such JSON, is of a newer schema, or misses or adds a field.
        """
        try:
            values = json.loads(text, parse_constant=refuse_constant)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"the model's metadata is not valid JSON: {error}.") from error
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: object) -> ModelMetadata:
        """Read what `to_dict` gave. Raises as `from_json`."""
        if not isinstance(values, dict):
            raise BundleError("the model's metadata is not a JSON object.")
        version = values.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise BundleError(
                f"the model's metadata is of schema {version}, and this tao_like reads up to "
                f"{SCHEMA_VERSION}; update tao_like."
            )
        if "schema_version" in values:
            known = type(version) is int and version >= 1
            _require(known, "schema_version", f"1 to {SCHEMA_VERSION}")
        for name, value in values.items():
            _require(value is not None, name, "given, not null")
        if version == 1:
            _check_fields(values, set(_SCHEMA_1), "the model's metadata")
            return cls(**{**values, "schema_version": SCHEMA_VERSION})
        _check_fields(values, {one.name for one in fields(cls)}, "the model's metadata")
        _require(isinstance(values["inputs"], dict), "inputs", "an object")
        inputs = {name: InputMetadata.from_dict(name, value) for name, value in values["inputs"].items()}
        return cls(**{**values, "inputs": inputs})


def read_metadata(properties: Mapping[str, str]) -> ModelMetadata:
    """Read the metadata out of an ONNX file's ``metadata_props``.

    Raises:
        BundleError: the file was not exported by tao_like, or `ModelMetadata.from_json` refuses it.
    """
    if METADATA_KEY not in properties:
        raise BundleError(
            f"it was not exported by tao_like (its metadata has no key {METADATA_KEY!r}); "
            "make one with `tao-like <task> export`."
        )
    return ModelMetadata.from_json(properties[METADATA_KEY])


def refuse_constant(text: str) -> NoReturn:
    """For JSON's parser: NaN and infinities are no numbers here."""
    raise ValueError(f"{text} is not a number")


def _with_single_input(
    inputs: dict[str, InputMetadata] | None, given: Mapping[str, Any]
) -> dict[str, InputMetadata]:
    """The inputs, where values of the only one may be given by themselves."""
    unknown = sorted(set(given).difference(_SINGLE_INPUT))
    if unknown:
        raise TypeError(f"ModelMetadata has no field {', '.join(unknown)}")
    values = dict(given)
    if "preparation" in values:
        values["preprocessing"] = values.pop("preparation")
    if inputs is None:
        values.setdefault("kind", "image")
        missing = sorted({one.name for one in fields(InputMetadata)}.difference(values))
        _require(not missing, "inputs", f"given, or else {', '.join(missing)} of the only input")
        return {str(values["kind"]): InputMetadata(**values)}
    if values and len(inputs) == 1:
        return {name: replace(one, **values) for name, one in inputs.items()}
    _require(not values, "inputs", f"one, where {', '.join(values)} is given beside it")
    return inputs


def _prediction_of(task: object) -> str:
    """The kind of prediction of a task that does not say it."""
    _require(isinstance(task, str), "task", "a text")
    if task not in PREDICTION_OF_TASK:
        raise BundleError(
            f"it is a model for the task {task!r} without a kind of prediction, and this runtime knows "
            f"{', '.join(PREDICTION_OF_TASK)}; update tao_like."
        )
    return PREDICTION_OF_TASK[str(task)]


def _check_fields(values: Mapping[str, Any], known: set[str], name: str) -> None:
    different = sorted(known.symmetric_difference(values))
    if different:
        raise BundleError(f"{name} misses or adds the fields {', '.join(different)}.")


def _require(holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise BundleError(f"the model's metadata is wrong: {name} must be {rule}.")


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )
