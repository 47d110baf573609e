"""The spec of object detection. Field names are those of TAO's detectors where these have the thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.augmentation import HsvColorSpec, RandomAffineSpec
from tao_like.config.blocks.common import IGNORED_TAO_KEYS, CommonSpec, TrainSpec
from tao_like.config.blocks.split_data import (
    SplitSpec,
    batch_size_field,
    cache_field,
    on_error_field,
    pixel_range_field,
    pixel_range_problems,
    shuffle_field,
    workers_field,
)
from tao_like.networks.backbones.names import IMPORTED
from tao_like.tasks.common.spec_checks import (
    backbone_problems,
    imported_problems,
    keep_problems,
    multi_scale_problems,
    size_problems,
)
from tao_like.tasks.detection.spec_blocks.anchors import FasterRcnnSpec, SsdSpec
from tao_like.tasks.detection.spec_blocks.stages import (
    DetectionEvaluateSpec,
    DetectionExportSpec,
    DetectionInferenceSpec,
    InferDataSourcesSpec,
)
from tao_like.tasks.detection.spec_blocks.tiling import TilingSpec
from tao_like.tasks.detection.spec_blocks.yolo import (
    ANCHOR_ARCHITECTURES,
    TINY_BACKBONE,
    AnchorSpec,
    KmeansSpec,
    yolo_problems,
)

ARCHITECTURES = (
    "yolox, yolo_v3, yolo_v4, yolo_v4_tiny, retinanet and ssd over any timm backbone with strides 8, 16 and "
    "32, faster_rcnn with stride 4 too; yolox in its own sizes nano to x"
)
STAGES = (
    "dataset_convert",
    "dataset_check",
    "kmeans",
    "train",
    "evaluate",
    "inference",
    "prune",
    "export",
    "quantize",
    "compare",
)
IMPORTED_CUTS = ("stride 8", "stride 16", "stride 32")
"""What an imported network must have to be trained by this task."""
TAO_NETWORKS = {
    name: f"model.arch={name}"
    for name in ("yolo_v3", "yolo_v4", "yolo_v4_tiny", "retinanet", "faster_rcnn", "ssd")
}
"""TAO's networks that are this task, and the key that chooses each."""
YOLOX_BACKBONES = tuple(f"yolox_{size}" for size in ("nano", "tiny", "s", "m", "l", "x"))
FORMATS = ("auto", "coco", "voc", "kitti", "yolo", "yolo_segment", "yolo_pose", "labelme", "csv", "cvat")
WRITTEN_FORMATS = FORMATS[1:5]
"""Of these, those that labels can be written in too."""
LARGEST_STRIDE = 32
PAPER_SSD_BACKBONES = ("vgg16", "vgg16.tv_in1k")
PAPER_SSD_SIDE, PAPER_SSD_MAPS = 300, 6


@dataclass
class BackboneSpec:
    """The network below the neck."""

    type: str = spec_field(
        "tf_efficientnet_lite0",
        "Architecture: a name of timm's, TAO's name for it, yolox_nano, tiny, s, m, l, x (YOLOX with its own "
        "backbone, neck and head in that size), or byom: an imported network. Neck and head are the paper's "
        "in yolo_v3 over darknet53, yolo_v4 over cspdarknet53 and yolo_v4_tiny over cspdarknet_tiny",
        automl=False,
    )
    pretrained_backbone_path: str | None = spec_field(
        None,
        "Weights of the backbone to start from: a .safetensors or .pth file, a bundle, `timm` (needs a "
        "network), `package:efficientnet_lite0` (or lite1, lite2); for yolox_*: a published checkpoint; for "
        "byom: the bundle of `tao-like byom convert`; empty: random weights",
        path=True,
    )
    freeze_backbone: bool = spec_field(False, "Train neck and head alone", automl=True)
    freeze_norm: bool = spec_field(
        False, "Keep the backbone's norm layers as the weights had them; good with small batches", automl=True
    )
    drop_path_rate: float = spec_field(0.0, "Stochastic depth, where the network has it", ge=0, lt=1)


@dataclass
class NeckSpec:
    """Neck and head over a timm backbone; yolox_* and the YOLO papers' backbones have their own."""

    width: int = spec_field(
        96,
        "Channels of neck and head; 256 in RetinaNet's paper. In the YOLO networks with anchors every other "
        "layer has half of them, as in their papers: give about twice as many as for YOLOX",
        ge=8,
        le=1024,
        automl=True,
    )
    depth: int = spec_field(1, "Bottlenecks in each layer of YOLOX's neck", ge=1, le=10, automl=True)


@dataclass
class PostprocessSpec:
    """Which of the network's boxes are predictions. Stored in the bundle and in the exported graph."""

    score_threshold: float = spec_field(
        0.01, "Boxes up to this score are dropped, also for metrics", ge=0, lt=1
    )
    iou_threshold: float = spec_field(
        0.65,
        "Non-maximum suppression: a box goes that overlaps a better one of its class by more",
        gt=0,
        le=1,
    )
    max_detections: int = spec_field(100, "Most boxes of an image", ge=1, le=1000)
    candidates: int = spec_field(1000, "Most boxes of an image that suppression looks at", ge=1, le=10000)


