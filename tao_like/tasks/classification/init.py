"""``init``: looks at somebody's images and writes a spec that runs. Imports no torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.config.writing.suggested import refuse_existing, write_suggested
from tao_like.data.images.suggest import suggest
from tao_like.data.images.survey import Survey, survey_images
from tao_like.runtime.memory import free_memory
from tao_like.tasks.classification.spec import Spec
from tao_like.tasks.common.suggested import backbone

BACKBONE = AnnotatedValue(
    "model.backbone.type",
    "tf_efficientnet_lite0",
    "small, and quick on a CPU; `tao-like backbones` has more",
)


def write_spec(folder: Path, target: Path, overrides: Sequence[str] = (), *, force: bool) -> list[str]:
    """Writes a spec for the images in a folder (or for a CSV file), and reads it back as a check.

    Args:
        folder: class folders, split folders of class folders, or a CSV file.
        target: the spec file.
        overrides: ``key=value`` texts that take the place of what is suggested.
        force: overwrite ``target``.

    Returns:
        Lines that say what was found and written.

    Raises:
        DatasetError: the folder has no layout that is understood.
        SpecError: an override is wrong, or ``target`` is there already.
    """
    refuse_existing(target, force=force)
    survey = survey_images(folder)
    gpu_memory = _gpu_memory()
    suggestions = suggest(
        survey,
        memory_bytes=gpu_memory or free_memory(),
        cpu_count=os.cpu_count() or 1,
        has_gpu=gpu_memory is not None,
    )
    network = list(backbone(overrides, BACKBONE))
    # Without weights there is nothing to keep as it is.
    kept = [item for item in suggestions if len(network) > 1 or ".freeze_" not in item.key]
    values = [*network, *kept]
    found = f"{sum(survey.images.values())} images, {len(survey.classes)} classes"
    written = write_suggested(Spec, "classification", folder, target, values, overrides, found=found)
    return [*_found(survey), *survey.notes, written]


def _found(survey: Survey) -> Iterator[str]:
    splits = ", ".join(f"{name} {count}" for name, count in survey.images.items())
    classes = ", ".join(survey.classes[:8]) + (", ..." if len(survey.classes) > 8 else "")
    total = sum(survey.images.values())
    yield f"{total} images ({splits}), {len(survey.classes)} classes: {classes}"
    yield f"Half of them are {survey.width[1]} x {survey.height[1]} pixels or larger."


def _gpu_memory() -> int | None:
    """Bytes of the first NVIDIA GPU; None without one. Asks the driver: torch takes seconds to import."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits", "--id=0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return int(done.stdout) * 2**20 if done.returncode == 0 and done.stdout.strip().isdigit() else None
