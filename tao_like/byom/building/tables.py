"""Tensors of which many elements share a value: attention's tables of relative positions, written out.

Exporters look the values up once and store the result. As one large parameter it would train every element
alone, although the source has one value for all elements with the same offset.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FEWEST_AXES = 3
_FEWEST_HEADS = 2
_MOST_DIFFERENT = 0.5
"""Largest number of different columns, as a fraction of the elements, that is still a table."""


class SharedValues(nn.Module):
    """A tensor (..., L, S) from a table of its different values.

    Args:
        table: different values (heads, values); it trains.
        places: the column of each of the L * S elements; bundles hold it under this name.
        shape: of the tensor.
    """

    places: Tensor

    def __init__(self, table: Tensor, places: Tensor, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.table = nn.Parameter(table)
        self.register_buffer("places", places)
        self.shape = shape

    def forward(self) -> Tensor:
        """The whole tensor."""
        return self.table.index_select(1, self.places).view(self.shape)


def shared_values(tensor: Tensor) -> SharedValues | None:
    """The table that a float tensor (..., L, S) was made from; None where its elements share no values.

    An element is compared in all heads at once: single values of half precision are often equal by chance.
    """
    if tensor.ndim < _FEWEST_AXES or tensor.shape[:-2].numel() < _FEWEST_HEADS:
        return None
    length, width = tensor.shape[-2:]
    columns = tensor.reshape(-1, length * width)
    found, indices = torch.unique(columns, dim=1, return_inverse=True)
    count = found.shape[1]
    if not max(length, width) <= count <= _MOST_DIFFERENT * length * width:
        return None
    return SharedValues(found.contiguous(), indices, tuple(tensor.shape))
