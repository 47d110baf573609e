"""Whatever is sent, no answer says that the server has a fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import Served, served
from test_api import send

TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", "\0", "..", "../../etc/passwd", "%00", "\ud800", "a" * 3000, "-1", "1e999", "null", "~root"]
    ),
)
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
TASK = st.one_of(st.sampled_from(["classification", "detection", "nonsense"]), PLAIN)
ACTION = st.one_of(st.sampled_from(["train", "compare", "automl", "export"]), PLAIN)
BLOCK = st.dictionaries(
    st.sampled_from(["train", "dataset", "model", "results_dir", "defaults", "automl"]), PLAIN
)
JOB = st.fixed_dictionaries(
    {"task": TASK, "action": ACTION},
    optional={
        "specs": st.one_of(BLOCK, PLAIN),
        "spec_yaml": st.one_of(
            TEXTS, st.sampled_from(["a: &a [*a]", "{", "train: !!python/object:os.system x"])
        ),
        "parent_job_id": PLAIN,
        "dataset_id": PLAIN,
        "model_ids": PLAIN,
        "num_gpu": PLAIN,
        "priority": PLAIN,
        "tags": PLAIN,
        "name": PLAIN,
    },
)
FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("odd"), manages=False) as server:
        yield server


def quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def send_json(server: Served, method: str, path: str, body: Any) -> int:
    data = json.dumps(body, ensure_ascii=True).encode()
    return send(server, method, path, data)[0]


@FEW
@given(body=st.one_of(JOB, PLAIN))
def test_bodies_of_jobs(server: Served, body: Any) -> None:
    assert send_json(server, "POST", "/jobs", body) < 500


@FEW
@given(body=st.fixed_dictionaries({"task": TASK, "path": PLAIN}, optional={"name": PLAIN}))
def test_bodies_of_datasets(server: Served, body: Any) -> None:
    assert send_json(server, "POST", "/datasets", body) < 500


@FEW
@given(text=TEXTS, other=TEXTS)
def test_names_in_addresses(server: Served, text: str, other: str) -> None:
    one, two = quoted(text), quoted(other)
    for path in (
        f"/jobs/{one}",
        f"/jobs/{one}:logs?offset={two}",
        f"/jobs/{one}:events",
        f"/jobs/{one}:download?path={two}",
        f"/jobs?cursor={one}&limit={two}",
        f"/jobs?task={one}&action={two}",
        f"/jobs?cursor={one}",
        f"/jobs:schema?task={one}&action={two}",
        f"/datasets/{one}",
        f"/models?cursor={two}&task={one}",
        f"/automl:get_param_details?task={one}",
    ):
        assert send(server, "GET", path)[0] < 500
    assert send(server, "POST", f"/models/{one}:predict?path={two}", b"x")[0] < 500
    assert send(server, "POST", f"/datasets:upload?task={one}&name={two}", b"x")[0] < 500
    assert send(server, "PATCH", f"/jobs/{one}", {"name": "x"})[0] < 500


@FEW
@given(body=PLAIN)
def test_changes_of_a_job(server: Served, body: Any) -> None:
    job = server.client.create_job("classification", "train")
    for path, method in ((f"/jobs/{job['id']}", "PATCH"), (f"/jobs/{job['id']}:resume", "POST")):
        assert send_json(server, method, path, body) < 500
        assert send_json(server, method, path, {"specs": body}) < 500
        assert send_json(server, method, path, {"name": body, "priority": body, "tags": body}) < 500


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"task": "\\ud800", "action": "train"}', b"1" * 5000]
)
def test_bodies_that_are_no_json(server: Served, body: bytes) -> None:
    assert 400 <= send(server, "POST", "/jobs", body)[0] < 500


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", "no type"])
def test_a_body_of_another_type_is_the_callers_mistake(kind: str, server: Served) -> None:
    """Each operation that takes JSON, as the document lists them."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    paths = json.loads(urlopen(f"{server.url}/api/v2/openapi.json").read())["paths"]
    taken = 0
    for path, operations in paths.items():
        for verb, operation in operations.items():
            if "application/json" not in operation.get("requestBody", {}).get("content", {}):
                continue
            url = server.url + path.replace("{job_id}", "0" * 36).replace("{dataset_id}", "0" * 36)
            request = Request(url, b'{"task": "classification"}', {"Content-Type": kind}, method=verb.upper())
            with pytest.raises(HTTPError) as caught:
                urlopen(request)
            assert 400 <= caught.value.code < 500, (verb, path)
            taken += 1
    assert taken >= 4
