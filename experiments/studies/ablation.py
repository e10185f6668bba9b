"""Answers what the paper leaves open with figures: one option at a time, and grids.

    python -m experiments.ablation --features=embeddings.npy --labels=labels.npy

Around one reference setting (--k, --threshold, --gamma, --num_steps and the preset)
every option is changed by itself; then gamma × T; then K × t for each --form, with
and without the guard against outliers, and what each cell keeps of the gain of the
plain method: the paper by its letter, without the guard. Everything is shown, so
nothing is chosen here. Each cell is the gain in TPR over the raw features, over all
pairs, or with --same_person over those of which the labels can be trusted. It writes
table.txt, sweep.png (K × t at two of the FPRs) and report.json.
"""

import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import gfa_jax as gfa
from experiments.studies import ablation_tables, label_noise
from experiments.studies.ablation_tables import FORMS, PLAIN, Cell, Setting
from gfa_jax import datasets, metrics
from gfa_jax.aggregation import GRAPHS, PRESETS
from gfa_jax.programs import cli, evaluation, flags, inputs, outputs
from gfa_jax.selection import outliers
from gfa_jax.types import check_params

FLAGS = flags.FLAGS
flags.adopt(inputs)

flags.DEFINE_string("output_dir", "outputs/ablation", "Folder of the results.")
flags.DEFINE_enum("preset", "safe", sorted(PRESETS), "Of the reference.")
flags.DEFINE_integer("k", 15, "Of the reference; the row itself counted.")
flags.DEFINE_float("threshold", 0.55, "Of the reference.", -1.0, 1.0)
flags.DEFINE_float("gamma", 0.5, "Of the reference.", 0.0, 1.0)
flags.DEFINE_integer("num_steps", 4, "Of the reference.", lower_bound=0)
flags.DEFINE_float("exponent", 3.0, "Of all affinity weights.", 0.0)
flags.DEFINE_list("gammas", ["0.25", "0.5", "1"], "Of the grid gamma × T.")
flags.DEFINE_list("steps", ["1", "2", "4", "8"], "Of the grid gamma × T.")
flags.DEFINE_list("ks", ["5", "10", "15", "20"], "Of the grid K × t.")
flags.DEFINE_list(
    "thresholds", ["0.55", "0.6", "0.65", "0.7", "0.75", "0.8"], "Of the grid K × t."
)
flags.DEFINE_multi_enum(
    "form",
    list(FORMS),
    list(FORMS),
    "Of the grid K × t; give it once for each. The plain method is always measured.",
)
flags.DEFINE_list("fprs", ["1e-6", "1e-5", "1e-4", "1e-3"], "FPRs to report.")
flags.DEFINE_integer(
    "max_images",
    None,
    "Leave out genuine pairs of identities with more rows.",
    lower_bound=2,
)
flags.DEFINE_float(
    "same_person",
    None,
    "Leave out of the impostors the identities that hold two raw rows with a larger "
    "cosine: label noise, one person under two names.",
    -1.0,
    1.0,
)

_OUTPUTS = ("table.txt", "sweep.png", "report.json")


