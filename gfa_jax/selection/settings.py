"""All that `aggregate` needs, chosen from the pool: edges, K, T and dropped rows.

    candidates ─► closure ─► K, K_i, T ─► strangers of each row ─► z_ij ─► w_ij
    pool statistics of a sample ─► a_ij ──┘                        K_i largest ◄┘

Every number of a row comes from the row, its candidates and what a few numbers a row
say of those, and the numbers of the pool from a sample drawn by a seed or from means
over all rows: `gfa_jax.streaming.settings` gives the same settings bit for bit, part by
part (`by_blocks`).
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.blocks import gather_rows, map_blocks
from gfa_jax.checks import check_neighbors, check_rows, is_host
from gfa_jax.selection import evidence, metric, shared, summary
from gfa_jax.selection.summary import Evidence
from gfa_jax.types import Array, Neighbors

# The row itself and the largest neighbourhood that is asked about.
WIDTH = max(shared.SIZES) + 1
SAMPLE_SIZE = 8192

_BLOCK = 1024
_ROWS = 256  # fetched with their candidates at once: 30 MB at W = 57, D = 512


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
        neighbors: [N, M] candidates that count, the row itself first.
        weights: [N, M] float32 w_ij, 1 for the row itself; as the neighbors on an
            accelerator, where that has the features.
        dropped: [N] bool, rows that take no part.
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
    seed: int = 0,
    constants: evidence.Constants = evidence.CONSTANTS,
) -> Settings:
    """Chooses weights, K, T and the rows to drop; sees no label and has no option.

    w_ij as in evidence.py; K where the mean closure is most beyond chance (shared.py),
    K_i likewise; T = max(1, ⌊2 + log₂(K / 5)⌋): the larger a group beside the five
    nearest that every row has, the more updates carry its mean to all of its rows.
    T = 1 where the candidates weigh less than half of the row itself: there is little
    to follow.

    Args:
        features: [N, D] floating unit rows, an array or a memory map.
        neighbors: [N, C] candidates, nearest first, the row itself in column 0; C of
            `WIDTH`, or fewer (N at most): K is at most C − 1.
        seed: of the sample of 8,192 rows from which the metric is measured.
        constants: of the rule, for the study of what each of them does
            (experiments/studies/evidence.py); not to be tuned to a pool.

    Returns:
        Settings.

    Raises:
        ValueError: lists that do not begin with their row.

    Cost: O(N C D) for the cosines, O(N D²) for their null, O(N C³) comparisons for the
    neighbours shared. Memory: [N, C] integers and floats, one block.
    Where an accelerator has the features it also keeps what is found, and of the rows
    only `dropped` and two sums of each come to the host. 2 N D (C + 3 D) operations;
    12 N C D bytes for the cosines, whose rows are gathered, written and read, 525 GB
    where N is 1.5 million and D is 512, beside which all else is small. Memory beyond
    the features: 95 N C bytes, 8 GB there, or 0.5 GB of a block where that is more.

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
    indices = check_neighbors(features, neighbors)
    check_rows(features)
    xp: Any = np if is_host(features) else jnp
    call = functools.partial(_call, xp=xp)
    columns = xp.asarray(indices), xp.asarray(neighbors.similarity)
    indices, similarity, is_other, is_led = call(_prepare, *columns)
    check_led(is_led)
    num_rows = len(indices)
    ks = shared.sizes(indices.shape[1] - 1)
    near = indices[:, : max(ks) + 1]
    closures = xp.asarray(shared.compare(near, near, near, ks=ks))
    closures = call(shared.beyond_chance, closures, ks=ks, num_rows=num_rows)
    nearest, share = indices[:, :6], constants.pool_share
    closure, row_k = call(
        shared.choose_sizes, closures, nearest, ks=ks, pool_share=share
    )
    closure = np.asarray(closure)
    k = ks[int(np.argmax(closure))]

    pool, sample, cosines, null = _measure(features, indices, seed, xp)
    share = constants.excluded * max(float(closure.max()), 0)
    own = call(
        describe_rows, null, cosines, is_other, k=k, share=share, num_rows=num_rows
    )
    all_rows = evidence.RowEvidence(*map(xp.asarray, own))
    share = constants.distant
    dropped, is_edge = call(_find_edges, all_rows, indices, is_other, share=share)
    center = evidence.posterior_center(num_rows, k, constants=constants)
    shares = xp.asarray(shared.compare(indices, indices, indices[:, : k + 1]))
    weights, z = by_blocks(
        weigh(constants),
        (cosines, shares, is_edge, indices),
        of_all=(all_rows, center),
        size=_at_once(_BLOCK),
        xp=xp,
    )
    kept, kept_weights = call(
        keep_heaviest,
        Neighbors(indices, similarity),
        weights,
        row_k,
        columns=int(np.max(row_k)),
    )
    counts = call(summary.count, similarity, is_edge, weights, z, center=center)
    num_steps, seen = conclude(
        [np.asarray(part) for part in counts],
        closure,
        ks,
        center=center,
        spread=float(np.mean(all_rows.spread)),
        num_dropped=int(np.sum(dropped)),
        constants=constants,
    )
    measured = Measured(
        pool,
        sample,
        np.asarray(closures),
        np.asarray(null.length),
        evidence.RowEvidence(*map(np.asarray, all_rows)),
    )
    dropped = np.asarray(dropped)
    return Settings(k, num_steps, 1.0, kept, kept_weights, dropped, seen, measured)


