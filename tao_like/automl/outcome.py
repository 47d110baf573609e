"""What a search leaves: a table, images of history and importance, the best spec and bundle."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_like.automl.search import TRIALS, Search
from tao_like.errors import TaoLikeError
from tao_like.plots.charts import Line, Panel, draw_bars, draw_panels
from tao_like.stages.lib.folders import BUNDLE_NAME
from tao_like.tracking import Run
from tao_like.tracking.files import csv_cell

if TYPE_CHECKING:
    import optuna
    from PIL.Image import Image

TABLE = "trials.csv"
BEST_SPEC = "best_spec.yaml"
_FEWEST_FOR_IMPORTANCE = 4


def write_outcome(search: Search) -> dict[str, Any]:
    """Write all of it into the run's folder, and give the report.

    Raises:
        TaoLikeError: no trial has come to its end.
    """
    import optuna

    study, run = search.study, search.run
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state is optuna.trial.TrialState.COMPLETE]
    with run.artefact(TABLE) as path:
        path.write_text(_table(search, trials), encoding="utf-8")
    if not done:
        raise TaoLikeError(f"no trial has come to its end; {run.folder / TABLE} says how each fared")
    best = study.best_trial
    folder = run.folder / TRIALS / f"{best.number:04d}"
    _copy(run, folder / "results" / "train" / "spec.yaml", BEST_SPEC)
    _copy(run, folder / "results" / "train" / BUNDLE_NAME, BUNDLE_NAME)
    importance = _importance(study, len(done))
    figures = {"history.png": _history(search, trials)}
    if importance:
        figures["importance.png"] = draw_bars(
            list(importance), list(importance.values()), "Fraction of the metric's variance", most=1.0
        )
    for name, figure in figures.items():
        with run.artefact(name) as path:
            figure.save(path)
    return {
        "metric": search.goal.metric,
        "split": "val",
        "best": {"trial": best.number, "value": best.value, "parameters": best.params},
        "trials": {
            state.name.lower(): sum(t.state is state for t in trials) for state in optuna.trial.TrialState
        },
        "epochs": sum(len(trial.intermediate_values) for trial in trials),
        "importance": importance,
        "bundle": str(run.folder / BUNDLE_NAME),
        "spec": str(run.folder / BEST_SPEC),
        "pictures": list(figures),
        "metrics": json.loads((folder / "results" / "train" / "report.json").read_text("utf-8"))["metrics"],
    }


def _copy(run: Run, source: Path, name: str) -> None:
    with run.artefact(name) as path:
        shutil.copyfile(source, path)


def _table(search: Search, trials: list[optuna.trial.FrozenTrial]) -> str:
    text = io.StringIO()
    keys = [one.key for one in search.parameters]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", search.goal.metric, "epochs", "seconds", *keys])
    for trial in trials:
        seconds = trial.duration.total_seconds() if trial.duration else None
        value = trial.value if trial.value is not None else _last(trial)
        cells = [trial.number, trial.state.name.lower(), value, len(trial.intermediate_values)]
        shown = [None if seconds is None else round(seconds, 1), *(trial.params.get(key) for key in keys)]
        writer.writerow([csv_cell(cell) for cell in (*cells, *shown)])
    return text.getvalue()


def _last(trial: optuna.trial.FrozenTrial) -> float | None:
    values = trial.intermediate_values
    return values[max(values)] if values else None


def _importance(study: optuna.Study, done: int) -> dict[str, float]:
    """Each parameter's fraction; empty where there are too few trials, or all came to the same."""
    import optuna

    if done < _FEWEST_FOR_IMPORTANCE:
        return {}
    try:
        return dict(optuna.importance.get_param_importances(study))
    except (RuntimeError, ValueError):
        return {}


def _history(search: Search, trials: list[optuna.trial.FrozenTrial]) -> Image:
    """Value of each trial, and the best so far; beside it each trial's curve."""
    import optuna

    better = max if search.goal.higher_is_better else min
    numbers: list[float] = []
    values: list[float] = []
    best: list[float] = []
    for trial in trials:
        if trial.state is optuna.trial.TrialState.COMPLETE and trial.value is not None:
            numbers.append(float(trial.number))
            values.append(trial.value)
            best.append(trial.value if not best else better(best[-1], trial.value))
    curves = [
        Line("", sorted(trial.intermediate_values), [v for _, v in sorted(trial.intermediate_values.items())])
        for trial in trials
        if trial.intermediate_values
    ]
    metric = f"{search.goal.metric} on val"
    first = Panel(
        "Trials",
        [Line("trial", numbers, values, dots=True, width=0.5), Line("best so far", numbers, best)],
        "trial",
        metric,
        whole_x=True,
    )
    panels = [first, *([Panel("Each trial", curves, "epoch", metric, whole_x=True)] if curves else [])]
    return draw_panels(panels, columns=2)
