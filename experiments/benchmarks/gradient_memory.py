"""How much a gradient through many updates keeps, by the analysis of the compiler.

In units of the feature matrix, for K and for 4 K candidates: what does not grow with K
holds no neighbourhood of all rows, [N, K, D]. Nothing runs, so the figures are those of
the compiled program and the same every time.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import gfa_jax as gfa
from experiments.benchmarks import stages
from gfa_jax.types import Graph

_STEPS = 20
_GRAPHS: tuple[Graph, ...] = ("fixed", "rescore")


class Gradient(NamedTuple):
    """Temporaries of one compiled gradient."""

    graph: str  # option of `aggregate`
    k: int  # candidates
    matrices: float  # bytes of the temporaries over those of the features


def measure(
    num_rows: int, dim: int, k: int, *, graphs: Sequence[Graph] = _GRAPHS
) -> list[Gradient]:
    """Compiles the gradient of 20 soft updates in the features and the parameters.

    For each graph and K, and 4 K where there are as many rows; none where the compiler
    does not tell.
    """
    features = _array(num_rows, dim)
    params = gfa.Params(_array(), _array(), _array(), _array())
    found = []
    for graph in graphs:
        loss = functools.partial(stages.soft_loss, num_steps=_STEPS, graph=graph)
        gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
        for width in (k, 4 * k):
            if width > num_rows:
                continue
            neighbors = gfa.Neighbors(
                _array(num_rows, width, dtype=jnp.int32), _array(num_rows, width)
            )
            compiled = gradient.lower(features, params, neighbors).compile()
            analysis = compiled.memory_analysis()
            if analysis is not None:
                held = analysis.temp_size_in_bytes / (num_rows * dim * 4)
                found.append(Gradient(graph, width, held))
    return found


def _array(*shape: int, dtype: Any = jnp.float32) -> Any:
    """Stands for an array; only its shape is compiled."""
    return jax.ShapeDtypeStruct(shape, dtype)
