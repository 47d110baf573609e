"""The pairs of images and captions of every split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from tao_like.config.blocks.captions import CaptionDataSpec
from tao_like.contract.batch import Batch
from tao_like.contract.data import DataReport
from tao_like.contract.labels import Labels
from tao_like.contract.sample import SPLITS, Sample, Split
from tao_like.contract.trained import TrainedState
from tao_like.data.captions.reading import ReadCaptions
from tao_like.data.captions.record import CaptionRecord
from tao_like.data.captions.survey import caption_findings, survey_captions
from tao_like.data.checks.images import check_images
from tao_like.data.checks.pixel_values import pixel_value_findings
from tao_like.data.images.cache import ImageStore
from tao_like.data.text.vocabulary import words_preprocessing
from tao_like.errors import DatasetError
from tao_like.runtime.generation.base import SEED, TEXT
from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess
from tao_like.runtime.inputs.seed_input import MADE_LIKE
from tao_like.runtime.inputs.text import TextPreprocessing, Tokenizer
from tao_like.tasks.common.captions.sources import caption_sources, read_sources
from tao_like.tasks.common.image_data import ImageData
from tao_like.tasks.common.pair_judge import PairJudge, open_judge
from tao_like.tasks.text_to_image.judge import Judge
from tao_like.tasks.text_to_image.spec import DatasetSpec, Spec

_OF_CLASSES = ("one_class", "class_missing", "empty_split")
"""Findings of images with classes, which captions do not have."""


@dataclass(frozen=True)
class Target:
    """What an image is made after.

    Attributes:
        caption: in words.
        seed: of its noise.
        pixels: (H, W, 3) uint8: the real image; None where it is not at hand.
        group: that the data puts it in, such as ``held_out``; empty: none.
    """

    caption: str
    seed: int
    pixels: np.ndarray | None = None
    group: str = ""


@dataclass
class Images:
    """The targets of a batch.

    Attributes:
        pixels: (N, 3, H, W) uint8.
        captions: in words.
        groups: of the data.
    """

    pixels: Tensor
    captions: list[str]
    groups: list[str]

    @property
    def values(self) -> Tensor:
        """The pixels from 0 to 1."""
        return self.pixels.float() / 255


class CaptionDataset:
    """A split: captions as tokens, with seeds and images.

    Args:
        records: its pairs.
        tokenizer: of captions.
        preprocessing: of images.
        store: reads them.
        draws: one of an image's captions is drawn each time; else the first is taken.
    """

    def __init__(
        self,
        records: list[CaptionRecord],
        tokenizer: Tokenizer,
        preprocessing: ImagePreprocessing,
        store: ImageStore,
        *,
        draws: bool,
    ) -> None:
        self.records = records
        self.tokenizer = tokenizer
        self.preprocessing = preprocessing
        self.store = store
        self.draws = draws

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int, np.ndarray, str, str]:
        record = self.records[index]
        captions = record.captions
        number = int(torch.randint(len(captions), ())) if self.draws and len(captions) > 1 else 0
        caption = captions[number]
        return self.tokenizer.ids(caption), index, self.pixels(index), caption, record.group

    def pixels(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8."""
        return preprocess(self.store.read(self.records[index].path), self.preprocessing)

    def sample(self, index: int) -> Sample:
        """Caption, seed and image; see `Dataset`."""
        record = self.records[index]
        caption = record.captions[0]
        target = Target(caption, index, self.pixels(index), record.group)
        return Sample(self.key(index), {TEXT: caption, SEED: index}, target)

    def key(self, index: int) -> str:
        """The image's name."""
        return self.records[index].key


