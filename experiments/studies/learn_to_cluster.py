"""The MS1M clustering table: our columns beside the published ones, in one command.

    python -m experiments.learn_to_cluster --folder=data

reads a folder as learn-to-cluster distributes it,

    features/X.bin            float32, rows of 256 columns (or --dim)
    labels/X.meta             an identity a line
    knns/X/faiss_k_80.npz     array `data` [N, 2, 80]: row numbers, 1 − cos

Every rule tries up to --trials settings on the training part (--tune), whose people are
in none of the tests, and keeps the one with the largest mean of pairwise F and BCubed
F. The table gives both for each part of --parts that is there, beside the published
figures of the same size. It writes report.json, table.txt and, for each part,
labels_X.npy to --output_dir.

Features are read through a memory map, a part at a time. Memory: about 20 N D bytes
and 1.5 kB a row for the 80 candidates: 35 GB at 5.2 million rows of 256, 4 GB at
584,000.
"""

import pathlib
import time
from typing import Any

import numpy as np

import gfa_jax as gfa
from experiments.studies.clusterers import CLUSTERERS, OURS, Problem, published, tuning
from gfa_jax import datasets, metrics
from gfa_jax.neighbors import place_self
from gfa_jax.programs import cli, flags, inputs, outputs

FLAGS = flags.FLAGS
flags.adopt(inputs, "dim", "seed")

flags.DEFINE_input("folder", None, "Folder with features, labels and knns.")
flags.DEFINE_string("output_dir", "outputs/learn_to_cluster", "Folder of the results.")
flags.DEFINE_string("knn", "faiss_k_80", "Name of the candidate files.")
flags.DEFINE_string("tune", "part0_train", "Part to choose the settings on.")
flags.DEFINE_list(
    "parts",
    ["part1_test", "part3_test", "part5_test", "part7_test", "part9_test"],
    "Parts to report; those that are not there are left out.",
)
flags.DEFINE_list("rules", [OURS, "components"], "Clusterers to run.")
flags.DEFINE_integer("trials", 12, "Settings each rule may try.", lower_bound=1)
flags.DEFINE_integer("k", 80, "Candidates to read.", lower_bound=2)


_DIM = 256  # of the published features, where --dim does not say otherwise


def main() -> None:
    """Tunes on the training part, then clusters every test part."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    rules = _rules()
    folder, parts = _find_parts()
    names = [*(f"labels_{part}.npy" for part in parts), "table.txt", "report.json"]
    output = outputs.prepare_folder(FLAGS.output_dir, names)
    with stages("tuning"):
        problem, identities = read_part(folder, FLAGS.tune)
        tried = {
            name: tuning.tune(
                CLUSTERERS[name],
                problem,
                identities,
                trials=FLAGS.trials,
                seed=FLAGS.seed,
            )
            for name in cli.progress(rules, total=len(rules), desc="tuning")
        }
        chosen = {name: tuning.best(each) for name, each in tried.items()}
    results: list[dict[str, Any]] = []
    with outputs.staged(output, names) as hidden:
        for part in parts:
            with stages(f"{part}: files"):
                problem, identities = read_part(folder, part)
            for rule in rules:
                start = time.perf_counter()
                labels = CLUSTERERS[rule].cluster(problem, **chosen[rule])
                seconds = time.perf_counter() - start
                scores = metrics.cluster_scores(identities, labels)
                results.append(
                    {
                        "part": part,
                        "rows": len(identities),
                        "rule": rule,
                        "scores": outputs.cluster_report(scores),
                        "seconds": seconds,
                    }
                )
                if rule == rules[0]:
                    datasets.write_array(hidden / f"labels_{part}.npy", labels)
        text = published.table(results)
        datasets.write_text(hidden / "table.txt", text + "\n")
        report = {
            "settings": chosen,
            "tried": tried,
            "results": results,
            "published": published.PUBLISHED,
            "seconds": stages.seconds,
        }
        outputs.write_report(hidden, report)
    missing = [part for part in FLAGS.parts if part not in parts]
    if missing:
        cli.warn(f"not there and left out: {', '.join(missing)}")
    print(text)


def read_part(folder: pathlib.Path, part: str) -> tuple[Problem, np.ndarray]:
    """Reads a part of the folder.

    Args:
        folder: with features, labels and knns.
        part: the X of the file names.

    Returns:
        The problem; [N] integer identities.

    Raises:
        ValueError: a file that is missing, malformed, or of another number of rows.
    """
    name = str(folder / "features" / f"{part}.bin")
    stored = datasets.read_features(name, dim=FLAGS.dim or _DIM)
    features = inputs.unit_rows(stored, datasets.check_features(stored, name=name))
    labels = datasets.read_labels(folder / "labels" / f"{part}.meta")
    datasets.check_labels(labels, len(features))
    identities, people = datasets.encode_labels(labels)
    indices, similarity = datasets.read_candidates(
        folder / "knns" / part / f"{FLAGS.knn}.npz", num_rows=len(features)
    )
    neighbors = place_self(indices, similarity, k=FLAGS.k)
    on_host = gfa.Neighbors(*(np.asarray(column) for column in neighbors))
    return Problem(features, on_host, len(people), FLAGS.seed), identities


def _rules() -> list[str]:
    unknown = [name for name in FLAGS.rules if name not in CLUSTERERS]
    if unknown or not FLAGS.rules:
        raise ValueError(
            f"--rules={','.join(FLAGS.rules)}: expected some of {', '.join(CLUSTERERS)}"
        )
    return list(dict.fromkeys(FLAGS.rules))


def _find_parts() -> tuple[pathlib.Path, list[str]]:
    """Returns the folder and the parts that are there."""
    if FLAGS.folder is None:
        raise ValueError("--folder is not given; expected one as learn-to-cluster's")
    folder = pathlib.Path(FLAGS.folder)

    def is_there(part: str) -> bool:
        return (folder / "features" / f"{part}.bin").is_file()

    if not is_there(FLAGS.tune):
        raise ValueError(
            f"{folder}/features/{FLAGS.tune}.bin is not there; --tune names the part "
            "to choose the settings on, --folder that of features, labels and knns"
        )
    parts = [part for part in dict.fromkeys(FLAGS.parts) if is_there(part)]
    if FLAGS.tune in parts:
        raise ValueError(
            f"{FLAGS.tune} is in --tune and in --parts; settings are chosen on other "
            "people than they are reported on"
        )
    if not parts:
        raise ValueError(
            f"{folder}/features holds none of {', '.join(FLAGS.parts)}; name others "
            "with --parts"
        )
    return folder, parts
