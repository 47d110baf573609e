"""Models of several graphs on the server: listed, asked for images, and asked wrongly."""

from __future__ import annotations

import io
import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from serving import Served, served
from test_api import send
from test_odd_requests import FEW, TEXTS, send_json
from tiny_text_to_image import TINY, data_overrides, write_pairs

import tao_like
from tao_like import runtime
from tao_like.errors import SpecError
from tao_like.jobs.states import JobStatus
from tao_like.service.client import ServerError
from tao_like.service.predict import OpenModels

PROMPT = "a small red circle in the middle"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that makes images."""
    return generating_model(tmp_path_factory.mktemp("generates"))


def generating_model(folder: Path) -> Path:
    """Trains a tiny model that makes images for a step, and exports it: the folder of its graphs."""
    settings = ["model.arch=glide", "train.max_steps=1", "train.num_epochs=1", *TINY]
    settings += [*data_overrides(write_pairs(folder / "pairs")), f"results_dir={folder / 'results'}"]
    trained = tao_like.run("text_to_image", "train", None, settings)
    done = tao_like.run("text_to_image", "export", None, [*settings, f"export.checkpoint={trained.bundle}"])
    return Path(done.onnx_file)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server"), manages=False) as server:
        yield server


@pytest.fixture(scope="module")
def job(server: Served, pipeline: Path) -> str:
    """The id of a job that has left the model."""
    return exported(server, pipeline)


def exported(server: Served, pipeline: Path) -> str:
    """A job of a server that starts none, which is done and has left the model: its id."""
    store = server.context.store
    identity: str = server.client.create_job("text_to_image", "train", name="shapes")["id"]
    found = store.get(identity)
    assert found is not None
    results = server.context.manager.folder_of(found).results
    shutil.copytree(pipeline, results / "train" / "model")
    for status in (JobStatus.STARTED, JobStatus.RUNNING, JobStatus.DONE):
        found = store.move(found, status, "")
    return identity


def test_it_is_listed_as_a_model_that_generates(server: Served, job: str, pipeline: Path) -> None:
    (model,) = [one for one in server.client.list_models() if one["job_id"] == job]
    assert (model["path"], model["kind"], model["generates"]) == ("train/model", "pipeline", True)
    assert model["bytes"] == sum(file.stat().st_size for file in pipeline.iterdir())


def test_the_image_is_the_runtimes(server: Served, job: str, pipeline: Path) -> None:
    made = server.client.generate(job, "train/model", PROMPT, seed=5, guidance_scale=1.5, steps=2)
    expected = runtime.load(pipeline).generate(PROMPT, seed=5, guidance_scale=1.5, steps=2)
    with Image.open(io.BytesIO(made)) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), expected.pixels)
        assert image.info["prompt"] == PROMPT
        assert image.info["seed"] == "5"
        assert image.info["model"] == runtime.load(pipeline).metadata.bundle_sha256
    other = server.client.generate(job, "train/model", PROMPT, seed=6, guidance_scale=1.5, steps=2)
    assert other != made


def test_the_time_is_told(server: Served, job: str) -> None:
    place = f"{server.url}/api/v2/models/{job}:generate?path=train/model"
    request = urllib.request.Request(
        place, json.dumps({"prompt": "a"}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        assert response.headers["Content-Type"] == "image/png"
        assert float(response.headers["Server-Timing"].partition("dur=")[2]) > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"guidance": 3}, "guidance cannot be set"),
        ({"steps": 0}, "steps is 0"),
        ({"sampler": "euler"}, "sampler is 'euler'"),
        ({"image": "/etc/passwd"}, "run a job of the action `inference`"),
        ({"components": 3}, "run a job of the action `inference`"),
        ({"clip_guidance_scale": 1.0}, "no noised CLIP"),
    ],
)
def test_a_wrong_setting_is_named(
    settings: dict[str, float | str], words: str, server: Served, job: str
) -> None:
    with pytest.raises(ServerError, match=words) as caught:
        server.client.generate(job, "train/model", PROMPT, **settings)
    assert caught.value.status == 422


def test_wrong_places_and_ways(server: Served, job: str, pipeline: Path, tmp_path: Path) -> None:
    graph = next(pipeline.glob("*.onnx")).name
    for path, status in (("train", 404), ("../..", 404), (f"train/model/{graph}", 422), ("", 404)):
        found = send(server, "POST", f"/models/{job}:generate?path={path}", {"prompt": "a"})
        assert (path, found[0]) == (path, status)
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    with pytest.raises(ServerError, match="text") as caught:
        server.client.predict(job, "train/model", tmp_path / "a.png")
    assert caught.value.status == 422


@FEW
@given(
    prompt=TEXTS,
    seed=st.one_of(st.integers(), st.floats(), st.none()),
    settings=st.dictionaries(
        st.sampled_from(["guidance_scale", "eta", "sampler", "image", "mask", "turn", "labels", "x"]),
        st.one_of(st.floats(), st.integers(), st.text(max_size=5), st.none(), st.lists(st.integers())),
        max_size=3,
    ),
)
def test_whatever_is_asked_for(server: Served, job: str, prompt: str, seed: object, settings: object) -> None:
    body = {"prompt": prompt, "seed": seed, "settings": settings}
    assert send_json(server, "POST", f"/models/{job}:generate?path=train/model", body) < 500


def test_a_job_may_have_such_a_parent(server: Served, job: str) -> None:
    done = server.client.create_job(
        "text_to_image", "inference", {"inference": {"prompts": ["a"]}}, parent_job_id=job
    )
    checkpoint = server.client.get_job(done["id"])["specs"]["inference"]["checkpoint"]
    assert checkpoint.endswith("results/train/model")
    compared = server.client.create_job(
        "text_to_image", "compare", parent_job_id=job, model_ids=[f"{job}:train/model"]
    )
    assert server.client.get_job(compared["id"])["specs"]["compare"]["checkpoints"] == [checkpoint]
    with pytest.raises(ServerError, match="there is no model"):
        server.client.create_job("text_to_image", "compare", model_ids=[f"{job}:train"])


def test_a_damaged_one_is_listed_and_refused(server: Served, pipeline: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(pipeline, tmp_path / "model")
    graph = next(copied.glob("*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1])
    job = exported(server, copied)
    with pytest.raises(ServerError, match="is not the file that it was written for"):
        server.client.generate(job, "train/model", PROMPT)
    copied.joinpath("pipeline.json").write_text("{")
    broken = exported(server, copied)
    kinds = {one["job_id"]: (one["kind"], one["generates"]) for one in server.client.list_models()}
    assert (kinds[job], kinds[broken]) == (("pipeline", True), ("pipeline", False))


def test_a_model_that_predicts_says_what_it_takes() -> None:
    file = Path(__file__).parents[1] / "files" / "format1" / "classification.onnx"
    with pytest.raises(SpecError, match=r"makes no images, it predicts; send an image to :predict"):
        OpenModels().generate(file, PROMPT, 0, {})
