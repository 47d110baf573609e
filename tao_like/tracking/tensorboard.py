"""TensorBoard events of a run: curves, images, text, histograms, hparams, the graph."""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tao_like.errors import TaoLikeError
from tao_like.tracking.events import Events
from tao_like.tracking.files import atomic_path, explained_os_errors, is_text, readable
from tao_like.tracking.process import is_main_process

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor, nn
    from torch.utils.tensorboard import SummaryWriter

_FLUSH_SECONDS = 10
_EVENT_FILES = "events.out.tfevents."


def _await_a_later_name(folder: Path) -> None:
    """Waits where a file of this very second is there: in sorted names its counter has 10 before 9.

    TensorBoard reads the files of a folder in the order of their names, which begin with the second.
    """
    now = time.time()
    if any(folder.glob(f"{_EVENT_FILES}{int(now):010d}.*")):
        time.sleep(1 - now % 1)


class TensorBoard(Events):
    """Writes TensorBoard events into ``folder``; torch is imported when the first one is written.

    As a listener of a run it draws the curves of its steps and epochs. Images, histograms and the graph,
    for which there is no other reader, are written by calls.

    A folder whose name is not UTF-8 gets none, with a warning: TensorBoard itself cannot open it.

    In a parallel run only the first process writes; the same calls do nothing in the others.

    Args:
        folder: the run folder; TensorBoard shows it under its name.

    Raises:
        TaoLikeError: (from every method) the events cannot be written, with the folder's name and the reason.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writes = is_main_process() and is_text(str(folder))
        if is_main_process() and not self._writes:
            warnings.warn(
                f"{readable(str(folder))}: TensorBoard takes no folder whose name is not UTF-8 text, so "
                "nothing is written for it; choose another results_dir, or a UTF-8 locale",
                stacklevel=2,
            )
        self._opened: SummaryWriter | None = None

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _writer(self) -> Iterator[SummaryWriter]:
        with explained_os_errors(self.folder):
            if self._opened is None:
                from torch.utils.tensorboard import SummaryWriter

                _hush_writer_thread()
                _await_a_later_name(self.folder)
                self._opened = SummaryWriter(str(self.folder), flush_secs=_FLUSH_SECONDS)
            yield self._opened

    def metric(
        self, values: Mapping[str, float], *, step: int | None = None, epoch: int | None = None
    ) -> None:
        """Add a step's values, or an epoch's values of the validation; epochs count from 0 here."""
        if epoch is not None:
            validation = {
                name.replace("val_", "val/", 1): v for name, v in values.items() if name[:4] == "val_"
            }
            self.scalars(validation, epoch - 1)
        elif step is not None:
            self.scalars(values, step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add one point to each named curve. Names with a common part before ``/`` share a section."""
        if not self._writes:
            return
        with self._writer() as writer:
            for tag, value in values.items():
                writer.add_scalar(tag, float(value), step)

    def image(self, tag: str, figure: Image, step: int) -> None:
        """Add an image; grey and palette images are shown in RGB."""
        if not self._writes:
            return
        import numpy as np

        with self._writer() as writer:
            pixels = np.asarray(figure.convert("RGB"))
            writer.add_image(tag, pixels, step, dataformats="HWC")

    def text(self, tag: str, text: str, step: int = 0, *, verbatim: bool = False) -> None:
        """Add a text in Markdown; ``verbatim`` shows it as it is, such as a spec file."""
        if not self._writes:
            return
        if verbatim:
            text = "\n".join(f"    {line}" for line in text.splitlines())
        with self._writer() as writer:
            writer.add_text(tag, text, step)

    def histogram(self, tag: str, values: Tensor | np.ndarray[Any, Any], step: int) -> None:
        """Add a histogram of the finite values; nothing where there are none."""
        if not self._writes:
            return
        import torch

        with self._writer() as writer:
            # bfloat16 and half have no histogram of their own.
            flat = torch.as_tensor(values).detach().flatten().float()
            finite = flat[flat.isfinite()]
            if finite.numel():
                writer.add_histogram(tag, finite, step)

    def hparams(self, settings: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Add this run's row to the HPARAMS page: its settings and its final figures.

        The row belongs to the run itself; ``SummaryWriter.add_hparams`` would make a second run of it.

        Args:
            settings: the spec as plain values; nested blocks become dotted names, lists become text.
            metrics: final figures, shown as curves of one point under ``val_kept/``.
        """
        if not self._writes:
            return
        finals = {f"val_kept/{name}": float(value) for name, value in metrics.items()}
        with self._writer() as writer:
            from torch.utils.tensorboard.summary import hparams

            for summary in hparams(dict(_flat(settings)), finals):
                writer._get_file_writer().add_summary(summary)
        self.scalars(finals, 0)

    def graph(self, network: nn.Module, example: Tensor) -> None:
        """Add the graph of ``network``, traced with ``example``, an input batch.

        Raises:
            TaoLikeError: the network cannot be traced; training may go on without the image.
        """
        if not self._writes:
            return
        # Tracing switches the whole network to evaluation and back, frozen parts included.
        modes = {module: module.training for module in network.modules()}
        try:
            with self._writer() as writer:
                writer.add_graph(network, example)
        except RuntimeError as error:
            raise TaoLikeError(f"TensorBoard cannot draw the graph of this network: {error}") from error
        finally:
            for module, training in modes.items():
                module.training = training

    def drop(self, is_stale: Callable[[str, int], bool]) -> None:
        """Remove points that an earlier run wrote into the folder; call it before the first one is written.

        Args:
            is_stale: says of a point's tag and step whether it is to go.
        """
        if not self._writes:
            return
        with explained_os_errors(self.folder):
            for path in sorted(self.folder.glob(f"{_EVENT_FILES}*")):
                _rewrite(path, is_stale)

    def flush(self) -> None:
        """Write what is pending, so that a killed process loses nothing of it."""
        if self._opened is not None:
            with explained_os_errors(self.folder):
                self._opened.flush()

    def close(self) -> None:
        """Write what is pending; later calls open a further events file."""
        if self._opened is not None:
            writer, self._opened = self._opened, None
            with explained_os_errors(self.folder):
                writer.close()


def _rewrite(path: Path, is_stale: Callable[[str, int], bool]) -> None:
    """Write an events file anew without the stale points; half an event of a killed process goes too."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    kept: list[bytes] = []
    dropped = False
    for content in RawEventFileLoader(str(path)).Load():
        event = Event.FromString(content)
        fresh = [value for value in event.summary.value if not is_stale(value.tag, event.step)]
        if len(fresh) < len(event.summary.value):
            dropped = True
            if not fresh:
                continue
            del event.summary.value[:]
            event.summary.value.extend(fresh)
            content = event.SerializeToString()
        kept.append(content)
    if not dropped:
        return
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        writer = RecordWriter(file)
        for content in kept:
            writer.write(content)
        writer.flush()


def _hush_writer_thread() -> None:
    """Keep TensorBoard's thread from printing a traceback: the next call raises its error, explained."""
    others = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        writes_events = type(failure.thread).__module__ == "tensorboard.summary.writer.event_file_writer"
        if not (writes_events and isinstance(failure.exc_value, OSError)):
            others(failure)

    if others.__module__ != __name__:
        threading.excepthook = hook


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, bool | int | float | str]]:
    """Yield dotted names and values that TensorBoard can hold; unset values are left out."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float | str):
            yield prefix + name, readable(value) if isinstance(value, str) else value
        elif value is not None:
            yield prefix + name, json.dumps(value, default=str)
