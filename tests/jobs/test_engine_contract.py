"""What is asked of each engine, and what is made of its answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from engines import Kubernetes, Ray, fake_kubectl, fake_slurm, kubernetes_settings, serving
from waiting import pids, python, until, wait_for

from tao_like.config import load_spec
from tao_like.config.blocks.execution import RaySpec, SlurmSpec
from tao_like.errors import SpecError
from tao_like.jobs.executors import EngineError, Placement, Submission
from tao_like.jobs.executors.engine import EngineExecutor, job_name
from tao_like.jobs.executors.kubernetes import KubernetesExecutor
from tao_like.jobs.executors.manifests import job_manifest, jobset_manifest, service_manifest
from tao_like.jobs.executors.ray import RayExecutor
from tao_like.jobs.executors.slurm import SlurmExecutor
from tao_like.jobs.folder import JobFolder
from tao_like.jobs.job import NewJob
from tao_like.jobs.manager import Manager
from tao_like.jobs.placement import placement_of
from tao_like.jobs.slots import Slots
from tao_like.jobs.states import JobStatus
from tao_like.jobs.storage.store import Store
from tao_like.tasks import spec_module

QUICK = {"settle": 0.3, "look": 0.0}
TRAIN = (sys.executable, "-m", "tao_like.cli", "classification", "train", "-e", "a b.yaml")


def work(folder: Path, **fields: Any) -> Submission:
    return Submission(JobFolder(folder / "job"), 1, TRAIN, cwd=folder, **fields)


# --- Slurm ---


def test_what_sbatch_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = fake_slurm(tmp_path, monkeypatch)
    (home / "full").touch()
    settings = SlurmSpec(
        partition="gpu", account="me", time_limit="1-00:00:00", cpus=8, memory="64G", options=["--qos=low"]
    )
    submission = work(tmp_path, placement=Placement(nodes=2, processes=4, gpus=4))
    SlurmExecutor(settings, **QUICK).submit(submission)
    given = json.loads((home / "1" / "job.json").read_text())["options"]
    wanted = {
        "nodes": "2",
        "ntasks-per-node": "1",
        "gpus-per-node": "4",
        "partition": "gpu",
        "account": "me",
        "time": "1-00:00:00",
        "mem": "64G",
        "cpus-per-task": "8",
        "qos": "low",
        "no-requeue": "",
        "chdir": str(tmp_path),
    }
    assert wanted.items() <= given.items()
    command = json.loads((tmp_path / "job" / "request.json").read_text())["command"]
    assert command[:5] == [
        "srun",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--kill-on-bad-exit=1",
        "--cpus-per-task=8",
    ]
    for word in ("--nproc-per-node=4", "--node-rank=$SLURM_NODEID ", "-m tao_like.cli", "'a b.yaml'"):
        assert word in command[-1]


def test_each_machine_is_told_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun's place is taken by a module that writes its arguments down."""
    fake_slurm(tmp_path, monkeypatch)
    package = tmp_path / "stand_in" / "torch" / "distributed"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "run.py").write_text("import sys\nprint(sorted(sys.argv[1:]), flush=True)\n")
    executor = SlurmExecutor(
        SlurmSpec(setup=[f"export PYTHONPATH={package.parents[1]}:$PYTHONPATH"]), **QUICK
    )
    submission = work(tmp_path, placement=Placement(nodes=2, processes=3))
    executor.submit(submission)
    wait_for(lambda: executor.status(submission.folder, 1).state == "ended")
    said = executor.logs(submission.folder).decode()
    assert sorted(rank for rank in ("--node-rank=0", "--node-rank=1") if rank in said) == [
        "--node-rank=0",
        "--node-rank=1",
    ]
    assert said.count("--master-port=20001") == said.count("a b.yaml") == 2


