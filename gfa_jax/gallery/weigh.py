"""What a row that comes later is worth to those of the pool, and where they move it.

The formulas are those of `gfa_jax.selection` and `gfa_jax.aggregation`, of some rows by
their lists instead of all, with what was measured of the pool. Rows go through in
blocks of one shape, so that whatever number of them is compiled once.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.aggregation import add_neighbors, step
from gfa_jax.blocks import Pool
from gfa_jax.gallery.types import Gallery
from gfa_jax.selection import evidence, metric, shared
from gfa_jax.selection.settings import (
    block_cosines,
    by_blocks,
    keep_heaviest,
    weigh_edges,
)
from gfa_jax.types import DEFAULT, Array, Neighbors, Params

_BLOCK = 16
_CONSTANTS = evidence.CONSTANTS


class Seen(NamedTuple):
    """What is measured of n rows and their lists."""

    cosines: np.ndarray  # [n, W] a_ij
    length: Array  # [n]
    rows: evidence.RowEvidence  # each [n]


def see(gallery: Gallery, features: np.ndarray, lists: np.ndarray) -> Seen:
    """Measures rows [n, D] and their lists [n, W], in whose column 0 they stand."""
    pool = gallery.pool

    def measure(features, lists):
        null = metric.measure_rows(features, pool)
        near = np.maximum(lists, 0)
        lengths, around = gallery.length[near], gallery.stages[0][near]
        lengths[:, 0], around[:, 0] = null.length, features
        around = around.reshape(-1, features.shape[1])
        cosines = block_cosines(around, lengths, pool)
        return cosines, *_scale(cosines, others(lists)), *null

    columns = features, lists
    cosines, scale, nearest, *null = _by_blocks(measure, columns)
    closure = gallery.closure[sizes(gallery).index(gallery.k)]
    null = metric.without_mates(
        metric.RowNull(*null),
        np.where(others(lists), cosines, np.nan)[:, 1 : 1 + gallery.k],
        share=_CONSTANTS.excluded * max(float(closure), 0),
        num_rows=gallery.num_measured,
    )
    rows = evidence.RowEvidence(null.mean, null.spread, scale, nearest)
    return Seen(cosines, null.length, rows)


def lengths(gallery: Gallery, features: np.ndarray) -> np.ndarray:
    """Evaluates ‖B (F_i − m)‖ of rows [n, D]."""
    pool = gallery.pool
    return _by_blocks(lambda rows: metric.measure_rows(rows, pool), (features,))[0]


def close(gallery: Gallery, lists: np.ndarray) -> Any:
    """Evaluates κ_i(K) of lists [n, W]: [n, S]."""
    ks = sizes(gallery)
    width = max(ks) + 1

    def close_block(lists):
        theirs = gallery.candidates[np.maximum(lists, 0), :width]
        return (_close(lists, theirs, ks=ks),)

    (closures,) = _by_blocks(close_block, (lists[:, :width],))
    return shared.beyond_chance(closures, ks=ks, num_rows=gallery.num_measured)


def row_sizes(gallery: Gallery, lists: np.ndarray, closures: np.ndarray) -> Any:
    """Chooses K_i, [n], by the κ of the rows, [n, S], and of their nearest."""
    near = lists[:, 1:6]
    around = [closures[:, None], gallery.closures[np.maximum(near, 0)]]
    known = np.hstack([np.ones((len(near), 1), bool), near >= 0])
    return shared.choose_row_sizes(
        np.concatenate(around, axis=1),
        known,
        gallery.closure,
        ks=sizes(gallery),
        pool_share=_CONSTANTS.pool_share,
    )


def find_dropped(gallery: Gallery, lists: np.ndarray, nearest: Array) -> np.ndarray:
    """Finds outliers by their lists [n, W] and b_i, [n]: bool."""
    least = _CONSTANTS.distant * gallery.pool_nearest
    return evidence.find_dropped(
        lists, others(lists), gallery.nearest < least, nearest < least
    )


def weigh(
    gallery: Gallery,
    lists: np.ndarray,
    cosines: np.ndarray,
    seen: Seen,
    dropped: np.ndarray,
    row_k: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighs the candidates: the edges that count, [n, M], w_ij, and z_ij [n, W].

    Takes lists and cosines [n, W], and of the rows what was seen of them, whether they
    are dropped, and K_i; of those that they lead to the gallery knows it.
    """
    k = gallery.k

    def weigh_block(lists, cosines, dropped, *own):
        near = np.maximum(lists, 0)
        is_edge = others(lists) & ~dropped[:, None] & ~gallery.dropped[near]
        shares = _share(lists, gallery.candidates[near, : k + 1])
        own = evidence.RowEvidence(*(x[:, None] for x in own))
        theirs = evidence.RowEvidence(*(x[near] for x in gallery.evidence))
        return weigh_edges(
            cosines,
            shares,
            is_edge,
            own,
            theirs,
            np.float32(gallery.center),
            constants=_CONSTANTS,
        )

    columns = lists, seen.cosines, dropped, *seen.rows
    weights, z = _by_blocks(weigh_block, columns)
    columns = gallery.edges.shape[1] - 1
    edges, weights = keep_heaviest(
        Neighbors(lists, cosines), weights, row_k, columns=columns
    )
    return np.asarray(edges.indices), weights, z


