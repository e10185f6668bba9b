"""Rows that come and go.

A gallery is *settled* when every row is what all others make of it: when, with what was
measured of the pool, it is the one that these rows would be given at once. The lists
always are; what follows from them does so row by row,

    lists ─► a_ij, μ_i, s_i, d_i, b_i ─► w_ij ─► F_i^1 ─► … ─► F_i^T
        └─► κ_i ─► K_i ─┘ J_ij ─┘

`insert` goes once along this line, for the new rows and for those that have one of them
among their K_i nearest. `settle` follows every change to its end, and so does `remove`.
"""

from typing import Any

import numpy as np

from gfa_jax.gallery import lists as nearest
from gfa_jax.gallery import weigh
from gfa_jax.gallery.create import cluster_anew
from gfa_jax.gallery.lists import Search
from gfa_jax.gallery.types import ROW_AXIS, Gallery, resize

# Share of the rows that may join clusters one by one before all are clustered anew.
PLACED = 0.02


def insert(
    gallery: Gallery,
    features: Any,
    ids: Any,
    *,
    search: Search | None = None,
    donate: bool = False,
) -> Gallery:
    """Puts rows into a gallery.

    The lists of all rows become those of the larger pool. The new rows, and the rows
    that have one of them among their nearest K or K_i, are weighed and refined anew,
    from their neighbours as these stand; further rows, which see the new ones only
    through others, stay until `settle` or `refresh`.

    Each new row joins the cluster of its most similar candidate that is as likely the
    same as not; rows without one begin a cluster. Where these are more than a fiftieth
    of all rows, all are clustered anew, as by `recluster`.

    Args:
        gallery: of any number of rows.
        features: [n, D] rows of any length, n >= 1.
        ids: [n] integers in [0, 2⁶³) that the gallery does not have.
        search: as for `create`, among the rows before the insert. The lists are then
            as good as it is.
        donate: whether the arrays of the gallery given are taken for the new one,
            where they have room and are no map of a file: without a copy, and the
            gallery given is not to be used after.

    Returns:
        Gallery of N + n rows, in arrays of at most twice as many.

    Raises:
        ValueError: what was got, what was expected; the gallery is as it was.

    Cost: n N D multiply-adds for the search; about 60 µs for each of about n K rows
    that are refined again. Memory: a copy of the gallery, unless donated.

    Examples:
        >>> gallery = gfa.gallery.create(features[:200])
        >>> gfa.gallery.insert(gallery, features[200:], np.arange(200, 300)).count
        300
    """
    dim = gallery.stages.shape[2]
    unit = nearest.check_new(features, dim=dim)
    keys = nearest.check_ids(ids, len(unit))
    known = np.isin(keys, gallery.ids[: gallery.count])
    if known.any():
        raise ValueError(
            f"id {keys[known][0]} is in the gallery already; expected new ids: remove "
            "it first"
        )
    old, new = gallery.count, gallery.count + len(unit)
    lists, cosines, listed = _search_new(gallery, unit, search)
    capacity = gallery.stages.shape[1]
    if new > capacity:
        gallery = resize(gallery, max(new, 2 * capacity))
    elif not donate or not all(
        getattr(gallery, name).flags.writeable for name in ROW_AXIS
    ):
        gallery = resize(gallery, capacity)
    gallery = gallery._replace(count=new, version=gallery.version + 1, settled=False)
    own = slice(old, new)
    gallery.ids[own], gallery.stages[0, own] = keys, unit
    gallery.candidates[own], gallery.cosines[own] = lists, cosines
    changed, rank = nearest.merge(gallery.candidates, gallery.cosines, listed)
    closures = gallery.closures[changed]
    row_k = weigh.row_sizes(gallery, gallery.candidates[changed], closures)
    changed = changed[rank <= np.maximum(gallery.k, row_k)]
    touched = np.append(changed, np.arange(old, new))
    updated = _update(gallery, touched, np.arange(old, new))
    if len(unit) > PLACED * new:
        updated = cluster_anew(updated)
    return updated


