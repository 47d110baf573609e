"""A job's spec: laid together from data set, parent and request, and checked, its paths too."""

from __future__ import annotations

import copy
import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tao_like import tasks
from tao_like.config.loading import given_values, load_spec, load_spec_text
from tao_like.config.structure import Block, describe, join
from tao_like.errors import Problem, SpecError
from tao_like.jobs.folder import JobFolder
from tao_like.jobs.job import Dataset, Job
from tao_like.runtime.pipeline_file import PIPELINE_FILE
from tao_like.service.problems import ApiError
from tao_like.service.settings import Settings
from tao_like.stages.lib.folders import BUNDLE_NAME

_OUTPUTS = ("results_dir", "onnx_file", "pruned_file")
"""Keys that say where a stage writes."""
_SCHEMES = ("package:", "timm", "hf_hub:", "hf-hub:")
_GIVEN = "spec"


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """One spec laid on another: blocks key by key, all else whole."""
    result = copy.deepcopy(dict(base))
    for name, value in over.items():
        former = result.get(name)
        both = isinstance(former, dict) and isinstance(value, Mapping)
        result[name] = merged(former, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return result


def task_spec(task: str, action: str) -> Any:
    """The spec module of a task that has an action.

    Raises:
        ApiError: there is no such task or action.
    """
    try:
        module = tasks.spec_module(task)
    except SpecError as error:
        raise ApiError(422, str(error), [Problem("task", _GIVEN, 0, str(error))]) from error
    if action not in actions_of(module):
        text = f"there is no action {action!r} of {task}; it has {', '.join(actions_of(module))}"
        raise ApiError(422, text, [Problem("action", _GIVEN, 0, text)])
    return module


def actions_of(module: Any) -> list[str]:
    """What a task can do."""
    return [*module.STAGES, *(["automl"] if "train" in module.STAGES else [])]


def given_spec(task: str, action: str, specs: Mapping[str, Any], text: str | None) -> dict[str, Any]:
    """The keys of a request, checked by themselves, so that an error names the line of a YAML text.

    Raises:
        ApiError: both forms were given. SpecError: keys or values are wrong.
    """
    spec_class = task_spec(task, action).Spec
    if text is None:
        _refuse_execution(load_spec(spec_class, specs).given)
        return dict(specs)
    if specs:
        raise ApiError(422, "specs and spec_yaml are both given; give one of them")
    _refuse_execution(load_spec_text(spec_class, text, Path("spec_yaml")).given)
    return given_values(spec_class, text, "spec_yaml")


def _refuse_execution(given: frozenset[str]) -> None:
    """Where jobs run, and by which options of an engine, is no client's to say. Raises SpecError."""
    if any(key.partition(".")[0] == "execution" for key in given):
        problem = Problem("execution", _GIVEN, 0, "the server says where jobs run; leave it out")
        raise SpecError(str(problem), problems=[problem])


def composed(
    task: str,
    action: str,
    given: Mapping[str, Any],
    *,
    settings: Settings,
    dataset: Dataset | None = None,
    parent: tuple[Job, Mapping[str, Any]] | None = None,
    models: Sequence[str] = (),
) -> dict[str, Any]:
    """The whole spec of a job.

    Args:
        task, action: the command.
        given: what the request says.
        settings: have the roots.
        dataset: gives the keys that suit it.
        parent: the job before and its spec; its model is what the action takes.
        models: files to compare, in place of the parent's model.

    Raises:
        ApiError: data set or parent do not fit, or the parent has left no model.
        SpecError: the spec is wrong, or a path lies outside the roots.
    """
    spec: dict[str, Any] = {}
    for name, other in (("data set", dataset), ("parent", parent[0] if parent else None)):
        if other is not None and other.task != task:
            raise ApiError(422, f"the {name} is one of {other.task}, and the job one of {task}")
    if parent is not None:
        spec = merged(spec, parent[1])
        for block in spec.values():
            if isinstance(block, dict):
                for key in ("checkpoint", "checkpoints", *_MODEL_KEYS):
                    block.pop(key, None)
    if dataset is not None:
        if dataset.status != "ready":
            raise ApiError(409, f"the data set cannot be used: {dataset.message}")
        spec = merged(spec, _for_epochs(dataset.spec, given))
    if models:
        if action != "compare":
            raise ApiError(422, f"model_ids: {action} takes none; they are for compare")
        spec = merged(spec, {"compare": {"checkpoints": list(models)}})
    elif parent is not None:
        spec = merged(spec, _with_model(action, parent[0], settings))
    spec = merged(spec, given)
    spec.pop("results_dir", None)
    # `${results_dir}` in a path is looked at as it will be: in a folder as deep as the job's own.
    placed = {**spec, "results_dir": str(JobFolder(settings.jobs / "any").results)}
    loaded = load_spec(tasks.spec_module(task).Spec, placed).spec
    check_paths(loaded, settings)
    return spec


def _for_epochs(suggested: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is suggested for data, validated within the epochs that the request gives, where it gives some."""
    asked, train = given.get("train"), suggested.get("train") or {}
    epochs = asked.get("num_epochs") if isinstance(asked, Mapping) else None
    if not isinstance(epochs, int) or not 0 < epochs < train.get("validation_interval", 1):
        return suggested
    return {**suggested, "train": {**train, "validation_interval": epochs}}


_MODEL_KEYS = ("pretrained_model_path", "pruned_model_path", "resume_training_checkpoint_path")


def _with_model(action: str, parent: Job, settings: Settings) -> dict[str, Any]:
    """The keys by which an action takes its parent's model."""
    if action in ("dataset_check", "dataset_convert", "kmeans", "automl"):
        return {}
    results = JobFolder(settings.jobs / parent.id).results
    model = model_of(results, parent.action)
    if model is None:
        raise ApiError(409, f"the parent ({parent.action}, {parent.status.value}) has left no model to take")
    if action == "train":
        key = "pruned_model_path" if parent.action == "prune" else "pretrained_model_path"
        return {"train": {key: str(model)}}
    if action == "compare":
        return {"compare": {"checkpoints": [str(model)]}}
    return {action: {"checkpoint": str(model)}}


def model_of(results: Path, action: str) -> Path | None:
    """The model that a stage has left: its bundle, else its ONNX file, else its folder of several graphs."""
    folder = results / action
    pipelines = sorted(path.parent for path in folder.glob(f"*/{PIPELINE_FILE}"))
    found = [*folder.glob(BUNDLE_NAME), *sorted(folder.glob("*.onnx")), *pipelines]
    return found[0] if found else None


# --- paths ---


def check_paths(spec: Any, settings: Settings) -> None:
    """Hold every path of a spec within the roots.

    Raises:
        SpecError: names all that lie outside, and keys that say where to write.
    """
    problems = []
    for key, value in path_values(spec):
        name = key.rpartition(".")[2].partition("[")[0]
        if name in _OUTPUTS:
            if key != "results_dir":
                problems.append(Problem(key, _GIVEN, 0, "the server says where results go; leave it out"))
        elif not is_allowed(value, settings):
            roots = ", ".join(map(str, settings.allowed_roots))
            text = f"{value} lies outside of the folders that this server may use: {roots}"
            problems.append(Problem(key, _GIVEN, 0, text))
    if problems:
        raise SpecError("\n".join(map(str, problems)), problems=problems)


def is_allowed(value: str, settings: Settings) -> bool:
    """Whether a path lies below a root, once links and ``..`` are resolved."""
    if value.startswith(_SCHEMES) and "/" not in value.partition(":")[0]:
        return ".." not in value
    try:
        return _lies_below(Path(value).expanduser(), settings)
    except (OSError, RuntimeError, ValueError):  # a name that no file can have, or a home of nobody
        return False


def _lies_below(path: Path, settings: Settings) -> bool:
    # A job's working folder is its own; what is relative lies there.
    path = path if path.is_absolute() else settings.jobs / "any" / path
    fixed = path
    for parent in (path, *path.parents):
        if glob.has_magic(parent.name):
            fixed = parent.parent
    if ".." in path.parts[len(fixed.parts) :]:
        return False
    resolved = fixed.resolve()
    return any(resolved.is_relative_to(root) for root in settings.allowed_roots)


def path_values(spec: Any) -> Iterator[tuple[str, str]]:
    """Every path in a spec, with its dotted key; those without a value are left out."""
    yield from _paths_of(describe(type(spec)), spec, "")


def _paths_of(block: Block, values: Any, path: str) -> Iterator[tuple[str, str]]:
    for name, member in block.members.items():
        key, value = join(path, name), getattr(values, name)
        if member.kind.block is not None:
            yield from _paths_of(describe(member.kind.block), value, key)
        elif member.kind.element is not None and member.kind.element.block is not None:
            for number, element in enumerate(value or []):
                yield from _paths_of(describe(member.kind.element.block), element, f"{key}[{number}]")
        elif member.rule.path:
            yield from _texts(value, key)


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if value and value != "???":
            yield key, value
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _texts(item, f"{key}[{number}]")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, f"{key}.{name}")
