"""The inference stage: predictions for files without labels, as rows and as images, or as a video."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from tao_like import runtime
from tao_like.bundle import file_sha256
from tao_like.config.blocks.common import CommonSpec, InferenceSpec
from tao_like.contract.capabilities import Animates, AsksFirst, Explains, Generates, Tiles
from tao_like.contract.inputs import preprocess
from tao_like.contract.sample import Sample
from tao_like.contract.task import AnyTask
from tao_like.data.video import WRITTEN_SUFFIX, VideoReader, VideoWriter, is_video
from tao_like.errors import DatasetError, SpecError
from tao_like.plots.grids import image_grid
from tao_like.stages.lib.devices import pick_device
from tao_like.stages.lib.engines import LoadedModel, find_checkpoint, open_model, with_generator
from tao_like.stages.lib.prediction_files import PREDICTIONS, PredictionWriter, prediction_writer
from tao_like.stages.lib.scoring import choose_split, scoring_batch_size
from tao_like.stages.results import InferenceResult
from tao_like.tracking import Run
from tao_like.tracking.files import Artefact

IMAGES = "pictures"
_OWN_IMAGE = re.compile(r"\d{5,}_[\w.-]*\.(?:jpg|png|gif)")
SHEET = "sheet.png"
FRAME_MS = 80
"""How long each of a task's animations is shown, in milliseconds."""


