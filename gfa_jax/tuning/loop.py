"""A short search for a basin, then gradients through the updates (objective.py).

The starts are scored once each by the hard mask, and the best is descended from. The
loop: a batch of genuine and of impostor pairs; one step; now and then a validation. The
soft mask is annealed towards the bracket [A > t] while it learns, and every validation,
and so the choice, uses the bracket: what is kept is what will be run.

A validation may also hand over the impostor pairs that are hardest now. Those of the
raw features are not: an aggregation makes hard pairs of its own.
"""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from gfa_jax.neighbor_products import ReverseNeighbors, reverse_neighbors
from gfa_jax.tuning.arguments import (
    check_edges,
    check_options,
    read_features,
    read_starts,
)
from gfa_jax.tuning.checkpoints import Course, open_checkpoints
from gfa_jax.tuning.frames import AnyParams, Frames
from gfa_jax.tuning.objective import (
    Objective,
    TuneState,
    check_objective,
    constrain,
    init,
    update,
)
from gfa_jax.tuning.optimizers import scaled_adam
from gfa_jax.tuning.pairs import (
    Pairs,
    check_disjoint,
    check_rows,
    draw_batch,
    read_pairs,
)
from gfa_jax.tuning.results import (
    History,
    TuneResult,
    as_floats,
    as_row,
    from_row,
)
from gfa_jax.tuning.validation import Validate, Validation, look, partial_auc_of
from gfa_jax.types import Array, Neighbors


