"""``tao-like <task> automl``: a search from a spec, in a run folder like that of a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_like import tasks
from tao_like.config import load_spec, to_yaml
from tao_like.errors import SpecError
from tao_like.stages.lib.folders import stage_folder
from tao_like.stages.results import StageResult
from tao_like.tracking import Events, Run, event_file, process_state_kept

if TYPE_CHECKING:
    from rich.console import Console

AUTOML = "automl"


def run_automl(
    task: str,
    spec: str | Path | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    *,
    options: Sequence[str] = (),
    console: Console | None = None,
    debug: bool = False,
    events: Events | None = None,
) -> StageResult:
    """Search for hyper-parameters; the arguments are those of a stage.

    Args:
        task, spec, overrides, console, debug, events: as of a stage.
        options: of the command line of each training, beside its spec.

    Raises:
        SpecError: Optuna is not installed, or the spec is wrong. TaoLikeError: no trial succeeded.
    """
    for name in ("optuna", "scipy"):
        if find_spec(name) is None:
            raise SpecError(f"automl needs {name}; pip install 'tao_like[automl]'")
    with process_state_kept():
        module = tasks.spec_module(task)
        loaded = load_spec(module.Spec, Path(spec) if isinstance(spec, str | Path) else spec, overrides)
        run = Run(
            stage_folder(loaded.spec, AUTOML),
            task=task,
            stage=AUTOML,
            spec_yaml=to_yaml(loaded.spec),
            console=console,
            debug=debug,
            events=[listener for listener in (events, event_file()) if listener is not None],
        )
        with run:
            for note in loaded.notes:
                run.info(note)
            return _search(run, task, loaded.spec, loaded.given, options)


def _search(run: Run, task: str, spec: Any, given: frozenset[str], options: Sequence[str]) -> StageResult:
    from tao_like.automl.algorithms import open_study
    from tao_like.automl.outcome import write_outcome
    from tao_like.automl.population import check_parameters
    from tao_like.automl.search import Search
    from tao_like.automl.space import parameters_of
    from tao_like.jobs.executors import executor_of
    from tao_like.stages.lib.scoring import last_phase

    parameters = parameters_of(spec, given)
    if spec.automl.algorithm == "pbt":
        check_parameters(parameters)
    for parameter in parameters:
        run.info(f"varies {parameter.text()}")
    worker = tasks.task_class(task)(spec)
    if not worker.data.has("val"):
        raise SpecError("automl chooses by validation data, and the spec names none")
    goal = last_phase(worker).goal
    study = open_study(
        run.folder, spec.automl, parameters, spec.train.num_epochs, maximize=goal.higher_is_better
    )
    executor = executor_of(spec.execution)
    search = Search(study, spec, task, parameters, goal, run, executor, Path.cwd(), options)
    search.carry_out()
    report = write_outcome(search)
    run.report(report)
    best = report["best"]
    shown = ", ".join(f"{key}={value}" for key, value in best["parameters"].items())
    summary = [
        f"Best of {len(study.trials)} trials: {goal.metric} {best['value']:.4f} on val, with {shown}",
        f"Its bundle: {report['bundle']}. Its spec: {report['spec']}. All: {run.folder / 'trials.csv'}",
    ]
    run.status("automl done", kpi=report["metrics"])
    for line in summary:
        run.info(line)
    return StageResult(AUTOML, run.folder, report, summary)
