from __future__ import annotations

import errno
import os

import pytest

from tao_like.errors import DatasetError, SpecError
from tao_like.tracking import failure_message
from tao_like.tracking.signals import Terminated


def raised(error: BaseException, context: BaseException | None = None) -> BaseException:
    error.__context__ = context
    return error


OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SpecError("spec.yaml:3  train.seed: no"), "spec.yaml:3  train.seed: no"),
        (KeyboardInterrupt(), "interrupted by the user"),
        (raised(SystemExit(1), KeyboardInterrupt()), "interrupted by the user"),
        (raised(SystemExit(1), BrokenPipeError()), "broken pipe"),
        (SystemExit(4), "exit code 4"),
        (Terminated(15), "SIGTERM"),
        (MemoryError(), "out of memory; lower dataset.batch_size"),
        (
            OutOfMemoryError("CUDA out of memory. Tried to allocate"),
            "out of memory; lower dataset.batch_size",
        ),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: 9 bytes"
            ),
            "out of memory",
        ),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "out of memory"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x.pt"),
            "no space left on the disk that holds /data/x.pt",
        ),
        (
            RuntimeError(
                "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
                "dataloader's workers are out of shared memory."
            ),
            "dataset.workers",
        ),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "dataset.workers"),
        (
            RuntimeError(
                "[gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:34738: Connection reset by peer."
            ),
            "another process of this training has ended",
        ),
        (
            RuntimeError(
                "NCCL error in: NCCLUtils.cpp:90, remote process exited or there was a network error"
            ),
            "another process of this training has ended",
        ),
        (ValueError("bad"), "ValueError: bad"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_message(error: BaseException, words: str) -> None:
    assert words in failure_message(error)


def test_real_torch_errors_are_known() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert failure_message(caught.value).startswith("out of memory")
    assert failure_message(torch.cuda.OutOfMemoryError("x")).startswith("out of memory")


class _Corrupt:
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise DatasetError("bees/7.jpg cannot be read:\nit ends after 12 bytes")


def test_the_message_of_a_data_loading_process_is_the_user_s() -> None:
    data = pytest.importorskip("torch.utils.data")
    with pytest.raises(DatasetError) as caught:
        list(data.DataLoader(_Corrupt(), num_workers=1))
    assert "Traceback" in str(caught.value)
    assert failure_message(caught.value) == "bees/7.jpg cannot be read:\nit ends after 12 bytes"
