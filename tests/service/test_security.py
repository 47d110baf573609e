"""Who may call, and what strangers' pages may not."""

from __future__ import annotations

import http.client
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from serving import Served, served

from tao_like.service.client import Client, ServerError
from tao_like.service.security import first_token, make_token
from tao_like.service.settings import Settings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("guarded")
    with served(folder, manages=False, require_token=True, max_upload_bytes=1000) as server:
        yield server


def response(server: Served, method: str, path: str, **headers: str) -> int:
    """The status of a request with just these headers."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_first_token_is_the_owners_alone(tmp_path: Path) -> None:
    with served(tmp_path, manages=False, require_token=True) as server:
        store, file = server.context.store, server.settings.token_file
        secret = first_token(store, file)
        assert secret is not None
        assert file.read_text().strip() == secret
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.settings.database.stat().st_mode) == 0o600
        assert secret.encode() not in server.settings.database.read_bytes()
        assert secret not in str(store.tokens())
        assert first_token(store, file) is None
        assert Client(server.url, secret).get_caller() == {"name": "admin", "role": "admin"}


def test_without_a_token_nothing_but_health(server: Served) -> None:
    host = server.url.removeprefix("http://")
    assert response(server, "GET", "/api/v2/health", Host=host) == 200
    assert response(server, "GET", "/api/v2/jobs", Host=host) == 401
    assert response(server, "GET", "/api/v2/openapi.json", Host=host) == 401
    assert response(server, "GET", "/api/v2/jobs", Host=host, Authorization="Bearer wrong") == 401
    assert response(server, "GET", "/api/v2/jobs", Host=host, Authorization="Basic eDp5") == 401


def test_roles(server: Served) -> None:
    store = server.context.store
    reader = Client(server.url, make_token(store, "reader", "read"))
    assert list(reader.list_jobs()) == []
    with pytest.raises(ServerError, match="`read`"):
        reader.create_job("classification", "train")
    secret = make_token(store, "worker", "user")
    worker = Client(server.url, secret)
    assert worker.create_job("classification", "train")["status"] == "Pending"
    assert store.remove_token("worker")
    with pytest.raises(ServerError, match="give a token"):
        worker.get_version()


def test_other_names_of_the_server_and_foreign_pages_are_refused(tmp_path: Path) -> None:
    with served(tmp_path, manages=False, hosts=("gpu.example",)) as server:
        host = server.url.removeprefix("http://")
        port = host.partition(":")[2]
        for name in (host, f"localhost:{port}", "GPU.example", "gpu.example:80"):
            assert response(server, "GET", "/api/v2/version", Host=name) == 200
        for name in ("evil.example", f"evil.example:{port}", "", "127.0.0.1.evil.example", "[::"):
            assert response(server, "GET", "/api/v2/version", Host=name) == 421
        foreign = {"Host": host, "Origin": "http://evil.example", "Content_Length": "0"}
        assert response(server, "POST", "/api/v2/datasets:upload?task=classification", **foreign) == 403
        site = {"Host": host, "Sec_Fetch_Site": "cross-site", "Content_Length": "0"}
        assert response(server, "POST", "/api/v2/jobs", **site) == 403
        own = {"Host": host, "Origin": f"http://{host}", "Content_Length": "0"}
        assert response(server, "POST", "/api/v2/datasets:upload?task=classification", **own) == 422


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_this_machine_needs_no_token(host: str) -> None:
    assert not Settings(Path("x"), host).needs_token
    assert Settings(Path("x"), host, require_token=True).needs_token


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gpu.example"])
def test_any_other_address_needs_one(host: str) -> None:
    assert Settings(Path("x"), host).needs_token


@pytest.mark.parametrize("declared", [True, False])
def test_bodies_that_are_held_have_a_limit(declared: bool, tmp_path: Path) -> None:
    with served(tmp_path, manages=False) as server:
        host = server.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=30)
        body = b'{"task": "' + b"0" * (9 << 20) + b'"}'
        headers = {
            "Content-Type": "application/json",
            **({} if declared else {"Transfer-Encoding": "chunked"}),
        }
        pieces = body if declared else iter([body[: 1 << 20]] * 9)
        with suppress(OSError):  # it does not read to the end what it does not take
            connection.request("POST", "/api/v2/jobs", pieces, headers, encode_chunked=not declared)
        answer = connection.getresponse()
        assert answer.status == 413
        assert b"larger than 8388608 bytes" in answer.read()
        connection.close()


def test_uploads_have_a_limit(server: Served, tmp_path: Path) -> None:
    client = Client(server.url, make_token(server.context.store, "sender", "user"))
    large = tmp_path / "large.zip"
    large.write_bytes(b"0" * 1001)
    with pytest.raises(ServerError, match="larger than 1000 bytes") as caught:
        client.upload_dataset("classification", large)
    assert caught.value.status == 413
    wrong = tmp_path / "wrong.zip"
    wrong.write_bytes(b"0" * 100)
    with pytest.raises(ServerError, match="neither a zip nor a tar"):
        client.upload_dataset("classification", wrong)
    assert list(server.settings.datasets.iterdir()) == []
