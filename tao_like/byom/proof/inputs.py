"""The shapes of a file's inputs in the comparison: images, states, single numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typing_extensions import Self

from tao_like.byom.source.graph import Dimension, Graph, Shape
from tao_like.byom.source.shapes import IMAGE_AXES, size_axes
from tao_like.errors import ConversionError

_OPEN_SIDE = 224
_OPEN_SIZES = {2: _OPEN_SIDE, 3: _OPEN_SIDE}
"""What an open axis becomes, by its number; an image's height and width are told apart."""


class WholeShape(tuple[int, ...]):
    """The whole shape of an input that does not have the batch in front: a state, or a single number.

    Attributes:
        batch_axis: which axis is as long as the batch; None: none is.
    """

    batch_axis: int | None

    def __new__(cls, sizes: Sequence[int], batch_axis: int | None) -> Self:
        """A shape with all its axes."""
        made = super().__new__(cls, sizes)
        made.batch_axis = batch_axis
        return made

    def at(self, batch: int) -> tuple[int, ...]:
        """The shape for a number of samples."""
        return tuple(batch if axis == self.batch_axis else size for axis, size in enumerate(self))


def input_shapes(
    graph: Graph, size: tuple[int, int] | None, given: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, tuple[int, ...]]:
    """A shape for each input, without the batch where that is in front; open axes get a usual size.

    Args:
        graph: the source.
        size: height and width for the open axes of images.
        given: whole shapes by name, which the user says.

    Raises:
        ConversionError: the source says nothing of the axes of an input, or what is given does not fit it.
    """
    given = given or {}
    unknown = [name for name in given if name not in graph.inputs]
    if unknown:
        raise ConversionError(
            f"--input-shape names '{unknown[0]}', and the file's inputs are {', '.join(graph.inputs)}"
        )
    first = _batch_name(graph)
    shapes: dict[str, tuple[int, ...]] = {}
    for name in graph.inputs:
        declared = graph.type_of(name).shape
        if name in given:
            _refuse_other(name, declared, given[name])
        if declared is None:
            if name not in given:
                raise ConversionError(
                    f"the file does not say what shape its input '{name}' has; say it with --input-shape "
                    f"{name}=1x3x224x224"
                )
            declared = given[name]
        full = given.get(name) or _filled(declared, size)
        axis = _batch_axis(declared, first)
        shapes[name] = full[1:] if axis == 0 else WholeShape(full, axis)
    return shapes


def _batch_name(graph: Graph) -> Dimension:
    """What the file calls the number of samples: the first input's first size.

    Where that is a name which no other input has, it may be a length: then it is a name that all have.
    """
    own, *others = (graph.type_of(name).shape or () for name in graph.inputs)
    named = [{size for size in shape if isinstance(size, str)} for shape in others]
    named = [sizes for sizes in named if sizes]
    first = own[0] if own else None
    common = [size for size in own if named and all(size in sizes for sizes in named)]
    return common[0] if isinstance(first, str) and first not in common and common else first


def _batch_axis(declared: Shape, first: Dimension) -> int | None:
    """Which axis of an input has the batch; the first, unless the file says otherwise."""
    if not declared:
        return None
    same = [axis for axis, item in enumerate(declared) if isinstance(first, str) and item == first]
    if same:
        return same[0]
    return 0 if declared[0] == first or not isinstance(declared[0], int) or declared[0] == 1 else None


def _filled(declared: Shape, size: tuple[int, int] | None) -> tuple[int, ...]:
    usual = _OPEN_SIZES
    if len(declared) == IMAGE_AXES:
        usual = dict(zip(size_axes(declared), size or (_OPEN_SIDE, _OPEN_SIDE), strict=True))
    return tuple(
        item if isinstance(item, int) and item > 0 else usual.get(axis, 1)
        for axis, item in enumerate(declared)
    )


def _refuse_other(name: str, declared: Shape | None, given: tuple[int, ...]) -> None:
    fixed = [(axis, item) for axis, item in enumerate(declared or ()) if isinstance(item, int) and axis > 0]
    fits = declared is None or len(declared) == len(given)
    if not fits or any(given[axis] != item for axis, item in fixed):
        said = "x".join(map(str, given)) or "a single number"
        raise ConversionError(
            f"--input-shape {name}={said} does not fit the file, which says {list(declared or ())}"
        )
