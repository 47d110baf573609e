"""For which processors a file's int8 weights are right, and whether this is one of them."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CPU_INFO = Path("/proc/cpuinfo")
DOT_PRODUCTS: Mapping[str, str] = {
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "amx_int8": "AMX",
}
"""Instructions that add products of bytes in 32 bits, as Linux calls them, and their names for people."""
ANY_PROCESSOR = "any"
"""Weights of 7 bits: two products of theirs fit in 16 bits, so no processor overflows."""
WIDE_PROCESSORS = "x86 with VNNI, ARM"
"""Weights of 8 bits: right where products are added in 32 bits."""
SEVEN_BITS, EIGHT_BITS = "int8, 7 bits", "int8"
"""What ``quantize`` writes of a file's weights."""
_X86 = ("x86_64", "amd64", "i386", "i686")


def processors_of(extra: Mapping[str, Any]) -> str | None:
    """The processors on which a file's int8 layers are right in any program; None: it has none, or is silent.

    Args:
        extra: of the file's metadata; ``quantization`` is what ``quantize`` wrote. Files of before state
            their weights alone.
    """
    quantization = extra.get("quantization")
    if not isinstance(quantization, Mapping):
        return None
    return {SEVEN_BITS: ANY_PROCESSOR, EIGHT_BITS: WIDE_PROCESSORS}.get(str(quantization.get("weights")))


def overflows_here(extra: Mapping[str, Any]) -> bool:
    """Whether this processor's usual int8 kernels may add up a file's products wrongly."""
    return processors_of(extra) == WIDE_PROCESSORS and may_overflow()


def warn_of_overflow(path: Path, providers: Sequence[str], *, exact: bool, stacklevel: int = 3) -> None:
    """Warn of a file that `overflows_here`.

    Args:
        path: the file, for the message.
        providers: onnxruntime's, the first in charge; only the CPU can overflow.
        exact: it was opened with kernels that do not overflow.
        stacklevel: of the caller to name, as in `warnings.warn`.
    """
    if list(providers[:1]) != ["CPUExecutionProvider"]:
        return
    outcome = (
        "tao_like computes them in a slower form that does not; other programs give wrong predictions here, "
        "unless they set onnxruntime's session.x64quantprecision to 1."
        if exact
        else "its predictions may be wrong here."
    )
    warnings.warn(
        f"{path} has int8 weights of 8 bits, which are for {WIDE_PROCESSORS}; this processor has no VNNI and "
        f"adds their products in 16 bits, where they overflow: {outcome} Quantize again with "
        "quantize.target=any, which makes weights of 7 bits.",
        RuntimeWarning,
        stacklevel=stacklevel,
    )


def may_overflow(cpu_info: Path | None = None, machine: str | None = None) -> bool:
    """Whether int8 kernels add two products of bytes in 16 bits; x86 that says nothing of itself may.

    That is the safe guess: with VNNI, weights of 7 bits only lose a bit. ARM's and other kernels do not
    overflow.

    Args:
        cpu_info: where Linux describes the processor; None: ``/proc/cpuinfo``.
        machine: kind of processor; None: this one's.
    """
    is_x86 = (machine or platform.machine()).lower() in _X86
    return is_x86 and not int8_instructions(cpu_info)


def int8_instructions(cpu_info: Path | None = None) -> list[str]:
    """Names of the processor's dot products of bytes, the best first; empty: none known."""
    flags = set(cpu_values(cpu_info).get("flags", "").split())
    return [words for flag, words in DOT_PRODUCTS.items() if flag in flags]


def cpu_values(cpu_info: Path | None = None) -> dict[str, str]:
    """What Linux says of the last of its processors, by name; empty where there is no such file."""
    path = cpu_info or CPU_INFO
    lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
