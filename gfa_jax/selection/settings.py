"""All that `aggregate` needs, chosen from the pool: edges, K, T and dropped rows.

    candidates ─► closure ─► K, K_i, T ─► strangers of each row ─► z_ij ─► w_ij
    pool statistics of a sample ─► a_ij ──┘                        K_i largest ◄┘

Every number of a row comes from the row, its candidates and what a few numbers a row
say of those, and the numbers of the pool from a sample drawn by a seed or from means
over all rows: parts of a pool, on other processes or in a file, give the same settings,
bit for bit where the candidates are the same (`by_blocks`).
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.blocks import gather_rows
from gfa_jax.checks import check_kind, check_neighbors, check_rows
from gfa_jax.selection import evidence, metric, shared
from gfa_jax.types import Array, Neighbors

# The row itself and the largest neighbourhood that is asked about.
WIDTH = max(shared.SIZES) + 1
SAMPLE_SIZE = 8192

_LEAST_WEIGHT = 0.5  # of the candidates of a row, whose own is 1
_BLOCK = 1024
_ROWS = 256  # fetched with their candidates at once: 30 MB at W = 57, D = 512
_COSINE_BINS = 400
_Z_ENDS = np.linspace(-2, 14, 81)


class Evidence(NamedTuple):
    """What was seen of a pool, for a report and a plot."""

    # Cosine of the features at which the posterior of an edge passes one half; NaN
    # where no cosine tells most such edges from the others.
    half_cosine: float
    edges_per_row: float  # mean number of candidates with a posterior >= one half
    weight_per_row: float  # mean of Σ_j w_ij without the row itself: how far rows move
    center: float  # z₀, at which the posterior of an edge is one half
    spread: float  # mean of s_i, the spread of the cosines of strangers
    sizes: tuple[int, ...]  # the K that were compared
    closure: np.ndarray  # κ, mean closure beyond chance at each of them
    z: np.ndarray  # [B + 1] ends of bins of z_ij
    candidates: np.ndarray  # [B] candidates a row in each
    strangers: np.ndarray  # [B] strangers a row that the null expects in each
    text: str  # one sentence for each setting
    distrust: str  # what speaks against the result; empty where nothing does


class Measured(NamedTuple):
    """What the weights of all rows were made of, for rows that come later."""

    pool: metric.PoolMetric
    sample: np.ndarray  # [S] rows from which it was measured
    closures: np.ndarray  # [N, len(sizes)] κ_i(K)
    length: np.ndarray  # [N] ‖B (F_i − m)‖
    rows: evidence.RowEvidence  # each [N]


class Settings(NamedTuple):
    """What `choose_settings` returns.

    Attributes:
        k: K of the pool, the row itself not counted.
        num_steps: T.
        gamma: the step, 1: the weights say how far a row moves.
        neighbors: [n, M] candidates that count, the row itself first.
        weights: [n, M] float32 w_ij, 1 for the row itself.
        dropped: [n] bool, rows that take no part.
        evidence: what was seen.
        measured: what the weights were made of.
    """

    k: int
    num_steps: int
    gamma: float
    neighbors: Neighbors
    weights: np.ndarray
    dropped: np.ndarray
    evidence: Evidence
    measured: Measured

    def __repr__(self) -> str:
        """Says the settings in one line."""
        return (
            f"Settings(k={self.k}, num_steps={self.num_steps}, gamma={self.gamma:g}, "
            f"half_cosine={self.evidence.half_cosine:.3f}, "
            f"dropped={int(self.dropped.sum())} of {len(self.dropped)})"
        )


def choose_settings(
    features: Array,
    neighbors: Neighbors,
    *,
    first_row: int = 0,
    fetch: Callable[[np.ndarray], Array] | None = None,
    gather: Callable[[np.ndarray], np.ndarray] | None = None,
    seed: int = 0,
    constants: evidence.Constants = evidence.CONSTANTS,
) -> Settings:
    """Chooses weights, K, T and the rows to drop; sees no label and has no option.

    w_ij as in evidence.py; K where the mean closure is most beyond chance (shared.py),
    K_i likewise;
    T = max(1, ⌊2 + log₂(K / 5)⌋): the larger a group beside the five nearest that
    every row has, the more updates carry its mean to all of its rows. T = 1 where the
    candidates weigh less than half of the row itself: there is little to follow.

        settings = choose_settings(features, exact_neighbors(features, k=WIDTH))
        aggregate(features, settings.neighbors, Params(settings.gamma, -1.0),
                  num_steps=settings.num_steps, weights=settings.weights)

    Args:
        features: [n, D] floating unit rows: all of a pool, or those of this process;
            an array or a memory map.
        neighbors: [n, C] candidates, nearest first, the row itself in column 0; C of
            `WIDTH`, or fewer (N at most): K is at most C − 1.
        first_row: number of the first of the n rows among all N.
        fetch: gives unit rows of the pool by their numbers, [m] to [m, D], where
            `features` are not all of them.
        gather: joins what each process has of its rows, [n, ...] to [N, ...].
        seed: of the sample of 8,192 rows from which the metric is measured.
        constants: of the rule, for the study of what each of them does
            (experiments/studies/evidence.py); not to be tuned to a pool.

    Returns:
        Settings.

    Raises:
        ValueError: lists that do not begin with their row.

    Cost: O(n C D) for the cosines, O(n D²) for their null, O(n C³) comparisons for the
    neighbours shared. Memory: [N, C] integers, [n, C] floats, one block.

    Examples:
        >>> neighbors = gfa.exact_neighbors(features, k=gfa.selection.WIDTH)
        >>> settings = gfa.choose_settings(features, neighbors)
        >>> refined = gfa.aggregate(
        ...     features,
        ...     settings.neighbors,
        ...     gfa.Params(settings.gamma, threshold=-1.0),
        ...     num_steps=settings.num_steps,
        ...     weights=settings.weights,
        ... ).features
    """
    check_kind("neighbors", neighbors, Neighbors)
    # Those of other processes' rows are checked there.
    num_rows = len(neighbors.indices) if gather is None else np.iinfo(np.int32).max
    indices = np.asarray(check_neighbors(features, neighbors, num_rows=num_rows))
    check_rows(features)
    rows = np.arange(first_row, first_row + len(indices))
    if np.any(indices[:, 0] != rows):
        raise ValueError(
            "the candidates do not begin with their row; expected each row in column 0 "
            "of its own: gfa_jax.neighbors.place_self puts it there"
        )
    indices, similarity = (
        indices[:, :WIDTH],
        np.asarray(neighbors.similarity)[:, :WIDTH],
    )
    if indices.shape[1] == 1:  # two rows, of which a search counts the row itself
        indices = np.pad(indices, [(0, 0), (0, 1)], constant_values=-1)
        similarity = np.pad(similarity, [(0, 0), (0, 1)], constant_values=-np.inf)

    def join(own: Array) -> np.ndarray:
        return np.asarray(own) if gather is None else gather(np.asarray(own))

    is_other = indices >= 0
    is_other[:, 0] = False
    pool_lists = join(indices)
    num_rows = len(pool_lists)
    ks = shared.sizes(indices.shape[1] - 1)
    closures = join(np.asarray(shared.closure(indices, pool_lists, ks=ks)))
    closures = shared.beyond_chance(closures, ks=ks, num_rows=num_rows)
    k, row_k = shared.choose_size(
        closures, indices[:, :6], ks=ks, pool_share=constants.pool_share
    )
    closure = closures.mean(axis=0)

    pool, sample, lengths, cosines, null = _measure(
        features, indices, fetch, join, num_rows, seed
    )
    null = metric.without_mates(
        null,
        np.where(is_other, cosines, np.nan)[:, 1 : 1 + k],
        share=constants.excluded * max(float(closure[ks.index(k)]), 0),
        num_rows=num_rows,
    )
    scale, nearest = map(np.asarray, evidence.local_scale(cosines, is_other))
    all_rows = evidence.RowEvidence(
        join(null.mean), join(null.spread), join(scale), join(nearest)
    )
    dropped = evidence.find_dropped(
        indices, is_other, all_rows.nearest, rows, share=constants.distant
    )
    is_dropped = join(dropped)
    is_edge = is_other & ~dropped[:, None] & ~is_dropped[indices]

    center = evidence.posterior_center(num_rows, k, constants=constants)

    def weigh(cosines, shares, is_edge, indices):
        own, theirs = (
            evidence.RowEvidence(*(np.asarray(x)[places] for x in all_rows))
            for places in (indices[:, :1], indices)
        )
        return _weigh(
            cosines, shares, is_edge, own, theirs, center, constants=constants
        )

    shares = np.asarray(shared.shared_neighbors(indices, pool_lists, k=k))
    columns = cosines, shares, is_edge, indices
    weights, z = by_blocks(weigh, columns, first_row, size=_at_once(_BLOCK))
    kept, kept_weights = keep_heaviest(
        Neighbors(indices, similarity), weights, row_k, columns=int(join(row_k).max())
    )
    seen = _describe(
        similarity,
        is_edge,
        weights,
        z,
        join,
        closure,
        ks,
        center=center,
        spread=float(all_rows.spread.mean()),
    )
    num_steps = 1
    if seen.weight_per_row >= _LEAST_WEIGHT:
        num_steps = max(1, math.floor(constants.least_steps + math.log2(k / 5)))
    seen = seen._replace(
        **_explain(seen, k, num_steps, int(is_dropped.sum()), num_rows)
    )
    measured = Measured(pool, sample, closures, lengths, all_rows)
    return Settings(k, num_steps, 1.0, kept, kept_weights, dropped, seen, measured)


_weigh = jax.jit(evidence.edge_weights, static_argnames="constants")
_take = jax.jit(gather_rows)


def _measure(features, indices, fetch, join, num_rows: int, seed: int):
    """Measures the pool, a_ij of the candidates, and the null of the rows."""
    take = fetch or (lambda numbers: features[numbers])
    if fetch is None and isinstance(features, jax.Array):
        take = functools.partial(_take, features)
    sample = np.arange(num_rows)
    if num_rows > SAMPLE_SIZE:
        sample = np.sort(
            np.random.default_rng(seed).choice(num_rows, SAMPLE_SIZE, replace=False)
        )
    pool = metric.measure_pool(take(sample))
    first = int(indices[0, 0])
    null = metric.RowNull(
        *by_blocks(
            lambda rows: metric.measure_rows(rows, pool),
            (features,),
            first,
            size=_at_once(_BLOCK),
        )
    )
    lengths = join(null.length)

    def cosines_of(own):
        near = np.maximum(own, 0)
        return (_block_cosines(take(near.ravel()), lengths[near], pool),)

    (cosines,) = by_blocks(cosines_of, (indices,), first, size=_at_once(_ROWS))
    return pool, sample, lengths, cosines, null


def _at_once(num_rows: int) -> int:
    """Takes sixteen times as many rows where each call would wait for the host."""
    return num_rows if jax.default_backend() == "cpu" else 16 * num_rows


def by_blocks(function: Callable, columns: tuple, first_row: int, *, size: int):
    """Calls a function of rows on blocks that begin at multiples of `size` among all N.

    The last bits of a product depend on the shape that is multiplied and the place in
    it: this way a row has the same ones in any part of the pool. Zeros fill blocks up.
    """
    found, stop = [], first_row + len(columns[0])
    for start in range(first_row // size * size, stop, size):
        own = np.arange(max(start, first_row), min(start + size, stop))
        part = slice(own[0] - first_row, own[-1] + 1 - first_row)
        ends = own[0] - start, start + size - 1 - own[-1]
        filled = (
            np.pad(x, [ends] + [(0, 0)] * (x.ndim - 1))
            for x in (np.asarray(column[part]) for column in columns)
        )
        found.append([np.asarray(x)[own - start] for x in function(*filled)])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


@jax.jit
def _block_cosines(around, lengths, pool):
    """Evaluates a_ij of B rows and their candidates, [B W, D], the row itself first."""
    around = around.astype(jnp.float32).reshape(*lengths.shape, -1)
    return jax.vmap(
        lambda near, length: metric.pool_cosines(
            near[0], near, (length[0], length), pool
        )
    )(around, lengths)


def keep_heaviest(
    neighbors: Neighbors, weights: np.ndarray, row_k: np.ndarray, *, columns: int
) -> tuple[Neighbors, np.ndarray]:
    """Keeps the K_i heaviest candidates of each row, after the row itself."""
    order = np.argsort(-weights[:, 1:], axis=1, kind="stable")[:, :columns] + 1
    order = np.hstack([np.zeros((len(order), 1), order.dtype), order])
    indices, similarity, chosen = (
        np.take_along_axis(x, order, axis=1) for x in (*neighbors, weights)
    )
    chosen[np.arange(order.shape[1]) > row_k[:, None]] = 0
    chosen[:, 0] = 1
    counts = chosen > 0
    kept = np.where(counts, indices, -1), np.where(counts, similarity, -np.inf)
    return Neighbors(*kept), chosen


def _describe(
    similarity, is_edge, weights, z, join, closures, ks, *, center, spread
) -> Evidence:
    """Sums up the edges of the whole pool."""
    trusted = is_edge & (z >= center)
    sums = join(np.stack([trusted.sum(axis=1), weights.sum(axis=1)], axis=1))
    edges_per_row, weight_per_row = sums.mean(axis=0, dtype=np.float64)

    def count(values, ends):
        return join(np.histogram(values, ends)[0][None]).sum(axis=0)

    # The cosine that parts the trusted candidates from the others with least error.
    ends = np.linspace(-1, 1, _COSINE_BINS + 1)
    yes = count(similarity[trusted], ends)
    no = count(similarity[is_edge & ~trusted], ends)
    wrong = np.cumsum(np.r_[0, yes]) + np.cumsum(np.r_[0, no[::-1]])[::-1]
    cut = np.argmin(wrong)
    half = float(ends[cut]) if yes[cut:].sum() > yes[:cut].sum() else math.nan
    normal = [0.5 * (1 + math.erf(end / math.sqrt(2))) for end in _Z_ENDS]
    return Evidence(
        half,
        float(edges_per_row),
        float(weight_per_row),
        center,
        spread,
        ks,
        closures,
        _Z_ENDS,
        count(z[is_edge], _Z_ENDS) / len(sums),
        np.diff(normal) * (len(sums) - 1),
        "",
        "",
    )


def _explain(seen: Evidence, k: int, num_steps: int, num_dropped: int, num_rows: int):
    """Says in words what was found."""
    text = [
        f"K = {k}: the neighbourhoods are most closed at this size "
        f"({max(seen.closure.max(), 0):.2f} of the way from chance to closed).",
        f"T = {num_steps}, gamma = 1: weights say how far a row moves, "
        f"{seen.weight_per_row:.2g} on average beside 1 for itself.",
    ]
    if math.isnan(seen.half_cosine):
        text.append("No cosine of the features tells likely edges from unlikely ones.")
    else:
        text.append(
            f"The posterior of an edge passes one half at a cosine of about "
            f"{seen.half_cosine:.2f}; {seen.edges_per_row:.2g} candidates a row do."
        )
    if num_dropped:
        text.append(f"{num_dropped} outliers are dropped.")
    distrust = []
    if seen.weight_per_row < _LEAST_WEIGHT:
        distrust.append(
            "hardly any edge stands out from chance: the features are left nearly as "
            "they are"
        )
    elif seen.weight_per_row < 1:
        distrust.append("edges weigh less than the rows themselves: little to follow")
    if num_dropped > 0.2 * num_rows:
        distrust.append(f"{num_dropped / num_rows:.0%} of the rows are dropped")
    return {"text": " ".join(text), "distrust": "; ".join(distrust)}
