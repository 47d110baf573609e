"""Rules that join keys: each is broken once, and the error has the key by name and says what to do."""

from __future__ import annotations

import pytest

from tao_like import tasks
from tao_like.config import load_spec
from tao_like.errors import SpecError

BROKEN: list[tuple[str, str, str, str]] = [
    # task; overrides, apart by blanks; key; words of the message
    ("text_to_image", "model.dalle.levels=[]", "model.dalle.levels", "is empty"),
    ("text_to_image", "model.dalle.heads=3", "model.dalle.heads", "does not divide width"),
    ("text_to_image", "model.glide.text_heads=3", "model.glide.text_heads", "does not divide text_width=64"),
    ("text_to_image", "model.glide.multipliers=[]", "model.glide.multipliers", "one number a level"),
    ("text_to_image", "model.glide.attention=[8]", "model.glide.attention", r"\[8\] is on no level"),
    ("text_to_image", "model.glide.head_channels=24", "model.glide.head_channels", "does not divide"),
    ("text_to_image", "dataset.attributes={a b: [x, y]}", "dataset.attributes", "is no name"),
    ("text_to_image", "dataset.attributes={a: [x]}", "dataset.attributes", "two words or more"),
    (
        "text_to_image",
        "model.arch=glide model.diffusion.steps=10 sampling.steps=20",
        "sampling.steps",
        "more than model.diffusion",
    ),
    ("text_to_image", "train.keep=best", "train.keep", "needs validation data"),
    (
        "text_to_image",
        "model.arch=dalle evaluate.inpaint=true",
        "evaluate.inpaint",
        "is for model.arch=glide",
    ),
    (
        "text_to_image",
        "model.arch=glide evaluate.conditions=[text]",
        "evaluate.conditions",
        "is for model.arch=unclip",
    ),
    ("text_to_image", "evaluate.guidance=[1,1]", "evaluate.guidance", "names a scale twice"),
    ("text_to_image", "evaluate.conditions=[mood]", "evaluate.conditions", "'mood'.* is unknown"),
    (
        "text_to_image",
        "model.arch=unclip inference.image=a.png inference.strength=0.5",
        "inference.mask",
        "give inference.mode",
    ),
    (
        "text_to_image",
        "inference.source=a.txt inference.prompts=[cat]",
        "inference.prompts",
        "keep one",
    ),
    ("text_to_image", "model.arch=glide inference.image=a.png", "inference.image", "is given alone"),
    (
        "text_to_image",
        "model.arch=unclip inference.mode=text_difference inference.image=a.png inference.caption=x "
        "inference.prompts=[x,y]",
        "inference.prompts",
        "has 2 texts",
    ),
    (
        "text_to_image",
        "model.arch=unclip inference.mode=variations inference.image=a.png inference.prompts=[x]",
        "inference.prompts",
        "hears no words",
    ),
    (
        "text_to_image",
        "model.arch=unclip inference.mode=typographic_attack inference.image=a.png inference.word=' ' "
        "inference.prompts=[x,y]",
        "inference.word",
        "is empty",
    ),
    (
        "text_to_image",
        "inference.mode=optimise clip_checkpoint=a.tltb inference.rerank=3",
        "inference.mode",
        "leave image and rerank out",
    ),
    (
        "text_to_image",
        "model.unclip.pretrained_clip_path=a.tltb",
        "model.unclip.pretrained_clip_path",
        "is for arch=unclip",
    ),
    (
        "text_to_image",
        "model.arch=unclip model.unclip.clip.sha256=ab",
        "model.unclip.clip",
        "is what a training keeps",
    ),
    ("clip", "model.tokenizer.type=file", "model.tokenizer.path", "names no file"),
    ("clip", "model.tokenizer.path=a.json", "model.tokenizer.path", "go together"),
    (
        "clip",
        "model.text_encoder.path=a model.tokenizer.type=file model.tokenizer.path=b",
        "model.tokenizer.path",
        "brings its own tokenizer",
    ),
    ("clip", "dataset.augmentation.scale=[0.9,0.5]", "dataset.augmentation.scale", "the smaller first"),
    ("clip", "dataset.templates=[]", "dataset.templates", "a photo of a"),
    ("clip", "train.keep=best dataset.split.val=0", "train.keep", "needs validation data"),
    ("clip", "model.init_logit_bias=-10", "model.init_logit_bias", "is for train.loss_type=siglip"),
    ("clip", "inference.query=cats", "inference.query", "is for inference.output=search"),
    ("clip", "inference.output=search", "inference.query", "is empty"),
    ("pose_classification", "model.streams=[joint,joint]", "model.streams", "each once"),
    (
        "pose_classification",
        "model.streams=[joint,bone] model.stream_weights=[1]",
        "model.stream_weights",
        "a weight for each stream",
    ),
    (
        "pose_classification",
        "model.confidence=true model.input_channels=2",
        "model.confidence",
        "needs input_channels=3",
    ),
    ("pose_classification", "dataset.window_size=0", "dataset.window_size", "give -1"),
    ("pose_classification", "dataset.label_map={a: 0, b: 2}", "dataset.label_map", r"\[0, 2\]"),
    (
        "pose_classification",
        "train.keep=best dataset.train_dataset.data_path=a.npy",
        "train.keep",
        "needs validation data",
    ),
    (
        "pose_classification",
        "dataset.align_axes=true model.input_channels=2",
        "dataset.align_axes",
        "three dimensions",
    ),
    ("instance_segmentation", "dataset.tiling.enable=true", "dataset.tiling.enable", "not joined over tiles"),
    ("instance_segmentation", "dataset.img_size=100", "dataset.img_size", "the nearest is 96"),
    ("instance_segmentation", "train.keep=best dataset.split.val=0", "train.keep", "needs validation data"),
    (
        "instance_segmentation",
        "dataset.augmentation.multi_scale_range=9 dataset.img_size=256",
        "dataset.augmentation.multi_scale_range",
        "leave nothing of 256",
    ),
    (
        "instance_segmentation",
        "model.backbone.type=swin",
        "model.backbone.type",
        "is for model.arch=mask2former",
    ),
    (
        "classification",
        "train.optim.policy=multistep train.optim.policy_params.milestones=[90] train.num_epochs=5",
        "train.optim.policy_params.milestones",
        "train longer",
    ),
    ("classification", "train.stop_epoch=0", "train.stop_epoch", "give -1"),
    (
        "classification",
        "train.num_epochs=2 train.validation_interval=3",
        "train.validation_interval",
        "lower",
    ),
    ("classification", "train.gpu_ids=[1,1]", "train.gpu_ids", "names a GPU twice"),
    ("classification", "evaluate.batch_size=0", "evaluate.batch_size", "0 is not allowed"),
    ("classification", "inference.batch_size=0", "inference.batch_size", "0 is not allowed"),
    ("classification", "export.batch_size=0", "export.batch_size", "0 is not allowed"),
]


@pytest.mark.parametrize(("task", "words", "key", "message"), BROKEN, ids=lambda one: str(one)[:40])
def test_a_broken_rule_is_told_by_its_key(task: str, words: str, key: str, message: str) -> None:
    overrides = _apart(words)
    with pytest.raises(SpecError, match=message) as caught:
        load_spec(tasks.spec_module(task).Spec, {}, overrides)
    assert key in [problem.key for problem in caught.value.problems]


def _apart(words: str) -> list[str]:
    """Overrides of one line, apart at blanks before a key; values may hold blanks."""
    found: list[str] = []
    for word in words.split(" "):
        if "=" in word or not found:
            found.append(word)
        else:
            found[-1] += f" {word}"
    return found
