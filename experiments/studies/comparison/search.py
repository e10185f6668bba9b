"""How every method looks for its setting: the same number of trials, the same way.

A setting is a point of the unit cube, one axis a parameter. The first half of the
trials are points of a scrambled Halton sequence (Halton, 1960), which fill the cube
more evenly than independent draws do; the second half fill a smaller cube around the
best so far, so that a method of six parameters is not left to luck where one of a
single parameter has been searched through.
"""

from collections.abc import Callable, Sequence

import numpy as np

from experiments.studies.comparison.methods import Method, Range, Setting

# Edge of the smaller cube.
_WIDTH = 0.4


def search(
    method: Method,
    evaluate: Callable[[Setting], list[float]],
    raw: Sequence[float],
    *,
    trials: int,
    seed: int,
    limits: Range,
) -> list[tuple[Setting, list[float]]]:
    """Tries settings, the later ones near the best of the earlier.

    The best so far falls least below the raw features at any target and, of those that
    fall equally little, has the largest mean.

    Args:
        method: whose axes.
        evaluate: a setting to its TPR at each target [F]; called once a setting.
        raw: [F] TPR of the raw features.
        trials: how many settings.
        seed: of the sequence.
        limits: of the values.

    Returns:
        Settings with their TPRs, in order; one of few choices may come twice.
    """
    if not method.axes:
        return [({}, evaluate({}))]
    from scipy.stats import qmc

    # SciPy 1.15 calls it rng, and takes both.
    sequence = qmc.Halton(len(method.axes), seed=seed)  # pyright: ignore[reportCallIssue]
    points = sequence.random(trials)
    known: dict[tuple, list[float]] = {}
    tried: list[tuple[Setting, list[float]]] = []
    best, best_rank = points[0], (-np.inf, -np.inf)
    for number in range(trials):
        point = points[number]
        if number >= (trials + 1) // 2:
            point = np.clip(best + _WIDTH * (point - 0.5), 0.0, np.nextafter(1, 0))
        setting = {
            name: axis(float(u), limits)
            for (name, axis), u in zip(method.axes.items(), point, strict=True)
        }
        key = tuple(setting.values())
        if key not in known:
            known[key] = evaluate(setting)
        tried.append((setting, known[key]))
        gains = np.subtract(known[key], raw)
        rank = (min(0.0, float(gains.min())), float(gains.mean()))
        if rank > best_rank:
            best, best_rank = point, rank
    return tried
