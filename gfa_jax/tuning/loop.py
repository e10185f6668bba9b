"""A short search for a basin, then gradients through the updates (objective.py).

The starts are scored once each, and the best is descended from. The loop: a batch of
genuine and of impostor pairs; one step; now and then a validation. What is learnt is
the soft mask. Where the result is to be used with the bracket [A > t] (`mask="hard"`),
every score, and so the choice, uses the bracket, and the mask is annealed towards it.

The score is a function of the refined features, such as the TPR over all pairs of some
identities at the FPR that will be reported; or, of a list of pairs, the partial AUC,

    mean_{genuine g, hard impostor n} [s_g > s_n] + [s_g = s_n] / 2,

over the hardest share of the impostor pairs: the mean TPR left of that FPR. A
validation may also hand over the impostor pairs that are hardest now. Those of the raw
features are not: an aggregation makes hard pairs of its own.
"""

import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from gfa_jax.datasets import resumable
from gfa_jax.transposed_sums import reverse_neighbors
from gfa_jax.tuning import checkpoints
from gfa_jax.tuning.arguments import (
    check_edges,
    check_options,
    read_features,
    read_starts,
    to_floats,
)
from gfa_jax.tuning.checkpoints import TuningCheckpoint
from gfa_jax.tuning.frames import AnyParams, Frames
from gfa_jax.tuning.objective import Batch, TuneState, constrain, init, refine, update
from gfa_jax.tuning.optimizers import scaled_adam
from gfa_jax.tuning.options import Objective, check_objective
from gfa_jax.tuning.pairs import (
    Pairs,
    check_disjoint,
    check_rows,
    draw_batch,
    read_pairs,
)
from gfa_jax.types import Array, Neighbors


class Validation(NamedTuple):
    """What an evaluation of refined features gives.

    Attributes:
        score: higher is better.
        impostor: [M, 2] integer rows of the impostor pairs to learn from until the next
            one, those that score highest now; None keeps the ones before. The program
            is compiled again whenever M changes.
    """

    score: float
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
    """What `tune` returns.

    `params` are the best validation's, the earliest of equal ones, floats or float64
    [T]; without validation the last good ones.
    """

    params: AnyParams  # PooledParams where the start was
    step: int  # steps made before they were reached; 0 is the start itself
    soft_score: float  # with the soft mask, of the validation, else of the training
    hard_score: float  # the same with the hard mask
    history: History
    stopped: str  # why it ended, one line
    num_repeated: int  # training pairs left out since they repeat another one

    @property
    def gap(self) -> float:
        """What the hard mask loses against the soft one, in the score."""
        return self.soft_score - self.hard_score


