"""Joining things into groups, pair by pair."""

from __future__ import annotations

from collections import defaultdict


class Groups:
    """Numbers 0 to N - 1, each in a group of its own until groups are joined (union-find).

    Args:
        size: N.
    """

    def __init__(self, size: int) -> None:
        self._leader = list(range(size))

    def find(self, index: int) -> int:
        """The smallest number of the group that a number is in."""
        leader = self._leader
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    def join(self, first: int, second: int) -> None:
        """Makes one group of those of two numbers."""
        low, high = sorted((self.find(first), self.find(second)))
        self._leader[high] = low

    def members(self) -> list[list[int]]:
        """All groups, also those of one, in the order of their smallest numbers."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        for index in range(len(self._leader)):
            found[self.find(index)].append(index)
        return list(found.values())
