"""From points to a map seen from above: features of each pillar's points, the greatest of each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NORM_EPS = 1e-3
NORM_MOMENTUM = 0.01
"""Of all norm layers, as in SECOND and its descendants."""
PADDED_ROWS = 32


class Grid(nn.Module):
    """Where pillars stand.

    Args:
        low: smallest x, y, z in metres.
        size: sides of a pillar in metres.
        count: pillars along x and along y.
    """

    def __init__(
        self, low: tuple[float, ...], size: tuple[float, float, float], count: tuple[int, int]
    ) -> None:
        super().__init__()
        self.low = low
        self.size = size
        self.count = count

    @property
    def cells(self) -> int:
        """Pillars of a frame."""
        return self.count[0] * self.count[1]

    def place(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The pillar of each point, and the offset from that pillar's center.

        Args:
            points: (P, 3) x, y, z.

        Returns:
            (P,) numbers, row by row along x, and ``cells`` for points outside; (P, 3) in metres.
        """
        # Constants are made here, and not kept as buffers: they are no part of the weights.
        low, size = points.new_tensor(self.low[:3]), points.new_tensor(self.size)
        steps = torch.floor((points - low) / size)
        across, along = steps[:, 0].to(torch.int64), steps[:, 1].to(torch.int64)
        is_inside = (across >= 0) & (across < self.count[0]) & (along >= 0) & (along < self.count[1])
        is_inside = is_inside & (steps[:, 2] == 0)
        cell = torch.where(is_inside, along * self.count[0] + across, torch.full_like(across, self.cells))
        flat = torch.cat([steps[:, :2], torch.zeros_like(steps[:, 2:])], dim=1)
        return cell, points - (low + (flat + 0.5) * size)


class PillarFeatures(nn.Module):
    """Ten numbers a point, a linear layer, and the greatest of each channel in each pillar.

    PointPillars (Lang et al. 2019), section 2.1, but without limits to pillars and to points in one: both
    the means and the greatest values are scattered, so the exported graph needs no operators of its own.

    Args:
        grid: where pillars stand.
        channels: of the map.
        with_distance: the distance from the sensor is a further number.
        use_absolute_xyz: coordinates themselves are among the numbers.
        use_norm: a norm layer behind the linear one; else a bias.
        padded_row_constant: see ``_padded_rows``.
    """

    def __init__(
        self,
        grid: Grid,
        channels: int,
        *,
        with_distance: bool = False,
        use_absolute_xyz: bool = True,
        use_norm: bool = True,
        padded_row_constant: bool = False,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.channels = channels
        self.with_distance = with_distance
        self.use_absolute_xyz = use_absolute_xyz
        self.padded_row_constant = padded_row_constant
        inputs = (4 if use_absolute_xyz else 1) + 6 + with_distance
        self.linear = nn.Linear(inputs, channels, bias=not use_norm)
        self.norm = nn.BatchNorm1d(channels, NORM_EPS, NORM_MOMENTUM) if use_norm else None

    def forward(self, points: Tensor, frames: int) -> Tensor:
        """Maps points (P, 5), each frame number, x, y, z, echo, to (frames, channels, along y, along x)."""
        numbers, slot, weight, counts = self.describe(points, frames)
        values = torch.relu(self._normed(self.linear(numbers))) * weight
        canvas = values.new_zeros(frames * self.grid.cells, self.channels)
        # All values are at least 0, so 0 is the greatest of none.
        canvas = canvas.scatter_reduce(0, slot[:, None].expand(-1, self.channels), values, "amax")
        if self.padded_row_constant:
            canvas = self._padded_rows(canvas, counts)
        width, height = self.grid.count
        return canvas.reshape(frames, height, width, self.channels).permute(0, 3, 1, 2)

    def describe(self, points: Tensor, frames: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The numbers of each point: what it is, and where it lies in its pillar.

        Returns:
            Numbers (P, 10 with the defaults), pillars (P,), weights (P, 1) of 1, or 0 for points outside of
            the grid, and the points of each pillar (frames * cells, 1).
        """
        cell, offset = self.grid.place(points[:, 1:4])
        cells = self.grid.cells
        is_inside = cell < cells
        # Points outside go to the first pillar with a weight of zero: a slot of their own would have to be
        # cut off again, and that copies the whole map.
        slot = torch.where(is_inside, points[:, 0].to(torch.int64) * cells + cell, torch.zeros_like(cell))
        weight = is_inside[:, None].to(points.dtype)
        xyz = points[:, 1:4]
        summed = torch.cat([xyz, torch.ones_like(xyz[:, :1])], dim=1) * weight
        sums = points.new_zeros(frames * cells, 4).scatter_add(0, slot[:, None].expand(-1, 4), summed)
        of_point = sums[slot]
        numbers = [points[:, 1:] if self.use_absolute_xyz else points[:, 4:]]
        numbers += [xyz - of_point[:, :3] / of_point[:, 3:].clamp(min=1.0), offset]
        if self.with_distance:
            numbers.append(xyz.norm(dim=1, keepdim=True))
        return torch.cat(numbers, dim=1), slot, weight, sums[:, 3:]

    def _normed(self, values: Tensor) -> Tensor:
        if self.norm is None:
            return values
        if self.training and len(values) < 2:
            # One point has no spread to measure.
            return nn.functional.batch_norm(
                values,
                self.norm.running_mean,
                self.norm.running_var,
                self.norm.weight,
                self.norm.bias,
                eps=self.norm.eps,
            )
        return self.norm(values)

    def _padded_rows(self, canvas: Tensor, counts: Tensor) -> Tensor:
        """Adds what padding gives where pillars are padded to 32 rows before the linear layer.

        Rows of zero come out of the norm layer as a constant, which takes part in the greatest value of
        every pillar of less than 32 points. Checkpoints of such networks have learnt with it.
        """
        if self.norm is None:
            assert self.linear.bias is not None
            constant = torch.relu(self.linear.bias)
        else:
            assert self.norm.running_mean is not None
            assert self.norm.running_var is not None
            spread = torch.sqrt(self.norm.running_var + self.norm.eps)
            constant = torch.relu(self.norm.bias - self.norm.weight * self.norm.running_mean / spread)
        is_padded = (counts > 0) & (counts < PADDED_ROWS)
        return torch.where(is_padded, torch.maximum(canvas, constant), canvas)
