"""What is timed: each stage of ours beside what a person would write instead.

A stage and its peers are named, and made from a `Problem` that lies in a folder, so
that a process of its own can run any of them (see `memory`).
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from experiments.benchmarks import ann, peers
from gfa_jax import metrics
from gfa_jax.transposed_sums import reverse_neighbors
from gfa_jax.tuning import objective
from gfa_jax.types import Graph

GAMMA, THRESHOLD, TEMPERATURE = 0.5, 0.55, 0.05
_PARAMS = gfa.Params(GAMMA, THRESHOLD, TEMPERATURE)
_CENTERS, _ROUNDS, _STEPS = 1500, 20, 4
_PAIRS = 1024  # of each kind in a batch
_MEAN_SHIFT_STEPS = 20
# scikit-learn's mean shift takes a minute for 1,000 rows.
_FEWER, _MEAN_SHIFT_ROWS = 50, 20_000
_SLICE = 0.05
# Above, some peers would take many minutes.
_SLOW_ROWS = 60_000

Call = Callable[[], Any]


class Problem(NamedTuple):
    """Rows, and what earlier stages found."""

    features: np.ndarray  # [N, D] float32 unit rows
    labels: np.ndarray  # [N] identities
    # [N, K] on the host; exact, above `slice_above` rows approximate.
    neighbors: gfa.Neighbors
    efforts: dict[str, int]  # of the approximate indexes, by the name of the peer
    k: int  # K, the row itself counted
    slice_above: int  # rows above which slow peers do a twentieth of their work


class Side(NamedTuple):
    """One of the two programs that are compared."""

    name: str  # in the table
    make: Callable[[Problem], Call]  # makes the call from a problem
    package: str = "numpy"  # that it needs, beyond what ours needs
    most_rows: int = 2**31  # above which it would take too long
    # Whether it does a share of its work above `slice_above` rows.
    is_sliced: bool = False
    least_rows: int = 0  # below which it has nothing to do

    def share(self, problem: Problem) -> float:
        """Returns the share of its work that the call does."""
        sliced = self.is_sliced and len(problem.features) > problem.slice_above
        return _SLICE if sliced else 1.0


class Stage(NamedTuple):
    """Ours, and the peers."""

    name: str  # in the table
    make: Callable[[Problem], Call]  # makes the call of ours from a problem
    peers: tuple[Side, ...]  # what to compare it with
    # Floating-point operations ("product") or bytes ("copy") that the task needs, which
    # with the measured rate gives the ceiling; None without one.
    work: Callable[[Problem], tuple[str, float]] | None = None
    # Checks what ours and a peer returned.
    check: Callable[[Any, Any], None] | None = None
    fewer: int = 1  # divides the rows of the problem


INDEXES = {"FAISS IVF": ann.inverted_file, "FAISS HNSW": ann.graph}


def save(problem: Problem, folder: pathlib.Path) -> None:
    """Writes a problem where `load` finds it."""
    np.savez(
        folder / "problem.npz",
        features=problem.features,
        labels=problem.labels,
        indices=problem.neighbors.indices,
        similarity=problem.neighbors.similarity,
        names=np.array(list(problem.efforts), str),
        efforts=np.array(list(problem.efforts.values()), int),
        k=problem.k,
        slice_above=problem.slice_above,
    )


def load(folder: pathlib.Path) -> Problem:
    """Reads a problem."""
    with np.load(folder / "problem.npz", allow_pickle=False) as stored:
        return Problem(
            stored["features"],
            stored["labels"],
            gfa.Neighbors(stored["indices"], stored["similarity"]),
            dict(
                zip(stored["names"].tolist(), stored["efforts"].tolist(), strict=True)
            ),
            int(stored["k"]),
            int(stored["slice_above"]),
        )


def _exact(problem: Problem) -> Call:
    return functools.partial(
        gfa.exact_neighbors, jnp.asarray(problem.features), k=problem.k
    )


def _approximate(problem: Problem) -> Call:
    return functools.partial(
        gfa.approximate_neighbors, problem.features, k=problem.k, threshold=THRESHOLD
    )


def _flat(problem: Problem) -> Call:
    num_rows = len(problem.features)
    queries = round(num_rows * _FLAT.share(problem))
    return functools.partial(
        peers.faiss_flat, problem.features, problem.k, num_queries=queries
    )


def _index(name: str, problem: Problem) -> Call:
    return functools.partial(
        ann.search,
        problem.features,
        INDEXES[name](len(problem.features)),
        problem.efforts[name],
        k=problem.k,
    )


def _aggregate(
    problem: Problem, *, num_steps: int = 1, options: gfa.Options = gfa.PAPER
) -> Call:
    return functools.partial(
        gfa.aggregate,
        jnp.asarray(problem.features),
        problem.neighbors,
        _PARAMS,
        num_steps=num_steps,
        options=options,
    )


def _plain(name: str, temperature: float, problem: Problem) -> Call:
    options = {"gamma": GAMMA, "threshold": THRESHOLD, "temperature": temperature}
    indices = np.asarray(problem.neighbors.indices)
    if name == "numba":
        numbers = map(np.float32, options.values())
        return functools.partial(
            peers.numba_update(), problem.features, indices, *numbers
        )
    update = peers.scipy_update if name == "scipy" else peers.torch_update
    return functools.partial(update, problem.features, indices, **options)


def _same_rows(ours: Any, peer: Any) -> None:
    """An edge within rounding of t may differ, which moves a row a little."""
    np.testing.assert_allclose(ours.features, peer, rtol=0, atol=1e-3)


def soft_loss(
    features: jax.Array,
    params: gfa.Params,
    neighbors: gfa.Neighbors,
    *,
    num_steps: int,
    graph: Graph = "rescore",
) -> jax.Array:
    """Sums up rows after soft updates, to have something to differentiate."""
    result = gfa.aggregate(
        features,
        neighbors,
        params,
        num_steps=num_steps,
        options=gfa.Options(mask="soft", graph=graph),
    )
    return jnp.sum(jnp.square(result.features - 1))


def _loss(problem: Problem, *, is_gradient: bool) -> Call:
    loss = functools.partial(soft_loss, num_steps=5)
    function = jax.grad(loss, argnums=(0, 1)) if is_gradient else loss
    return functools.partial(
        jax.jit(function), jnp.asarray(problem.features), _PARAMS, problem.neighbors
    )


def _tuning_step(num_updates: int, problem: Problem) -> Call:
    """Makes one optimizer step of `tune`: a batch of pairs, whatever their kind."""
    # No other stage holds it: memory is measured process by process.
    import optax

    num_rows = len(problem.features)
    optimizer: Any = optax.adam(0.1)
    variables = objective.unconstrain(_PARAMS)
    indices = jnp.asarray(problem.neighbors.indices)
    rows = np.random.default_rng(0).integers(num_rows, size=(2, _PAIRS, 2))
    return functools.partial(
        objective.update,
        objective.TuneState(variables, optimizer.init(variables)),
        objective.Batch(
            jnp.asarray(problem.features),
            indices,
            *rows,
            reverse=reverse_neighbors(indices),
        ),
        optimizer=optimizer,
        objective=objective.Objective(num_steps=num_updates),
    )


def _all_pairs(problem: Problem) -> Call:
    return lambda: metrics.all_pairs_roc(problem.features, problem.labels).roc


def _kmeans(problem: Problem) -> Call:
    return functools.partial(
        peers.faiss_kmeans, problem.features, _CENTERS, num_iterations=_ROUNDS
    )


def _search_and_update(problem: Problem) -> Call:
    def call() -> Any:
        neighbors = _exact(problem)()
        return _aggregate(problem._replace(neighbors=neighbors), num_steps=_STEPS)()

    return call


def _few(problem: Problem) -> np.ndarray:
    """Takes the first rows; at least three, so that there are neighbours."""
    return problem.features[: max(3, len(problem.features) // _FEWER)]


def _to_rest(problem: Problem) -> Call:
    features = _few(problem)

    def call() -> Any:
        neighbors = gfa.exact_neighbors(features, k=min(problem.k, len(features) - 1))
        few = problem._replace(features=features, neighbors=neighbors)
        return _aggregate(few, num_steps=_MEAN_SHIFT_STEPS)()

    return call


def _mean_shift(problem: Problem) -> Call:
    return functools.partial(peers.mean_shift, _few(problem), threshold=THRESHOLD)


def _half_of_all_products(problem: Problem) -> tuple[str, float]:
    num_rows, dim = problem.features.shape
    return "product", float(num_rows) * num_rows * dim


def _moved(num_steps: int, problem: Problem) -> tuple[str, float]:
    """Each row reads its K neighbours and itself, and is written, at every step."""
    return "copy", float(num_steps * problem.features.nbytes * (problem.k + 2))


def _updates(temperature: float) -> tuple[Side, ...]:
    return tuple(
        Side(name, functools.partial(_plain, key, temperature), package)
        for name, key, package in (
            ("einsum and SciPy CSR", "scipy", "scipy"),
            ("PyTorch gather", "torch", "torch"),
            ("a fused Numba loop", "numba", "numba"),
        )
    )


_FLAT = Side("FAISS flat", _flat, "faiss", is_sliced=True)
_KMEANS = Side(
    f"FAISS k-means, k={_CENTERS}", _kmeans, "faiss", _SLOW_ROWS, least_rows=_CENTERS
)
_BARE = Side(
    "bare products",
    lambda problem: lambda: peers.bare_products(problem.features),
    most_rows=_SLOW_ROWS,
)
STAGES = {
    "exact": Stage("exact neighbours", _exact, (_FLAT,), _half_of_all_products),
    "approximate": Stage(
        "approximate neighbours",
        _approximate,
        (
            _FLAT,
            *(
                Side(name, functools.partial(_index, name), "faiss", _SLOW_ROWS)
                for name in INDEXES
            ),
        ),
    ),
    "update": Stage(
        "update, hard mask",
        _aggregate,
        _updates(0.0),
        functools.partial(_moved, 1),
        _same_rows,
    ),
    "soft_update": Stage(
        "update, soft mask",
        functools.partial(
            _aggregate, options=dataclasses.replace(gfa.PAPER, mask="soft")
        ),
        _updates(TEMPERATURE),
        functools.partial(_moved, 1),
        _same_rows,
    ),
    "gradient": Stage(
        "gradient of 5 soft updates",
        functools.partial(_loss, is_gradient=True),
        (Side("the updates alone", functools.partial(_loss, is_gradient=False)),),
        functools.partial(_moved, 5),
    ),
    **{
        f"tune_{num_updates}": Stage(
            f"a step of tune, T = {num_updates}",
            functools.partial(_tuning_step, num_updates),
            (
                Side(
                    "the updates alone",
                    functools.partial(
                        _aggregate,
                        num_steps=num_updates,
                        options=gfa.Options(mask="soft"),
                    ),
                ),
            ),
        )
        for num_updates in (1, 2, _STEPS)
    },
    "all_pairs": Stage("all pairs", _all_pairs, (_BARE,), _half_of_all_products),
    "kmeans": Stage(
        f"{_STEPS} updates", functools.partial(_aggregate, num_steps=_STEPS), (_KMEANS,)
    ),
    "kmeans_searched": Stage(
        f"exact neighbours and {_STEPS} updates", _search_and_update, (_KMEANS,)
    ),
    "mean_shift": Stage(
        f"neighbours and {_MEAN_SHIFT_STEPS} updates",
        _to_rest,
        (Side("scikit-learn MeanShift", _mean_shift, "sklearn", _MEAN_SHIFT_ROWS),),
        fewer=_FEWER,
    ),
}