def _call(function: Callable, *operands: Any, xp: Any, **options: Any) -> Any:
    """Calls a function of NumPy or of jax.numpy, which it is told as `xp`.

    That of jax.numpy is compiled, with the float64 that NumPy has, once for all pools
    of a shape: what the pool says is traced.
    """
    if xp is np:
        return function(*operands, xp=xp, **options)
    static = [name for name, value in options.items() if not isinstance(value, float)]
    with jax.enable_x64(True):
        return _compiled(function, ("xp", *static))(*operands, xp=xp, **options)


@functools.cache
def _compiled(function: Callable, static: tuple[str, ...]) -> Callable:
    return jax.jit(function, static_argnames=static)


def cut_lists(indices: Array, similarity: Array, *, xp: Any = np) -> tuple:
    """Cuts lists [n, C] to W, at least two."""
    indices, similarity = indices[:, :WIDTH], similarity[:, :WIDTH]
    if indices.shape[1] == 1:  # two rows, of which a search counts the row itself
        indices = xp.pad(indices, [(0, 0), (0, 1)], constant_values=-1)
        similarity = xp.pad(similarity, [(0, 0), (0, 1)], constant_values=-np.inf)
    return indices, similarity


def find_others(indices: Array) -> Any:
    """Tells which slots of lists [n, W] hold another row, [n, W] bool."""
    return (indices >= 0) & (np.arange(indices.shape[1]) > 0)[None]


def check_led(is_led: Any) -> None:
    """Refuses lists of which one does not begin with its row."""
    if not is_led:
        raise ValueError(
            "the candidates do not begin with their row; expected each row in column 0 "
            "of its own: gfa_jax.neighbors.place_self puts it there"
        )


def _prepare(indices: Array, similarity: Array, *, xp: Any):
    """Cuts lists [N, C] to W; tells which are others, and whether each row leads."""
    is_led = xp.all(indices[:, 0] == xp.arange(len(indices), dtype=np.int32))
    indices, similarity = cut_lists(indices, similarity, xp=xp)
    return indices, similarity, find_others(indices), is_led


def _measure(features, indices, seed: int, xp: Any):
    """Measures the pool, a_ij of the candidates, and the null of the rows."""
    sample = metric.draw_sample(len(features), SAMPLE_SIZE, seed=seed)
    pool = metric.measure_pool(features[sample])
    size = _at_once(_BLOCK)
    null = metric.RowNull(
        *by_blocks(metric.measure_rows, (features,), of_all=(pool,), size=size, xp=xp)
    )
    (cosines,) = by_blocks(
        candidate_cosines,
        (indices,),
        of_all=(features, null.length, pool),
        size=_at_once(_ROWS),
        xp=xp,
    )
    return pool, sample, cosines, null


def candidate_cosines(own, features, lengths, pool):
    """Evaluates a_ij of B rows for their candidates among the features, [B, W]."""
    near = own.clip(0)
    take = _take if isinstance(features, jax.Array) else operator.getitem
    return (block_cosines(take(features, near.ravel()), lengths[near], pool),)


def describe_rows(null, cosines, is_other, *, k, share, num_rows, xp: Any = np):
    """Evaluates what is known of rows by their null and a_ij: RowEvidence."""
    near = xp.where(is_other, cosines, np.nan)[:, 1 : 1 + k]
    null = metric.without_mates(null, near, share=share, num_rows=num_rows, xp=xp)
    return evidence.RowEvidence(
        null.mean, null.spread, *evidence.local_scale(cosines, is_other)
    )


