"""One sentence for whatever ended a run."""

from __future__ import annotations

import errno
import re

from tao_like.errors import TaoLikeError
from tao_like.tracking.files import is_disk_full
from tao_like.tracking.signals import Terminated

_OUT_OF_MEMORY_TEXTS = (
    "CUDA out of memory",
    "DefaultCPUAllocator: can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)
# gloo's words, and NCCL's.
_LOST_PROCESS = re.compile(r"gloo.*(?:by peer|Broken pipe)|remote process exited", re.DOTALL)


def is_interrupt(error: BaseException) -> bool:
    """Tell whether ``error`` comes from Ctrl-C; Lightning turns it into ``SystemExit(1)``."""
    if isinstance(error, KeyboardInterrupt):
        return True
    return isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt)


def failure_message(error: BaseException) -> str:
    """Return what to tell the user about ``error``: what happened and, where it is known, what to do."""
    if is_interrupt(error):
        return "interrupted by the user (Ctrl-C)"
    if isinstance(error, Terminated):
        return f"stopped from outside ({error.signal_name})"
    if isinstance(error, SystemExit):
        return _exit_message(error)
    if isinstance(error, TaoLikeError):
        return _without_worker_trace(error)
    if is_out_of_memory(error):
        return "out of memory; lower dataset.batch_size, or take a smaller input or network"
    if is_disk_full(error):
        return f"no space left on the disk{_file_of(error)}; free some space or choose another results_dir"
    if re.search(r"DataLoader worker .*(Bus error|shared memory)", str(error), re.DOTALL):
        return (
            "the data loading processes ran out of shared memory; lower dataset.workers, or give the "
            "container more (docker run --shm-size=8g)"
        )
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error) and "Killed" in str(error):
        return "a data loading process was killed, most likely out of memory; lower dataset.workers"
    if isinstance(error, RuntimeError) and _LOST_PROCESS.search(str(error)):
        return (
            "another process of this training has ended, and this one cannot go on alone; its own last words "
            "say why, or the system's log where it ran out of memory"
        )
    return f"{type(error).__name__}: {_without_worker_trace(error)}".rstrip(": ")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether ``error`` says that memory ran out, on the host or on a device.

    torch's own error is known by its name, so that this module need not import torch.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return any(text in str(error) for text in _OUT_OF_MEMORY_TEXTS)


def _exit_message(error: SystemExit) -> str:
    if isinstance(error.__context__, BrokenPipeError):
        return "the program that read the output is gone (broken pipe); send the output to a file instead"
    return f"ended before it was done (exit code {error.code})"


def _file_of(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    return f" that holds {name}" if name else ""


def _without_worker_trace(error: BaseException) -> str:
    """Return the message alone where a DataLoader process has wrapped it in its traceback."""
    text = str(error)
    if not re.match(r"Caught \w+ in ", text):
        return text
    starts = list(re.finditer(rf"^(?:[\w.]+\.)?{re.escape(type(error).__name__)}: ", text, re.MULTILINE))
    return text[starts[-1].end() :].strip() if starts else text
