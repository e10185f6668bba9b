"""Learns gamma, threshold and exponent on half of the identities, reports on the other.

    gfa tune --features=embeddings.npy --labels=labels.npy
    gfa tune --features=… --labels=… --grid --seeds=0,1,2

Identities are split as in holdout, and each half is a pool by itself. A small search,
then gradients: every start (each --threshold with each --gamma and --exponent, and what
the pool suggests without labels) is looked at once, by the TPR over all pairs in the
mean around --fpr, and from the best the gradient descends a smooth form of it. Every
few steps another look chooses the step to keep, one that adds --min_gain to the best so
far, and lists the impostor pairs that are hardest now. All identities of
the first half teach and choose, as they do for a grid; with --held_out a share of them
only chooses. Written to --output_dir: params.json, which `refine --params` takes,
report.json and curves.png.

With --templates the rows are frames, as the network gives them, and its file has the
template of each, --labels the identity of each; what is refined and scored are the
templates, and the power of the frames' lengths by which they are pooled is learnt too
(from --power on). params.json then has the power: pool by it what `refine` is given.

With --grid the same is done beside a grid search (every --grid_thresholds,
--grid_gammas and --grid_exponents, 200 cells by default, at the same K and T) and
beside `thresholds.suggest`, on every split of --seeds; and to take the learning apart,
the starts alone and the gradient alone. Seconds are those of the choice, in one run; a
first call, which compiles, is stated by itself. Written: table.txt, race.png,
report.json.
"""

import itertools
import pathlib
import sys
from typing import Any

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from gfa_jax.affinity import WEIGHTINGS
from gfa_jax.aggregation import GRAPHS, PRESETS
from gfa_jax.programs import (
    cli,
    evaluation,
    flags,
    halves,
    inputs,
    outputs,
    pooled,
    tuning_comparison,
    tuning_methods,
    tuning_problem,
)
from gfa_jax.tuning import TuneResult, scaled_adam
from gfa_jax.tuning.frames import Frames, PooledParams
from gfa_jax.tuning.objective import DIFFERENTIATIONS, LOSSES, Objective
from gfa_jax.types import check_params

FLAGS = flags.FLAGS
flags.adopt(inputs)

flags.DEFINE_string("output_dir", "outputs/tune", "Folder of the results.")
flags.DEFINE_enum("preset", "safe", sorted(PRESETS), "As in refine.")
flags.DEFINE_enum("weighting", None, WEIGHTINGS, "Weights; the preset's by default.")
flags.DEFINE_enum("graph", None, GRAPHS, "Graph; the preset's by default.")
flags.DEFINE_integer(
    "k",
    None,
    "Neighbours a row, the row itself counted; as suggested, at least 15, by default.",
)
flags.DEFINE_bool("isolate_outliers", True, "As in refine.")
flags.DEFINE_integer("num_steps", 4, "Number T of updates.", lower_bound=1)
flags.DEFINE_list(
    "threshold",
    ["auto", "0.25", "0.35", "0.45", "0.55"],
    "Where to start; auto: as suggested, with the gamma suggested.",
)
flags.DEFINE_list("gamma", ["0.95"], "Where to start.")
flags.DEFINE_list("exponent", ["1", "3"], "Where to start.")
flags.DEFINE_string(
    "templates",
    None,
    "Template of every row: .npy, .npz, .csv, .txt. The rows are then frames to pool.",
)
flags.DEFINE_list(
    "power", ["3.6"], "Where to start, with --templates: of a frame's length."
)
flags.DEFINE_float("temperature", 0.02, "Of the soft mask, at the start.")
flags.DEFINE_float(
    "final_sharpness", 4.0, "By what the temperature is divided at the end."
)
flags.DEFINE_enum("loss", "partial_auc", LOSSES, "The TPR around --fpr, or of pairs.")
flags.DEFINE_float("margin", 1.0, "Of the contrastive loss, a distance.")
flags.DEFINE_bool("per_step", False, "Whether each update learns its own gamma and t.")
flags.DEFINE_list(
    "frozen", ["temperature"], "What stays as it starts: gamma, threshold, …"
)
flags.DEFINE_enum(
    "differentiation", "reverse", DIFFERENTIATIONS, "forward: less memory, more time."
)
flags.DEFINE_integer("tuning_steps", 6, "Most optimizer steps.", lower_bound=0)
flags.DEFINE_float("learning_rate", 0.3, "Of Adam, at the first step.", 0.0)
flags.DEFINE_integer("batch_size", 32_768, "Most pairs of a step.", lower_bound=2)
flags.DEFINE_integer("validate_every", 3, "Steps between looks.", lower_bound=1)
flags.DEFINE_float(
    "min_gain", 0.001, "What a step must add to the best score so far.", 0.0
)
flags.DEFINE_float(
    "held_out", 0.0, "Share of the identities that choose and do not teach.", 0.0, 0.9
)
flags.DEFINE_string(
    "checkpoint", None, "Folder to keep the run in and to go on from; needs orbax."
)
flags.DEFINE_float("fpr", 1e-4, "FPR to learn for.", 0.0, 1.0)
flags.DEFINE_list("fprs", ["1e-6", "1e-5", "1e-4", "1e-3"], "FPRs to report.")
flags.DEFINE_integer(
    "max_images",
    None,
    "Leave out genuine pairs of identities with more rows.",
    lower_bound=2,
)
flags.DEFINE_integer("resamples", 200, "Bootstrap draws; 0: none.", lower_bound=0)

