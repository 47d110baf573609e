"""The skeleton as adjacency matrices, divided as ST-GCN (Yan et al. 2018, section 3.3) divides them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tao_like.data.skeletons.layouts import Layout

Matrix = npt.NDArray[np.float64]


def normalized(adjacency: Matrix) -> Matrix:
    """A D^-1: each column that is not empty sums to 1."""
    sums = adjacency.sum(axis=0)
    return np.divide(adjacency, sums, out=np.zeros_like(adjacency), where=sums > 0)


def hop_distances(layout: Layout, center_distance: str) -> Matrix:
    """(V,) how far each joint is from the center.

    Args:
        layout: joints and edges.
        center_distance: ``reference``: as ST-GCN's code measures it, which looks one hop far: all joints
            beyond are equally far (infinite); ``true``: edges of the shortest way.
    """
    hops = np.array(layout.distances, np.float64)
    return np.where(hops > 1, np.inf, hops) if center_distance == "reference" else hops


def partitions(layout: Layout, strategy: str, center_distance: str = "reference") -> npt.NDArray[np.float32]:
    """(K, V, V): what joint w takes from joint v stands at [k, v, w].

    Args:
        layout: joints and edges.
        strategy: ``uniform``: a joint and its neighbours alike (K = 1); ``distance``: itself, then its
            neighbours (K = 2); ``spatial``: itself, neighbours not nearer to the center, neighbours nearer to
            it (K = 3).
        center_distance: for ``spatial``, see `hop_distances`.
    """
    count = len(layout.joints)
    neighbours = np.zeros((count, count))
    for one, other in layout.edges:
        neighbours[one, other] = neighbours[other, one] = 1
    adjacency = normalized(np.clip(neighbours + np.eye(count), 0, 1))
    own = adjacency * np.eye(count)
    others = adjacency - own
    if strategy == "uniform":
        parts = [adjacency]
    elif strategy == "distance":
        parts = [own, others]
    else:
        hops = hop_distances(layout, center_distance)
        nearer = hops[:, None] < hops[None, :]
        parts = [own, np.where(nearer, 0, others), np.where(nearer, others, 0)]
    return np.stack(parts).astype(np.float32)


def directed_partitions(layout: Layout) -> npt.NDArray[np.float32]:
    """(3, V, V): itself, inward edges, outward edges, each normalized by itself, as in ST-GCN++ (Duan et
    al. 2022).
    """
    count = len(layout.joints)
    inward = np.zeros((count, count))
    for far, near in layout.inward:
        inward[near, far] = 1
    return np.stack([np.eye(count), normalized(inward), normalized(inward.T)]).astype(np.float32)
