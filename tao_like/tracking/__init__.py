"""What a stage leaves behind while it runs: the run folder, its status file, TensorBoard events, progress."""

from __future__ import annotations

from tao_like.tracking.event_file import EVENTS_FILE_VARIABLE, EventFile, event_file
from tao_like.tracking.events import Events
from tao_like.tracking.failures import failure_message, is_out_of_memory
from tao_like.tracking.files import Artefact, atomic_path
from tao_like.tracking.locking import folder_lock
from tao_like.tracking.process import is_main_process
from tao_like.tracking.process_state import process_state_kept
from tao_like.tracking.progress import Progress
from tao_like.tracking.run import Run
from tao_like.tracking.signals import StopRequest, stop_requests
from tao_like.tracking.status import StageStatus, read_status
from tao_like.tracking.tensorboard import TensorBoard

__all__ = [
    "EVENTS_FILE_VARIABLE",
    "Artefact",
    "EventFile",
    "Events",
    "Progress",
    "Run",
    "StageStatus",
    "StopRequest",
    "TensorBoard",
    "atomic_path",
    "event_file",
    "failure_message",
    "folder_lock",
    "is_main_process",
    "is_out_of_memory",
    "process_state_kept",
    "read_status",
    "stop_requests",
]
