"""Who is this? Probes refined against a gallery that does not see them."""

from typing import Any, NamedTuple

import numpy as np

from gfa_jax.gallery import lists as nearest
from gfa_jax.gallery import weigh
from gfa_jax.gallery.lists import Search
from gfa_jax.gallery.types import Gallery
from gfa_jax.types import check_integer


class Answer(NamedTuple):
    """What `query` returns, of P probes.

    Attributes:
        ids: [P, k] int64 rows of the gallery, by descending score.
        scores: [P, k] float32 cosines of the refined rows with the refined probe.
        posterior: [P, k] float32 in [0, 1], the probability that the pair is no chance,
            σ(z − z₀) by the features as given (selection/evidence.py).
        clusters: [P] int64 cluster of the first.
        refined: [P, D] float32 unit rows, the probes after T updates.
    """

    ids: np.ndarray
    scores: np.ndarray
    posterior: np.ndarray
    clusters: np.ndarray
    refined: np.ndarray


def query(
    gallery: Gallery, probes: Any, *, k: int = 10, search: Search | None = None
) -> Answer:
    """Refines probes against the gallery, and finds the rows most similar to them.

    A probe p has the weights that a row of the gallery would have by its own list,
    null, scale and neighbours shared, and makes the same updates,

        p ← normalise(p + γ (Σ_j w_pj F_j^t / Σ_j w_pj − p)),   w_pp = 1

    over the rows as they stood before each. No row has it for a neighbour: probes do
    not see each other, and the gallery does not change.

    Args:
        gallery: of at least one row.
        probes: [P, D] rows of any length, P >= 1.
        k: rows to find, in [1, N]. They are those with the best scores among the
            max(k, 56) nearest of the probe as given.
        search: as for `create`.

    Returns:
        Answer.

    Raises:
        ValueError: what was got, what was expected.

    Cost: P N D multiply-adds for the search, and about 60 µs a probe.

    Examples:
        >>> gallery = gfa.gallery.create(features[1:], np.arange(1, 300))
        >>> found = gfa.gallery.query(gallery, features[:1], k=3)
        >>> found.ids.shape, found.refined.shape
        ((1, 3), (1, 32))
    """
    check_integer("k", k, least=1)
    count, width = gallery.count, gallery.candidates.shape[1]
    if not count:
        raise ValueError("the gallery is empty; expected at least one row to ask")
    if k > count:
        raise ValueError(f"k is {k} with {count} rows; expected at most {count}")
    unit = nearest.check_new(probes, dim=gallery.stages.shape[2])
    asked = max(k, width - 1)
    rows, ids = gallery.features, gallery.ids[:count]
    near, cosines = nearest.find(unit, rows, ids, asked, search=search)
    lists, cosines = (
        np.pad(x, [(0, 0), (1, 0)], constant_values=fill)
        for x, fill in ((near, -1), (cosines, 1))
    )
    own, known = lists[:, :width], cosines[:, :width]
    seen = weigh.see(gallery, unit, own)
    closures = weigh.close(gallery, own)
    row_k = weigh.row_sizes(gallery, own, closures)
    dropped = weigh.find_dropped(gallery, own, seen.rows.nearest)
    edges, weights, z = weigh.weigh(gallery, own, known, seen, dropped, row_k)
    if k >= width:
        seen = weigh.see(gallery, unit, lists)
        z = weigh.weigh(gallery, lists, cosines, seen, dropped, row_k)[2]
    refined = unit
    for t in range(gallery.num_steps):
        refined = weigh.advance(gallery, t, refined, edges, weights)
    scores = weigh.score(gallery, refined, near)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    near, scores, z = (
        np.take_along_axis(x, best, axis=1) for x in (near, scores, z[:, 1:])
    )
    posterior = 1 / (1 + np.exp(gallery.center - z))
    found = np.where(near < 0, -1, ids[near])
    return Answer(
        found,
        scores,
        np.where(near < 0, 0, posterior).astype(np.float32),
        gallery.clusters[near[:, 0]],
        refined,
    )
