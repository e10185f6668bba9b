"""A linear system of an iteration, solved by the iteration itself: Neumann's series.

Where F ← U(F) came to rest, its Jacobian J has a spectral radius below 1, and

    (J − I) x = b  ⟺  x = J x − b  ⟺  x = −Σ_s J^s b

converges as fast as the iteration did, for the transpose too, with three arrays of the
size of x. (lineax's BiCGStab breaks down here in float32, and the absolute tolerance of
its GMRES loses small gradients.) Imports lineax; `fixed_point` imports it late.
"""

from typing import Any

import jax
import jax.numpy as jnp
import lineax


class NeumannSeries(lineax.AbstractLinearSolver):
    """Solves (J − I) x = b, stopping where ‖(J − I) x − b‖ <= tolerance ‖b‖."""

    tolerance: float
    max_steps: int  # most products with J

    def init(self, operator: lineax.AbstractLinearOperator, options: dict[str, Any]):
        """Keeps the operator, linear from here on."""
        return lineax.linearise(operator)

    def compute(
        self,
        state: lineax.AbstractLinearOperator,
        vector: jax.Array,
        options: dict[str, Any],
    ):
        """Adds terms until the rest is small."""
        enough = self.tolerance * jnp.linalg.norm(vector)

        def rest(x: jax.Array) -> jax.Array:
            return state.mv(x) - vector

        def goes_on(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            _, left, step = carry
            return (jnp.linalg.norm(left) > enough) & (step < self.max_steps)

        def add_term(carry: tuple[jax.Array, jax.Array, jax.Array]):
            x, left, step = carry
            x = x + left
            return x, rest(x), step + 1

        start = -vector, rest(-vector), jnp.zeros((), jnp.int32)
        x, left, step = jax.lax.while_loop(goes_on, add_term, start)
        # A NaN is not above the tolerance, but not below it either.
        result = lineax.RESULTS.where(
            jnp.linalg.norm(left) <= enough,
            lineax.RESULTS.successful,
            lineax.RESULTS.max_steps_reached,
        )
        return x, result, {"num_steps": step, "max_steps": self.max_steps}

    def transpose(
        self, state: lineax.AbstractLinearOperator, options: dict[str, Any]
    ) -> tuple[lineax.AbstractLinearOperator, dict[str, Any]]:
        """(Jᵀ − I) has the same series."""
        return state.transpose(), {}

    def conj(
        self, state: lineax.AbstractLinearOperator, options: dict[str, Any]
    ) -> tuple[lineax.AbstractLinearOperator, dict[str, Any]]:
        """Conjugates; features are real."""
        return lineax.conj(state), {}

    def assume_full_rank(self) -> bool:
        """I − J has full rank where the iteration converges."""
        return True