flags.DEFINE_bool("grid", False, "Compare with a grid search and with suggestions.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "With --grid: of the splits.")
flags.DEFINE_list(
    "grid_thresholds",
    ["0.2", "0.25", "0.3", "0.35", "0.4", "0.45", "0.5", "0.55", "0.6", "0.65"],
    "Of the grid.",
)
flags.DEFINE_list("grid_gammas", ["0.25", "0.5", "0.75", "1"], "Of the grid.")
flags.DEFINE_list("grid_exponents", ["0.5", "1", "2", "3", "6"], "Of the grid.")

_AUTO = "auto"
_OUTPUTS = ("params.json", "curves.png", "report.json")
_COMPARED_OUTPUTS = ("table.txt", "race.png", "report.json")


def main() -> None:
    """Learns and reports, or compares."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    names = _COMPARED_OUTPUTS if FLAGS.grid else _OUTPUTS
    fprs = metrics.check_targets(cli.numbers("fprs", float))
    (fpr,) = metrics.check_targets([FLAGS.fpr])
    how = _learning()
    with stages("load"):
        inputs.refuse_overwriting(
            (FLAGS.features, FLAGS.labels, FLAGS.templates),
            (pathlib.Path(FLAGS.output_dir, name) for name in names),
        )
        pool, frames = _load()
    if FLAGS.grid:
        _compare(pool, fpr, how, stages)
    else:
        _learn(pool, frames, fpr, fprs, how, stages)


def _load() -> tuple[inputs.Pool, Frames | None]:
    """Reads the pool, and the frames where it is to be pooled."""
    if FLAGS.templates is None:
        return inputs.load_pool(), None
    if FLAGS.grid:
        raise ValueError("--grid is of rows; leave --templates out with it")
    frames, identities = pooled.read_frames(FLAGS.templates)
    power = cli.numbers("power", float)[0]
    return pooled.pool_by_power(frames, identities, power=power), frames


def _learn(
    pool: inputs.Pool,
    frames: Frames | None,
    fpr: float,
    fprs: tuple[float, ...],
    how: tuning_methods.Learning,
    stages: cli.Stages,
) -> None:
    """Learns on one half, reports on the other."""
    with stages("split"):
        split = _split(pool, fpr, seed=FLAGS.seed, frames=frames)
        folder = outputs.prepare_folder(FLAGS.output_dir)
    with stages("tuning"):
        how = _with_starts(how, split.learning)
        result = tuning_methods.learn(split.learning, how, progress=cli.progress)
    with stages("report"):
        k = split.learning.neighbors.indices.shape[1]
        refined = tuning_methods.refine_reported(
            split,
            result.params,
            k=k,
            num_steps=FLAGS.num_steps,
            **_options(),
        )
        before, after = (
            halves.verify(
                features,
                split.reported,
                fprs,
                num_resamples=FLAGS.resamples,
                seed=FLAGS.seed,
                max_images=FLAGS.max_images,
                progress=cli.progress,
            )
            for features in (split.reported.features, refined)
        )
    params = result.params._asdict() | {
        "k": k,
        "isolate_outliers": split.isolates,
        "num_steps": FLAGS.num_steps,
        "mask": "hard",
        **_options(),
    }
    report = {
        "options": flags.values(),
        "environment": outputs.environment(),
        "pool": inputs.describe(pool),
        "params": params,
        "starts": [start._asdict() for start in how.starts],
        "learning": _describe(result, fpr),
        "verification": {
            "before": evaluation.as_report(before),
            "after": evaluation.as_report(after),
        },
        "seconds": stages.seconds,
        "peak_memory": outputs.peak_memory(),
    }
    from gfa_jax.plotting.tuning import plot_tuning

    with outputs.staged(folder, _OUTPUTS) as hidden:
        plot_tuning(result, score=f"mean TPR around {fpr:g}").savefig(
            hidden / "curves.png", dpi=150
        )
        datasets.write_json(hidden / "params.json", params)
        datasets.write_json(hidden / "report.json", report)
    print(
        f"learnt on {len(split.learning.pool.features):,} rows ({result.stopped}): "
        + ", ".join(
            f"{name}={tuning_comparison.numbers(value)}"
            for name, value in result.params._asdict().items()
        )
    )
    print(f"on the other {len(split.reported.features):,} rows:")
    print(evaluation.table(before, after))


def _compare(
    pool: inputs.Pool, fpr: float, how: tuning_methods.Learning, stages: cli.Stages
) -> None:
    """Learns, searches a grid and asks for suggestions, on every split."""
    if how.checkpoint is not None:
        raise ValueError("--checkpoint is of one run; leave it out with --grid")
    cells = _cells(
        cli.numbers("grid_gammas", float),
        cli.numbers("grid_thresholds", float),
        cli.numbers("grid_exponents", float),
    )
    seeds = cli.numbers("seeds", int)
    rows, results, courses = [], [], {}
    folder = outputs.prepare_folder(FLAGS.output_dir)
    for seed in seeds:
        with stages("split"):
            split = _split(pool, fpr, seed=seed)
        with stages("comparison"):
            found, result = tuning_comparison.compare(
                split,
                seed=seed,
                cells=cells,
                how=_with_starts(how, split.learning)._replace(seed=seed),
                options=_options(),
                num_resamples=FLAGS.resamples,
            )
        # Splits of a large pool are minutes apart.
        print(tuning_comparison.table(found), file=sys.stderr, flush=True)
        rows += found
        results.append(result)
        courses = courses or tuning_comparison.courses(found)
    table = tuning_comparison.table(rows)
    report = {
        "options": flags.values(),
        "environment": outputs.environment(),
        "pool": inputs.describe(pool),
        "rows": tuning_comparison.as_report(rows),
        "learning": [_describe(result, fpr) for result in results],
        "seconds": stages.seconds,
        "peak_memory": outputs.peak_memory(),
    }
    from gfa_jax.plotting.tuning import plot_race

    with outputs.staged(folder, _COMPARED_OUTPUTS) as hidden:
        (hidden / "table.txt").write_text(table + "\n")
        plot_race(courses, score=f"mean TPR around {fpr:g}").savefig(
            hidden / "race.png", dpi=150
        )
        datasets.write_json(hidden / "report.json", report)
    print(f"TPR at an FPR of {fpr:g}, chosen on half of the identities:")
    print(table)


def _learning() -> tuning_methods.Learning:
    """Reads how to learn from the flags."""
    frozen = tuple(FLAGS.frozen)
    return tuning_methods.Learning(
        _cells(
            cli.numbers("gamma", float),
            cli.numbers("threshold", float, words=(_AUTO,)),
            cli.numbers("exponent", float),
        ),
        Objective(
            num_updates=FLAGS.num_steps,
            loss=FLAGS.loss,
            margin=FLAGS.margin,
            per_step=FLAGS.per_step,
            frozen=frozen,
            differentiation=FLAGS.differentiation,
            **_options(),
        ),
        scaled_adam(FLAGS.learning_rate, max(FLAGS.tuning_steps, 1)),
        FLAGS.tuning_steps,
        FLAGS.batch_size,
        FLAGS.final_sharpness,
        FLAGS.validate_every,
        FLAGS.min_gain,
        FLAGS.seed,
        FLAGS.checkpoint,
    )


def _with_starts(
    how: tuning_methods.Learning, problem: tuning_problem.Problem
) -> tuning_methods.Learning:
    """Adds the starts that the half suggests, and the powers, where they are asked."""
    starts = list(how.starts)
    if _AUTO in FLAGS.threshold:
        starts += tuning_methods.suggested_starts(
            problem,
            exponents=cli.numbers("exponent", float),
            temperature=FLAGS.temperature,
        )
    if problem.frames is not None:
        powers = cli.numbers("power", float)
        starts = [
            PooledParams(*start, power=power)
            for start, power in itertools.product(starts, powers)
        ]
    return how._replace(starts=starts)


def _cells(gammas: list, thresholds: list, exponents: list) -> list[gfa.Params]:
    """Lists every combination, each checked."""
    cells = [
        gfa.Params(gamma, threshold, FLAGS.temperature, exponent)
        for threshold, gamma, exponent in itertools.product(
            thresholds, gammas, exponents
        )
    ]
    for cell in cells:
        check_params(cell)
    return cells


def _options() -> dict[str, Any]:
    """Joins the preset with the flags that overrule it."""
    told = {"weighting": FLAGS.weighting, "graph": FLAGS.graph}
    told = {name: value for name, value in told.items() if value is not None}
    return dict(PRESETS[FLAGS.preset]) | told


def _split(
    pool: inputs.Pool, fpr: float, *, seed: int, frames: Frames | None = None
) -> tuning_problem.Split:
    return tuning_problem.split(
        pool,
        seed=seed,
        k=FLAGS.k,
        isolates=FLAGS.isolate_outliers,
        options=_options(),
        held_out=FLAGS.held_out,
        fpr=fpr,
        max_images=FLAGS.max_images,
        suggests=_AUTO in FLAGS.threshold,
        frames=frames,
    )


def _describe(result: TuneResult, fpr: float) -> dict[str, Any]:
    """Says of a learning what the report stores."""
    return {
        "fpr": fpr,
        "step": result.step,
        "stopped": result.stopped,
        "score": {
            "soft": result.soft_score,
            "hard": result.hard_score,
            "gap": result.gap,
        },
        "history": result.history._asdict(),
    }
