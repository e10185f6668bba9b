"""The method as a program runs it: flags, and the way from files to refined features.

Importing this module defines the flags.
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.clustering.scores import score_candidates
from gfa_jax.neighbors import choose_search
from gfa_jax.programs import cli, flags, inputs, outputs, settings
from gfa_jax.selection import thresholds

FLAGS = flags.FLAGS
flags.adopt(settings)

flags.DEFINE_enum(
    "neighbors",
    "exact",
    ["exact", "approximate", "auto", "faiss"],
    "exact: in JAX; approximate: FAISS, calibrated to --edge_recall; auto: the one of "
    "these two that its time on this machine speaks for; faiss: as told.",
)
flags.DEFINE_float(
    "edge_recall", 0.99, "Share of the edges above the threshold to find.", 0.0, 1.0
)
flags.DEFINE_string("candidates", None, "Candidates found before: .npz or .npy.")
flags.DEFINE_string("faiss_factory", "Flat", "FAISS index factory string.")
flags.DEFINE_string("faiss_search", "", "FAISS search parameters: nprobe=16.")


class Run(NamedTuple):
    """What stands when the features are refined.

    Attributes:
        pool: as it was read.
        settings: as told, or as suggested.
        neighbors: [N, k] candidates.
        calibration: how well they were searched, where that was measured.
        num_outliers: rows that were isolated.
        result: of `gfa_jax.aggregate`.
        folder: where the results go; it can be written.
    """

    pool: inputs.Pool
    settings: settings.Settings
    neighbors: gfa.Neighbors
    calibration: gfa.neighbors.Calibration | None
    num_outliers: int
    result: gfa.Aggregation
    folder: pathlib.Path


def run(stages: cli.Stages, *, output_dir: str, names: Sequence[str]) -> Run:
    """Reads, checks, searches and refines, as the flags say.

    Args:
        stages: times the stages load, neighbors and updates.
        output_dir: folder of the results.
        names: files that the program will write there; none may be an input.

    Returns:
        Run.

    Raises:
        ValueError: anything about the files or flags that cannot be used.
    """
    with stages("load"):
        request = settings.read()
        inputs.refuse_overwriting(
            input_files(),
            (pathlib.Path(output_dir, name) for name in names),
        )
        pool = inputs.load_pool()
        gfa.neighbors.check_k(request.values["k"], len(pool.features))
        folder = outputs.prepare_folder(output_dir)
        features = jnp.asarray(pool.features)
    with stages("neighbors"):
        neighbors, calibration = jax.block_until_ready(
            find_neighbors(features, request)
        )
    with stages("settings"):
        chosen = request.settle(
            functools.partial(
                thresholds.suggest,
                pool.features,
                neighbors,
                seed=FLAGS.seed,
                progress=cli.progress,
            )
        )
        num_outliers = 0
        if chosen.isolates:
            is_outlier = gfa.find_outliers(neighbors, threshold=chosen.first_threshold)
            neighbors = gfa.selection.isolate(neighbors, is_outlier)
            num_outliers = int(is_outlier.sum())
        neighbors = gfa.Neighbors(*(column[:, : chosen.k] for column in neighbors))
    with stages("updates"):
        result = jax.block_until_ready(
            gfa.aggregate(
                features,
                neighbors,
                chosen.params,
                progress=cli.progress,
                **chosen.options,
            )
        )
    return Run(pool, chosen, neighbors, calibration, num_outliers, result, folder)


def input_files() -> tuple[str | None, ...]:
    """Returns the files that the flags name, which no output may replace."""
    return FLAGS.features, FLAGS.labels, FLAGS.pairs, FLAGS.candidates, FLAGS.params


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
            indices, similarity, k=width, include_self=request.values["include_self"]
        )
        if np.isnan(placed.similarity).any():  # a file of row numbers only
            cosines = score_candidates(features, jnp.asarray(placed.indices))
            is_empty = np.asarray(placed.indices) < 0
            placed = placed._replace(similarity=np.where(is_empty, -np.inf, cosines))
        return placed, None
    options: dict[str, Any] = {
        "k": width,
        "include_self": request.values["include_self"],
        "progress": cli.progress,
    }
    search, threshold = FLAGS.neighbors, request.threshold
    if threshold is None and search in ("auto", "approximate"):
        # The edges above what is suggested later are among those above this.
        threshold = thresholds.bound_impostors(features, seed=FLAGS.seed)
    if search == "auto":
        chosen = choose_search(*features.shape, k=width, threshold=request.threshold)
        search = chosen.search
        cli.announce(f"{search} neighbors", chosen.seconds, chosen.reason)
    if search == "approximate":
        return gfa.approximate_neighbors(
            features,
            edge_recall=FLAGS.edge_recall,
            threshold=threshold,
            **options,
        )
    if search == "faiss":
        options |= {"factory": FLAGS.faiss_factory, "search": FLAGS.faiss_search}
        return gfa.faiss_neighbors(features, **options), None
    return gfa.exact_neighbors(features, **options), None
