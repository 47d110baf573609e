"""What a notebook shows beside the files of a run: training inputs, curves and TensorBoard's images."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tao_like.errors import TaoLikeError
from tao_like.plots.charts import Line, Panel, draw_panels
from tao_like.plots.grids import image_grid
from tao_like.plots.palette import ACCENT, PALETTE, WRONG

Points = list[tuple[int, float]]
"""A curve: step or epoch, and value there."""

COLORS = (ACCENT, WRONG, *(color for color in PALETTE if color not in (ACCENT, WRONG)))
"""Of runs in one panel, in this order."""
BY_EPOCH = "val/"
"""Curves with this beginning have a point an epoch; all others have one every few steps."""


def training_inputs(
    task: str,
    spec: str | Path,
    overrides: Sequence[str] = (),
    *,
    images: int = 3,
    times: int = 6,
    seed: int = 0,
    pictures: int | None = None,
) -> Image.Image:
    """Samples as a training shows them to the network: a row a sample, changed anew in every column.

    Args:
        task: such as ``classification``.
        spec: the spec file.
        overrides: ``key=value`` texts.
        images: samples, spread evenly over the training data.
        times: columns.
        seed: of the random changes.
        pictures: another name for ``images``.

    Raises:
        TaoLikeError: the spec or the data is wrong, or the task does not draw its inputs.
    """
    import torch

    from tao_like.config import load_spec
    from tao_like.tasks import spec_module, task_class

    images = images if pictures is None else pictures
    loaded = load_spec(spec_module(task).Spec, Path(spec), overrides)
    made = task_class(task)(loaded.spec)
    dataset = made.data.dataset("train", augment=True)
    # A step further each time: where classes take turns, even steps may meet one class alone.
    locations = range(min(images, len(dataset)))
    numbers = [(len(dataset) * location // images + location) % len(dataset) for location in locations]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        batch = made.data.collate([dataset[number] for number in numbers for _ in range(times)])
    cards = made.predictions.draw_batch(batch)
    if not cards:
        raise TaoLikeError(f"the task {task} does not draw its training inputs")
    return image_grid(cards, columns=times)


@dataclass(frozen=True)
class Animations:
    """GIF files side by side. Jupyter shows them moving; of a Pillow image it shows the first frame.

    Attributes:
        files: the GIF files.
    """

    files: Sequence[Path]

    def _repr_html_(self) -> str:
        """What Jupyter asks for: the files themselves within the page."""
        return "".join(
            f'<img style="display: inline; margin: 4px" alt="{html.escape(file.stem)}" '
            f'src="data:image/gif;base64,{base64.b64encode(file.read_bytes()).decode("ascii")}">'
            for file in self.files
        )


def _read_events(folder: str | Path) -> Any:
    """The TensorBoard events of a training, all of them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # 0: keep every point; of the images, the last is enough.
    events: Any = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 1})
    events.Reload()
    return events


def training_image(folder: str | Path, name: str) -> Image.Image:
    """The last image of a name in the TensorBoard events of a training, such as ``val/confusion_matrix``.

    Raises:
        TaoLikeError: the folder holds no image of that name.
    """
    events = _read_events(folder)
    known = sorted(events.Tags()["images"])
    if name not in known:
        raise TaoLikeError(f"{folder} holds no image {name}; it holds {', '.join(known) or 'none'}")
    return Image.open(io.BytesIO(events.Images(name)[-1].encoded_image_string))


def read_curves(folder: str | Path) -> dict[str, Points]:
    """The curves in the TensorBoard events of a training, by name, such as ``train/loss`` and ``val/loss``.

    Raises:
        TaoLikeError: the folder holds no curves.
    """
    events = _read_events(folder)
    names = events.Tags()["scalars"]
    if not names:
        raise TaoLikeError(f"{folder} holds no curves; give the folder of a training, such as results/train")
    return {name: [(point.step, point.value) for point in events.Scalars(name)] for name in sorted(names)}


def training_curves(runs: Mapping[str, str | Path], names: Sequence[str]) -> Image.Image:
    """Curves of one training or several, a panel a name.

    Args:
        runs: what to call a training, and its run folder.
        names: of the curves, such as ``("train/loss", "val/loss", "val/accuracy")``.

    Raises:
        TaoLikeError: a folder holds no curves, or none of that name.
    """
    curves = {run: read_curves(folder) for run, folder in runs.items()}
    for run, known in curves.items():
        for name in names:
            if name not in known:
                raise TaoLikeError(f"{runs[run]} holds no curve {name}; it holds {', '.join(known)}")
    return draw_panels([_panel(name, {run: known[name] for run, known in curves.items()}) for name in names])


def _panel(name: str, curves: Mapping[str, Points]) -> Panel:
    """One pair of axes with a line for each run, named where there are several."""
    # Epochs are counted from 1 for people, and from 0 in TensorBoard.
    by_epoch = name.startswith(BY_EPOCH)
    lines = [
        Line(
            run if len(curves) > 1 else "",
            [step + by_epoch for step, _ in points],
            [value for _, value in points],
            color=COLORS[number % len(COLORS)],
            dots=by_epoch,
        )
        for number, (run, points) in enumerate(curves.items())
    ]
    return Panel(name, lines, x_label="epoch" if by_epoch else "step", whole_x=True)


def __getattr__(name: str) -> Any:
    """The name of version 0.1 of `training_image`."""
    if name == "training_picture":
        return training_image
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
