"""The method as a program runs it: flags, and the way from files to refined features.

Importing this module defines the flags.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import gfa_jax as gfa
from experiments import cli, inputs, outputs
from gfa_jax import datasets, outliers
from gfa_jax.affinity import MASKS, WEIGHTINGS
from gfa_jax.aggregation import GRAPHS
from gfa_jax.clustering.scores import score_candidates
from gfa_jax.neighbors import choose_search

FLAGS = flags.FLAGS

flags.DEFINE_enum(
    "preset",
    "safe",
    sorted(gfa.PRESETS),
    "safe: cubed affinities fixed at the first step; paper: its letter.",
)
flags.DEFINE_integer(
    "k", 15, "Neighbours a row, the row itself counted: 15 is itself and 14 others."
)
flags.DEFINE_float("threshold", 0.55, "Cosine t an edge must exceed.", -1.0, 1.0)
flags.DEFINE_float("gamma", 0.5, "Step towards the pseudo-center.", 0.0, 1.0)
flags.DEFINE_integer("num_steps", 4, "Number T of updates.", lower_bound=0)
flags.DEFINE_enum("mask", "hard", MASKS, "[A > t], or its sigmoid.")
flags.DEFINE_float("temperature", 0.05, "Width of the soft mask.")
flags.DEFINE_enum("weighting", None, WEIGHTINGS, "Weights; the preset's by default.")
flags.DEFINE_float("exponent", 3.0, "Power of the affinity weights.")
flags.DEFINE_enum("graph", None, GRAPHS, "Graph; the preset's by default.")
flags.DEFINE_integer("refresh_every", 1, "Steps between searches.", lower_bound=1)
flags.DEFINE_bool("include_self", True, "Whether a row is its own neighbour.")
flags.DEFINE_bool(
    "isolate_outliers", False, "Leave rows that are near nobody where they are."
)
flags.DEFINE_bool("renormalize", True, "Whether each step ends on unit rows.")

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
        options: of `gfa_jax.aggregate`, the preset's choices filled in.
        neighbors: [N, k] candidates.
        calibration: how well they were searched, where that was measured.
        num_outliers: rows that were isolated.
        result: of `gfa_jax.aggregate`.
        folder: where the results go; it can be written.
    """

    pool: inputs.Pool
    options: dict[str, Any]
    neighbors: gfa.Neighbors
    calibration: gfa.Calibration | None
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
        options, params = read_options()
        inputs.refuse_overwriting(
            (FLAGS.features, FLAGS.labels, FLAGS.pairs, FLAGS.candidates),
            (pathlib.Path(output_dir, name) for name in names),
        )
        pool = inputs.load_pool()
        gfa.check_k(FLAGS.k, len(pool.features))
        folder = outputs.prepare_folder(output_dir)
        features = jnp.asarray(pool.features)
    with stages("neighbors"):
        neighbors, calibration = jax.block_until_ready(find_neighbors(features))
        num_outliers = 0
        if FLAGS.isolate_outliers:
            is_outlier = gfa.find_outliers(neighbors, threshold=FLAGS.threshold)
            neighbors = gfa.isolate(neighbors, is_outlier)
            num_outliers = int(is_outlier.sum())
        neighbors = gfa.Neighbors(*(column[:, : FLAGS.k] for column in neighbors))
    with stages("updates"):
        result = jax.block_until_ready(
            gfa.aggregate(features, neighbors, params, progress=cli.progress, **options)
        )
    return Run(pool, options, neighbors, calibration, num_outliers, result, folder)


def read_options() -> tuple[dict[str, Any], gfa.Params]:
    """Joins the preset with the flags that overrule it.

    Returns:
        Keyword options of `gfa_jax.aggregate`, and its parameters.

    Raises:
        ValueError: options that do not go together, a parameter out of its range.
    """
    options = dict(gfa.PRESETS[FLAGS.preset])
    options.update(
        (name, getattr(FLAGS, name))
        for name in ("weighting", "graph")
        if getattr(FLAGS, name) is not None
    )
    for name in ("num_steps", "mask", "include_self", "renormalize", "refresh_every"):
        options[name] = getattr(FLAGS, name)
    if options["graph"] == "refresh" and (
        FLAGS.neighbors != "exact" or FLAGS.candidates is not None
    ):
        raise ValueError(
            "--graph=refresh searches again exactly; use it with --neighbors=exact and "
            "without --candidates"
        )
    if options["graph"] == "refresh" and FLAGS.isolate_outliers:
        raise ValueError(
            "--graph=refresh searches anew and finds the outliers again; use it "
            "without --isolate_outliers"
        )
    params = gfa.Params(FLAGS.gamma, FLAGS.threshold, FLAGS.temperature, FLAGS.exponent)
    gfa.check_params(params)
    return options, params


def search_width(num_rows: int) -> int:
    """Returns how many candidates to search: --k, or more to tell outliers by."""
    if not FLAGS.isolate_outliers:
        return FLAGS.k
    return max(FLAGS.k, min(outliers.DEFAULT_RANK + 1, num_rows - 1))


def find_neighbors(
    features: jax.Array,
) -> tuple[gfa.Neighbors, gfa.Calibration | None]:
    """Reads or searches the candidates, as the flags say.

    Args:
        features: [N, D] unit rows.

    Returns:
        Neighbors [N, `search_width`]; how well they were searched, where that was
        measured.
    """
    if FLAGS.candidates is not None:
        indices, similarity = datasets.read_candidates(
            FLAGS.candidates, num_rows=len(features)
        )
        placed = gfa.place_self(
            indices,
            similarity,
            k=search_width(len(indices)),
            include_self=FLAGS.include_self,
        )
        if np.isnan(placed.similarity).any():  # a file of row numbers only
            cosines = score_candidates(features, jnp.asarray(placed.indices)).similarity
            is_empty = np.asarray(placed.indices) < 0
            placed = placed._replace(similarity=np.where(is_empty, -np.inf, cosines))
        return placed, None
    options: dict[str, Any] = {
        "k": search_width(len(features)),
        "include_self": FLAGS.include_self,
        "progress": cli.progress,
    }
    search = FLAGS.neighbors
    if search == "auto":
        chosen = choose_search(
            *features.shape, k=options["k"], threshold=FLAGS.threshold
        )
        search = chosen.search
        about = f"{search} neighbors, about {max(1, round(chosen.seconds)):,} s"
        print(f"{about}: {chosen.reason}", file=sys.stderr, flush=True)
    if search == "approximate":
        return gfa.approximate_neighbors(
            features,
            edge_recall=FLAGS.edge_recall,
            threshold=FLAGS.threshold,
            **options,
        )
    if search == "faiss":
        options |= {"factory": FLAGS.faiss_factory, "search": FLAGS.faiss_search}
        return gfa.faiss_neighbors(features, **options), None
    return gfa.exact_neighbors(features, **options), None
