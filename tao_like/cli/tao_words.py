"""What to say to somebody who types a command as TAO has it."""

from __future__ import annotations

from tao_like import tasks

OPTIONS = {
    "-k": "nothing is encrypted, so there is no key to give",
    "-r": "results_dir=FOLDER behind the command says where results go",
    "--results_dir": "results_dir=FOLDER behind the command says where results go",
    "--gpus": "train.num_gpus=N behind the command says how many devices train",
    "--num_gpus": "train.num_gpus=N behind the command says how many devices train",
    "-m": "STAGE.checkpoint=FILE behind the command, such as evaluate.checkpoint=FILE, names a model",
}
"""Options of TAO's commands, and what there is in their place."""


def command_for(words: list[str]) -> str:
    """The command here for one of TAO's, such as ``yolo_v4 train``; empty where none is known."""
    if words and words[0] == "model":
        words = words[1:]
    if not words:
        return ""
    stage = words[1] if words[1:] and not words[1].startswith("-") else "train"
    for name in tasks.task_names():
        networks: dict[str, str] = getattr(tasks.spec_module(name), "TAO_NETWORKS", {})
        if words[0] in networks:
            return f"tao-like {name} {stage} {networks[words[0]]}".rstrip()
    return ""


def option_for(name: str) -> str:
    """What takes the place of an option; by default how keys of the spec are given."""
    return OPTIONS.get(name, "keys of the spec are given without dashes, as in train.num_epochs=20")
