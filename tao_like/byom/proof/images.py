"""Real images as inputs of a foreign network, for the comparison with onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tao_like.byom.proof.comparison import batch_sizes
from tao_like.byom.proof.judging import Array
from tao_like.byom.source.graph import Graph
from tao_like.errors import ConversionError
from tao_like.runtime.inputs.image import image_files, read_image

MOST_IMAGES = 4
_MEAN, _DEVIATION = 0.45, 0.225
"""About ImageNet's. A foreign file does not say how its images were preprocessed, and any way will do
here."""


def first_images(path: Path) -> list[Path]:
    """The image of this name, or the first few in a folder.

    Raises:
        DatasetError: there is none.
    """
    return image_files(path)[:MOST_IMAGES] if path.is_dir() else [path]


def image_inputs(
    graph: Graph, shapes: dict[str, tuple[int, ...]], files: Sequence[Path], *, freed: bool
) -> dict[str, Array]:
    """Images, squeezed into the input's size.

    Floats are normalized; whole numbers are the pixels themselves.

    Args:
        graph: the source, which takes one image, of one or three channels.
        shapes: of its inputs, without the batch.
        files: the images; fewer are read where the source's batch is smaller.
        freed: the source's batch of one was set free.

    Raises:
        ConversionError: the network takes something else.
        DatasetError: an image cannot be read.
    """
    (name, shape), *others = shapes.items()
    channels = [axis for axis, size in enumerate(shape) if size in (1, 3) and axis != 1]
    if others or len(shape) != 3 or not channels:
        raise ConversionError(
            f"images are for networks that take one image; this one takes {dict(shapes)} (axes without "
            "the batch)"
        )
    channels_first = channels[0] == 0
    depth = shape[channels[0]]
    height, width = shape[1:] if channels_first else shape[:2]
    own_batch = batch_sizes(graph, freed=freed)
    count = own_batch[0] if len(own_batch) == 1 else len(files)
    chosen = [files[index % len(files)] for index in range(count)]
    images = []
    for file in chosen:
        image = read_image(file).resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image if depth == 3 else image.convert("L")).reshape(height, width, depth)
        images.append(pixels.transpose(2, 0, 1) if channels_first else pixels)
    stacked = np.stack(images)
    dtype = graph.type_of(name).dtype or torch.float32
    if dtype.is_floating_point:
        stacked = (stacked / 255 - _MEAN) / _DEVIATION
    return {name: torch.from_numpy(stacked).to(dtype).numpy()}
