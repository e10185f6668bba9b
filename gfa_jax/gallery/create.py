"""A gallery made of a pool, measured anew, or clustered anew."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from gfa_jax import clustering, selection
from gfa_jax.aggregation import aggregate
from gfa_jax.clustering.relabel import relabel
from gfa_jax.datasets import rows
from gfa_jax.gallery.lists import Search, check_ids, find, own_first
from gfa_jax.gallery.types import Gallery, resize
from gfa_jax.neighbors import exact_neighbors
from gfa_jax.types import Neighbors, Params, track


def create(
    features: Any,
    ids: Any = None,
    *,
    search: Search | None = None,
    seed: int = 0,
    progress: Callable | None = None,
) -> Gallery:
    """Refines and clusters a pool, and keeps what it was made of.

    Args:
        features: [N, D] rows of any length, N >= 2, as for `gfa_jax.refine`.
        ids: [N] integers in [0, 2⁶³), each another one; the row numbers by default.
        search: finds the candidates instead of the exact search: `search(probes, k)`
            takes float32 unit rows [P, D], P <= 1,024, and gives [P, k] integers, the
            ids of rows near each, -1 for none, and their cosines, which are computed
            again. Ids that the gallery does not have are passed over. Here the probes
            are the rows themselves, which may be found as well.
        seed: of the sample from which a large pool is measured.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        Gallery, its refined rows those of `gfa_jax.refine` (of fewer than 58 rows,
        where a gallery lists all others of each, nearly those).

    Raises:
        ValueError: what was got, what was expected; rows with NaN or of zeros, an id
            twice.

    Cost: that of `gfa_jax.refine`. Memory: T + 1 arrays [N, D], about 1 kB a row.

    Examples:
        >>> gallery = gfa.gallery.create(features)
        >>> gallery.refined.shape, gallery.version
        ((300, 32), 0)
    """
    unit = rows.check_unit(rows.take(features)[0])
    keys = check_ids(np.arange(len(unit)) if ids is None else ids, len(unit))
    if search is not None or len(unit) <= selection.WIDTH:
        found = find(unit, unit, keys, selection.WIDTH, search=search)
        each = np.arange(len(unit))
        near = Neighbors(*own_first(*found, each, width=selection.WIDTH))
    else:
        near = exact_neighbors(jnp.asarray(unit), k=selection.WIDTH, progress=progress)
        near = Neighbors(*map(np.asarray, near))
    return measure(unit, keys, near, seed=seed, progress=progress)


def refresh(gallery: Gallery, *, progress: Callable | None = None) -> Gallery:
    """Measures the pool anew, and refines and clusters all of its rows by that.

    The lists are those of the gallery, so nothing is searched. Clusters keep the
    numbers of those that they continue (`clustering.relabel`).

    Args:
        gallery: of at least two rows.
        progress: as for `create`.

    Returns:
        Gallery, settled: the one that `create` makes of these rows, but for the numbers
        of its clusters and cosines' last bits.

    Raises:
        ValueError: fewer than two rows.

    Cost: that of `choose_settings`, `aggregate` and `cluster`.

    Examples:
        >>> gallery = gfa.gallery.create(features[:200])
        >>> grown = gfa.gallery.insert(gallery, features[200:], np.arange(200, 300))
        >>> gfa.gallery.refresh(grown).settled
        True
    """
    count = gallery.count
    if count < 2:
        raise ValueError(f"the gallery has {count} rows; expected at least 2")
    fresh = measure(
        gallery.features,
        gallery.ids[:count],
        gallery.neighbors,
        seed=gallery.seed,
        progress=progress,
    )
    fresh = fresh._replace(
        **_number(fresh.labels, gallery), version=gallery.version + 1
    )
    return resize(fresh, count)  # arrays of its own


def recluster(gallery: Gallery, *, progress: Callable | None = None) -> Gallery:
    """Clusters all rows anew, where many have joined clusters one by one.

    Clusters keep the numbers of those that they continue (`clustering.relabel`).

    Args:
        gallery: of any number of rows.
        progress: as for `create`.

    Returns:
        Gallery that shares all other arrays with the one given.

    Cost: that of `cluster`.

    Examples:
        >>> gallery = gfa.gallery.create(features)
        >>> gfa.gallery.recluster(gallery).version
        1
    """
    clustered = cluster_anew(gallery, progress=progress)
    return clustered._replace(version=gallery.version + 1)


def cluster_anew(gallery: Gallery, *, progress: Callable | None = None) -> Gallery:
    """Does what `recluster` does, as part of another change."""
    labels = np.zeros(gallery.count, np.int64)
    if gallery.count > 1:
        none, nothing = math.nan, np.zeros(0)
        seen = selection.Evidence(
            gallery.half_cosine,
            edges_per_row=none,
            weight_per_row=none,
            center=gallery.center,
            spread=gallery.pool_spread,
            sizes=tuple(gallery.sizes.tolist()),
            closure=gallery.closure,
            z=nothing,
            candidates=nothing,
            strangers=nothing,
            text="",
            distrust="",
        )
        rows = jnp.asarray(gallery.refined)
        labels = clustering.cluster(
            rows, gallery.neighbors, evidence=seen, progress=progress
        ).labels
    numbered = _number(labels, gallery)
    room = gallery.stages.shape[1] - gallery.count
    numbered["clusters"] = np.pad(numbered["clusters"], (0, room), constant_values=-1)
    return gallery._replace(**numbered, num_placed=0)


def _number(labels: np.ndarray, gallery: Gallery) -> dict[str, Any]:
    """Gives clusters of the rows the numbers of those that they continue."""
    first_free = gallery.next_cluster
    clusters = relabel(labels, gallery.labels, first_free=first_free)
    next_cluster = max(first_free, int(clusters.max(initial=-1)) + 1)
    return {"clusters": clusters, "next_cluster": next_cluster}


def measure(
    unit: np.ndarray,
    keys: np.ndarray,
    near: Neighbors,
    *,
    seed: int,
    progress: Callable | None,
) -> Gallery:
    """Measures a pool of unit rows and candidates: a gallery of just its size."""
    chosen = selection.choose_settings(jnp.asarray(unit), near, seed=seed)
    return hold(unit, keys, near, chosen, seed=seed, progress=progress)


def hold(
    unit: np.ndarray,
    keys: np.ndarray,
    near: Neighbors,
    chosen: selection.Settings,
    *,
    seed: int,
    clusters: clustering.Clusters | None = None,
    progress: Callable | None = None,
) -> Gallery:
    """Refines a pool by settings, its γ a number or [T], and clusters it if need be."""
    gamma = np.zeros(chosen.num_steps, np.float32) + np.float32(chosen.gamma)
    stages = [jnp.asarray(unit)]
    for step in track(progress, gamma.tolist(), desc="updates"):
        params = Params(step, -1.0)
        updated = aggregate(
            stages[-1], chosen.neighbors, params, num_steps=1, weights=chosen.weights
        )
        stages.append(updated.features)
    seen, found = chosen.evidence, chosen.measured
    if clusters is None:
        clusters = clustering.cluster(
            stages[-1], near, evidence=seen, progress=progress
        )
    count = len(unit)
    missing = selection.WIDTH - near.indices.shape[1]
    indices, similarity = (
        np.pad(x, [(0, 0), (0, max(missing, 0))], constant_values=-1)
        for x in map(np.asarray, near.first(selection.WIDTH))
    )
    return Gallery(
        ids=keys,
        stages=np.stack(stages),
        candidates=indices,
        cosines=np.where(indices < 0, np.float32(0), similarity),
        edges=np.asarray(chosen.neighbors.indices),
        weights=np.asarray(chosen.weights),
        closures=found.closures,
        length=found.length,
        **found.rows._asdict(),
        dropped=chosen.dropped,
        measured=np.isin(np.arange(count), found.sample),
        clusters=clusters.labels.astype(np.int64),
        pool_mean=np.asarray(found.pool.mean),
        metric=np.asarray(found.pool.metric),
        null_mean=np.asarray(found.pool.null_mean),
        null_covariance=np.asarray(found.pool.null_covariance),
        gamma=gamma,
        sizes=np.asarray(seen.sizes),
        closure=seen.closure,
        count=count,
        num_measured=count,
        num_forgotten=0,
        num_placed=0,
        k=chosen.k,
        num_steps=chosen.num_steps,
        center=seen.center,
        pool_nearest=float(np.median(found.rows.nearest)),
        pool_spread=seen.spread,
        half_cosine=seen.half_cosine,
        next_cluster=clusters.num_clusters,
        settled=True,
        seed=seed,
        version=0,
    )
