"""What every executor must do. Each is held to it by a fixture of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import real_engines
from engines import Kubernetes, Ray, fake_kubectl, fake_slurm, kubernetes_settings, serving
from waiting import pids, python, until, wait_for

from tao_like.config.blocks.execution import RaySpec, SlurmSpec
from tao_like.jobs.executors import Executor, LocalExecutor, Seen, Submission
from tao_like.jobs.executors.kubernetes import KubernetesExecutor
from tao_like.jobs.executors.ray import RayExecutor
from tao_like.jobs.executors.slurm import SlurmExecutor
from tao_like.jobs.folder import JobFolder
from tao_like.jobs.process import marked

Build = Callable[[Path, pytest.MonkeyPatch, ExitStack], Executor]
QUICK = {"settle": 0.5, "look": 0.0}


def local(_folder: Path, _monkeypatch: pytest.MonkeyPatch, _scope: ExitStack) -> Executor:
    return LocalExecutor()


def slurm(folder: Path, monkeypatch: pytest.MonkeyPatch, _scope: ExitStack) -> Executor:
    fake_slurm(folder, monkeypatch)
    return SlurmExecutor(SlurmSpec(), **QUICK)


def kubernetes(folder: Path, monkeypatch: pytest.MonkeyPatch, scope: ExitStack) -> Executor:
    fake_kubectl(folder, scope.enter_context(serving(Kubernetes())), monkeypatch)
    return KubernetesExecutor(kubernetes_settings(folder), **QUICK)


def ray(_folder: Path, _monkeypatch: pytest.MonkeyPatch, scope: ExitStack) -> Executor:
    return RayExecutor(RaySpec(address=scope.enter_context(serving(Ray()))), **QUICK)


EXECUTORS: dict[str, Build] = {"local": local, "slurm": slurm, "kubernetes": kubernetes, "ray": ray}
THEMSELVES = [pytest.param(name, marks=pytest.mark.acceptance) for name in ("slurm itself", "ray itself")]


@pytest.fixture(scope="module")
def slurm_itself(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    with real_engines.slurm(tmp_path_factory.mktemp("slurm")):
        yield SlurmExecutor(SlurmSpec(), settle=2.0, look=0.1)


@pytest.fixture(scope="module")
def ray_itself() -> Iterator[Executor]:
    with real_engines.ray() as address:
        yield RayExecutor(RaySpec(address=address), settle=2.0, look=0.1)


@pytest.fixture(params=[*EXECUTORS, *THEMSELVES])
def executor(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Executor]:
    if request.param not in EXECUTORS:
        yield request.getfixturevalue(request.param.replace(" ", "_"))
        return
    with ExitStack() as scope:
        yield EXECUTORS[request.param](tmp_path, monkeypatch, scope)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[JobFolder]:
    folder = JobFolder(tmp_path / "0f0f-job")
    yield folder
    assert [pid for attempt in (1, 2) for pid in marked(folder.mark(attempt))] == []


def ended(executor: Executor, folder: JobFolder, attempt: int = 1) -> Seen:
    wait_for(lambda: executor.status(folder, attempt).state in ("ended", "lost"))
    return executor.status(folder, attempt)


@pytest.mark.parametrize("code", [0, 3])
def test_how_a_command_ended(executor: Executor, folder: JobFolder, code: int) -> None:
    command = python(f"import sys; print('said'); sys.exit({code})")
    executor.submit(Submission(folder, 1, command, cwd=folder.path.parent))
    seen = ended(executor, folder)
    assert seen.exit is not None
    assert (seen.state, seen.exit.code, seen.exit.attempt) == ("ended", code, 1)
    assert seen.exit.began <= seen.exit.ended
    assert executor.logs(folder) == b"said\n"
    assert executor.logs(folder, offset=2, limit=2) == b"id"


def test_a_command_that_is_not_there(executor: Executor, folder: JobFolder) -> None:
    executor.submit(Submission(folder, 1, ["/no/such/program"], cwd=folder.path.parent))
    seen = ended(executor, folder)
    assert seen.exit is not None
    assert seen.exit.code == 127
    assert b"/no/such/program cannot be started" in executor.logs(folder)


def test_an_attempt_runs_once(executor: Executor, folder: JobFolder, tmp_path: Path) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    work = Submission(folder, 1, until(gate, begun), cwd=tmp_path)
    for _ in range(3):
        executor.submit(work)
    wait_for(lambda: executor.status(folder, 1).state == "running" and pids(begun))
    gate.touch()
    assert ended(executor, folder).state == "ended"
    executor.submit(work)
    assert len(pids(begun)) == 1


def test_the_next_attempt_is_another_one(executor: Executor, folder: JobFolder) -> None:
    executor.submit(Submission(folder, 1, python("print('first')"), cwd=folder.path.parent))
    ended(executor, folder)
    command = python("import sys; print('second'); sys.exit(4)")
    executor.submit(Submission(folder, 2, command, cwd=folder.path.parent))
    seen = ended(executor, folder, 2)
    assert seen.exit is not None
    assert seen.exit.code == 4
    assert executor.logs(folder) == b"first\nsecond\n"
    assert executor.status(folder, 1).exit is None


def test_cancel_asks(executor: Executor, folder: JobFolder, tmp_path: Path) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    executor.submit(Submission(folder, 1, until(gate, begun), cwd=tmp_path))
    wait_for(lambda: pids(begun))
    executor.cancel(folder, 1)
    seen = ended(executor, folder)
    assert seen.exit is not None
    assert seen.exit.code == -signal.SIGTERM


def test_kill_ends_also_what_left_its_session(executor: Executor, folder: JobFolder, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    stubborn = (
        "import os, signal, time, pathlib\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0: os.setsid()\n"
        f"print(os.getpid(), file=open({str(begun)!r}, 'a'), flush=True)\n"
        "time.sleep(600)"
    )
    executor.submit(Submission(folder, 1, python(stubborn), cwd=tmp_path))
    wait_for(lambda: len(pids(begun)) == 2)
    executor.cancel(folder, 1)
    assert executor.status(folder, 1).state == "running"
    executor.cancel(folder, 1, kill=True)
    seen = ended(executor, folder)
    assert seen.exit is not None
    assert seen.exit.code == -signal.SIGKILL
    assert not any(os.path.exists(f"/proc/{pid}/cmdline") and _runs(pid) for pid in pids(begun))  # noqa: PTH110


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # a zombie has none


def test_the_environment_and_the_folder(executor: Executor, folder: JobFolder, tmp_path: Path) -> None:
    show = python("import os; print(os.environ['GIVEN'], os.environ.get('PATH', '') != '', os.getcwd())")
    executor.submit(Submission(folder, 1, show, {"GIVEN": "yes"}, tmp_path))
    ended(executor, folder)
    assert executor.logs(folder).decode().split() == ["yes", "True", str(tmp_path)]


def test_files_are_those_of_the_results(executor: Executor, folder: JobFolder, tmp_path: Path) -> None:
    (folder.results / "train").mkdir(parents=True)
    (folder.results / "train" / "model.tltb").write_bytes(b"12")
    (folder.results / "train" / ".model.12345678.partial").write_bytes(b"1")
    (folder.results / "link").symlink_to("/etc/passwd")
    assert executor.files(folder) == [Path("train/model.tltb")]


def test_nothing_is_known_of_what_was_never_submitted(executor: Executor, folder: JobFolder) -> None:
    assert executor.status(folder, 1).state == "lost"
    assert executor.logs(folder) == b""
    assert executor.files(folder) == []
