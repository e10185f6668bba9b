"""What a gallery holds: arrays and numbers alone, so that a file can hold them too."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gfa_jax.selection.evidence import RowEvidence
from gfa_jax.selection.metric import PoolMetric
from gfa_jax.types import Neighbors


class Gallery(NamedTuple):
    """A refined pool of N rows, on the host, in arrays of `capacity` C >= N rows.

    Rows 0 to N − 1 are those of the gallery, in the order in which they came; what lies
    behind is zero, or −1 in arrays of integers. What is measured over the whole pool is
    measured by `create` and `refresh` alone, and stays for rows that come later.

    Attributes:
        ids: [C] int64 key of each row, in [0, 2⁶³), each another one.
        stages: [T + 1, C, D] float32 F^t: unit rows as given, then after each update.
        candidates: [C, W] int32 nearest rows by the cosine of the rows as given, the
            row itself in column 0; −1 for an empty slot. Always those of all N rows.
        cosines: [C, W] float32 their cosines, 0 in an empty slot.
        edges: [C, M] int32 the row itself, then the candidates that count.
        weights: [C, M] float32 w_ij, 1 for the row itself; 0 in an empty slot.
        closures: [C, S] float64 κ_i(K) for each of `sizes`.
        length: [C] float32 ‖B (F_i − m)‖ (selection/metric.py).
        mean: [C] float32 μ_i of the strangers of the row.
        spread: [C] float32 s_i.
        scale: [C] float32 d_i (selection/evidence.py).
        nearest: [C] float32 b_i.
        dropped: [C] bool, outliers, which have no edge.
        measured: [C] bool, rows of the sample from which the pool was measured.
        clusters: [C] int64 number of the cluster of each row.
        pool_mean: [D] float32 m, the first of the four parts of `PoolMetric`.
        metric: [D, D] float32 B².
        null_mean: [D] float32 B w.
        null_covariance: [D, D] float32 B W B.
        gamma: [T] float32 the step of each update.
        sizes: [S] int64 the K that were compared.
        closure: [S] float64 κ(K), their means over the pool when it was measured.
        count: N.
        num_measured: N when the pool was measured.
        num_forgotten: rows of the sample that were removed since.
        num_placed: rows that joined a cluster since all rows were clustered.
        k: K of the pool, the row itself not counted.
        num_steps: T.
        center: z₀.
        pool_nearest: median of the b_i when the pool was measured.
        pool_spread: mean of the s_i then.
        half_cosine: see `selection.Evidence`.
        next_cluster: the least number that no cluster had yet.
        settled: whether every row is what all others now make of it; `insert` follows
            a change to the rows nearest to it alone.
        seed: of the sample.
        version: the number of changes since `create`.
    """

    ids: np.ndarray
    stages: np.ndarray
    candidates: np.ndarray
    cosines: np.ndarray
    edges: np.ndarray
    weights: np.ndarray
    closures: np.ndarray
    length: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    scale: np.ndarray
    nearest: np.ndarray
    dropped: np.ndarray
    measured: np.ndarray
    clusters: np.ndarray
    pool_mean: np.ndarray
    metric: np.ndarray
    null_mean: np.ndarray
    null_covariance: np.ndarray
    gamma: np.ndarray
    sizes: np.ndarray
    closure: np.ndarray
    count: int
    num_measured: int
    num_forgotten: int
    num_placed: int
    k: int
    num_steps: int
    center: float
    pool_nearest: float
    pool_spread: float
    half_cosine: float
    next_cluster: int
    settled: bool
    seed: int
    version: int

    def __repr__(self) -> str:
        """Says in one line what it holds."""
        return (
            f"Gallery({self.count:,} rows of {self.stages.shape[2]} values, "
            f"K = {self.k}, T = {self.num_steps}, version {self.version})"
        )

    @property
    def features(self) -> np.ndarray:
        """[N, D] float32 the rows as given, of unit length; a view."""
        return self.stages[0, : self.count]

    @property
    def refined(self) -> np.ndarray:
        """[N, D] float32 the refined rows; a view."""
        return self.stages[-1, : self.count]

    @property
    def labels(self) -> np.ndarray:
        """[N] int64 the cluster of each row; a view."""
        return self.clusters[: self.count]

    @property
    def degree(self) -> np.ndarray:
        """[N] the edges of each row, itself counted."""
        return np.count_nonzero(self.weights[: self.count], axis=1)

    @property
    def neighbors(self) -> Neighbors:
        """[N, W] the candidates, as the other functions take them."""
        indices = self.candidates[: self.count]
        empty = np.float32(-np.inf)
        return Neighbors(
            indices, np.where(indices < 0, empty, self.cosines[: self.count])
        )

    @property
    def pool(self) -> PoolMetric:
        """What is known of the pool."""
        parts = self.pool_mean, self.metric, self.null_mean, self.null_covariance
        return PoolMetric(*map(jnp.asarray, parts))

    @property
    def evidence(self) -> RowEvidence:
        """What edges need to know of the rows, each [C]."""
        return RowEvidence(self.mean, self.spread, self.scale, self.nearest)


# Arrays with one entry a row, and the axis of the rows.
ROW_AXIS = {name: int(name == "stages") for name in Gallery._fields[:15]}
_EMPTY = {"ids", "candidates", "edges", "clusters"}


def resize(gallery: Gallery, capacity: int) -> Gallery:
    """Copies the rows into arrays of so many, the rest empty."""
    grown = {}
    for name, axis in ROW_AXIS.items():
        old = getattr(gallery, name)
        shape = (*old.shape[:axis], capacity, *old.shape[axis + 1 :])
        new = grown[name] = np.zeros(shape, old.dtype)  # in memory where written
        part = (slice(None),) * axis + (slice(gallery.count),)
        new[part] = old[part]
        if name in _EMPTY:
            new[gallery.count :] = -1
    return gallery._replace(**grown)
