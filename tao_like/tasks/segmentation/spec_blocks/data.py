"""The data of segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.split_data import (
    SplitSpec,
    batch_size_field,
    cache_field,
    pixel_range_field,
    pixel_range_problems,
    shuffle_field,
    workers_field,
)
from tao_like.tasks.common.spec_checks import size_problems
from tao_like.tasks.segmentation.spec_blocks.augmentation import MULTIPLE, AugmentationSpec


@dataclass
class MaskDataSpec:
    """Where the photos and masks of a split are."""

    images_dir: str | None = spec_field(
        None, "Folder of the photos, nested ones too", path=True, aliases=("images_path", "img_dir")
    )
    masks_dir: str | None = spec_field(
        None, "Folder of the masks, each named like its photo", path=True, aliases=("masks_path",)
    )
    images_list: str | None = spec_field(
        None, "In the place of the folders: text file with the path of a photo a line", path=True
    )
    masks_list: str | None = spec_field(
        None, "Text file with the path of the mask of each of these, in the same order", path=True
    )
    json_file: str | None = spec_field(
        None,
        "In the place of masks: COCO annotations, whose outlines are filled; or JSON lines (.jsonl) of "
        "img and segm, as TAO's `ade` data has them",
        path=True,
        aliases=("annot_file",),
    )
    mask_suffix: str = spec_field(
        "",
        "Ending of the mask files to take, such as `_gtFine_labelIds.png`, where a photo has several; empty: "
        "found",
    )

    @property
    def is_given(self) -> bool:
        """Whether it names data."""
        return bool(self.images_dir or self.json_file or self.images_list)


@dataclass
class PaletteEntrySpec:
    """A value of the masks."""

    label_id: int = spec_field(0, "Value in index masks", ge=0, le=65535)
    seg_class: str = spec_field("", "Name of what has this value", aliases=("name",))
    mapping_class: str = spec_field(
        "", "Class that it is learnt as: values of one mapping_class are merged; empty: seg_class"
    )
    rgb: list[int] = spec_field(
        [],
        "Color in color masks (three numbers), or a gray value (one); empty: none",
        element_ge=0,
        element_le=255,
    )
    class_weight: float = spec_field(1.0, "Weight of the class in the loss; 1 for all: none", ge=0)

    def check(self) -> Iterator[Problem]:
        """It has a name and a color of one or three numbers."""
        if not self.seg_class and not self.mapping_class:
            yield Problem("seg_class", "is not given; name what has this value")
        if len(self.rgb) not in (0, 1, 3):
            yield Problem("rgb", f"{self.rgb} is not allowed; give three numbers, or one")

    @property
    def class_name(self) -> str:
        """What it is learnt as."""
        return self.mapping_class or self.seg_class


@dataclass
class TilingSpec:
    """The sliding window: big photos are seen window by window, and probabilities averaged."""

    enable: bool = spec_field(
        False, "Look at photos window by window, in training, evaluation and the exported file"
    )
    tile_width: int | None = spec_field(
        None, "Width of a window; empty: that of the input", unit="pixels", ge=32
    )
    tile_height: int | None = spec_field(
        None, "Height of a window; empty: that of the input", unit="pixels", ge=32
    )
    overlap: float = spec_field(
        0.25, "Fraction of a side that neighbors have in common, at least", ge=0, le=0.8
    )


@dataclass
class DatasetSpec:
    """The data."""

    root_dir: str | None = spec_field(
        None,
        "Folder with `images/<split>` and `masks/<split>`, in the place of the folders below; TAO's layout",
        path=True,
    )
    train_split: str = spec_field("train", "Name of the training folder below root_dir")
    validation_split: str = spec_field("val", "Name of the validation folder below root_dir")
    test_split: str = spec_field(
        "test", "Name of the test folder below root_dir; where it is not there: none"
    )
    predict_split: str = spec_field(
        "test", "Name of the folder below root_dir/images for inference without `inference.source`"
    )
    train_dataset: MaskDataSpec = spec_block(
        MaskDataSpec, "Training data; divided by `split` where it stands alone", aliases=("train",)
    )
    val_dataset: MaskDataSpec = spec_block(MaskDataSpec, "Validation data", aliases=("val",))
    test_dataset: MaskDataSpec = spec_block(MaskDataSpec, "Test data", aliases=("test",))
    split: SplitSpec = spec_block(SplitSpec, "Division of training data that has no splits of its own")
    palette: list[PaletteEntrySpec] = spec_field(
        [], "What the values or colors of the masks mean; empty: values are numbers of lines in classes_file"
    )
    classes_file: str | None = spec_field(
        None,
        "Class names, one a line: the value 0 is the first; empty: classes.txt beside the masks, else "
        "class_0, class_1, ... for the values that the training masks have",
        path=True,
    )
    num_classes: int | None = spec_field(
        None, "Number of classes; found in the data. Given, it is compared with the data", ge=1
    )
    ignore_label: int = spec_field(
        255, "Value of pixels that belong to no class: neither learnt nor scored", ge=0, le=65535
    )
    label_transform: str = spec_field(
        "auto",
        "`norm`: masks hold 0 and 255 in the place of 0 and 1; `None`: values are as they stand; `auto`: "
        "norm where there are two classes and the training masks have these two values alone",
        choices=("auto", "norm", "None"),
    )
    img_size: int = spec_field(
        320, "Input width, and height where that is not given", unit="pixels", ge=32, le=4096, automl=False
    )
    img_height: int | None = spec_field(None, "Input height; empty: a square", unit="pixels", ge=32, le=4096)
    resize: str = spec_field(
        "letterbox",
        "How a photo becomes the input: in its own shape with borders that are not scored, or squashed",
        choices=("letterbox", "squash"),
    )
    tiling: TilingSpec = spec_block(TilingSpec, "Big photos in windows", aliases=("sliding_window",))
    pixel_range: str = pixel_range_field()
    batch_size: int | str = batch_size_field()
    workers: int | str = workers_field()
    shuffle: bool = shuffle_field()
    cache: str = cache_field()
    augmentation: AugmentationSpec = spec_block(AugmentationSpec, "Augmentation")

    def check(self) -> Iterator[Problem]:
        """Sides are multiples of the coarsest stride, and names come from one place."""
        yield from pixel_range_problems(self.pixel_range)
        yield from size_problems(self, MULTIPLE)
        if self.palette and self.classes_file:
            yield Problem("classes_file", "is given together with palette; both name the classes: keep one")
        if self.root_dir and self.train_dataset.is_given:
            yield Problem("root_dir", "is given together with train_dataset; both say where the data is")
