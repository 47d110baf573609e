"""How much memory there is for data."""

from __future__ import annotations

import os
import re
from pathlib import Path

CONTROL_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
"""Where a container sees its own limit in Linux's control groups, version 2 and 1: a folder and its files."""


def free_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that this process can still have: of the machine's, or of its container's if less.

    What the system uses to keep files at hand counts as free, as it gives that up. ``root`` is for tests.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    available = re.search(r"^MemAvailable: +(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    if available:
        free = 1024 * int(available[1])
    for group, limit, usage, files in CONTROL_GROUPS:
        given, used = _text(root / group / limit).strip(), _text(root / group / usage).strip()
        kept = re.search(rf"^{files} (\d+)$", _text(root / group / "memory.stat"), re.MULTILINE)
        # Without a limit the word is "max".
        if given.isdigit() and used.isdigit():
            free = min(free, max(0, int(given) - int(used) + (int(kept[1]) if kept else 0)))
    return free


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
