"""The rows in memory, on one device."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets, selection
from gfa_jax.checks import is_host
from gfa_jax.clustering.scores import score_candidates
from gfa_jax.programs import backends, cli, evaluation, flags, inputs
from gfa_jax.refinement import Refinement
from gfa_jax.refinement.pool import update_rows

FLAGS = flags.FLAGS


class MemoryBackend(backends.Backend):
    """Rows [N, D] in the memory of the device."""

    _pool: inputs.Pool
    _features: jax.Array
    _are_cosines: bool

    def read(self, request, folder) -> inputs.Pool:
        """Reads the whole pool, or generates a sample."""
        del request, folder
        self._pool = inputs.load_pool(on_device=jax.default_backend() != "cpu")
        self._features = jnp.asarray(self._pool.features)
        return self._pool

    def search(self, request) -> backends.Searched:
        """Reads or searches the candidates, as the flags say."""
        features, width = self._features, request.width(len(self._features))
        if FLAGS.candidates is not None:

            def score(indices: np.ndarray) -> np.ndarray:
                return score_candidates(features, jnp.asarray(indices))

            return backends.read_candidates(features, request, score)
        options: dict[str, Any] = {"k": width, "progress": cli.progress}
        search = backends.choose(features.shape, request, default="exact")
        if search == "approximate":
            options |= {"edge_recall": FLAGS.edge_recall}
            options |= {"threshold": request.first_threshold}
            return gfa.approximate_neighbors(features, **options)
        if search == "faiss":
            options |= {"factory": FLAGS.faiss_factory, "search": FLAGS.faiss_search}
            found = gfa.faiss_neighbors(features, **options)
            name = f"FAISS {FLAGS.faiss_factory}"
            return found, backends.measure(features, found, request, name)
        return gfa.exact_neighbors(features, **options), None

    def refine(self, request, searched, stages) -> Refinement:
        """Does what `gfa_jax.refine` does."""
        self._are_cosines = not is_host(searched.similarity)  # see `update_rows`
        result = super().refine(request, searched, stages)
        if not is_host(result.features):  # which are written from where they are
            return result
        return result._replace(features=np.asarray(result.features))

    def choose(self, near) -> selection.Settings:
        """See `Backend`."""
        return gfa.choose_settings(self._features, near, seed=FLAGS.seed)

    def update(self, chosen, stage) -> gfa.Aggregation:
        """See `Backend`."""
        del stage
        return update_rows(
            self._features,
            chosen,
            progress=cli.progress,
            are_cosines=self._are_cosines,
        )

    def verify(self, rows, stage, **options: Any) -> evaluation.Verification:
        """See `Backend`."""
        del stage
        rows = np.asarray(self._pool.features if rows is None else rows)
        return evaluation.verify(rows, self._pool, progress=cli.progress, **options)

    def write(self, rows, hidden: pathlib.Path) -> None:
        """See `Backend`."""
        written = datasets.write_array(hidden / self.refined_name, rows)
        self.written = {self.refined_name: written}
