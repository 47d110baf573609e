"""Starts jobs when there is room, sees how they stand, and writes down how they end.

It keeps nothing in memory that it could not find again: after a crash of the server, the first round finds
each job's process or how it ended, and goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tao_like import tasks
from tao_like.config import load_spec
from tao_like.errors import TaoLikeError
from tao_like.jobs import told
from tao_like.jobs.command import RESUMABLE, last_checkpoint, submission
from tao_like.jobs.executors.base import Executor, Placement, Seen
from tao_like.jobs.folder import REQUEST_FILE, JobFolder
from tao_like.jobs.job import Job
from tao_like.jobs.placement import placement_of
from tao_like.jobs.process import end_marked
from tao_like.jobs.slots import Slots
from tao_like.jobs.states import ENDED, OCCUPYING, QUEUED, JobStatus
from tao_like.jobs.storage.store import Store

GRACE_SECONDS = 30.0
"""From the request to end to the end by force; a training writes a checkpoint in it."""
MOST_RESTARTS = 5
"""Times that a lost job is resumed."""
_PAUSE_SECONDS = 0.25
_NOTED_SECONDS = 1.0
_LARGEST = 1 << 20

logger = logging.getLogger("tao_like.jobs")


class Manager:
    """The one who changes jobs.

    Args:
        store: the jobs.
        folder: has a folder for each of them.
        executor: runs them.
        slots: what there is room for.
        grace: seconds from the request to end to the end by force.
        environment: variables that every job gets.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        executor: Executor,
        slots: Slots | None = None,
        *,
        grace: float = GRACE_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.store, self.executor, self.slots = store, executor, slots or Slots()
        self.folder, self.grace, self.environment = folder, grace, dict(environment or {})
        self._noted: dict[str, float] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def folder_of(self, job: Job | str) -> JobFolder:
        """A job's folder."""
        return JobFolder(self.folder / (job if isinstance(job, str) else job.id))

    # --- the loop ---

    def start(self) -> None:
        """Begin to look after the jobs, in a thread."""
        self._thread = threading.Thread(target=self._loop, name="jobs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking after the jobs. They go on."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except Exception:  # A full disk, say: the jobs go on, and so does looking after them.
                logger.exception("the jobs could not be looked after; trying again")
                self._stop.wait(1.0)
            self._wake.wait(_PAUSE_SECONDS)
            self._wake.clear()

    def look(self) -> None:
        """One round: how the running ones stand, then start what there is room for."""
        for job in self._running():
            self._look_after(job)
        running = self._running()
        while (chosen := self.slots.next(running, self.store.queue(1))) is not None:
            started = self._launch(*chosen)
            if started is not None:
                running.append(started)

    def _running(self) -> list[Job]:
        return self.store.find(statuses=OCCUPYING, limit=_LARGEST)

    # --- what people ask for ---

    def cancel(self, job: Job) -> Job:
        """End a job; one that has ended stays as it is."""
        if job.status in QUEUED or job.status is JobStatus.PAUSED:
            return self._moved(job, JobStatus.CANCELED, "canceled before it ran", ended=time.time())
        if job.status in (JobStatus.STARTED, JobStatus.RUNNING, JobStatus.PAUSING):
            since = {JobStatus.STARTED, JobStatus.RUNNING, JobStatus.PAUSING}
            return self._moved(job, JobStatus.CANCELING, "asked to end", since=since)
        return job

    def pause(self, job: Job) -> Job:
        """Stop a training so that it can go on.

        Raises:
            TaoLikeError: it cannot be paused, with the reason.
        """
        if job.action not in RESUMABLE:
            raise TaoLikeError(f"{job.action} cannot be paused, as it keeps no checkpoint; cancel it instead")
        if job.status is JobStatus.RESUMING:
            return self._moved(job, JobStatus.PAUSED, "paused before it went on")
        if job.status in (JobStatus.STARTED, JobStatus.RUNNING):
            since = {JobStatus.STARTED, JobStatus.RUNNING}
            return self._moved(job, JobStatus.PAUSING, "asked to pause", since=since)
        if job.status in (JobStatus.PAUSING, JobStatus.PAUSED):
            return job
        raise TaoLikeError(f"a job that is {job.status.value} cannot be paused; only one that runs can")

    def resume(self, job: Job) -> Job:
        """Have a stopped training go on from its last checkpoint.

        Raises:
            TaoLikeError: it cannot go on, with the reason.
        """
        if job.status in (*QUEUED, JobStatus.STARTED, JobStatus.RUNNING):
            return job
        if job.action not in RESUMABLE:
            raise TaoLikeError(f"{job.action} keeps no checkpoint to go on from; retry it instead")
        if FOLLOWING_RESUME.isdisjoint({job.status}):
            raise TaoLikeError(f"a job that is {job.status.value} cannot go on")
        return self._moved(job, JobStatus.RESUMING, "asked to go on", ended=None, error=None, exit_code=None)

    def retry(self, job: Job) -> Job:
        """Have a job that failed or was canceled run again from its beginning.

        Raises:
            TaoLikeError: it has not failed.
        """
        if job.status not in (JobStatus.ERROR, JobStatus.CANCELED):
            raise TaoLikeError(f"a job that is {job.status.value} is not run again; only a failed one is")
        return self._moved(
            job,
            JobStatus.PENDING,
            "asked to run again",
            ended=None,
            error=None,
            exit_code=None,
            progress={},
        )

    def _moved(self, job: Job, to: JobStatus, message: str, **values: Any) -> Job:
        """The job after a change; as it is where somebody else was faster."""
        moved = self.store.move(job, to, message, **values)
        self.wake()
        return moved or self.store.get(job.id) or job

    # --- one job ---

    def _launch(self, job: Job, gpus: tuple[int, ...]) -> Job | None:
        resume = job.status is JobStatus.RESUMING
        started = self.store.move(
            job,
            JobStatus.STARTED,
            "goes on" if resume else "starts",
            attempt=job.attempt + 1,
            started=time.time(),
            ended=None,
            stop_sent=None,
            gpu_ids=gpus,
        )
        if started is None:
            return None
        spec, command = self.store.details(job.id)
        # A job sees its own devices alone, and none where it asked for none.
        seen = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))} if self.slots.gpus else {}
        folder = self.folder_of(job)
        try:
            self.executor.submit(
                submission(
                    folder,
                    started.attempt,
                    job.task,
                    job.action,
                    spec,
                    command=command,
                    resume=resume,
                    environment={**self.environment, **seen},
                    placement=self._placement(job, spec),
                )
            )
        except (OSError, TaoLikeError) as error:
            self.store.move(started, JobStatus.ERROR, "could not start", ended=time.time(), error=str(error))
            return None
        return started

    def _placement(self, job: Job, spec: dict[str, Any]) -> Placement:
        """Machines and devices for an engine; on this machine the slots say it."""
        if not self.slots.elsewhere or not spec:
            return Placement(gpus=job.gpus)
        loaded = load_spec(tasks.spec_module(job.task).Spec, spec).spec
        found = placement_of(loaded, job.action)
        return replace(found, gpus=job.gpus or found.gpus)

    def _look_after(self, job: Job) -> None:
        folder = self.folder_of(job)
        seen = self.executor.status(folder, job.attempt)
        if seen.state == "ended":
            self._finish(job, folder, seen)
        elif seen.state == "lost":
            self._lost(job, folder, seen)
        elif job.status in (JobStatus.CANCELING, JobStatus.PAUSING):
            self._press(job, folder, seen)
        else:
            if job.status is JobStatus.STARTED and seen.state == "running":
                job = self.store.move(job, JobStatus.RUNNING, f"runs (attempt {job.attempt})") or job
            self._note_progress(job, folder)

    def _note_progress(self, job: Job, folder: JobFolder) -> None:
        """Write down how far a job is; not more often than anybody would look."""
        if time.monotonic() - self._noted.get(job.id, -_NOTED_SECONDS) < _NOTED_SECONDS:
            return
        now = told.progress(folder, job.progress)
        if now != job.progress:
            self._noted[job.id] = time.monotonic()
            self.store.set(job, progress=now)

    def _press(self, job: Job, folder: JobFolder, seen: Seen) -> None:
        """Ask a process to end, once; after the grace end it by force."""
        if job.stop_sent is None:
            if seen.state == "starting":
                return
            # First the note: a second signal would end a training before it has written its checkpoint.
            self.store.set(job, stop_sent=time.time())
            self.executor.cancel(folder, job.attempt)
        elif time.time() - job.stop_sent > self.grace:
            self.executor.cancel(folder, job.attempt, kill=True)

    def _finish(self, job: Job, folder: JobFolder, seen: Seen) -> None:
        assert seen.exit is not None
        end_marked(folder.mark(job.attempt))
        code = seen.exit.code
        values: dict[str, Any] = {
            "ended": seen.exit.ended,
            "exit_code": code,
            "gpu_ids": (),
            "progress": told.progress(folder, job.progress),
        }
        if code == 0:
            self._end(job, JobStatus.DONE, "done", values)
        elif job.status is JobStatus.CANCELING:
            self._end(job, JobStatus.CANCELED, "canceled", values)
        elif job.status is JobStatus.PAUSING:
            kept = last_checkpoint(folder) is not None or job.action != "train"
            message = "paused" if kept else "paused before the first checkpoint; it will begin anew"
            self._end(job, JobStatus.PAUSED, message, values)
        else:
            reason = told.failure(folder, job.started or 0.0) or _ended_by(code)
            self._end(job, JobStatus.ERROR, reason, {**values, "error": reason})

    def _lost(self, job: Job, folder: JobFolder, seen: Seen) -> None:
        """Neither a process nor a word: the machine went down, or somebody killed both."""
        end_marked(folder.mark(job.attempt))
        if job.status is JobStatus.STARTED and folder.read(REQUEST_FILE).get("attempt") != job.attempt:
            # The server went down before it had handed the job on.
            before = [change.status for change in self.store.history(job.id)][-2]
            self._end(job, JobStatus(before), "was not handed on; it waits again", {"gpu_ids": ()})
            return
        values: dict[str, Any] = {
            "ended": time.time(),
            "gpu_ids": (),
            "progress": told.progress(folder, job.progress),
        }
        if told.succeeded(folder, job.started or 0.0):
            # Its supervisor was killed, and the run itself went on to its end.
            self._end(job, JobStatus.DONE, "done (its supervisor was gone)", values)
        elif job.status is JobStatus.CANCELING:
            self._end(job, JobStatus.CANCELED, "canceled", values)
        elif job.status is JobStatus.PAUSING:
            self._end(job, JobStatus.PAUSED, "paused", values)
        elif job.on_lost == "resume" and job.attempt <= MOST_RESTARTS:
            again = JobStatus.RESUMING
            self._end(job, again, "its process was gone; it goes on from its last checkpoint", values)
        else:
            reason = told.failure(folder, job.started or 0.0) or seen.note
            reason = reason or (
                "lost: its process is gone and left no word; it was killed, or the machine went down"
            )
            self._end(job, JobStatus.ERROR, reason, {**values, "error": reason})

    def _end(self, job: Job, to: JobStatus, message: str, values: dict[str, Any]) -> None:
        self._noted.pop(job.id, None)
        if self.store.move(job, to, message, **values) is not None:
            logger.info("job %s: %s, %s", job.id, to.value, message)


FOLLOWING_RESUME = frozenset({JobStatus.PAUSED}) | (ENDED - {JobStatus.DONE})


def _ended_by(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
