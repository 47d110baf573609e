"""What the container files say of one another and of the project agrees. No engine is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tao_like.spec import load_spec
from tao_like.tasks import spec_module

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read pyproject.toml")
ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text("utf-8")


def test_what_the_dockerfile_copies_is_let_in_and_is_there() -> None:
    ignored, *rest = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"
    ]
    assert ignored == "*"
    let_in = {line[1:] for line in rest if line.startswith("!")}
    copied = {
        word for words in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for word in words.split()
    }
    mounted = set(re.findall(r"--mount=type=bind,source=([\w.]+)", DOCKERFILE))
    assert copied | mounted == let_in
    assert all((ROOT / name).exists() for name in let_in)


def test_every_package_that_the_image_asks_for_has_a_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = re.findall(r"extra\['(\w+)'\]", DOCKERFILE)
    assert extras == ["demo", "notebooks"]
    asked = [
        *project["dependencies"],
        *(line for name in extras for line in project["optional-dependencies"][name]),
    ]
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = {pin.name: pin for pin in (Requirement(line) for line in lines if line[0] != "#")}
    for requirement in map(Requirement, asked):
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(next(iter(pin.specifier)).version), pin


def test_compose_publishes_to_this_machine_alone_and_writes_as_the_user() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))["services"]
    assert services.keys() == {"shell", "gpu", "tensorboard", "jupyter"}
    for service in services.values():
        assert service["user"].startswith("${UID:?")
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_manifest_starts_as_many_processes_as_its_spec_asks_for() -> None:
    jobset: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "jobset.yaml").read_text("utf-8"))
    group = jobset["spec"]["replicatedJobs"][0]
    job = group["template"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    command = container["command"]
    options = dict(word.removeprefix("--").split("=", 1) for word in command if word.startswith("--"))
    overrides = [word for word in command if word.startswith("train.")]
    train = load_spec(
        spec_module(command[command.index("tao_like.cli") + 1]).Spec, None, overrides
    ).spec.train
    assert int(options["nnodes"]) == job["parallelism"] == job["completions"] == train.num_nodes
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert int(options["nproc-per-node"]) == gpus == train.num_gpus
    name = jobset["metadata"]["name"]
    assert options["rdzv-endpoint"].startswith(f"{name}-{group['name']}-0-0.{name}:")
