"""A model of several graphs: a folder with ``pipeline.json``, whose graphs feed each other by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError, DatasetError, SpecError
from tao_like.runtime.base import Arrays, Model
from tao_like.runtime.generation.base import SEED, TEXT, Generator
from tao_like.runtime.generation.kinds import generator_of
from tao_like.runtime.pipeline_file import PipelineDescription, read_pipeline, write_pipeline
from tao_like.runtime.predictions.embedding import outputs_of
from tao_like.runtime.processor import overflows_here, warn_of_overflow
from tao_like.runtime.session import open_exact_session, open_session

if TYPE_CHECKING:
    import onnxruntime
    from onnxruntime import NodeArg

__all__ = ["Graph", "Pipeline", "load_pipeline", "read_pipeline", "write_pipeline"]

ELEMENT_TYPES: dict[str, npt.DTypeLike] = {
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


def load_pipeline(
    folder: str | Path, *, providers: str | Sequence[str] | None = None, threads: int | None = None
) -> Pipeline:
    """Open a model of several graphs; the arguments are those of `runtime.load`.

    Raises:
        BundleError: ``pipeline.json`` or a graph is missing, damaged, changed, or of a newer tao_like.
        SpecError: a provider is not available here, or ``threads`` is below 1.
    """
    description = read_pipeline(folder)
    if not overflows_here(description.metadata.extra):
        sessions = {name: open_session(path, providers, threads) for name, path in description.graphs.items()}
        return Pipeline(Path(folder), description, sessions)
    opened = {name: open_exact_session(path, providers, threads) for name, path in description.graphs.items()}
    sessions = {name: session for name, (session, _) in opened.items()}
    used = [provider for session in sessions.values() for provider in session.get_providers()]
    warn_of_overflow(Path(folder), used, exact=all(exact for _, exact in opened.values()), stacklevel=4)
    return Pipeline(Path(folder), description, sessions)


class Graph:
    """One graph of a pipeline.

    Attributes:
        name: in the pipeline.
        path: its file.
        inputs: names of its inputs.
        outputs: names of its outputs.
    """

    def __init__(self, name: str, path: Path, session: onnxruntime.InferenceSession) -> None:
        self.name = name
        self.path = path
        self.nodes = {node.name: node for node in session.get_inputs()}
        self.inputs = list(self.nodes)
        self.outputs = [node.name for node in session.get_outputs()]
        self._session = session

    def run(self, values: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Run it on what its inputs are given, by name; its outputs by name.

        Raises:
            DatasetError: an input is missing, too many, or of another type or shape.
        """
        if set(values) != set(self.inputs):
            raise DatasetError(
                f"the graph {self.name} is given {', '.join(values) or 'nothing'}; its inputs are "
                f"{', '.join(self.inputs)}."
            )
        try:
            found = self._session.run(self.outputs, dict(values))
        except Exception as error:  # onnxruntime's errors share no base class but this
            raise DatasetError(f"the graph {self.name} cannot run on what it is given: {error}") from error
        return dict(zip(self.outputs, found, strict=True))


