"""The spec of pose classification. Field names are those of TAO's where TAO has the thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.common import (
    IGNORED_TAO_KEYS,
    OPTIMIZERS,
    TAO_OPTIMIZERS,
    CommonSpec,
    ExportSpec,
    OptimSpec,
    TrainSpec,
)
from tao_like.config.blocks.prune import MOVED_TAO_KEYS
from tao_like.config.blocks.split_data import batch_size_field, shuffle_field, workers_field
from tao_like.data.skeletons.layouts import CUSTOM, LAYOUTS, Layout, custom_layout
from tao_like.errors import SpecError

ARCHITECTURES = "ST-GCN and ST-GCN++ on skeletons of any layout"
STAGES = (
    "dataset_convert",
    "dataset_check",
    "train",
    "evaluate",
    "inference",
    "prune",
    "export",
    "quantize",
    "compare",
)
STREAMS = ("joint", "bone", "joint_motion", "bone_motion")
FORMATS = ("deepstream", "ntu", "csv", "utkinect", "pyskl")
SPLIT_FORMATS = {"cross-subject": ("ntu", "utkinect", "pyskl"), "cross-view": ("ntu", "pyskl")}
"""Formats that tell persons or cameras apart."""


@dataclass
class LayoutSpec:
    """A layout of your own."""

    joints: list[str] = spec_field(
        [], "Names of the joints in the order of the data; `left knee` and `right knee` make a mirrored pair"
    )
    edges: list[list[int]] = spec_field([], "Pairs of joint numbers, from 0, that are joined")
    center: int = spec_field(0, "Number of the joint that distances are measured from", ge=0)


@dataclass
class ModelSpec:
    """The network."""

    model_type: str = spec_field(
        "ST-GCN",
        "Architecture: ST-GCN (Yan et al. 2018), or ST-GCN++ (Duan et al. 2022), smaller and more accurate",
        choices=("ST-GCN", "ST-GCN++"),
    )
    pretrained_model_path: str | None = spec_field(
        None,
        "Published checkpoint to start from (.pth, .pt, .safetensors) of st-gcn, TAO or pyskl; of another "
        "number of classes, all but the last layer is taken",
        path=True,
    )
    input_channels: int = spec_field(3, "Values of a joint: x, y, or x, y and z or a score", ge=2, le=3)
    confidence: bool = spec_field(False, "The last of the input channels is a score, not a coordinate")
    dropout: float = spec_field(0.5, "Dropout in each block but the first", ge=0, lt=1, automl=True)
    graph_layout: str = spec_field(
        "nvidia",
        "Joints and what joins them; kinect_v1 has 20 joints, custom is described by `layout`",
        choices=(*LAYOUTS, CUSTOM),
    )
    layout: LayoutSpec = spec_block(LayoutSpec, "Joints and edges, for graph_layout custom")
    graph_strategy: str = spec_field(
        "spatial",
        "How ST-GCN divides a joint's neighbours: not at all, from the joint itself, or by their distance "
        "to the center",
        choices=("uniform", "distance", "spatial"),
    )
    center_distance: str = spec_field(
        "reference",
        "For strategy spatial: distances as ST-GCN's and TAO's code measure them, one hop far, or true ones",
        choices=("reference", "true"),
    )
    edge_importance_weighting: bool = spec_field(True, "ST-GCN learns how much each edge counts")
    base_channels: int = spec_field(
        64, "Channels of the first blocks; doubled at the fifth and the eighth", ge=6, le=512, automl=True
    )
    num_blocks: int = spec_field(10, "Blocks; frames are halved at the fifth and the eighth", ge=1, le=20)
    streams: list[str] = spec_field(
        ["joint"],
        "What the network sees; each stream has a network of its own, and their probabilities are averaged",
        choices=STREAMS,
    )
    stream_weights: list[float] = spec_field(
        [], "Weight of each stream's prediction; empty: all the same", element_gt=0
    )

    def check(self) -> Iterator[Problem]:
        """Streams, weights and the layout fit."""
        if not self.streams or len(set(self.streams)) != len(self.streams):
            yield Problem("streams", f"{self.streams} is not allowed; name one stream or more, each once")
        if self.stream_weights and len(self.stream_weights) != len(self.streams):
            yield Problem(
                "stream_weights", f"{self.stream_weights} does not fit; give a weight for each stream"
            )
        if self.confidence and self.input_channels != 3:
            yield Problem("confidence", "needs input_channels=3: x, y and the score")
        try:
            chosen_layout(self)
        except SpecError as error:
            yield Problem("layout", f"{error}")


def chosen_layout(model: ModelSpec) -> Layout:
    """The layout that a spec names or describes. Raises SpecError."""
    if model.graph_layout == CUSTOM:
        own = model.layout
        return custom_layout(own.joints, own.edges, own.center)
    return LAYOUTS[model.graph_layout]


@dataclass
class SkeletonDatasetSpec:
    """Sequences and their labels."""

    data_path: str | None = spec_field(
        None,
        "Array .npy (samples, channels, frames, joints, persons); it is read from the disk bit by bit",
        path=True,
    )
    label_path: str | None = spec_field(
        None, "Labels: .json (names, labels, classes), .npy of class numbers, or TAO's .pkl", path=True
    )


@dataclass
class AugmentationSpec:
    """What is changed at random in training sequences, beside random_choose and random_move."""

    rotation: float = spec_field(
        0.0,
        "Largest rotation: about every axis in 3D, in the plane in 2D",
        unit="degrees",
        ge=0,
        le=180,
        automl=True,
    )
    scale: float = spec_field(
        0.0, "Largest change of size, along each axis by itself", ge=0, lt=1, automl=True
    )
    mirror_prob: float = spec_field(0.0, "Chance of left for right", ge=0, le=1, automl=True)
    joint_dropout: float = spec_field(
        0.0, "Chance of a joint not to be seen in a sequence", ge=0, lt=1, automl=True
    )
    noise: float = spec_field(
        0.0, "Standard deviation of noise on every coordinate, in units of the data", ge=0, le=10, automl=True
    )


@dataclass
class DatasetSpec:
    """The data."""

    train_dataset: SkeletonDatasetSpec = spec_block(SkeletonDatasetSpec, "Training data")
    val_dataset: SkeletonDatasetSpec = spec_block(SkeletonDatasetSpec, "Validation data")
    test_dataset: SkeletonDatasetSpec = spec_block(SkeletonDatasetSpec, "Test data")
    num_classes: int | None = spec_field(
        None, "Number of classes; found in the data. Given, it is compared with the data", ge=1
    )
    label_map: dict[str, int] = spec_field(
        {}, "Class names and their numbers; empty: as the labels' file says, else the numbers"
    )
    random_choose: bool = spec_field(False, "Windows begin at a random frame (sampling pad)")
    random_move: bool = spec_field(
        False, "Turn, resize and shift slowly in the plane of x and y, as ST-GCN does"
    )
    window_size: int = spec_field(
        -1,
        "Frames that the network sees; -1: as many as the training data has",
        unit="frames",
        ge=-1,
        automl=True,
    )
    sampling: str = spec_field(
        "uniform",
        "Where these come from: spread evenly over the sequence, or a window filled up with zeros (TAO)",
        choices=("uniform", "pad"),
    )
    center: bool = spec_field(True, "Put the body's center in the first frame into the origin")
    scale_by_body: bool = spec_field(False, "Divide lengths by the length of the back")
    align_axes: bool = spec_field(
        False, "Turn the body of the first frame: back upright, shoulders along x (3D only)"
    )
    max_persons: int = spec_field(
        0, "Persons that the network sees; 0: as many as the training data has", ge=0, le=10
    )
    batch_size: int = batch_size_field("sequences", 16, auto=False)
    workers: int | str = workers_field("sequences", 0)
    shuffle: bool = shuffle_field()
    augmentation: AugmentationSpec = spec_block(AugmentationSpec, "Augmentation")

    def check(self) -> Iterator[Problem]:
        """Numbers that have no meaning between the ranges."""
        if self.window_size == 0:
            yield Problem("window_size", "0 is not allowed; give -1 (as the data) or a number of frames")
        numbers = sorted(self.label_map.values())
        if numbers != list(range(len(numbers))):
            yield Problem(
                "label_map", f"has the numbers {numbers}; they must be 0, 1, 2 and so on, each once"
            )


@dataclass
class PoseOptimSpec(OptimSpec):
    """Optimizer and learning-rate schedule; ST-GCN's own are the defaults."""

    optim: str = spec_field(
        "sgd",
        "Optimizer. Built by timm's factory; sgd has Nesterov's momentum",
        choices=OPTIMIZERS,
        synonyms=TAO_OPTIMIZERS,
        aliases=("type", "name", "optimizer", "optimizer_type"),
    )
    lr: float = spec_field(
        0.1,
        "Highest learning rate; 0.1 is for batches of 64 to 128, and fewer want less",
        gt=0,
        le=10,
        automl=True,
    )
    weight_decay: float = spec_field(
        1e-4, "Weight decay; biases and affine terms of norm layers have none", ge=0, le=1, automl=True
    )


