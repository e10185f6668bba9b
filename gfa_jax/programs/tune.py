"""Learns gamma, threshold, temperature and exponent on half of the identities.

    gfa tune --features=embeddings.npy --labels=labels.npy

Identities are split in two halves, each a pool by itself; what is learnt on one is
reported on the other. Every --threshold ("auto" is the cosine that misjudges the fewest
neighbours) with every --gamma and --exponent is scored once, by the TPR over all pairs
in the mean around --fpr; from the best the gradient descends a smooth form of it. A
validation every few steps chooses the step to keep, one that adds --min_gain to the
best so far. All identities of the first half teach and choose; with --held_out a share
of them only chooses. Written to --output_dir: params.json, which `refine --params`
takes, report.json and summary.png: loss, validations, parameters and the ROC of the
other half.

With --templates the rows are frames, as the network gives them, --labels is the
identity of each, and what is refined and scored are the templates. The power of the
frames' lengths by which they are pooled is learnt too; params.json then has it: pool by
it what `refine` is given.
"""

import functools
import itertools

import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets, metrics, plotting
from gfa_jax.plotting import tuning
from gfa_jax.programs import (
    cli,
    evaluation,
    flags,
    inputs,
    outputs,
    pictures,
    pooled,
    tuning_problem,
)
from gfa_jax.tuning import Objective, PooledParams, TuneResult, scaled_adam, tune
from gfa_jax.tuning.frames import AnyParams, Frames, pool_frames, update_params
from gfa_jax.tuning.losses import LOSSES
from gfa_jax.types import MASKS

FLAGS = flags.FLAGS
flags.adopt(inputs)
flags.adopt(pictures)

flags.DEFINE_string("output_dir", "outputs/tune", "Folder of the results.")
flags.DEFINE_integer("k", 15, "Neighbours a row, the row itself counted.")
flags.DEFINE_bool(
    "chosen_edges", True, "Of the candidates, those that the pool chooses."
)
flags.DEFINE_integer("num_steps", 4, "Number T of updates.", lower_bound=1)
flags.DEFINE_enum("mask", "soft", MASKS, "With which the result is to be used.")
flags.DEFINE_list(
    "threshold", ["auto", "0.25", "0.35", "0.45", "0.55"], "Where to start, cosines."
)
flags.DEFINE_list("gamma", ["0.95"], "Where to start.")
flags.DEFINE_list("exponent", ["1", "3"], "Where to start.")
flags.DEFINE_float("temperature", 0.02, "Of the soft mask, at the start.")
flags.DEFINE_input(
    "templates",
    None,
    "Template of every row: .npy, .npz, .csv, .txt. The rows are then frames to pool.",
)
flags.DEFINE_list(
    "power", ["3.6"], "Where to start, with --templates: of a frame's length."
)
flags.DEFINE_enum("loss", "partial_auc", LOSSES, "The TPR around --fpr, or of pairs.")
flags.DEFINE_integer("max_iterations", 6, "Most optimizer steps.", lower_bound=0)
flags.DEFINE_float("learning_rate", 0.3, "Of Adam, at the first step.", 0.0)
flags.DEFINE_integer("validate_every", 3, "Steps between validations.", lower_bound=1)
flags.DEFINE_float(
    "min_gain", 0.001, "What a step must add to the best score so far.", 0.0
)
flags.DEFINE_float(
    "held_out", 0.0, "Share of the identities that choose and do not teach.", 0.0, 0.9
)
flags.DEFINE_string("checkpoint", None, "File .npz to keep the run in and go on from.")
flags.DEFINE_float("fpr", 1e-4, "FPR to learn for.", 1e-12, 1.0)
flags.DEFINE_list("fprs", ["1e-6", "1e-5", "1e-4", "1e-3"], "FPRs to report.")
flags.adopt(evaluation)

EVERYDAY = (
    *("features", "labels", "output_dir", "fpr", "k", "num_steps", "mask"),
    *("templates", "max_iterations", "resamples", "seed"),
)
_AUTO = "auto"
_OUTPUTS = (
    *("params.json", pictures.SUMMARY, "loss.png", "validation.png"),
    *("parameters.png", "roc.png", "report.json"),
)