def advance(
    gallery: Gallery,
    t: int,
    features: np.ndarray,
    edges: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Makes update t of rows [n, D] as they stand before it, by edges [n, M]."""
    gamma = gallery.gamma[t]

    def advance_block(features, edges, weights):
        around = gallery.stages[t][np.maximum(edges, 0)]
        around[:, 0] = features
        return (_advance(features, around, weights, gamma),)

    return _by_blocks(advance_block, (features, edges, weights))[0]


def score(gallery: Gallery, refined: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """Evaluates the cosines of refined rows [n, D] with those of lists [n, W]."""
    scores = np.full(lists.shape, -np.inf, np.float32)
    for row, (feature, near) in enumerate(zip(refined, lists, strict=True)):
        known = near >= 0
        scores[row, known] = gallery.stages[-1, near[known]] @ feature
    return scores


@jax.jit
def _advance(features, around, weights, gamma):
    """Updates rows [n, D] by those they lead to, [n, M, D], and w_ij: Eq. 6 and 2."""
    options, params = DEFAULT, Params(gamma, -1.0)

    def advance_row(feature, around, weight):
        sums = add_neighbors(
            jnp.int32(0),
            feature,
            jnp.arange(len(around)),
            weight,
            pool=Pool(around),
            first_row=0,
            params=params,
            options=options,
        )
        return step(feature, sums, params, renormalize=options.renormalize)[0]

    return jax.vmap(advance_row)(features, around, weights)


def others(lists: np.ndarray) -> np.ndarray:
    """Tells which slots of lists [n, W] hold another row."""
    is_other = lists >= 0
    is_other[:, 0] = False
    return is_other


def sizes(gallery: Gallery) -> tuple[int, ...]:
    """Lists the K that were compared."""
    return tuple(gallery.sizes.tolist())


_scale = jax.jit(evidence.local_scale)
_share = jax.jit(jax.vmap(shared.share_row))


@functools.partial(jax.jit, static_argnames="ks")
def _close(lists, theirs, *, ks):
    return jax.vmap(functools.partial(shared.close_row, ks=ks))(lists, theirs)


def _by_blocks(function, columns):
    """Calls `by_blocks`, of no rows as well."""
    count = len(columns[0])
    if not count:
        columns = [np.zeros((1, *x.shape[1:]), x.dtype) for x in columns]
    return [x[:count] for x in by_blocks(function, tuple(columns), size=_BLOCK)]
