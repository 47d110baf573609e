"""Where a training can be broken off, what it leaves there, and checkpoints that are not to be used."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from resuming import HARD, assert_same_end, epochs, resume_from
from stage_runs import assert_failed, assert_same_weights, status_lines
from tiny_classification import data_overrides, run

from tao_like.errors import BundleError, SpecError, TaoLikeError
from tao_like.stages.results import TrainResult
from tao_like.stages.train.checkpoints import checkpoint_file
from tao_like.stages.train.checkpoints.checkpoint_file import read_checkpoint
from tao_like.stages.train.loop import PhaseTraining

SHORT = ("train.num_epochs=2", "train.tensorboard.enabled=false")


def signal_in(patch: pytest.MonkeyPatch, hook: str, call: int, *numbers: int) -> None:
    """Lets the next training get signals in its n-th training or validation step."""
    work, seen = getattr(PhaseTraining, hook), []

    def work_and_signal(self: PhaseTraining, *arguments: Any) -> Any:
        seen.append(1)
        if len(seen) == call:
            for number in numbers:
                signal.raise_signal(number)
        return work(self, *arguments)

    patch.setattr(PhaseTraining, hook, work_and_signal)


def break_off(results: Path, words: list[str], hook: str, call: int, *numbers: int) -> None:
    """Runs a training that Ctrl-C ends in the n-th call of a step."""
    with pytest.MonkeyPatch.context() as patch:
        signal_in(patch, hook, call, *(numbers or (signal.SIGINT,)))
        with pytest.raises(KeyboardInterrupt):
            run("train", results, *words)


def record(results: Path) -> dict[str, Any]:
    """What the last checkpoint of a results folder says."""
    found: dict[str, Any] = read_checkpoint(results / "train" / "checkpoints" / "last.ckpt")["tao_like"]
    return found


@pytest.fixture(scope="module")
def hard(class_folders: Path) -> list[str]:
    """The words of the hard training."""
    return [*data_overrides(class_folders), *HARD]


@pytest.fixture(scope="module")
def whole(hard: list[str], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """The hard training that nobody broke."""
    return run("train", tmp_path_factory.mktemp("whole"), *hard)


@pytest.mark.parametrize(
    ("hook", "call", "expected"),
    [
        ("training_step", 1, (0, 2, 1, True)),
        ("training_step", 6, (0, 6, 3, False)),
        ("validation_step", 2, (0, 6, 3, False)),
        ("validation_step", 3, (1, 6, 6, False)),
    ],
    ids=["first step", "last step of an epoch", "validation", "last validation"],
)
def test_ctrl_c_anywhere_leaves_a_checkpoint_of_the_step_that_it_came_in(
    hook: str, call: int, expected: tuple[Any, ...], hard: list[str], whole: TrainResult, tmp_path: Path
) -> None:
    break_off(tmp_path, hard, hook, call)
    found = record(tmp_path)
    assert (found["epoch"], found["batch"], found["step"], found["validated"]) == expected
    assert_same_end(run("train", tmp_path, *hard, resume_from(tmp_path)), whole)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(["train.precision=bf16"], marks=pytest.mark.acceptance),
        pytest.param(["train.keep=last", "train.max_steps=5"], marks=pytest.mark.acceptance),
        ["train.optim.policy=one_cycle", "train.optim.head_epochs=0.5"],
    ],
)
def test_other_settings_resume_too(settings: list[str], hard: list[str], tmp_path: Path) -> None:
    words = [*hard, *settings]
    expected = run("train", tmp_path / "whole", *words)
    break_off(tmp_path / "broken", words, "training_step", 7)
    resumed = run("train", tmp_path / "broken", *words, resume_from(tmp_path / "broken"))
    assert_same_end(resumed, expected)


def test_a_second_ctrl_c_does_not_wait(hard: list[str], tmp_path: Path) -> None:
    words = [*hard, "train.checkpoint_interval=2"]
    break_off(tmp_path, words, "training_step", 5, signal.SIGINT, signal.SIGINT)
    # The last one that was due: of the second step.
    assert (record(tmp_path)["batch"], record(tmp_path)["step"]) == (4, 2)
    assert_failed(tmp_path / "train", "interrupted")


def test_a_training_killed_before_its_bundle_was_written_only_writes_it(
    hard: list[str], whole: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tao_like.stages.train import finish

    words = [*hard, "train.checkpoint_interval_unit=epoch", "train.checkpoint_interval=1", "train.keep=last"]
    expected = run("train", tmp_path / "whole", *words)
    with monkeypatch.context() as patch:
        patch.setattr(finish, "write_bundle", lambda *_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            run("train", tmp_path / "broken", *words)
    steps: list[int] = []
    monkeypatch.setattr(PhaseTraining, "training_step", lambda *_: steps.append(1))
    resumed = run("train", tmp_path / "broken", *words, resume_from(tmp_path / "broken"))
    assert not steps
    assert_same_weights(resumed.bundle, expected.bundle)
    assert resumed.report["last_epoch"] == expected.report["last_epoch"]


def test_early_stopping_goes_on_counting_where_it_was(class_folders: Path, tmp_path: Path) -> None:
    stopping = "train.early_stopping={enabled: true, patience: 2, min_delta: 100}"
    words = [*data_overrides(class_folders), *SHORT, stopping, "train.num_epochs=9"]
    break_off(tmp_path, words, "training_step", 5)
    resumed = run("train", tmp_path, *words, resume_from(tmp_path))
    assert [epoch for epoch, _, _ in epochs(resumed.folder)] == [1, 2, 3]
    # And one that had stopped does not begin again.
    again = run("train", tmp_path, *words, resume_from(tmp_path))
    assert [epoch for epoch, _, _ in epochs(again.folder)] == [1, 2, 3]


def test_an_epoch_that_a_killed_process_could_not_tell_of_is_told(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died between the checkpoint and the line: so that no epoch is told twice, none must be lost."""
    from tao_like.stages.train.reporting.report import Reporter

    words = [*data_overrides(class_folders), *SHORT, "train.num_epochs=3"]
    tell = Reporter.epoch

    def tell_or_die(self: Reporter) -> None:
        if self.state.history[-1]["epoch"] == 2:
            raise OSError("power cut")
        tell(self)

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "epoch", tell_or_die)
        with pytest.raises(OSError, match="power cut"):
            run("train", tmp_path, *words)
    assert [epoch for epoch, _, _ in epochs(tmp_path / "train")] == [1]
    resumed = run("train", tmp_path, *words, resume_from(tmp_path))
    assert [epoch for epoch, _, _ in epochs(resumed.folder)] == [1, 2, 3]


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one_whole(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*data_overrides(class_folders), *SHORT]
    save, saved = torch.save, []

    def save_half(content: Any, file: Any) -> None:
        saved.append(content)
        if len(saved) < 4:  # best and last of the first epoch, best of the second
            save(content, file)
            return
        file.write(b"PK half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_file.torch, "save", save_half)
    with pytest.raises(TaoLikeError, match="no space left") as caught:
        run("train", tmp_path, *words)
    monkeypatch.undo()
    assert caught.value.exit_code == 1
    assert record(tmp_path)["epoch"] == 1
    assert {path.name for path in (tmp_path / "train" / "checkpoints").iterdir()} == {
        "last.ckpt",
        "best.ckpt",
    }
    assert run("train", tmp_path, *words, resume_from(tmp_path)).bundle.is_file()


def test_training_again_where_one_was_broken_off_says_how_to_go_on(
    class_folders: Path, tmp_path: Path
) -> None:
    words = [*data_overrides(class_folders), *SHORT]
    break_off(tmp_path / "a b", words, "training_step", 5)
    fresh = run("train", tmp_path / "a b", *words)
    log = (fresh.folder / "log.txt").read_text("utf-8")
    moved = tmp_path / "a b" / "train-001" / "checkpoints" / "last.ckpt"
    assert f"add 'train.resume_training_checkpoint_path={moved}'" in log
    # Resumed from another folder, it brings its best epoch along.
    resumed = run("train", tmp_path / "other", *words, f"train.resume_training_checkpoint_path={moved}")
    assert_same_weights(resumed.bundle, fresh.bundle)


def test_a_random_seed_and_an_automatic_batch_size_are_those_of_the_beginning(
    class_folders: Path, tmp_path: Path
) -> None:
    words = [*data_overrides(class_folders), *SHORT, "train.seed=-1", "dataset.batch_size=auto"]
    break_off(tmp_path, words, "training_step", 7)
    before = record(tmp_path)
    run("train", tmp_path, *words, resume_from(tmp_path))
    after = record(tmp_path)
    assert after["spec"]["train"]["seed"] == before["spec"]["train"]["seed"] >= 0
    assert after["batch_size"] == before["batch_size"]


def test_what_a_killed_process_left_of_a_checkpoint_goes_with_the_next_training(
    class_folders: Path, tmp_path: Path
) -> None:
    """Here, and in the folder that the earlier training is kept in."""
    words = [*data_overrides(class_folders), *SHORT]
    break_off(tmp_path, words, "training_step", 5)
    here = tmp_path / "train" / "checkpoints"
    names = {path.name for path in here.iterdir()}
    (here / ".best.0a1b2c3d.partial.ckpt").write_bytes(b"PK half")
    run("train", tmp_path, *words)
    kept = tmp_path / "train-001" / "checkpoints"
    assert {path.name for path in kept.iterdir()} == names
    for folder in (kept, here):
        (folder / ".last.0a1b2c3d.partial.ckpt").write_bytes(b"PK half")
    run("train", tmp_path, *words, resume_from(tmp_path))
    for folder in (kept, here):
        assert not list(folder.glob(".*"))


def test_one_command_gives_the_bundle_of_a_training_that_was_stopped(
    class_folders: Path, tmp_path: Path
) -> None:
    """The words that Ctrl-C gives, in the midst of the second epoch; the best one so far is the first."""
    words = [*data_overrides(class_folders), *SHORT]
    break_off(tmp_path, words, "training_step", 5)
    told = status_lines(tmp_path / "train")[-1]["message"].partition(" add ")[2]
    resume, more = shlex.split(told.replace("(with", "").replace(" too,", ""))[:2]
    assert more == "train.max_steps=5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PhaseTraining, "training_step", lambda *_: pytest.fail("it trains on"))
        result = run("train", tmp_path, *words, resume, more)
    assert result.bundle.is_file()
    assert result.metrics["accuracy"] == pytest.approx(epochs(result.folder)[0][2]["val_accuracy"])


# --- checkpoints of other trainings, and files that are none ---


@pytest.fixture(scope="module")
def broken(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a training that was broken off."""
    results = tmp_path_factory.mktemp("broken")
    break_off(results, [*data_overrides(class_folders), *SHORT], "training_step", 2)
    return results


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("dataset.batch_size=4", "dataset.batch_size was 8 and is 4"),
        ("train.optim.lr=0.5", "train.optim.lr was 0.01 and is 0.5"),
        ("model.backbone.type=test_vit", "model.backbone.type was test_resnet and is test_vit"),
        ("train.enable_ema=true", "train.enable_ema was False and is True"),
        ("train.num_gpus=2", "is of a training in 1 processes, and this one has 2"),
        ("train.pretrained_model_path=other.tltb", "train.pretrained_model_path was None and is other.tltb"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_by_their_names(
    word: str, told: str, broken: Path, class_folders: Path, tmp_path: Path
) -> None:
    words = [*data_overrides(class_folders), *SHORT, resume_from(broken), word]
    with pytest.raises(SpecError, match="resume_training_checkpoint_path") as caught:
        run("train", tmp_path, *words)
    assert told in str(caught.value)
    assert_failed(tmp_path / "train", told)


def test_a_checkpoint_from_before_a_key_resumes_at_its_default(
    broken: Path, class_folders: Path, tmp_path: Path
) -> None:
    """A version that adds a key must not leave checkpoints of the version before behind."""
    content = checkpoint_file.read_checkpoint(broken / "train" / "checkpoints" / "last.ckpt")
    spec = content["tao_like"]["spec"]
    del (
        spec["model"]["backbone"]["drop_rate"],
        spec["dataset"]["pixel_range"],
        spec["train"]["optim"]["momentum"],
    )
    before = tmp_path / "before.ckpt"
    checkpoint_file.write_checkpoint(content, before)
    words = [*data_overrides(class_folders), *SHORT, f"train.resume_training_checkpoint_path={before}"]
    resumed = run("train", tmp_path / "resumed", *words)
    assert_same_weights(
        resumed.bundle, run("train", tmp_path / "same", *words[:-1], resume_from(broken)).bundle
    )
    with pytest.raises(SpecError, match=r"drop_rate was 0\.0 and is 0\.5"):
        run("train", tmp_path / "other", *words, "model.backbone.drop_rate=0.5")


def test_other_data_is_refused_and_a_moved_folder_is_not(
    broken: Path, tmp_path: Path, class_folders: Path
) -> None:
    import shutil

    shutil.copytree(class_folders, tmp_path / "moved")
    words = [*data_overrides(tmp_path / "moved"), *SHORT, resume_from(broken)]
    assert run("train", tmp_path / "same", *words).bundle.is_file()
    next((tmp_path / "moved" / "train" / "blue").iterdir()).unlink()
    with pytest.raises(SpecError, match="the samples of the train data are not those"):
        run("train", tmp_path / "changed", *words)
    shutil.rmtree(tmp_path / "moved" / "train" / "blue")
    with pytest.raises(SpecError, match="classes blue, green, red; the data has green, red"):
        run("train", tmp_path / "other", *words)


def test_a_longer_training_may_go_on_and_says_that_its_schedule_changes(
    broken: Path, class_folders: Path, tmp_path: Path
) -> None:
    words = [*data_overrides(class_folders), *SHORT, resume_from(broken), "train.num_epochs=3"]
    result = run("train", tmp_path, *words, "dataset.workers=1")
    assert [epoch for epoch, _, _ in epochs(result.folder)] == [1, 2, 3]
    assert "train.num_epochs is 3 and was 2" in (result.folder / "log.txt").read_text("utf-8")


def test_files_that_are_no_checkpoint(broken: Path, class_folders: Path, tmp_path: Path) -> None:
    good = read_checkpoint(broken / "train" / "checkpoints" / "last.ckpt")
    newer = {**good, "tao_like": {**good["tao_like"], "format_version": 3}}
    other = {**good, "tao_like": {**good["tao_like"], "task": "juggling"}}
    lacking = {**good, "optimizer": {}}
    former = {**good, "tao_like": {**good["tao_like"], "format_version": 1}}
    files: dict[str, tuple[Any, str]] = {
        "empty.ckpt": (b"", "damaged, or no checkpoint"),
        "text.ckpt": (b"hello" * 100, "damaged, or no checkpoint"),
        "foreign.ckpt": ({"state_dict": {"w": torch.ones(2)}}, "no checkpoint of a tao_like training"),
        "list.ckpt": ([1, 2], "it holds a list"),
        "newer.ckpt": (newer, "checkpoint format 3.*update tao_like"),
        "former.ckpt": (former, "checkpoint format 1, which this tao_like cannot go on from"),
        "other.ckpt": (other, "of the task juggling"),
        "lacking.ckpt": (lacking, "cannot go on from"),
        "half.ckpt": (
            (broken / "train" / "checkpoints" / "last.ckpt").read_bytes()[:20_000],
            "damaged, or no checkpoint",
        ),
    }
    for name, (content, words) in files.items():
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            torch.save(content, tmp_path / name)
        resume = f"train.resume_training_checkpoint_path={tmp_path / name}"
        with pytest.raises(BundleError, match=words) as caught:
            run("train", tmp_path / "results", *data_overrides(class_folders), *SHORT, resume)
        assert name in str(caught.value)
        assert json.dumps(str(caught.value))
        assert_failed(tmp_path / "results" / "train", name)


def test_the_order_of_work_is_checkpoint_first_and_word_of_it_after(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    save = PhaseTraining.save

    def save_and_look(self: PhaseTraining) -> None:
        save(self)
        seen.append((record(tmp_path)["epoch"], len(epochs(tmp_path / "train"))))

    monkeypatch.setattr(PhaseTraining, "save", save_and_look)
    run("train", tmp_path, *data_overrides(class_folders), *SHORT)
    assert seen == [(1, 0), (2, 1)]
