"""Whether the layer that tells classes may come from a source of weights: where its classes are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

UNNAMED = "its file does not name its classes"
"""Why the layer of a file without class names is left out, whatever its shape."""
_NAMED = 4


@dataclass(frozen=True)
class ClassLayer:
    """What becomes of the layer that tells classes.

    Attributes:
        rows: the source's output for each class of the new network; None: the layer is left out.
        why: in words, to stand behind "the head is kept, since" or "the head is new, since".
        is_reordered: the classes are the same in another order.
    """

    rows: tuple[int, ...] | None
    why: str
    is_reordered: bool = False

    @property
    def is_same(self) -> bool:
        """The source has the same classes in the same order."""
        return self.rows is not None and not self.is_reordered

    def text(self, layer: str = "the head") -> str:
        """A sentence for the user that says whether the layer is kept."""
        return f"{layer} is {'new' if self.rows is None else 'kept'}, since {self.why}"

    def ordered(self, tensor: Tensor) -> Tensor:
        """A tensor (classes, ...) of the source's layer in the order of the new network.

        Tensors whose first dimension is not the classes stay as they are.
        """
        if self.rows is None or not self.is_reordered or tensor.ndim == 0 or len(tensor) != len(self.rows):
            return tensor
        return tensor[list(self.rows)]


def class_layer(own: Sequence[str], theirs: Sequence[str]) -> ClassLayer:
    """Decides by names: as many classes are not the same classes.

    Args:
        own: class names of the new network.
        theirs: class names of the source, in the order of its outputs; empty where it does not say.
    """
    if not theirs:
        return ClassLayer(None, UNNAMED)
    if list(own) == list(theirs):
        return ClassLayer(tuple(range(len(own))), "its classes are the same")
    if sorted(own) == sorted(theirs) and len(set(own)) == len(own):
        rows = tuple(list(theirs).index(name) for name in own)
        return ClassLayer(rows, "its classes are the same; its outputs are put in their new order", True)
    return ClassLayer(None, f"the source's is for other classes ({first_names(theirs)})")


def first_names(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
