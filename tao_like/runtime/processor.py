"""Whether this processor computes a file's int8 weights without overflow."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CPU_INFO = Path("/proc/cpuinfo")
DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "amx_int8")
"""Instructions that add products of bytes in 32 bits, as Linux calls them."""
_X86 = ("x86_64", "amd64", "i386", "i686")
_EIGHT_BITS = "int8"
"""What ``quantize`` writes for weights of 8 bits; those of 7 bits never overflow."""


def warn_of_overflow(path: Path, extra: Mapping[str, Any], providers: Sequence[str]) -> None:
    """Warn where a file has int8 weights of 8 bits and this processor has no VNNI.

    Args:
        path: the file, for the message.
        extra: of its metadata; ``quantization`` is what ``quantize`` wrote.
        providers: onnxruntime's, the first in charge; only the CPU can overflow.
    """
    quantization = extra.get("quantization")
    if not isinstance(quantization, Mapping) or quantization.get("weights") != _EIGHT_BITS:
        return
    if list(providers[:1]) == ["CPUExecutionProvider"] and may_overflow():
        warnings.warn(
            f"{path} has int8 weights of 8 bits, which a processor without VNNI adds up in 16 bits: its "
            "predictions may be wrong here. Quantize it again with quantize.reduce_range=true, which makes "
            "weights of 7 bits.",
            RuntimeWarning,
            stacklevel=4,
        )


def may_overflow(cpu_info: Path | None = None, machine: str | None = None) -> bool:
    """Whether int8 kernels add two products of bytes in 16 bits; x86 that says nothing of itself may.

    Args:
        cpu_info: where Linux describes the processor; None: ``/proc/cpuinfo``.
        machine: kind of processor; None: this one's.
    """
    if (machine or platform.machine()).lower() not in _X86:
        return False
    path = cpu_info or CPU_INFO
    lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
    flags = {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
    return flags.isdisjoint(DOT_PRODUCTS)