def _search_new(gallery, unit, search):
    """Finds the lists of new rows, and who lists them: rows, candidates, cosines."""
    count, width = gallery.count, gallery.candidates.shape[1]
    kth = gallery.cosines[:count, -1].copy()  # side by side
    if count < width:
        kth = np.full(count, -np.inf, np.float32)
    indices, cosines, (rows, others, values) = nearest.find_both_ways(
        unit, gallery.features, gallery.ids[:count], width - 1, kth, search=search
    )
    # Among themselves.
    numbers = count + np.arange(len(unit))
    found, near = nearest.find(unit, unit, numbers, min(width, len(unit)))
    both = np.hstack([indices, np.where(found < 0, -1, found + count)])
    scores = np.hstack([cosines, near])
    order = np.argsort(-scores, axis=1, kind="stable")
    both, scores = (np.take_along_axis(x, order, axis=1) for x in (both, scores))
    lists = nearest.own_first(both, scores, numbers, width=width)
    return *lists, (rows, numbers[others], values)


def _update(gallery: Gallery, touched: np.ndarray, new: np.ndarray) -> Gallery:
    """Weighs and refines rows anew, once, in the arrays of the gallery."""
    lists = gallery.candidates[touched]
    features = gallery.stages[0, touched]
    gallery.closures[new] = weigh.close(gallery, gallery.candidates[new])
    gallery.length[new] = weigh.lengths(gallery, gallery.stages[0, new])
    seen = weigh.see(gallery, features, lists)
    _write(gallery, touched, seen)
    gallery.dropped[touched] = weigh.find_dropped(gallery, lists, seen.rows.nearest)
    edges, weights, z = _weigh_rows(gallery, touched, seen)
    gallery.edges[touched], gallery.weights[touched] = edges, weights
    for t in range(gallery.num_steps):
        gallery.stages[t + 1, touched] = _advance(gallery, t, touched)
    is_likely = z[len(touched) - len(new) :] >= gallery.center
    near = np.where(is_likely, gallery.candidates[new], -1)
    return _join_clusters(gallery, new, near)


