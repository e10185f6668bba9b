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
_NUM_LABELS = 6


def plot_map(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    axes: "Axes | None" = None,
    *,
    before: npt.ArrayLike,
) -> "Figure":
    """Draws the rows in two dimensions, and arrows from where they were before.

    The six labels with most rows are told apart; the others are pale dots.

    Args:
        features: [N, D] real rows, D >= 2.
        labels: [N] integers or strings, identities or clusters; -1 is no label.
        axes: where to draw; a figure of its own by default.
        before: [N, D] where the rows came from; the projection is that of their spread.

    Raises:
        ValueError: shapes that do not fit.

    Cost: O(N D²) time; memory: a copy of the features and a [D, D] matrix.
    """
    labels = np.asarray(labels)
    heads, tails = (np.asarray(rows, np.float64) for rows in (features, before))
    if heads.ndim != 2 or heads.shape[1] < 2 or len(heads) != labels.size:
        raise ValueError(
            f"features {heads.shape} and labels {labels.shape} do not fit; expected "
            "[N, D] with D >= 2, and [N]"
        )
    axes = panels(1, (5.6, 5.0))[0] if axes is None else axes
    names = ["F₁", "F₂"]
    if heads.shape[1] > 2:
        mean = tails.mean(axis=0)
        values, vectors = np.linalg.eigh((tails - mean).T @ (tails - mean))
        vectors = vectors[:, :-3:-1]
        # The sign of an eigenvector is arbitrary: its largest entry is made positive.
        peaks = vectors[np.argmax(np.abs(vectors), axis=0), [0, 1]]
        vectors = vectors * np.where(peaks < 0, -1.0, 1.0)
        heads, tails = ((rows - mean) @ vectors for rows in (heads, tails))
        shares = values[:-3:-1] / max(values.sum(), np.finfo(float).tiny)
        names = [
            f"principal component {number} ({share:.0%})"
            for number, share in enumerate(shares, 1)
        ]
    axes.quiver(
        *tails.T,
        *(heads - tails).T,
        angles="xy",
        scale_units="xy",
        scale=1.0,
        width=0.0025,
        color=_REST,
        zorder=1,
    )
    values, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    largest = [values[i] for i in order if str(values[i]) != "-1"][:_NUM_LABELS]
    rest = ~np.isin(labels, largest)
    axes.plot(*heads[rest].T, ".", color=_REST, markersize=3, zorder=1)
    for number, label in enumerate(largest):
        rows = labels == label
        axes.plot(
            *heads[rows].T,
            MARKERS[number],
            color=COLORS[number],
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
