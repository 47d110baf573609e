"""What counts as free memory, on files as Linux writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tao_like.runtime.memory import free_memory

MEBIBYTE = 1 << 20


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal:  8388608 kB\nMemFree:  102400 kB\nMemAvailable:  4194304 kB\n"}
GROUP = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "mebibytes"),
    [
        ({}, 4096),
        ({f"{GROUP}/memory.max": "max\n", f"{GROUP}/memory.current": "5000\n"}, 4096),
        # 1024 given, 700 used, 200 of them files that are only kept at hand.
        (
            {
                f"{GROUP}/memory.max": f"{1024 * MEBIBYTE}\n",
                f"{GROUP}/memory.current": f"{700 * MEBIBYTE}\n",
                f"{GROUP}/memory.stat": f"anon 1\ninactive_file {200 * MEBIBYTE}\nactive_file 9\n",
            },
            524,
        ),
        (
            {
                f"{GROUP}/memory/memory.limit_in_bytes": f"{512 * MEBIBYTE}\n",
                f"{GROUP}/memory/memory.usage_in_bytes": f"{600 * MEBIBYTE}\n",
                f"{GROUP}/memory/memory.stat": "inactive_file 5\ntotal_inactive_file 0\n",
            },
            0,
        ),
    ],
    ids=["a machine", "a container without a limit", "version 2", "version 1, used up"],
)
def test_a_container_has_what_its_limit_leaves(files: dict[str, str], mebibytes: int, tmp_path: Path) -> None:
    assert free_memory(write(tmp_path, {**MACHINE, **files})) == mebibytes * MEBIBYTE


def test_this_machine_has_some_memory_and_no_more_than_it_was_built_with(tmp_path: Path) -> None:
    built = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_memory() <= built
    assert 0 < free_memory(tmp_path) <= built
