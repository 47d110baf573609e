"""What a bundle holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tao_like.errors import BundleError

if TYPE_CHECKING:
    from torch import Tensor

ONLY_PART = "model"
"""Name of the part of a network that has one."""

GRAPH_ROLES = "roles"
"""In ``extra``: by which rules tables of an imported graph became parameters, buffers or plain numbers."""


class _NotGiven:
    """Stands where None would mean that there is none."""


NOT_GIVEN = _NotGiven()


@dataclass(frozen=True)
class Part:
    """A part of a network, such as the text tower of a pair.

    Attributes:
        weights: its state dict.
        structure: what pruning changed, None if nothing.
        graph: the ONNX graph of an imported network, None for the toolkit's own.
        phase: name of the phase of training that made it; empty where training has one.
    """

    weights: dict[str, Tensor]
    structure: dict[str, Any] | None = None
    graph: bytes | None = None
    phase: str = ""


@dataclass(init=False)
class Bundle:
    """A network with everything that is needed to use it or to go on with it.

    A network of one part may be given and changed without ``parts``: by ``weights``, ``structure`` and
    ``graph``, which are those of `Part`. They are attributes too; `dataclasses.replace` takes them.

    Attributes:
        task: name of the task.
        spec: the resolved spec that it was made with.
        classes: class names in the order of the network's outputs.
        preprocessing: how an input is preprocessed; for several inputs, by their names.
        metrics: the metrics that it reached.
        thresholds: the rule that turns scores into predictions; empty for the task's default.
        split: the files of each split by name (train, val, test), or None if the folders say it.
        history: one record a stage that made it, oldest first.
        parts: the network's parts by name; names are lower-case words such as ``text_encoder``.
        extra: further values of the task.
        prompts: class name to the sentences that describe it, where a network reads text.
        open_set: the user may name other classes when predictions are asked for.

    All but ``parts`` hold what JSON can hold: texts, finite numbers, booleans, None, lists, and dictionaries
    with texts as keys. Tuples come back as lists.
    """

    task: str
    spec: dict[str, Any]
    classes: list[str]
    preprocessing: dict[str, Any]
    metrics: dict[str, Any]
    thresholds: dict[str, Any]
    split: dict[str, Any] | None
    history: list[dict[str, Any]]
    parts: dict[str, Part]
    extra: dict[str, Any] = field(default_factory=dict)
    prompts: dict[str, list[str]] = field(default_factory=dict)
    open_set: bool = False

    def __init__(
        self,
        task: str,
        spec: dict[str, Any],
        classes: list[str],
        preprocessing: dict[str, Any],
        metrics: dict[str, Any],
        thresholds: dict[str, Any],
        split: dict[str, Any] | None,
        history: list[dict[str, Any]],
        weights: dict[str, Tensor] | None = None,
        structure: dict[str, Any] | _NotGiven | None = NOT_GIVEN,
        graph: bytes | _NotGiven | None = NOT_GIVEN,
        extra: dict[str, Any] | None = None,
        *,
        parts: Mapping[str, Part] | None = None,
        prompts: dict[str, list[str]] | None = None,
        open_set: bool = False,
    ) -> None:
        """A bundle of some parts, or of one that is given by its weights, structure and graph."""
        self.task = task
        self.spec = spec
        self.classes = classes
        self.preprocessing = preprocessing
        self.metrics = metrics
        self.thresholds = thresholds
        self.split = split
        self.history = history
        self.parts = {ONLY_PART: Part({})} if parts is None else dict(parts)
        self.extra = {} if extra is None else extra
        self.prompts = {} if prompts is None else prompts
        self.open_set = open_set
        if weights is not None:
            self.weights = weights
        if not isinstance(structure, _NotGiven):
            self.structure = structure
        if not isinstance(graph, _NotGiven):
            self.graph = graph

    @property
    def preparation(self) -> dict[str, Any]:
        """Another name for ``preprocessing``."""
        return self.preprocessing

    @property
    def only_part(self) -> Part:
        """The part of a network that has one.

        Raises:
            BundleError: it has several.
        """
        return self.parts[self._only_name()]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Weights of the only part."""
        return self.only_part.weights

    @weights.setter
    def weights(self, value: dict[str, Tensor]) -> None:
        self._change(weights=value)

    @property
    def structure(self) -> dict[str, Any] | None:
        """What pruning changed in the only part."""
        return self.only_part.structure

    @structure.setter
    def structure(self, value: dict[str, Any] | None) -> None:
        self._change(structure=value)

    @property
    def graph(self) -> bytes | None:
        """ONNX graph of the only part, if it was imported."""
        return self.only_part.graph

    @graph.setter
    def graph(self, value: bytes | None) -> None:
        self._change(graph=value)

    def weights_for(self, name: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a part for a network that was built from its spec and graph.

        Bundles without `GRAPH_ROLES` lack tables of an imported graph that were plain numbers then, and are
        parameters or buffers now: these are as the graph has them.

        Args:
            name: of the part.
            own: the state dict of the network as it was built.
        """
        part = self.parts[name]
        if part.graph is None or GRAPH_ROLES in self.extra:
            return part.weights
        return {**own, **part.weights}

    def _only_name(self) -> str:
        if len(self.parts) != 1:
            raise BundleError(
                f"the bundle has {len(self.parts)} parts ({', '.join(self.parts)}), and one is needed here."
            )
        return next(iter(self.parts))

    def _change(self, **values: Any) -> None:
        """Give the only part other values; a copy of this bundle may share the old part and keeps it."""
        name = self._only_name()
        self.parts = {name: replace(self.parts[name], **values)}
