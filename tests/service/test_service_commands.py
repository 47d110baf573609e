"""``tao-like jobs`` and ``tao-like server``, as somebody types them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from serving import Served, served

from tao_like.cli.main import cli
from tao_like.service.client import Client
from tao_like.service.security import hash_of


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
