"""Shows how well embeddings verify, as they are; or checks a folder of results.

    gfa verify --features=embeddings.npy --labels=labels.npy
    gfa verify outputs/refine

The first prints the TPR at each FPR over all pairs of the labels, or over --pairs, with
bootstrap intervals, and writes report.json to --output_dir. The second tells whether
all files of a folder are of the run that its report.json describes, and whether that
run's inputs are what they were, by their SHA-256: 2 s a GB.
"""

import pathlib

from gfa_jax.datasets.fingerprints import is_other
from gfa_jax.programs import cli, evaluation, flags, inputs, outputs

FLAGS = flags.FLAGS
flags.adopt(inputs)
flags.adopt(evaluation)

flags.DEFINE_input("results", None, "A folder that a program wrote, to be checked.")
flags.DEFINE_string("output_dir", "outputs/verify", "Folder of the results.")

POSITIONAL = ("results",)
EVERYDAY = (
    *("features", "labels", "pairs", "fprs", "resamples", "max_images"),
    *("output_dir", "results"),
)
_OUTPUTS = ("report.json",)


def main() -> None:
    """Measures the rows, or checks a folder."""
    if FLAGS.results is not None:
        print(_check(pathlib.Path(FLAGS.results)))
        return
    options, stages = evaluation.options(), cli.Stages()
    if FLAGS.features is None:
        raise ValueError("name --features, or a folder of results: gfa verify FOLDER")
    truth = FLAGS.labels, FLAGS.labels_column, FLAGS.pairs
    if not any(truth):
        raise ValueError("name --labels or --pairs: which rows belong together")
    folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
    with stages("load"):
        pool = inputs.load_pool()
    with stages("evaluation"):
        found = evaluation.verify(pool.features, pool, progress=cli.progress, **options)
    with outputs.staged(folder, _OUTPUTS) as hidden:
        report = {
            "pool": inputs.describe(pool),
            "verification": evaluation.as_report(found),
            "seconds": stages.seconds,
        }
        outputs.write_report(hidden, report)
    print(f"{inputs.say(pool)}\n\n{_table(found)}\n\n{folder}: report.json")


def _table(found: evaluation.Verification) -> str:
    intervals = found.intervals or [None] * len(found.points)
    rows = [["FPR", "TPR ", "[95 %]" if found.intervals else "", "false accepts"]]
    for point, interval in zip(found.points, intervals, strict=True):
        bounds = [] if interval is None else evaluation.bounds(interval)
        known = [f"{bound:.4f}" for bound in bounds if bound is not None]
        tpr = f"{point.tpr:.4f}{' ' if point.is_reliable else '*'}"
        both = f"[{', '.join(known)}]" if known else ""
        rows.append([f"{point.fpr_target:.0e}", tpr, both, f"{point.false_accepts:,}"])
    pairs = evaluation.footnote(found.roc.num_genuine, found.roc.num_impostor)
    return f"{evaluation.align(rows)}\n{pairs}"


def _check(folder: pathlib.Path) -> str:
    report = outputs.read_report(folder)
    if report is None:
        raise ValueError(
            f"{folder}: no report.json with the hashes of a run; name a folder that "
            "gfa wrote"
        )
    program, about = report["program"], report["environment"]
    of_run = f"the run of {program} of {about['date']} (gfa_jax {about['gfa_jax']})"
    if mixed := outputs.differing(folder, report):
        raise ValueError(
            f"{folder}: {', '.join(mixed)} changed, gone or of another run than "
            f"report.json, {of_run}; run {program} again with "
            f"--config={folder}/report.json"
        )
    for name, stored in report["inputs"].items():
        path = pathlib.Path(stored.pop("path"))
        if is_other(path, stored):
            cli.warn(f"--{name}={path} is not, or no more, what that run read")
    return f"{folder}: all {len(report['outputs'])} files are of {of_run}"
