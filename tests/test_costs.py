"""Operations and bytes of the compiled programs, as the docstrings say them.

Of one block of rows each: XLA counts the body of a loop once. Its bytes are asserted
where what is gathered is written out; a sum in place reads what XLA does not tell.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax.affinity import Edges, score
from gfa_jax.aggregation import update
from gfa_jax.metrics import tiles
from gfa_jax.selection import metric, settings, summary

_ROWS, _K, _DIM = 256, 16, 256
_PRODUCTS = 2 * _ROWS * _K * _DIM
_GATHERED = 4 * _ROWS * _K * _DIM
_MATRIX = 4 * _ROWS * _DIM


def costs(function, *operands, **static) -> tuple[float, float, int]:
    """Operations, bytes read and written, and bytes of temporaries."""
    compiled = jax.jit(function, **static).lower(*operands).compile()
    found, memory = compiled.cost_analysis(), compiled.memory_analysis()
    assert found is not None
    assert memory is not None
    return found["flops"], found["bytes accessed"], memory.temp_size_in_bytes


def make():
    features = jnp.ones((_ROWS, _DIM), jnp.float32)
    return features, jnp.zeros((_ROWS, _K), jnp.int32)


@pytest.mark.parametrize(
    ("kind", "products", "moved"), [("scored", 2, 4), ("fixed", 1, None)]
)
def test_an_update(kind, products, moved):
    edges = None
    if kind == "fixed":
        edges = Edges(jnp.ones((_ROWS, _K), jnp.float32), jnp.ones(_ROWS, jnp.float32))
    options = gfa.Options(block_size=_ROWS)
    params = gfa.Params(0.5, 0.4)

    def run(features, indices):
        return update(features, indices, params, edges, options=options)

    operations, touched, held = costs(run, *make())
    # Beside the products, the step and its norm: some tens a value.
    assert products * _PRODUCTS <= operations <= products * _PRODUCTS + 40 * _MATRIX
    if moved is None:
        assert held < _GATHERED / 4  # no neighbourhood is written
    else:
        assert 3 * _GATHERED <= touched <= moved * _GATHERED + 8 * _MATRIX
        assert held <= _GATHERED + 4 * _MATRIX


def test_scoring():
    options = gfa.Options(block_size=_ROWS)

    def run(features, indices):
        return score(features, indices, gfa.Params(0.5, 0.4), options=options)

    operations, touched, held = costs(run, *make())
    assert _PRODUCTS <= operations <= _PRODUCTS + 40 * _ROWS * _K
    assert 2 * _GATHERED <= touched <= 3 * _GATHERED + 8 * _MATRIX
    assert held <= _GATHERED + 4 * _MATRIX


def test_settings_of_rows():
    pool = metric.measure_pool(np.eye(_DIM))
    features, _ = make()
    null = 2 * 2 * _ROWS * _DIM**2
    operations, touched, _ = costs(metric.measure_rows, features, pool)
    assert null <= operations <= null + 20 * _MATRIX
    assert touched <= 12 * _MATRIX + 2 * 4 * _DIM**2 * 2
    around = jnp.ones((_ROWS * _K, _DIM), jnp.float32)
    lengths = jnp.ones((_ROWS, _K), jnp.float32)
    operations, touched, _ = costs(settings.block_cosines, around, lengths, pool)
    cosines = _PRODUCTS + 2 * _ROWS * _DIM**2
    assert cosines <= operations <= cosines + 20 * _MATRIX
    # The gather before it reads and writes as much again.
    assert touched <= 2.5 * _GATHERED + 8 * _MATRIX


def test_memory_of_settings_on_an_accelerator():
    """Nine arrays stay while the edges are counted: with them 95 bytes a candidate."""
    shape = 10_000, 57
    kind: Any = functools.partial(jax.ShapeDtypeStruct, shape)
    lists: Any = gfa.Neighbors(*map(kind, (jnp.int32, jnp.float32)))
    number = kind(jnp.float32)
    sizes = jax.ShapeDtypeStruct(shape[:1], jnp.int32)
    keep = functools.partial(settings.keep_heaviest, columns=56, xp=jnp)
    count = functools.partial(summary.count, center=5.0, xp=jnp)
    with jax.enable_x64(True):
        *_, kept = costs(keep, lists, number, sizes)
        *_, counted = costs(count, number, kind(jnp.bool_), number, number)
    stay = 9 * 4 + 2  # with two masks
    assert (max(kept, counted) / np.prod(shape)) + stay <= 95


def test_a_tile_of_all_pairs():
    rows = jnp.ones((_ROWS, _DIM), jnp.float32)
    operations, touched, _ = costs(tiles._score, rows, rows)
    products = 2 * _ROWS**2 * _DIM
    assert products <= operations <= products + 20 * _ROWS**2
    # A score and its bin are written, 6 bytes; the score is read once in between.
    assert touched <= 2 * _MATRIX + 2 * (6 + 4) * _ROWS**2