def main() -> None:
    """Learns on one half, reports on the other."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    options = evaluation.options()
    thresholds = cli.numbers("threshold", float, words=(_AUTO,))
    (fpr,) = metrics.check_targets([FLAGS.fpr])
    with stages("load"):
        frames = None
        if FLAGS.templates is None:
            pool = inputs.load_pool()
        else:
            power = cli.numbers("power", float)[0]
            pool, frames = pooled.read_frames(FLAGS.templates, power=power)
    with stages("split"):
        problem, reported, frames = tuning_problem.split(pool, frames)
        folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
    with stages("tuning"):
        starts = _starts(problem, thresholds)
        result = _learn(problem, starts)
    with stages("report"):
        raw = reported.features
        before, after = (
            evaluation.verify(rows, reported, progress=cli.progress, **options)
            for rows in (raw, _refine(raw, frames, result.params))
        )
    params = result.params._asdict() | {
        "k": FLAGS.k,
        "chosen_edges": FLAGS.chosen_edges,
        "num_steps": FLAGS.num_steps,
        "mask": FLAGS.mask,
        "weighting": gfa.Options().weighting,
        "graph": gfa.Options().graph,
    }
    report = {
        "pool": inputs.describe(pool),
        "params": params,
        "starts": [start._asdict() for start in starts],
        "learning": {
            "fpr": fpr,
            "step": result.step,
            "stopped": result.stopped,
            "score": {
                "soft": result.soft_score,
                "hard": result.hard_score,
                "gap": result.soft_score - result.hard_score,
            },
            "history": result.history._asdict(),
        },
        "verification": {
            "before": evaluation.as_report(before),
            "after": evaluation.as_report(after),
        },
        "seconds": stages.seconds,
    }
    score = f"mean TPR around {fpr:g}"
    panels = {
        "loss": functools.partial(tuning.plot_loss, result),
        "validation": functools.partial(tuning.plot_validation, result, score=score),
        "parameters": functools.partial(tuning.plot_parameters, result),
        "roc": functools.partial(
            plotting.plot_roc,
            {"raw": before.roc, "refined": after.roc},
            intervals={"raw": before.intervals, "refined": after.intervals},
            title="ROC of the other half",
        ),
    }
    title = f"{pool.name}: learnt on {len(problem.labels):,} rows"
    with outputs.staged(folder, _OUTPUTS) as hidden:
        pictures.save(hidden, panels, title=title)
        datasets.write_json(hidden / "params.json", params)
        outputs.write_report(hidden, report)
    found = ", ".join(
        f"{n}={value:.3g}" for n, value in result.params._asdict().items()
    )
    print(f"learnt on {len(problem.labels):,} rows ({result.stopped}): {found}")
    if result.step == 0:
        print(
            f"learning gained nothing: no step adds --min_gain={FLAGS.min_gain:g} to "
            f"the best start, {result.soft_score:.4f}; its values are kept"
        )
    print(f"on the other {len(reported.features):,} rows:")
    print(evaluation.table(before, after))


def _starts(
    problem: tuning_problem.Problem, thresholds: list[float]
) -> list[AnyParams]:
    """Lists every combination of what the flags say."""
    if _AUTO in FLAGS.threshold:
        thresholds.append(tuning_problem.separating_threshold(problem))
    axes = [thresholds, cli.numbers("gamma", float), cli.numbers("exponent", float)]
    starts = [
        gfa.Params(gamma, threshold, FLAGS.temperature, exponent)
        for threshold, gamma, exponent in itertools.product(*axes)
    ]
    if not isinstance(problem.features, Frames):
        return [*starts]
    powers = cli.numbers("power", float)
    return [PooledParams(*s, power=p) for s, p in itertools.product(starts, powers)]


def _learn(problem: tuning_problem.Problem, starts: list[AnyParams]) -> TuneResult:
    low, high = tuning_problem.band(problem)
    return tune(
        problem.features,
        problem.neighbors,
        *tuning_problem.training_pairs(problem),
        init_params=starts,
        validation=functools.partial(tuning_problem.validate, problem),
        objective=Objective(
            num_steps=FLAGS.num_steps,
            loss=FLAGS.loss,
            fpr_low=low,
            fpr_high=high,
            options=gfa.Options(mask=FLAGS.mask),
        ),
        optimizer=scaled_adam(FLAGS.learning_rate, max(FLAGS.max_iterations, 1)),
        max_iterations=FLAGS.max_iterations,
        batch_size=32_768,
        seed=FLAGS.seed,
        validate_every=FLAGS.validate_every,
        min_gain=FLAGS.min_gain,
        final_temperature_ratio=0.25,
        checkpoint=FLAGS.checkpoint,
        progress=cli.progress,
    )


def _refine(
    features: np.ndarray, frames: Frames | None, params: AnyParams
) -> np.ndarray:
    """Refines the half to report on, pooled anew where the power was learnt too."""
    if frames is not None:
        assert isinstance(params, PooledParams)  # learnt from frames
        features = np.asarray(
            pool_frames(frames, num_rows=len(features), power=params.power)
        )
    result = gfa.aggregate(
        features,
        tuning_problem.search(features),
        update_params(params),
        num_steps=FLAGS.num_steps,
        options=gfa.Options(mask=FLAGS.mask),
    )
    return np.asarray(result.features)