def tune(
    features: Array | Frames,
    neighbors: Neighbors,
    pairs: npt.ArrayLike,
    same: npt.ArrayLike,
    *,
    init_params: AnyParams | Sequence[AnyParams],
    objective: Objective | None = None,
    optimizer: Any = None,
    num_steps: int = 200,
    batch_size: int = 2048,
    seed: int = 0,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    validate: Validate | None = None,
    identities: npt.ArrayLike | None = None,
    validate_every: int = 10,
    patience: int = 10,
    min_gain: float = 0.0,
    final_sharpness: float = 10.0,
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
            above 0; with frames `PooledParams`, the power above 0. Of several, the one
            that scores highest; the loss has more than one valley, and a few looks are
            cheaper than the way between two.
        objective: T, the loss, how to differentiate, options of `aggregate`;
            `Objective()` by default.
        optimizer: an optax GradientTransformation; `scaled_adam(0.15, num_steps)` by
            default.
        num_steps: S >= 0, the most steps; 0 chooses among the starts.
        batch_size: pairs of a batch, even: half of each kind, or all there are.
        seed: of the batches; the same seed gives the same bits.
        validation: pairs [V, 2] and same [V] of other identities, both kinds, to choose
            the step by; scored by the partial AUC over the hardest share.
        validate: in its place, a function from refined features [N, D] to a
            `Validation`: any score, and the impostor pairs to learn from next. It must
            not look at what will be reported.
        identities: [N] integers or strings where they are known, to prove that no
            identity is in both sets of pairs. No row may be in any case.
        validate_every: steps between validations.
        patience: validations in a row that find nothing better, after which it stops.
        min_gain: >= 0, what a validation must add to the best so far to be better: a
            gain below the noise of the score is none elsewhere.
        final_sharpness: >= 1; the temperature is divided by a number that grows
            geometrically from 1 to this one over the steps.
        checkpoint: folder in which the run is kept at every validation, and from which
            it goes on with the same bits; needs orbax.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        TuneResult. A loss or gradient that is not finite ends it: the step is named and
        the best parameters until then are kept.

    Raises:
        ValueError: pairs of one kind, of a row with itself, or twice with different
            kinds; rows or identities in both sets; a pool in which no edge survives
            the threshold; an option out of its range; a checkpoint of another run.
        ImportError: `checkpoint` without orbax.

    Cost: a step takes three to seven times the T updates of `aggregate` (reverse), or
    one more than the numbers learnt (forward); a start or a validation T updates and
    the score. Memory: that of `aggregate` and its gradient.
    """
    objective = Objective() if objective is None else objective
    starts = read_starts(init_params, objective)
    features, num_rows, dtype = read_features(features, neighbors, starts[0])
    check_objective(objective, pools=isinstance(features, Frames))
    check_options(
        num_steps=num_steps,
        batch_size=batch_size,
        validate_every=validate_every,
        patience=patience,
        min_gain=min_gain,
        final_sharpness=final_sharpness,
    )
    check_edges(neighbors, starts, num_rows)
    training = read_pairs(pairs, same, num_rows, "training")
    chooses = validation is not None or validate is not None
    if validate is None:
        held_out = training
        if validation is not None:
            held_out = read_pairs(*validation, num_rows, "validation")
            check_disjoint(training, held_out, identities, num_rows)
        validate = partial_auc_of(held_out, hardest=objective.hardest)
    elif validation is not None:
        raise ValueError(
            "got validation pairs and a validate function; expected one of them"
        )
    if optimizer is None:
        optimizer = scaled_adam(num_steps=max(num_steps, 1))

    indices = jnp.asarray(neighbors.indices, jnp.int32)
    score = functools.partial(
        look, features, indices, objective=objective, validate=validate
    )
    begin = functools.partial(
        init, optimizer=optimizer, dtype=dtype, objective=objective
    )
    with contextlib.ExitStack() as stack:
        store = course = None
        if checkpoint is not None:
            store = stack.enter_context(
                open_checkpoints(
                    checkpoint,
                    (
                        *jax.tree.leaves(features),
                        indices,
                        training.genuine,
                        training.impostor,
                    )
                    + (() if validation is None else validation),
                    (
                        repr((starts, objective)),
                        num_steps,
                        batch_size,
                        seed,
                        validate_every,
                        patience,
                        min_gain,
                        final_sharpness,
                        _fingerprint(optimizer, begin(starts[0])),
                    ),
                )
            )
            course = store.restore(begin(starts[0]))
        if course is None:
            course = _choose_start(starts, begin, score, training, chooses=chooses)
        elif chooses:
            _check_same_score(course, starts[0], score)
        stopped = _descend(
            course,
            features,
            indices,
            training,
            reverse=reverse_neighbors(indices) if objective.reads_reverse else None,
            score=score if chooses else None,
            optimizer=optimizer,
            objective=objective,
            num_steps=num_steps,
            batch_size=batch_size,
            seed=seed,
            validate_every=validate_every,
            patience=patience,
            min_gain=min_gain,
            final_sharpness=final_sharpness,
            save=None if store is None else store.save,
            progress=progress,
        )

    kept, best = course.best(min_gain) if chooses else (course.step, None)
    params = from_row(course.path[kept], starts[0])
    if best is None:
        best = score(params, mask="hard").score
    return TuneResult(
        params,
        kept,
        score(params, mask="soft").score,
        best,
        History(
            np.array(course.losses),
            np.array(course.path[: course.step]).reshape(-1, len(course.path[0])),
            np.array([step for step, _ in course.validations], int),
            np.array([value for _, value in course.validations], float),
            np.array(course.start_scores),
        ),
        stopped,
        training.num_repeated,
    )


def _choose_start(
    starts: list[AnyParams],
    begin: Callable[[AnyParams], TuneState],
    score: Callable[..., Validation],
    training: Pairs,
    *,
    chooses: bool,
) -> Course:
    """Scores the starts and begins at the best, the first of equal ones."""
    looks = [Validation(math.nan)]
    if chooses or len(starts) > 1:
        looks = [score(start, mask="hard") for start in starts]
    number = max(range(len(starts)), key=lambda n: looks[n].score)
    chosen = looks[number]
    course = Course(begin(starts[number]), training.impostor, [as_row(starts[number])])
    if chosen.impostor is not None:
        course.impostor = np.asarray(chosen.impostor)
    if chooses:
        course.validations.append((0, float(chosen.score)))
    if chooses or len(starts) > 1:
        course.start_scores = [float(one.score) for one in looks]
    return course


def _descend(
    course: Course,
    features: jax.Array | Frames,
    indices: jax.Array,
    training: Pairs,
    *,
    reverse: ReverseNeighbors | None,
    score: Callable[..., Validation] | None,
    optimizer: Any,
    objective: Objective,
    num_steps: int,
    batch_size: int,
    seed: int,
    validate_every: int,
    patience: int,
    min_gain: float,
    final_sharpness: float,
    save: Callable[[Course], None] | None,
    progress: Callable | None,
) -> str:
    """Carries a course to its end; says why it ended."""
    # Python floats, which take on the dtype of the features.
    sharpness = np.geomspace(1.0, final_sharpness, num_steps + 1).tolist()
    like = as_floats(constrain(course.state.variables))
    steps, resumed = range(course.step, num_steps), course.step
    if progress is not None:
        steps = progress(steps, total=len(steps), desc="tuning")

    def validate(step: int) -> None:
        if score is None or course.validations[-1][0] >= step:
            return
        found = score(from_row(course.path[step], like), mask="hard")
        course.validations.append((step, float(found.score)))
        if found.impostor is not None:
            course.impostor = check_rows(found.impostor, len(indices), "validate's")

    for step in steps:
        if step % validate_every == 0:
            validate(step)
            if save is not None and step > resumed:
                save(course)
            best = course.best(min_gain)[0] if score is not None else step
            if step - best >= patience * validate_every:
                return f"nothing better from step {best} to step {step}"
        # A stream for each step: a run that goes on draws what it would have drawn.
        genuine, impostor = draw_batch(
            training.genuine,
            course.impostor,
            batch_size=batch_size,
            random=np.random.default_rng((seed, step)),
        )
        following, loss = update(
            course.state,
            features,
            indices,
            genuine,
            impostor,
            sharpness=sharpness[step],
            optimizer=optimizer,
            objective=objective,
            reverse=reverse,
        )
        if not _is_finite(loss, following.variables):
            return f"step {step}: the loss is {loss:g} or its gradient is not finite"
        course.state = following
        course.losses.append(float(loss))
        moved = constrain(following.variables, sharpness=sharpness[step + 1])
        course.path.append(as_row(moved))
    validate(num_steps)
    return f"all {num_steps} steps were made"


def _check_same_score(
    course: Course, start: AnyParams, score: Callable[..., Validation]
) -> None:
    """Refuses to go on with another score than the run began with."""
    before = course.validations[0][1]
    now = float(score(from_row(course.path[0], start), mask="hard").score)
    if now != before:
        raise ValueError(
            f"the start scores {now:g} here and {before:g} in the checkpoint: validate "
            "is another function; name another checkpoint folder"
        )


def _fingerprint(optimizer: Any, state: TuneState) -> list[Any]:
    """Tells optimizers apart by what they make of a gradient of ones, twice."""
    ones = jax.tree.map(jnp.ones_like, state.variables)
    seen, inside = [], state.optimizer
    for _ in range(2):
        changes, inside = optimizer.update(ones, inside, state.variables)
        seen += [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(changes)]
    return seen


def _is_finite(*values: Any) -> bool:
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(values))
