"""The rows that the aggregation harmed most, as a list (paper, §4.1, Fig. 8).

    harm_i = Δ impostor_i − Δ genuine_i

where Δ is the change of the mean cosine over the row's pairs of that kind: a row is
harmed where its genuine pairs drift apart and its impostor pairs together. A row
without a pair of one kind counts 0 for it.
"""

from typing import NamedTuple

import numpy as np

from gfa_jax import datasets, metrics


class Harm(NamedTuple):
    """What became of the pairs of every row."""

    harm: np.ndarray  # [N] float64
    genuine: np.ndarray  # [N] float64 change of the mean cosine of its genuine pairs
    impostor: np.ndarray  # [N] float64 likewise
    num_genuine: np.ndarray  # [N] int64 genuine pairs of the row
    num_impostor: np.ndarray  # [N] int64


def measure(before: np.ndarray, after: np.ndarray, pairs: datasets.Pairs) -> Harm:
    """Measures the harm to every row; `before` and `after` are [N, D] unit rows.

    Two passes over the pairs; about 40 bytes a pair.
    """
    same = pairs.same
    assert same is not None
    change = metrics.pair_scores(after, pairs.indices).astype(np.float64)
    change -= metrics.pair_scores(before, pairs.indices)
    means, counts = [], []
    for kind in (same, ~same):
        sums, number = np.zeros(len(before)), np.zeros(len(before), np.int64)
        for side in pairs.indices[kind].T:
            sums += np.bincount(side, change[kind], len(before))
            number += np.bincount(side, minlength=len(before))
        means.append(sums / np.maximum(number, 1))
        counts.append(number)
    genuine, impostor = means
    return Harm(impostor - genuine, genuine, impostor, *counts)


def as_csv(harm: Harm, columns: dict[str, np.ndarray], *, count: int) -> str:
    """Lists the rows that were harmed most, the worst first, at most `count`.

    `columns` are [N] arrays that name a row, such as its image.
    """
    import csv
    import io

    worst = np.argsort(-harm.harm, kind="stable")[:count]
    worst = worst[harm.harm[worst] > 0]
    columns = columns | harm._asdict()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in worst:
        values = (column[row] for column in columns.values())
        writer.writerow(
            f"{value:.6f}" if isinstance(value, np.floating) else value
            for value in values
        )
    return text.getvalue()
