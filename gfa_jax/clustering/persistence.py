"""Clusters chosen from a tree of joins, each at a height of its own.

A cluster C of the tree of average linkage appears at the mean cosine h_C at which its
two halves join, and is gone at h_P, where it joins another in its parent P. Rows that
belong together join early and stay alone long, in a dense part of the pool as in a
sparse one. So no height is asked for: of all the ways to cut the tree into clusters
that share no row, the one is chosen at which they persist longest,

    max Σ_C |C| (π_C(h_C) − π_P(h_P)),      π_C(h) = σ((h / s − z₀ + 1 − 2 / |C|) / 3)

with h = 1 for a single row, which counts as two there, and h_P = 1.5 s above a root,
where joins end and |P| has no bound. It is the excess of mass by which HDBSCAN chooses
(Campello, Moulavi and Sander 2013), there on the tree of single linkage and in
1 / distance, here in the posterior that a pair is of one identity: s is the mean spread
of the cosines of strangers, and z₀ how many of them above chance the posterior of an
edge passes one half (selection/evidence.py); z₀ grows with the number of strangers a
member, and with it the height that joins want. Two rows that join are an edge and want
z₀. The mean over all pairs of larger clusters needs less, and says it less sharply:
hence z₀ − 1 and ⅓ (experiments/RESULTS.md has the sweep and the choice with each
network left out).

A join cannot stand where one below it does not, so h_C is taken as the least height
within C where average linkage on a sparse graph turns back.
"""

import itertools
from typing import NamedTuple

import numpy as np

from gfa_jax.clustering.linkage import Tree

# Clusters less far above strangers, in s, do not join: π is .3 there at z₀ = 5.
FLOOR = 1.5


class Constants(NamedTuple):
    """What experiments/studies/persistence.py moves, and no program else."""

    below: float = 1.0  # what joins of many rows want less than z₀
    of_two: float = 1.0  # what a join of two rows wants more than those
    softness: float = 3.0


CONSTANTS = Constants()


def choose_clusters(
    tree: Tree, *, spread: float, center: float, constants: Constants = CONSTANTS
) -> np.ndarray:
    """Chooses the clusters of the module's equation: [N] the tree's node of each row.

    Takes s > 0 and z₀. A few operations a join.
    """
    num_rows, children = tree.num_rows, tree.children
    num_nodes = num_rows + len(children)
    height = np.concatenate([np.ones(num_rows), tree.height.astype(np.float64)])
    size = np.ones(num_nodes, np.int64)
    parent = np.full(num_nodes, -1)
    rounds = list(itertools.starmap(slice, itertools.pairwise(tree.rounds.tolist())))
    for joins in rounds:
        nodes = np.arange(num_rows + joins.start, num_rows + joins.stop)
        below = children[joins]
        height[nodes] = np.minimum(height[nodes], height[below].min(axis=1))
        size[nodes] = size[below].sum(axis=1)
        parent[below] = nodes[:, None]
    pool = {"spread": spread, "center": center, "constants": constants}
    level = posterior(height, np.maximum(size, 2), **pool)
    floor = posterior(FLOOR * spread, np.inf, **pool)
    above = np.where(parent < 0, floor, level[parent])
    best = size * np.maximum(level - above, 0)
    stands = np.ones(num_nodes, bool)
    for joins in rounds:
        nodes = np.arange(num_rows + joins.start, num_rows + joins.stop)
        parts = best[children[joins]].sum(axis=1)
        stands[nodes] = best[nodes] >= parts
        best[nodes] = np.maximum(best[nodes], parts)
    # From the roots down: the first that stands takes all below it.
    chosen = np.arange(num_nodes)
    is_taken = stands.copy()
    for joins in reversed(rounds):
        nodes = np.arange(num_rows + joins.start, num_rows + joins.stop)
        taken = nodes[is_taken[nodes]]
        below = children[taken - num_rows]
        is_taken[below] = True
        chosen[below] = chosen[taken, None]
    return chosen[:num_rows]


def below_roots(tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Lists the root that each row is under, and the child of it, or it itself: [N]."""
    num_rows, children = tree.num_rows, tree.children
    root = np.arange(num_rows + len(children))
    part = root.copy()
    for start, stop in reversed(list(itertools.pairwise(tree.rounds.tolist()))):
        nodes, below = num_rows + np.arange(start, stop), children[start:stop]
        is_root = root[nodes] == nodes
        part[below] = np.where(is_root[:, None], below, part[nodes][:, None])
        root[below] = root[nodes][:, None]
    return root[:num_rows], part[:num_rows]


def posterior(
    height, size, *, spread: float, center: float, constants: Constants = CONSTANTS
):
    """Evaluates π_C(h) of the module's equation, of clusters of |C| rows."""
    wanted = center - constants.below + constants.of_two * 2 / size
    return 1 / (1 + np.exp((wanted - height / spread) / constants.softness))
