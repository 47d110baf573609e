"""Where stages leave their results. Imports no torch."""

from __future__ import annotations

import shlex
from pathlib import Path

from tao_like.config.blocks.common import CommonSpec
from tao_like.errors import SpecError

BUNDLE_NAME = "model.tltb"
CHECKPOINTS = "checkpoints"
LAST_CHECKPOINT = "last.ckpt"
RESUME_KEY = "train.resume_training_checkpoint_path"


def stage_folder(spec: CommonSpec, stage: str) -> Path:
    """The folder of a stage's results: its own ``results_dir``, else one named after it in the run's."""
    own: str | None = getattr(spec, stage).results_dir
    # TAO's default for results_dir is an empty text.
    return Path(own) if own else Path(spec.results_dir or "results") / stage


def trained_bundle(spec: CommonSpec) -> Path:
    """The bundle that train leaves."""
    return stage_folder(spec, "train") / BUNDLE_NAME


def is_model(path: Path) -> bool:
    """Whether a path can be a model: a file, or the folder of one that has several graphs."""
    # Here, since the runtime brings numpy and Pillow along, for which the command line need not wait.
    from tao_like.runtime.pipeline_file import PIPELINE_FILE

    return path.is_file() or (path / PIPELINE_FILE).is_file()


def model_at(named: Path) -> Path:
    """A model's file, or the folder of several graphs that has its name: what was written last."""
    from tao_like.runtime.pipeline_file import PIPELINE_FILE

    folder = named.with_suffix("")
    if not is_model(folder):
        return named
    described = folder / PIPELINE_FILE
    # It may have been exported both ways, and the last time counts.
    is_newer = named.is_file() and named.stat().st_mtime_ns > described.stat().st_mtime_ns
    return named if is_newer else folder


def model_bytes(path: Path) -> int:
    """Bytes of a model's file, or of all files of one that is a folder."""
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())


def require_file(key: str, path: Path) -> None:
    """Checks the file that a key of the spec names.

    Raises:
        SpecError: there is no such file; where it is a folder, what in it could be meant.
    """
    if is_model(path):
        return
    if not path.is_dir():
        raise SpecError(f"{key}: there is no file {path}")
    models = sorted(file for file in path.iterdir() if file.suffix in (".tltb", ".onnx"))
    hint = f" {models[0]}" if models else ", a bundle (.tltb) or an ONNX file"
    raise SpecError(f"{key}: {path} is a folder; give the file in it{hint}")


def where_earlier_trainings_are(spec: CommonSpec) -> str:
    """For an error about a bundle that train should have left: where that of an earlier training is, if any.

    A training that fails at its beginning has moved the one before out of the way.
    """
    folder = stage_folder(spec, "train")
    kept = sorted(folder.parent.glob(f"{folder.name}-[0-9][0-9][0-9]/{BUNDLE_NAME}"))
    return f"; that of an earlier training is {kept[-1]}" if kept else ""


def keep_earlier_training(folder: Path, resumed_from: str | None) -> Path | None:
    """Moves an earlier training out of the way, so that nothing of it is overwritten or mixed up.

    A training that is resumed from a checkpoint of this very folder goes on in it. A folder that holds
    neither a bundle nor a checkpoint, or that another process is writing to, is left where it is.

    Returns:
        Where the earlier training is now; None where nothing was moved.
    """
    from tao_like.tracking import read_status

    if not ((folder / BUNDLE_NAME).exists() or checkpoint_folders(folder)):
        return None
    if resumed_from and folder.resolve() in Path(resumed_from).resolve().parents:
        return None
    if any(status.alive for status in read_status(folder)):
        return None
    number = 1
    while (target := folder.with_name(f"{folder.name}-{number:03d}")).exists():
        number += 1
    folder.rename(target)
    return target


def checkpoint_folders(folder: Path) -> list[Path]:
    """The folders of a training's checkpoints: one, or one in the folder of each phase that has begun."""
    return sorted(
        one for one in (*folder.glob(CHECKPOINTS), *folder.glob(f"*/{CHECKPOINTS}")) if one.is_dir()
    )


def remove_partial_checkpoints(folder: Path) -> None:
    """Removes what killed processes have left of checkpoints, here and in the trainings kept beside it.

    Folders that another process is writing to are left alone.
    """
    from tao_like.tracking import read_status
    from tao_like.tracking.files import remove_partial_files

    for kept in folder.parent.glob(f"{folder.name}-[0-9][0-9][0-9]"):
        if not any(status.alive for status in read_status(kept)):
            for checkpoints in checkpoint_folders(kept):
                remove_partial_files(checkpoints)
    for checkpoints in checkpoint_folders(folder):
        remove_partial_files(checkpoints)


def resume_override(checkpoint: Path) -> str:
    """The word to add to a command so that a training goes on from a checkpoint, ready for a shell."""
    return shlex.quote(f"{RESUME_KEY}={checkpoint}")


def how_to_resume(folder: Path) -> str | None:
    """A sentence for a folder whose training was broken off; None where it was finished or never began."""
    checkpoints = [one / LAST_CHECKPOINT for one in checkpoint_folders(folder)]
    checkpoints = [one for one in checkpoints if one.is_file()]
    if (folder / BUNDLE_NAME).exists() or not checkpoints:
        return None
    checkpoint = max(checkpoints, key=lambda one: one.stat().st_mtime)  # of the phase that it was in
    return f"That training was broken off; to go on with it, add {resume_override(checkpoint)}"