def tune(
    features: Array | Frames,
    neighbors: Neighbors,
    pairs: npt.ArrayLike,
    same: npt.ArrayLike,
    *,
    init_params: AnyParams | Sequence[AnyParams],
    objective: Objective | None = None,
    optimizer: Any = None,
    max_iterations: int = 200,
    batch_size: int = 2048,
    seed: int = 0,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    validate: Callable[[np.ndarray], Validation] | None = None,
    identities: npt.ArrayLike | None = None,
    validate_every: int = 10,
    patience: int = 10,
    min_gain: float = 0.0,
    final_temperature_ratio: float = 0.1,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable | None = None,
) -> TuneResult:
    """Learns the parameters of `aggregate` from pairs of one pool.

    θ ← θ − step(∂L/∂θ), with L, the loss, and θ, the parameters, of objective.py.

    Args:
        features: [N, D] floating unit rows, the pool; fixed. Or `Frames`, from which it
            is pooled anew in every step, by the power that is learnt.
        neighbors: [N, K] candidates in it, and their cosines.
        pairs: [M, 2] integer rows to learn from. A pair that repeats another one is
            left out and counted.
        same: [M] bool, True for a genuine pair; both kinds.
        init_params: where to start: gamma inside (0, 1), temperature and exponent
            above 0; with frames `PooledParams`, the power above 0. What is [T] is
            learnt for each update. Of several starts, the one that scores highest; the
            loss has more than one valley, and a few scores are cheaper than the way
            between two.
        objective: T, the loss, how to differentiate, the mask to use the result with;
            `Objective()` by default.
        optimizer: an optax GradientTransformation; `scaled_adam(0.15, max_iterations)`
            by default.
        max_iterations: S >= 0, the most steps; 0 chooses among the starts.
        batch_size: pairs of a batch, even: half of each kind, or all there are.
        seed: of the batches; the same seed gives the same bits.
        validation: pairs [V, 2] and same [V] of other identities, both kinds, to choose
            the step by; scored by the partial AUC over the hardest share.
        validate: in its place, a function from refined features [N, D] to a
            `Validation`: any score, and the impostor pairs to learn from next. It must
            not read what will be reported, and with a checkpoint be the same one.
        identities: [N] integers or strings where they are known, to prove that no
            identity is in both sets of pairs. No row may be in any case.
        validate_every: steps between validations.
        patience: validations in a row that find nothing better, after which it stops.
        min_gain: >= 0, what a validation must add to the best so far to be better: a
            gain below the noise of the score is none elsewhere.
        final_temperature_ratio: in (0, 1]; the temperature is multiplied by a number
            that falls geometrically from 1 to this one over the steps, where the result
            is for the hard mask.
        checkpoint: `.npz` file in which the run is kept at every validation, and from
            which it goes on with the same bits.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        TuneResult. A loss or gradient that is not finite ends it: the step is named and
        the best parameters until then are kept.

    Raises:
        ValueError: pairs of one kind, of a row with itself, or twice with different
            kinds; rows or identities in both sets; a pool in which no edge survives
            the threshold; an option out of its range; a checkpoint of another run.

    Cost: a step takes three to seven times the T updates of `aggregate` (reverse), or
    one more than the numbers learnt (forward); a start or a validation T updates and
    the score. Memory: that of `aggregate` and its gradient.
    """
    objective = Objective() if objective is None else objective
    starts = read_starts(init_params, objective)
    features, num_rows, dtype = read_features(features, neighbors, starts[0])
    check_objective(objective, pools=isinstance(features, Frames))
    numbers = {
        "max_iterations": max_iterations,
        "batch_size": batch_size,
        "validate_every": validate_every,
        "patience": patience,
        "min_gain": min_gain,
        "final_temperature_ratio": final_temperature_ratio,
    }
    check_options(**numbers)
    check_edges(neighbors, starts, num_rows)
    training = read_pairs(pairs, same, num_rows, "training")
    chooses = validation is not None or validate is not None
    if validate is None:
        held_out = training
        if validation is not None:
            held_out = read_pairs(*validation, num_rows, "validation")
            check_disjoint(training, held_out, identities, num_rows)
        validate = functools.partial(
            _partial_auc, pairs=held_out, hardest=objective.fpr_high
        )
    elif validation is not None:
        raise ValueError(
            "got validation pairs and a validate function; expected one of them"
        )
    if optimizer is None:
        optimizer = scaled_adam(max_iterations=max(max_iterations, 1))
    indices = jnp.asarray(neighbors.indices, jnp.int32)
    ratio = final_temperature_ratio if objective.options.mask == "hard" else 1.0

    def begin(params: AnyParams) -> TuneState:
        return init(params, optimizer=optimizer, dtype=dtype)

    def score(params: AnyParams, mask: Any = objective.options.mask) -> Validation:
        refined = _refine(features, indices, params, mask=mask, objective=objective)
        return validate(np.asarray(refined))

    run = key = None
    if checkpoint is not None:
        arrays = [*jax.tree.leaves(features), indices, *training[:2]]
        options = [repr((starts, objective)), seed, *numbers.values()]
        key = resumable.content_hash(
            arrays + list(validation or ()),
            [*options, _fingerprint(optimizer, begin(starts[0]))],
        )
        run = checkpoints.restore(checkpoint, key, begin(starts[0]))
    if run is None:
        run = _choose_start(starts, begin, score, training, chooses=chooses)
    # Python floats, which take on the dtype of the features.
    ratios = np.geomspace(1.0, ratio, max_iterations + 1).tolist()
    reverse = reverse_neighbors(indices) if objective.reads_reverse else None
    resumed, steps = run.step, range(run.step, max_iterations)
    if progress is not None:
        steps = progress(steps, total=len(steps), desc="tuning")
    stopped = f"all {max_iterations} steps were made"
    for step in steps:
        if step % validate_every == 0:
            if chooses:
                _validate(run, starts[0], score, num_rows)
            if key is not None and checkpoint is not None and step > resumed:
                checkpoints.save(checkpoint, key, run)
            best = run.best(min_gain)[0] if chooses else step
            if step - best >= patience * validate_every:
                stopped = f"nothing better from step {best} to step {step}"
                break
        # A stream for each step: a run that goes on draws what it would have drawn.
        genuine, impostor = draw_batch(
            training.genuine,
            run.impostor,
            batch_size=batch_size,
            random=np.random.default_rng((seed, step)),
        )
        following, loss = update(
            run.state,
            Batch(features, indices, genuine, impostor, reverse),
            temperature_ratio=ratios[step],
            optimizer=optimizer,
            objective=objective,
        )
        if not all(np.isfinite(x).all() for x in jax.tree.leaves((loss, following[0]))):
            stopped = f"step {step}: the loss is {loss:g} or its gradient is not finite"
            break
        run.state = following
        run.losses.append(float(loss))
        moved = constrain(following.variables, temperature_ratio=ratios[step + 1])
        run.path.append(_as_row(moved))
    else:
        if chooses:
            _validate(run, starts[0], score, num_rows)
    return _result(run, starts[0], score, objective, stopped, training, min_gain)


