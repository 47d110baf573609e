"""Files with predictions: a CSV row a sample, written as they come, and the task's own files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from tao_like.contract.capabilities import WritesFiles
from tao_like.contract.sample import Sample
from tao_like.contract.task import AnyTask
from tao_like.tracking import Run
from tao_like.tracking.files import csv_cell

PREDICTIONS = "predictions.csv"


class PredictionWriter:
    """Takes predictions in; see `prediction_writer`.

    Attributes:
        count: samples so far.
    """

    def __init__(self, task: AnyTask, file: TextIO) -> None:
        self.count = 0
        self.records: list[Any] = []
        self._task = task
        self._files = task.capability(WritesFiles)
        self._file = file
        self._writer: csv.DictWriter[str] | None = None

    def add(self, sample: Sample, prediction: Any, extra: dict[str, Any] | None = None) -> dict[str, Any]:
        """Writes a sample's row, with the columns of ``extra`` before it, and gives it back."""
        row = {**(extra or {}), **self._task.predictions.csv_row(sample, prediction)}
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, fieldnames=list(row))
            self._writer.writerow({name: csv_cell(name) for name in row})
        self._writer.writerow({name: csv_cell(value) for name, value in row.items()})
        if self._files is not None:
            self.records.append(self._files.record(sample, prediction))
        self.count += 1
        return row

    def files(self) -> Mapping[str, str | bytes]:
        """The task's own files: path below the stage's folder to text or bytes."""
        return {} if self._files is None else self._files.files(self.records)

    @property
    def notes(self) -> list[str]:
        """What to tell people of the task's own files, a line each."""
        return [] if self._files is None else self._files.notes()

    def close(self) -> None:
        """Leaves a header where there was no sample."""
        if self._writer is None:
            self._file.write("path\n")


@contextmanager
def prediction_writer(run: Run, task: AnyTask) -> Iterator[PredictionWriter]:
    """Writes predictions.csv and the task's own files into the run's folder; complete or not at all."""
    with run.artefact(PREDICTIONS) as path, Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = PredictionWriter(task, file)
        yield writer
        writer.close()
    for name, content in writer.files().items():
        data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
        with run.artefact(name) as path:
            Path(path).write_bytes(data)
