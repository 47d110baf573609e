"""Jobs in the queue of Slurm, by sbatch, squeue and scancel; accounting (sacct) is not needed."""

from __future__ import annotations

import re
import shlex
import sys

from tao_like.config.blocks.execution import SlurmSpec
from tao_like.jobs.executors.base import Submission
from tao_like.jobs.executors.engine import (
    EngineError,
    EngineExecutor,
    EngineState,
    ask,
    torchrun_words,
)
from tao_like.jobs.executors.shared import python_path, supervisor_words

_INSTALL = "run this on a machine that submits jobs to Slurm"
_WAITS = {
    "PENDING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_HOLD",
    "REQUEUE_FED",
    "SPECIAL_EXIT",
    "RESV_DEL_HOLD",
}
_RUNS = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
_OUTPUT = "slurm.txt"


class SlurmExecutor(EngineExecutor[SlurmSpec]):
    """Hands jobs to Slurm. All machines need this installation and the job's folder under the same paths."""

    name = "slurm"

    def _find(self, name: str) -> str | None:
        found = ask(["squeue", "--noheader", f"--name={name}", "--format=%i"], install=_INSTALL).split()
        return found[0] if found else None

    def _start(self, submission: Submission, name: str) -> str:
        script = submission.folder.path / f"slurm-{submission.attempt}.sh"
        script.write_text(self.script(submission), encoding="utf-8")
        said = ask(["sbatch", *self._options(submission, name), str(script.absolute())], install=_INSTALL)
        number = said.strip().partition(";")[0]
        if not number.isdigit():
            raise EngineError(f"sbatch: it gives no job number, but {said.strip()!r}")
        return number

    def _options(self, submission: Submission, name: str) -> list[str]:
        settings, placement = self._settings, submission.placement
        output = str(submission.folder.path.absolute() / _OUTPUT).replace("%", "%%")
        words = [
            "--parsable",
            f"--job-name={name}",
            f"--output={output}",
            "--open-mode=append",
            # Whether a lost job goes on from its checkpoint is not Slurm's to decide.
            "--no-requeue",
            f"--chdir={submission.cwd.absolute()}",
            f"--nodes={placement.nodes}",
            "--ntasks-per-node=1",
        ]
        if placement.gpus:
            words.append(f"--gpus-per-node={placement.gpus}")
        for option, value in (
            ("partition", settings.partition),
            ("account", settings.account),
            ("time", settings.time_limit),
            ("mem", settings.memory),
            ("cpus-per-task", settings.cpus),
        ):
            if value:
                words.append(f"--{option}={value}")
        return [*words, *settings.options]

    def script(self, submission: Submission) -> str:
        """The batch script of an attempt. Slurm runs it on the first of the job's machines."""
        supervisor = supervisor_words(sys.executable, submission.folder, submission.attempt)
        lines = [
            "#!/bin/bash",
            f"export PYTHONPATH={shlex.quote(python_path())}",
            "export TAO_LIKE_FIRST_MACHINE=$(hostname)",
            "export TAO_LIKE_PORT=$((20000 + SLURM_JOB_ID % 10000))",
            *self._settings.setup,
            # In the shell's place, so that what Slurm sends to the script reaches the supervisor.
            f"exec {shlex.join(supervisor)}",
        ]
        return "\n".join(lines) + "\n"

    def _command(self, submission: Submission, name: str) -> list[str]:
        placement = submission.placement
        if placement.nodes == 1:
            return list(submission.command)
        # Quoted for the shell that srun starts on each machine, which knows the machine's number.
        variables = {"$TAO_LIKE_FIRST_MACHINE", "$TAO_LIKE_PORT", "$SLURM_NODEID"}
        words = torchrun_words(
            submission, sys.executable, "$TAO_LIKE_FIRST_MACHINE", "$TAO_LIKE_PORT", "$SLURM_NODEID"
        )
        own = words[: len(words) - len(submission.command) + 1]
        quoted = [word if word.partition("=")[2] in variables else shlex.quote(word) for word in own]
        command = " ".join([*quoted, *map(shlex.quote, submission.command[1:])])
        srun = ["srun", f"--nodes={placement.nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
        if self._settings.cpus:  # srun does not take it over from sbatch since Slurm 22.05
            srun.append(f"--cpus-per-task={self._settings.cpus}")
        return [*srun, "sh", "-c", f"exec {command}"]

    def _look(self, reference: str) -> EngineState:
        try:
            said = ask(["squeue", "--noheader", "--states=all", f"--jobs={reference}", "--format=%T|%r"])
        except EngineError as error:
            if re.search(r"Invalid job id", str(error)):
                return EngineState("gone")  # it has ended a while ago
            raise
        state, _, reason = said.strip().partition("|")
        if state in _WAITS:
            return EngineState("queued", f"waits in Slurm's queue as job {reference} ({reason})")
        if state in _RUNS:
            return EngineState("running", f"Slurm's job {reference}")
        return EngineState("gone", f"{state.split()[0]}" if state else "")

    def _end(self, reference: str) -> None:
        ask(["scancel", reference])
