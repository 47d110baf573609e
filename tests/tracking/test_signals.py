"""Ctrl-C during a training: noted once, and answered if anybody still reads."""

from __future__ import annotations

import os
import signal

import pytest

from tao_like.tracking import stop_requests


def test_ctrl_c_is_noted_though_nobody_reads_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: int, text: bytes) -> int:
        raise BrokenPipeError

    with stop_requests() as stop:
        stop.arm()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", broken)
            signal.raise_signal(signal.SIGINT)
        assert stop.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
