"""Keys of TAO's mask2former, and what they are called here."""

from __future__ import annotations

from collections.abc import Mapping

_INPUT_SIZE = "dataset.img_size and dataset.img_height say the input's size"
_SOURCE = ("type", "name", "panoptic_json", "instance_json", "panoptic_dir", "root_dir", "annot_file")

MOVED: Mapping[str, str | tuple[str, ...]] = {
    "model.backbone.pretrained_weights": "model.backbone.pretrained_backbone_path",
    "model.test_topk_per_image": "model.postprocess.max_detections",
    "dataset.train.batch_size": "dataset.batch_size",
    "dataset.train.num_workers": "dataset.workers",
    "dataset.augmentation.train_crop_size": ("dataset.img_height", "dataset.img_size"),
    "train.optim.milestones": "train.optim.policy_params.milestones",
    "train.optim.gamma": "train.optim.policy_params.gamma",
}
IGNORED: Mapping[str, str] = {
    "model.export": "export is a stage",
    "model.backbone.efficientvit": "model.backbone.type names timm's network whole, such as efficientvit_l2",
    **{
        f"model.backbone.swin.{name}": "fixed, as in the published networks"
        for name in (
            *("patch_size", "qkv_bias", "qk_scale", "drop_rate", "attn_drop_rate", "ape", "patch_norm"),
            *("out_indices", "pretrain_img_size", "use_checkpoint", "out_features"),
        )
    },
    **{
        f"model.sem_seg_head.{name}": "fixed, or found from the data"
        for name in ("common_stride", "deformable_transformer_encoder_in_features", "num_classes", "norm")
    },
    **{f"dataset.{split}.name": "the folders tell the data apart" for split in ("train", "val")},
    **{f"dataset.{split}.target_size": _INPUT_SIZE for split in ("train", "val", "test")},
    "dataset.val.batch_size": "evaluate.batch_size says it",
    "dataset.val.num_workers": "dataset.workers says it",
    **{
        f"dataset.test.{name}": "images without labels are named by dataset.test.img_dir alone"
        for name in _SOURCE
    },
    "dataset.test.batch_size": "inference.batch_size says it",
    "dataset.test.num_workers": "dataset.workers says it",
    "dataset.contiguous_id": "category ids need not be contiguous",
    "dataset.pixel_mean": "pixels are scaled as the weights need it",
    "dataset.pixel_std": "pixels are scaled as the weights need it",
    "dataset.augmentation.train_min_size": "dataset.augmentation.random_affine.scale_range says it",
    "dataset.augmentation.train_max_size": "dataset.augmentation.random_affine.scale_range says it",
    "dataset.augmentation.test_min_size": _INPUT_SIZE,
    "dataset.augmentation.test_max_size": _INPUT_SIZE,
    "dataset.quant_calibration_dataset": "quantize calibrates on the training data",
    "train.clip_grad_norm_type": "gradients are clipped by their 2-norm",
    "train.clip_grad_type": "gradients are clipped as a whole",
    "train.activation_checkpoint": "it saves memory alone; train.accumulate_grad_batches does that too",
    "train.use_distributed_sampler": "several processes share the data by themselves",
    "train.iters_per_epoch": "an epoch is once through the data",
}
"""What means nothing here, each with the reason."""
REFUSED: Mapping[str, str] = {
    "train.freeze": "model.backbone.freeze_backbone=true keeps the backbone as it is; the rest always learns",
    "train.is_dry_run": "`tao-like instance_segmentation dry_run` says what a network costs",
    "model.mask_former.pre_norm": "norms follow attention here, as in the published networks",
}
"""What may stand there without a value, and what to do in the place of one."""
