"""The data of instance segmentation: detection's, and the two other forms that TAO's mask2former takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tao_like.config import Problem, spec_block, spec_field
from tao_like.tasks.detection.spec import FORMATS, DatasetSpec, DataSourceSpec

PANOPTIC, CLASS_MASKS = "coco_panoptic", "ade"
FILE_OF_FORMAT: Mapping[str, str] = {
    "coco": "json_file",
    PANOPTIC: "panoptic_json",
    CLASS_MASKS: "annot_file",
}
"""The key that names the annotations of each format that has one JSON file."""


@dataclass
class InstanceSourceSpec(DataSourceSpec):
    """Images and the outlines of their objects."""

    image_dir: str | None = spec_field(None, "Folder of the images", path=True, aliases=("img_dir",))
    json_file: str | None = spec_field(None, "COCO annotation file", path=True, aliases=("instance_json",))
    format: str = spec_field(
        "auto",
        "Format of the labels; auto: by what is given, and by all label files. yolo_segment and yolo_pose "
        "say what longer lines of YOLO's are, where their numbers do not tell",
        choices=(*FORMATS, PANOPTIC, CLASS_MASKS),
        aliases=("type",),
    )
    panoptic_json: str | None = spec_field(
        None, "COCO's panoptic annotations: objects and regions without common pixels", path=True
    )
    panoptic_dir: str | None = spec_field(
        None,
        "Folder of their PNG files, whose colors are ids of segments; empty: the folder beside panoptic_json "
        "that has its name",
        path=True,
    )
    annot_file: str | None = spec_field(
        None,
        "JSON lines of img and segm, the paths of a photo and of its mask of class numbers, as TAO's `ade` "
        "data has them: all of a class on a photo is one region",
        path=True,
    )
    root_dir: str | None = spec_field(
        None, "What the paths in annot_file start from; empty: its folder", path=True
    )

    @property
    def kind(self) -> str:
        """The format, where one file says it."""
        if self.format != "auto":
            return self.format
        return next((kind for kind, key in FILE_OF_FORMAT.items() if getattr(self, key)), "auto")

    @property
    def annotations(self) -> str | None:
        """The file with all annotations, where there is one."""
        found: str | None = getattr(self, FILE_OF_FORMAT.get(self.kind, "json_file"))
        return found

    @property
    def is_given(self) -> bool:
        """Whether it names data."""
        return bool(self.image_dir or self.label_dir or self.label_file or self._files)

    @property
    def _files(self) -> list[str]:
        """Those of the keys for one JSON file that are given."""
        return [key for key in FILE_OF_FORMAT.values() if getattr(self, key)]

    def check(self) -> Iterator[Problem]:
        """A source says where its objects are, once."""
        if len(self._files) > 1 and self.format == "auto":
            yield Problem(
                "format", f"is not given, and {' and '.join(self._files)} are; say which of them counts"
            )
        wanted = FILE_OF_FORMAT.get(self.kind)
        if wanted and not getattr(self, wanted):
            yield Problem(wanted, f"is not given; format {self.kind} needs it")
        elif not wanted:
            yield from super().check()


@dataclass
class SplitSourceSpec(InstanceSourceSpec):
    """One source of a split, in the layout of TAO's mask2former."""

    def check(self) -> Iterator[Problem]:
        """Where there is one."""
        if self.is_given:
            yield from super().check()


@dataclass
class PredictionFolderSpec:
    """Images for inference, in the layout of TAO's mask2former."""

    img_dir: str | None = spec_field(
        None, "Folder of images for inference without `inference.source`", path=True
    )


@dataclass
class InstanceDatasetSpec(DatasetSpec):
    """The data."""

    train_data_sources: list[InstanceSourceSpec] = spec_field(  # type: ignore[assignment]
        [], "Training data; divided by `split` where it stands alone"
    )
    val_data_sources: list[InstanceSourceSpec] = spec_field([], "Validation data")  # type: ignore[assignment]
    test_data_sources: list[InstanceSourceSpec] = spec_field([], "Test data")  # type: ignore[assignment]
    train: SplitSourceSpec = spec_block(
        SplitSourceSpec, "Training data of one source, in the place of train_data_sources"
    )
    val: SplitSourceSpec = spec_block(
        SplitSourceSpec, "Validation data of one source, in the place of val_data_sources"
    )
    test: PredictionFolderSpec = spec_block(PredictionFolderSpec, "Images for inference")
    label_map: str | None = spec_field(
        None,
        "JSON list of id, name and isthing: names of the values of `ade` masks; empty: class_1 and so on",
        path=True,
    )

    def sources(self, split: str) -> list[InstanceSourceSpec]:
        """The sources of a split."""
        several: list[InstanceSourceSpec] = getattr(self, f"{split}_data_sources")
        alone = getattr(self, split, None)
        return [alone] if isinstance(alone, SplitSourceSpec) and alone.is_given else several

    def check(self) -> Iterator[Problem]:
        """The data of a split stands in one place."""
        yield from super().check()
        for split in ("train", "val"):
            if getattr(self, split).is_given and getattr(self, f"{split}_data_sources"):
                yield Problem(
                    split,
                    f"is given together with {split}_data_sources; both say where the data is: keep one",
                )