@dataclass
class ModelSpec:
    """The network."""

    arch: str = spec_field(
        "yolox",
        "Kind of detector: anchor-free with a decoupled head; with anchors; with anchors and the focal loss; "
        "in two stages; with anchors on many maps",
        choices=("yolox", *ANCHOR_ARCHITECTURES, "retinanet", "faster_rcnn", "ssd"),
    )
    backbone: BackboneSpec = spec_block(BackboneSpec, "Backbone")
    neck: NeckSpec = spec_block(NeckSpec, "Neck and head")
    anchors: AnchorSpec = spec_block(AnchorSpec, "Anchors of yolo_v3, yolo_v4 and yolo_v4_tiny")
    faster_rcnn: FasterRcnnSpec = spec_block(FasterRcnnSpec, "The two stages of faster_rcnn")
    ssd: SsdSpec = spec_block(SsdSpec, "The anchors of ssd")
    postprocess: PostprocessSpec = spec_block(PostprocessSpec, "From boxes to predictions")


@dataclass
class DataSourceSpec:
    """Images and their boxes."""

    image_dir: str | None = spec_field(None, "Folder of the images", path=True)
    json_file: str | None = spec_field(None, "COCO annotation file", path=True)
    label_dir: str | None = spec_field(
        None,
        "Folder with a label file for each image: VOC (.xml), KITTI or YOLO (.txt), LabelMe (.json)",
        path=True,
    )
    label_file: str | None = spec_field(
        None,
        "One file for many images: CSV (filename, class, xmin, ymin, xmax, ymax) or CVAT (.xml)",
        path=True,
    )
    format: str = spec_field(
        "auto",
        "Format of the labels; auto: by all files. yolo_segment and yolo_pose say what longer lines of "
        "YOLO's are, where their numbers do not tell",
        choices=FORMATS,
    )
    list_file: str | None = spec_field(
        None, "Text file with the names of the images to take, one a line; empty: all", path=True
    )
    classes_file: str | None = spec_field(
        None,
        "Names of YOLO's class numbers: one a line, or data.yaml; empty: classes.txt or data.yaml beside or "
        "above the labels",
        path=True,
    )

    def check(self) -> Iterator[Problem]:
        """A source says where its boxes are."""
        if not self.json_file and not self.label_dir and not self.label_file:
            yield Problem("json_file", "is not given, nor is label_dir; one of them says where the boxes are")
        elif not self.json_file and not self.label_file and not self.image_dir:
            yield Problem("image_dir", "is not given; it names the folder of the images")


@dataclass
class AugmentationSpec:
    """What is changed at random in training images; boxes follow."""

    mosaic_prob: float = spec_field(
        0.0, "Chance that four images are put together; strong", ge=0, le=1, automl=True
    )
    mixup_prob: float = spec_field(
        0.0, "Chance that another image shines through a mosaic; strong", ge=0, le=1, automl=True
    )
    random_affine: RandomAffineSpec = spec_block(RandomAffineSpec, "Size, position, rotation; strong")
    random_color: HsvColorSpec = spec_block(HsvColorSpec, "Color")
    horizontal_flip_prob: float = spec_field(0.5, "Chance of left for right", ge=0, le=1, automl=True)
    vertical_flip_prob: float = spec_field(0.0, "Chance of upside down", ge=0, le=1, automl=True)
    multi_scale_range: int = spec_field(
        0,
        "Another input size every step: up to so many times 32 pixels smaller or larger; 0: always img_size",
        ge=0,
        le=20,
    )
    plain_epochs: int = spec_field(
        2, "Last epochs without what is marked as strong, and with the L1 loss", unit="epochs", ge=0
    )


@dataclass
class DatasetSpec:
    """The data."""

    train_data_sources: list[DataSourceSpec] = spec_field(
        [], "Training data; divided by `split` where it stands alone"
    )
    val_data_sources: list[DataSourceSpec] = spec_field([], "Validation data")
    test_data_sources: list[DataSourceSpec] = spec_field([], "Test data")
    infer_data_sources: InferDataSourcesSpec = spec_block(InferDataSourcesSpec, "Images for inference")
    split: SplitSpec = spec_block(SplitSpec, "Division of training data that has no splits of its own")
    classes_file: str | None = spec_field(
        None, "Class names, one a line, in the order of the outputs; empty: as the data has them", path=True
    )
    num_classes: int | None = spec_field(
        None, "Number of classes; found in the data. Given, it is compared with the data", ge=1
    )
    img_size: int = spec_field(
        320, "Input width, and height where that is not given", unit="pixels", ge=32, le=4096, automl=False
    )
    img_height: int | None = spec_field(
        None,
        "Input height, for images that are wider than high; empty: a square",
        unit="pixels",
        ge=32,
        le=4096,
    )
    resize: str = spec_field(
        "letterbox",
        "How an image becomes the input: in its own shape with borders, or squashed",
        choices=("letterbox", "squash"),
    )
    tiling: TilingSpec = spec_block(TilingSpec, "Big images in tiles")
    pixel_range: str = pixel_range_field()
    on_error: str = on_error_field()
    batch_size: int | str = batch_size_field()
    workers: int | str = workers_field()
    shuffle: bool = shuffle_field()
    cache: str = cache_field()
    augmentation: AugmentationSpec = spec_block(AugmentationSpec, "Augmentation")

    def check(self) -> Iterator[Problem]:
        """Numbers of `pixel_range` rise."""
        yield from pixel_range_problems(self.pixel_range)


