"""Learns gamma, threshold and exponent on half of the identities, reports on the other.

    python -m experiments.tune --features=embeddings.npy --labels=labels.npy

Identities are split as in holdout, and each half is a pool by itself. A third of the
identities of the first half choose when to stop, the others teach: their genuine pairs
(at most 50 an identity), the impostor pairs that score highest before and after a first
aggregation, and as many others at random. The threshold starts where
`suggest_threshold` puts it without labels. Written to --output_dir: params.json,
report.json and curves.png.
"""

import pathlib
from typing import Any, NamedTuple

import numpy as np
from absl import flags

import gfa_jax as gfa
from experiments import cli, evaluation, halves, inputs, outputs
from gfa_jax import datasets, metrics
from gfa_jax.objective import DIFFERENTIATIONS, LOSSES, Objective
from gfa_jax.thresholds import suggest_threshold
from gfa_jax.tuning import TuneResult, tune

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(inputs)

flags.DEFINE_string("output_dir", "outputs/tune", "Folder of the results.")
flags.DEFINE_enum("preset", "safe", sorted(gfa.PRESETS), "As in refine.")
flags.DEFINE_integer("k", 15, "Neighbours a row, the row itself counted.")
flags.DEFINE_integer("num_steps", 4, "Number T of updates.", lower_bound=1)
flags.DEFINE_float(
    "threshold", None, "Where to start; suggested without labels by default.", -1.0, 1.0
)
flags.DEFINE_float("gamma", 0.5, "Where to start.", 0.0, 1.0)
flags.DEFINE_enum("loss", "logistic", LOSSES, "Of pairs, or left of a low FPR.")
flags.DEFINE_float("hardest", 0.1, "Share of impostor pairs that count as hard.")
flags.DEFINE_enum(
    "differentiation", "reverse", DIFFERENTIATIONS, "forward: less memory, more time."
)
flags.DEFINE_integer("tuning_steps", 200, "Most optimizer steps.", lower_bound=1)
flags.DEFINE_float("learning_rate", 0.03, "Of Adam.", lower_bound=0.0)
flags.DEFINE_integer("batch_size", 2048, "Pairs of a step.", lower_bound=2)
flags.DEFINE_integer(
    "impostor_pairs", 10_000, "Impostor pairs to learn from.", lower_bound=2
)
flags.DEFINE_list("fprs", ["1e-6", "1e-5", "1e-4", "1e-3"], "FPRs to report.")
flags.DEFINE_integer("resamples", 200, "Bootstrap draws; 0: none.", lower_bound=0)

_OUTPUTS = ("params.json", "curves.png", "report.json")
_PAIRS_AN_IDENTITY = 50


class Split(NamedTuple):
    """The pool cut by identity.

    Attributes:
        learning: the pool to learn in.
        teaches: [rows of it] bool, True for the identities whose pairs teach; the pairs
            of the others choose the step.
        reported: the pool to report on.
    """

    learning: inputs.Pool
    teaches: np.ndarray
    reported: inputs.Pool


def main() -> None:
    """Splits, learns, reports."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    fprs = metrics.check_targets(cli.numbers("fprs", float))
    with stages("load"):
        inputs.refuse_overwriting(
            (FLAGS.features, FLAGS.labels),
            (pathlib.Path(FLAGS.output_dir, name) for name in _OUTPUTS),
        )
        pool = inputs.load_pool()
        split = _split(pool, seed=FLAGS.seed)
        for half in (split.learning, split.reported):
            gfa.check_k(FLAGS.k, len(half.features))
        folder = outputs.prepare_folder(FLAGS.output_dir)
    with stages("neighbors"):
        near, near_reported = map(_find_neighbors, (split.learning, split.reported))
        start = _start(split.learning, near)
    with stages("tuning"):
        result, counts = _learn(split, start, near)
    with stages("report"):
        before, at_start, after = (
            halves.verify(
                features,
                split.reported,
                fprs,
                num_resamples=FLAGS.resamples,
                seed=FLAGS.seed,
                progress=cli.progress,
            )
            for features in (
                split.reported.features,
                _refine(split.reported, start, near_reported),
                _refine(split.reported, result.params, near_reported),
            )
        )
    params = result.params._asdict() | {
        "k": FLAGS.k,
        "num_steps": FLAGS.num_steps,
        "mask": "hard",
        **gfa.PRESETS[FLAGS.preset],
    }
    with outputs.staged(folder, _OUTPUTS) as hidden:
        _plot(result).savefig(hidden / "curves.png", dpi=150)
        datasets.write_json(hidden / "params.json", params)
        report = {
            "options": outputs.flag_values(),
            "environment": outputs.environment(),
            "pool": inputs.describe(pool),
            "params": params,
            "step": result.step,
            "stopped": result.stopped,
            "partial_auc": {
                "soft": result.soft_score,
                "hard": result.hard_score,
                "gap": result.gap,
            },
            "history": result.history._asdict(),
            "pairs": counts,
            "start": start._asdict(),
            "verification": {
                "before": evaluation.as_report(before),
                "start": evaluation.as_report(at_start),
                "after": evaluation.as_report(after),
            },
            "seconds": stages.seconds,
            "peak_memory": outputs.peak_memory(),
        }
        datasets.write_json(hidden / "report.json", report)
    print(
        f"learnt on {len(split.learning.features):,} rows ({result.stopped}): "
        + ", ".join(f"{k}={v:.4g}" for k, v in result.params._asdict().items())
    )
    print(f"on the other {len(split.reported.features):,} rows:")
    print(evaluation.table(before, after))


def _split(pool: inputs.Pool, *, seed: int) -> Split:
    """Cuts a pool by identity, the halves as holdout has them."""
    learning, reported = halves.split(pool, seed=seed)
    _, order = halves.shuffle_identities(pool, seed=seed)
    half = len(order) // 2
    assert learning.labels is not None  # a half has them
    teaches = np.isin(learning.labels, order[: half - half // 3])
    for part in (teaches, ~teaches):
        inputs.check_both_kinds(learning.labels[part])
    return Split(learning, teaches, reported)


def _draw_pairs(
    pool: inputs.Pool,
    part: np.ndarray,
    refined: np.ndarray,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws pairs among some rows of a pool: [M, 2] rows and [M] same."""
    assert pool.labels is not None  # _split refuses a pool without
    members = np.flatnonzero(part)
    labels = pool.labels[members]
    count = FLAGS.impostor_pairs // 3
    # Raw features show which pairs are hard at first, refined ones which become so.
    raw, after = (
        metrics.all_pairs_roc(
            features[members], labels, tail_size=count, progress=cli.progress
        )
        for features in (pool.features, refined)
    )
    if raw.genuine is None:
        raise ValueError(
            f"{raw.roc.num_genuine:,} genuine pairs are more than can be listed; leave "
            "out rows of the largest identities"
        )
    genuine = random.permutation(raw.genuine.rows)
    genuine = genuine[_rank_within(labels[genuine[:, 0]]) < _PAIRS_AN_IDENTITY]
    others = random.integers(len(members), size=(count, 2))
    others = others[labels[others[:, 0]] != labels[others[:, 1]]]
    impostor = np.concatenate(
        [raw.impostor_tail.rows, after.impostor_tail.rows, others]
    )
    impostor = np.unique(np.sort(impostor, axis=1), axis=0)
    pairs = members[np.concatenate([genuine, impostor])]
    return pairs, np.arange(len(pairs)) < len(genuine)


