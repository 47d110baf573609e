"""The controller: asks Optuna for values, trains with them as jobs, and tells it how they did."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_like.automl import population
from tao_like.automl.algorithms import below_threshold, distributions, number_of_trials
from tao_like.automl.space import Parameter, laid_on
from tao_like.config import to_dict
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.metrics import Goal
from tao_like.errors import TaoLikeError
from tao_like.jobs import told
from tao_like.jobs.command import last_checkpoint, submission
from tao_like.jobs.executors.base import Executor
from tao_like.jobs.folder import JobFolder
from tao_like.jobs.placement import placement_of
from tao_like.tracking import Progress, Run

if TYPE_CHECKING:
    import optuna

TRIALS = "trials"
_PAUSE_SECONDS = 0.2
_FAILURES = 3
"""So many trials that fail before one has succeeded end the search."""


@dataclass
class Running:
    """A trial at work.

    Attributes:
        trial: Optuna's.
        folder: its job's; attempt: of it.
        byte: of the events that were read.
        epoch: the last one that was told; value: its metric.
        stopped: it was asked to end, since it is weak.
    """

    trial: optuna.Trial
    folder: JobFolder
    attempt: int
    byte: int = 0
    epoch: int = 0
    value: float = math.nan
    stopped: bool = False


@dataclass
class Search:
    """A search at work.

    Attributes:
        study: Optuna's.
        spec: the resolved spec of the trainings; task: its name.
        parameters: what is varied.
        goal: the metric, on the validation data.
        run: is told; executor: runs the trainings.
        cwd: the folder that relative paths of the spec begin in.
        options: of each training's command line, beside its spec.
    """

    study: optuna.Study
    spec: CommonSpec
    task: str
    parameters: Sequence[Parameter]
    goal: Goal
    run: Run
    executor: Executor
    cwd: Path
    options: Sequence[str] = ()
    running: list[Running] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def carry_out(self) -> None:
        """Run all trials; those of a search that was broken off go on.

        Raises:
            TaoLikeError: the first trials have all failed, with the last one's reason.
        """
        wanted = number_of_trials(self.spec.automl, self.parameters, self.spec.train.num_epochs)
        self._take_up()
        try:
            with self.run.progress("automl", wanted) as bar:
                bar.advance(self._begun() - len(self.running))
                for until in self._rounds(wanted):
                    self._carry_out(until, bar)
        finally:
            # Broken off: nothing may go on that nobody looks after. What they have done is kept.
            for one in self.running:
                self.executor.cancel(one.folder, one.attempt, kill=True)

    def _rounds(self, wanted: int) -> Iterator[int]:
        """The number of trials after which all must have ended before others are thought of."""
        if self.spec.automl.algorithm != "pbt":
            yield wanted
            return
        size = self.spec.automl.population_size
        for number in range(wanted // size):
            if number:
                self._carry_out(number * size, None)  # of a search that was broken off
            population.enqueue(self.study, self.spec.automl, self.parameters, number, self.goal)
            yield (number + 1) * size

    def _carry_out(self, until: int, bar: Progress | None) -> None:
        """Run trials until so many have begun and all have ended."""
        while True:
            while len(self.running) < self.spec.automl.max_concurrent and self._more(until):
                self._begin(self.study.ask(distributions(self.parameters)))
            if not self.running:
                return
            before = len(self.running)
            self.running = [one for one in self.running if not self._is_over(one)]
            if bar is not None:
                bar.advance(before - len(self.running))
            if len(self.running) == before:
                time.sleep(_PAUSE_SECONDS)

    # --- one trial ---

    def _more(self, wanted: int) -> bool:
        return self._begun() < wanted

    def _begun(self) -> int:
        """Trials that have begun; those of a grid wait in the study from the beginning."""
        import optuna

        waiting = optuna.trial.TrialState.WAITING
        return sum(trial.state is not waiting for trial in self.study.get_trials(deepcopy=False))

    def _take_up(self) -> None:
        """Go on with what a broken-off search has left: its trials that had not ended."""
        import optuna

        for frozen in self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            trial = optuna.trial.Trial(self.study, frozen._trial_id)
            attempt = int(frozen.user_attrs.get("attempt", 0))
            told_before = max(frozen.intermediate_values, default=0)
            one = Running(trial, self._folder(frozen.number), attempt, epoch=told_before)
            if attempt == 0 or self.executor.status(one.folder, attempt).state in ("lost", "ended"):
                ended = one.folder.exit(attempt) if attempt else None
                if ended is None or ended.code != 0:
                    self._submit(one, resume=True)
            self.running.append(one)
            self.run.info(f"trial {frozen.number} goes on")

    def _folder(self, number: int) -> JobFolder:
        return JobFolder(self.run.folder / TRIALS / f"{number:04d}")

    def _begin(self, trial: optuna.Trial) -> None:
        shown = ", ".join(f"{key.rpartition('.')[2]} {_short(value)}" for key, value in trial.params.items())
        self.run.info(f"trial {trial.number}: {shown}")
        one = Running(trial, self._folder(trial.number), 0)
        self._submit(one, resume=False)
        self.running.append(one)

    def _submit(self, one: Running, *, resume: bool) -> None:
        one.attempt += 1
        # First the note: whoever goes on must not take an attempt for a new one.
        one.trial.set_user_attr("attempt", one.attempt)
        spec = laid_on(to_dict(self.spec), one.trial.params)
        # The trial is placed here; its own process runs where it was placed.
        del spec["automl"], spec["execution"]
        spec["train"] = {**spec["train"], "results_dir": None, **self._round_of(one)}
        work = submission(
            one.folder,
            one.attempt,
            self.task,
            "train",
            spec,
            options=self.options,
            resume=resume,
            environment=self.spec.execution.environment,
            cwd=self.cwd,
            placement=placement_of(self.spec, "train"),
        )
        self.executor.submit(work)

    def _round_of(self, one: Running) -> dict[str, Any]:
        """For pbt: where the member's round ends, and the checkpoint that it goes on from."""
        if self.spec.automl.algorithm != "pbt":
            return {}
        attributes = one.trial.user_attrs
        found: dict[str, Any] = {"stop_epoch": (attributes["round"] + 1) * self.spec.automl.eval_interval}
        if attributes["from"] is not None:
            checkpoint = last_checkpoint(self._folder(attributes["from"]))
            found["resume_training_checkpoint_path"] = str(checkpoint) if checkpoint else None
            found["changes_on_resume"] = [parameter.key for parameter in self.parameters]
        return found

    def _is_over(self, one: Running) -> bool:
        """Tell Optuna what a trial has told since, and how it ended; whether it has."""
        seen = self.executor.status(one.folder, one.attempt)
        self._hear(one)
        if seen.state in ("queued", "starting", "running"):
            return False
        if seen.exit is not None and seen.exit.code == 0:
            self._succeeded(one)
        elif one.stopped:
            self._tell(one, "PRUNED")
            self.run.info(
                f"trial {one.trial.number} ended early at epoch {one.epoch}: {self._shown(one.value)}"
            )
        else:
            self._failed(one)
        return True

    def _hear(self, one: Running) -> None:
        name = f"val_{self.goal.metric}"
        for line in _new_lines(one):
            values, epoch = line.get("values"), line.get("epoch")
            if line.get("event") != "metric" or not epoch or not isinstance(values, dict):
                continue
            value = values.get(name)
            if not isinstance(value, int | float) or epoch <= one.epoch:
                continue  # not validated in this epoch, or told again by a training that was resumed
            one.epoch, one.value = int(epoch), float(value)
            one.trial.report(one.value, one.epoch)
            if not one.stopped and self._is_weak(one):
                one.stopped = True
                self.executor.cancel(one.folder, one.attempt, kill=True)

    def _is_weak(self, one: Running) -> bool:
        if one.epoch >= self.spec.train.num_epochs:
            return False  # it is done anyway
        maximize = self.goal.higher_is_better
        threshold = below_threshold(self.spec.automl, one.epoch, one.value, maximize=maximize)
        return threshold or one.trial.should_prune()

    def _succeeded(self, one: Running) -> None:
        report = one.folder.results / "train" / "report.json"
        value = json.loads(report.read_text(encoding="utf-8"))["metrics"].get(self.goal.metric)
        if value is None:
            self._failed(one, f"the training reports no {self.goal.metric}; it needs validation data")
            return
        one.value = float(value)
        self._tell(one, "COMPLETE")
        self.failed.clear()
        best = self.study.best_trial
        best_text = (
            "the best so far" if best.number == one.trial.number else f"the best is {self._shown(best.value)}"
        )
        self.run.info(f"trial {one.trial.number}: {self._shown(one.value)}, {best_text}")
        self.run.status(
            f"trial {one.trial.number} done",
            kpi={self.goal.metric: one.value, f"best_{self.goal.metric}": float(best.value or 0.0)},
            trial=one.trial.number,
        )

    def _failed(self, one: Running, reason: str = "") -> None:
        reason = reason or told.failure(one.folder, 0.0) or "it was killed"
        self._tell(one, "FAIL")
        self.run.warning(f"trial {one.trial.number} failed: {reason}")
        self.failed.append(reason)
        if len(self.failed) >= _FAILURES and not _complete(self.study):
            raise TaoLikeError(f"the first {len(self.failed)} trials have failed, the last one so: {reason}")

    def _tell(self, one: Running, state: str) -> None:
        import optuna

        values = one.value if state == "COMPLETE" else None
        self.study.tell(one.trial, values, state=optuna.trial.TrialState[state])

    def _shown(self, value: float | None) -> str:
        return f"{self.goal.metric} {value:.4f}" if value is not None else "no value"


def _complete(study: optuna.Study) -> list[Any]:
    import optuna

    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def _new_lines(one: Running) -> list[dict[str, Any]]:
    """Whole lines of a trial's events that were not read yet."""
    try:
        with one.folder.events.open("rb") as file:
            file.seek(one.byte)
            data = file.read()
    except FileNotFoundError:
        return []
    data = data[: data.rfind(b"\n") + 1]
    one.byte += len(data)
    return [json.loads(line) for line in data.splitlines()]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
