"""Ways to choose settings on one half: suggested, a grid, and learnt.

Every way is timed after a first call that compiles its programs; what that call takes
is stated beside. A look at a setting, refining and measuring all pairs of the half, is
the same function for the grid and for what is learnt.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import gfa_jax as gfa
from gfa_jax.programs import cli, tuning_problem
from gfa_jax.programs.tuning_problem import Problem
from gfa_jax.selection import thresholds
from gfa_jax.tuning import TuneResult, Validation, tune
from gfa_jax.tuning.frames import AnyParams, PooledParams, of_update, pool_frames
from gfa_jax.tuning.objective import Objective

# gamma of a start: σ has no value at 1, nor a slope near it.
_LARGEST_GAMMA = 0.98


class Learning(NamedTuple):
    """How `tune` is called; see there.

    Attributes:
        starts: to choose among.
        objective: without the band, which follows from the half.
        optimizer: of optax.
        num_steps: most steps.
        batch_size: pairs of a step.
        final_sharpness: of the annealing.
        validate_every: steps between looks.
        min_gain: see `tune`.
        seed: of the batches.
        checkpoint: folder, or None.
    """

    starts: Sequence[AnyParams]
    objective: Objective
    optimizer: Any
    num_steps: int
    batch_size: int
    final_sharpness: float
    validate_every: int
    min_gain: float
    seed: int
    checkpoint: str | None = None


class Chosen(NamedTuple):
    """What a way chose.

    Attributes:
        params: of `gfa_jax.aggregate`.
        k: K, the row itself counted.
        num_steps: T.
        score: mean TPR on the half it was chosen on; None where none was looked at.
        seconds: of the choice, without compiling.
        compile_seconds: of a first call that compiles, or 0.
        looks: when each look at a setting ended, in seconds, and its score.
    """

    params: gfa.Params
    k: int
    num_steps: int
    score: float | None
    seconds: float
    compile_seconds: float
    looks: tuple[tuple[float, float], ...] = ()


def learn(
    problem: Problem,
    how: Learning,
    *,
    progress: Callable | None = None,
    looked: Callable[[float], None] = lambda score: None,
) -> TuneResult:
    """Learns on a half.

    Args:
        problem: the half.
        how: of `tune`.
        progress: see `tune`.
        looked: told the score of each look.

    Returns:
        TuneResult.
    """

    def validate(refined: np.ndarray) -> Validation:
        validation = tuning_problem.validate(problem, refined)
        looked(validation.score)
        return validation

    genuine = tuning_problem.genuine_pairs(problem, seed=how.seed)
    spared, hardest = tuning_problem.band(problem)
    # The first look at a start lists the others.
    impostor = tuning_problem.any_impostor(problem)
    return tune(
        problem.learnt_from,
        problem.neighbors,
        np.concatenate([genuine, impostor]),
        np.arange(len(genuine) + 1) < len(genuine),
        init_params=how.starts,
        objective=how.objective._replace(spared=spared, hardest=hardest),
        optimizer=how.optimizer,
        num_steps=how.num_steps,
        batch_size=how.batch_size,
        seed=how.seed,
        validate=validate,
        validate_every=how.validate_every,
        min_gain=how.min_gain,
        final_sharpness=how.final_sharpness,
        checkpoint=how.checkpoint,
        progress=progress,
    )


def by_learning(problem: Problem, how: Learning) -> tuple[Chosen, TuneResult]:
    """Learns once for a step, to compile, and then in earnest; times both.

    Args:
        problem: the half.
        how: of `learn`; without a checkpoint.

    Returns:
        Chosen; the result of `tune`.
    """
    short = how._replace(starts=how.starts[:1], num_steps=min(how.num_steps, 1))
    before = time.perf_counter()
    learn(problem, short)
    start, looks = time.perf_counter(), []
    result = learn(
        problem,
        how,
        progress=cli.progress,
        looked=lambda score: looks.append((time.perf_counter() - start, score)),
    )
    end = time.perf_counter()
    chosen = Chosen(
        of_update(result.params),
        problem.neighbors.indices.shape[1],
        how.objective.num_updates,
        result.hard_score,
        end - start,
        start - before,
        tuple(looks),
    )
    return chosen, result


def by_grid(
    problem: Problem,
    cells: Sequence[gfa.Params],
    *,
    num_steps: int,
    options: dict[str, Any],
) -> tuple[Chosen, Chosen]:
    """Looks at every cell and takes the best, the first of equal ones.

    Args:
        problem: the half.
        cells: the settings.
        num_steps: T.
        options: of `gfa_jax.aggregate`.

    Returns:
        What is best by the TPR at the FPR to learn for; what is best by the mean around
        it, as the learning chooses.
    """

    def look(params: gfa.Params) -> tuning_problem.Score:
        refined = refine(
            problem.pool.features,
            problem.neighbors,
            params,
            num_steps=num_steps,
            **options,
        )
        return tuning_problem.measure(problem, refined)

    before = time.perf_counter()
    look(cells[0])
    start, scores, ends = time.perf_counter(), [], []
    for params in cli.progress(cells, total=len(cells), desc="grid"):
        scores.append(look(params))
        ends.append(time.perf_counter() - start)
    around = [score.around for score in scores]

    def choose(by: list[float]) -> Chosen:
        best = int(np.argmax(by))
        return Chosen(
            cells[best],
            problem.neighbors.indices.shape[1],
            num_steps,
            around[best],
            ends[-1],
            start - before,
            tuple(zip(ends, around, strict=True)),
        )

    return choose([score.tpr for score in scores]), choose(around)


def by_suggestion(problem: Problem, *, seed: int, options: dict[str, Any]) -> Chosen:
    """Asks `thresholds.suggest`, which sees no label; the search is not timed.

    Args:
        problem: the half.
        seed: of its sample.
        options: of `thresholds.suggest`.

    Returns:
        Chosen.
    """
    start = time.perf_counter()
    found = thresholds.suggest(
        problem.pool.features, problem.candidates, seed=seed, **options
    )
    seconds = time.perf_counter() - start
    # The half was asked before, which compiled what there is to compile.
    return Chosen(found.params, found.k, found.num_steps, None, seconds, 0.0)


def suggested_starts(
    problem: Problem, *, exponents: Sequence[float], temperature: float
) -> list[gfa.Params]:
    """Returns the suggestion as starts of `tune`.

    Args:
        problem: the half.
        exponents: of the affinity weights, of which nothing is suggested.
        temperature: of the soft mask.

    Returns:
        Params for each exponent, gamma inside (0, 1).
    """
    assert problem.suggestion is not None  # it was asked
    params = problem.suggestion.params
    gamma = min(float(params.gamma), _LARGEST_GAMMA)
    return [
        gfa.Params(gamma, params.threshold, temperature, exponent)
        for exponent in exponents
    ]


def refine(
    features: np.ndarray,
    neighbors: gfa.Neighbors,
    params: gfa.Params,
    *,
    num_steps: int,
    **options: Any,
) -> np.ndarray:
    """Refines a pool; waits for it."""
    result = gfa.aggregate(features, neighbors, params, num_steps=num_steps, **options)
    return np.asarray(jax.block_until_ready(result.features))


def refine_reported(
    split: tuning_problem.Split,
    params: AnyParams,
    *,
    k: int,
    num_steps: int,
    **options: Any,
) -> np.ndarray:
    """Refines the half to report on with what was chosen on the other.

    Where the power of the pooling was learnt too, it is pooled and searched anew.
    """
    features, candidates = split.reported.features, split.candidates
    if split.frames is not None:
        assert isinstance(params, PooledParams)  # learnt from frames
        features = np.asarray(
            pool_frames(split.frames, num_rows=len(features), power=params.power)
        )
    if candidates is None:
        candidates = tuning_problem.find_candidates(features, k=k)
    neighbors = tuning_problem.nearest(
        candidates,
        k=k,
        isolate_at=params.threshold if split.isolates else None,
    )
    return refine(
        features, neighbors, of_update(params), num_steps=num_steps, **options
    )
