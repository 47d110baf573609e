"""Keys of TAO's clip that stand elsewhere here, or mean nothing. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

MOVED: Mapping[str, str] = {
    **{
        f"dataset.{block}.{key}": f"dataset.{ours}"
        for block in ("train", "train_dataset")
        for key, ours in (("batch_size", "batch_size"), ("num_workers", "workers"))
    },
    "train.grad_clip_norm": "train.clip_grad_norm",
}
IGNORED: Mapping[str, str] = {
    "model.adaptor_name": "towers are chosen by model.type alone",
    "dataset.seed": "train.seed sets it",
    **{
        f"dataset.{block}.type": "folders, lists and shards are told apart by what they hold"
        for block in ("train", "val", "train_dataset", "val_dataset")
    },
    **{
        f"dataset.{block}.{key}": "it is that of the training"
        for block in ("val", "val_dataset")
        for key in ("batch_size", "num_workers")
    },
    "train.val_check_interval": "train.validation_interval says it in epochs",
    "train.grad_checkpointing": "activations are kept",
    "train.optim.eps": "it is that of the optimizer",
    "train.optim.warmup_steps": "train.optim.warmup_epochs says it in epochs",
    "inference.datasets": "inference.source names the images",
    "export.encoder_type": "both towers are written, each as a graph, or with export.one_file=true as one",
    "export.input_height": "it is that of the image tower",
    "export.input_width": "it is that of the image tower",
}
