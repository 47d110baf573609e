"""What the processor is: for figures that depend on it, and for the choice of int8 weights."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tao_like.runtime.processor import cpu_values, int8_instructions, may_overflow
from tao_like.stages.lib.devices import processors


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


def this_processor(cpu_info: Path | None = None, machine: str | None = None) -> Processor:
    """Looks at ``/proc/cpuinfo``; where there is none, an x86 processor is taken to have no VNNI.

    Args:
        cpu_info: where Linux describes the processor; None: ``/proc/cpuinfo``.
        machine: kind of processor; None: this one's.
    """
    kind = (machine or platform.machine()).lower()
    return Processor(
        name=cpu_values(cpu_info).get("model name") or platform.processor() or kind,
        processors=processors(),
        int8=", ".join(int8_instructions(cpu_info)),
        overflows=may_overflow(cpu_info, kind),
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
