"""Training that a kill does not change: every step is a function of (seed, step).

SGD with momentum μ on the mean weighted loss of a batch, at the rate of `recipes`:

    g = ∇loss + λ θ        v ← μ v + g        θ ← θ − η(step) v

Which rows a batch holds and how they are augmented is drawn from (seed, step) and not
from a stream, so that nothing but the state needs to be kept. Momentum .9 as in the
paper, section 4.5.
"""

import functools
import hashlib
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.training import augmentation, checkpoints, heads, networks
from experiments.training.networks import nnx
from experiments.training.recipes import Batches, Recipe, Schedule, of_program, schedule
from gfa_jax import numerics

# The classes are padded to a multiple, so that sets of other sizes need no compiling.
_CLASS_BLOCK = 256
_EMBED_BATCH = 256


class TrainingSet(NamedTuple):
    """Images to learn from."""

    images: np.ndarray  # [N, S, S] uint8
    labels: np.ndarray  # [N] integer classes in [0, num_classes)
    weights: np.ndarray  # [N] floating >= 0
    num_classes: int  # number of classes


class Model(NamedTuple):
    """A network's numbers."""

    params: Any  # weights, a tree
    statistics: Any  # means and variances of the batch norms, a tree


class _State(NamedTuple):
    model: Model
    centers: jax.Array  # [C, D] of the head
    momentum: Any
    step: jax.Array


def fit(
    data: TrainingSet,
    recipe: Recipe,
    *,
    num_steps: int,
    seed: int,
    folder: pathlib.Path,
    start: Model | None = None,
    checkpoint_every: int = 200,
    configuration: dict[str, Any] | None = None,
    progress: Callable | None = None,
) -> Model:
    """Trains a network, or goes on where an earlier process was killed.

    The folder of checkpoints, one every so many steps, is of this run alone; where it
    holds the finished run, that is returned. The configuration says what else made the
    data and the start what they are. With weights to fine-tune the head starts with the
    mean feature of each class (Qi et al., Low-Shot Learning with Imprinted Weights,
    CVPR 2018).

    Raises:
        ValueError: a set without images, or a checkpoint of another configuration.

    Memory: the weights and their momentum; a batch.
    """
    if not len(data.images):
        raise ValueError("the training set has no images; label more identities")
    about = _describe(data, recipe, start)
    about |= {"num_steps": num_steps, "seed": seed, **(configuration or {})}
    graph, state = _first_state(data, recipe, seed=seed, start=start)
    class_weights = _class_weights(data, len(state.centers), balance=recipe.balance)
    with checkpoints.open_checkpoints(folder, about) as saved:
        restored = saved.restore(state)
        state = state if restored is None else restored
        steps = range(int(state.step), num_steps)
        if progress is not None and steps:
            steps = progress(steps, total=len(steps), desc=folder.name)
        draw = Batches(len(data.images), recipe.batch_size, seed)
        for step in steps:
            rows = draw(step)
            state, loss = _train_step(
                graph,
                state,
                data.images[rows],
                data.labels[rows].astype(np.int32),
                data.weights[rows].astype(np.float32),
                class_weights,
                np.int32(data.num_classes),
                np.uint32(seed),
                jax.tree.map(np.float32, schedule(step, recipe, num_steps=num_steps)),
                recipe=of_program(recipe),
            )
            is_last = step + 1 == num_steps
            if is_last or (step + 1) % checkpoint_every == 0:
                if not np.isfinite(loss):
                    raise ValueError(
                        f"the loss is {loss} after {step + 1} steps; give a smaller "
                        "--learning_rate"
                    )
                saved.save(step + 1, state)
    return state.model


