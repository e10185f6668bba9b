"""A small encoder, trained with the layer on top of it or without.

    F = normalize(E x),     G = F, or the layer's refined F
    q_ij = exp(s G_i · G_j) / Σ_{k ≠ i} exp(s G_i · G_k)
    L = −mean_i mean_j log q_ij     over the j ≠ i of the identity of i

The loss is the supervised contrastive one (Khosla et al., NeurIPS 2020) over a batch of
P identities with n views each; labels make the batch and the loss, and never reach the
layer. Adam with decoupled decay, at a rate that falls as a cosine. Every step is a
function of (seed, step).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.end_to_end.turning import Views
from experiments.training.networks import nnx
from gfa_jax import numerics
from gfa_jax.layers import GraphAggregation
from gfa_jax.types import Params

# Steps that run as one program; a bar moves, and Ctrl-C acts, between two.
_CHUNK = 50
_START = Params(0.6, 0.5)


class Recipe(NamedTuple):
    """How an encoder is trained; hashable."""

    embedding_dim: int = 32  # D
    hidden: int = 0  # width of a hidden layer; 0 for a linear encoder
    steps: int = 1200  # batches
    batch_identities: int = 60  # P
    batch_views: int = 16  # n
    learning_rate: float = 4e-3  # at the start
    weight_decay: float = 1e-2  # of the encoder's weights
    scale: float = 6.0  # s of the loss
    k: int = 10  # neighbours, the row itself counted
    updates: int = 4  # T
    queue_size: int = 0  # rows of earlier batches in the pool
    # Learning rate of the layer's four parameters at the start.
    layer_rate: float = 5e-3


class Encoder(nnx.Module):
    """A linear map, or one hidden layer."""

    def __init__(self, inputs: int, recipe: Recipe, *, rngs: nnx.Rngs):
        dense = functools.partial(
            nnx.Linear, dtype=jnp.float32, param_dtype=jnp.float32, rngs=rngs
        )
        width = recipe.hidden or inputs
        self.hidden = dense(inputs, width) if recipe.hidden else None
        self.embed = dense(width, recipe.embedding_dim, use_bias=False)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Takes [B, d], returns [B, D] of any length."""
        if self.hidden is not None:
            inputs = nnx.relu(self.hidden(inputs))
        return self.embed(inputs)


