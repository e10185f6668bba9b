"""The rows in memory, on one device."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets, selection
from gfa_jax.clustering.scores import score_candidates
from gfa_jax.neighbors import choose_search
from gfa_jax.programs import cli, evaluation, flags, inputs, settings
from gfa_jax.programs.backends import Backend, Updated

FLAGS = flags.FLAGS


class MemoryBackend(Backend):
    """Rows [N, D] in the memory of the device."""

    _pool: inputs.Pool
    _features: jax.Array

    def read(self, request, folder) -> inputs.Pool:
        """Reads the whole pool, or generates a sample."""
        del request, folder
        self._pool = inputs.load_pool()
        self._features = jnp.asarray(self._pool.features)
        return self._pool

    def search(self, request):
        """Reads or searches the candidates, as the flags say."""
        return find_neighbors(self._features, request)

    def choose(self, neighbors) -> selection.Settings:
        """See `Backend`."""
        return selection.choose_settings(self._features, neighbors, seed=FLAGS.seed)

    def aggregate(self, chosen, folder, *, stage) -> Updated:
        """See `Backend`."""
        del folder, stage
        result = gfa.aggregate(
            self._features,
            chosen.neighbors,
            chosen.params,
            num_steps=chosen.num_steps,
            weights=chosen.weights,
            progress=cli.progress,
            options=gfa.Options(**chosen.options),
        )
        return Updated(*map(np.asarray, result))

    def verify(self, rows, stage, **options: Any) -> evaluation.Verification:
        """See `Backend`."""
        del stage
        rows = self._pool.features if rows is None else rows
        return evaluation.verify(rows, self._pool, progress=cli.progress, **options)

    def write(self, rows, folder: pathlib.Path, hidden: pathlib.Path) -> None:
        """See `Backend`."""
        del folder
        datasets.write_array(hidden / self.refined_name, rows)


def find_neighbors(
    features: jax.Array, request: settings.Request
) -> tuple[gfa.Neighbors, gfa.neighbors.Calibration | None]:
    """Reads or searches the candidates, as the flags say.

    Args:
        features: [N, D] unit rows.
        request: says how many, and which edges an approximate search must find.

    Returns:
        Neighbors [N, `request.width`]; how well they were searched, where that was
        measured.
    """
    width = request.width(len(features))
    if FLAGS.candidates is not None:
        indices, similarity = datasets.read_candidates(
            FLAGS.candidates, num_rows=len(features)
        )
        placed = gfa.neighbors.place_self(
            indices, similarity, k=width, include_self=True
        )
        if np.isnan(placed.similarity).any():  # a file of row numbers only
            cosines = score_candidates(features, jnp.asarray(placed.indices))
            is_empty = np.asarray(placed.indices) < 0
            placed = placed._replace(similarity=np.where(is_empty, -np.inf, cosines))
        return placed, None
    options: dict[str, Any] = {"k": width, "progress": cli.progress}
    search = FLAGS.neighbors or "exact"
    if search == "auto":
        choice = choose_search(*features.shape, k=width, threshold=request.threshold)
        search = choice.search
        cli.announce(f"{search} neighbors", choice.seconds, choice.reason)
    if search == "approximate":
        return gfa.approximate_neighbors(
            features,
            edge_recall=FLAGS.edge_recall,
            threshold=request.threshold,
            **options,
        )
    if search == "faiss":
        options |= {"factory": FLAGS.faiss_factory, "search": FLAGS.faiss_search}
        return gfa.faiss_neighbors(features, **options), None
    return gfa.exact_neighbors(features, **options), None
