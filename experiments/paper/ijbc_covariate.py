r"""IJB-C test 2, 47.4 million pairs of images (paper, §4.1, Tab. 1 and Fig. 5 to 8).

    python -m experiments.ijbc_covariate --features=faces.npy \
        --probe_reference=ijbc_11_covariate_probe_reference.csv \
        --matches=ijbc_11_covariate_matches.csv \
        --drop_subjects=overlap.txt --undetected=undetected.txt

Feature row i is the face of row i of the probe_reference file (its header aside).
--drop_subjects lists SUBJECT_IDs that the network was trained on. --undetected lists
TEMPLATE_IDs whose face was not found; it adds the "cleaned" half of the table, without
them. The paper publishes neither list. What is dropped is not in the pool either.

Each half has its own folder in --output_dir. failures.csv lists the rows that were
harmed most, by the setting that did worst at the strictest FPR (see `failures`). The
whole set takes about 7 GB of memory; most of the time goes to the intervals, which
--resamples=0 leaves out.
"""

import functools
import pathlib
from collections.abc import Sequence

import numpy as np

import gfa_jax as gfa
from experiments.paper import failures, grid, paper, protocols, tables
from gfa_jax import datasets
from gfa_jax.programs import cli, flags, inputs

FLAGS = flags.FLAGS
flags.adopt(grid)
flags.adopt(inputs, "features", "features_key", "dim", "seed")

flags.DEFINE_input("probe_reference", None, "ijbc_11_covariate_probe_reference.csv.")
flags.DEFINE_input("matches", None, "ijbc_11_covariate_matches.csv.")
flags.DEFINE_input("drop_subjects", None, "SUBJECT_IDs to leave out, one a line.")
flags.DEFINE_input("undetected", None, "TEMPLATE_IDs to leave out when cleaned.")
flags.DEFINE_integer("failures", 50, "Harmed rows to list.", lower_bound=0)
flags.DEFINE_string("output_dir", "outputs/ijbc_covariate", "Folder of the results.")
flags.require("features", "probe_reference", "matches")


def main() -> None:
    """Sweeps the grid of Tab. 1, and again without the undetected faces."""
    cli.keep_compiled_programs()
    halves = [("all", None, paper.IJBC_COVARIATE)]
    if FLAGS.undetected is not None:
        # First, so that a bad list is refused before any work.
        halves.insert(0, ("cleaned", FLAGS.undetected, paper.IJBC_COVARIATE_CLEANED))
    for half, undetected, table in halves:
        tables.run(
            functools.partial(_load, undetected, table),
            folder=str(pathlib.Path(FLAGS.output_dir, half)),
            extra=_list_failures,
        )


def _load(undetected: str | None, table: paper.Table) -> grid.Task:
    protocol = protocols.read_ijbc_covariate(
        FLAGS.probe_reference,
        FLAGS.matches,
        drop_subjects=FLAGS.drop_subjects,
        drop_templates=undetected,
        progress=cli.progress,
    )
    datasets.check_pairs(protocol.pairs, len(protocol.rows))
    pool = inputs.load_pool()
    in_file = protocol.counts[0].found
    if len(pool.features) != in_file:
        raise ValueError(
            f"{FLAGS.features}: got {len(pool.features)} rows, expected {in_file}, one "
            f"a line of {FLAGS.probe_reference}"
        )
    pool = pool._replace(
        features=pool.features[protocol.rows],
        norms=pool.norms[protocol.rows],
        labels=protocol.subject_ids,
        pairs=protocol.pairs,
    )
    names = {
        "row": protocol.rows,
        "template_id": protocol.template_ids,
        "subject_id": protocol.subject_ids,
        "image": protocol.names,
    }
    return grid.Task(pool, table, protocol.counts, row_names=names)


def _list_failures(
    task: grid.Task, neighbors: gfa.Neighbors, rows: Sequence[grid.Row]
) -> dict[str, str]:
    """Lists the rows that the worst setting harmed."""
    worst = min(rows[1:], key=lambda row: row.verification.points[0].tpr).setting
    assert worst is not None and task.row_names is not None  # only the raw row has none
    assert task.pool.pairs is not None
    features = task.pool.features
    refined = np.asarray(grid.refine(features, neighbors, worst).features)
    harm = failures.measure(features, refined, task.pool.pairs)
    k, threshold = worst.k, worst.threshold
    print(f"failures.csv is about preset {worst.preset}, K={k}, t={threshold:g}")
    return {"failures.csv": failures.as_csv(harm, task.row_names, count=FLAGS.failures)}