class CaptionSplits:
    """The pairs that the dataset block names, read once.

    Args:
        block: the dataset block.
    """

    classes: ClassVar[list[str]] = []

    def __init__(self, block: DatasetSpec) -> None:
        self.block = block
        self._read: dict[Split, ReadCaptions] = {}

    def _named(self, split: Split) -> CaptionDataSpec:
        block: CaptionDataSpec = getattr(self.block, f"{split}_dataset")
        return block

    def read(self, split: Split) -> ReadCaptions:
        """The pairs of a split and what was found in reading. Raises DatasetError."""
        if split not in self._read:
            if not self.has(split):
                raise DatasetError(f"there is no {split} data; give dataset.{split}_dataset.images_dir")
            sources = caption_sources(self._named(split), f"dataset.{split}_dataset", self.block.templates)
            self._read[split] = read_sources(sources)
        return self._read[split]

    def records(self, split: Split) -> list[CaptionRecord]:
        """The pairs of a split. Raises DatasetError."""
        return self.read(split).records

    def has(self, split: Split) -> bool:
        """Whether the spec names this split."""
        return self._named(split).is_given

    def divides(self) -> bool:
        """Splits are named, never cut out of another."""
        return False

    def count(self, split: Split) -> int:
        """Pairs of a split. Raises DatasetError."""
        return len(self.records(split))

    def split_record(self) -> dict[str, Any]:
        """Nothing: the spec names every file."""
        return {}

    def fingerprint(self, split: Split) -> str:
        """Of the names and captions."""
        lines = [f"{record.key}\t{record.captions}" for record in self.records(split)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class CaptionData(ImageData[CaptionSplits]):
    """Pairs of images and captions.

    Args:
        spec: of the task.
        trained: what a trained model says of itself; None: it is yet to be trained.
        text: how captions become tokens where something else than the data decides it, such as a text tower
            that was trained before.
    """

    def __init__(
        self, spec: Spec, trained: TrainedState | None, text: TextPreprocessing | None = None
    ) -> None:
        super().__init__(spec.dataset, CaptionSplits(spec.dataset), spec.results_dir)
        self.spec = spec
        self.trained = trained
        self._given_text = text
        self._datasets: dict[Split, CaptionDataset] = {}

    @property
    @override
    def labels(self) -> Labels:
        return Labels([], open_set=True)

    @cached_property
    @override
    def preprocessing(self) -> ImagePreprocessing:
        side = self.spec.model.output_size
        plain = ImagePreprocessing(height=side, width=side, resize="crop", crop_pct=1.0)
        if self.trained is not None:
            # Bundles from before `dataset.pixel_range` have none, and were trained on the full range.
            stored = self.trained.preprocessing.get(SEED, {}).get(MADE_LIKE)
            return ImagePreprocessing.from_dict(stored) if stored else plain
        return replace(plain, window=self.pixel_window(self.block.pixel_range))

    @cached_property
    def text(self) -> TextPreprocessing:
        """How captions become tokens: as the model has learnt, as was given, or by the training's words."""
        if self.trained is not None:
            return TextPreprocessing.from_dict(self.trained.preprocessing[TEXT])
        if self._given_text is not None:
            return self._given_text
        captions = [caption for record in self.source.records("train") for caption in record.captions]
        model = self.spec.model
        return words_preprocessing(captions, model.context_length, most_words=model.vocabulary_size)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Makes tokens of captions."""
        return Tokenizer(self.text)

    @cached_property
    def judge(self) -> Judge:
        """Says what is on an image, by the training data. Raises DatasetError."""
        records = self.source.records("train")
        dataset = self.dataset("train")
        pixels = np.stack([dataset.pixels(number) for number in range(len(records))])
        return Judge(pixels, [record.captions[0] for record in records], self.block.attributes)

    @cached_property
    def clip(self) -> PairJudge:
        """The model of the task `clip` that ranks images. Raises SpecError, BundleError."""
        return open_judge(str(self.spec.clip_checkpoint), "clip_checkpoint")

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> CaptionDataset:
        if split not in self._datasets or self._datasets[split].draws != augment:
            records = self.source.records(split)
            store = self.image_store([record.path for record in records])
            self._datasets[split] = CaptionDataset(
                records, self.tokenizer, self.preprocessing, store, draws=augment
            )
        return self._datasets[split]

    @override
    def collate(self, samples: Sequence[Any]) -> Batch[Images]:
        ids, indices, pixels, captions, groups = zip(*samples, strict=True)
        numbers = torch.tensor(indices)
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
        inputs = {TEXT: torch.from_numpy(np.stack(ids)), SEED: numbers}
        return Batch(inputs, Images(images, list(captions), list(groups)), numbers)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        read = {split: self.source.read(split) for split in SPLITS if self.has(split)}
        splits: dict[str, list[CaptionRecord]] = {split: one.records for split, one in read.items()}
        classes = sorted({label for records in splits.values() for one in records for label in one.labels})
        window = self.preprocessing.window
        checked = check_images(
            splits, classes, full=full, multi_label=True, on_progress=on_progress, window=window
        )
        figures = survey_captions(splits, self.tokenizer)
        findings = [one for one in checked.findings if one.code not in _OF_CLASSES]
        findings += [finding for one in read.values() for finding in one.findings]
        findings += pixel_value_findings(splits, self.block.pixel_range, window)
        findings += caption_findings(splits, self.tokenizer, figures)
        return DataReport(findings, {**checked.to_dict(), "captions": figures})

    @override
    def manifest(self) -> None:
        return None
