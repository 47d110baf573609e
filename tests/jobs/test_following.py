"""Following a job that an executor has, without a process: every state that an engine can tell."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from tao_like.cli.jobs import jobs
from tao_like.cli.main import cli
from tao_like.config import to_dict
from tao_like.config.blocks.execution import ExecutionSpec
from tao_like.errors import SpecError, TaoLikeError
from tao_like.jobs import attached
from tao_like.jobs.attached import AttachedJob, follow
from tao_like.jobs.executors import LocalExecutor, Seen, Submission
from tao_like.jobs.folder import Exit, JobFolder


class Told:
    """An executor whose engine says one thing after the other, and the last one for ever."""

    name = "told"

    def __init__(self, *states: Seen | type[BaseException], log: bytes = b"") -> None:
        self.states = list(states)
        self.text = log
        self.cancelled: list[bool] = []
        self.submitted: list[Submission] = []
        self.refusal: TaoLikeError | None = None

    def submit(self, submission: Submission) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.submitted.append(submission)

    def status(self, folder: JobFolder, attempt: int) -> Seen:
        del folder, attempt
        now = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(now, Seen):
            return now
        raise now

    def logs(self, folder: JobFolder, offset: int = 0) -> bytes:
        del folder
        return self.text[offset:]

    def cancel(self, folder: JobFolder, attempt: int, *, kill: bool = False) -> None:
        del folder, attempt
        self.cancelled.append(kill)


def ended(code: int) -> Seen:
    return Seen("ended", Exit(1, code, 0.0, 1.0))


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AttachedJob]:
    monkeypatch.setattr(attached, "_PAUSE_SECONDS", 0.0)

    def make(*states: Seen | type[BaseException], log: bytes = b"") -> AttachedJob:
        return AttachedJob(JobFolder(tmp_path), Told(*states, log=log))

    return make


def tell(folder: Path, *lines: dict[str, Any] | str) -> None:
    with (folder / "events.jsonl").open("a") as file:
        for line in lines:
            file.write((line if isinstance(line, str) else json.dumps(line)) + "\n")


def bar(done: int, total: int, **values: Any) -> dict[str, Any]:
    return {"event": "progress", "description": "epoch 1", "done": done, "total": total, "values": values}


def followed(job: AttachedJob, *, terminal: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, force_interactive=terminal, width=120)
    return follow(job, console), out.getvalue()


def test_what_a_run_says_is_shown_once_and_its_code_is_given(
    job: Callable[..., AttachedJob], tmp_path: Path
) -> None:
    tell(
        tmp_path,
        {"event": "log", "level": "info", "text": "eleven images"},
        "{half a li",
        "[1, 2]",
        {"event": "log", "level": "warning", "text": "one is gray"},
        {"event": "metrics", "values": {}},
    )
    waits = Seen("queued", note="waits for a machine")
    code, out = followed(job(waits, waits, Seen("running"), ended(0)))
    assert code == 0
    assert out.splitlines() == ["eleven images", "warning: one is gray", "waits for a machine"]


def test_a_line_that_is_half_written_waits_for_its_end(
    job: Callable[..., AttachedJob], tmp_path: Path
) -> None:
    whole = json.dumps({"event": "log", "level": "info", "text": "all of it"})
    events = tmp_path / "events.jsonl"
    events.write_text(whole[:10])
    running = job(ended(0))
    assert followed(running) == (0, "")
    events.write_text(whole + "\n")
    assert followed(running)[1] == "all of it\n"


def test_progress_is_a_bar_on_a_terminal_and_a_line_now_and_then_elsewhere(
    job: Callable[..., AttachedJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(tmp_path, bar(1, 4, loss=1.23456, step=7), bar(2, 4), bar(4, 4), bar(1, 3))
    assert followed(job(ended(0))) == (0, "")  # less than half a minute
    monkeypatch.setattr(attached, "_LINE_SECONDS", 0.0)
    lines = followed(job(ended(0)))[1].splitlines()
    assert lines == [
        "epoch 1: 1 of 4 loss=1.235 step=7",
        "epoch 1: 2 of 4",
        "epoch 1: 4 of 4",
        "epoch 1: 1 of 3",
    ]
    code, drawn = followed(job(ended(0)), terminal=True)
    assert code == 0
    assert "epoch 1" in drawn


@pytest.mark.parametrize(("code", "shell"), [(3, 3), (-9, 137)])
def test_a_failure_is_told_in_its_own_words(
    job: Callable[..., AttachedJob], tmp_path: Path, code: int, shell: int
) -> None:
    tell(tmp_path, {"event": "status", "status": "FAILURE", "message": "the disk is full", "time": 1.0})
    failed = job(ended(code))
    assert followed(failed) == (shell, "error: the disk is full\n")
    assert failed.state() == f"failed: the disk is full (exit code {code})"


def test_a_failure_without_words_ends_in_the_last_line_of_the_log(
    job: Callable[..., AttachedJob], tmp_path: Path
) -> None:
    assert job(ended(1), log=b"first\nKilled\n").failure() == "Killed"
    assert str(tmp_path) in job(ended(1)).failure()


def test_states_are_sentences(job: Callable[..., AttachedJob], tmp_path: Path) -> None:
    tell(tmp_path, {"event": "status", "status": "RUNNING", "message": "epoch 2 of 9", "time": 1.0})
    assert job(ended(0)).state() == "done"
    assert job(Seen("running")).state() == "running: epoch 2 of 9"
    assert job(Seen("queued", note="no node is free")).state() == "queued: no node is free"
    assert job(Seen("lost")).has_ended()
    assert not job(Seen("running")).has_ended()


def test_a_lost_job_is_an_error(job: Callable[..., AttachedJob]) -> None:
    with pytest.raises(TaoLikeError, match="left no word"):
        followed(job(Seen("lost")))
    with pytest.raises(TaoLikeError, match="the node went away"):
        followed(job(Seen("running"), Seen("lost", note="the node went away")))


def test_ctrl_c_asks_the_job_to_end_and_a_second_one_leaves_it(job: Callable[..., AttachedJob]) -> None:
    asked = job(KeyboardInterrupt, Seen("running"), ended(130))
    with pytest.raises(KeyboardInterrupt):
        followed(asked)
    left = job(KeyboardInterrupt, KeyboardInterrupt, Seen("running"))
    with pytest.raises(KeyboardInterrupt):
        followed(left)
    for one in (asked, left):
        assert isinstance(one.executor, Told)
        assert one.executor.cancelled == [False]


def test_the_commands_for_jobs_read_a_folder_without_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "train-1"
    folder.mkdir()
    run = CliRunner().invoke
    plain = run(jobs, ["attach", str(folder)])
    assert plain.exit_code == 2
    assert "is not the folder of a job" in plain.output
    execution = to_dict(ExecutionSpec())
    JobFolder(folder).write("about.json", {"task": "x", "stage": "train", "execution": execution})
    told = Told(ended(4), log=b"one\ntwo\n")
    monkeypatch.setattr(attached, "executor_of", lambda execution: told)
    assert run(jobs, ["show", str(folder)]).output == "failed: two (exit code 4)\n"
    assert run(jobs, ["logs", "-f", str(folder)]).output == "one\ntwo\n"
    assert run(jobs, ["cancel", str(folder)]).output == "failed: two (exit code 4)\n"
    assert told.cancelled == [False]
    followed_there = run(jobs, ["attach", str(folder)])
    assert followed_there.exit_code == 4
    assert followed_there.output == "error: two\n"


def test_a_search_runs_here_and_its_trainings_elsewhere(tmp_path: Path) -> None:
    execution = to_dict(ExecutionSpec(executor="slurm"))
    JobFolder(tmp_path).write("about.json", {"task": "x", "stage": "automl", "execution": execution})
    job = AttachedJob.read(tmp_path)
    assert job is not None
    assert isinstance(job.executor, LocalExecutor)


# --- handing over ---


def test_a_stage_is_handed_over_with_a_copy_of_its_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(ended(5))
    monkeypatch.setattr(attached, "executor_of", lambda execution: told)
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text("execution: {executor: slurm}\nresults_dir: out\n")
    words = ["classification", "dataset_check", "-e", "spec.yaml", "dataset.batch_size=3"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 5
    assert "classification dataset_check is with slurm" in done.output
    (submission,) = told.submitted
    folder = submission.folder
    assert folder.path.parent == tmp_path / "out" / "jobs"
    assert folder.spec.read_text() == Path("spec.yaml").read_text()
    assert submission.command[1:] == [
        *("-m", "tao_like.cli", "classification", "dataset_check", "-e", str(folder.spec)),
        *("dataset.batch_size=3", "execution.executor=local"),
    ]
    detached = CliRunner().invoke(cli, [*words, "--detach"])
    assert detached.exit_code == 0
    assert f"tao-like jobs attach {told.submitted[1].folder.path}" in detached.output
    told.refusal = TaoLikeError("no such partition")
    refused = CliRunner().invoke(cli, words)
    assert isinstance(refused.exception, TaoLikeError)
    assert len(list((tmp_path / "out" / "jobs").iterdir())) == 2  # what was refused leaves nothing


def test_results_that_cannot_be_written_are_said_before_an_engine_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(ended(0))
    monkeypatch.setattr(attached, "executor_of", lambda execution: told)
    (tmp_path / "out").write_text("a file")
    words = ["classification", "dataset_check", f"results_dir={tmp_path / 'out'}", "--executor", "ray"]
    refused = CliRunner().invoke(cli, words)
    assert isinstance(refused.exception, SpecError)
    assert "results_dir: " in str(refused.exception)
    assert told.submitted == []
