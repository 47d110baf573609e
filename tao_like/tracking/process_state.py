"""A stage that a program calls leaves the process as it was; what is put back stands here in one place."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_HUSHED = {"lightning_fabric": logging.INFO, "torch.onnx": logging.NOTSET}
"""Loggers that stages make quieter, and the level that their libraries give them when they are imported."""
_CHILD_SIGNAL = getattr(signal, "SIGCHLD", None)  # Windows has none

Restore = Callable[[], None]


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Put back at the end, however the block ends, what belongs to the whole process.

    Environment variables, working folder, warning filters, levels of loggers, signal handlers, exception
    hooks, and the random states and settings of Python, numpy and torch. A library that the block was the
    first to import gets a fresh random state and its own settings; nothing is imported for it.

    Not put back: imported modules, and memory that the allocator was told to keep.
    """
    restores: list[Restore] = [
        _environment(),
        _working_folder(),
        _log_levels(),
        _signal_handlers(),
        _exception_hooks(),
        _python_random(),
        _numpy_random(),
        _torch_random(),
        _torch_settings(),
    ]
    with warnings.catch_warnings():
        try:
            yield
        finally:
            for restore in restores:
                restore()


def _environment() -> Restore:
    before = dict(os.environ)

    def restore() -> None:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value

    return restore


def _working_folder() -> Restore:
    try:
        before = os.getcwd()  # noqa: PTH109 - a folder that is gone is no Path either
    except FileNotFoundError:
        return lambda: None

    def restore() -> None:
        with suppress(OSError):
            if os.getcwd() != before:  # noqa: PTH109
                os.chdir(before)

    return restore


def _log_levels() -> Restore:
    def loggers() -> dict[str, logging.Logger]:
        known = logging.root.manager.loggerDict
        return {name: logger for name, logger in known.items() if isinstance(logger, logging.Logger)}

    before = {name: logger.level for name, logger in loggers().items()}
    disabled, root_level = logging.root.manager.disable, logging.root.level

    def restore() -> None:
        logging.disable(disabled)
        logging.root.setLevel(root_level)
        for name, logger in loggers().items():
            level = before.get(name, _HUSHED.get(name, logger.level))
            if logger.level != level:
                logger.setLevel(level)

    return restore


def _signal_handlers() -> Restore:
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    unchangeable = {getattr(signal, name, None) for name in ("SIGKILL", "SIGSTOP")}
    before = {
        number: signal.getsignal(number)
        for number in signal.valid_signals()
        if number not in unchangeable and signal.getsignal(number) is not None
    }

    def restore() -> None:
        for number, handler in before.items():
            if signal.getsignal(number) is handler:
                continue
            signal.signal(number, handler)
            loading = sys.modules.get("torch.utils.data._utils.signal_handling")
            if number == _CHILD_SIGNAL and loading is not None:
                # torch installs its handler once; it is to do so again for the next loading processes.
                loading._SIGCHLD_handler_set = False  # type: ignore[attr-defined]

    return restore


def _exception_hooks() -> Restore:
    before = sys.excepthook, threading.excepthook

    def restore() -> None:
        sys.excepthook, threading.excepthook = before

    return restore


def _python_random() -> Restore:
    state = random.getstate()
    return lambda: random.setstate(state)


def _numpy_random() -> Restore:
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        state = numpy.get_state()
        return lambda: numpy.set_state(state)

    def restore() -> None:
        imported = sys.modules.get("numpy.random")
        if imported is not None:
            imported.seed()

    return restore


def _torch_random() -> Restore:
    torch = _torch()
    if torch is None:

        def freshen() -> None:
            imported = _torch()
            if imported is not None:
                imported.seed()

        return freshen
    state = torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def restore() -> None:
        torch.set_rng_state(state)
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)

    return restore


def _torch() -> Any:
    """torch, if it is imported, and wholly."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and hasattr(torch, "backends") and hasattr(torch, "cuda") else None


def _torch_settings() -> Restore:
    torch = _torch()
    before = _settings_of(torch) if torch is not None else None

    def restore() -> None:
        imported = _torch()
        if imported is None:
            return
        cudnn = imported.backends.cudnn
        if before is None:
            cudnn.deterministic = cudnn.benchmark = False
            return
        setters: dict[str, Callable[[Any], Any]] = {
            "dtype": imported.set_default_dtype,
            "threads": imported.set_num_threads,
            "gradients": imported.set_grad_enabled,
            "algorithms": lambda value: imported.use_deterministic_algorithms(value[0], warn_only=value[1]),
            "cudnn.enabled": lambda value: setattr(cudnn, "enabled", value),
            "cudnn.benchmark": lambda value: setattr(cudnn, "benchmark", value),
            "cudnn.deterministic": lambda value: setattr(cudnn, "deterministic", value),
        }
        now = _settings_of(imported)
        for name, value in before.items():
            if now[name] != value:
                setters[name](value)

    return restore


def _settings_of(torch: Any) -> dict[str, Any]:
    cudnn = torch.backends.cudnn
    return {
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "algorithms": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "cudnn.enabled": cudnn.enabled,
        "cudnn.benchmark": cudnn.benchmark,
        "cudnn.deterministic": cudnn.deterministic,
    }
