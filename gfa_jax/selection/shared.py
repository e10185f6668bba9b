"""Shared neighbours: how closed a neighbourhood is, and whether two rows have the same.

Of the K nearest others N_K(i) of a row, the closure

    c_i(K) = |{(j, l) : j ∈ N_K(i), l ∈ N_K(j), l ∈ N_K(i) ∪ {i}}| / K²

is the share of their own nearest that lie in it too. Where the pool is made of groups
of m rows it rises up to K ≈ m and falls beyond, since larger neighbourhoods reach into
other groups; where groups are pairs or single rows it falls from the start. So the K at
which it is largest is the size at which the pool is best parted into neighbourhoods
(the conductance of a cut, as in local graph clustering: Andersen, Chung and Lang
2006). Only ranks enter: no monotone change of the cosines moves it. A row taken at
random lies in N_K(i) ∪ {i} by chance (K + 1) / N of the times; what is compared is the
closure beyond chance, corrected as Cohen's kappa (1960) corrects an agreement:

    κ_i(K) = (c_i(K) − (K + 1) / N) / (1 − (K + 1) / N)

Two rows of one group have the same neighbours (Jarvis and Patrick 1973):

    J_ij = |M_i ∩ M_j| / |M_i ∪ M_j|,   M_i = N_K(i) ∪ {i}
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax.blocks import map_rows
from gfa_jax.types import Array

# Steps of a factor of √2: finer ones differ by less than the noise of a pool.
SIZES = (5, 7, 10, 14, 20, 28, 40, 56)


def sizes(num_others: int) -> tuple[int, ...]:
    """Lists the K that lists of so many others can tell apart, at least one."""
    return tuple(k for k in SIZES if k <= num_others) or (num_others,)


@functools.partial(jax.jit, static_argnames="ks")
def compare(
    lists: Array, places: Array, near: Array, *, ks: tuple[int, ...] = ()
) -> jax.Array:
    """Evaluates c_i(K) for each K in `ks`, [n, len(ks)]; without any J_ij, [n, W].

    Candidates [n, W], nearest first after the row itself, have their own lists at
    `places`, [n, W], among the `near`, [M, K + 1], K the largest of `ks`. float32 in
    [0, 1], J_ij 0 in an empty slot. O(n W² K) comparisons; W K integers for each row of
    a block.
    """

    def compare_row(_, own, places):
        theirs = jnp.asarray(near).at[places].get(mode="clip")
        return close_row(own, theirs, ks=ks) if ks else share_row(own, theirs)

    row_bytes = 8 * places.shape[1] * near.shape[1]
    return map_rows(compare_row, (lists, places), row_bytes=row_bytes)


def close_row(own: jax.Array, theirs: jax.Array, *, ks: tuple[int, ...]) -> jax.Array:
    """Evaluates c_i(K), [len(ks)], by the row's list [W] and those it leads to, [W, W].

    W is the largest of `ks` and one more.
    """
    ranks = _ranks(own, theirs)[1:, 1:]
    place = jnp.arange(1, len(own))
    # An edge lies within N_K(i) from this K on.
    reach = jnp.maximum(ranks, jnp.maximum(place[:, None], place[None]))
    reach = jax.lax.optimization_barrier(reach)  # or each sum finds it anew
    # Column by column first, which is compiled to vector instructions.
    counts = jnp.stack([jnp.sum(reach <= k, axis=0) for k in ks])
    return (jnp.sum(counts, axis=1) / jnp.array(ks) ** 2).astype(jnp.float32)


def share_row(own: jax.Array, theirs: jax.Array) -> jax.Array:
    """Evaluates J_ij, [W], by the row's list [W] and those it leads to, [W, K + 1]."""
    size = theirs.shape[1]
    common = jnp.sum(_ranks(own, theirs) < size, axis=1)
    return jnp.where(own >= 0, common / (2 * size - common), 0).astype(jnp.float32)


def _ranks(own: jax.Array, theirs: jax.Array) -> jax.Array:
    """Finds candidates of candidates in the row's own list: [W, width], or width."""
    width = theirs.shape[1]
    known = (own >= 0)[:, None] & (theirs >= 0)
    # One place after the other: compiled to one pass, without a reduction.
    place = jnp.full(theirs.shape, width)
    for rank in reversed(range(width)):
        place = jnp.where(theirs == own[rank], rank, place)
    return jnp.where(known, place, width)


def beyond_chance(
    closures: Array, *, ks: tuple[int, ...], num_rows: int, xp: Any = np
) -> Any:
    """Evaluates κ_i(K) from c_i(K), [n, len(ks)]; 0 where K takes in the whole pool.

    `xp`, here and below, is the library of the arrays.
    """
    chance = (np.asarray(ks)[None] + 1) / num_rows
    beyond = (closures - chance) / np.maximum(1 - chance, 1e-9)
    return xp.where(chance < 1, beyond, 0)


def choose_sizes(
    closures: Array,
    nearest: Array,
    *,
    ks: tuple[int, ...],
    pool_share: float,
    xp: Any = np,
) -> tuple[Array, Array]:
    """Evaluates the mean κ(K) of the pool, [len(ks)], and K_i, [n] int32.

    K is the argmax of the mean, K_i that of κ_i(K) averaged over row i and its five
    nearest, [n, 6], beside which the pool's mean counts `pool_share` times.
    """
    mean, known = closures.mean(axis=0), nearest >= 0
    options = {"ks": ks, "pool_share": pool_share, "xp": xp}
    return mean, choose_row_sizes(closures[nearest], known, mean, **options)


def choose_row_sizes(
    closures: Array,
    known: Array,
    mean: Array,
    *,
    ks: tuple[int, ...],
    pool_share: float,
    xp: Any = np,
) -> Array:
    """Chooses K_i by the κ(K) of rows and their nearest, [n, 6, len(ks)], as above."""
    known = known[..., None]
    around = xp.where(known, closures, 0).sum(axis=1) / known.sum(axis=1)
    best = xp.argmax(around + pool_share * mean[None], axis=1)
    return xp.asarray(ks, dtype=xp.int32)[best]
