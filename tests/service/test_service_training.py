"""From an upload to an answer: a real training, with the server killed in the midst of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tao_like.service.client import Client, ServerError

SPECS = {
    "model": {
        "backbone": {"type": "test_resnet", "pretrained_backbone_path": None, "freeze_backbone": False}
    },
    "dataset": {"img_size": 32, "batch_size": 8, "workers": 0},
    "train": {
        "num_epochs": 500,
        "checkpoint_interval": 5,
        "accelerator": "cpu",
        "tensorboard": {"enabled": False},
        "optim": {"warmup_epochs": 0},
    },
}


class Server:
    """A server in a process of its own, started by the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "tao_like.cli",
            "server",
            "start",
            "--port",
            "0",
            "-f",
            str(self.folder),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.client = Client(self.process.stdout.readline().split()[3].rstrip("/"), "none")

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()


def wait_for_epoch(client: Client, job: str, least: int) -> int:
    end = time.monotonic() + 120
    while (epoch := client.get_job(job)["progress"].get("epoch", 0)) < least:
        assert time.monotonic() < end
        assert client.get_job(job)["status"] in ("Pending", "Started", "Running", "Resuming")
        time.sleep(0.1)
    return int(epoch)


def test_from_an_upload_to_an_answer(class_folders: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    try:
        client = server.client
        data = client.upload_dataset("classification", class_folders, "shapes")
        assert data["status"] == "ready", data["message"]
        job = client.create_job("classification", "train", SPECS, dataset_id=data["id"], name="long")
        wait_for_epoch(client, job["id"], 1)

        # The server dies; the training goes on, and the next server finds it.
        server.kill()
        server.start()
        client = server.client
        found = client.get_job(job["id"])
        assert (found["status"], found["attempt"]) == ("Running", 1)

        # Pause, and go on to an end that is near.
        wait_for_epoch(client, job["id"], 5)
        client.pause_job(job["id"])
        paused = client.wait(job["id"], timeout=60)
        assert paused["status"] == "Paused"
        epoch = paused["progress"]["epoch"]
        assert epoch >= 5
        client.resume_job(job["id"], {"train": {"max_steps": 1}})
        done = client.wait(job["id"], timeout=120)
        assert (done["status"], done["attempt"]) == ("Done", 2)
        assert done["progress"]["epoch"] >= epoch
        words = [
            event["data"]["status"]
            for event in client.stream_job_events(job["id"])
            if event["event"] == "state"
        ]
        assert words == [
            *("Pending", "Started", "Running", "Pausing", "Paused"),
            *("Resuming", "Started", "Running", "Done"),
        ]

        export = client.create_job("classification", "export", parent_job_id=job["id"])
        client.wait(export["id"], timeout=120)
        models = {model["path"]: model for model in client.list_models()}
        assert set(models) == {"export/model.onnx", "train/model.tltb"}
        assert 0 <= models["train/model.tltb"]["metrics"]["accuracy"] <= 1
        image = next((class_folders / "test").rglob("*.png"))
        prediction = client.predict(export["id"], "export/model.onnx", image)
        assert prediction["kind"] == "classes"
        assert sum(prediction["prediction"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        with pytest.raises(ServerError, match="export"):
            client.predict(job["id"], "train/model.tltb", image)
        with pytest.raises(ServerError, match="the image"):
            client.predict(export["id"], "export/model.onnx", Path(__file__))
    finally:
        server.kill(signal.SIGTERM)
    assert not [
        path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(path)
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.parent.name != str(os.getpid()) else b""
    except OSError:
        return b""
