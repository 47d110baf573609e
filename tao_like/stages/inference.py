"""The inference stage: answers for files without labels, as rows and as pictures, or as a video."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_like.config.blocks.common import CommonSpec, InferenceSpec
from tao_like.contract.task import Sample, Task
from tao_like.data.video import WRITTEN_SUFFIX, VideoReader, VideoWriter, is_video
from tao_like.errors import DatasetError, SpecError
from tao_like.stages.evaluate import (
    choose_split,
    scoring_batch_size,
    write_result_files,
    write_rows,
)
from tao_like.stages.lib.devices import pick_device
from tao_like.stages.lib.engines import LoadedModel, find_checkpoint, open_model
from tao_like.stages.results import InferenceResult
from tao_like.tracking import Run

PICTURES = "pictures"
FRAME_MS = 80
"""How long each of a task's moving pictures is shown, in milliseconds."""


@dataclass
class _Answered:
    """What is known of the samples so far.

    Attributes:
        model: gives the answers.
        spec: the inference block.
        run: takes the files.
        video: where pictures go that are drawn of a video's; None: to files.
        rate: pictures a second of that video.
        rows: of predictions.csv.
        entries: what the task's own files need.
    """

    model: LoadedModel
    spec: InferenceSpec
    run: Run
    video: VideoWriter | None = None
    rate: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    entries: list[Any] = field(default_factory=list)

    @property
    def drawn(self) -> int:
        """Pictures that have been written to files."""
        return 0 if self.video else min(len(self.rows), self.spec.max_pictures)

    def add(self, sample: Sample, answer: Any, heat: Any) -> None:
        """Takes in a sample's answer, and draws it while pictures are wanted."""
        task, number = self.model.task, len(self.rows)
        place = {"frame": number, "seconds": f"{number / self.rate:.3f}"} if self.video else {}
        self.rows.append(place | task.row(sample, answer))
        self.entries.append(task.entry(sample, answer))
        if self.video:
            self.video.write(task.draw(sample, answer, heat))
        elif len(self.rows) <= self.spec.max_pictures:
            self._save_picture(sample, answer, heat)

    def _save_picture(self, sample: Sample, answer: Any, heat: Any) -> None:
        """Draws a sample into a file: moving, where it moves."""
        name = f"{PICTURES}/{len(self.rows):05d}_{_file_name(sample.key)}"
        task = self.model.task
        if heat is None and (frames := task.animate(sample, answer)):
            with self.run.artefact(f"{name}.gif") as path:
                frames[0].save(path, save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
            return
        with self.run.artefact(f"{name}.jpg") as path:
            task.draw(sample, answer, heat).save(path, quality=90)


def run(task_type: type[Task[Any]], spec: CommonSpec, run: Run) -> InferenceResult:
    """Answers every file of the source; leaves predictions.csv and pictures in the run's folder."""
    path = find_checkpoint(spec, spec.inference.checkpoint, "inference.checkpoint")
    model = open_model(task_type, spec, path, pick_device(spec.inference.gpu_ids, "inference.gpu_ids", run))
    if spec.inference.explain and model.network is None:
        raise SpecError("inference.explain needs a bundle: an ONNX file has no gradients; give model.tltb")
    skipped: list[str] = []
    video = _video(model.task, spec.inference)
    if video is not None:
        count, samples = video.count, _frames(video)
    else:
        count, samples = _samples(model.task, spec.inference, skipped, run)
    answered = _Answered(model, spec.inference, run)
    with ExitStack() as stack, run.progress(f"running {path.name}", count) as bar:
        if video is not None:
            target = run.artefact(f"{video.path.stem}{WRITTEN_SUFFIX}").final
            temporary = stack.enter_context(run.artefact(target.name))
            answered.video = stack.enter_context(VideoWriter(temporary, video.rate))
            answered.rate = video.rate
        for batch in _batches(samples, scoring_batch_size(model.task, spec.inference.batch_size)):
            _answer(answered, batch)
            bar.advance(len(batch))
        if not answered.rows:
            first = f"; the first: {skipped[0]}" if skipped else ""
            raise DatasetError(f"none of {count} files or frames could be read{first}")
    predictions = write_rows(run, answered.rows)
    write_result_files(run, model.task, answered.entries)
    report = {
        "checkpoint": str(path),
        "samples": len(answered.rows),
        "skipped": skipped,
        "pictures": answered.drawn,
    }
    summary = [f"{len(answered.rows)} answers: {predictions}"]
    if video is not None:
        report["video"] = target.name
        summary.append(f"Video: {run.folder / target.name}")
    if answered.drawn:
        summary.append(f"{answered.drawn} pictures: {run.folder / PICTURES}")
    return InferenceResult("inference", run.folder, report, summary, answered.rows, predictions, skipped)


def _video(task: Task[Any], spec: InferenceSpec) -> VideoReader | None:
    """The video that the spec names as source; None: it names none."""
    if spec.source is None or task.input_kind != "image" or not is_video(spec.source):
        return None
    return VideoReader(Path(spec.source))


def _frames(video: VideoReader) -> Iterator[Sample]:
    """The pictures of a video as samples, by number."""
    for number, picture in enumerate(video):
        yield Sample(f"{video.path}#{number:06d}", picture)


def _samples(
    task: Task[Any], spec: InferenceSpec, skipped: list[str], run: Run
) -> tuple[int, Iterator[Sample]]:
    """How many samples there are, and each as it is read."""
    files = task.default_sources() if spec.source is None else task.sources(spec.source)
    if not files:
        split = choose_split(task, "test")
        dataset = task.dataset(split)
        run.info(f"inference.source is not given; running on the {len(dataset)} {split} samples.")
        return len(dataset), _read(dataset.sample, range(len(dataset)), spec.on_error, skipped, run)
    return len(files), _read(task.load, files, spec.on_error, skipped, run)


def _read(
    load: Callable[[Any], Sample], what: Iterable[Any], on_error: str, skipped: list[str], run: Run
) -> Iterator[Sample]:
    for one in what:
        try:
            sample = load(one)
        except DatasetError as error:
            if on_error == "stop":
                raise
            run.warning(f"skipped: {error}")
            skipped.append(str(error))
            continue
        yield sample


def _batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    batch: list[Sample] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _answer(answered: _Answered, batch: list[Sample]) -> None:
    """Runs a batch and takes in its answers."""
    model, spec = answered.model, answered.spec
    answers = _answers(model, batch)
    heats: list[Any] | None = None
    wanted = answered.video is not None or len(answered.rows) < spec.max_pictures
    if wanted and spec.explain and model.network is not None:
        heats = model.task.explain(model.network, model.task.prepare(batch))
        if heats is None:
            raise SpecError(
                "inference.explain: this architecture keeps no map of places to explain; leave it out"
            )
    for number, (sample, answer) in enumerate(zip(batch, answers, strict=True)):
        answered.add(sample, answer, heats[number] if heats else None)


def _answers(model: LoadedModel, batch: list[Sample]) -> list[Any]:
    """One answer a sample; the network sees no more parts at a time than the batch has samples."""
    task = model.task
    parts = [task.parts(sample) for sample in batch]
    flat = [part for of_sample in parts for part in of_sample]
    answers: list[Any] = []
    for start in range(0, len(flat), len(batch)):
        answers += task.answers(model.engine.run(task.prepare(flat[start : start + len(batch)])))
    remaining = iter(answers)
    return [
        task.joined(sample, [next(remaining) for _ in of_sample])
        for sample, of_sample in zip(batch, parts, strict=True)
    ]


def _file_name(key: str) -> str:
    """A sample's name as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", Path(key).stem)[:60]
