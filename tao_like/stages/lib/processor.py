"""What the processor is: for figures that depend on it, and for the choice of int8 weights."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tao_like.stages.lib.devices import processors

CPU_INFO = Path("/proc/cpuinfo")
DOT_PRODUCTS = {"avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "amx_int8": "AMX"}
"""Instructions that add products of bytes in 32 bits, as Linux calls them."""
_X86 = ("x86_64", "amd64", "i386", "i686")


@dataclass(frozen=True)
class Processor:
    """The machine's CPU.

    Attributes:
        name: as it calls itself.
        processors: how many of them this process may use.
        int8: instructions for int8, the best first; empty: none known.
        overflows: int8 kernels add two products of bytes in 16 bits, so weights of 8 bits can overflow.
    """

    name: str
    processors: int
    int8: str
    overflows: bool

    def text(self) -> str:
        """One line for people."""
        with_int8 = (
            f"with {self.int8}" if self.int8 else "without VNNI" if self.overflows else platform.machine()
        )
        return f"{self.name}, {self.processors} processors, {with_int8}"

    def to_dict(self) -> dict[str, Any]:
        """For report.json."""
        return asdict(self)


def this_processor(cpu_info: Path = CPU_INFO, machine: str | None = None) -> Processor:
    """Looks at ``/proc/cpuinfo``; where there is none, an x86 processor is taken to have no VNNI.

    That is the safe guess: with VNNI, weights of 7 bits only lose a bit. ARM's and other kernels do not
    overflow.

    Args:
        cpu_info: where Linux describes the processor.
        machine: kind of processor; None: this one's.
    """
    kind = (machine or platform.machine()).lower()
    lines = cpu_info.read_text("utf-8", "replace").splitlines() if cpu_info.is_file() else []
    values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = set(values.get("flags", "").split())
    found = [words for flag, words in DOT_PRODUCTS.items() if flag in flags]
    return Processor(
        name=values.get("model name") or platform.processor() or kind,
        processors=processors(),
        int8=", ".join(found),
        overflows=kind in _X86 and not found,
    )


def busy_note() -> str | None:
    """A sentence where others want the processors, so that times say little; None where all is quiet."""
    if not hasattr(os, "getloadavg"):
        return None
    load, count = os.getloadavg()[0], os.cpu_count() or 1
    if load < count + 1:
        return None
    return (
        f"The machine is busy (load {load:.1f} on {count} processors): times are longer than they need be, "
        "and even their ratios are rough; measure again when it is quiet"
    )