class Network(nnx.Module):
    """An encoder, and the layer where there is one."""

    def __init__(self, inputs: int, recipe: Recipe, *, has_layer: bool, seed: Any):
        key = jax.random.key(seed, impl="unsafe_rbg")
        self.encoder = Encoder(inputs, recipe, rngs=nnx.Rngs(params=key))
        self.layer = (
            GraphAggregation(
                _START,
                k=recipe.k,
                num_steps=recipe.updates,
                queue_size=recipe.queue_size,
                dim=recipe.embedding_dim,
            )
            if has_layer
            else None
        )

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Takes [B, d], returns what the loss is of, [B, D]."""
        embeddings = self.encoder(inputs)
        if self.layer is None:
            return embeddings
        return self.layer(embeddings, train=True)


class Trained(NamedTuple):
    """An encoder after its training."""

    network: Network  # with its layer
    losses: np.ndarray  # [steps] of each batch

    @property
    def params(self) -> Params | None:
        """What the layer learnt; None without one."""
        layer = self.network.layer
        return None if layer is None else Params(*map(float, layer.params()))


def fit(
    views: Views,
    recipe: Recipe,
    *,
    has_layer: bool,
    seed: int,
    progress: Callable | None = None,
) -> Trained:
    """Trains an encoder from random weights, its loss of refined embeddings or not.

    The weights are the same with and without the layer. `progress` goes around the
    steps in runs of 50. Raises ValueError for a batch that the views cannot fill, or a
    loss that is not finite.
    """
    rows = views.inputs.reshape(views.num_identities, -1, views.inputs.shape[1])
    check_batch(recipe, rows.shape[0], rows.shape[1])
    network = Network(rows.shape[2], recipe, has_layer=has_layer, seed=seed)
    graph, params, rest = nnx.split(network, nnx.Param, ...)
    state = params, rest, _optimizer(recipe).init(params)
    starts, losses = range(0, recipe.steps, _CHUNK), []
    if progress is not None:
        name = "end to end" if has_layer else "alone"
        starts = progress(starts, total=len(starts), desc=f"{name}, seed {seed}")
    for start in starts:
        steps = np.arange(start, min(start + _CHUNK, recipe.steps))
        state, found = _train(graph, state, rows, steps, np.uint32(seed), recipe=recipe)
        losses.append(np.asarray(found))
        if not np.isfinite(losses[-1]).all():
            raise ValueError(
                f"the loss is not finite after {steps[-1] + 1} steps; give a smaller "
                "--learning_rate"
            )
    return Trained(nnx.merge(graph, *state[:2]), np.concatenate(losses))


def embed(trained: Trained, inputs: np.ndarray) -> np.ndarray:
    """Extracts unit features [N, D] of inputs [N, d], without the layer."""
    return np.asarray(numerics.normalize(trained.network.encoder(jnp.asarray(inputs))))


def check_batch(recipe: Recipe, num_identities: int, num_views: int) -> None:
    """Refuses a batch of more identities, or views of each, than there are."""
    for name, asked, there in (
        ("batch_identities", recipe.batch_identities, num_identities),
        ("batch_views", recipe.batch_views, num_views),
    ):
        if not 2 <= asked <= there:
            raise ValueError(f"--{name}={asked}; expected 2 to {there}, as there are")
    rows = recipe.batch_identities * recipe.batch_views
    if recipe.k >= rows + recipe.queue_size:
        raise ValueError(
            f"--k={recipe.k} with a batch of {rows} rows and a queue of "
            f"{recipe.queue_size}; expected fewer neighbours than rows"
        )


@functools.partial(jax.jit, static_argnames="recipe")
def _train(graph, state, rows, steps, seed, *, recipe: Recipe):
    """Makes the steps given: the state after them, and the loss before each."""
    optimizer = _optimizer(recipe)

    def step(state, number):
        params, rest, momentum = state
        batch, labels = _draw(rows, seed, number, recipe)

        def loss_of(params):
            network = nnx.merge(graph, params, rest, copy=True)
            loss = contrastive_loss(network(batch), labels, scale=recipe.scale)
            return loss, nnx.state(network, nnx.Not(nnx.Param))

        (loss, rest), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, momentum = optimizer.update(gradient, momentum, params)
        return (optax.apply_updates(params, updates), rest, momentum), loss

    return jax.lax.scan(step, state, steps)


def contrastive_loss(
    embeddings: jax.Array, labels: jax.Array, *, scale: float
) -> jax.Array:
    """Evaluates L of the module, of embeddings [B, D]; each label twice or more."""
    features = numerics.normalize(embeddings)
    itself = jnp.eye(len(labels), dtype=bool)
    logits = scale * numerics.dot("id,jd->ij", features, features)
    logits = jnp.where(itself, -jnp.inf, logits)
    log_share = logits - jax.nn.logsumexp(logits, axis=1, keepdims=True)
    same = (labels[:, None] == labels[None, :]) & ~itself
    total = jnp.sum(jnp.where(same, log_share, 0), axis=1)
    return -jnp.mean(total / jnp.sum(same, axis=1))


def _draw(rows, seed, number, recipe: Recipe) -> tuple[jax.Array, jax.Array]:
    """Draws n views of P identities: [P n, d] inputs, [P n] labels."""
    key = jax.random.fold_in(jax.random.key(seed, impl="unsafe_rbg"), number)
    which, what = jax.random.split(key)
    count, views, _ = rows.shape
    people = jax.random.permutation(which, count)[: recipe.batch_identities]
    order = jnp.argsort(jax.random.uniform(what, (len(people), views)), axis=1)
    taken = rows[people[:, None], order[:, : recipe.batch_views]]
    labels = jnp.repeat(jnp.arange(len(people)), recipe.batch_views)
    return taken.reshape(-1, rows.shape[2]), labels


def _optimizer(recipe: Recipe) -> optax.GradientTransformation:
    def falling(rate: float) -> optax.Schedule:
        return optax.cosine_decay_schedule(rate, recipe.steps)

    def parts(params):
        return jax.tree_util.tree_map_with_path(
            lambda path, _: "layer" if path[0].key == "layer" else "encoder", params
        )

    return optax.multi_transform(
        {
            "encoder": optax.adamw(
                falling(recipe.learning_rate), weight_decay=recipe.weight_decay
            ),
            "layer": optax.adam(falling(recipe.layer_rate)),
        },
        parts,
    )
