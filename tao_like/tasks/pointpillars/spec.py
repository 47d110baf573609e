"""The spec of pointpillars. Field names are TAO's where TAO has the thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.common import (
    IGNORED_TAO_KEYS,
    CommonSpec,
    ExportSpec,
    InferenceSpec,
)
from tao_like.config.blocks.prune import MOVED_TAO_KEYS
from tao_like.tasks.pointpillars.spec_blocks.data import DATASET_TYPES, DatasetSpec
from tao_like.tasks.pointpillars.spec_blocks.model import ModelSpec

ARCHITECTURES = "PointPillars: pillar features, 2D backbone, anchor head with a direction classifier"
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


@dataclass
class DatasetConvertSpec:
    """Writes the data in another layout."""

    format: str = spec_field("GeneralPCDataset", "Layout to write", choices=DATASET_TYPES)
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/dataset_convert`", path=True
    )


@dataclass
class PointPillarsInferenceSpec(InferenceSpec):
    """Runs a bundle or an ONNX file on files without labels."""

    viz_conf_thresh: float | None = spec_field(
        None, "Score from which on a box is drawn and written; empty: the model's own", ge=0, le=1
    )


@dataclass
class PointPillarsExportSpec(ExportSpec):
    """Writes a bundle as an ONNX file, and proves that it gives the same predictions."""

    opset_version: int = spec_field(18, "ONNX opset; below 18 scattering has no largest value", ge=18, le=20)
    batch_size: int = spec_field(-1, "A call takes one frame, of any number of points", choices=(-1, 1))
    input_format: str = spec_field("points", "Points (N, 4), float32", choices=("points",))
    tolerance: float = spec_field(1e-3, "Largest difference to torch that passes", gt=0, le=1)
    nms: bool = spec_field(
        True,
        "Non-maximum suppression in the graph; false: all boxes and their class scores come out, for engines "
        "with a suppression of their own",
    )


@dataclass
class Spec(CommonSpec):
    """Everything that a spec file of pointpillars may hold."""

    model: ModelSpec = spec_block(ModelSpec, "The network")
    dataset: DatasetSpec = spec_block(DatasetSpec, "The data")
    dataset_convert: DatasetConvertSpec = spec_block(DatasetConvertSpec, "Data in another layout")
    inference: PointPillarsInferenceSpec = spec_block(PointPillarsInferenceSpec, "Inference")
    export: PointPillarsExportSpec = spec_block(PointPillarsExportSpec, "Export to ONNX")

    ignored: ClassVar[Mapping[str, str]] = {
        **IGNORED_TAO_KEYS,
        "key": "nothing is encrypted",
        "local_rank": "torchrun says it",
        "dataset.data_info_path": "labels are read as they are; no info files are needed",
        "dataset.info_path": "labels are read as they are; no info files are needed",
        "dataset.point_feature_encoding.encoding_type": "there is one",
        "model.sync_bn": "not in this version",
        "model.map_to_bev": "pillars are scattered, with as many channels as model.vfe.num_filters",
        "model.dense_head.class_agnostic": "classes have scores of their own",
        "model.dense_head.dir_limit_offset": "directions have no offset of their own",
        "model.dense_head.num_dir_bins": "there are two directions",
        "model.dense_head.target_assigner_config.pos_fraction": "all anchors are learnt from",
        "model.dense_head.target_assigner_config.sample_size": "all anchors are learnt from",
        "model.dense_head.target_assigner_config.norm_by_num_examples": "the loss is divided by the matches",
        "model.dense_head.target_assigner_config.box_coder": "there is one",
        "model.post_processing.recall_thresh_list": "report.json has precision and recall",
        "model.post_processing.output_raw_score": "scores lie between 0 and 1",
        "model.post_processing.nms_config.nms_type": "there is one, which runs anywhere",
        "train.decay_step_list": "train.optim.policy_params.milestones says it",
        "train.lr_decay": "train.optim.policy_params.gamma says it",
        "train.lr_clip": "train.optim.policy_params.min_lr_ratio says it",
        "train.lr_warmup": "train.optim.warmup_epochs says it",
        "train.tcp_port": "torchrun says it",
        "train.max_checkpoint_save_num": "the last and the best are kept",
        "train.merge_all_iters_to_one_epoch": "epochs are passes over the data",
        "evaluate.save_to_file": "labels are written in any case",
        "inference.save_to_file": "labels are written in any case",
        "inference.max_points_num": "a frame may have any number of points",
        "export.cal_data_path": "quantize calibrates on the training data",
        "export.cal_cache_file": "quantize calibrates on the training data",
        "export.cal_num_batches": "quantize.num_samples says it",
        "export.data_type": "quantize writes int8",
        "export.save_engine": "the exported ONNX file is what ships",
        "export.workspace_size": "the exported ONNX file is what ships",
    }
    moved: ClassVar[Mapping[str, str | tuple[str, ...]]] = {
        **MOVED_TAO_KEYS,
        "model.pretrained_model_path": "train.pretrained_model_path",
        "train.batch_size": "dataset.batch_size",
        "train.lr": "train.optim.lr",
        "train.weight_decay": "train.optim.weight_decay",
        "train.momentum": "train.optim.momentum",
        "train.warmup_epoch": "train.optim.warmup_epochs",
        "train.moms": "train.optim.policy_params.moms",
        "train.div_factor": "train.optim.policy_params.div_factor",
        "train.pct_start": "train.optim.policy_params.pct_start",
    }

    def check(self) -> Iterator[Problem]:
        """Rules that join keys of several blocks."""
        head, backbone, data = self.model.dense_head, self.model.backbone_2d, self.dataset
        if any(True for block in (data, backbone) for _ in block.check()):
            # What is wrong with them is told in any case, and sizes cannot be worked out of them.
            return
        named = [anchor.class_name for anchor in head.anchor_generator_config]
        if named != data.class_names:
            yield Problem(
                "model.dense_head.anchor_generator_config",
                f"has anchors of {', '.join(named)}, and dataset.class_names is "
                f"{', '.join(data.class_names)}; give each class its anchors, in that order",
            )
        if len({len(a.anchor_sizes) * len(a.anchor_rotations) for a in head.anchor_generator_config}) > 1:
            yield Problem(
                "model.dense_head.anchor_generator_config", "gives classes different numbers of anchors"
            )
        coarsest = 1
        for stride in backbone.layer_strides:
            coarsest *= stride
        for axis, count in zip("xy", data.grid, strict=True):
            if count % coarsest:
                yield Problem(
                    "dataset.point_cloud_range",
                    f"along {axis} there are {count} pillars, no multiple of {coarsest}, which the strides "
                    "of model.backbone_2d ask for; change the range or the voxel_size",
                )
        for number, anchor in enumerate(head.anchor_generator_config):
            if anchor.feature_map_stride != backbone.stride:
                yield Problem(
                    f"model.dense_head.anchor_generator_config[{number}].feature_map_stride",
                    f"{anchor.feature_map_stride}, and model.backbone_2d gives {backbone.stride}",
                )
        if self.train.keep == "best" and not (data.data_split.val or data.data_split.is_divided):
            yield Problem(
                "train.keep",
                "best needs dataset.data_split.val or val_share; give one, or set train.keep=last",
            )
