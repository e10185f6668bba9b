"""A union-find oracle, and features whose cosines are exact in every dtype."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from gfa_jax import Neighbors

# Rows that permute (1, 3, 3, 3, 6) / 8 have unit length and cosines that are multiples
# of 1/64, exactly, in any order of the sum: ties and pairs on the threshold abound.
_ENTRIES = np.array([1, 3, 3, 3, 6, 0]) / 8
STEP = 1 / 64


class Problem(NamedTuple):
    features: np.ndarray  # [N, 6] float32
    neighbors: Neighbors  # [N, K], some slots empty, some rows among their own


@st.composite
def problems(draw) -> Problem:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Few shapes, since each is compiled.
    num_rows = draw(st.sampled_from([1, 2, 7, 20, 40]))
    k = draw(st.sampled_from([1, 3, 6]))
    indices = rng.integers(0, num_rows, (num_rows, k))
    indices[rng.random(indices.shape) < draw(st.sampled_from([0, 0.3, 0.8]))] = -1
    return Problem(lattice_features(rng, num_rows), as_neighbors(indices))


def lattice_features(rng: np.random.Generator, num_rows: int) -> np.ndarray:
    """Rows around a few patterns: two entries of a pattern change places."""
    rows = np.stack([rng.permutation(_ENTRIES) for _ in range(3)])
    rows = rows[rng.integers(3, size=num_rows)]
    places = rng.integers(_ENTRIES.size, size=(num_rows, 2))
    each = np.arange(num_rows)
    first, second = places.T
    rows[each, first], rows[each, second] = (
        rows[each, second].copy(),
        rows[each, first].copy(),
    )
    return rows.astype(np.float32)


def as_neighbors(indices: npt.ArrayLike) -> Neighbors:
    """Candidates alone: `cluster` reads nothing else."""
    table = np.array(indices, np.int32)
    return Neighbors(table, np.zeros(table.shape, np.float32))


def reorder(neighbors: Neighbors, order: np.ndarray) -> Neighbors:
    """The candidates of the same rows in another order."""
    place = np.append(np.argsort(order), -1)
    return as_neighbors(place[np.asarray(neighbors.indices)[order]])


def circle(*degrees: float) -> np.ndarray:
    """Unit rows at angles of a circle, [N, 2] float32."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def everyone(num_rows: int) -> Neighbors:
    """Every row lists every row."""
    return as_neighbors(np.tile(np.arange(num_rows), (num_rows, 1)))


def edges(problem: Problem, threshold: float) -> dict:
    """The pairs i < j that survive, with their cosine."""
    features = problem.features.astype(np.float64)
    listed = {
        (i, int(j))
        for i, candidates in enumerate(problem.neighbors.indices)
        for j in candidates
        if j >= 0 and j != i
    }
    pairs = {(min(pair), max(pair)) for pair in listed}
    scored = {pair: float(features[pair[0]] @ features[pair[1]]) for pair in pairs}
    return {pair: s for pair, s in scored.items() if s >= threshold}


def components(rows, pairs) -> list[set]:
    """Union-find by relabelling: the sets that the pairs connect."""
    member = {row: {row} for row in rows}
    for i, j in pairs:
        if member[i] is not member[j]:
            member[i] |= member[j]
            for row in member[j]:
                member[row] = member[i]
    return list({id(group): group for group in member.values()}.values())


def cut(rows, scored: dict, max_size: int | None) -> list[set]:
    """Raises the threshold of what is too large past its weakest pair, again and again.

    A literal reading of the rule: a component over the size loses every pair of its
    lowest cosine, and what it falls into is cut in the same way.
    """
    pieces = []
    for group in components(rows, scored):
        inside = {pair: s for pair, s in scored.items() if pair[0] in group}
        if max_size is None or len(group) <= max_size:
            pieces.append(group)
        else:
            lowest = min(inside.values())
            left = {pair: s for pair, s in inside.items() if s > lowest}
            pieces += cut(group, left, max_size)
    return pieces


def number(pieces: list[set], num_rows: int, min_size: int) -> np.ndarray:
    """Labels by descending size, then first row; -1 below `min_size`."""
    ordered = sorted(pieces, key=lambda group: (-len(group), min(group)))
    labels = np.full(num_rows, -1)
    for label, group in enumerate(ordered):
        if len(group) >= min_size:
            labels[list(group)] = label
    return labels


def confidence(problem: Problem, labels: np.ndarray) -> np.ndarray:
    """The equation of `confidence`, of the candidates alone, one row after the other.

    `labels` have no -1.
    """
    features = problem.features.astype(np.float64)
    result = np.zeros(len(labels))
    for i, listed in enumerate(problem.neighbors.indices):
        candidates = [*dict.fromkeys(listed.tolist())]  # one that repeats counts once
        others = [j for j in candidates if j >= 0 and j != i]
        inside, outside = (
            [
                features[i] @ features[j]
                for j in others
                if (labels[j] == labels[i]) == same
            ]
            for same in (True, False)
        )
        own = np.clip(np.mean(inside) if inside else 0, 0, 0.99)
        other = np.clip(max(outside, default=0), 0, 0.99)
        if np.sum(labels == labels[i]) > 1:
            result[i] = 1 / (1 + ((1 - own) / (1 - other)) ** 2)
    return result
