"""What training under the aggregation is worth, beside aggregating afterwards.

For every seed two encoders, of the same first weights, batches and steps:

    name      trained         features of the test identities
    alone     by itself       as they are
    after     by itself       aggregated; K fixed, t, γ and T chosen
    encoder   with the layer  as they are
    chosen    with the layer  aggregated; t, γ and T chosen likewise
    joint     with the layer  by the layer, with what it learnt; nothing is chosen

"after" − "alone" is the gain of the method, "joint" − "after" that of training end to
end. What is chosen is chosen on identities of its own, neither trained on nor reported.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from experiments.end_to_end import encoders, turning
from experiments.end_to_end.turning import Views
from experiments.studies import choice
from gfa_jax import metrics

NAMES = ("alone", "after", "encoder", "chosen", "joint")


class Setting(NamedTuple):
    """Of an aggregation, the gentlest first."""

    num_steps: int
    gamma: float
    threshold: float


class Row(NamedTuple):
    """One way to features, and how they verify."""

    seed: int  # of the world, the weights and the batches
    name: str  # one of NAMES
    points: tuple[metrics.OperatingPoint, ...]  # on the test identities, one an FPR
    genuine_pairs: int  # of them
    impostor_pairs: int  # of them
    params: gfa.Params | None  # t and γ with all else that was used, or None
    num_steps: int  # T; 0 for none
    seconds: float  # of the training
    loss: float  # mean of the last tenth of the steps


class Sizes(NamedTuple):
    """Identities of each part, and rows of an identity."""

    num_training: int
    num_choosing: int
    num_test: int
    num_views: int


def run(
    sizes: Sizes,
    recipe: encoders.Recipe,
    *,
    settings: Sequence[Setting],
    seeds: Sequence[int],
    fprs: Sequence[float],
    progress: Callable | None = None,
) -> list[Row]:
    """Trains, chooses and tests for every seed, one world each.

    The mean TPR at `fprs` chooses. Gives the rows by seed in the order of NAMES. Raises
    ValueError for a batch, or K, that does not fit the sizes.
    """
    encoders.check_batch(recipe, sizes.num_training, sizes.num_views)
    rows = []
    for seed in seeds:
        parts = turning.generate(**sizes._asdict(), seed=seed)
        for has_layer in (False, True):
            begin = time.perf_counter()
            trained = encoders.fit(
                parts.training,
                recipe,
                has_layer=has_layer,
                seed=seed,
                progress=progress,
            )
            seconds = time.perf_counter() - begin
            rows += [
                row._replace(seed=seed, seconds=seconds)
                for row in _measure(trained, parts, recipe, settings, fprs)
            ]
    return rows


def default_settings() -> list[Setting]:
    """Lists what is chosen from: T, γ and t, 36 of them."""
    thresholds = (0.5, 0.7, 0.8, 0.85, 0.9, 0.95)
    return [Setting(*s) for s in itertools.product((2, 4), (0.3, 0.6, 1.0), thresholds)]


def _measure(
    trained: encoders.Trained,
    parts: turning.Parts,
    recipe: encoders.Recipe,
    settings: Sequence[Setting],
    fprs: Sequence[float],
) -> list[Row]:
    """Tests one encoder: as it is, aggregated as chosen, and with its layer."""
    choosing = encoders.embed(trained, parts.choosing.inputs)
    test = encoders.embed(trained, parts.test.inputs)
    setting = _choose(choosing, parts.choosing, recipe.k, settings, fprs)
    layer = trained.network.layer
    plain, aggregated = ("alone", "after") if layer is None else ("encoder", "chosen")
    candidates = [
        (plain, test, None, 0),
        (
            aggregated,
            _aggregate(test, setting, recipe.k),
            gfa.Params(setting.gamma, setting.threshold),
            setting.num_steps,
        ),
    ]
    if layer is not None:
        refined = np.asarray(layer(jnp.asarray(test), train=False))
        candidates.append(("joint", refined, trained.params, recipe.updates))
    loss = float(trained.losses[-max(1, len(trained.losses) // 10) :].mean())
    rows = []
    for name, features, params, num_steps in candidates:
        roc = metrics.all_pairs_roc(features, parts.test.labels).roc
        points = metrics.tpr_at_fpr(roc, fprs)
        pairs = roc.num_genuine, roc.num_impostor
        rows.append(Row(0, name, points, *pairs, params, num_steps, 0.0, loss))
    return rows


def _choose(
    features: np.ndarray,
    views: Views,
    k: int,
    settings: Sequence[Setting],
    fprs: Sequence[float],
) -> Setting:
    """Chooses by the mean TPR; what falls under the features as they are is out."""

    def tprs(rows: Any) -> list[float]:
        roc = metrics.all_pairs_roc(rows, views.labels).roc
        return [point.tpr for point in metrics.tpr_at_fpr(roc, fprs)]

    cells = [(s, tprs(_aggregate(features, s, k))) for s in settings]
    return choice.choose(tprs(features), cells, tolerance=0.0, strength=tuple)


def _aggregate(features: np.ndarray, setting: Setting, k: int) -> np.ndarray:
    neighbors = gfa.exact_neighbors(features, k=k)
    params = gfa.Params(setting.gamma, setting.threshold)
    result = gfa.aggregate(features, neighbors, params, num_steps=setting.num_steps)
    return np.asarray(result.features)