@dataclass
class PoseTrainSpec(TrainSpec):
    """How a network is trained."""

    optim: PoseOptimSpec = spec_block(PoseOptimSpec, "Optimizer and schedule", aliases=("optimizer",))
    label_smoothing: float = spec_field(0.0, "Label smoothing", ge=0, lt=1, automl=True)


@dataclass
class PoseExportSpec(ExportSpec):
    """Writes a bundle as an ONNX file, and proves that it gives the same predictions."""

    input_format: str = spec_field(
        "float_nctvm",
        "float_nctvm: joints (batch, channels, frames, joints, persons)",
        choices=("float_nctvm",),
    )


@dataclass
class DatasetConvertSpec:
    """Sequences of other programs and data sets as the arrays that this task reads."""

    format: str = spec_field(
        "deepstream",
        "What `data` holds: JSON of DeepStream's body pose, NTU's .skeleton files, CSV tables, UTKinect's "
        "joint files, or an annotation file of pyskl and mmaction2",
        choices=FORMATS,
    )
    data: str | None = spec_field(None, "File or folder to convert", path=True)
    split: str = spec_field(
        "none",
        "Who is trained on: cross-subject (ntu, utkinect, pyskl) or cross-view (ntu, pyskl); none: as the "
        "data itself is divided, else all in one array",
        choices=("none", "cross-subject", "cross-view"),
    )
    on_error: str = spec_field(
        "stop", "What to do with a file that is wrong: stop, or name it and go on", choices=("stop", "skip")
    )
    pose_type: str = spec_field(
        "3dbp",
        "DeepStream: coordinates in space, in the image with depth, or in the image",
        choices=("3dbp", "25dbp", "2dbp"),
    )
    num_joints: int = spec_field(34, "DeepStream and CSV: joints of a person", ge=1)
    input_width: int = spec_field(1920, "Width of the images", unit="pixels", ge=1)
    input_height: int = spec_field(1080, "Height of the images", unit="pixels", ge=1)
    focal_length: float = spec_field(1200.0, "DeepStream 3dbp: focal length", unit="pixels", gt=0)
    sequence_length_max: int = spec_field(
        300, "Frames of a sample; shorter ones end in zeros", unit="frames", ge=1
    )
    sequence_length_min: int = spec_field(10, "Shorter sequences are left out", unit="frames", ge=1)
    sequence_length: int = spec_field(
        100, "DeepStream: frames that are cut out at a time", unit="frames", ge=1
    )
    sequence_overlap: float = spec_field(0.5, "DeepStream: share that two cuts have in common", ge=0, lt=1)
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/dataset_convert`", path=True
    )

    def check(self) -> Iterator[Problem]:
        """Lengths and splits that fit."""
        if self.sequence_length > self.sequence_length_max:
            yield Problem(
                "sequence_length",
                f"{self.sequence_length} is more than sequence_length_max={self.sequence_length_max}",
            )
        if self.format not in SPLIT_FORMATS.get(self.split, FORMATS):
            yield Problem("split", f"{self.split} is for format={' or '.join(SPLIT_FORMATS[self.split])}")


@dataclass
class Spec(CommonSpec):
    """Everything that a spec file of pose classification may hold."""

    model: ModelSpec = spec_block(ModelSpec, "The network")
    dataset: DatasetSpec = spec_block(DatasetSpec, "The data")
    train: PoseTrainSpec = spec_block(PoseTrainSpec, "Training")
    export: PoseExportSpec = spec_block(PoseExportSpec, "Export to ONNX")
    dataset_convert: DatasetConvertSpec = spec_block(DatasetConvertSpec, "Other programs' sequences")

    ignored: ClassVar[Mapping[str, str]] = {
        **IGNORED_TAO_KEYS,
        "train.optim.nesterov": "sgd has it",
        "train.optim.patience": "the rate falls by the schedule",
        "train.optim.min_lr": "train.optim.policy_params.min_lr_ratio says it",
        "inference.output_file": "inference writes predictions.csv and predictions.json",
    }
    moved: ClassVar[Mapping[str, str | tuple[str, ...]]] = {
        **MOVED_TAO_KEYS,
        "train.optim.lr_steps": "train.optim.policy_params.milestones",
        "train.optim.lr_decay": "train.optim.policy_params.gamma",
        "evaluate.test_dataset.data_path": "dataset.test_dataset.data_path",
        "evaluate.test_dataset.label_path": "dataset.test_dataset.label_path",
        "inference.test_dataset.data_path": "dataset.test_dataset.data_path",
        "inference.test_dataset.label_path": "dataset.test_dataset.label_path",
    }

    def check(self) -> Iterator[Problem]:
        """Rules that join keys of several blocks."""
        if (
            self.train.keep == "best"
            and not self.dataset.val_dataset.data_path
            and self.dataset.train_dataset.data_path
        ):
            yield Problem(
                "train.keep", "best needs validation data; give dataset.val_dataset, or set train.keep=last"
            )
        flat = self.model.input_channels - self.model.confidence < 3
        if self.dataset.align_axes and flat:
            yield Problem("dataset.align_axes", "is for coordinates in three dimensions; leave it out")
