"""The update as a layer: embeddings of a batch move towards their neighbours.

    F = normalize(embeddings),    KNN_i = K nearest in the pool,    pool = batch ∪ queue
    F_i ← normalize(F_i + γ (C*_i − F_i)),  T times, on the whole pool       (Eq. 2)

On top of an encoder, the layer passes the gradient of any loss on its output to the
encoder, and to γ, t, the temperature and the exponent. Which rows are neighbours is a
constant of the gradient. The queue holds the last embeddings, as in He et al., MoCo,
CVPR 2020, and Wang et al., Cross-Batch Memory, CVPR 2020. Needs flax:
`pip install 'gfa_jax[train]'`; it is imported with this module alone.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gfa_jax import numerics
from gfa_jax.aggregation import aggregate
from gfa_jax.checks import check_integer, check_params, check_rows
from gfa_jax.neighbors.exact import exact_neighbors
from gfa_jax.tuning import objective
from gfa_jax.types import DEFAULT, Array, Options, Params

try:
    from flax import nnx
except ImportError as error:
    raise ImportError(
        "gfa_jax.layers needs flax: pip install 'gfa_jax[train]'"
    ) from error

__all__ = ["GraphAggregation", "Queue"]

_START = Params(0.5, 0.55)


class Queue(nnx.Variable):
    """What a layer remembers of earlier batches; not trained."""


class GraphAggregation(nnx.Module):
    """Refines a batch of embeddings by Eq. 2, with parameters that are learnt."""

    def __init__(
        self,
        params: Params = _START,
        *,
        k: int,
        num_steps: int = 2,
        queue_size: int = 0,
        dim: int | None = None,
        options: Options = DEFAULT,
        param_dtype: jnp.dtype | type = jnp.float32,
    ):
        """Starts at the parameters given.

        Args:
            params: gamma in (0, 1), threshold in [-1, 1], temperature and exponent
                above 0.
            k: neighbours of a row in the pool, **the row itself counted** where
                `include_self`.
            num_steps: T >= 1.
            queue_size: M, embeddings of earlier batches that are in the pool too.
            dim: D, needed with a queue only.
            options: see `gfa_jax.Options`; whether the layer trains decides the mask.
            param_dtype: floating dtype of the parameters and of the queue.

        Raises:
            ValueError: a number out of its range.
        """
        for name, value, least in (
            ("k", k, 1),
            ("num_steps", num_steps, 1),
            ("queue_size", queue_size, 0),
            ("dim", 1 if dim is None else dim, 1),
        ):
            check_integer(name, value, least=least)
        if queue_size and dim is None:
            raise ValueError(
                f"queue_size is {queue_size} without dim; give the length of an "
                "embedding"
            )
        check_params(params)
        start = objective.unconstrain(params, dtype=param_dtype)
        self.gamma = nnx.Param(start.gamma)  # logit of γ
        self.threshold = nnx.Param(start.threshold)  # t itself
        self.temperature = nnx.Param(start.temperature)  # softplus⁻¹, as the exponent
        self.exponent = nnx.Param(start.exponent)
        # [M, D] unit rows, the oldest first, and how many of the last are there.
        has_queue = queue_size > 0
        rows = (queue_size, dim or 0)
        self.queue = Queue(jnp.zeros(rows, param_dtype)) if has_queue else None
        self.filled = Queue(jnp.zeros((), jnp.int32)) if has_queue else None
        self.k = k
        self.num_steps = num_steps
        self.options = options

    def __call__(self, embeddings: Array, *, train: bool) -> jax.Array:
        """Refines a batch of embeddings [B, D], rows of any length.

        Args:
            embeddings: [B, D] floating.
            train: whether the mask is soft, and the queue is read and then takes up
                the batch. Otherwise the mask is hard and the batch alone is the
                pool: give all rows that are to be compared at once.

        Raises:
            ValueError: a shape or a dtype that does not fit, or K >= rows of the pool.

        Cost, with P rows in the pool: P² D / 2 + T P K D multiply-adds. Memory of a
        gradient: T + 3 arrays [P, D], and [P, K] of weights.
        """
        batch = numerics.to_compute_dtype(embeddings)
        self._check(batch, train=train)
        batch = numerics.normalize(batch)
        pool, valid = batch, None
        if train and self.queue is not None and self.filled is not None:
            remembered = jax.lax.stop_gradient(self.queue[...].astype(batch.dtype))
            pool = jnp.concatenate([batch, remembered])
            is_filled = jnp.arange(len(remembered))[::-1] < self.filled[...]
            valid = jnp.concatenate([jnp.ones(len(batch), bool), is_filled])
            self._remember(batch)
        neighbors = exact_neighbors(
            pool, k=self.k, include_self=self.options.include_self, valid=valid
        )
        refined = aggregate(
            pool,
            neighbors,
            self.params(batch.dtype),
            num_steps=self.num_steps,
            options=dataclasses.replace(self.options, mask="soft" if train else "hard"),
        ).features
        return refined[: len(batch)]

    def params(self, dtype: jnp.dtype | type = jnp.float32) -> Params:
        """Evaluates the parameters.

        Args:
            dtype: floating.

        Returns:
            Params, as `gfa_jax.aggregate` takes them.
        """
        unread = jnp.zeros(())  # of the loss of pairs
        variables = objective.Variables(
            self.gamma[...],
            self.threshold[...],
            self.temperature[...],
            self.exponent[...],
            scale=unread,
            center=unread,
        )
        return Params(*(jnp.asarray(p, dtype) for p in objective.constrain(variables)))

    def _remember(self, batch: jax.Array) -> None:
        """Pushes the batch into the queue; what was there longest falls out."""
        assert self.queue is not None and self.filled is not None  # the caller asks
        size = len(self.queue[...])
        rows = jax.lax.stop_gradient(batch).astype(self.queue[...].dtype)
        self.queue[...] = jnp.concatenate([self.queue[...], rows])[-size:]
        self.filled[...] = jnp.minimum(self.filled[...] + len(batch), size)

    def _check(self, batch: jax.Array, *, train: bool) -> None:
        check_rows(batch, unit=False)
        queue_size = 0
        if self.queue is not None:
            queue_size, dim = self.queue[...].shape
            if batch.shape[1] != dim:
                raise ValueError(
                    f"embeddings have {batch.shape[1]} columns; the queue was made "
                    f"with dim={dim}"
                )
        rows = len(batch) + (queue_size if train else 0)
        if self.k >= rows:
            raise ValueError(
                f"k is {self.k} with {rows} rows in the pool; expected fewer "
                "neighbours than rows: give a larger batch, a queue or a smaller k"
            )