def test_what_sbatch_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_slurm(tmp_path, monkeypatch)
    with pytest.raises(EngineError, match=r"^sbatch: error: .*Invalid partition name specified"):
        SlurmExecutor(SlurmSpec(partition="none")).submit(work(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineError, match="squeue is not on this machine's PATH; run this on a machine"):
        SlurmExecutor(SlurmSpec()).submit(work(tmp_path / "other"))


# --- all of them ---


def engines(
    folder: Path, monkeypatch: pytest.MonkeyPatch, scope: Any
) -> dict[str, tuple[EngineExecutor, Any]]:
    """Each executor, and how to let its engine be full."""
    home = fake_slurm(folder, monkeypatch)
    kubernetes, ray = Kubernetes(), Ray()
    fake_kubectl(folder, scope.enter_context(serving(kubernetes)), monkeypatch)
    return {
        "slurm": (SlurmExecutor(SlurmSpec(), **QUICK), (home / "full").touch),
        "kubernetes": (
            KubernetesExecutor(kubernetes_settings(folder), **QUICK),
            lambda: setattr(kubernetes, "full", True),
        ),
        "ray": (
            RayExecutor(RaySpec(address=scope.enter_context(serving(ray))), **QUICK),
            lambda: setattr(ray, "full", True),
        ),
    }


@pytest.mark.parametrize("name", ["slurm", "kubernetes", "ray"])
def test_one_that_waits_is_canceled_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import ExitStack

    with ExitStack() as scope:
        executor, fill = engines(tmp_path, monkeypatch, scope)[name]
        fill()
        store = Store(tmp_path / "jobs.db")
        manager = Manager(store, tmp_path / "jobs", executor, Slots(5, (), elsewhere=True))
        job = store.add(NewJob("fake", "x", command=until(tmp_path / "gate", tmp_path / "begun")))[0]
        manager.look()
        seen = executor.status(manager.folder_of(job), 1)
        assert seen.state == "queued"
        assert "waits in" in seen.note
        manager.cancel(store.get(job.id))  # type: ignore[arg-type]

        def canceled() -> bool:
            manager.look()
            return store.counts() == {"Canceled": 1}

        wait_for(canceled)
        assert not pids(tmp_path / "begun")
        store.close()


def test_an_engine_that_does_not_answer_loses_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_slurm(tmp_path, monkeypatch)
    executor = SlurmExecutor(SlurmSpec(), **QUICK)
    folder = JobFolder(tmp_path / "job")
    executor.submit(Submission(folder, 1, until(tmp_path / "gate", tmp_path / "begun"), cwd=tmp_path))
    wait_for(lambda: pids(tmp_path / "begun"))
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        assert executor.status(folder, 1).state == "running"
    (tmp_path / "gate").touch()
    wait_for(lambda: executor.status(folder, 1).state == "ended")


def test_one_that_was_handed_on_twice_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a death between the engine's yes and the note of it."""
    home = fake_slurm(tmp_path, monkeypatch)
    folder = JobFolder(tmp_path / "job")
    submission = Submission(folder, 1, until(tmp_path / "gate", tmp_path / "begun"), cwd=tmp_path)
    SlurmExecutor(SlurmSpec(), **QUICK).submit(submission)
    (folder.path / "engine.json").unlink()
    executor = SlurmExecutor(SlurmSpec(), **QUICK)
    executor.submit(submission)
    assert executor.reference(folder, 1) == "1"
    assert len([path for path in home.iterdir() if path.name.isdigit()]) == 1
    (tmp_path / "gate").touch()
    wait_for(lambda: executor.status(folder, 1).state == "ended")


def test_a_job_whose_machine_is_gone_is_lost_with_the_engines_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fake_slurm(tmp_path, monkeypatch)
    (home / "full").touch()
    executor = SlurmExecutor(SlurmSpec(), **QUICK)
    store = Store(tmp_path / "jobs.db")
    manager = Manager(store, tmp_path / "jobs", executor, Slots(5, (), elsewhere=True))
    store.add(NewJob("fake", "x", command=python("1")))
    manager.look()
    content = json.loads((home / "1" / "job.json").read_text())
    (home / "1" / "job.json").write_text(json.dumps({**content, "state": "NODE_FAIL"}))

    def failed() -> bool:
        manager.look()
        return store.counts() == {"Error": 1}

    wait_for(failed)
    assert store.find()[0].error == "slurm has ended it: NODE_FAIL"
    assert store.find(statuses=[JobStatus.ERROR])
    store.close()


# --- Kubernetes ---


def test_manifests_are_of_the_published_schemas(tmp_path: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    settings = kubernetes_settings(tmp_path)
    settings.cpus, settings.memory, settings.service_account = 8, "64Gi", "trainer"
    settings.node_selector = {"gpu": "a100"}
    submission = work(tmp_path, placement=Placement(nodes=2, processes=4, gpus=4))
    name = job_name(submission.folder, 1)
    job = job_manifest(submission, settings, name)
    validate(job, "1.30", strict=True)
    validate(service_manifest(settings, name, "uid"), "1.30", strict=True)
    # What a JobSet holds is a Job's spec.
    (group,) = jobset_manifest(submission, settings, name)["spec"]["replicatedJobs"]
    validate({**job, "spec": group["template"]["spec"]}, "1.30", strict=True)


@pytest.mark.parametrize("jobsets", [False, True])
def test_several_pods_find_the_first(jobsets: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Kubernetes(jobsets=jobsets)
    engine.full = True
    with serving(engine) as url:
        fake_kubectl(tmp_path, url, monkeypatch)
        executor = KubernetesExecutor(kubernetes_settings(tmp_path), **QUICK)
        submission = work(tmp_path, placement=Placement(nodes=2, processes=4, gpus=4))
        executor.submit(submission)
        assert "Unschedulable: 0/3" in executor.status(submission.folder, 1).note
    things = {thing["kind"]: thing for thing in engine.things.values()}
    name = job_name(submission.folder, 1)
    assert set(things) == ({"JobSet"} if jobsets else {"Job", "Service"})
    command = json.loads((tmp_path / "job" / "request.json").read_text())["command"][-1]
    first = f"{name}-train-0-0.{name}" if jobsets else f"{name}-0.{name}"
    assert f"--master-addr={first} " in command
    assert '--node-rank="$TAO_LIKE_NODE"' in command
    if jobsets:
        spec = things["JobSet"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    else:
        spec = things["Job"]["spec"]
        pod = spec["template"]["spec"]
        service = things["Service"]
        # Kubernetes names a pod of an indexed Job by its number where the subdomain is a headless Service.
        assert pod["subdomain"] == service["metadata"]["name"] == name
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["selector"] == {"job-name": name}
        assert service["metadata"]["ownerReferences"][0]["uid"] == things["Job"]["metadata"]["uid"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (2, 2, "Indexed")
    container = spec["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "4"}


def test_pods_see_the_volume_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = kubernetes_settings(tmp_path / "volume")
    with pytest.raises(
        EngineError, match=r"execution.kubernetes.mount_path: the job's folder, .* does not lie"
    ):
        KubernetesExecutor(settings).submit(work(tmp_path))


def test_ray_runs_a_job_on_one_machine(tmp_path: Path) -> None:
    with serving(Ray()) as url, pytest.raises(EngineError, match=r"train.num_nodes: Ray Jobs runs"):
        RayExecutor(RaySpec(address=url)).submit(work(tmp_path, placement=Placement(nodes=2)))
    with pytest.raises(EngineError, match=r"execution.ray.address: http://127.0.0.1:9 does not answer"):
        RayExecutor(RaySpec(address="http://127.0.0.1:9")).submit(work(tmp_path / "other"))


# --- the spec ---


@pytest.mark.parametrize(
    ("action", "words", "wanted"),
    [
        ("train", ["train.num_gpus=4", "train.num_nodes=2"], Placement(2, 4, 4)),
        ("train", ["train.gpu_ids=[0,2]", "train.num_gpus=2"], Placement(1, 2, 2)),
        ("train", ["train.num_gpus=2", "train.accelerator=cpu"], Placement(1, 2, 0)),
        ("train", ["execution.gpus=0"], Placement(1, 1, 0)),
        ("evaluate", ["train.num_gpus=4", "train.num_nodes=2"], Placement(1, 1, 1)),
        ("export", ["train.num_gpus=4"], Placement(1, 1, 0)),
    ],
)
def test_what_a_stage_needs(action: str, words: list[str], wanted: Placement) -> None:
    spec = load_spec(spec_module("classification").Spec, None, words).spec
    assert placement_of(spec, action) == wanted


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("execution.executor=kubernetes", "execution.kubernetes.image: the executor kubernetes needs it"),
        ("execution.executor=lsf", "execution.executor"),
        ("execution.slurm.options=['-p gpu']", "execution.slurm.options"),
        ("execution.slurm.partition='a b'", "execution.slurm.partition"),
        ("execution.environment={a-b: c}", "no name of an environment variable"),
    ],
)
def test_what_the_spec_refuses(word: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        load_spec(spec_module("classification").Spec, None, [word])
