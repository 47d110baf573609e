"""Sample data that anybody can write to a folder, by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tao_like.data.skeletons.layouts import LAYOUTS
from tao_like.errors import DatasetError, SpecError
from tao_like.samples.digit_scenes import write_scenes
from tao_like.samples.digits import write_digits
from tao_like.samples.emoji import write_emoji
from tao_like.samples.lidar_scenes import write_lidar_scenes
from tao_like.samples.shapes_captions import write_shapes_captions
from tao_like.samples.shapes_scenes import write_shapes_scenes
from tao_like.samples.skeleton_actions import write_skeleton_actions

MARKER = ".tao_like_sample.json"


@dataclass(frozen=True)
class Sample:
    """Sample data that can be written.

    Attributes:
        name: What users call it.
        help: One line that says what it is.
        write: Writes it into a folder; the second argument is a seed.
        layouts: What writes it in another layout, by the layout's name; the first is what ``write`` writes.
            Empty: it has one form only.
        read: Writes it into a folder from a source that the user brings, with a seed, in place of ``write``.
    """

    name: str
    help: str
    write: Callable[[Path, int], Path] | None
    layouts: Mapping[str, Callable[[Path, int], Path]] = field(default_factory=dict)
    read: Callable[[Path, Path, int], Path] | None = None


SAMPLES: dict[str, Sample] = {
    sample.name: sample
    for sample in (
        Sample(
            "digits",
            "1,797 scans of handwritten digits as class folders, in train, val and test (classification)",
            write_digits,
        ),
        Sample(
            "digit_scenes",
            "460 photos with handwritten digits of many sizes on them, with boxes and masks (detection)",
            write_scenes,
        ),
        Sample(
            "skeleton_actions",
            "800 sequences of stick figures with 34 joints that walk, wave, sit down, jump ... "
            "(pose_classification)",
            write_skeleton_actions,
            layouts={name: partial(write_skeleton_actions, layout=name) for name in LAYOUTS},
        ),
        Sample(
            "lidar_scenes",
            "360 frames of a ray-cast LiDAR: cars, pedestrians and cyclists among clutter (pointpillars)",
            write_lidar_scenes,
        ),
        Sample(
            "shapes_captions",
            "2,680 images of one colored shape each, with captions; some pairs of color and shape are in "
            "the test alone (clip, text_to_image)",
            write_shapes_captions,
        ),
        Sample(
            "shapes_scenes",
            "280 drawn scenes of overlapping shapes, with exact masks and COCO instances (segmentation)",
            write_shapes_scenes,
        ),
        Sample(
            "emoji",
            "about 1,000 emoji with their names, from npm's package emoji-datasource-google: --source FOLDER "
            "(clip, text_to_image)",
            None,
            read=write_emoji,
        ),
    )
}


def write_sample(
    name: str,
    folder: Path | str,
    seed: int = 0,
    layout: str | None = None,
    source: Path | str | None = None,
) -> Path:
    """Writes sample data into a folder that is new, empty, or holds the same sample already.

    Args:
        name: One of ``SAMPLES``.
        folder: Where to write.
        seed: Seed of what is drawn at random, such as the split.
        layout: One of the sample's ``layouts``; None: the usual one.
        source: Folder that the sample is read from, where it is not made here.

    Returns:
        The folder.

    Raises:
        SpecError: There is no sample of that name, or it has no such layout.
        DatasetError: The folder holds something else, or the sample needs something that is not installed.
    """
    sample = SAMPLES.get(name)
    if sample is None:
        raise SpecError(f"there is no sample {name!r}; there are: {', '.join(SAMPLES)}")
    if layout is not None and layout not in sample.layouts:
        known = f"there are: {', '.join(sample.layouts)}" if sample.layouts else "leave the layout out"
        raise SpecError(f"the sample {name} has no layout {layout!r}; {known}")
    if (source is None) != (sample.read is None):
        rule = "is made here; leave it out" if source else "is read from a folder that you bring; name it"
        raise SpecError(f"--source: the sample {name} {rule}")
    folder = Path(folder)
    made_by: dict[str, object] = {"sample": name, "seed": seed}
    kind = f"the sample {name} with seed {seed}"
    if layout is not None and layout != next(iter(sample.layouts)):
        made_by["layout"] = layout
        kind += f" and layout {layout}"
    if not folder.exists():
        folder.mkdir(parents=True)
    elif not folder.is_dir():
        raise DatasetError(f"{folder} is a file; give a folder to write the sample {name} into")
    elif any(folder.iterdir()) and _marker(folder) != made_by:
        raise DatasetError(f"{folder} is not empty and not {kind}; nothing was written. Give a new folder.")
    # The marker goes first, so that a run that was cut short can be repeated.
    (folder / MARKER).write_text(json.dumps(made_by) + "\n", encoding="utf-8")
    if sample.read is not None and source is not None:
        return sample.read(folder, Path(source), seed)
    write = sample.write if layout is None else sample.layouts[layout]
    assert write is not None
    return write(folder, seed)


def _marker(folder: Path) -> object:
    try:
        return json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