def _join_clusters(gallery: Gallery, new: np.ndarray, near: np.ndarray) -> Gallery:
    """Gives new rows the cluster of the most similar likely match, [n, W]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    near[:, 0] = -1
    scores = weigh.score(gallery, gallery.stages[-1, new], near)
    each = np.arange(len(new))
    slot = scores.argmax(axis=1)
    best, scores = near[each, slot], scores[each, slot]
    among = np.flatnonzero(best >= new[0])
    links = np.ones(len(among)), (among, best[among] - new[0])
    groups = connected_components(
        coo_array(links, shape=(len(new), len(new))), directed=False
    )[1]
    # Of those that lead each other in, one at most leads out.
    labels = np.full(groups.max() + 1, -1, np.int64)
    out = np.flatnonzero((best >= 0) & (best < new[0]))
    labels[groups[out]] = gallery.clusters[best[out]]
    fresh = np.flatnonzero(labels < 0)
    labels[fresh] = gallery.next_cluster + np.arange(len(fresh))
    gallery.clusters[new] = labels[groups]
    return gallery._replace(
        next_cluster=gallery.next_cluster + len(fresh),
        num_placed=gallery.num_placed + len(new),
    )


def remove(gallery: Gallery, ids: Any, *, search: Search | None = None) -> Gallery:
    """Takes rows out of a gallery, and out of all that was made of them.

    Lists that held one of them are searched again, every change is followed to its end,
    and all rows are clustered anew. The gallery is settled: it is the one that the
    other rows would be given at once with what was measured of the pool, and clusters
    keep the numbers of those that they continue. Nothing is left of a removed row in
    any array but for its part in the means of the sample, where it was in it:
    `refresh` measures these without it, and `drift` asks for that.

    Args:
        gallery: with these rows.
        ids: [n] integers, of rows of the gallery.
        search: as for `create`, among the rows that stay, or more.

    Returns:
        Gallery of N − n rows, in their order, in arrays of their own.

    Raises:
        ValueError: an id that the gallery does not have, or twice.

    Cost: N D multiply-adds for each row that listed a removed one, and what depends on
    those; after an `insert`, which leaves others to be settled, all rows; and that of
    `cluster`. Memory: a copy of the gallery.

    Examples:
        >>> gallery = gfa.gallery.create(features)
        >>> gfa.gallery.remove(gallery, [7, 8]).count
        298
    """
    keys = nearest.check_ids(ids)
    count = gallery.count
    gone = np.isin(gallery.ids[:count], keys)
    if gone.sum() < len(keys):
        unknown = keys[~np.isin(keys, gallery.ids[:count])]
        raise ValueError(
            f"id {unknown[0]} is not in the gallery ({len(unknown)} of {len(keys)} are "
            "not); nothing was removed"
        )
    kept = np.flatnonzero(~gone)
    number = np.where(gone, -1, np.cumsum(~gone) - 1).astype(np.int32)
    is_hit = _leads_to(gone, gallery.candidates[:count])[kept]
    forgotten = int(gallery.measured[:count][gone].sum())
    rows = {n: np.take(getattr(gallery, n), kept, axis) for n, axis in ROW_AXIS.items()}
    for name in ("candidates", "edges"):
        rows[name] = np.where(rows[name] < 0, -1, number[rows[name]])
    gallery = gallery._replace(
        **rows,
        count=len(kept),
        num_forgotten=gallery.num_forgotten + forgotten,
        version=gallery.version + 1,
    )
    hit = np.flatnonzero(is_hit)
    if len(hit):
        width = gallery.candidates.shape[1]
        found = nearest.find(
            gallery.features[hit], gallery.features, gallery.ids, width, search=search
        )
        gallery.candidates[hit], gallery.cosines[hit] = nearest.own_first(
            *found, hit, width=width
        )
    if len(kept):
        settle(gallery, is_hit | (not gallery.settled))
    return cluster_anew(gallery)._replace(settled=True)


def settle(gallery: Gallery, changed: np.ndarray) -> None:
    """Follows changes of lists, [N] bool, to their end in the arrays of the gallery."""
    count = gallery.count
    lists, features = gallery.candidates[:count], gallery.features
    rows = np.flatnonzero(changed | _leads_to(changed, lists))
    closures = weigh.close(gallery, lists[rows])
    moved = np.zeros(count, bool)
    moved[rows] = (closures != gallery.closures[rows]).any(axis=1)
    gallery.closures[rows] = closures
    dirty = changed | moved | _leads_to(moved, lists[:, :6])

    rows = np.flatnonzero(changed)
    _write(gallery, rows, weigh.see(gallery, features[rows], lists[rows]))
    dropped = weigh.find_dropped(gallery, lists, gallery.nearest[:count])
    moved = changed | (dropped != gallery.dropped[:count])
    gallery.dropped[:count] = dropped
    dirty |= moved | _leads_to(moved, lists)

    rows = np.flatnonzero(dirty)
    seen = weigh.see(gallery, features[rows], lists[rows])
    edges, weights, _ = _weigh_rows(gallery, rows, seen)
    moved = np.zeros(count, bool)
    moved[rows] = (weights != gallery.weights[rows]).any(axis=1)
    moved[rows] |= (edges != gallery.edges[rows]).any(axis=1)
    gallery.edges[rows], gallery.weights[rows] = edges, weights
    dirty = moved  # a row moves with its weights and with the rows that it leads to
    for t in range(gallery.num_steps):
        rows = np.flatnonzero(dirty)
        features = _advance(gallery, t, rows)
        is_other = np.zeros(count, bool)
        is_other[rows] = (features != gallery.stages[t + 1, rows]).any(axis=1)
        gallery.stages[t + 1, rows] = features
        dirty = moved | _leads_to(is_other, gallery.edges[:count])


def _write(gallery: Gallery, rows: np.ndarray, seen: weigh.Seen) -> None:
    for name, values in seen.rows._asdict().items():
        getattr(gallery, name)[rows] = values


def _weigh_rows(gallery: Gallery, rows: np.ndarray, seen: weigh.Seen):
    """Weighs rows by what was seen of them: edges and weights [n, M], z_ij [n, W]."""
    lists, cosines = gallery.candidates[rows], gallery.cosines[rows]
    row_k = weigh.row_sizes(gallery, lists, gallery.closures[rows])
    dropped = gallery.dropped[rows]
    return weigh.weigh(gallery, lists, cosines, seen, dropped, row_k)


def _advance(gallery: Gallery, t: int, rows: np.ndarray) -> np.ndarray:
    """Makes update t of rows."""
    edges, weights = gallery.edges[rows], gallery.weights[rows]
    return weigh.advance(gallery, t, gallery.stages[t, rows], edges, weights)


def _leads_to(marked: np.ndarray, lists: np.ndarray) -> Any:
    """Tells which lists [N, W] hold a marked row."""
    return np.any(marked[lists] & (lists >= 0), axis=1)