@dataclass
class _Predicted:
    """What is known of the samples so far.

    Attributes:
        model: gives the predictions.
        spec: the inference block.
        run: takes the files.
        writer: takes the rows.
        video: where images go that are drawn of a video's; None: to files.
        rate: images a second of that video.
        rows: of predictions.csv.
        names: of the image files.
        cards: of made images, for the sheet that shows them together.
    """

    model: LoadedModel
    spec: InferenceSpec
    run: Run
    writer: PredictionWriter
    video: VideoWriter | None = None
    rate: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    cards: list[Any] = field(default_factory=list)

    @cached_property
    def sha256(self) -> str:
        """The hash of the bundle, of which exported files have that of their own."""
        if self.model.bundle is not None:
            return file_sha256(self.model.path)
        return runtime.load_pipeline(self.model.path).metadata.bundle_sha256

    @property
    def drawn(self) -> int:
        """Images that have been written to files."""
        return 0 if self.video else min(len(self.rows), self.spec.max_pictures)

    def add(self, sample: Sample, prediction: Any, heatmap: Any) -> None:
        """Takes in a sample's prediction, and draws it while images are wanted."""
        number = len(self.rows)
        position = {"frame": number, "seconds": f"{number / self.rate:.3f}"} if self.video else {}
        self.rows.append(self.writer.add(sample, prediction, position))
        if self.video:
            self.video.write(self.model.task.predictions.draw(sample, prediction, heatmap))
        elif len(self.rows) <= self.spec.max_pictures:
            self._save_image(sample, prediction, heatmap)

    def _save_image(self, sample: Sample, prediction: Any, heatmap: Any) -> None:
        """Draws a sample into a file: moving, where it moves."""
        name = f"{IMAGES}/{len(self.rows):05d}_{_file_name(sample.key)}"
        task = self.model.task
        generates = task.capability(Generates)
        if generates is not None:
            with self._artefact(f"{name}.png") as path:
                generates.save(path, sample, prediction, self.sha256)
            self.cards.append(task.predictions.draw(sample, prediction))
            return
        animates = task.capability(Animates)
        if heatmap is None and animates is not None:
            frames = animates.animate(sample, prediction)
            with self._artefact(f"{name}.gif") as path:
                frames[0].save(path, save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
            return
        with self._artefact(f"{name}.jpg") as path:
            task.predictions.draw(sample, prediction, heatmap).save(path, quality=90)

    def _artefact(self, name: str) -> Artefact:
        self.names.add(Path(name).name)
        return self.run.artefact(name)

    def remove_earlier_images(self) -> None:
        """Removes the images of an earlier run, whose rows are gone too."""
        folder = self.run.folder / IMAGES
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in self.names and _OWN_IMAGE.fullmatch(path.name):
                path.unlink()


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> InferenceResult:
    """Runs every file of the source; leaves predictions.csv and images in the run's folder."""
    path = find_checkpoint(spec, spec.inference.checkpoint, "inference.checkpoint")
    model = open_model(task_type, spec, path, pick_device(spec.inference.gpu_ids, "inference.gpu_ids", run))
    if spec.inference.explain and model.network is None:
        raise SpecError("inference.explain needs a bundle: an ONNX file has no gradients; give model.tltb")
    asks = model.task.capability(AsksFirst)
    if asks is not None:
        asks.ask(model.engine.run, "inference")
    generates = model.task.capability(Generates)
    if generates is not None:
        model.engine = with_generator(model.engine, generates.generator_for_prompts(model.network))
    skipped: list[str] = []
    video = _video(model.task, spec.inference)
    if video is not None:
        count, samples = video.count, _frames(video, model.task)
    else:
        count, samples = _samples(model.task, spec.inference, skipped, run)
    with ExitStack() as stack, run.progress(f"running {path.name}", count) as bar:
        writer = stack.enter_context(prediction_writer(run, model.task))
        predicted = _Predicted(model, spec.inference, run, writer)
        if video is not None:
            target = run.artefact(f"{video.path.stem}{WRITTEN_SUFFIX}").final
            temporary = stack.enter_context(run.artefact(target.name))
            predicted.video = stack.enter_context(VideoWriter(temporary, video.rate))
            predicted.rate = video.rate
        size = scoring_batch_size(model.task, spec.inference.batch_size)
        for batch in _batches(samples, size, model.task.capability(Tiles)):
            _predict(predicted, batch, size)
            bar.advance(len(batch))
            del batch  # big images, while the next ones are read
        if not predicted.rows:
            first = f"; the first: {skipped[0]}" if skipped else ""
            raise DatasetError(f"none of {count} files or frames could be read{first}")
    predicted.remove_earlier_images()
    if predicted.cards and generates is not None:
        with run.artefact(SHEET) as path:
            image_grid(predicted.cards, generates.sheet_columns()).save(path)
    predictions = run.folder / PREDICTIONS
    report = {
        "checkpoint": str(path),
        "samples": len(predicted.rows),
        "skipped": skipped,
        "pictures": predicted.drawn,
    }
    summary = [f"{len(predicted.rows)} predictions: {predictions}", *writer.notes]
    if video is not None:
        report["video"] = target.name
        summary.append(f"Video: {run.folder / target.name}")
    if predicted.drawn:
        together = f"; together: {run.folder / SHEET}" if predicted.cards else ""
        summary.append(f"{predicted.drawn} images: {run.folder / IMAGES}{together}")
    return InferenceResult("inference", run.folder, report, summary, predicted.rows, predictions, skipped)


def _video(task: AnyTask, spec: InferenceSpec) -> VideoReader | None:
    """The video that the spec names as source; None: it names none."""
    if spec.source is None or not _takes_images(task) or not is_video(spec.source):
        return None
    return VideoReader(Path(spec.source))


def _takes_images(task: AnyTask) -> bool:
    return next(iter(task.inputs.values())).kind == "image"


def _frames(video: VideoReader, task: AnyTask) -> Iterator[Sample]:
    """The images of a video as samples, by number."""
    for number, image in enumerate(video):
        yield _sample(task, f"{video.path}#{number:06d}", image)


def _sample(task: AnyTask, key: str, data: Any) -> Sample:
    """A sample of a file's data: the first input's, and of a task of several inputs nothing else."""
    return Sample(key, data if len(task.inputs) == 1 else {next(iter(task.inputs)): data})


def _samples(
    task: AnyTask, spec: InferenceSpec, skipped: list[str], run: Run
) -> tuple[int, Iterator[Sample]]:
    """How many samples there are, and each as it is read."""
    generates = task.capability(Generates)
    if generates is not None and (asked := generates.prompts()):
        return len(asked), iter(asked)
    # A source is files of one kind, those of the first input.
    source = next(iter(task.inputs.values()))
    if generates is not None:
        files = []
    else:
        files = task.data.inference_files() if spec.source is None else source.files(spec.source)
    if not files:
        split = choose_split(task, "test")
        dataset = task.data.dataset(split)
        run.info(f"inference.source is not given; running on the {len(dataset)} {split} samples.")
        return len(dataset), _read(dataset.sample, range(len(dataset)), spec.on_error, skipped, run)
    return len(files), _read(
        lambda path: _sample(task, str(path), source.read(path)), files, spec.on_error, skipped, run
    )


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


def _batches(samples: Iterable[Sample], size: int, tiles: Tiles | None) -> Iterator[list[Sample]]:
    """Samples that are held together: so many, or fewer that have as many tiles."""
    batch: list[Sample] = []
    seen = 0
    for sample in samples:
        batch.append(sample)
        seen += 1 if tiles is None else len(tiles.tiles(sample))
        del sample  # a big image, while the next one is read
        if seen >= size:
            yield batch
            batch, seen = [], 0
    if batch:
        yield batch


def _predict(predicted: _Predicted, batch: list[Sample], size: int) -> None:
    """Runs a batch and takes in its predictions."""
    model, spec = predicted.model, predicted.spec
    predictions = _predictions(model, batch, size)
    heatmaps: list[Any] | None = None
    wanted = predicted.video is not None or len(predicted.rows) < spec.max_pictures
    if wanted and spec.explain and model.network is not None:
        explains = model.task.capability(Explains)
        if explains is not None:
            heatmaps = explains.explain(model.network, preprocess(model.task.inputs, batch))
        if heatmaps is None:
            raise SpecError(
                "inference.explain: this architecture keeps no feature map to explain; leave it out"
            )
    for number, (sample, prediction) in enumerate(zip(batch, predictions, strict=True)):
        predicted.add(sample, prediction, heatmaps[number] if heatmaps else None)


def _predictions(model: LoadedModel, batch: list[Sample], size: int) -> list[Any]:
    """One prediction a sample; the network sees no more tiles at a time than there are samples in a batch."""
    tiles = model.task.capability(Tiles)
    if tiles is None:
        return _run(model, batch)
    of_samples = [tiles.tiles(sample) for sample in batch]
    every = (
        Sample(sample.key, tile)
        for sample, of_sample in zip(batch, of_samples, strict=True)
        for tile in of_sample
    )
    found = (prediction for some in _chunks(every, size) for prediction in _run(model, some))
    return [
        tiles.merge(sample, islice(found, len(of_sample)))
        for sample, of_sample in zip(batch, of_samples, strict=True)
    ]


def _chunks(samples: Iterator[Sample], size: int) -> Iterator[list[Sample]]:
    while some := list(islice(samples, size)):
        yield some


def _run(model: LoadedModel, samples: list[Sample]) -> list[Any]:
    outputs = model.engine.run(preprocess(model.task.inputs, samples))
    return model.task.predictions.from_outputs(outputs)


def _file_name(key: str) -> str:
    """A sample's name as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", Path(key).stem)[:60]
