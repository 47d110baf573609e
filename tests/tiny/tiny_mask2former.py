"""The smallest Mask2Former that learns something."""

from __future__ import annotations

SMALL = (
    "model.arch=mask2former",
    "model.sem_seg_head={convs_dim: 32, mask_dim: 16, transformer_enc_layers: 1, dim_feedforward: 32}",
    "model.mask_former={num_object_queries: 8, hidden_dim: 32, nheads: 4, dim_feedforward: 32, "
    "dec_layers: 3, train_num_points: 256}",
    "model.postprocess.score_threshold=0.01",
    "train.optim.lr=1e-3",
)