def embed(model: Model, images: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Extracts features of uint8 images [N, S, S]: [N, D] unit rows."""
    graph = _graph(recipe, images.shape[1])[0]
    features = np.empty((len(images), recipe.embedding_dim), np.float32)
    for begin in range(0, len(images), _EMBED_BATCH):
        batch = images[begin : begin + _EMBED_BATCH]
        padded = np.zeros((_EMBED_BATCH, *images.shape[1:]), np.uint8)
        padded[: len(batch)] = batch
        found = _embed_batch(graph, model, padded)
        features[begin : begin + len(batch)] = found[: len(batch)]
    return features


@functools.partial(jax.jit, static_argnames=("recipe",))
def _train_step(
    graph,
    state: _State,
    images,
    labels,
    weights,
    class_weights,
    num_classes,
    seed,
    at: Schedule,
    *,
    recipe: Recipe,
):
    key = jax.random.fold_in(jax.random.key(seed, impl="unsafe_rbg"), state.step)
    views = augmentation.augment(
        key,
        images,
        flip=recipe.flip,
        max_shift=recipe.max_shift,
        brightness=recipe.brightness,
    )

    def loss_of(trained):
        params, centers = trained
        network = nnx.merge(graph, params, state.model.statistics, copy=True)
        logits = heads.margin_logits(
            network(views, train=True),
            centers,
            labels,
            head=recipe.head,
            scale=at.scale,
            margin=at.margin,
            num_classes=num_classes,
        )
        loss = heads.margin_loss(
            logits, labels, sample_weights=weights, class_weights=class_weights
        )
        return loss, nnx.state(network, nnx.BatchStat)

    trained = state.model.params, state.centers
    (loss, statistics), gradient = jax.value_and_grad(loss_of, has_aux=True)(trained)
    velocity, momentum = _momentum(recipe).update(gradient, state.momentum, trained)
    updates = jax.tree.map(lambda v: -at.rate * v, velocity)
    updated: Any = optax.apply_updates(trained, updates)
    params, centers = updated
    model = Model(params, statistics)
    return _State(model, centers, momentum, state.step + 1), loss


@jax.jit
def _embed_batch(graph, model: Model, images):
    network = nnx.merge(graph, model.params, model.statistics)
    return numerics.normalize(network(images, train=False))


def _momentum(recipe: Recipe) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(recipe.weight_decay), optax.trace(decay=0.9)
    )


def _first_state(
    data: TrainingSet, recipe: Recipe, *, seed: int, start: Model | None
) -> tuple[Any, _State]:
    image_size = data.images.shape[1]
    graph = _graph(recipe, image_size)[0]
    rows = -(-data.num_classes // _CLASS_BLOCK) * _CLASS_BLOCK
    random = np.random.default_rng([seed, rows]).standard_normal(
        (rows, recipe.embedding_dim), dtype=np.float32
    )
    centers = random / np.linalg.norm(random, axis=1, keepdims=True)
    if start is None:
        model = _random_model(
            np.uint32(seed), recipe=of_program(recipe), image_size=image_size
        )
    else:
        model = start
        features = embed(start, data.images, recipe)
        sums = np.zeros_like(centers[: data.num_classes])
        np.add.at(sums, data.labels, features)
        centers[: data.num_classes] = np.asarray(numerics.normalize(jnp.asarray(sums)))
    centers = jnp.asarray(centers)
    momentum = _momentum(recipe).init((model.params, centers))
    return graph, _State(model, centers, momentum, jnp.zeros((), jnp.int32))


def _graph(recipe: Recipe, image_size: int) -> tuple[Any, Model]:
    """Splits a network of shapes without numbers into its structure and its trees."""
    abstract = nnx.eval_shape(lambda: _build(recipe, image_size, seed=0))
    graph, params, statistics = nnx.split(abstract, nnx.Param, nnx.BatchStat)
    return graph, Model(params, statistics)


@functools.partial(jax.jit, static_argnames=("recipe", "image_size"))
def _random_model(seed, *, recipe: Recipe, image_size: int) -> Model:
    """Draws the weights in one program: one for each layer takes seconds to compile."""
    network = _build(recipe, image_size, seed=seed)
    return Model(nnx.state(network, nnx.Param), nnx.state(network, nnx.BatchStat))


def _build(recipe: Recipe, image_size: int, *, seed: Any) -> networks.EmbeddingNetwork:
    return networks.build(
        recipe.network,
        image_size=image_size,
        widths=recipe.widths,
        depth=recipe.depth,
        embedding_dim=recipe.embedding_dim,
        seed=seed,
    )


def _class_weights(data: TrainingSet, rows: int, *, balance: bool) -> np.ndarray:
    weights = np.ones(rows, np.float32)
    if balance:
        counts = np.bincount(data.labels, minlength=data.num_classes)
        weights[: data.num_classes] = counts.mean() / np.maximum(counts, 1)
    return weights


def _describe(data: TrainingSet, recipe: Recipe, start: Model | None) -> dict[str, Any]:
    """Says what the weights depend on, as JSON gives it back."""
    options = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in recipe._asdict().items()
    }
    return options | {
        "images": len(data.images),
        "classes": data.num_classes,
        "data": _digest([data.images, data.labels, data.weights]),
        "start": None if start is None else _digest(jax.tree.leaves(start)),
    }


def _digest(arrays: list[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
