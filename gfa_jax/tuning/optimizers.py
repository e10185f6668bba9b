"""The optimizer of `tune`: Adam in the scale of each variable.

A threshold that moves by 0.1 changes as much as a gamma whose odds, or an exponent
that, change by a factor e: one learning rate for all of them either leaves gamma where
it was or throws t across the whole graph in a few steps.
"""

import functools
from typing import Any

_THRESHOLD_SCALE = 0.1
_LAST = 0.2
# A few dozen steps are made in all: the usual 0.999 would remember the first of them.
_FIRST_DECAY, _SECOND_DECAY = 0.8, 0.95


@functools.cache
def scaled_adam(learning_rate: float = 0.15, max_iterations: int = 200) -> Any:
    """Makes Adam with a tenth of the rate for t, and a rate that falls to a fifth.

    θ ← θ − η_s D m̂ / (√v̂ + ε),  D = 0.1 for the threshold, 1 for everything else

    Args:
        learning_rate: η_0 >= 0.
        max_iterations: after which η is a fifth of that; it falls linearly.

    Returns:
        An optax GradientTransformation of `Variables`; the same object for the same
        arguments, so that a second call of `tune` compiles nothing.
    """
    import optax

    def scale(updates, params=None):
        del params
        return updates._replace(threshold=_THRESHOLD_SCALE * updates.threshold)

    schedule = optax.linear_schedule(
        learning_rate, _LAST * learning_rate, max_iterations
    )
    return optax.chain(
        optax.scale_by_adam(b1=_FIRST_DECAY, b2=_SECOND_DECAY),
        optax.stateless(scale),
        optax.scale_by_learning_rate(schedule),
    )