@dataclass
class DatasetConvertSpec:
    """Writes the labels of the data sources in another format; images stay where they are."""

    format: str = spec_field("coco", "Format to write", choices=WRITTEN_FORMATS)
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/dataset_convert`", path=True
    )


@dataclass
class Spec(CommonSpec):
    """Everything that a spec file of detection may hold."""

    model: ModelSpec = spec_block(ModelSpec, "The network")
    dataset: DatasetSpec = spec_block(DatasetSpec, "The data")
    train: TrainSpec = spec_block(TrainSpec, "Training")
    dataset_convert: DatasetConvertSpec = spec_block(DatasetConvertSpec, "Labels in another format")
    evaluate: DetectionEvaluateSpec = spec_block(DetectionEvaluateSpec, "Evaluation")
    kmeans: KmeansSpec = spec_block(KmeansSpec, "Anchors for the training data")
    inference: DetectionInferenceSpec = spec_block(DetectionInferenceSpec, "Inference")
    export: DetectionExportSpec = spec_block(DetectionExportSpec, "Export to ONNX")

    ignored: ClassVar[Mapping[str, str]] = {
        **IGNORED_TAO_KEYS,
        "dataset.pin_memory": "chosen by the device",
        "dataset.dataset_type": "there is one kind of dataset",
        "dataset.remap_mscoco_category": "category ids need not be contiguous",
        "dataset.quant_calibration_data_sources": "not in this version",
        "dataset.eval_class_ids": "report.json has the figures of each class",
    }

    def check(self) -> Iterator[Problem]:
        """Rules that join keys of several blocks."""
        backbone = self.model.backbone.type
        if backbone.startswith("yolox_") and backbone not in YOLOX_BACKBONES:
            yield Problem(
                "model.backbone.type", f"there is no {backbone}; the sizes are {', '.join(YOLOX_BACKBONES)}"
            )
        elif backbone == IMPORTED:
            yield from imported_problems(self.model.backbone.pretrained_backbone_path)
        elif backbone not in (*YOLOX_BACKBONES, TINY_BACKBONE):
            yield from backbone_problems(backbone)
        if self.model.arch != "yolox" and backbone in YOLOX_BACKBONES:
            yield Problem(
                "model.arch", f"{self.model.arch} cannot stand over {backbone}; take a timm backbone"
            )
        if self.model.arch == "faster_rcnn" and backbone == IMPORTED:
            yield Problem(
                "model.arch",
                "faster_rcnn needs maps at stride 4, and an imported backbone gives 8, 16 and 32; take "
                "retinanet, or a timm backbone",
            )
        yield from yolo_problems(self.model.arch, backbone, self.model.backbone.pretrained_backbone_path)
        data = self.dataset
        yield from self._check_size()
        if is_paper_ssd(self.model) and len(self.model.ssd.scales) != PAPER_SSD_MAPS + 1:
            yield Problem(
                "model.ssd.scales",
                f"{self.model.ssd.scales} is not allowed with vgg16, which has {PAPER_SSD_MAPS} maps; give "
                f"{PAPER_SSD_MAPS + 1}",
            )
        has_val = data.split.val or data.val_data_sources
        yield from keep_problems(self.train.keep, has_val, "dataset.val_data_sources or dataset.split.val")
        yield from multi_scale_problems(data.augmentation.multi_scale_range, LARGEST_STRIDE, data)

    def _check_size(self) -> Iterator[Problem]:
        """Sides are multiples of the coarsest map's stride; the paper's SSD takes 300 pixels and more."""
        if not is_paper_ssd(self.model):
            yield from size_problems(self.dataset, LARGEST_STRIDE, "dataset.")
            return
        for key in ("img_size", "img_height"):
            side = getattr(self.dataset, key)
            if side is not None and side < PAPER_SSD_SIDE:
                yield Problem(
                    f"dataset.{key}", f"{side} is too small for ssd over vgg16; give {PAPER_SSD_SIDE}"
                )


def is_paper_ssd(model: ModelSpec) -> bool:
    """Whether the network is SSD as in its paper, over VGG-16 with layers of its own behind it."""
    return model.arch == "ssd" and model.backbone.type in PAPER_SSD_BACKBONES
