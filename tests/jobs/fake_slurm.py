"""sbatch, squeue, scancel and srun that run jobs on this machine and print as Slurm 22.05 does.

``fake_slurm.py PROGRAM ARGUMENTS``. The folder in the variable FAKE_SLURM holds a folder for each job. While
it holds a file ``full``, new jobs wait.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

HOME = Path(os.environ["FAKE_SLURM"])
KILL_WAIT = 3.0


def options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    found, rest = {}, list(words)
    while rest and rest[0].startswith("--"):
        name, _, value = rest.pop(0)[2:].partition("=")
        found[name] = value
    return found, rest


def job(number: str) -> dict[str, object]:
    return dict(json.loads((HOME / number / "job.json").read_text()))


def change(number: str, **values: object) -> None:
    content = {**job(number), **values}
    temporary = HOME / number / f"job.{os.getpid()}"
    temporary.write_text(json.dumps(content))
    temporary.replace(HOME / number / "job.json")


def jobs() -> list[str]:
    return sorted((path.name for path in HOME.iterdir() if path.name.isdigit()), key=int)


def sbatch(words: list[str]) -> None:
    given, (script,) = options(words)
    if given.get("partition") == "none":
        sys.exit(
            "sbatch: error: invalid partition specified: none\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified"
        )
    number = str(len(jobs()) + 1)
    (HOME / number).mkdir()
    state = "PENDING" if (HOME / "full").exists() else "CONFIGURING"
    content = {"name": given["job-name"], "script": script, "state": state, "options": given, "pid": 0}
    (HOME / number / "job.json").write_text(json.dumps(content))
    if state != "PENDING":
        subprocess.Popen(
            [sys.executable, "-S", __file__, "run", number],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    print(number)


def run(words: list[str]) -> None:
    """What slurmd and slurmstepd do."""
    (number,) = words
    what = job(number)
    given = dict(what["options"])  # type: ignore[call-overload]
    environment = {**os.environ, "SLURM_JOB_ID": number, "SLURM_JOB_NUM_NODES": given.get("nodes", "1")}
    with Path(given["output"].replace("%%", "%")).open("ab") as output:
        child = subprocess.Popen(
            ["/bin/bash", str(what["script"])],
            env=environment,
            cwd=given["chdir"],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        change(number, state="RUNNING", pid=child.pid)
        code = child.wait()
    done = "COMPLETED" if code == 0 else "FAILED"
    change(number, state="CANCELLED" if job(number)["state"] == "COMPLETING" else done)


def squeue(words: list[str]) -> None:
    given, _ = options(words)
    if "jobs" in given:
        if given["jobs"] not in jobs():
            sys.exit("slurm_load_jobs error: Invalid job id specified")
        wanted = [given["jobs"]]
    else:
        wanted = [number for number in jobs() if job(number)["name"] == given["name"]]
    for number in wanted:
        state = str(job(number)["state"])
        if given.get("states") != "all" and state not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
            continue
        reason = "Resources" if state == "PENDING" else "None"
        print(given["format"].replace("%i", number).replace("%T", state).replace("%r", reason))


def scancel(words: list[str]) -> None:
    _, (number,) = options(words)
    before = job(number)
    if before["state"] not in ("PENDING", "CONFIGURING", "RUNNING"):
        return
    change(number, state="COMPLETING" if before["pid"] else "CANCELLED")
    if not before["pid"]:
        return
    pid = int(str(before["pid"]))
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
    if os.fork() == 0:
        for stream in (0, 1, 2):
            os.close(stream)
        os.setsid()
        time.sleep(KILL_WAIT)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def srun(words: list[str]) -> None:
    given, command = options(words)
    tasks = [
        subprocess.Popen(command, env={**os.environ, "SLURM_NODEID": str(node), "SLURM_STEP_NUM_TASKS": "2"})
        for node in range(int(given["nodes"]))
    ]
    sys.exit(max(task.wait() for task in tasks))


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2:])
