"""An exported model: images or other inputs in, predictions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tao_like.errors import BundleError
from tao_like.runtime.base import Arrays, Model, stacked
from tao_like.runtime.metadata import ModelMetadata, read_metadata
from tao_like.runtime.pipeline import ELEMENT_TYPES, load_pipeline
from tao_like.runtime.predictions import boxes, boxes3d
from tao_like.runtime.predictions.classes import MULTI_LABEL, SINGLE_LABEL
from tao_like.runtime.predictions.embedding import outputs_of
from tao_like.runtime.processor import overflows_here, warn_of_overflow
from tao_like.runtime.session import open_exact_session, open_session, run_session

if TYPE_CHECKING:
    import onnxruntime

_PER_CLASS = (SINGLE_LABEL, MULTI_LABEL, boxes.MEANINGS.all_scores, boxes3d.MEANINGS.all_scores)
_CLASS_NUMBERS = (boxes.MEANINGS.labels, boxes3d.MEANINGS.labels)

__all__ = ["GraphModel", "Model", "load", "stacked"]


def load(
    path: str | Path, *, providers: str | Sequence[str] | None = None, threads: int | None = None
) -> Model:
    """Open a model that ``tao-like <task> export`` wrote.

    Args:
        path: the ONNX file, or the folder of a model of several graphs.
        providers: where to compute, in order of preference: cpu, cuda, tensorrt, openvino, coreml,
            directml, or onnxruntime's own names. None: the CPU.
        threads: threads that share the work of one operator on the CPU. None: onnxruntime's choice.

    Returns:
        The model; for a folder a `Pipeline`, whose graphs run alone too.

    Raises:
        BundleError: the file is missing, damaged, not exported by tao_like or by a newer one.
        SpecError: a provider is not available here, or ``threads`` is below 1.
    """
    if Path(path).is_dir():
        return load_pipeline(path, providers=providers, threads=threads)
    session = open_session(Path(path), providers, threads)
    model = GraphModel(Path(path), session)
    if overflows_here(model.metadata.extra):
        session, exact = open_exact_session(Path(path), providers, threads)
        warn_of_overflow(model.path, session.get_providers(), exact=exact)
        model = GraphModel(Path(path), session)
    return model


class GraphModel(Model):
    """A model of one graph in one file."""

    def __init__(self, path: Path, session: onnxruntime.InferenceSession) -> None:
        """Check that the graph is what its metadata says; raises a BundleError that names ``path``."""
        self._session = session
        try:
            metadata = read_metadata(session.get_modelmeta().custom_metadata_map)
            super().__init__(path, metadata, {node.name: node for node in session.get_inputs()})
            given = {output.name for output in session.get_outputs()}
            if missing := set(metadata.outputs).difference(given):
                raise BundleError(
                    f"the graph lacks the outputs {', '.join(sorted(missing))} of its metadata."
                )
            _check_class_count({output.name: output.shape for output in session.get_outputs()}, metadata)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error

    def _compute(self, feed: Arrays) -> Arrays:
        wanted = outputs_of(self.metadata, feed)
        outputs = run_session(self._session, self.path, wanted, feed | self._blanks(feed))
        named = dict(zip(wanted, outputs, strict=True))
        for name, meaning in self.metadata.outputs.items():
            largest = int(named[name].max(initial=0)) if meaning in _CLASS_NUMBERS else 0
            if largest >= max(1, len(self.metadata.classes)):
                raise BundleError(
                    f"{self.path}: the model gave class number {largest}, and its metadata names "
                    f"{len(self.metadata.classes)} classes, from 0 on."
                )
        return named

    def _blanks(self, feed: Arrays) -> Arrays:
        """Zeros for the inputs that are not given: a graph computes all of its outputs."""
        count = len(next(iter(feed.values())))
        return {
            node.name: np.zeros([count, *node.shape[1:]], ELEMENT_TYPES[node.type])
            for node in self._session.get_inputs()
            if node.name not in feed
        }


def _check_class_count(shapes: Mapping[str, Sequence[Any]], metadata: ModelMetadata) -> None:
    """Refuse a list of classes that is shorter than an output that has a value for each of them."""
    for name, meaning in metadata.outputs.items():
        last = shapes[name][-1] if shapes[name] else None
        if meaning in _PER_CLASS and isinstance(last, int) and last > len(metadata.classes):
            raise BundleError(
                f"the output {name} has {last} values, one a class, and the metadata names "
                f"{len(metadata.classes)} classes."
            )
