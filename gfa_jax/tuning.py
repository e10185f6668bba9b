"""Learns gamma, threshold, temperature and exponent from pairs (objective.py).

The loop: a batch that is half genuine, half impostor; one step; now and then a
validation on pairs of other identities. The soft mask is annealed towards the bracket
[A > t] while it learns, and every validation, and so the choice, uses the bracket: what
is kept is what will be run. The score of a validation is the partial AUC,

    mean_{genuine g, hard impostor n} [s_g > s_n] + [s_g = s_n] / 2,

over the hardest share of the impostor pairs: the mean TPR left of that FPR.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from gfa_jax import numerics
from gfa_jax.affinity import Mask
from gfa_jax.objective import (
    Objective,
    check_objective,
    constrain,
    init,
    pair_scores,
    update,
)
from gfa_jax.types import Array, Neighbors, Params, check_params

_LEARNING_RATE = 0.03


class History(NamedTuple):
    """How the learning went.

    Attributes:
        loss: [S] loss of the batch of each step.
        params: [S, 4] the parameters at which it was taken, annealed, in the order of
            `Params`.
        validated: [V] steps made before each validation, from 0.
        score: [V] partial AUC of the validation pairs with the hard mask.
    """

    loss: np.ndarray
    params: np.ndarray
    validated: np.ndarray
    score: np.ndarray


class TuneResult(NamedTuple):
    """What `tune` returns.

    Attributes:
        params: the parameters kept, as floats: those of the best validation, the
            earliest of equal ones; without validation pairs the last good ones.
        step: steps made before they were reached; 0 is the start itself.
        soft_score: partial AUC with the soft mask at `params`, on the validation pairs
            (on the training pairs where there are none).
        hard_score: the same with the hard mask.
        history: every step.
        stopped: why it ended, one line.
        num_repeated: training pairs left out since they repeat another one.
    """

    params: Params
    step: int
    soft_score: float
    hard_score: float
    history: History
    stopped: str
    num_repeated: int

    @property
    def gap(self) -> float:
        """What the hard mask loses against the soft one, in partial AUC."""
        return self.soft_score - self.hard_score


class _Pairs(NamedTuple):
    genuine: np.ndarray  # [G, 2] integer rows
    impostor: np.ndarray  # [M, 2] integer rows
    num_repeated: int


def tune(
    features: Array,
    neighbors: Neighbors,
    pairs: npt.ArrayLike,
    same: npt.ArrayLike,
    *,
    init_params: Params,
    objective: Objective | None = None,
    optimizer: Any = None,
    num_steps: int = 200,
    batch_size: int = 2048,
    seed: int = 0,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    identities: npt.ArrayLike | None = None,
    validate_every: int = 10,
    patience: int = 10,
    final_sharpness: float = 10.0,
    progress: Callable | None = None,
) -> TuneResult:
    """Learns the parameters of `aggregate` from pairs of one pool.

    θ ← θ − step(∂L/∂θ), with L, the loss, and θ, the parameters, of objective.py.

    Args:
        features: [N, D] floating unit rows, the pool; fixed.
        neighbors: [N, K] candidates in it, and their cosines.
        pairs: [M, 2] integer rows to learn from. A pair that repeats another one is
            left out and counted.
        same: [M] bool, True for a genuine pair; both kinds.
        init_params: where to start: gamma inside (0, 1), temperature and exponent
            above 0.
        objective: T, the loss, how to differentiate, options of `aggregate`;
            `Objective()` by default.
        optimizer: an optax GradientTransformation; Adam at 0.03 by default.
        num_steps: S >= 1, the most steps.
        batch_size: pairs of a batch, even; drawn with replacement.
        seed: of the batches; the same seed gives the same bits.
        validation: pairs [V, 2] and same [V] of other identities, both kinds, to choose
            the step by.
        identities: [N] integers or strings where they are known, to prove that no
            identity is in both sets of pairs. No row may be in any case.
        validate_every: steps between validations.
        patience: validations in a row that find nothing better, after which it stops.
        final_sharpness: >= 1; the temperature is divided by a number that grows
            geometrically from 1 to this one over the steps.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        TuneResult. A loss or gradient that is not finite ends it: the step is named and
        the best parameters until then are kept.

    Raises:
        ValueError: pairs of one kind, of a row with itself, or twice with different
            kinds; rows or identities in both sets; a pool in which no edge survives
            the threshold; an option out of its range.

    Cost: a step takes about three times the T updates of `aggregate` (reverse), or
    seven times (forward). Memory: that of `aggregate` and its gradient.
    """
    objective = Objective() if objective is None else objective
    features = numerics.to_compute_dtype(features)
    check_objective(objective)
    check_params(init_params)
    _check_options(num_steps, batch_size, validate_every, patience, final_sharpness)
    _check_edges(neighbors, init_params, len(features))
    training = _read_pairs(pairs, same, len(features), "training")
    held_out = training
    if validation is not None:
        held_out = _read_pairs(*validation, len(features), "validation")
        _check_disjoint(training, held_out, identities, len(features))
    optimizer = _default_optimizer() if optimizer is None else optimizer

    indices = jnp.asarray(neighbors.indices, jnp.int32)
    score = functools.partial(
        _partial_auc, features, indices, held_out, objective=objective
    )
    state = init(init_params, optimizer=optimizer, dtype=features.dtype)
    # Python floats, which take on the dtype of the features.
    sharpness = np.geomspace(1.0, final_sharpness, num_steps + 1).tolist()
    batches = _batches(training, num_steps, batch_size, np.random.default_rng(seed))
    if progress is not None:
        batches = progress(batches, total=num_steps, desc="tuning")

    path, losses, validations = [init_params], [], []
    best, stopped = (0, -math.inf), f"all {num_steps} steps were made"
    for step, (genuine, impostor) in enumerate(batches):
        if validation is not None and step % validate_every == 0:
            validations.append((step, score(path[step], mask="hard")))
            best = max(best, validations[-1], key=lambda entry: entry[1])
            if step - best[0] >= patience * validate_every:
                stopped = f"nothing better from step {best[0]} to step {step}"
                break
        following, loss = update(
            state,
            features,
            indices,
            genuine,
            impostor,
            sharpness=sharpness[step],
            optimizer=optimizer,
            objective=objective,
        )
        if not _is_finite(loss, following.variables):
            stopped = f"step {step}: the loss is {loss:g} or its gradient is not finite"
            break
        state = following
        losses.append(float(loss))
        path.append(_floats(constrain(state.variables, sharpness=sharpness[step + 1])))
    else:
        if validation is not None:
            validations.append((num_steps, score(path[-1], mask="hard")))
            best = max(best, validations[-1], key=lambda entry: entry[1])

    kept = len(path) - 1 if validation is None else best[0]
    return TuneResult(
        path[kept],
        kept,
        score(path[kept], mask="soft"),
        score(path[kept], mask="hard"),
        History(
            np.array(losses),
            np.array(path[: len(losses)], float).reshape(-1, len(Params._fields)),
            np.array([step for step, _ in validations], int),
            np.array([value for _, value in validations], float),
        ),
        stopped,
        training.num_repeated,
    )


@functools.cache
def _default_optimizer() -> Any:
    """Makes one optimizer for all calls: a new one would compile the step anew."""
    import optax

    return optax.adam(_LEARNING_RATE)


def _batches(
    pairs: _Pairs, num_steps: int, batch_size: int, random: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draws batches with as many genuine as impostor pairs."""
    for _ in range(num_steps):
        genuine, impostor = (
            kind[random.integers(len(kind), size=batch_size // 2)]
            for kind in (pairs.genuine, pairs.impostor)
        )
        yield genuine, impostor


_scores = jax.jit(pair_scores, static_argnames=("mask", "objective"))


def _partial_auc(
    features: jax.Array,
    indices: jax.Array,
    pairs: _Pairs,
    params: Params,
    *,
    mask: Mask,
    objective: Objective,
) -> float:
    """Measures the share of (genuine, hard impostor) pairs in the right order."""
    genuine, impostor = (
        np.asarray(
            _scores(features, indices, kind, params, mask=mask, objective=objective)
        )
        for kind in (pairs.genuine, pairs.impostor)
    )
    hard = np.sort(impostor)[-max(1, round(objective.hardest * len(impostor))) :]
    below, not_above = (
        np.searchsorted(hard, genuine, side=side) for side in ("left", "right")
    )
    return float(np.mean(below + not_above) / (2 * len(hard)))


def _is_finite(*values: Any) -> bool:
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(values))


def _floats(params: Params) -> Params:
    return Params(*(float(leaf) for leaf in params))


def _read_pairs(
    pairs: npt.ArrayLike, same: npt.ArrayLike, num_rows: int, name: str
) -> _Pairs:
    """Checks pairs, drops the repeated ones, and tells the kinds apart."""
    rows, same = np.asarray(pairs), np.asarray(same)
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype.kind not in "iu":
        raise ValueError(
            f"{name} pairs are {rows.dtype} of shape {rows.shape}; expected integers "
            "[M, 2]"
        )
    if same.shape != (len(rows),) or same.dtype != np.bool_:
        raise ValueError(
            f"same of the {name} pairs is {same.dtype} of shape {same.shape}; expected "
            f"bool [{len(rows)}]"
        )
    if rows.size and not 0 <= rows.min() <= rows.max() < num_rows:
        raise ValueError(
            f"{name} pairs hold rows from {rows.min()} to {rows.max()}; expected 0 to "
            f"{num_rows - 1}"
        )
    itself = rows[:, 0] == rows[:, 1]
    if itself.any():
        first = int(np.argmax(itself))
        raise ValueError(
            f"{np.count_nonzero(itself)} {name} pairs join a row with itself, the "
            f"first is pair {first} with row {rows[first, 0]}; leave them out: their "
            "cosine is always 1"
        )
    unique, first, group = np.unique(
        np.sort(rows, axis=1), axis=0, return_index=True, return_inverse=True
    )
    contradicts = same != same[first][group.reshape(-1)]
    if contradicts.any():
        i, j = rows[int(np.argmax(contradicts))]
        raise ValueError(
            f"rows {i} and {j} are a genuine and an impostor {name} pair at once; "
            "expected one kind"
        )
    same = same[first]
    if not 0 < np.count_nonzero(same) < len(same):
        raise ValueError(
            f"got {np.count_nonzero(same)} genuine and {np.count_nonzero(~same)} "
            f"impostor {name} pairs; expected at least one of each"
        )
    return _Pairs(unique[same], unique[~same], len(rows) - len(unique))


def _check_disjoint(
    training: _Pairs,
    held_out: _Pairs,
    identities: npt.ArrayLike | None,
    num_rows: int,
) -> None:
    """Refuses rows, and known identities, that are on both sides."""
    first, second = (
        np.unique(np.concatenate([p.genuine, p.impostor])) for p in (training, held_out)
    )
    what = "rows"
    if identities is not None:
        identities = np.asarray(identities)
        if identities.shape != (num_rows,):
            raise ValueError(
                f"identities have shape {identities.shape}; expected ({num_rows},)"
            )
        what = "identities"
        first, second = np.unique(identities[first]), np.unique(identities[second])
    shared = np.intersect1d(first, second)
    if shared.size:
        raise ValueError(
            f"{shared.size} {what} are in both the training and the validation pairs, "
            f"{shared[0]} among them; expected none: split the pairs by identity"
        )


def _check_edges(neighbors: Neighbors, params: Params, num_rows: int) -> None:
    """Refuses a threshold that leaves nothing to learn from."""
    indices, similarity = (np.asarray(column) for column in neighbors)
    if indices.ndim != 2 or len(indices) != num_rows:
        raise ValueError(
            f"neighbors.indices have shape {indices.shape}; expected [{num_rows}, K]"
        )
    if similarity.shape != indices.shape:
        raise ValueError(
            f"neighbors.similarity has shape {similarity.shape}; expected "
            f"{indices.shape}, that of the indices"
        )
    is_other = (indices >= 0) & (indices != np.arange(num_rows)[:, None])
    others = similarity[is_other]
    if not others.size:
        raise ValueError(
            "no row has a candidate besides itself; search with a larger k"
        )
    if not (others > params.threshold).any():
        raise ValueError(
            f"no candidate exceeds the threshold {float(params.threshold):g}, so that "
            f"nothing can be learnt; the largest is {others.max():.3f}, half of them "
            f"exceed {np.median(others):.3f}: start there"
        )


def _check_options(
    num_steps: int,
    batch_size: int,
    validate_every: int,
    patience: int,
    final_sharpness: float,
) -> None:
    for name, value, least in (
        ("num_steps", num_steps, 1),
        ("batch_size", batch_size, 2),
        ("validate_every", validate_every, 1),
        ("patience", patience, 1),
        ("final_sharpness", final_sharpness, 1),
    ):
        if not value >= least:
            raise ValueError(f"{name} is {value}; expected {least} or more")
    if batch_size % 2:
        raise ValueError(f"batch_size is {batch_size}; expected an even number")
