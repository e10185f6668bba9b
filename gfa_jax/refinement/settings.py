"""What one run is made with: as given, or as the pool chooses it without labels."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gfa_jax import selection
from gfa_jax.checks import check_params
from gfa_jax.neighbors import check_k
from gfa_jax.selection.expansion import EXPANSION_K
from gfa_jax.types import (
    DEFAULT,
    Neighbors,
    Options,
    Params,
    Scalar,
)

# What is used with a threshold, where nothing else is given.
_K, _GAMMA, _NUM_STEPS = 15, 0.5, 4


class Settings(NamedTuple):
    """What one run of the method is made with.

    Attributes:
        k: K, the row itself counted.
        params: of `aggregate`.
        num_steps: T.
        neighbors: [n, M] the candidates that count, of the rows of this process.
        weights: [n, M] float32 what each edge is worth; None where `options` say.
        options: of `aggregate`, where there are no weights.
        dropped: [n] bool, rows that have no edge and keep their place.
        found: what the pool chose; None where a threshold was given.
    """

    k: int
    params: Params
    num_steps: int
    neighbors: Neighbors
    weights: np.ndarray | None
    options: Options
    dropped: np.ndarray
    found: selection.Settings | None = None

    @property
    def evidence(self) -> selection.Evidence | None:
        """What was seen of the pool where it was asked."""
        return None if self.found is None else self.found.evidence

    @property
    def first_threshold(self) -> float:
        """The threshold of the first update."""
        return float(np.ravel(self.params.threshold)[0])

    def __repr__(self) -> str:
        """Says the settings in one line."""
        gamma = np.round(np.ravel(self.params.gamma), 4).tolist()
        gamma = gamma[0] if len(gamma) == 1 else gamma
        half = f"an edge counts above a cosine of {self.first_threshold:.3f}"
        if self.weights is not None:
            at = math.nan if self.evidence is None else self.evidence.half_cosine
            half = f"an edge is as likely as not at a cosine of {at:.3f}"
            half = (
                "no cosine tells likely edges from others" if math.isnan(at) else half
            )
        return (
            f"K = {self.k} (the row itself counted), T = {self.num_steps}, "
            f"gamma = {gamma}; {half}"
        )


class Request(NamedTuple):
    """Settings as given, before the pool is known; None for what it shall choose.

    Attributes:
        k: K, the row itself counted.
        threshold: cosine t in [-1, 1]; [T] for one an update.
        gamma: as the threshold, in [0, 1].
        num_steps: T.
        options: with a threshold by default those of `aggregate`; without one they
            take the place of the weights that the pool would choose.
        temperature: see `Params`.
        exponent: see `Params`.
        num_candidates: candidates a row to search, the row itself counted.
        chosen_edges: whether, with a threshold, of the candidates only those count
            that the pool chooses.
    """

    k: int | None = None
    threshold: Scalar | None = None
    gamma: Scalar | None = None
    num_steps: int | None = None
    options: Options | None = None
    temperature: Scalar = 0.05
    exponent: Scalar = 3.0
    num_candidates: int | None = None
    chosen_edges: bool = False

    @property
    def first_threshold(self) -> float | None:
        """The first threshold given; None where the pool chooses."""
        return None if self.threshold is None else float(np.ravel(self.threshold)[0])

    def check(self) -> None:
        """Refuses values out of their ranges.

        Raises:
            ValueError: what was got and what was expected.
        """
        for name, least in (("k", 1), ("num_steps", 0), ("num_candidates", 2)):
            value = getattr(self, name)
            whole = isinstance(value, int | np.integer) and value >= least
            if value is not None and not whole:
                raise ValueError(
                    f"{name} is {value!r}; expected a whole number from {least} on"
                )
        if not isinstance(self.options, Options | None):
            raise ValueError(
                f"options are {self.options!r}; expected gfa_jax.PAPER or "
                "gfa_jax.Options(...)"
            )
        num_steps = _NUM_STEPS if self.num_steps is None else self.num_steps
        gamma = _GAMMA if self.gamma is None else self.gamma
        threshold = 0.0 if self.threshold is None else self.threshold
        params = Params(gamma, threshold, self.temperature, self.exponent)
        check_params(params, num_steps=num_steps)

    def width(self, num_rows: int) -> int:
        """Says how many candidates to search.

        Args:
            num_rows: N.

        Returns:
            Their number a row, the row itself counted.

        Raises:
            ValueError: k of more than there are.
        """
        if self.k is not None:
            check_k(self.k, num_rows)
        asks = self.threshold is None or self.chosen_edges
        usual = 1 if self.threshold is None else _K
        width = max(self.k or usual, selection.WIDTH if asks else EXPANSION_K)
        if self.num_candidates is not None:
            width = max(self.num_candidates, self.k or 2)
        return min(width, num_rows - 1)

    def resolve(
        self, neighbors: Neighbors, choose: Callable[[], selection.Settings]
    ) -> Settings:
        """Asks the pool for what was not given.

        Args:
            neighbors: [n, width] candidates, the row itself first.
            choose: gives `selection.choose_settings` of the pool.

        Returns:
            Settings, complete.
        """
        found = weights = None
        dropped = np.zeros(len(neighbors.indices), bool)
        threshold, options = self.threshold, self.options or DEFAULT
        k, gamma, num_steps = min(_K, neighbors.indices.shape[1]), _GAMMA, _NUM_STEPS
        if threshold is None:
            found = choose()
            half = found.evidence.half_cosine
            # Without edges that count more than not, the hard mask keeps none.
            threshold = 1.0 if math.isnan(half) else half
            k, gamma, num_steps = found.k + 1, found.gamma, found.num_steps
            if self.options is None:
                neighbors, dropped = found.neighbors, np.asarray(found.dropped)
                weights = found.weights[:, : self.k]
        elif self.chosen_edges:
            edges = choose()
            neighbors, dropped = edges.neighbors, np.asarray(edges.dropped)
        k = k if self.k is None else self.k
        gamma = gamma if self.gamma is None else self.gamma
        return Settings(
            k,
            Params(gamma, threshold, self.temperature, self.exponent),
            num_steps if self.num_steps is None else self.num_steps,
            neighbors.first(k if weights is None else weights.shape[1]),
            weights,
            options,
            dropped,
            found,
        )
