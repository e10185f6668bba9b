"""Which pairs are impostors where most rows are of unknown people.

    all pairs      every two rows that are not known to be one person
    distractors    a row of the ground truth with a distractor

The first counts two distractors as two people, which they need not be. One pass over
the tiles serves both: of its tail of impostor pairs, complete above a floor, the second
reading takes those with one distractor.
"""

import numpy as np

from gfa_jax import metrics
from gfa_jax.metrics.bootstrap import Sample, resample
from gfa_jax.metrics.operating_point import allowed_false_accepts
from gfa_jax.metrics.roc import count_accepts

ALL_PAIRS, DISTRACTORS = "all pairs", "distractors"
READINGS = {
    ALL_PAIRS: "every two rows that are not known to be one person",
    DISTRACTORS: "a row of the ground truth with a distractor",
}


def against_distractors(
    result: metrics.AllPairs, is_distractor: np.ndarray, *, fpr: float, rule: str
) -> metrics.OperatingPoint | None:
    """Reads TPR at FPR where an impostor pair has one distractor and one known row.

    FA(t) = #{i known, j distractor: f_i · f_j >= t}, of known · distractors pairs

    In `result` every distractor is an identity of its own. None where the threshold
    lies under the floor of the tail, or where the genuine pairs were not kept.
    """
    if result.genuine is None:
        return None
    crossing = _crossing(result, is_distractor)
    impostor = result.impostor_tail.scores[crossing]
    num_impostor = _count(is_distractor)
    complete = impostor.size == num_impostor
    if not complete and allowed_false_accepts(fpr, num_impostor) >= impostor.size:
        return None
    genuine = result.genuine.scores
    above = genuine if complete else genuine[genuine > result.tail_floor]
    roc = metrics.Roc(*count_accepts(impostor, above), num_impostor, genuine.size)
    return metrics.tpr_at_fpr(roc, (fpr,), rule=rule)[0]


def resample_distractors(
    result: metrics.AllPairs,
    is_distractor: np.ndarray,
    *,
    fpr: float,
    num_resamples: int,
    seed: int,
) -> metrics.ResampledTprs | None:
    """Measures the same TPR, conservatively, on people and distractors drawn anew.

    Where row i is drawn m_i times with its person, the impostor pairs weigh (Σ m_i over
    known rows) (Σ m_j over distractors). One target, nan where the tail is too short;
    None where the genuine pairs were not kept.
    """
    if result.genuine is None:
        return None
    crossing = _crossing(result, is_distractor)
    identities, genuine = result.identities, result.genuine

    def impostor_weight(draws: np.ndarray) -> int:
        rows = draws[identities]
        return int(rows[is_distractor].sum()) * int(rows[~is_distractor].sum())

    sample = Sample(
        result.impostor_tail.scores[crossing],
        identities[result.impostor_tail.rows[crossing].T],
        genuine.scores,
        identities[genuine.rows[:, 0]],
        int(identities.max()) + 1,
        _count(is_distractor),
        impostor_weight,
    )
    return resample(sample, (fpr,), num_resamples, seed)


def _crossing(result: metrics.AllPairs, is_distractor: np.ndarray) -> np.ndarray:
    """Returns the places of the tail's pairs of one distractor and one known row."""
    return np.flatnonzero(np.logical_xor(*is_distractor[result.impostor_tail.rows.T]))


def _count(is_distractor: np.ndarray) -> int:
    num_distractors = int(np.count_nonzero(is_distractor))
    return num_distractors * (is_distractor.size - num_distractors)
