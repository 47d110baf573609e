"""The data of pairs: which samples there are, the tokenizer, and their check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from tao_like.bundle import read_manifest
from tao_like.contract.batch import Batch
from tao_like.contract.data import DataReport
from tao_like.contract.labels import Labels
from tao_like.contract.sample import SPLITS, Split
from tao_like.contract.trained import TrainedState
from tao_like.data.captions.record import CaptionRecord, class_captions
from tao_like.data.captions.survey import caption_findings, survey_captions
from tao_like.data.checks.contact_sheet import Tile, contact_sheet, in_rows, spread
from tao_like.data.checks.images import check_images
from tao_like.data.checks.pixel_values import pixel_value_findings
from tao_like.data.text.sentence_files import sentence_preprocessing
from tao_like.data.text.vocabulary import file_preprocessing, trained_pairs, words_preprocessing
from tao_like.errors import BundleError, DatasetError
from tao_like.networks.weights.checkpoints import BUNDLE_SUFFIX
from tao_like.runtime.choices import BPE
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.inputs.text import TextPreprocessing, Tokenizer
from tao_like.tasks.clip.data.dataset import (
    TEXT,
    Augmentation,
    Item,
    PairDataset,
    PairTargets,
    collate_pairs,
)
from tao_like.tasks.clip.data.source import CaptionedImages
from tao_like.tasks.clip.presets import find_preset
from tao_like.tasks.clip.spec import Spec
from tao_like.tasks.common.image_data import ImageData
from tao_like.tasks.common.image_input import IMAGE

_CLASS_FINDINGS = ("one_class", "class_missing", "imbalance", "few_pictures")
"""What a classifier must hear of its classes; pairs need none."""
_SHEET_COLUMNS = 6


class PairData(ImageData[CaptionedImages]):
    """Images with captions.

    Args:
        spec: of the task.
        trained: what a trained model says of itself; None: it is yet to be trained.
    """

    def __init__(self, spec: Spec, trained: TrainedState | None) -> None:
        split, classes = (trained.split, trained.classes) if trained else (None, None)
        super().__init__(spec.dataset, CaptionedImages(spec.dataset, split, classes), spec.results_dir)
        self.spec = spec
        self.trained = trained
        self.group_names: list[str] = []

    @property
    @override
    def labels(self) -> Labels:
        names = self.source.classes
        templates = self.spec.dataset.templates
        prompts = {name: list(class_captions(name, templates)) for name in names}
        return Labels(names, prompts, open_set=True)

    @cached_property
    @override
    def preprocessing(self) -> ImagePreprocessing:
        if self.trained:
            return ImagePreprocessing.from_dict(self.trained.preprocessing[IMAGE])
        model, block = self.spec.model, self.spec.dataset
        side = model.image_size or find_preset(model.type).image_size
        return ImagePreprocessing(
            height=side,
            width=side,
            resize=block.resize,
            crop_pct=1.0,
            interpolation="bicubic",
            window=self.pixel_window(block.pixel_range),
        )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """How captions become ids: a trained model's own, else as the spec has it."""
        if self.trained:
            return Tokenizer(TextPreprocessing.from_dict(self.trained.preprocessing[TEXT]))
        given = self.spec.train.pretrained_model_path
        if given and given.endswith(BUNDLE_SUFFIX):
            return Tokenizer(_stored_text(Path(given)))
        return Tokenizer(self._text_preprocessing())

    def _text_preprocessing(self) -> TextPreprocessing:
        model = self.spec.model
        settings = model.tokenizer
        if model.text_encoder.path:
            return sentence_preprocessing(Path(model.text_encoder.path), settings.context_length)
        length = settings.context_length or find_preset(model.type).context_length
        if settings.path is not None:
            return file_preprocessing(Path(settings.path), length, canonicalize=model.canonicalize_text)
        cleans = bool(model.canonicalize_text)
        captions = [caption for record in self.source.records("train") for caption in record.captions]
        captions += [prompt for prompts in self.labels.prompts.values() for prompt in prompts]
        size = settings.vocabulary_size
        if settings.type == BPE:
            return trained_pairs(captions, length, vocabulary_size=size, canonicalize=cleans)
        return words_preprocessing(captions, length, most_words=size, canonicalize=cleans)

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> PairDataset:
        records = self.source.records(split)
        if not records:
            raise DatasetError(f"there is no {split} data; give {self.key(split)} or captions_file")
        # In one list for all splits, so that a number means one group wherever it comes up.
        for name in dict.fromkeys(record.group for record in records):
            if name not in self.group_names:
                self.group_names.append(name)
        return PairDataset(
            records,
            self.labels.names,
            self.preprocessing,
            self.tokenizer,
            self.image_store([record.path for record in records]),
            self.group_names,
            augment=Augmentation(self.block.augmentation, self.preprocessing) if augment else None,
        )

    @override
    def collate(self, samples: Sequence[Item]) -> Batch[PairTargets]:
        return collate_pairs(samples)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        records: dict[str, list[CaptionRecord]] = {
            split: self.source.records(split) for split in SPLITS if self.has(split)
        }
        names = self.labels.names
        window = self.preprocessing.window
        checked = check_images(
            records, names, full=full, multi_label=True, on_progress=on_progress, window=window
        )
        findings = [finding for finding in checked.findings if finding.code not in _CLASS_FINDINGS]
        figures = survey_captions(records, self.tokenizer)
        findings += pixel_value_findings(records, self.block.pixel_range, window)
        findings += [*self.source.findings(), *caption_findings(records, self.tokenizer, figures)]
        report = DataReport(findings, {**checked.to_dict(), "captions": figures})
        if full and not report.errors and self.spec.dataset_check.max_pictures:
            self._add_sheet(report)
        return report

    def _add_sheet(self, report: DataReport) -> None:
        """Some training images with their captions."""
        data = self.dataset("train")
        chosen = spread(len(data), self.spec.dataset_check.max_pictures)
        tiles = [Tile(data.sample(number).data[IMAGE], data.caption(number)) for number in chosen]
        report.figures["contact_sheet"] = contact_sheet(in_rows(tiles, _SHEET_COLUMNS), title="Captions")


def _stored_text(path: Path) -> TextPreprocessing:
    """The tokenizer of a bundle. Raises BundleError, SpecError."""
    manifest: dict[str, Any] = read_manifest(path)
    stored = manifest["preparation"]
    if not isinstance(stored, dict) or TEXT not in stored:
        raise BundleError(f"train.pretrained_model_path={path} is no bundle of the task clip")
    return TextPreprocessing.from_dict(stored[TEXT])
