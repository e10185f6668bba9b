"""A short search for a basin, then gradients through the updates (objective.py).

The starts are scored once each, and the best is descended from: a batch of genuine and
of impostor pairs; one step; now and then a validation. What is learnt is the soft mask.
Where the result is to be used with the bracket [A > t] (`mask="hard"`), every score,
and so the choice, uses the bracket, and the mask is annealed towards it.

A validation may name the impostor pairs that score highest now: those of the raw
features do not, since an aggregation makes others. Of a list of pairs the score is the
partial AUC,

    mean_{genuine g, hard impostor n} [s_g > s_n] + [s_g = s_n] / 2,

over the highest-scoring share of the impostor pairs: the mean TPR left of that FPR.
"""

import functools
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from gfa_jax.datasets import resumable
from gfa_jax.transposed_sums import reverse_neighbors
from gfa_jax.tuning.arguments import (
    check_disjoint,
    check_edges,
    check_options,
    check_pairs,
    read_pairs,
    read_pool,
    read_starts,
    to_floats,
)
from gfa_jax.tuning.frames import AnyParams, Frames
from gfa_jax.tuning.objective import (
    Batch,
    Objective,
    TuneState,
    check_objective,
    constrain,
    refine,
    scaled_adam,
    unconstrain,
    update,
)
from gfa_jax.types import Array, Neighbors

# Validations in a row without a gain, after which it stops.
_PATIENCE = 10
_DEFAULT = Objective()


class Validation(NamedTuple):
    """What an evaluation of refined features gives."""

    score: float  # higher is better
    # [M, 2] integer rows of the impostor pairs to learn from until the next one; None
    # keeps the ones before. Another M is compiled anew.
    impostor: np.ndarray | None = None


class History(NamedTuple):
    """How the learning went, in S steps, with V validations, from B starts.

    The parameters are those at which each loss was taken, annealed, in their order; P
    is 4, 5 with the pooling power, and one that is [T] takes T columns.
    """

    loss: np.ndarray  # [S] of the batch of each step
    params: np.ndarray  # [S, P]
    validated: np.ndarray  # [V] steps made before each validation, from 0
    score: np.ndarray  # [V] of each validation
    start_score: np.ndarray  # [B] the same of every start


class TuneResult(NamedTuple):
    """What `tune` returns: the best validation's parameters, the earliest of equals."""

    params: AnyParams  # floats or float64 [T]; PooledParams where the start was
    step: int  # steps made before they were reached; 0 is the start itself
    soft_score: float  # with the soft mask, of the validation
    hard_score: float  # the same with the hard mask
    history: History
    stopped: str  # why it ended, one line


class TuningCheckpoint(NamedTuple):
    """Where a run stands after s steps: arrays, and the state of the optimizer."""

    state: TuneState
    impostor: np.ndarray  # [M, 2] impostor pairs that are learnt from now
    path: np.ndarray  # [s + 1, P] parameters before each step so far and now
    losses: np.ndarray  # [s]
    validations: np.ndarray  # [V, 2] steps made and score of each so far
    start_scores: np.ndarray  # [B]


