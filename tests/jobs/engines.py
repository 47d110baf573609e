"""Engines that run jobs on this machine: Slurm's programs, the APIs of Kubernetes and Ray."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import tao_like
from tao_like.config.blocks.execution import KubernetesSpec

ROOT = str(Path(tao_like.__file__).parents[1])
STOP_SECONDS = 3.0
_KUBECTL = """\
import json, os, sys, urllib.error, urllib.request
words = [word for word in sys.argv[1:] if not word.startswith("--context")]
verb, path = words[0], words[words.index("--raw") + 1]
data = sys.stdin.buffer.read() if "--filename=-" in words else None
method = {"get": "GET", "create": "POST", "delete": "DELETE"}[verb]
request = urllib.request.Request(os.environ["FAKE_KUBERNETES"] + path, data, method=method)
try:
    sys.stdout.write(urllib.request.urlopen(request).read().decode())
except urllib.error.HTTPError as error:
    said = json.loads(error.read())
    sys.exit(f"Error from server ({said['reason']}): {said['message']}")
"""


def put_on_path(folder: Path, name: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name, before all others."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)
    if str(folder) not in os.environ["PATH"].split(os.pathsep):
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def fake_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's programs on PATH; gives the folder of what they know."""
    home = folder / "slurm"
    home.mkdir()
    monkeypatch.setenv("FAKE_SLURM", str(home))
    for name in ("sbatch", "squeue", "scancel", "srun"):
        words = [sys.executable, "-S", str(Path(__file__).with_name("fake_slurm.py")), name]
        put_on_path(folder / "programs", name, words, monkeypatch)
    return home


def fake_kubectl(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubectl on PATH that is logged in at an address."""
    monkeypatch.setenv("FAKE_KUBERNETES", url)
    put_on_path(folder / "programs", "kubectl", [sys.executable, "-S", "-c", _KUBECTL], monkeypatch)


def kubernetes_settings(folder: Path) -> KubernetesSpec:
    """Pods that see a folder of this machine."""
    return KubernetesSpec(
        image="registry.example.com/tao-like:cpu", claim="work", mount_path=str(folder), python=sys.executable
    )


class _Engine:
    """Things by path, and the processes that they stand for."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, list[subprocess.Popen[bytes]]] = {}
        self.requests: list[tuple[str, str]] = []
        self.full = False

    def start(self, path: str, words: list[str] | str, cwd: str | None, environment: dict[str, str]) -> None:
        variables = {**os.environ, "PYTHONPATH": ROOT, **environment}
        process = subprocess.Popen(
            words, cwd=cwd, env=variables, shell=isinstance(words, str), start_new_session=True
        )
        self.processes.setdefault(path, []).append(process)

    def codes(self, path: str) -> list[int | None]:
        return [process.poll() for process in self.processes.get(path, [])]

    def stop(self, path: str) -> None:
        """First a request to end; after the grace by force."""
        for process in self.processes.get(path, []):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        threading.Thread(target=self._kill, args=(path,), daemon=True).start()

    def _kill(self, path: str) -> None:
        time.sleep(STOP_SECONDS)
        for process in self.processes.get(path, []):
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        raise NotImplementedError


class Kubernetes(_Engine):
    """The part of the API that a Job needs; with ``jobsets`` also JobSet's."""

    def __init__(self, *, jobsets: bool = False) -> None:
        super().__init__()
        self.jobsets = jobsets

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        path = path.partition("?")[0]
        missing = {"kind": "Status", "reason": "NotFound", "message": f'"{path}" not found', "code": 404}
        if "/jobset.x-k8s.io/" in path and not self.jobsets:
            return 404, missing
        if path == "/apis/jobset.x-k8s.io/v1alpha2":
            return 200, {"kind": "APIResourceList"}
        if path.endswith("/pods"):
            condition = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/3",
            }
            return 200, {"items": [{"status": {"conditions": [condition]}}] if self.full else []}
        if method == "POST":
            name = f"{path}/{body['metadata']['name']}"
            if name in self.things:
                return 409, {"reason": "AlreadyExists", "message": f"{name} already exists"}
            self.things[name] = {**body, "metadata": {**body["metadata"], "uid": f"uid-{len(self.things)}"}}
            if body["kind"] == "Job" and not self.full:
                self._pods(name, body["spec"])
            return 201, self.things[name]
        if "deletionTimestamp" in self.things.get(path, {}).get("metadata", {}) and None not in self.codes(
            path
        ):
            del self.things[path]
        if path not in self.things:
            return 404, missing
        if method == "DELETE":
            assert body["propagationPolicy"] == "Foreground"
            self.stop(path)
            self.things[path]["metadata"]["deletionTimestamp"] = "2026-11-29T00:00:00Z"
            return 200, self.things[path]
        return 200, {**self.things[path], "status": self._status(path)}

    def _pods(self, name: str, spec: dict[str, Any]) -> None:
        container = spec["template"]["spec"]["containers"][0]
        for node in range(spec["completions"]):
            assert container["env"][0]["name"] == "TAO_LIKE_NODE"
            self.start(name, container["command"], container["workingDir"], {"TAO_LIKE_NODE": str(node)})

    def _status(self, path: str) -> dict[str, Any]:
        codes = self.codes(path)
        active = codes.count(None)
        if not codes or active:
            return {"active": max(active, 1), "ready": active}
        if any(codes):
            failed = {
                "type": "Failed",
                "status": "True",
                "reason": "BackoffLimitExceeded",
                "message": "limit",
            }
            return {"failed": 1, "conditions": [failed]}
        return {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}


class Ray(_Engine):
    """Ray Jobs' REST API."""

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if method == "POST" and path == "/api/jobs/":
            name = f"/api/jobs/{body['submission_id']}"
            if name in self.things:
                return 500, {"error": "already exists"}
            self.things[name] = {**body, "status": "PENDING", "stopped": False}
            if not self.full:
                self.start(name, body["entrypoint"], None, body["runtime_env"]["env_vars"])
            return 200, {"submission_id": body["submission_id"]}
        path = path.partition("/stop")[0]
        thing = self.things.get(path)
        if thing is None:
            return 404, {"error": "not found"}
        if method == "POST":
            thing["stopped"] = True
            self.stop(path)
            return 200, {"stopped": True}
        codes = self.codes(path)
        status = "STOPPED" if thing["stopped"] and None not in codes else "PENDING"
        if codes:
            status = {None: "RUNNING", 0: "SUCCEEDED"}.get(
                codes[0], "STOPPED" if thing["stopped"] else "FAILED"
            )
        return 200, {"status": status, "message": "waits" if status == "PENDING" else ""}


@contextmanager
def serving(engine: _Engine) -> Iterator[str]:
    """The engine's API at an address of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            engine.requests.append((self.command, self.path))
            code, content = engine.answer(self.command, self.path, json.loads(body or b"{}"))
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer

        def log_message(self, *_words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        for processes in engine.processes.values():
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
