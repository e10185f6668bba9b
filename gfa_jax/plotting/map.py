"""The figure of the features themselves: a map in two dimensions.

    x_i = (F_i − mean) V,  V = the two eigenvectors of the covariance with the largest
    eigenvalues (principal components)

Features of two dimensions are drawn as they are.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfa_jax.plotting.style import COLORS, MARKERS, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_REST = "0.75"  # grey of the rows that are not told apart


def plot_map(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    axes: "Axes | None" = None,
    *,
    before: npt.ArrayLike | None = None,
    num_labels: int = 6,
) -> "Figure":
    """Draws the rows in two dimensions, the largest few labels told apart.

    Args:
        features: [N, D] real rows, D >= 2.
        labels: [N] integers or strings, identities or clusters; -1 is no label.
        axes: where to draw; a figure of its own by default.
        before: [N, D] where the rows came from: drawn as the tails of arrows, in the
            same projection. None draws no arrows.
        num_labels: labels to tell apart by colour and marker, those with most rows;
            the others are pale dots.

    Returns:
        The figure that holds the axes.

    Raises:
        ValueError: shapes that do not fit.

    Cost: O(N D²) time; memory: a copy of the features and a [D, D] matrix.
    """
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    if features.ndim != 2 or features.shape[1] < 2 or len(features) != labels.size:
        raise ValueError(
            f"features {features.shape} and labels {labels.shape} do not fit; expected "
            "[N, D] with D >= 2, and [N]"
        )
    tails = features if before is None else np.asarray(before, np.float64)
    axes = panels(1, (5.6, 5.0))[0] if axes is None else axes
    names = ("F₁", "F₂")
    points, starts = features, tails
    if features.shape[1] > 2:
        # One projection for both, and that of the spread before they gathered.
        mean, components, shares = _principal_components(tails)
        points, starts = ((x - mean) @ components for x in (features, tails))
        names = [
            f"principal component {number + 1} ({share:.0%})"
            for number, share in enumerate(shares)
        ]
    if before is not None:
        axes.quiver(
            *starts.T,
            *(points - starts).T,
            angles="xy",
            scale_units="xy",
            scale=1.0,
            width=0.0025,
            color=_REST,
            zorder=1,
        )
    values, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    largest = [values[i] for i in order if str(values[i]) != "-1"][:num_labels]
    rest = ~np.isin(labels, largest)
    axes.plot(*points[rest].T, ".", color=_REST, markersize=3, zorder=1)
    for number, label in enumerate(largest):
        rows = labels == label
        axes.plot(
            *points[rows].T,
            MARKERS[number % len(MARKERS)],
            color=COLORS[number % len(COLORS)],
            markerfacecolor="none",
            markersize=5,
            label=f"{label} ({np.count_nonzero(rows):,})",
        )
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_aspect("equal", adjustable="datalim")
    if largest:
        axes.legend(frameon=False, fontsize="small", title="label (rows)")
    return axes.figure  # pyright: ignore[reportReturnType]  # never a sub-figure


def _principal_components(
    rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the mean [D], the first two components [D, 2], their share of variance."""
    import scipy.linalg

    mean = rows.mean(axis=0)
    centered = rows - mean
    covariance = centered.T @ centered
    dim = len(covariance)
    values, vectors = scipy.linalg.eigh(covariance, subset_by_index=(dim - 2, dim - 1))
    # The sign of an eigenvector is arbitrary: its largest entry is made positive.
    peaks = vectors[np.argmax(np.abs(vectors), axis=0), [0, 1]]
    vectors = vectors * np.where(peaks < 0, -1.0, 1.0)
    total = max(float(np.trace(covariance)), np.finfo(float).tiny)
    return mean, vectors[:, ::-1], values[::-1] / total
