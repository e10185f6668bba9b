"""Whether what was measured of a pool is still so."""

from typing import NamedTuple

import numpy as np

from gfa_jax.gallery import weigh
from gfa_jax.gallery.edit import PLACED
from gfa_jax.gallery.types import Gallery

_ROWS = 2048  # whose lists are looked at
_ERRORS = 2.0  # standard errors by which another K is better
_GROWTH = 1.2  # within it a grown pool is near a rerun (RESULTS.md)
_SHARE = 0.1  # of what the rows were like


class Drift(NamedTuple):
    """What `drift` returns.

    Attributes:
        due: whether a `refresh` is due.
        reasons: one line for each reason.
    """

    due: bool
    reasons: tuple[str, ...]


def drift(gallery: Gallery) -> Drift:
    """Says whether the settings measured once are still those of the rows.

    A refresh is due where

    - another K of those compared is better: by the lists as they are, the mean of
      κ_i(K') − κ_i(K) over a sample of n rows exceeds twice its standard error, that of
      n / K independent values, since the rows of a group have one closure;
    - there are a fifth more rows than were measured, or as many fewer: K, T and z₀
      depend on how many there are;
    - the mean spread s_i of strangers, or the median b_i, has moved by a tenth;
    - a fiftieth of the rows have joined clusters one by one (`recluster` is enough);
    - a removed row is among those that the pool was measured by.

    Args:
        gallery: any.

    Returns:
        Drift.

    Cost: the closures of 2,048 rows, about 0.1 s.

    Examples:
        >>> gfa.gallery.drift(gfa.gallery.create(features)).due
        False
    """
    count, reasons = gallery.count, []
    if gallery.num_forgotten:
        reasons.append(
            f"{gallery.num_forgotten} removed rows are in the means of the pool"
        )
    if not count:
        return Drift(bool(reasons), tuple(reasons))
    rows = np.random.default_rng(gallery.seed).permutation(count)[:_ROWS]
    closures = weigh.close(gallery, gallery.candidates[np.sort(rows)])
    other = int(np.argmax(closures.mean(axis=0)))
    gain = closures[:, other] - closures[:, gallery.sizes.tolist().index(gallery.k)]
    error = gain.std() / np.sqrt(max(len(rows) / gallery.k, 1))
    if gain.mean() > _ERRORS * error:
        reasons.append(
            f"K = {gallery.sizes[other]} has a closure {gain.mean():.2g} above that of "
            f"K = {gallery.k}, with a standard error of {error:.1g}"
        )
    if not 1 / _GROWTH <= count / gallery.num_measured <= _GROWTH:
        reasons.append(f"{count:,} rows; {gallery.num_measured:,} when measured")
    if gallery.num_placed > PLACED * count:
        reasons.append(
            f"{gallery.num_placed:,} rows joined clusters one by one: recluster"
        )
    spread, nearest = gallery.spread[:count], gallery.nearest[:count]
    for what, now, then in (
        ("mean spread of strangers", spread.mean(), gallery.pool_spread),
        ("median cosine of nearest", np.median(nearest), gallery.pool_nearest),
    ):
        if abs(now - then) > _SHARE * then:
            reasons.append(f"the {what} is {now:.3g}; {then:.3g} when measured")
    return Drift(bool(reasons), tuple(reasons))
