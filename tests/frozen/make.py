"""Stored outputs of every form of the aggregation: what later code must still give.

    python -m tests.frozen.make tests/frozen/outputs.npz

Run it anew only where a result is meant to change, and say so in the commit.
"""

import itertools
import os
import pathlib
import sys
import tempfile
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
# Much is compiled and little computed.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)

import jax
import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from gfa_jax import sharding
from gfa_jax.transposed_sums import reverse_neighbors
from gfa_jax.types import DEFAULT, GRAPHS, MASKS, WEIGHTINGS, Graph

NUM_STEPS = 3
PARAMS = gfa.Params(0.6, 0.4, 0.1, 2.5)
DTYPES = ("float64", "float32")


def problem(dtype: str) -> tuple[np.ndarray, gfa.Neighbors]:
    """37 rows in 7 clusters, 6 candidates each, some slots empty."""
    rng = np.random.default_rng(7)
    centers = rng.standard_normal((7, 6))
    features = centers[rng.integers(7, size=37)] + 0.5 * rng.standard_normal((37, 6))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    indices = np.argsort(-features @ features.T, axis=1)[:, :6]
    indices[rng.random(indices.shape) < 0.15] = -1
    neighbors = gfa.Neighbors(indices.astype(np.int32), np.zeros(indices.shape))
    return features.astype(dtype), neighbors


def per_step() -> gfa.Params:
    """A value an update; made late, in the precision of the run."""
    columns = [0.6, 0.4, 0.5], [0.4, 0.5, 0.3], [2.5, 1.0, 3.0]
    gamma, threshold, exponent = map(jnp.array, columns)
    return gfa.Params(gamma, threshold, 0.1, exponent)


def outputs(dtype: str) -> dict[str, np.ndarray]:
    """Runs every form; the keys are form/option/…/field."""
    features, neighbors = problem(dtype)
    given = features, neighbors, PARAMS
    found = {}
    for mask, weighting, graph in itertools.product(MASKS, WEIGHTINGS, GRAPHS):
        found[f"memory/{mask}/{weighting}/{graph}"] = gfa.aggregate(
            *given,
            num_steps=NUM_STEPS,
            options=gfa.Options(mask=mask, weighting=weighting, graph=graph),
        )
    for name, options in {
        "without_self": {"include_self": False, "graph": "rescore"},
        "not_renormalized": {"renormalize": False, "mask": "soft"},
        "blocks": {"block_size": 5, "graph": "rescore"},
    }.items():
        found[f"memory/{name}"] = gfa.aggregate(
            *given, num_steps=NUM_STEPS, options=gfa.Options(**options)
        )
    found["memory/per_step"] = gfa.aggregate(
        features,
        neighbors,
        per_step(),
        num_steps=NUM_STEPS,
        options=gfa.Options(graph="rescore"),
    )
    found |= _streamed(given) | _on_devices(given) | _fixed_points(given)
    found |= _gradients(given)
    return {
        f"{dtype}/{name}/{field}": np.asarray(value)
        for name, result in found.items()
        for field, value in result._asdict().items()
    }


def _streamed(given) -> dict:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, options in {"default": DEFAULT, "paper": gfa.PAPER}.items():
            path = pathlib.Path(folder, f"{name}.npy")
            result = gfa.streaming.aggregate(
                *given, num_steps=NUM_STEPS, path=path, chunk_size=10, options=options
            )
            found[f"streamed/{name}"] = jax.tree.map(np.array, result)
    return found


def _on_devices(given) -> dict:
    found = {}
    mesh = sharding.row_mesh(8)
    for (name, options), exchange in itertools.product(
        {"default": DEFAULT, "paper": gfa.PAPER}.items(),
        ("gather", "ring"),
    ):
        options = {"num_steps": NUM_STEPS, "exchange": exchange, "options": options}
        found[f"sharded/{exchange}/{name}"] = sharding.aggregate(
            *given, mesh=mesh, axis_name="rows", **options
        )
        found[f"pmap/{exchange}/{name}"] = sharding.aggregate_pmap(*given, **options)
    return found


def _fixed_points(given) -> dict:
    return {
        f"fixed_point/restart/{graph}": gfa.fixed_point.solve(
            *given,
            options=gfa.Options(mask="soft", graph=graph),
            tolerance=1e-7,
            max_steps=400,
        )
        for graph in GRAPHS
    }


def _gradients(given) -> dict:
    features, neighbors, params = given
    target = np.cos(np.arange(features.size)).reshape(features.shape)
    mesh = sharding.row_mesh(8)

    def gradient(aggregate, params=params, graph: Graph = "fixed", **arguments):
        options = gfa.Options(mask="soft", graph=graph)

        def loss(params):
            result = aggregate(
                jnp.asarray(features), neighbors, params, options=options, **arguments
            )
            return jnp.vdot(result.features, target.astype(features.dtype))

        return jax.grad(loss)(jax.tree.map(jnp.asarray, params))

    steps: dict[str, Any] = {"num_steps": NUM_STEPS}
    ring: dict[str, Any] = {
        "mesh": mesh,
        "axis_name": "rows",
        "exchange": "ring",
        **steps,
    }
    reverse = reverse_neighbors(neighbors.indices)
    return {
        "gradient/fixed": gradient(gfa.aggregate, **steps),
        "gradient/reverse": gradient(gfa.aggregate, reverse=reverse, **steps),
        "gradient/rescore": gradient(
            gfa.aggregate, params=per_step(), graph="rescore", **steps
        ),
        "gradient/sharded": gradient(sharding.aggregate, **ring),
        "gradient/fixed_point": gradient(
            gfa.fixed_point.solve, tolerance=1e-7, max_steps=400
        ),
    }


def main() -> None:
    """Writes what all forms give in both precisions."""
    found: dict = {}
    for dtype in DTYPES:
        jax.config.update("jax_enable_x64", dtype == "float64")
        found |= outputs(dtype)
    np.savez_compressed(sys.argv[1], **found)


if __name__ == "__main__":
    main()