def _rank_within(groups: np.ndarray) -> np.ndarray:
    """Numbers the members of each group from 0 in the order in which they come."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    rank = np.empty(len(groups), int)
    rank[order] = np.arange(len(groups)) - np.searchsorted(ordered, ordered)
    return rank


def _learn(
    split: Split, start: gfa.Params, neighbors: gfa.Neighbors
) -> tuple[TuneResult, dict[str, Any]]:
    """Learns on the first half; returns also how many pairs there were."""
    import optax

    pool, random = split.learning, np.random.default_rng(FLAGS.seed)
    refined = _refine(pool, start, neighbors)
    training = _draw_pairs(pool, split.teaches, refined, random)
    validation = _draw_pairs(pool, ~split.teaches, refined, random)
    result = tune(
        pool.features,
        neighbors,
        *training,
        init_params=start,
        objective=Objective(
            num_updates=FLAGS.num_steps,
            loss=FLAGS.loss,
            hardest=FLAGS.hardest,
            differentiation=FLAGS.differentiation,
            **gfa.PRESETS[FLAGS.preset],
        ),
        optimizer=optax.adam(FLAGS.learning_rate),
        num_steps=FLAGS.tuning_steps,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        validation=validation,
        identities=pool.labels,
        progress=cli.progress,
    )
    counts = {
        name: {"genuine": int(same.sum()), "impostor": int((~same).sum())}
        for name, (_, same) in (("training", training), ("validation", validation))
    }
    return result, counts


def _find_neighbors(pool: inputs.Pool) -> gfa.Neighbors:
    return gfa.exact_neighbors(pool.features, k=FLAGS.k, progress=cli.progress)


def _start(pool: inputs.Pool, neighbors: gfa.Neighbors) -> gfa.Params:
    threshold = FLAGS.threshold
    if threshold is None:
        threshold = suggest_threshold(
            pool.features, neighbors, num_resamples=0, seed=FLAGS.seed
        ).threshold
    return gfa.Params(FLAGS.gamma, threshold)


def _refine(
    pool: inputs.Pool, params: gfa.Params, neighbors: gfa.Neighbors
) -> np.ndarray:
    result = gfa.aggregate(
        pool.features,
        neighbors,
        params,
        num_steps=FLAGS.num_steps,
        **gfa.PRESETS[FLAGS.preset],
    )
    return np.asarray(result.features)


def _plot(result: TuneResult) -> Any:
    """Draws the loss, the validations and the parameters against the step."""
    import matplotlib.figure

    history = result.history
    figure = matplotlib.figure.Figure(figsize=(6.0, 6.5), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    top.plot(history.loss, color="#000000", linewidth=1.0)
    top.set_ylabel("loss of a batch")
    middle.plot(history.validated, history.score, "o-", color="#0072B2", markersize=3)
    middle.axvline(result.step, color="#D55E00", linestyle="--", label="kept")
    middle.set_ylabel("partial AUC, hard mask")
    middle.legend(frameon=False)
    for name, values, style in zip(
        gfa.Params._fields, history.params.T, ("-", "--", "-.", ":"), strict=True
    ):
        bottom.plot(values, style, label=name)
    bottom.set_yscale("log")
    bottom.set_ylabel("parameter")
    bottom.set_xlabel("optimizer step")
    bottom.legend(frameon=False, ncols=2)
    return figure


if __name__ == "__main__":
    cli.run(main)
