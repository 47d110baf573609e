"""The API over a socket, as clients see it. Jobs wait here: nothing is started."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Served, served

from tao_like.jobs.job import Dataset
from tao_like.jobs.states import JobStatus
from tao_like.service.client import ServerError
from tao_like.service.specs import composed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("root")
    (root / "train" / "cats").mkdir(parents=True)
    with served(tmp_path_factory.mktemp("server"), manages=False, roots=(root,)) as server:
        yield server


def send(
    server: Served, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and content of an answer."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None:
        named.setdefault("Content-Type", "application/json")
    request = urllib.request.Request(f"{server.url}/api/v2{path}", data, named, method=method)
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        text = response.read()
        kind = response.headers["Content-Type"] or ""
        named = {name.lower(): value for name, value in response.headers.items()}
        return response.status, named, json.loads(text) if "json" in kind else text.decode("utf-8", "replace")


TRAIN = {"task": "classification", "action": "train"}


def test_a_job_waits_and_is_shown(server: Served) -> None:
    status, headers, job = send(server, "POST", "/jobs", {**TRAIN, "name": "first", "tags": ["a"]})
    assert (status, job["status"], job["name"], job["tags"]) == (201, "Pending", "first", ["a"])
    assert headers["location"] == f"/api/v2/jobs/{job['id']}"
    assert send(server, "GET", f"/jobs/{job['id']}")[2] == job
    found = send(server, "GET", "/jobs?task=classification&status=Pending&status=Error")[2]["jobs"]
    assert job["id"] in [one["id"] for one in found]
    assert send(server, "GET", "/jobs?task=detection")[2] == {"jobs": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("body", "key", "text"),
    [
        ({"task": "classificatio", "action": "train"}, "task", "Did you mean classification?"),
        ({"task": "classification", "action": "trian"}, "action", "there is no action"),
        ({**TRAIN, "specs": {"train": {"num_epochs": 0}}}, "train.num_epochs", "at least 1"),
        ({**TRAIN, "specs": {"train": {"nonsense": 1}}}, "train.nonsense", "unknown key"),
        ({**TRAIN, "wrong": 1}, "wrong", "Extra inputs"),
        ({**TRAIN, "priority": "high"}, "priority", "integer"),
        ({**TRAIN, "specs": {"export": {"onnx_file": "/tmp/x.onnx"}}}, "export.onnx_file", "leave it out"),
        ({**TRAIN, "specs": {"train": {"results_dir": "/tmp"}}}, "train.results_dir", "leave it out"),
    ],
)
def test_errors_name_the_key(server: Served, body: dict[str, Any], key: str, text: str) -> None:
    status, headers, problem = send(server, "POST", "/jobs", body)
    assert status == problem["status"] == 422
    assert headers["content-type"] == "application/problem+json"
    (error,) = problem["errors"]
    assert error["key"] == key
    assert text in error["text"]


def test_errors_of_a_yaml_text_name_the_line(server: Served) -> None:
    text = "train:\n  optim:\n    lr: -1\n"
    problem = send(server, "POST", "/jobs", {**TRAIN, "spec_yaml": text})[2]
    assert [(error["key"], error["line"]) for error in problem["errors"]] == [("train.optim.lr", 3)]


def test_a_yaml_text_means_what_it_means_in_a_file(server: Served) -> None:
    text = (
        "train: {optim: {lr: 1e-3}, num_epochs: 1_0}\n"
        "dataset: {train_dataset: {images_dir: 2024-01-01}}\n"
        "quantize: {skip_names: [no, 007, 1e5, 1:30]}\n"
    )
    status, _, job = send(server, "POST", "/jobs", {**TRAIN, "spec_yaml": text})
    assert status == 201, job
    assert job["specs"]["train"] == {"optim": {"lr": 0.001}, "num_epochs": 10}
    assert job["specs"]["dataset"] == {"train_dataset": {"images_dir": "2024-01-01"}}
    assert job["specs"]["quantize"]["skip_names"] == ["no", "007", "1e5", "1:30"]


@pytest.mark.parametrize(("given", "interval"), [({"num_epochs": 1}, 1), ({"num_epochs": 30}, 10), ({}, 10)])
def test_a_short_training_is_validated_at_its_end(
    given: dict[str, int], interval: int, server: Served
) -> None:
    suggested = {"train": {"num_epochs": 20, "validation_interval": 10}}
    task, where = "classification", "photos"
    data = Dataset("d", 1, 1, "photos", task, where, False, "ready", "", suggested, 0.0, 0, "")
    spec = composed(task, "train", {"train": given}, settings=server.settings, dataset=data)
    assert spec["train"] == {"num_epochs": 20, **given, "validation_interval": interval}


@pytest.mark.parametrize(
    "path",
    [
        "/etc",
        "{root}/../x",
        "{root}/link/x",
        "../../../../../etc",
        "{root}/*/../../x",
        "~/x",
        "~nobody-there/x",
        "a\0b",
        "{root}extra",
    ],
)
def test_paths_outside_the_roots_are_refused(server: Served, path: str) -> None:
    root = server.settings.roots[0]
    link = root / "link"
    if not link.is_symlink():
        link.symlink_to("/etc")
    given = path.format(root=root)
    specs = {"dataset": {"train_dataset": {"images_dir": given}}}
    problem = send(server, "POST", "/jobs", {**TRAIN, "specs": specs})[2]
    (error,) = problem["errors"]
    if "\0" in path:
        assert "NUL" in error["text"]
    else:
        assert error["key"] == "dataset.train_dataset.images_dir"
        assert "outside" in error["text"]
    assert send(server, "POST", "/datasets", {"task": "classification", "path": given})[0] == 422


@pytest.mark.parametrize(
    "block",
    [
        {"dataset": {"train_dataset": {"images_dir": "${results_dir}/../../../x"}}},
        {"model": {"backbone": {"pretrained_backbone_path": "${dataset.train_dataset.images_dir}/../x"}}},
    ],
)
def test_paths_that_are_put_together_are_looked_at(server: Served, block: dict[str, Any]) -> None:
    train = {"images_dir": str(server.settings.roots[0])}
    specs = block if "dataset" in block else {**block, "dataset": {"train_dataset": train}}
    problem = send(server, "POST", "/jobs", {**TRAIN, "specs": specs})[2]
    assert "outside" in problem["errors"][0]["text"]


def test_every_path_of_every_task_is_looked_at() -> None:
    """By setting each alone: a key that is not seen could read any file."""
    from tao_like.config.structure import Block, describe
    from tao_like.service.specs import path_values
    from tao_like.tasks import spec_module, task_names

    def keys(block: Block, path: str) -> Iterator[str]:
        for name, member in block.members.items():
            kind = member.kind
            inner = kind.block or (kind.element.block if kind.element else None)
            if inner is not None:
                yield from keys(describe(inner), f"{path}{name}.")
            elif member.rule.path:
                yield f"{path}{name}"

    for task in task_names():
        spec = spec_module(task).Spec
        wanted = list(keys(describe(spec), ""))
        assert len(wanted) > 10
        seen = set()
        for key in wanted:
            seen |= {
                found.replace("[0]", "") for found, value in path_values(_with(spec, key)) if value == "/x"
            }
        assert seen == set(wanted)


def _with(spec_class: Any, key: str) -> Any:
    from tao_like.config.structure import describe

    spec = spec_class()
    here = spec
    *parents, name = key.split(".")
    for parent in parents:
        member = describe(type(here)).members[parent]
        if member.kind.block is None:
            element = member.kind.element.block()
            setattr(here, parent, [element])
            here = element
        else:
            here = getattr(here, parent)
    member = describe(type(here)).members[name]
    setattr(here, name, ["/x"] if member.kind.element is not None else "/x")
    return spec


def test_paths_within_the_roots_are_taken(server: Served) -> None:
    root = server.settings.roots[0]
    for value in (str(root / "train"), str(root / "tr*"), "package:efficientnet_lite0", "mine/relative"):
        specs = {"dataset": {"train_dataset": {"images_dir": value}}}
        assert send(server, "POST", "/jobs", {**TRAIN, "specs": specs})[0] == 201


def test_fifty_requests_with_one_key_make_one_job(server: Served) -> None:
    responses: list[tuple[int, str]] = []

    def ask() -> None:
        status, _, job = send(server, "POST", "/jobs", {**TRAIN, "name": "one"}, Idempotency_Key="k-1")
        responses.append((status, job["id"]))

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({identity for _, identity in responses}) == 1
    assert sorted(status for status, _ in responses) == [200] * 49 + [201]
    other = send(server, "POST", "/jobs", {**TRAIN, "name": "other"}, Idempotency_Key="k-1")
    assert other[0] == 409
    assert "another request" in other[2]["detail"]


def test_pages_do_not_shift(server: Served) -> None:
    for number in range(5):
        send(server, "POST", "/jobs", {**TRAIN, "name": f"page {number}"})
    first = send(server, "GET", "/jobs?limit=3")[2]
    send(server, "POST", "/jobs", {**TRAIN, "name": "meanwhile"})
    second = send(server, "GET", f"/jobs?limit=3&cursor={first['next_cursor']}")[2]
    names = [job["name"] for job in first["jobs"] + second["jobs"]]
    assert names[:5] == [f"page {number}" for number in (4, 3, 2, 1, 0)]
    assert send(server, "GET", "/jobs?cursor=nonsense")[0] == 422
    everything = list(server.client.list_jobs(limit=2))
    assert (
        len({job["id"] for job in everything})
        == len(everything)
        == sum(server.context.store.counts().values())
    )


def test_an_etag_saves_an_answer_and_guards_a_change(server: Served) -> None:
    job = server.client.create_job("classification", "train")
    path = f"/jobs/{job['id']}"
    etag = send(server, "GET", path)[1]["etag"]
    assert send(server, "GET", path, If_None_Match=etag)[0] == 304
    assert send(server, "PATCH", path, {"priority": 7}, If_Match=etag)[2]["priority"] == 7
    assert send(server, "GET", path, If_None_Match=etag)[0] == 200
    assert send(server, "PATCH", path, {"name": "x"}, If_Match=etag)[0] == 412


def test_verbs(server: Served) -> None:
    client = server.client
    job = client.create_job("classification", "train")
    with pytest.raises(ServerError, match="cancel it first"):
        client.delete_job(job["id"])
    with pytest.raises(ServerError, match="only one that runs can"):
        client.pause_job(job["id"])
    assert client.cancel_job(job["id"])["status"] == "Canceled"
    assert client.cancel_job(job["id"])["status"] == "Canceled"
    assert client.retry_job(job["id"])["status"] == "Pending"
    client.cancel_job(job["id"])
    resumed = client.resume_job(job["id"], {"train": {"num_epochs": 77}})
    assert (resumed["status"], resumed["specs"]) == ("Resuming", {"train": {"num_epochs": 77}})
    client.cancel_job(job["id"])
    client.delete_job(job["id"])
    with pytest.raises(ServerError, match="there is no job") as caught:
        client.get_job(job["id"])
    assert caught.value.status == 404


def test_events_go_on_where_they_were_left(server: Served) -> None:
    client, store = server.client, server.context.store
    job = client.create_job("classification", "train")
    folder = server.context.manager.folder_of(job["id"])
    folder.path.mkdir(parents=True)
    lines = [{"event": "metric", "values": {"train/loss": 1.0 / step}, "step": step} for step in (1, 2, 3)]
    folder.events.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"event": "met')
    found = store.get(job["id"])
    assert found is not None
    store.move(found, JobStatus.CANCELED, "away")
    events = list(client.stream_job_events(job["id"]))
    assert [event["event"] for event in events] == ["state", "state", "metric", "metric", "metric", "end"]
    assert [event["data"].get("step") for event in events[2:5]] == [1, 2, 3]
    rest = list(client.stream_job_events(job["id"], events[3]["id"]))
    assert rest == events[4:]
    assert send(server, "GET", f"/jobs/{job['id']}:events", Last_Event_ID="x")[0] == 422


def test_files_of_a_job_and_nothing_else(server: Served, tmp_path: Path) -> None:
    client = server.client
    job = client.create_job("classification", "train")
    folder = server.context.manager.folder_of(job["id"])
    (folder.results / "train").mkdir(parents=True)
    (folder.results / "train" / "a.html").write_text("<script>")
    (folder.results / "link").symlink_to("/etc/passwd")
    folder.log.write_bytes("größer\n".encode())
    assert client.list_job_files(job["id"]) == [{"path": "train/a.html", "bytes": 8}]
    assert client.get_job_logs(job["id"], tail=3) == "er\n"
    assert client.download_job_file(job["id"], tmp_path / "a", "train/a.html").read_text() == "<script>"
    _, headers, _ = send(server, "GET", f"/jobs/{job['id']}:download?path=train/a.html")
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"
    for path in ("../spec.yaml", "/etc/passwd", "link", "train", "train/../../log.txt", "a%00b", "x" * 900):
        assert send(server, "GET", f"/jobs/{job['id']}:download?path={path}")[0] == 404
    import zipfile

    with zipfile.ZipFile(client.download_job_file(job["id"], tmp_path / "all.zip")) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["train/a.html"]


def test_a_comparison_takes_models_by_their_ids(server: Served) -> None:
    client = server.client
    job = client.create_job("classification", "train")
    folder = server.context.manager.folder_of(job["id"])
    (folder.results / "train").mkdir(parents=True)
    file = folder.results / "train" / "model.tltb"
    file.touch()
    models = [f"{job['id']}:train/model.tltb"] * 2
    compare = client.create_job("classification", "compare", model_ids=models)
    assert compare["specs"] == {"compare": {"checkpoints": [str(file)] * 2}}
    for wrong in ("x", f"{job['id']}:../../../jobs.db", f"{job['id']}:train/none.onnx"):
        with pytest.raises(ServerError, match="there is no model"):
            client.create_job("classification", "compare", model_ids=[wrong])
    with pytest.raises(ServerError, match="for compare"):
        client.create_job("classification", "train", model_ids=models)


def test_a_job_takes_its_parents_spec_and_model(server: Served) -> None:
    client = server.client
    job = client.create_job("classification", "prune", {"train": {"num_epochs": 4}})
    with pytest.raises(ServerError, match="has left no model"):
        client.create_job("classification", "train", parent_job_id=job["id"])
    folder = server.context.manager.folder_of(job["id"])
    (folder.results / "prune").mkdir(parents=True)
    file = folder.results / "prune" / "model.tltb"
    file.touch()
    child = client.create_job("classification", "train", {"train": {"seed": 3}}, parent_job_id=job["id"])
    assert child["specs"] == {"train": {"num_epochs": 4, "pruned_model_path": str(file), "seed": 3}}
    other = client.create_job("classification", "evaluate", parent_job_id=job["id"])
    assert other["specs"]["evaluate"] == {"checkpoint": str(file)}
    with pytest.raises(ServerError, match="one of classification"):
        client.create_job("detection", "evaluate", parent_job_id=job["id"])


def test_what_the_server_says_of_itself(server: Served) -> None:
    client = server.client
    assert client.get_health()["status"] == "ok"
    assert client.get_version()["api"] == "v2"
    assert "classification" in [task["name"] for task in client.list_tasks()]
    assert "train" in client.get_job_schema("classification", "train")["properties"]
    rate = next(
        p for p in client.get_automl_parameters("classification") if p["parameter"] == "train.optim.lr"
    )
    assert rate["default"] == 1e-3
    assert 'tao_like_jobs{status="Pending"}' in client.get_metrics()
    assert client.get_caller() == {"name": "local", "role": "admin"}
    assert send(server, "GET", "/nonsense")[0] == 404
    assert send(server, "PUT", "/jobs")[0] == 405


def test_a_server_that_is_not_there() -> None:
    from tao_like.service.client import Client

    with pytest.raises(ServerError, match="tao-like server start"):
        Client("http://127.0.0.1:9", "x").get_health()
