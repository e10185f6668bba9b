"""Trains an encoder under the aggregation, and one beside it without.

    python -m experiments.end_to_end

For every seed a world of identities is generated that turn as they are seen from
another side; two encoders learn it from the same weights, batches and number of steps,
one with `gfa_jax.layers.GraphAggregation` between it and the loss. On identities that
neither has seen, TPRs of both as they are and aggregated: the gain of the method stands
apart from that of training end to end. Written to --output_dir: table.txt,
end_to_end.png and report.json. Needs flax: pip install '.[cpu,train]'.
"""

import sys

from gfa_jax import datasets, metrics
from gfa_jax.programs import cli, flags, outputs

FLAGS = flags.FLAGS
_OUTPUTS = ("table.txt", "end_to_end.png", "report.json")

flags.DEFINE_string("output_dir", "outputs/end_to_end", "Folder of the results.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Of world, weights, batches: a run each.")
flags.DEFINE_list("fprs", ["1e-4", "1e-3"], "FPRs to report.")
flags.DEFINE_integer("training_identities", 960, "Identities to learn from.", 2)
flags.DEFINE_integer("choosing_identities", 80, "To choose t, γ and T on.", 2)
flags.DEFINE_integer("test_identities", 120, "To report on.", 2)
flags.DEFINE_integer("views", 20, "Rows of an identity.", 2)

flags.DEFINE_integer("embedding_dim", 32, "Length of a feature.", 2)
flags.DEFINE_integer("hidden", 0, "Width of a hidden layer; 0: a linear encoder.", 0)
flags.DEFINE_integer("steps", 1200, "Batches of a training.", 1)
flags.DEFINE_integer("batch_identities", 60, "Identities of a batch.", 2)
flags.DEFINE_integer("batch_views", 16, "Rows of each of them.", 2)
flags.DEFINE_float("learning_rate", 4e-3, "At the start.", 0.0)
flags.DEFINE_float("layer_rate", 5e-3, "Of the layer's parameters.", 0.0)
flags.DEFINE_float("weight_decay", 1e-2, "Of the encoder.", 0.0)
flags.DEFINE_float("scale", 6.0, "Of the cosines in the loss.", 0.0)

flags.DEFINE_integer("k", 10, "Neighbours a row, the row itself counted.", 2)
flags.DEFINE_integer("updates", 4, "T, updates in the layer.", 1)
flags.DEFINE_integer("queue_size", 0, "Rows of earlier batches in the pool.", 0)


def main() -> None:
    """Generates, trains, measures, writes."""
    # flax and optax are imported only here, so that their absence is one line.
    from experiments.end_to_end import encoders, study, tables

    cli.keep_compiled_programs()
    stages = cli.Stages()
    names = [name for name in encoders.Recipe._fields if name in FLAGS]
    recipe = encoders.Recipe(**{name: getattr(FLAGS, name) for name in names})
    sizes = study.Sizes(
        FLAGS.training_identities,
        FLAGS.choosing_identities,
        FLAGS.test_identities,
        FLAGS.views,
    )
    seeds = sorted(set(cli.numbers("seeds", int)))
    if seeds[0] < 0 or seeds[-1] >= 2**32:
        raise ValueError(f"--seeds={','.join(FLAGS.seeds)}: expected 0 to 2**32 - 1")
    least = min(sizes.num_choosing, sizes.num_test) * sizes.num_views
    if FLAGS.k >= least:
        raise ValueError(
            f"--k={FLAGS.k} with {least} rows to choose or test on; give fewer "
            "neighbours, or more --choosing_identities, --test_identities or --views"
        )
    fprs = metrics.check_targets(cli.numbers("fprs", float))
    folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
    with stages("study"):
        rows = study.run(
            sizes,
            recipe,
            settings=study.default_settings(),
            seeds=seeds,
            fprs=fprs,
            progress=cli.progress,
        )
    text = tables.render(rows)
    with outputs.staged(folder, _OUTPUTS) as hidden:
        datasets.write_text(hidden / "table.txt", text + "\n")
        tables.draw(rows).savefig(hidden / "end_to_end.png", dpi=150)
        report = {
            "rows": [tables.as_report(row) for row in rows],
            "summary": tables.summary(rows),
            "seconds": stages.seconds,
        }
        outputs.write_report(hidden, report)
    print(text)
    print(f"the table, the figure and report.json are in {folder}")


if __name__ == "__main__":
    cli.run(sys.modules[__name__])
