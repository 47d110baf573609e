"""How long `GET /jobs` takes at 200 requests a second, with 10,000 jobs in the table.

The server is a process of its own, as `tao-like server start` runs it; requests come from this one over a few
connections that stay open, at set times, and waiting for a late answer counts.

    python benchmarks/service_load.py            writes service_load.csv beside this file
"""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tao_like.jobs.states import JobStatus
from tao_like.jobs.storage.store import Store
from tao_like.jobs.storage.tables import job_details, jobs

RESULTS = Path(__file__).with_suffix(".csv")
SPEC = {"train": {"num_epochs": 20, "optim": {"lr": 0.001}}, "dataset": {"img_size": 224, "batch_size": 16}}
KPI = {f"val_{name}": 0.8125 for name in ("loss", "accuracy", "precision", "recall", "f1")}


def fill(folder: Path, number: int) -> None:
    """Jobs that have ended, with progress and spec as real ones have them."""
    store = Store(folder / "jobs.db")
    chance = random.Random(0)
    rows, details = [], []
    for index in range(number):
        identity = f"00000000-0000-4000-8000-{index:012d}"
        status = chance.choice([JobStatus.DONE, JobStatus.ERROR, JobStatus.CANCELED]).value
        progress = {
            "epoch": 20,
            "max_epoch": 20,
            "eta": "0:00:00",
            "message": "finished in 0:12:34",
            "kpi": KPI,
        }
        rows.append(
            {
                "id": identity,
                "version": 9,
                "task": "classification",
                "action": "train",
                "name": f"run {index}",
                "status": status,
                "priority": 0,
                "gpus": 0,
                "attempt": 1,
                "on_lost": "fail",
                "tags": [],
                "created": 1.7e9 + index,
                "gpu_ids": [],
                "progress": progress,
                "request_sha256": "",
            }
        )
        details.append({"job_id": identity, "spec": SPEC, "command": []})
    with store.engine.begin() as connection:
        connection.execute(jobs.insert(), rows)
        connection.execute(job_details.insert(), details)
    store.close()


def measure(
    address: str, rate: int, seconds: float, connections: int, path: str, changes: float = 0
) -> tuple[list[float], int]:
    """Seconds from the set time of each request to its whole answer, and the number that failed."""
    total = int(rate * seconds)
    begin = time.perf_counter() + 0.5
    taken, failed, lock, counter = [], [0], threading.Lock(), iter(range(total))

    def work() -> None:
        connection = http.client.HTTPConnection(address, timeout=30)
        while True:
            with lock:
                index = next(counter, None)
            if index is None:
                return
            due = begin + index / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            with lock:
                taken.append(time.perf_counter() - due)
                failed[0] += response.status != 200

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    if changes:
        while any(thread.is_alive() for thread in threads):
            _change(address)
            time.sleep(1 / changes)
    for thread in threads:
        thread.join()
    return taken, failed[0]


def _change(address: str) -> None:
    """Change a job, as one that runs does when it tells how far it is."""
    connection = http.client.HTTPConnection(address, timeout=30)
    body = json.dumps({"priority": random.randrange(100)})
    path = "/api/v2/jobs/00000000-0000-4000-8000-000000000001"
    connection.request("PATCH", path, body, {"Content-Type": "application/json"})
    assert connection.getresponse().read()
    connection.close()


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--limit", type=int, default=50, help="jobs a page")
    parser.add_argument("--changes", type=float, default=4.0, help="changes of a job a second meanwhile")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name), options.jobs)
        command = [sys.executable, "-m", "tao_like.cli", "server", "start", "-f", name, "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        address = server.stdout.readline().split()[3].removeprefix("http://").rstrip("/")
        path = f"/api/v2/jobs?limit={options.limit}"
        measure(address, options.rate, 1.0, 8, path)
        for number in range(options.rounds):
            before = processor_seconds(server.pid)
            taken, failed = measure(address, options.rate, options.seconds, 16, path, options.changes)
            taken.sort()
            quantile = {q: 1000 * taken[min(len(taken) - 1, int(len(taken) * q / 100))] for q in (50, 95, 99)}
            row = {
                "jobs": options.jobs,
                "requests_per_second": options.rate,
                "page": options.limit,
                "changes_per_second": options.changes,
                "round": number + 1,
                "requests": len(taken),
                "failed": failed,
                **{f"p{q}_ms": round(value, 2) for q, value in quantile.items()},
                "longest_ms": round(1000 * taken[-1], 2),
                "server_ms_a_request": round(1000 * (processor_seconds(server.pid) - before) / len(taken), 2),
                "load_average": round(os.getloadavg()[0], 2),
                "processors": os.cpu_count(),
            }
            found.append(row)
            print(json.dumps(row))
        server.send_signal(signal.SIGTERM)
        server.wait()
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