def tune(
    features: Array | Frames,
    neighbors: Neighbors,
    pairs: npt.ArrayLike,
    same: npt.ArrayLike,
    *,
    init_params: AnyParams | Sequence[AnyParams],
    validation: tuple[npt.ArrayLike, npt.ArrayLike]
    | Callable[[np.ndarray], Validation],
    identities: npt.ArrayLike | None = None,
    objective: Objective = _DEFAULT,
    optimizer: Any = None,
    max_iterations: int = 200,
    batch_size: int = 2048,
    seed: int = 0,
    validate_every: int = 10,
    min_gain: float = 0.0,
    final_temperature_ratio: float = 0.1,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable | None = None,
) -> TuneResult:
    """Learns the parameters of `aggregate` from pairs of one pool.

    θ ← θ − step(∂L/∂θ), with L, the loss, and θ, the parameters, of objective.py.

    Args:
        features: [N, D] floating unit rows, the pool; or `Frames`, from which it is
            pooled anew in every step, by the power that is learnt.
        neighbors: [N, K] candidates in it, and their cosines.
        pairs: [M, 2] integer rows to learn from; one that repeats another counts once.
        same: [M] bool, True for a genuine pair; both kinds.
        init_params: where to start: gamma inside (0, 1), temperature, exponent and
            power above 0; `PooledParams` with frames. What is [T] is learnt for each
            update. Of several starts, the one that scores highest.
        validation: what chooses the start and the step: pairs [V, 2] and same [V] of
            other rows, both kinds; or a function from refined features [N, D] to a
            `Validation`, which must not read what will be reported.
        identities: [N] integers or strings where they are known, to prove that no
            identity is in both sets of pairs.
        objective: T, the loss, the mask to use the result with.
        optimizer: an optax GradientTransformation; `scaled_adam(0.15, max_iterations)`
            by default.
        max_iterations: S >= 0, the most steps; 0 chooses among the starts. Ten
            validations in a row that find nothing better end it too.
        batch_size: pairs of a batch, even: half of each kind, or all there are.
        seed: of the batches; the same seed gives the same bits.
        validate_every: steps between validations.
        min_gain: >= 0, what a validation must add to the best so far to be better.
        final_temperature_ratio: in (0, 1], to which a factor of the temperature falls
            geometrically from 1 over the steps, where the result is for the hard mask.
        checkpoint: `.npz` file in which the run is kept at every validation, and from
            which it goes on with the same bits, given the same validation.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        TuneResult. A loss or gradient that is not finite ends it: the step is named and
        the best parameters until then are kept.

    Raises:
        ValueError: pairs of one kind, of a row with itself, or twice with different
            kinds; rows or identities in both sets; a pool in which no edge survives
            the threshold; an option out of its range; a checkpoint of another run.

    Cost: a step takes three to seven times the T updates of `aggregate`; a start or a
    validation T updates and the score. Memory: that of `aggregate` and its gradient.
    """
    check_objective(objective)
    starts = read_starts(init_params, num_steps=objective.num_steps)
    features, indices = read_pool(features, neighbors, starts[0])
    numbers = {
        "max_iterations": max_iterations,
        "batch_size": batch_size,
        "validate_every": validate_every,
        "min_gain": min_gain,
        "final_temperature_ratio": final_temperature_ratio,
    }
    check_options(**numbers, seed=seed)
    check_edges(indices, neighbors.similarity, starts)
    num_rows = len(indices)
    training = read_pairs(pairs, same, num_rows, "training")
    if callable(validation):
        held_out, validate = (), validation
    else:
        held_out = read_pairs(*validation, num_rows, "validation")
        check_disjoint(training, held_out, identities, num_rows)
        validate = functools.partial(_partial_auc, *held_out, share=objective.fpr_high)
    if optimizer is None:
        optimizer = scaled_adam(max_iterations=max(max_iterations, 1))
    indices = jnp.asarray(indices)

    def begin(params: AnyParams) -> TuneState:
        dtype = jax.tree.leaves(features)[0].dtype
        variables = unconstrain(params, dtype=dtype)
        return TuneState(variables, optimizer.init(variables))

    def score(params: AnyParams, mask: Any = objective.options.mask) -> Validation:
        refined = _refine(features, indices, params, mask=mask, objective=objective)
        found = validate(np.asarray(refined))
        if found.impostor is not None:
            check_pairs(found.impostor, num_rows, "validation's")
        return found

    def validated(run: TuningCheckpoint) -> TuningCheckpoint:
        """Scores where a run stands, if that is not known."""
        if run.validations[-1, 0] >= len(run.losses):
            return run
        found = score(_from_row(run.path[-1], starts[0]))
        entry = len(run.losses), float(found.score)
        run = run._replace(validations=np.vstack([run.validations, entry]))
        return run if found.impostor is None else run._replace(impostor=found.impostor)

    run = store = None
    if checkpoint is not None:
        key = resumable.content_hash(
            [*jax.tree.leaves(features), indices, *training, *held_out],
            [
                repr((starts, objective)),
                seed,
                *numbers.values(),
                _fingerprint(optimizer, begin(starts[0])),
            ],
        )
        store = resumable.Store(pathlib.Path(checkpoint).parent, key)
        run = _restore(store, checkpoint, begin(starts[0]))
    if run is None:
        run = _choose_start(starts, begin, score, training[1])
    ratio = final_temperature_ratio if objective.options.mask == "hard" else 1.0
    # Python floats, which take on the dtype of the features.
    ratios = np.geomspace(1.0, ratio, max_iterations + 1).tolist()
    is_fixed = objective.options.graph == "fixed"
    reverse = reverse_neighbors(indices) if is_fixed else None
    resumed = len(run.losses)
    steps = range(resumed, max_iterations)
    if progress is not None:
        steps = progress(steps, total=len(steps), desc="tuning")
    stopped = f"all {max_iterations} steps were made"
    for step in steps:
        if step % validate_every == 0:
            run = validated(run)
            if store is not None and step > resumed:
                _save(store, checkpoint, run)
            best, _ = _best(run.validations, min_gain)
            if step - best >= _PATIENCE * validate_every:
                stopped = f"nothing better from step {best} to step {step}"
                break
        # A stream for each step: a run that goes on draws what it would have drawn.
        random = np.random.default_rng((seed, step))
        genuine, impostor = (
            _draw(kind, batch_size // 2, random) for kind in (training[0], run.impostor)
        )
        state, loss = update(
            run.state,
            Batch(features, indices, genuine, impostor, reverse),
            temperature_ratio=ratios[step],
            optimizer=optimizer,
            objective=objective,
        )
        found = jax.tree.leaves((loss, state.variables))
        if not all(np.isfinite(x).all() for x in found):
            stopped = f"step {step}: the loss is {loss:g} or its gradient is not finite"
            break
        moved = constrain(state.variables, temperature_ratio=ratios[step + 1])
        run = run._replace(
            state=state,
            path=np.vstack([run.path, _as_row(moved)]),
            losses=np.append(run.losses, float(loss)),
        )
    else:
        run = validated(run)
    kept, best_score = _best(run.validations, min_gain)
    params = _from_row(run.path[kept], starts[0])
    soft, hard = (
        best_score if mask == objective.options.mask else score(params, mask).score
        for mask in ("soft", "hard")
    )
    history = History(
        run.losses,
        run.path[:-1],
        run.validations[:, 0].astype(int),
        run.validations[:, 1],
        run.start_scores,
    )
    return TuneResult(params, kept, soft, hard, history, stopped)


_refine = jax.jit(refine, static_argnames=("mask", "objective"))


def _choose_start(
    starts: list[AnyParams],
    begin: Callable[[AnyParams], TuneState],
    score: Callable[[AnyParams], Validation],
    impostor: np.ndarray,
) -> TuningCheckpoint:
    """Scores the starts and begins at the best, the first of equal ones."""
    found = [score(start) for start in starts]
    scores = np.array([float(each.score) for each in found])
    number = int(np.argmax(scores))
    listed = found[number].impostor
    return TuningCheckpoint(
        begin(starts[number]),
        impostor if listed is None else np.asarray(listed),
        np.array([_as_row(starts[number])]),
        np.empty(0),
        np.array([[0, scores[number]]]),
        scores,
    )


def _best(validations: np.ndarray, min_gain: float) -> tuple[int, float]:
    """Finds the step and the score of the best validation, the earliest of equals.

    A later one must add more than `min_gain` to be better.
    """
    best = validations[0]
    for entry in validations:
        if entry[1] > best[1] + min_gain:
            best = entry
    return int(best[0]), float(best[1])


def _draw(kind: np.ndarray, number: int, random: np.random.Generator) -> np.ndarray:
    """Draws pairs of one kind, each at most once, or all where they are fewer."""
    if len(kind) > number:
        kind = kind[random.choice(len(kind), size=number, replace=False)]
    return kind.astype(np.int32)


def _partial_auc(
    genuine: np.ndarray, impostor: np.ndarray, refined: np.ndarray, *, share: float
) -> Validation:
    """Measures the share of (genuine, hard impostor) pairs in the right order."""
    genuine, impostor = (
        np.einsum("md,md->m", *(refined[side] for side in kind.T))
        for kind in (genuine, impostor)
    )
    hard = np.sort(impostor)[-max(1, round(share * len(impostor))) :]
    below, not_above = (
        np.searchsorted(hard, genuine, side=side) for side in ("left", "right")
    )
    return Validation(float(np.mean(below + not_above) / (2 * len(hard))))


def _save(store: resumable.Store, path: Any, run: TuningCheckpoint) -> None:
    leaves = enumerate(jax.tree.leaves(run))
    store.save(pathlib.Path(path).stem, {f"{n}": np.asarray(x) for n, x in leaves})


def _restore(
    store: resumable.Store, path: Any, like: TuneState
) -> TuningCheckpoint | None:
    """Reads where a run stands; None where nothing was saved."""
    leaves, structure = jax.tree.flatten(TuningCheckpoint(like, *[np.empty(0)] * 5))
    stored = store.load(pathlib.Path(path).stem, [f"{n}" for n in range(len(leaves))])
    if stored is None:
        return None
    return jax.tree.unflatten(structure, [np.array(leaf) for leaf in stored])


def _fingerprint(optimizer: Any, state: TuneState) -> list[Any]:
    """Tells optimizers apart by what they make of a gradient of ones, twice."""
    ones = jax.tree.map(jnp.ones_like, state.variables)
    seen, inside = [], state.optimizer
    for _ in range(2):
        changes, inside = optimizer.update(ones, inside, state.variables)
        seen += [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(changes)]
    return seen


def _as_row(params: AnyParams) -> np.ndarray:
    """Lists all numbers, in their order."""
    return np.concatenate([np.ravel(np.asarray(p, float)) for p in params])


def _from_row(row: np.ndarray, like: AnyParams) -> AnyParams:
    """Gives the numbers of `_as_row` the shapes of `like`."""
    shapes = [np.shape(param) for param in like]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = np.split(row, ends[:-1])
    values: Any = (p.reshape(shape) for p, shape in zip(parts, shapes, strict=True))
    return to_floats(type(like)(*values))
