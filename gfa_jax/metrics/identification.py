"""Identification, 1:N: who of a gallery is this, if anyone?

Of a probe p two scores count: the best with a gallery row of its own identity, m_p, and
the best with a row of another, o_p. It is mated where the gallery has its identity.

    FPIR(t) = mean [o_p >= t]                       over the non-mated probes
    DIR(t)  = mean [m_p >= t and m_p > o_p]         over the mated probes
    FNIR(t) = 1 − DIR(t),   rank-1 rate = DIR(−∞)

DIR is at rank 1. **Ties**: what a row of another identity equals is not found. Sources:
Grother, Ngan and Hanaoka, Face Recognition Vendor Test Part 2: Identification, NISTIR
8271, 2019; Phillips, Grother and Micheals, Handbook of Face Recognition, 2011.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gfa_jax.datasets.labels import as_labels, known_identities
from gfa_jax.metrics.bootstrap import ResampledTprs, Sample, resample
from gfa_jax.metrics.operating_point import OperatingPoint, tpr_at_fpr
from gfa_jax.metrics.retrieval import score_rows, split_scores
from gfa_jax.metrics.roc import Roc, count_accepts
from gfa_jax.metrics.scored_pairs import by_descending_score

DEFAULT_FPIRS = (1e-3, 1e-2, 1e-1)


class Identification(NamedTuple):
    """The two best scores of each of P probes of known identity."""

    mated: np.ndarray  # [P] floating, with its own identity; -inf where not mated
    other: np.ndarray  # [P] floating, with another identity; -inf without one
    identities: np.ndarray  # [P] integer, of the probes
    is_mated: np.ndarray  # [P] bool

    @property
    def found(self) -> np.ndarray:
        """[P] bool: the mated probes whose own identity comes first."""
        return self.is_mated & (self.mated > self.other)

    @property
    def rank_1(self) -> float:
        """The share of the mated probes whose own identity comes first."""
        return float(self.found[self.is_mated].mean())


def identify(
    probes: Any,
    gallery: Any,
    probe_identities: npt.ArrayLike,
    gallery_identities: npt.ArrayLike,
    *,
    probe_cameras: npt.ArrayLike | None = None,
    gallery_cameras: npt.ArrayLike | None = None,
    progress: Callable | None = None,
) -> Identification:
    """Searches a gallery for every probe, s = p · g.

    Args:
        probes: [P, D] floating unit rows, NumPy or JAX.
        gallery: [G, D] likewise.
        probe_identities: [P] integers or strings; a probe of unknown identity (see
            `datasets.known_identities`) is left out.
        gallery_identities: [G] likewise; so is a row of the gallery.
        probe_cameras: [P] integers or strings: rows of its identity and camera are left
            out. With `gallery_cameras`, or neither.
        gallery_cameras: [G] likewise.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        Identification.

    Raises:
        ValueError: as `rank_gallery`; all probes are mated, or none is.

    Cost and memory: of `rank_gallery`; never [P, G].

    Examples:
        >>> found = metrics.identify(
        ...     features[::2], features[1:150:2], labels[::2], labels[1:150:2]
        ... )
        >>> 0 < metrics.dir_at_fpir(found, (0.1,))[0].tpr <= found.rank_1
        True
    """
    names = probe_identities, gallery_identities
    return identify_scores(
        score_rows(probes, gallery, *names, progress),
        *names,
        probe_cameras=probe_cameras,
        gallery_cameras=gallery_cameras,
    )


def identify_scores(
    scores: Iterable[np.ndarray],
    probe_identities: npt.ArrayLike,
    gallery_identities: npt.ArrayLike,
    *,
    probe_cameras: npt.ArrayLike | None = None,
    gallery_cameras: npt.ArrayLike | None = None,
) -> Identification:
    """Does what `identify` does by given scores.

    All arguments but the first are as for `gfa_jax.metrics.identify`.

    Args:
        scores: of each probe in turn its scores [G] with the gallery: the rows of an
            array, or an iterator.

    Returns:
        Identification.

    Raises:
        ValueError: scores that do not fit the identities or hold nan; as `identify`.
    """
    names = as_labels(probe_identities), gallery_identities
    cameras = probe_cameras, gallery_cameras
    best = [
        (own.max(initial=-np.inf), others.max(initial=-np.inf), own.size > 0)
        for own, others in split_scores(scores, names, cameras)
    ]
    columns = map(np.array, zip(*best, strict=True))
    known = known_identities(names[0])
    mated, other, is_mated = (column[known] for column in columns)
    codes = np.unique(names[0][known], return_inverse=True)[1]
    if is_mated.all() or not is_mated.any():
        raise ValueError(
            f"{np.count_nonzero(is_mated)} of {len(is_mated)} probes of known identity "
            "have a match in the gallery; expected some with and some without"
        )
    return Identification(mated, other, codes, is_mated)


def dir_at_fpir(
    found: Identification, fpir_targets: Iterable[float] = DEFAULT_FPIRS
) -> tuple[OperatingPoint, ...]:
    """Reads the detection and identification rate at given FPIRs.

    Args:
        found: of `identify`.
        fpir_targets: rates in [0, 1].

    Returns:
        An OperatingPoint for each target, by the conservative rule of `tpr_at_fpr`:
        `tpr` is the DIR, 1 − FNIR, at rank 1, `fpr` the FPIR that was reached, and
        `false_accepts` the non-mated probes that stand behind it.

    Raises:
        ValueError: a target outside [0, 1].
    """
    strangers, hits = found.other[~found.is_mated], found.mated[found.found]
    num_mated = int(np.count_nonzero(found.is_mated))
    roc = Roc(*count_accepts(strangers, hits), strangers.size, num_mated)
    return tpr_at_fpr(roc, fpir_targets)


def resample_dir(
    found: Identification,
    fpir_targets: Iterable[float] = DEFAULT_FPIRS,
    *,
    num_resamples: int = 200,
    seed: int = 0,
) -> ResampledTprs:
    """Measures DIR at FPIR on probes whose identities are drawn anew.

    All probes of a person weigh as often as the person is drawn; the gallery stays. At
    FPIR 1 the DIR is the rank-1 rate.

    Args:
        found: of `identify`.
        fpir_targets: rates in [0, 1].
        num_resamples: number of draws R, >= 1; one without mated probes, or without
            others, is drawn again.
        seed: of the draws.

    Returns:
        ResampledTprs, for `tpr_intervals`; of the same probes before and after, for
        `gain_intervals`.

    Raises:
        ValueError: a target outside [0, 1], no draw.
    """
    stranger = by_descending_score(
        found.other[~found.is_mated], found.identities[~found.is_mated]
    )
    scores = np.where(found.found, found.mated, -np.inf)[found.is_mated]
    mated = by_descending_score(scores, found.identities[found.is_mated])
    sample = Sample(
        stranger.scores,
        stranger.rows[None],
        mated.scores,
        mated.rows,
        int(found.identities.max()) + 1,
        stranger.scores.size,
        lambda draws: int(draws[stranger.rows].sum()),
    )
    return resample(sample, fpir_targets, num_resamples, seed)
