"""``tao-like jobs`` and ``tao-like server``, as somebody types them."""

from __future__ import annotations

import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from click.testing import CliRunner, Result
from serving import Served, served

from tao_like.cli.main import cli
from tao_like.errors import SpecError
from tao_like.jobs.job import JobStatus
from tao_like.service.client import Client, ServerError
from tao_like.service.security import hash_of
from tao_like.service.server import serve
from tao_like.service.settings import Settings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("commands"), manages=False) as server:
        yield server


def call(server: Served, *words: str) -> Result:
    return CliRunner().invoke(
        cli, ["jobs", *words], env={"TAO_LIKE_SERVER": server.url}, catch_exceptions=False
    )


def test_a_job_from_asking_to_removing(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text("train:\n  num_epochs: 7\n")
    identity = call(
        server, "submit", "classification", "train", "-e", "spec.yaml", "--name", "mine"
    ).output.strip()
    listed = call(server, "list").output
    assert f"{identity[:8]}  Pending" in listed
    assert "mine" in listed
    shown = yaml.safe_load(call(server, "show", identity[:8]).output)
    assert (shown["id"], shown["specs"]) == (identity, {"train": {"num_epochs": 7}})
    folder = server.context.manager.folder_of(identity)
    (folder.results / "train").mkdir(parents=True)
    (folder.results / "train" / "a.txt").write_text("found")
    folder.log.write_text("epoch 1\nepoch 2\n")
    assert call(server, "logs", identity).output == "epoch 1\nepoch 2\n"
    assert "train/a.txt" in call(server, "files", identity).output
    assert call(server, "download", identity, "train/a.txt").output.strip() == "a.txt"
    assert Path("a.txt").read_text() == "found"
    assert "Canceled" in call(server, "cancel", identity).output
    assert "Pending" in call(server, "retry", identity).output
    call(server, "cancel", identity)
    assert call(server, "delete", identity).exit_code == 0
    assert identity[:8] not in call(server, "list").output
    assert not folder.path.exists()
    assert call(server, "show", "0000").exit_code == 2


def test_address_and_token_come_from_a_file(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tao_like.service.client.CONFIG_FILE", tmp_path / "server.yaml")
    (tmp_path / "server.yaml").write_text(f"url: {server.url}\ntoken: secret\n")
    client = Client()
    assert client.url == server.url
    assert client.get_version()["api"] == "v2"
    (tmp_path / "server.yaml").write_text("[1]")
    with pytest.raises(Exception, match="write `url:"):
        Client()


def test_tokens_are_given_and_ended(server: Served) -> None:
    words = ["server", "token", "mia", "--role", "read", "-f", str(server.settings.folder)]
    secret = CliRunner().invoke(cli, words).output.strip()
    (token,) = server.context.store.tokens()
    assert (token.name, token.role, token.sha256) == ("mia", "read", hash_of(secret))
    assert CliRunner().invoke(cli, [*words, "--revoke"]).exit_code == 0
    assert server.context.store.tokens() == []
    assert CliRunner().invoke(cli, [*words, "--revoke"]).exit_code == 2
    assert stat.S_IMODE(server.settings.database.stat().st_mode) == 0o600


@pytest.mark.parametrize("gpus", ["a", "0,0", "0;1"])
def test_devices_that_are_no_list_of_numbers(gpus: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["server", "start", "--gpus", gpus, "-f", str(tmp_path)])
    assert result.exit_code == 2
    assert "such as 0,1" in result.output


def test_what_a_job_of_a_server_is_asked_and_which(server: Served, tmp_path: Path) -> None:
    missing = call(server, "submit", "classification", "train", "-e", str(tmp_path / "no.yaml"))
    assert missing.exit_code == 2
    assert "There is no file" in missing.output
    made = [call(server, "submit", "classification", "train").output.strip() for _ in range(2)]
    words = ["submit", "classification", "dataset_check", "--parent", made[0][:8], "--priority", "3"]
    child = server.client.get_job(call(server, *words, "--resume-when-lost").output.strip())
    assert (child["parent_job_id"], child["priority"], child["on_lost"]) == (made[0], 3, "resume")
    several = call(server, "show", "")
    assert several.exit_code == 2
    assert "several jobs have an id that begins" in several.output
    listed = call(server, "list", "--task", "classification", "--status", "Pending", "-n", "2").output
    assert len(listed.splitlines()) == 2
    assert call(server, "list", "--task", "detection").output == ""
    for identity in (child["id"], *made):
        assert "Canceled" in call(server, "cancel", identity).output
        call(server, "delete", identity)


def test_a_running_job_shows_its_time_to_go_and_one_that_failed_why(server: Served) -> None:
    identity = call(server, "submit", "classification", "train").output.strip()
    store = server.context.store
    job = store.get(identity)
    assert job is not None
    job = store.move(job, JobStatus.STARTED, "")
    assert job is not None
    told = {"message": "epoch 2 of 9", "eta": "0:03:00"}
    job = store.move(job, JobStatus.RUNNING, "", progress=told)
    assert job is not None
    assert "epoch 2 of 9, 0:03:00 to go" in call(server, "list").output
    store.move(job, JobStatus.ERROR, "", error="the disk is full\nand more")
    line = call(server, "list").output
    assert "the disk is full" in line
    assert "and more" not in line
    call(server, "delete", identity)


# --- the server itself ---


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Settings, list[str]]]:
    """A server as `tao-like server start` has it, in a thread, which has no signals."""
    at_work: list[uvicorn.Server] = []
    run = uvicorn.Server.run

    def kept(self: uvicorn.Server, *args: Any, **fields: Any) -> None:
        at_work.append(self)
        run(self, *args, **fields)

    monkeypatch.setattr(uvicorn.Server, "run", kept)
    settings, said = Settings(tmp_path / "server", port=0, require_token=True), list[str]()
    thread = threading.Thread(target=serve, args=(settings, said.append), daemon=True)
    thread.start()
    while not (at_work and at_work[0].started):
        assert thread.is_alive()
        time.sleep(0.01)
    yield settings, said
    at_work[0].should_exit = True
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_a_server_says_where_it_is_and_keeps_others_out(started: tuple[Settings, list[str]]) -> None:
    settings, said = started
    assert [line.split()[:2] for line in said] == [["A", "token"], ["tao_like", "is"], ["Jobs", "and"]]
    url = said[1].split()[3]
    with pytest.raises(ServerError, match="token"):
        list(Client(url, "guessed").list_jobs())
    assert list(Client(url, settings.token_file.read_text().strip()).list_jobs()) == []
    with pytest.raises(SpecError, match=r"at work"):
        serve(settings, said.append)


def test_an_address_that_is_taken_or_unknown_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SpecError, match=f"--host 127.0.0.1 --port {port}: .*in use"):
            serve(Settings(tmp_path, port=port), print)
    with pytest.raises(SpecError, match=r"--host no\.such\.host\.invalid --port 8042: "):
        serve(Settings(tmp_path, host="no.such.host.invalid"), print)