class Pipeline(Model):
    """A model of several graphs, which predicts as a model of one does. Made by `load`.

    Attributes:
        path: the folder.
        metadata: of the whole.
        graphs: the graphs by name.
        order: names of those that a prediction runs.
        constants: further values, such as a schedule.
        files: further files by name, such as a tokenizer.
        generator: how images are made with the graphs; None: a prediction runs each graph once.
    """

    def __init__(
        self,
        path: Path,
        description: PipelineDescription,
        sessions: Mapping[str, onnxruntime.InferenceSession],
    ) -> None:
        """Check that the graphs fit together; raises a BundleError that names ``path``."""
        self.graphs = {
            name: Graph(name, description.graphs[name], session) for name, session in sessions.items()
        }
        self.order = description.order
        self.constants = description.constants
        self.files = description.files
        inputs = description.metadata.inputs
        nodes: dict[str, NodeArg | None] = {
            name: node
            for graph in self.graphs.values()
            for name, node in graph.nodes.items()
            if name in inputs
        }
        try:
            self.generator = generator_of(description.metadata.extra)
            if self.generator is not None:
                nodes.setdefault(SEED, None)
            if unused := set(inputs).difference(nodes):
                raise BundleError(f"no graph takes its inputs {', '.join(sorted(unused))}.")
            super().__init__(path, description.metadata, nodes)
            self._fed = {
                (graph.name, name): _constant(name, self.constants[name], node.type)
                for graph in self.graphs.values()
                for name, node in graph.nodes.items()
                if name in self.constants and name not in inputs
            }
            self._check_graphs()
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error

    def __getitem__(self, name: str) -> Graph:
        """A graph by name. Raises SpecError."""
        if name not in self.graphs:
            raise SpecError(f"there is no graph {name!r} in {self.path}, which has {', '.join(self.graphs)}.")
        return self.graphs[name]

    def run(self, name: str, values: Mapping[str, Any]) -> Arrays:
        """Run one graph alone.

        Args:
            name: of the graph.
            values: by the names of its inputs; for inputs of the pipeline batches as `run_preprocessed` takes
                them, for others arrays as the graph takes them. Constants need not be given.

        Returns:
            Its outputs by name.

        Raises:
            SpecError: there is no such graph.
            DatasetError: a value is missing, too many, or of another type or shape.
        """
        graph = self[name]
        feed = self._constants_of(graph)
        for key, value in values.items():
            if key in self.inputs:
                self.inputs[key].check_batch(value, self.path)
                feed[key] = self.inputs[key].graph_values(value)
            else:
                feed[key] = np.asarray(value)
        return graph.run(feed)

    def generate(self, prompts: str | Sequence[str], *, seed: int = 0, **settings: Any) -> Any:
        """Make an image of a sentence, or of each of several.

        Args:
            prompts: one sentence, or several.
            seed: of the first image; the next ones have the seeds after it. An image depends on its
                sentence and its seed alone, not on what is made beside it.
            settings: of the sampler, such as ``guidance_scale`` or ``steps``, other than the file's own.

        Returns:
            A `ImagePrediction`; for several sentences a list of them.

        Raises:
            SpecError: this model makes no images, or a setting has no meaning.
            DatasetError: a prompt is no text.
        """
        if self.generator is None:
            raise SpecError(f"{self.path} makes no images: it predicts; call predict.")
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        if isinstance(settings.get("caption"), str):
            source = self.prepare({TEXT: settings["caption"], SEED: seed})
            settings["caption"] = self.inputs[TEXT].batch([source[TEXT]])
        if {"caption", "image_to", "components"}.intersection(settings):
            settings = {"frames": len(texts), "first": seed, **settings}
        generator = self.generator.changed(**settings)
        made = []
        for number, text in enumerate(texts):
            sample = self.preprocess({TEXT: text, SEED: seed + number})
            feed = self.feed({name: self.inputs[name].batch([sample[name]]) for name in self.inputs})
            outputs = generator.run(self._call, feed)
            (found,) = self._reader.read(outputs, self.metadata, [None], [(0, 0)])
            made_of = {"prompt": text, "seed": str(seed + number), "model": self.metadata.bundle_sha256}
            made.append(replace(found, made_of=made_of))  # type: ignore[call-arg]
        return made[0] if isinstance(prompts, str) else made

    def with_generator(self, generator: Generator) -> Pipeline:
        """The same model with another way of generating; its graphs are opened once."""
        other = copy(self)
        other.generator = generator
        return other

    def _call(self, name: str, values: Arrays) -> Arrays:
        """Runs a graph for the generator; Raises BundleError where the model has no such graph."""
        if name not in self.graphs:
            raise BundleError(
                f"{self.path} has no graph {name}, which its way of generating needs here; where an earlier "
                "version has exported it, export it again."
            )
        return self.graphs[name].run({**values, **self._constants_of(self.graphs[name])})

    def _compute(self, feed: Arrays) -> Arrays:
        if self.generator is not None:
            return self.generator.run(self._call, feed)
        values = dict(feed)
        for name in self.order:
            graph = self.graphs[name]
            given = self._constants_of(graph)
            wanted = [key for key in graph.inputs if key not in given]
            if all(key in values for key in wanted):
                values |= graph.run({**{key: values[key] for key in wanted}, **given})
        return {name: values[name] for name in outputs_of(self.metadata, feed)}

    def _constants_of(self, graph: Graph) -> Arrays:
        return {name: value for (owner, name), value in self._fed.items() if owner == graph.name}

    def _check_graphs(self) -> None:
        """Every graph of the order finds what it takes, and the outputs of the metadata are made."""
        for graph in self.graphs.values():
            for name, node in graph.nodes.items():
                if name in self.inputs:
                    self.inputs[name].check_graph(node)
        if self.generator is not None:
            if missing := set(self.generator.graphs).difference(self.graphs):
                raise BundleError(f"it lacks the graphs {', '.join(sorted(missing))}, which generate.")
            return
        known = set(self.inputs)
        for name in self.order:
            graph = self.graphs[name]
            lacking = set(graph.inputs).difference(known, self._constants_of(graph))
            if lacking:
                raise BundleError(
                    f"the graph {name} takes {', '.join(sorted(lacking))}, which no graph before it gives."
                )
            if twice := known.intersection(graph.outputs):
                raise BundleError(
                    f"the graph {name} gives {', '.join(sorted(twice))}, which is there already."
                )
            known.update(graph.outputs)
        if missing := set(self.metadata.outputs).difference(known):
            raise BundleError(f"no graph of the order gives the outputs {', '.join(sorted(missing))}.")


def _constant(name: str, value: Any, element_type: str) -> npt.NDArray[Any]:
    """A constant as a graph's input takes it. Raises BundleError."""
    if element_type not in ELEMENT_TYPES:
        raise BundleError(
            f"constants.{name} is for an input of the type {element_type}, which JSON cannot hold."
        )
    try:
        return np.asarray(value, dtype=ELEMENT_TYPES[element_type])
    except (TypeError, ValueError, OverflowError) as error:
        raise BundleError(f"constants.{name} is no array of numbers: {error}.") from error
