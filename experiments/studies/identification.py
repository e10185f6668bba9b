"""What a gallery that grows is to a rerun, and what it finds: 1:N identification.

    python -m experiments.identification --sets=FOLDER_OR_FILES

Each set is one of `experiments.evidence`. Labels are for the figures alone. Tables:

    growth           a gallery of part of the rows, to which the rest is added at once,
                     beside all rows refined anew: TPR at FPR 1e-4 and 1e-3 over all
                     pairs, pairwise F of the clusters, whether a refresh is due
    identification   DIR at FPIR 1e-3, 1e-2, 1e-1 and 1 (the rank-1 rate), raw and by
                     the gallery, and the bounds of the gain
    open_set         the FPIR at the thresholds that a gallery without labels sets for
                     .1 and .01, and the DIR there

Half of the identities are in the gallery, the others are strangers. Probes are the rows
of one camera or session of each, drawn; of CFP the profiles; else half of its rows. A
match is thus of another camera or session, where the set says so.
"""

import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

import gfa_jax as gfa
from experiments.studies import evidence
from gfa_jax import datasets, metrics
from gfa_jax import gallery as core
from gfa_jax.programs import cli, evaluation, flags, inputs, outputs

FLAGS = flags.FLAGS

flags.DEFINE_list("sets", None, "Files .npz with features and labels, or folders.")
flags.DEFINE_string("output_dir", "outputs/identification", "Folder of the results.")
flags.DEFINE_integer("generated", 0, "Rows of one more set, generated, for growth.")
_TABLES = ["growth", "identification"]
flags.DEFINE_multi_enum("table", _TABLES, _TABLES, "Give it once for each.")
flags.DEFINE_list(
    "max_images", ["lfw=50", "lfw_dlib=50"], "See experiments.evidence; for growth."
)
flags.require("sets")

GROWTH = (0.01, 0.1, 0.25, 0.5, 1.0)
FPIRS = (1e-3, 1e-2, 1e-1, 1.0)
RATES = (0.1, 0.01)
_TAIL = 1e-3  # the largest FPR of the growth table


class Split(NamedTuple):
    """Rows that are in the gallery, and rows that are looked up."""

    gallery: np.ndarray  # [G] row numbers
    probes: np.ndarray  # [P] row numbers


class Found(NamedTuple):
    """What a set's probes find, and what the thresholds without labels do."""

    name: str
    num_gallery: int
    before: metrics.Identification
    after: metrics.Identification
    thresholds: dict[float, float]  # by false-alarm rate


def main() -> None:
    """Measures every set, then lays the figures out."""
    cli.keep_compiled_programs()
    stages, tables = cli.Stages(), {}
    paths = evidence.list_files(FLAGS.sets)
    sets = [evidence.read_set(path, FLAGS.max_images) for path in paths]
    folder = outputs.prepare_folder(FLAGS.output_dir, evidence.OUTPUTS)
    if "growth" in FLAGS.table:
        grown = [*sets, *(_generate(n) for n in (FLAGS.generated,) if n)]
        with stages("growth"):
            shown = cli.progress(grown, total=len(grown), desc="growth")
            lines = [line for given in shown for line in _grow(given)]
        head = "set | added | TPR 1e-4, 1e-3 rerun | grown | F rerun | grown | refresh"
        tables["growth"] = evidence.markdown(head, lines)
    if "identification" in FLAGS.table:
        with stages("identification"):
            pairs = [*zip(paths, sets, strict=True)]
            shown = cli.progress(pairs, total=len(pairs), desc="identification")
            found = [_look_up(given, _origin(path, given)) for path, given in shown]
        tables["identification"] = _table_of_figures(found)
        tables["open set"] = _table_of_thresholds(found)
    evidence.write_tables(folder, tables, {"seconds": stages.seconds})


