"""The states of a job, in TAO's words, and which may follow which."""

from __future__ import annotations

from enum import Enum


class JobStatus(str, Enum):
    """Where a job stands."""

    PENDING = "Pending"
    STARTED = "Started"
    RUNNING = "Running"
    DONE = "Done"
    ERROR = "Error"
    CANCELING = "Canceling"
    CANCELED = "Canceled"
    PAUSING = "Pausing"
    PAUSED = "Paused"
    RESUMING = "Resuming"


QUEUED = frozenset({JobStatus.PENDING, JobStatus.RESUMING})
"""Waits for a slot."""
OCCUPYING = frozenset({JobStatus.STARTED, JobStatus.RUNNING, JobStatus.CANCELING, JobStatus.PAUSING})
"""Has a slot, and a process or the claim to one."""
ENDED = frozenset({JobStatus.DONE, JobStatus.ERROR, JobStatus.CANCELED})
"""Nothing more happens, unless somebody asks for a retry."""

FOLLOWS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset({JobStatus.STARTED, JobStatus.CANCELED, JobStatus.ERROR}),
    JobStatus.RESUMING: frozenset({JobStatus.STARTED, JobStatus.CANCELED, JobStatus.PAUSED, JobStatus.ERROR}),
    JobStatus.STARTED: frozenset(
        {
            JobStatus.RUNNING,
            JobStatus.PENDING,
            JobStatus.RESUMING,
            JobStatus.DONE,
            JobStatus.ERROR,
            JobStatus.CANCELING,
            JobStatus.PAUSING,
        }
    ),
    JobStatus.RUNNING: frozenset(
        {JobStatus.DONE, JobStatus.ERROR, JobStatus.CANCELING, JobStatus.PAUSING, JobStatus.RESUMING}
    ),
    JobStatus.CANCELING: frozenset({JobStatus.CANCELED, JobStatus.DONE}),
    JobStatus.PAUSING: frozenset({JobStatus.PAUSED, JobStatus.DONE, JobStatus.CANCELING, JobStatus.ERROR}),
    JobStatus.PAUSED: frozenset({JobStatus.RESUMING, JobStatus.CANCELED}),
    JobStatus.DONE: frozenset(),
    JobStatus.ERROR: frozenset({JobStatus.PENDING, JobStatus.RESUMING}),
    JobStatus.CANCELED: frozenset({JobStatus.PENDING, JobStatus.RESUMING}),
}
"""The states that may follow each state."""
