"""What runs elsewhere, on this machine: Slurm with two slurmds as two machines, Ray, PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "srun", "scontrol")
_SECONDS = 60.0
_RAY_SECONDS = 180.0
_CONFIGURATION = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=5
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=1000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Slurm at work; its programs find it by SLURM_CONF."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"not installed: {', '.join(missing)}" if missing else "slurmd wants to be root")
    ports = _free_ports(3)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(host=socket.gethostname().partition(".")[0], folder=folder, ports=ports)
    )
    (folder / "state").mkdir()
    folder.chmod(0o755)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket"]
    munged += [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    with ExitStack() as scope, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(configuration))
        scope.enter_context(_daemon(munged, folder))
        _wait(lambda: (folder / "munge.socket").exists(), folder)
        scope.enter_context(_daemon(["slurmctld", "-D", "-f", str(configuration)], folder))
        for node in ("n1", "n2"):
            (folder / f"spool-{node}").mkdir()
            scope.enter_context(_daemon(["slurmd", "-D", "-N", node, "-f", str(configuration)], folder))
        _wait(lambda: _output("sinfo", "-h", "-o", "%T").split() == ["idle"], folder)
        yield


@contextmanager
def ray() -> Iterator[str]:
    """A cluster of one machine at work; gives the address of its dashboard."""
    program = shutil.which("ray")
    if program is None:
        pytest.skip("not installed: ray[default]")
    port, dashboard = _free_ports(2)
    # A short path: sockets lie in it.
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    words = [program, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"]
    words += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--temp-dir={folder}"]
    words += ["--num-cpus=4", "--disable-usage-stats"]
    with ExitStack() as scope:
        scope.callback(shutil.rmtree, folder, ignore_errors=True)
        scope.enter_context(_daemon(words, Path(folder)))
        url = f"http://127.0.0.1:{dashboard}"
        end = time.monotonic() + _RAY_SECONDS
        while not _outputs(f"{url}/api/jobs/"):
            assert time.monotonic() < end, "Ray does not come up"
            time.sleep(0.5)
        yield url


@contextmanager
def postgresql() -> Iterator[str]:
    """A server with an empty database; gives its address."""
    pytest.importorskip("pg8000")
    there = [Path(found).resolve().parent for name in ("postgres", "initdb") if (found := shutil.which(name))]
    programs = [*there, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    home = next((folder for folder in programs if (folder / "initdb").is_file()), None)
    if home is None:
        pytest.skip("not installed: postgresql")
    # It does not run as root.
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgresql", dir="/tmp"))
    if user:
        shutil.chown(folder, user)
    (port,) = _free_ports(1)
    data = folder / "data"
    initdb = [str(home / "initdb"), "--no-sync", "--auth=trust", "--username=tester", f"--pgdata={data}"]
    with ExitStack() as scope:
        scope.callback(shutil.rmtree, folder, ignore_errors=True)
        subprocess.run(initdb, user=user, check=True, capture_output=True, cwd=folder)
        words = [
            str(home / "postgres"),
            "-D",
            str(data),
            "-k",
            str(folder),
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
        ]
        scope.enter_context(_daemon(words, folder, user))
        url = f"postgresql://tester@127.0.0.1:{port}/postgres"
        end = time.monotonic() + _SECONDS
        while not _accepts(port):
            assert time.monotonic() < end, "PostgreSQL does not come up"
            time.sleep(0.1)
        yield url


def _accepts(port: int) -> bool:
    import pg8000.native

    try:
        pg8000.native.Connection("tester", host="127.0.0.1", port=port, database="postgres").close()
    except (OSError, pg8000.exceptions.Error):
        return False
    return True


def _outputs(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def _daemon(words: list[str], folder: Path, user: str | None = None) -> Iterator[None]:
    with (folder / f"{Path(words[0]).name}.out").open("ab") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True, user=user)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(what: object, folder: Path) -> None:
    assert callable(what)
    end = time.monotonic() + _SECONDS
    while not what():
        if time.monotonic() > end:
            told = [
                path.read_text(errors="replace")[-500:]
                for path in (*folder.glob("*.log"), *folder.glob("*.out"))
            ]
            pytest.fail("Slurm does not come up: " + "\n".join(told))
        time.sleep(0.1)


def _output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def _free_ports(number: int) -> list[int]:
    with ExitStack() as scope:
        listeners = [scope.enter_context(socket.socket()) for _ in range(number)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]
