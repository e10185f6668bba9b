"""A pool refined in one call: what the program `gfa refine` does in memory.

check ─► unit rows ─► candidates ─► settings ─► updates ─► clusters
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gfa_jax import clustering
from gfa_jax.affinity import edge_weights, is_counted
from gfa_jax.aggregation import aggregate
from gfa_jax.checks import is_host
from gfa_jax.datasets import rows
from gfa_jax.neighbors import exact_neighbors
from gfa_jax.refinement import graphs
from gfa_jax.refinement.settings import Request, Settings
from gfa_jax.selection import choose_settings
from gfa_jax.types import Aggregation, Neighbors, Options, Params, Scalar, at_step


class Refinement(NamedTuple):
    """What `refine` returns.

    Attributes:
        features: [N, D] float32 refined unit rows.
        settings: those given, and those that the pool chose.
        dropped: [N] bool, outliers, which have no edge and stay as they are.
        neighbors: [N, C] the candidates among which the edges were chosen.
        residual: [T] of the updates, see `Aggregation`.
        degree: [N] edges of each row, see `Aggregation`.
        clusters: of the refined rows; None where they were not asked for.
    """

    features: Any
    settings: Settings
    dropped: np.ndarray
    neighbors: Neighbors
    residual: np.ndarray
    degree: np.ndarray
    clusters: clustering.Clusters | None = None

    @property
    def labels(self) -> np.ndarray | None:
        """[N] int32 the cluster of each row; None where they were not asked for."""
        return None if self.clusters is None else self.clusters.labels

    def __repr__(self) -> str:
        """Says in some lines what was done."""
        count, dim = len(self.degree), self.features.shape[1]
        return "\n".join([f"refined: {count:,} rows of {dim} values", *self.lines()])

    def lines(self) -> list[str]:
        """Says what the settings are and what came of them.

        Returns:
            One line for each, without a line break.
        """
        evidence = self.settings.evidence
        edges = np.maximum(np.asarray(self.degree) - 1, 0).mean()
        lines = [
            f"settings: {self.settings!r}",
            f"edges: {edges:.1f} a row, besides the row itself",
            f"rows dropped: {int(np.sum(self.dropped)):,}",
        ]
        if self.clusters is not None:
            largest = self.clusters.sizes.max(initial=0)
            lines.append(
                f"clusters: {self.clusters.num_clusters:,}, the largest of {largest:,}"
            )
        if evidence is not None and evidence.distrust:
            lines.append(f"distrust: {evidence.distrust}")
        return lines


def refine(
    features: Any,
    *,
    neighbors: Any = None,
    k: int | None = None,
    threshold: Scalar | None = None,
    gamma: Scalar | None = None,
    num_steps: int | None = None,
    options: Options | None = None,
    cluster: bool = False,
    seed: int = 0,
    progress: Callable | None = None,
) -> Refinement:
    """Refines a pool of features as the program `gfa refine` does; sees no label.

        result = gfa_jax.refine(features)
        result.features, result.settings, result.dropped
        labels = gfa_jax.refine(features, cluster=True).labels

    Args:
        features: [N, D] rows of any length, N >= 2, of NumPy, JAX, torch or pandas,
            or anything with DLPack or `__array__`; floating or integers.
        neighbors: candidates found before, see `refinement.graphs.to_neighbors`; by
            default they are searched exactly.
        k: K, the row itself counted; chosen by the pool, 15 with a threshold.
        threshold: cosine t that an edge must exceed; without it the pool chooses what
            each edge is worth.
        gamma: the step; chosen by the pool, .5 with a threshold.
        num_steps: T; chosen by the pool, 4 with a threshold.
        options: `gfa_jax.PAPER` is the paper as printed, at a threshold that the
            pool chooses where none is given.
        cluster: whether to cluster the refined rows, see `gfa_jax.cluster`.
        seed: of the sample from which a large pool is measured.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        Refinement, its features float32 of the library that they came from.

    Raises:
        ValueError: what was got, what was expected; rows with NaN, rows of zeros.

    Cost: N² D / 2 multiply-adds for the search; see `choose_settings`, `aggregate`.

    Examples:
        >>> result = gfa.refine(features, cluster=True)
        >>> result.features.shape, result.labels.shape
        ((300, 32), (300,))
    """
    request = Request(k, threshold, gamma, num_steps, options)
    request.check()
    stored, give_back = rows.take(features)
    unit = rows.check_unit(stored)
    width = request.width(len(unit))
    if neighbors is None:
        searched = exact_neighbors(jnp.asarray(unit), k=width, progress=progress)
    else:
        searched = graphs.to_neighbors(neighbors, unit, width=width)
    pool = jnp.asarray(unit)
    result = run_stages(
        request,
        searched,
        choose=lambda near: choose_settings(pool, near, seed=seed),
        update=lambda chosen: update_rows(
            pool,
            chosen,
            progress=progress,
            are_cosines=not is_host(searched.similarity),
        ),
    )
    if cluster:
        found = clustering.cluster(
            result.features,
            result.neighbors,
            evidence=result.settings.evidence,
            progress=progress,
        )
        result = result._replace(clusters=found)
    return result._replace(features=give_back(result.features))


def update_rows(
    features: jax.Array,
    chosen: Settings,
    *,
    progress: Callable | None,
    are_cosines: bool = False,
) -> Aggregation:
    """Calls `aggregate` with settings.

    Where the similarities `are_cosines`, edges that stay are made of them, which saves
    scoring N K candidates: the same but for the rounding of a product, which may move
    an edge at the threshold. Those on an accelerator are: only exact search leaves what
    it found there, lists from files or other libraries come by the host.
    """
    weights, options, params = chosen.weights, chosen.options, chosen.params
    # Elsewhere an edge may count that weighs 0.
    is_plain = options.mask == "hard" and chosen.first_threshold >= 0
    if are_cosines and weights is None and options.graph == "fixed" and is_plain:
        weights = _weigh(chosen.neighbors, at_step(params, 0), options=options)
    return aggregate(
        features,
        chosen.neighbors,
        params,
        num_steps=chosen.num_steps,
        weights=weights,
        options=options,
        progress=progress,
    )


@functools.partial(jax.jit, static_argnames="options")
def _weigh(near: Neighbors, params: Params, *, options: Options) -> jax.Array:
    indices, similarity = map(jnp.asarray, near)
    rows = jnp.arange(len(indices), dtype=indices.dtype)[:, None]
    counted = is_counted(indices, indices, rows, options=options)
    return edge_weights(similarity, params, counted=counted, options=options)[1]


def run_stages(
    request: Request,
    searched: Neighbors,
    *,
    choose: Callable[[Neighbors], Any],
    update: Callable[[Settings], Aggregation],
    gather: Callable[[np.ndarray], np.ndarray] = np.asarray,
    stages: Callable = contextlib.nullcontext,
) -> Refinement:
    """Chooses the settings and updates, wherever the rows live.

    `choose` gives `choose_settings` of the pool, `update` what `aggregate` does;
    `gather` joins values of the rows of all processes, [n, …] to [N, …]. `stages` is a
    context for each of "settings" and "updates", to time them.
    """
    # What lies on an accelerator is chosen from, and updated, there.
    if is_host(searched.indices):
        searched = Neighbors(*map(np.asarray, searched))
    with stages("settings"):
        chosen = request.resolve(searched, lambda: choose(searched))
        dropped = gather(chosen.dropped)
    with stages("updates"):
        features, *rest = update(chosen)
        residual, degree = map(np.asarray, rest)
    searched = Neighbors(*map(np.asarray, searched))
    return Refinement(features, chosen, dropped, searched, residual, degree)
