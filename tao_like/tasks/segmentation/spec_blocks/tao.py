"""Keys of TAO's unet and segformer, and what they are called here."""

from __future__ import annotations

from collections.abc import Mapping

_SEGMENT = (
    *("root_dir", "num_classes", "img_size", "batch_size", "workers", "shuffle", "train_split"),
    *("validation_split", "test_split", "predict_split", "label_transform", "palette"),
)
_AUGMENTATION = (
    *("random_flip", "random_rotate", "random_color", "with_scale_random_crop", "with_random_blur"),
    *("mean", "std"),
)
_SPATIAL = "dataset_config.augmentation_config.spatial_augmentation"

MOVED: Mapping[str, str] = {
    # segformer
    **{f"dataset.segment.{name}": f"dataset.{name}" for name in _SEGMENT},
    **{f"dataset.segment.augmentation.{name}": f"dataset.augmentation.{name}" for name in _AUGMENTATION},
    "train.segment.loss": "model.loss.type",
    "train.segment.weights": "model.loss.weights",
    # unet
    "model_config.model_input_width": "dataset.img_size",
    "model_config.model_input_height": "dataset.img_height",
    "training_config.batch_size": "dataset.batch_size",
    "training_config.epochs": "train.num_epochs",
    "training_config.learning_rate": "train.optim.lr",
    "training_config.weight_decay": "train.optim.weight_decay",
    "training_config.loss": "model.loss.type",
    "training_config.checkpoint_interval": "train.checkpoint_interval",
    "dataset_config.data_class_config.target_classes": "dataset.palette",
    f"{_SPATIAL}.hflip_probability": "dataset.augmentation.random_flip.hflip_probability",
    f"{_SPATIAL}.vflip_probability": "dataset.augmentation.random_flip.vflip_probability",
    "dataset_config.augmentation_config.brightness_augmentation.delta": (
        "dataset.augmentation.random_color.brightness"
    ),
    **{
        f"dataset_config.{split}_{part}_path": f"dataset.{split}_dataset.{part}_dir"
        for split in ("train", "val", "test")
        for part in ("images", "masks")
    },
    **{
        f"dataset_config.{split}_data_sources.data_source.{theirs}": f"dataset.{split}_dataset.{ours}"
        for split in ("train", "val", "test")
        for theirs, ours in (("image_path", "images_list"), ("masks_path", "masks_list"))
    },
}

IGNORED: Mapping[str, str] = {
    # segformer
    "model.backbone.feat_downsample": "features are taken at their own strides",
    "model.decode_head.in_channels": "found from the backbone",
    "model.decode_head.in_index": "found from the backbone",
    "model.decode_head.feature_strides": "found from the backbone",
    "model.decode_head.align_corners": "pixels have their centers at half numbers, always",
    "dataset.segment.dataset": "there is one kind of dataset",
    "dataset.segment.quant_calibration_dataset": "quantize calibrates on the training data",
    "dataset.segment.augmentation.with_random_crop": "with_scale_random_crop does it",
    "train.use_distributed_sampler": "several processes share the data by themselves",
    "train.sync_batchnorm": "several processes keep their own statistics",
    "train.checkpointer": "train.checkpoint_interval says it",
    "train.enable_lr_monitor": "the rate is always logged",
    # unet
    **{
        f"model_config.{name}": "model.backbone says it"
        for name in (
            *("arch", "num_layers", "freeze_blocks", "freeze_bn", "use_batch_norm", "use_pooling"),
            *("all_projections", "initializer", "pretrained_model_file", "model_input_channels"),
        )
    },
    "model_config.activation": "one class a pixel: softmax",
    "training_config.regularizer": "train.optim.weight_decay does it",
    "training_config.optimizer": "train.optim says it",
    "training_config.lr_scheduler": "train.optim.policy says it",
    "training_config.use_amp": "train.precision says it",
    "training_config.log_summary_steps": "train.tensorboard.log_every_n_steps says it",
    "dataset_config.dataset": "there is one kind of dataset",
    "dataset_config.input_image_type": "gray photos are read as RGB",
    "dataset_config.augment": "dataset.augmentation says what is changed",
    "dataset_config.resize_padding": "dataset.resize says it: letterbox or squash",
    "dataset_config.resize_method": "photos are scaled bilinearly",
    "dataset_config.filter_data": "photos without a mask are an error",
    "dataset_config.preprocess": "photos are scaled as the weights need it",
}
