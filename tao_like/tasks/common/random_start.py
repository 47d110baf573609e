"""What is said of a backbone without weights."""

from __future__ import annotations


def random_start(*, is_frozen: bool) -> str:
    """The note for a training whose backbone starts at random."""
    note = "the backbone starts at random; model.backbone.pretrained_backbone_path names weights"
    if not is_frozen:
        return note
    return (
        f"{note}. It is frozen and stays as it is: give weights, or set model.backbone.freeze_backbone=false"
    )
