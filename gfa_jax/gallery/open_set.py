"""From which score on a probe is someone of the gallery, by the gallery itself.

Rows of the gallery stand in for strangers: each of a sample is asked for as a probe,
while the rows of its own cluster are withheld from it. Its best score is then one with
a row of another identity, as far as the clusters are right, and the threshold is the
score that a share `rate` of the sample exceeds. No label is seen. Where an identity is
in several clusters the threshold is too high, and fewer strangers pass than asked.
"""

import numpy as np

from gfa_jax.gallery.lists import largest, products
from gfa_jax.gallery.query import query
from gfa_jax.gallery.types import Gallery
from gfa_jax.types import check_number

_SAMPLE = 1000


def impostor_threshold(gallery: Gallery, rate: float) -> float:
    """Estimates the score that a share of strangers exceeds.

    Args:
        gallery: of two clusters or more.
        rate: the share in [0, 1], FPIR. Below .01 it rests on fewer than ten rows.

    Returns:
        The threshold: a probe whose best score, of `query`, is not above it is unknown.

    Raises:
        ValueError: a rate out of its range, one cluster only.

    Cost: that of a query of up to 1,000 probes.

    Examples:
        >>> gallery = gfa.gallery.create(features)
        >>> 0 < gfa.gallery.impostor_threshold(gallery, 0.1) < 1
        True
    """
    check_number("rate", rate, 0.0, 1.0)
    clusters, rows = gallery.labels, gallery.features
    width = gallery.candidates.shape[1]
    if len(np.unique(clusters)) < 2:
        raise ValueError(
            "the gallery is one cluster; expected two or more: what strangers score "
            "cannot be told from it"
        )
    random = np.random.default_rng(gallery.seed)
    asked = random.permutation(gallery.count)[:_SAMPLE]
    near = np.full((len(asked), width), -1, np.int64)
    for start, block in products(rows[asked], rows):
        for probe, scores in enumerate(block, start):
            others = np.flatnonzero(clusters != clusters[asked[probe]])
            found = others[largest(scores[others], width)]
            near[probe, : len(found)] = gallery.ids[found]
    found = query(gallery, rows[asked], k=1, search=lambda _, k: (near[:, :k], None))
    best = np.sort(found.scores[:, 0])[::-1]
    return float(best[min(int(rate * len(best)), len(best) - 1)])
