"""What the container files say of one another and of the project agrees. No engine is run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tao_like.config import load_spec
from tao_like.tasks import spec_module

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read pyproject.toml")
ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text("utf-8")


def instructions(name: str) -> list[str]:
    """What follows ``name`` in each such instruction of the Dockerfile, its lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", "")
    return re.findall(rf"^{name} +(.+)$", text, re.MULTILINE)


def shell(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a RUN in the project's folder, with this Python; pip is only quoted."""
    beforehand = f'pip() {{ echo "pip $*"; }}\npython() {{ "{sys.executable}" "$@"; }}\n'
    return subprocess.run(
        ["/bin/sh", "-c", beforehand + command], cwd=ROOT, env=variables, capture_output=True, text=True
    )


def test_what_the_dockerfile_copies_is_let_in_and_is_there() -> None:
    ignored, *rest = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"
    ]
    assert ignored == "*"
    let_in = {line[1:] for line in rest if line.startswith("!")}
    copies = [words.split() for words in instructions("COPY") if not words.startswith("--from=source ")]
    assert {word for words in copies for word in words[:-1]} == let_in
    assert all((ROOT / name).exists() for name in let_in)


def test_every_package_that_the_image_asks_for_has_a_version() -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project, builds_with = configuration["project"], configuration["build-system"]["requires"]
    extras = [project["optional-dependencies"][name] for name in ("demo", "notebooks")]
    (command,) = [command for command in instructions("RUN") if "tomllib" in command]
    _, *asked = shell(command.replace("> /requirements.txt", "")).stdout.splitlines()
    assert asked == [*project["dependencies"], *(line for extra in extras for line in extra)]
    assert [Requirement(line).name for line in builds_with] == ["hatchling"]
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = {pin.name: pin for pin in (Requirement(line) for line in lines if line[0] != "#")}
    for requirement in map(Requirement, [*asked, *builds_with]):
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(next(iter(pin.specifier)).version), pin


@pytest.mark.parametrize(
    ("device", "index", "options"),
    [
        ("cpu", "", ""),
        ("cpu", "ADDRESS", "-i ADDRESS "),
        ("cuda", "ADDRESS", ""),
    ],
)
def test_torch_alone_comes_from_the_index_that_was_given(device: str, index: str, options: str) -> None:
    (command,) = [command for command in instructions("RUN") if "TORCH_INDEX" in command]
    torch, others = shell(command, DEVICE=device, TORCH_INDEX=index).stdout.splitlines()
    assert torch == f"pip install --no-deps {options}--constraint constraints.txt torch torchvision"
    assert others == "pip install --constraint constraints.txt --requirement requirements.txt"


def test_a_device_that_nobody_knows_builds_nothing() -> None:
    (command,) = [command for command in instructions("RUN") if "TORCH_INDEX" in command]
    done = shell(command, DEVICE="gpu", TORCH_INDEX="")
    assert (done.returncode, done.stdout) == (2, "")
    assert "DEVICE=gpu is neither cpu nor cuda" in done.stderr


def test_compose_builds_the_dockerfile_and_lends_it_the_users_folder() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))["services"]
    assert services.keys() == {"shell", "gpu", "tensorboard", "jupyter"}
    for service in services.values():
        build = service["build"]
        context = ROOT / "docker" / build["context"]
        assert context.samefile(ROOT)
        assert (context / build["dockerfile"]).is_file()
        # With arguments that the Dockerfile lacks, Docker warns and builds on.
        assert build["args"].keys() <= {line.partition("=")[0] for line in instructions("ARG")}
        assert service["volumes"] == ["${PWD}:" + instructions("WORKDIR")[-1]]
        # Not UID: bash does not hand it on, and other shells have none.
        assert service["user"].startswith("${RUN_AS:?")


@pytest.mark.parametrize("name", ["tensorboard", "jupyter"])
def test_compose_publishes_what_a_page_listens_on_to_this_machine_alone(name: str) -> None:
    service = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))["services"][name]
    command = service["command"]
    port = command[command.index("--port") + 1]
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert "0.0.0.0" in command


def test_the_page_gives_the_commands_that_the_dockerfile_gives() -> None:
    page = (ROOT / "docs" / "devices.md").read_text("utf-8")
    commands = re.findall(r"^docker (?:build|run) .+$", page, re.MULTILINE)
    assert len(commands) == 3
    assert all(f"#   {command}\n" in DOCKERFILE for command in commands)
    arguments = set(re.findall(r"--build-arg (\w+)", page))
    assert arguments == {"DEVICE", "TORCH_INDEX"} <= {line.partition("=")[0] for line in instructions("ARG")}


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