def split(labels: np.ndarray, origin: np.ndarray | None, *, seed: int = 0) -> Split:
    """Enrolls half of the identities [N], but for the rows that are looked up.

    Those are of each the rows of one `origin` [N], drawn, or half of its rows; a bool
    says itself which. Where all rows of an enrolled one would be, none is.
    """
    random = np.random.default_rng(seed)
    names = random.permutation(np.unique(labels))
    enrolled = np.isin(labels, names[: len(names) // 2])
    asked = np.zeros(len(labels), bool)
    for name in names:
        rows = np.flatnonzero(labels == name)
        if origin is None:
            asked[random.permutation(rows)[: (len(rows) + 1) // 2]] = True
        elif origin.dtype == bool:
            asked[rows] = origin[rows]
        else:
            asked[rows] = origin[rows] == random.choice(np.unique(origin[rows]))
        if asked[rows].all() and enrolled[rows[0]]:
            asked[rows] = False
    return Split(np.flatnonzero(enrolled & ~asked), np.flatnonzero(asked))


def _origin(path: pathlib.Path, given: evidence.Set) -> np.ndarray | None:
    """Says where each row is from; of CFP whether it is a profile."""
    with np.load(path, allow_pickle=False) as stored:
        if "is_profile" in stored.files:
            return stored["is_profile"].astype(bool)
    return given.origin


def _generate(num_rows: int) -> evidence.Set:
    sample = datasets.synthetic_features(num_rows=num_rows)
    norms = np.ones(num_rows)
    pool = inputs.Pool("generated", sample.features, norms, sample.labels, None)
    return evidence.Set("generated", pool, None, None, None)


def _grow(given: evidence.Set) -> Iterable[list[str]]:
    """Measures a rerun, and galleries that grew to the same rows: lines of a table."""
    order = np.random.default_rng(0).permutation(len(given.pool.features))
    rows, labels = (
        np.asarray(c)[order] for c in (given.pool.features, given.pool.labels)
    )
    rerun = gfa.refine(rows, cluster=True)
    assert rerun.labels is not None
    expected = _figures(np.asarray(rerun.features), rerun.labels, labels, given)
    for share in GROWTH:
        count = round(len(rows) / (1 + share))
        made = core.create(rows[:count])
        made = core.insert(made, rows[count:], np.arange(count, len(rows)))
        got = _figures(made.refined, made.labels, labels, given)
        cells = (c for pair in zip(expected, got, strict=True) for c in pair)
        due = "due" if core.drift(made).due else "no"
        yield [given.pool.name, f"{share:.0%}", *cells, due]


def _figures(
    refined: np.ndarray, clusters: np.ndarray, labels: np.ndarray, given: evidence.Set
) -> tuple[str, str]:
    """Measures TPRs over all pairs, and the pairwise F of the clusters."""
    result = evaluation.measure_all_pairs(
        refined,
        labels,
        max_images=given.max_images,
        tail_size=int(_TAIL * len(labels) ** 2 / 2) + 1000,
    )
    points = metrics.tpr_at_fpr(result.roc, (1e-4, _TAIL))
    scores = metrics.cluster_scores(labels, clusters)
    return " ".join(_short(p.tpr) for p in points), _short(scores.pairwise.f_score)


def _look_up(given: evidence.Set, origin: np.ndarray | None) -> Found:
    rows, labels = given.pool.features, np.asarray(given.pool.labels)
    chosen = split(labels, origin)
    probes, people = rows[chosen.probes], labels[chosen.probes]
    names = people, labels[chosen.gallery]
    made = core.create(rows[chosen.gallery])
    refined = core.query(made, probes, k=1).refined
    return Found(
        given.pool.name,
        len(chosen.gallery),
        metrics.identify(probes, rows[chosen.gallery], *names),
        metrics.identify(refined, made.refined, *names),
        {rate: core.impostor_threshold(made, rate) for rate in RATES},
    )


def _table_of_figures(found: Sequence[Found]) -> str:
    lines = []
    for each in found:
        both = each.before, each.after
        points = [metrics.dir_at_fpir(one, FPIRS) for one in both]
        drawn = [metrics.resample_dir(one, FPIRS) for one in both]
        gains = metrics.gain_intervals(*drawn)
        mated = int(each.after.is_mated.sum())
        about = f"{each.num_gallery:,}, {mated:,}, {len(each.after.mated) - mated:,}"
        cells = [
            f"{_short(a.tpr)} {_short(b.tpr)}{'' if b.is_reliable else '*'} "
            f"[{gain.lower:+.3f}, {gain.upper:+.3f}]"
            for a, b, gain in zip(*points, gains, strict=True)
        ]
        lines.append([each.name, about, *cells])
    head = "set | gallery, mated, strangers | FPIR 1e-3 | 1e-2 | 1e-1 | rank 1"
    return evidence.markdown(head, lines)


def _table_of_thresholds(found: Sequence[Found]) -> str:
    lines = []
    for each in found:
        after, cells = each.after, []
        for threshold in each.thresholds.values():
            accepted = after.other[~after.is_mated] > threshold
            hits = (after.found & (after.mated > threshold))[after.is_mated]
            cells += [_short(accepted.mean()), _short(hits.mean())]
        lines.append([each.name, *cells])
    asked = (f"FPIR asked {rate:g} | DIR" for rate in RATES)
    return evidence.markdown(" | ".join(["set", *asked]), lines)


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".")