def main() -> None:
    """Measures every setting once and lays them out."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    fprs = metrics.check_targets(cli.numbers("fprs", float))
    inputs.refuse_overwriting(
        (FLAGS.features, FLAGS.labels),
        (pathlib.Path(FLAGS.output_dir, name) for name in _OUTPUTS),
    )
    with stages("load"):
        pool = inputs.load_pool()
        if pool.labels is None or pool.pairs is not None:
            raise ValueError("expected --labels and no --pairs: all pairs are scored")
        reference = _reference()
        sections = {
            "one option at a time": _one_at_a_time(reference),
            "gamma and T": _products(
                reference,
                gamma=cli.numbers("gammas", float),
                num_steps=cli.numbers("steps", int),
            ),
            ablation_tables.GRID: [
                cell._replace(**group)
                for group in _groups()
                for cell in _products(
                    reference,
                    k=cli.numbers("ks", int),
                    threshold=cli.numbers("thresholds", float),
                )
            ],
        }
        settings = list(dict.fromkeys(itertools.chain(*sections.values())))
        _check(settings, num_rows=len(pool.features))
        folder = outputs.prepare_folder(FLAGS.output_dir)
    with stages("neighbors"):
        width = max(outliers.DEFAULT_RANK + 1, *(setting.k for setting in settings))
        neighbors = jax.block_until_ready(
            gfa.exact_neighbors(
                pool.features,
                k=min(width, len(pool.features) - 1),
                progress=cli.progress,
            )
        )
    with stages("settings"):
        left_out = _find_left_out(pool)
        raw = _measure(None, pool.features, pool, fprs, left_out)
        cells = {
            setting: _measure(
                setting, _refine(pool, neighbors, setting), pool, fprs, left_out
            )
            for setting in cli.progress(settings, total=len(settings), desc="settings")
        }
    tables = ablation_tables.render(raw, sections, cells, reference, fprs)
    text = "\n\n".join(tables.values())
    with outputs.staged(folder, _OUTPUTS) as hidden:
        datasets.write_text(hidden / "table.txt", text + "\n")
        ablation_tables.draw(
            raw,
            sections[ablation_tables.GRID],
            cells,
            fprs,
            ks=cli.numbers("ks", int),
            thresholds=cli.numbers("thresholds", float),
        ).savefig(hidden / "sweep.png", dpi=150)
        report = {
            "options": flags.values(),
            "environment": outputs.environment(),
            "pool": inputs.describe(pool),
            "fprs": list(fprs),
            "left_out": {
                "identity_pairs": len(left_out.identities),
                "impostor_pairs": len(left_out.rows),
            },
            "raw": _as_report(raw),
            "cells": [_as_report(cell) for cell in cells.values()],
            "seconds": stages.seconds,
            "peak_memory": outputs.peak_memory(),
        }
        datasets.write_json(hidden / "report.json", report)
    # Of the largest grid the terminal gets the summary.
    print(
        "\n\n".join(
            text for title, text in tables.items() if title != ablation_tables.GRID
        )
    )
    print(f"every cell is in {folder}: table.txt, sweep.png and report.json")


def _reference() -> Setting:
    return Setting(
        FLAGS.k,
        FLAGS.threshold,
        FLAGS.gamma,
        FLAGS.num_steps,
        **PRESETS[FLAGS.preset],
        exponent=FLAGS.exponent,
    )


def _groups() -> list[dict[str, Any]]:
    """Lists the forms of the grid, each without the guard and with it."""
    groups = [
        FORMS[form] | {"guard": guard} for form in FLAGS.form for guard in (False, True)
    ]
    return groups if PLAIN in groups else [PLAIN, *groups]


def _one_at_a_time(reference: Setting) -> list[Setting]:
    """Lists the reference and its neighbours, each other in one option."""
    changes: list[dict[str, Any]] = [
        {},
        {"guard": True},
        {"include_self": False},
        {"renormalize": False},
        *({"weighting": weighting} for weighting in ("affinity", "uniform")),
        *({"graph": graph} for graph in GRAPHS),
    ]
    return list(dict.fromkeys(reference._replace(**change) for change in changes))


def _products(reference: Setting, **axes: Sequence) -> list[Setting]:
    return [
        reference._replace(**dict(zip(axes, values, strict=True)))
        for values in itertools.product(*axes.values())
    ]


def _check(settings: Sequence[Setting], *, num_rows: int) -> None:
    for setting in settings:
        gfa.neighbors.check_k(setting.k, num_rows)
        check_params(_params(setting))
        if setting.num_steps < 0:
            raise ValueError(f"--steps has {setting.num_steps}; expected 0 or more")


def _refine(
    pool: inputs.Pool, neighbors: gfa.Neighbors, setting: Setting
) -> np.ndarray:
    """Refines the pool by one setting, on the first K of the candidates."""
    if setting.guard:
        is_outlier = gfa.find_outliers(neighbors, threshold=setting.threshold)
        neighbors = gfa.selection.isolate(neighbors, is_outlier)
    result = gfa.aggregate(
        pool.features,
        gfa.Neighbors(*(column[:, : setting.k] for column in neighbors)),
        _params(setting),
        num_steps=setting.num_steps,
        weighting=setting.weighting,  # pyright: ignore[reportArgumentType]
        graph=setting.graph,  # pyright: ignore[reportArgumentType]
        include_self=setting.include_self,
        renormalize=setting.renormalize,
    )
    return np.asarray(result.features)


def _params(setting: Setting) -> gfa.Params:
    return gfa.Params(setting.gamma, setting.threshold, exponent=setting.exponent)


def _find_left_out(pool: inputs.Pool) -> label_noise.LeftOut:
    if FLAGS.same_person is None:
        return label_noise.NOTHING
    assert pool.labels is not None  # main refuses a pool without
    raw = metrics.all_pairs_roc(pool.features, pool.labels, progress=cli.progress)
    return label_noise.find_same_person(raw, above=FLAGS.same_person)


def _measure(
    setting: Setting | None,
    features: np.ndarray,
    pool: inputs.Pool,
    fprs: Sequence[float],
    left_out: label_noise.LeftOut,
) -> Cell:
    assert pool.labels is not None  # main refuses a pool without
    # Rows that were not brought back to unit length are compared by their cosine.
    length = np.linalg.norm(features, axis=1, keepdims=True)
    features = features / np.maximum(length, np.finfo(features.dtype).tiny)
    result = evaluation.measure_all_pairs(
        features, pool.labels, max_images=FLAGS.max_images
    )
    result = label_noise.without(result, features, left_out)
    points = metrics.tpr_at_fpr(result.roc, fprs)
    return Cell(
        setting,
        np.array([point.tpr for point in points]),
        np.array([point.false_accepts for point in points]),
    )


def _as_report(cell: Cell) -> dict[str, Any]:
    return {
        "setting": cell.setting and cell.setting._asdict(),
        "tpr": cell.tpr.tolist(),
        "false_accepts": cell.false_accepts.tolist(),
    }