def _choose_start(
    starts: list[AnyParams],
    begin: Callable[[AnyParams], TuneState],
    score: Callable[..., Validation],
    training: Pairs,
    *,
    chooses: bool,
) -> TuningCheckpoint:
    """Scores the starts and begins at the best, the first of equal ones."""
    is_scored = chooses or len(starts) > 1
    found = [score(start) for start in starts] if is_scored else [Validation(math.nan)]
    number = max(range(len(starts)), key=lambda n: found[n].score)
    run = TuningCheckpoint(
        begin(starts[number]), training.impostor, [_as_row(starts[number])]
    )
    hardest = found[number].impostor
    if hardest is not None:
        run.impostor = np.asarray(hardest)
    if chooses:
        run.validations.append((0, float(found[number].score)))
    if is_scored:
        run.start_scores = [float(each.score) for each in found]
    return run


def _validate(
    run: TuningCheckpoint,
    like: AnyParams,
    score: Callable[..., Validation],
    num_rows: int,
) -> None:
    """Scores where a run stands, if that is not known."""
    if run.validations[-1][0] >= run.step:
        return
    found = score(_from_row(run.path[run.step], like))
    run.validations.append((run.step, float(found.score)))
    if found.impostor is not None:
        run.impostor = check_rows(found.impostor, num_rows, "validate's")


def _result(
    run: TuningCheckpoint,
    like: AnyParams,
    score: Callable[..., Validation],
    objective: Objective,
    stopped: str,
    training: Pairs,
    min_gain: float,
) -> TuneResult:
    """Reads what to keep off a run that has ended."""
    kept, known = run.step, {}
    if run.validations:
        kept, best = run.best(min_gain)
        known = {objective.options.mask: best}
    params = _from_row(run.path[kept], like)
    soft, hard = (
        known[mask] if mask in known else score(params, mask).score
        for mask in ("soft", "hard")
    )
    validated = np.array(run.validations, float).reshape(-1, 2)
    history = History(
        np.array(run.losses),
        np.array(run.path[: run.step]).reshape(-1, len(run.path[0])),
        validated[:, 0].astype(int),
        validated[:, 1],
        np.array(run.start_scores),
    )
    repeated = training.num_repeated
    return TuneResult(params, kept, soft, hard, history, stopped, repeated)


_refine = jax.jit(refine, static_argnames=("mask", "objective"))


def _partial_auc(refined: np.ndarray, *, pairs: Pairs, hardest: float) -> Validation:
    """Measures the share of (genuine, hard impostor) pairs in the right order."""
    genuine, impostor = (
        np.einsum("md,md->m", *(refined[side] for side in kind.T))
        for kind in (pairs.genuine, pairs.impostor)
    )
    hard = np.sort(impostor)[-max(1, round(hardest * len(impostor))) :]
    below, not_above = (
        np.searchsorted(hard, genuine, side=side) for side in ("left", "right")
    )
    return Validation(float(np.mean(below + not_above) / (2 * len(hard))))


def _fingerprint(optimizer: Any, state: TuneState) -> list[Any]:
    """Tells optimizers apart by what they make of a gradient of ones, twice."""
    ones = jax.tree.map(jnp.ones_like, state.variables)
    seen, inside = [], state.optimizer
    for _ in range(2):
        changes, inside = optimizer.update(ones, inside, state.variables)
        seen += [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(changes)]
    return seen


def _as_row(params: AnyParams) -> list[float]:
    """Lists all numbers, in their order."""
    return np.concatenate([np.ravel(np.asarray(p, float)) for p in params]).tolist()


def _from_row(row: list[float], like: AnyParams) -> AnyParams:
    """Gives the numbers of `_as_row` the shapes of `like`."""
    shapes = [np.shape(param) for param in like]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = np.split(np.asarray(row, float), ends[:-1])
    values: Any = (p.reshape(shape) for p, shape in zip(parts, shapes, strict=True))
    return to_floats(type(like)(*values))
