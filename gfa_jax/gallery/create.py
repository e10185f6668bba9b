"""A gallery made of a pool, or measured anew."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from gfa_jax import clustering, selection
from gfa_jax.aggregation import aggregate
from gfa_jax.datasets import rows
from gfa_jax.gallery.lists import Search, check_ids, find
from gfa_jax.gallery.types import Gallery
from gfa_jax.neighbors import exact_neighbors, place_self
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
            takes float32 unit rows [P, D] and gives row numbers [P, k] in the order of
            `features`, best first, -1 for none, and their cosines. Here the probes are
            the rows themselves, which may be found as well.
        seed: of the sample from which a large pool is measured.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        Gallery, its refined rows those of `gfa_jax.refine`.

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
        near = find(unit, unit, min(selection.WIDTH, len(unit)), search=search)
        near = place_self(*near, k=selection.WIDTH)
    else:
        near = exact_neighbors(jnp.asarray(unit), k=selection.WIDTH, progress=progress)
    near = Neighbors(*map(np.asarray, near))
    return measure(unit, keys, near, seed=seed, progress=progress)


def measure(
    unit: np.ndarray,
    keys: np.ndarray,
    near: Neighbors,
    *,
    seed: int,
    progress: Callable | None,
) -> Gallery:
    """Measures a pool of unit rows and candidates: a gallery of just its size."""
    pool = jnp.asarray(unit)
    chosen = selection.choose_settings(pool, near, seed=seed)
    stages = [pool]
    for _ in track(progress, range(chosen.num_steps), desc="updates"):
        params = Params(chosen.gamma, -1.0)
        updated = aggregate(
            stages[-1], chosen.neighbors, params, num_steps=1, weights=chosen.weights
        )
        stages.append(updated.features)
    seen, found = chosen.evidence, chosen.measured
    clusters = clustering.cluster(stages[-1], near, evidence=seen, progress=progress)
    count = len(unit)
    return Gallery(
        ids=keys,
        stages=np.stack(stages),
        candidates=np.asarray(near.indices),
        cosines=np.where(near.indices < 0, np.float32(0), near.similarity),
        edges=np.asarray(chosen.neighbors.indices),
        weights=np.asarray(chosen.weights),
        closures=found.closures.astype(np.float32),
        length=found.length,
        **found.rows._asdict(),
        dropped=chosen.dropped,
        measured=np.isin(np.arange(count), found.sample),
        clusters=clusters.labels.astype(np.int64),
        pool_mean=np.asarray(found.pool.mean),
        metric=np.asarray(found.pool.metric),
        null_mean=np.asarray(found.pool.null_mean),
        null_covariance=np.asarray(found.pool.null_covariance),
        gamma=np.full(chosen.num_steps, chosen.gamma, np.float32),
        sizes=np.asarray(seen.sizes),
        closure=seen.closure,
        count=count,
        num_measured=count,
        num_forgotten=0,
        k=chosen.k,
        num_steps=chosen.num_steps,
        center=seen.center,
        pool_nearest=float(np.median(found.rows.nearest)),
        pool_spread=seen.spread,
        half_cosine=seen.half_cosine,
        next_cluster=clusters.num_clusters,
        seed=seed,
        version=0,
    )