def _find_edges(all_rows, indices, is_other, *, share, xp: Any):
    """Finds the rows to drop, [N], and the candidates that are not of them, [N, W]."""
    distant = all_rows.nearest < share * xp.median(all_rows.nearest)
    dropped = evidence.find_dropped(indices, is_other, distant, distant)
    return dropped, is_other & ~dropped[:, None] & ~dropped[indices]


weigh_edges = jax.jit(evidence.edge_weights, static_argnames="constants")
_take = jax.jit(gather_rows)


@functools.cache
def weigh(constants: evidence.Constants) -> Callable:
    """Returns what weighs the edges of a block, with what is known of all rows."""

    def weigh(cosines, shares, is_edge, indices, all_rows, center):
        own, theirs = (
            evidence.RowEvidence(*(x[places] for x in all_rows))
            for places in (indices[:, :1], indices)
        )
        return weigh_edges(
            cosines, shares, is_edge, own, theirs, center, constants=constants
        )

    return weigh


def conclude(
    counts, closure, ks, *, center, spread, num_dropped: int, constants
) -> tuple[int, Evidence]:
    """Chooses T by what `summary.count` found in all rows; says what was seen."""
    seen = summary.describe(counts, closure, ks, center=center, spread=spread)
    k, num_steps = ks[int(np.argmax(closure))], 1
    if seen.weight_per_row >= summary.LEAST_WEIGHT:
        num_steps = max(1, math.floor(constants.least_steps + math.log2(k / 5)))
    said = summary.explain(seen, k, num_steps, num_dropped, len(counts[0]))
    return num_steps, seen._replace(**said)


def _at_once(num_rows: int) -> int:
    """Takes sixteen times as many rows where each call would wait for the host."""
    return num_rows if jax.default_backend() == "cpu" else 16 * num_rows


def by_blocks(
    function: Callable, columns: tuple, *, of_all: tuple = (), size: int, xp: Any = np
):
    """Calls a function of rows on blocks of `size`, the last filled up with zeros.

    The last bits of a product depend on the shape that is multiplied and the place in
    it: this way a row has the same ones in any part of the pool that begins at a
    multiple of `size`. `of_all` comes after the rows of each block. jax.numpy's are one
    compiled program, of all rows of a pool.
    """
    if xp is not np:
        return _on_device(function, columns, of_all, size=size)
    found = []
    for start in range(0, len(columns[0]), size):
        block = [np.asarray(column[start : start + size]) for column in columns]
        count = len(block[0])
        if count < size:
            ends = (0, size - count)
            block = [np.pad(x, [ends] + [(0, 0)] * (x.ndim - 1)) for x in block]
        found.append([np.asarray(x)[:count] for x in function(*block, *of_all)])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


@functools.partial(jax.jit, static_argnames=("function", "size"))
def _on_device(function, columns, of_all, *, size: int):
    return map_blocks(
        lambda *rows: tuple(function(*rows, *of_all)), columns, block_size=size
    )


@jax.jit
def block_cosines(around, lengths, pool):
    """Evaluates a_ij of B rows and their candidates, [B W, D], the row itself first."""
    around = around.astype(jnp.float32).reshape(*lengths.shape, -1)
    return jax.vmap(
        lambda near, length: metric.pool_cosines(
            near[0], near, (length[0], length), pool
        )
    )(around, lengths)


def keep_heaviest(
    neighbors: Neighbors, weights: Array, row_k: Array, *, columns: int, xp: Any = np
) -> tuple[Neighbors, Any]:
    """Keeps the K_i heaviest candidates of each row, after the row itself."""
    order = xp.argsort(-weights[:, 1:], axis=1, stable=True)[:, :columns] + 1
    order = xp.pad(order, [(0, 0), (1, 0)])
    indices, similarity, chosen = (
        xp.take_along_axis(x, order, axis=1) for x in (*neighbors, weights)
    )
    place = xp.arange(order.shape[1])[None]
    chosen = xp.where(place > row_k[:, None], 0, chosen)
    chosen = xp.where(place == 0, 1, chosen)
    counts = chosen > 0
    kept = xp.where(counts, indices, -1), xp.where(counts, similarity, -np.inf)
    return Neighbors(*kept), chosen
