"""Files whose int8 weights a processor may add up wrongly say so where they are opened."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from tao_like.runtime import load, processor

WITHOUT, WITH = "flags\t\t: fpu sse4_2 avx2 avx512f\n", "flags\t\t: fpu avx2 avx512f avx512_vnni\n"


@pytest.mark.parametrize(
    ("text", "machine", "expected"),
    [
        (WITHOUT, "x86_64", True),
        (WITH, "x86_64", False),
        (WITHOUT.replace("avx2", "avx_vnni"), "AMD64", False),
        ("flags : amx_int8\n", "x86_64", False),
        ("Features : fp asimd\n", "aarch64", False),
        (None, "x86_64", True),
        (None, "arm64", False),
    ],
)
def test_which_processors_may_overflow(
    tmp_path: Path, text: str | None, machine: str, expected: bool
) -> None:
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert processor.may_overflow(tmp_path / "cpuinfo", machine) == expected


@pytest.mark.parametrize(
    ("weights", "flags", "warns"),
    [
        ("int8", WITHOUT, True),
        ("int8", WITH, False),
        ("int8, 7 bits", WITHOUT, False),
        (None, WITHOUT, False),
    ],
)
def test_a_file_of_eight_bits_warns_without_vnni(
    write_model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weights: str | None,
    flags: str,
    warns: bool,
) -> None:
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    path = write_model(extra={} if weights is None else {"quantization": {"weights": weights}})
    if warns:
        with pytest.warns(RuntimeWarning, match=r"model\.onnx has int8 weights of 8 bits.*reduce_range"):
            load(path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load(path)
